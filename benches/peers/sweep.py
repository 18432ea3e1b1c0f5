"""Patching sweeps: pellucid against TransformerLens, and against transformers with hooks, taking turns.

    python benches/peers/sweep.py                # builds the bench, then measures
    python benches/peers/sweep.py --rounds 5

All patch the same pair of prompts in the same places of the same weights, and their logit differences are compared before
anything is timed. Peers need seconds for each patch, so of a long sweep they run `--sample` patches, spread over it, and
their time is that of one patch times all. See benches/README.md.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

from compare import DISTURBED_PERCENT, HERE, Worker, bench_binary, has_transformer_lens, ids, say

# How many times faster than its peers the project wants to be, by sweep, tokens and peer.
NEEDED = {
    ("resid_pre by position", 15): {"transformer_lens": 45, "batched": 5},
    ("resid_pre by position", 64): {"transformer_lens": 13},
    ("z by head", 15): {"transformer_lens": 20},
    ("z by head and position", 15): {"transformer_lens": 45},
}


class Peer:
    """One way to sweep, of one worker."""

    def __init__(self, worker, way, name):
        self.worker, self.way, self.name = worker, way, name

    def sweep(self, case, d_vocab, sample=None, save=None, times=1):
        """Seconds of the whole sweep: those of the patches that were run, times what was left out."""
        request = {"sweep": case["sweep"], "ids": ids(case["tokens"], d_vocab), "times": times}
        if self.way:
            request |= {"way": self.way, "sample": sample}
        if save:
            request["save"] = save
        key = (case["sweep"], case["tokens"])
        return self.worker.measure(key, **request)

    def can(self, case):
        return self.way is None or [case["sweep"], self.way] in self.worker.hello["ways"]


def load(path):
    from safetensors.numpy import load_file

    return load_file(path)


def differences(peers, case, d_vocab, sample):
    """Number of patches, and by peer the largest difference from pellucid's in units of the sweep's spread."""
    found, which = [], []
    with tempfile.TemporaryDirectory() as folder:
        for i, peer in enumerate(peers):
            path = str(pathlib.Path(folder) / f"{i}.safetensors")
            peer.sweep(case, d_vocab, sample, path)
            file = load(path)
            found.append(file["patched"])
            which.append(file.get("index"))
    ours = found[0]
    spread = float(ours.max() - ours.min())
    worst = {}
    for peer, theirs, index in zip(peers[1:], found[1:], which[1:]):
        assert len(theirs) == len(index) and len(index) > 0
        worst[peer.name] = float(abs(theirs - ours[index]).max()) / spread
    return len(ours), worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="pellucid's bench, built before; else cargo builds it")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    parser.add_argument("--sample", type=int, default=36, help="patches that a peer runs of a sweep, in a turn (36)")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds of rest before a turn (0.3)")
    parser.add_argument("--only", help="sweeps whose name begins so")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    args = parser.parse_args()

    binary = args.binary or bench_binary()
    pellucid = Worker([binary, "--bench", "--serve"])
    folder, d_vocab = pellucid.hello["folder"], pellucid.hello["d_vocab"]
    hf = Worker([sys.executable, HERE / "hf.py", folder])
    peers = [Peer(pellucid, None, pellucid.name)]
    if has_transformer_lens():
        tl = Worker([sys.executable, HERE / "tl.py", folder])
        peers.append(Peer(tl, "transformer_lens", tl.name))
    peers += [Peer(hf, "hooked", f"{hf.name}, a hook for each patch"), Peer(hf, "batched", f"{hf.name}, batched by hand")]
    for case in pellucid.hello["sweeps"]:
        if args.only and not case["sweep"].startswith(args.only):
            continue
        measure(args, case, d_vocab, [peer for peer in peers if peer.can(case)])


def measure(args, case, d_vocab, peers):
    key = (case["sweep"], case["tokens"])
    n, worst = differences(peers, case, d_vocab, args.sample)
    title = f"{case['sweep']}, {case['tokens']} tokens"
    say(args, {"case": title, "patches": n, "worst_difference_of_spread": worst}, f"\n{title}: {n} patches")
    for name, difference in worst.items():
        say(args, {}, f"  differs from {name} by {difference:.1e} of the spread") if not args.json else None
        if not difference <= 1e-4:
            sys.exit("the results differ: this is not the same sweep")
    seconds = [[] for _ in peers]
    for peer in peers:
        peer.worker.usage.pop(key, None)
    for r in range(args.rounds):
        for turn in range(len(peers)):
            w = (r + turn) % len(peers)
            time.sleep(args.pause)
            found = peers[w].sweep(case, d_vocab, args.sample, times=2 if w == 0 else 1)
            seconds[w].append(min(found))
        print(f"round {r + 1} of {args.rounds}", file=sys.stderr)
    for peer, times in zip(peers, seconds):
        own, others = peer.worker.usage[key].percents()
        disturbed = others > DISTURBED_PERCENT
        ratios = [theirs / ours for theirs, ours in zip(times, seconds[0])]
        ratio = statistics.median(ratios)
        needed = NEEDED.get(key, {}).get(peer.way)
        fact = {
            "case": title, "name": peer.name, "median_s": statistics.median(times), "min_s": min(times),
            "paired_ratio": ratio, "least": min(ratios), "most": max(ratios), "needed_at_least": needed,
            "others_cpu_percent": others, "disturbed": disturbed,
        }
        words = f"  {peer.name:62} median {statistics.median(times):8.3f} s   min {min(times):8.3f} s"
        if peer.way:
            words += f"   {ratio:6.1f} times pellucid's ({min(ratios):.1f} to {max(ratios):.1f})"
        words += f"   needed: {needed}" if needed else ""
        words += f"   others {others:.1f} %{'   DISTURBED' if disturbed else ''}"
        say(args, fact, words)


if __name__ == "__main__":
    main()
