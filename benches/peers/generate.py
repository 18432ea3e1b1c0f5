"""Generating 128 tokens after 16, greedily, with keys and values kept: pellucid against transformers' own `generate`, taking turns.

    python benches/peers/generate.py

One trace, eight at once, and one with the stream recorded after every block and step, on GPT-2 small's shape. See benches/README.md.
"""

import argparse
import statistics
import sys
import time

from compare import HERE, Worker, bench_binary, ids

CASES = {
    "1 trace": (1.5, {"traces": 1}),
    "8 traces": (2.0, {"traces": 8}),
    "1 trace, recorded": (None, {"traces": 1, "record": True}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="pellucid's bench, built before; else cargo builds it")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    parser.add_argument("--tokens", type=int, default=128, help="how many are generated (128)")
    args = parser.parse_args()
    ours = Worker([args.binary or bench_binary(), "--bench", "--serve"])
    theirs = Worker([sys.executable, HERE / "hf.py", ours.hello["folder"]])
    prompt = ids(16, ours.hello["d_vocab"])
    seconds = {(name, w): [] for name in CASES for w in range(2)}
    for turn in range(args.rounds + 1):
        for name, (_, case) in CASES.items():
            for w in range(2):
                at = (turn + w) % 2
                time.sleep(0.3)
                found = [ours, theirs][at].measure(name, ids=prompt, times=1, generate=args.tokens, **case)
                # The first round warms up.
                if turn > 0:
                    seconds[name, at].append(found[0])
    for name, (needed, _) in CASES.items():
        own, other = seconds[name, 0], seconds[name, 1]
        ratio = statistics.median(b / a for a, b in zip(own, other))
        limit = f"   needed: at least {needed}" if needed else ""
        print(f"{name:18} pellucid {statistics.median(own):.3f} s, {theirs.name} {statistics.median(other):.3f} s: {ratio:.2f} x{limit}")
    plain, recorded = seconds["1 trace", 0], seconds["1 trace, recorded", 0]
    print(f"recording costs {100 * (statistics.median(b / a for a, b in zip(plain, recorded)) - 1):.1f} %   needed: at most 5 %")
    for name in CASES:
        print(f"{name:18} others took {ours.usage[name].percents()[1]:.1f} % of the CPUs")


if __name__ == "__main__":
    main()
