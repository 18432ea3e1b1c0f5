"""Measuring on request, the other side of benches/speed/serve.rs: one JSON object a line in, one out."""

import json
import os
import sys
import time


def threads():
    """The CPUs this process may use, as rayon counts them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def serve(hello, forward, save, sweep=None, generate=None):
    """Answers until stdin ends.

    `forward(ids)` runs the model and gives its logits, `forward(ids, True)` those of the last row; what it gives is dropped inside the timing, as in pellucid's
    bench. `save(logits, path)` writes them. `sweep(request)` gives what `patches.timed` does. `generate(request)`
    generates, and what it gives is dropped inside the timing.
    """
    # Libraries talk on stdout too; what they say must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(hello), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "generate" in request:
            answer = ran({**request, "last": False}, lambda _: generate(request), save)
        else:
            answer = swept(request, sweep) if "sweep" in request else ran(request, forward, save)
        print(json.dumps({"seconds": answer}), file=answers, flush=True)


def ran(request, forward, save):
    seconds = []
    for _ in range(request["times"]):
        start = time.perf_counter()
        logits = forward(request["ids"], True) if request.get("last") else forward(request["ids"])
        del logits
        seconds.append(time.perf_counter() - start)
    if "save" in request:
        save(forward(request["ids"]), request["save"])
    return seconds


def swept(request, sweep):
    from safetensors.torch import save_file

    seconds = []
    for _ in range(request["times"]):
        taken, patched, index = sweep(request)
        seconds.append(taken)
    if "save" in request:
        import torch

        save_file({"patched": torch.tensor(patched), "index": torch.tensor(index)}, request["save"])
    return seconds
