"""pellucid against Hugging Face transformers (and TransformerLens, where it is installed), taking turns.

    python benches/peers/compare.py              # builds the bench, then measures
    python benches/peers/compare.py --binary B   # measures a bench binary that was built before

Every peer is a process that stays alive and measures only when asked, so that within a round all of them meet the
machine in the same state, seconds apart. See benches/README.md.
"""

import argparse
import importlib.metadata
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# How many times faster than transformers the project wants to be, by length.
NEEDED = {15: 1.0, 128: 1.0, 512: 1.25}


# Share of the machine's time above which the numbers are called disturbed.
DISTURBED_PERCENT = 2.0


def machine_ticks():
    """Clock ticks that all CPUs had, and that they were busy (what a virtual machine's host took is with it)."""
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(fields), sum(fields) - fields[3] - fields[4]


def process_ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


class Usage:
    """CPU time while one worker was measuring: the machine's, everybody's, the worker's own."""

    def __init__(self):
        self.all = self.busy = self.own = 0

    def during(self, pid, work):
        if not pathlib.Path("/proc/stat").exists():
            return work()
        before = (*machine_ticks(), process_ticks(pid))
        found = work()
        after = (*machine_ticks(), process_ticks(pid))
        for name, a, b in zip(["all", "busy", "own"], before, after):
            setattr(self, name, getattr(self, name) + b - a)
        return found

    def add(self, other):
        self.all, self.busy, self.own = self.all + other.all, self.busy + other.busy, self.own + other.own

    def percents(self):
        """Of all CPUs' time, what the worker took and what everything else did."""
        all_ticks = max(self.all, 1)
        return 100 * self.own / all_ticks, 100 * max(self.busy - self.own, 0) / all_ticks


class Worker:
    """A peer: a process that answers requests, one JSON object a line."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.hello = self.read()
        self.name = self.hello["name"]
        self.usage = {}

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, **request):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.read()["seconds"]

    def measure(self, n, **request):
        usage = self.usage.setdefault(n, Usage())
        return usage.during(self.process.pid, lambda: self.ask(**request))

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def bench_binary():
    """Builds pellucid's bench and finds where cargo put it."""
    command = ["cargo", "bench", "--bench", "speed", "--no-run", "--message-format=json"]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for message in map(json.loads, out.splitlines()):
        if message.get("executable") and message["target"]["name"] == "speed":
            return message["executable"]
    sys.exit("cargo built no bench called speed")


def has_transformer_lens():
    try:
        version = importlib.metadata.version("transformer_lens")
    except importlib.metadata.PackageNotFoundError:
        return False
    # 4.0 took away the class that makes a model from sizes alone.
    if int(version.split(".")[0]) >= 4:
        print(f"transformer_lens {version} is left out: tl.py needs 3.x", file=sys.stderr)
        return False
    return True


def ids(n, d_vocab):
    """The tokens that pellucid's bench uses when it runs alone."""
    return [(i * 7919 + 17) % d_vocab for i in range(n)]


def measure(workers, lengths, d_vocab, args):
    """Seconds by length and worker: for each round, the fastest of `--times` runs in a row."""
    seconds = {n: [[] for _ in workers] for n in lengths}
    for n in lengths:
        for worker in workers:
            worker.ask(ids=ids(n, d_vocab), times=2)
    for r in range(args.rounds):
        for n in lengths:
            for turn in range(len(workers)):
                # Another one begins in each round: none always runs in the wake of the same other.
                w = (r + turn) % len(workers)
                # The threads of the one before may spin for a moment after their work is done.
                time.sleep(args.pause)
                found = workers[w].measure(n, ids=ids(n, d_vocab), times=args.times)
                seconds[n][w].append(min(found))
        print(f"round {r + 1} of {args.rounds}", file=sys.stderr)
    return seconds


def worst_difference(a, b, n, d_vocab):
    """Largest absolute difference between two workers' logits of the same tokens, and the largest logit."""
    from safetensors.numpy import load_file

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for i, worker in enumerate([a, b]):
            path = str(pathlib.Path(folder) / f"{i}.safetensors")
            worker.ask(ids=ids(n, d_vocab), times=0, save=path)
            found.append(load_file(path)["logits"])
    assert found[0].shape == found[1].shape == (n, d_vocab), [x.shape for x in found]
    return float(abs(found[0] - found[1]).max()), float(abs(found[1]).max())


def say(args, fact, words):
    print(json.dumps(fact) if args.json else words, flush=True)


def report(workers, seconds, args):
    ours = 0
    for n, by_worker in seconds.items():
        for worker, times in zip(workers, by_worker):
            median, least = statistics.median(times), min(times)
            own, others = worker.usage[n].percents()
            disturbed = others > DISTURBED_PERCENT
            fact = {
                "tokens": n, "name": worker.name, "median_s": median, "min_s": least, "rounds": len(times),
                "own_cpu_percent": own, "others_cpu_percent": others, "disturbed": disturbed,
            }
            words = (
                f"{n:4} tokens   {worker.name:40} median {median:.4f} s   min {least:.4f} s   "
                f"it took {own:.0f} % of the CPUs, others {others:.1f} %{'   DISTURBED' if disturbed else ''}"
            )
            say(args, fact, words)
        for w, worker in enumerate(workers):
            if w == ours:
                continue
            ratios = [theirs / own for theirs, own in zip(by_worker[w], by_worker[ours])]
            paired, of_minima = statistics.median(ratios), min(by_worker[w]) / min(by_worker[ours])
            needed = NEEDED.get(n) if w == 1 else None
            fact = {
                "tokens": n, "ratio_to": worker.name, "paired_ratio": paired, "ratio_of_minima": of_minima,
                "least": min(ratios), "most": max(ratios), "needed_at_least": needed,
            }
            limit = f"   needed: at least {needed}" if needed else ""
            words = (
                f"{n:4} tokens   pellucid is {paired:.2f} times as fast as {worker.name} "
                f"(rounds {min(ratios):.2f} to {max(ratios):.2f}, of minima {of_minima:.2f}){limit}"
            )
            say(args, fact, words)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="pellucid's bench, built before; else cargo builds it")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each (15)")
    parser.add_argument("--times", type=int, default=3, help="runs in a turn, of which the fastest counts (3)")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds of rest before a turn (0.3)")
    parser.add_argument("--restarts", type=int, default=1, help="how often all processes are started anew (1)")
    parser.add_argument("--lengths", help="tokens, such as 15,128; those of pellucid's bench unless given")
    parser.add_argument("--without-tl", action="store_true", help="leave TransformerLens out where it is installed")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    args = parser.parse_args()

    binary = args.binary or bench_binary()
    with_tl = not args.without_tl and has_transformer_lens()
    total = first = None
    for start in range(args.restarts):
        pellucid = Worker([binary, "--bench", "--serve"])
        folder, d_vocab = pellucid.hello["folder"], pellucid.hello["d_vocab"]
        lengths = [int(n) for n in args.lengths.split(",")] if args.lengths else pellucid.hello["lengths"]
        workers = [pellucid, Worker([sys.executable, HERE / "hf.py", folder])]
        if with_tl:
            workers.append(Worker([sys.executable, HERE / "tl.py", folder]))
        if start == 0:
            for worker in workers:
                words = f"{worker.name}: {worker.hello['threads']} threads"
                say(args, {"name": worker.name, "threads": worker.hello["threads"]}, words)
            for n in lengths:
                # Models that differ would make a comparison of speed worthless.
                for worker in workers[1:]:
                    difference, largest = worst_difference(workers[0], worker, n, d_vocab)
                    fact = {"tokens": n, "name": worker.name, "worst_logit_difference": difference, "largest_logit": largest}
                    words = f"{n:4} tokens   logits differ from {worker.name} by at most {difference:.1e}; the largest is {largest:.2f}"
                    say(args, fact, words)
                    if not difference <= 1e-4:
                        sys.exit("the logits differ: these are not the same model")
        seconds = measure(workers, lengths, d_vocab, args)
        if total is None:
            total, first = seconds, workers
        else:
            for n in lengths:
                for w, worker in enumerate(workers):
                    total[n][w] += seconds[n][w]
                    first[w].usage[n].add(worker.usage[n])
        for worker in workers:
            worker.stop()
    report(first, total, args)


if __name__ == "__main__":
    main()
