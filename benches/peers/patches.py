"""Which patches a sweep has, for every peer: as benches/speed/sweep.rs makes them, in the same order."""

import time

# Tokens whose logit difference is measured, at the last position.
ANSWER, FOIL = 5, 6


def corrupted(ids, d_vocab):
    return [(i + 1) % d_vocab for i in ids]


def patches(sweep, n_layers, n_heads, n):
    """(layer, head, position) of each patch; none where all are patched at once."""
    heads = [None] if sweep.startswith("resid_pre") else range(n_heads)
    positions = range(n) if "position" in sweep else [None]
    return [(layer, head, pos) for layer in range(n_layers) for head in heads for pos in positions]


def spread(n, sample):
    """Numbers of `sample` of `n` patches, the first and the last among them."""
    if sample is None or sample >= n:
        return list(range(n))
    return [i * (n - 1) // (sample - 1) for i in range(sample)]


def timed(record, run, every, index):
    """Seconds of a whole sweep, with the results of the patches that were run: recording counts once, `run` of the patches
    with the numbers `index` as often as it would be run for `every` one."""
    start = time.perf_counter()
    recorded = record()
    middle = time.perf_counter()
    patched = run(recorded, [every[i] for i in index])
    end = time.perf_counter()
    return middle - start + (end - middle) * len(every) / len(index), patched, index
