"""Copies a model with its weights shuffled: every tensor keeps its numbers, in another order. No experiment's expectations may hold of it.

    python experiments/shuffle.py MODEL FOLDER      (numpy and safetensors)
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np


def shuffled(source, target, seed=0):
    """Writes the model in the folder `source` to the folder `target`, shuffled."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix == ".json":
            shutil.copy(path, target)
    blob = bytearray((source / "model.safetensors").read_bytes())
    # The format: eight bytes with the length of a header in JSON, the header, then the tensors' bytes.
    start = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:start])
    random = np.random.default_rng(seed)
    for name, tensor in sorted(header.items()):
        if name == "__metadata__":
            continue
        begin, end = (start + at for at in tensor["data_offsets"])
        kind = {2: np.uint16, 4: np.uint32}[int(tensor["dtype"].lstrip("BFIU")) // 8]
        numbers = np.frombuffer(blob[begin:end], kind)
        blob[begin:end] = random.permutation(numbers).tobytes()
    (target / "model.safetensors").write_bytes(blob)


if __name__ == "__main__":
    shuffled(Path(sys.argv[1]), Path(sys.argv[2]))
