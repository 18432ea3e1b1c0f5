"""Patching sweeps with transformers: a hook for each patch, as most people write it, and batched by hand, as somebody does
who needs it fast."""

import contextlib

import torch

from patches import ANSWER, FOIL, corrupted, patches, spread, timed

WAYS = [
    ("resid_pre by position", "hooked"),
    ("resid_pre by position", "batched"),
    ("z by head", "hooked"),
    ("z by head and position", "hooked"),
]


class Sweeper:
    """Sweeps of a GPT-2."""

    def __init__(self, model):
        self.model, self.config = model, model.config
        self.blocks = model.transformer.h

    def __call__(self, request):
        clean = request["ids"]
        every = patches(request["sweep"], self.config.n_layer, self.config.n_head, len(clean))
        corrupt = torch.tensor([corrupted(clean, self.config.vocab_size)])
        stream = request["sweep"].startswith("resid_pre")
        batched = request["way"] == "batched"

        def run(values, chosen):
            return (self.batched if batched else self.hooked)(corrupt, values, chosen, stream)

        with torch.inference_mode():
            index = spread(len(every), request.get("sample"))
            if batched:
                # A batch is all positions of a layer: of a sample, so many whole layers.
                layers = spread(self.config.n_layer, max(2, -(-len(index) // len(clean))))
                index = [i for i, (layer, _, _) in enumerate(every) if layer in layers]
            return timed(lambda: self.record(clean, stream), run, every, index)

    def module(self, layer, stream):
        """Whose input is the value: a block reads the stream, the output map what the heads made."""
        return self.blocks[layer] if stream else self.blocks[layer].attn.c_proj

    def record(self, clean, stream):
        values = {}

        def keep(layer):
            def hook(_, args):
                values[layer] = args[0].detach()

            return hook

        with contextlib.ExitStack() as stack:
            for layer in range(self.config.n_layer):
                handle = self.module(layer, stream).register_forward_pre_hook(keep(layer))
                stack.callback(handle.remove)
            self.model(input_ids=torch.tensor([clean]), use_cache=False, logits_to_keep=1)
        return values

    def difference(self, ids, layer, stream, change):
        def hook(_, args):
            x = args[0].clone()
            change(x)
            return (x, *args[1:])

        handle = self.module(layer, stream).register_forward_pre_hook(hook)
        try:
            logits = self.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
        finally:
            handle.remove()
        return (logits[:, ANSWER] - logits[:, FOIL]).tolist()

    def hooked(self, corrupt, values, chosen, stream):
        width = self.config.n_embd // self.config.n_head
        found = []
        for layer, head, pos in chosen:

            def change(x, layer=layer, head=head, pos=pos):
                rows = slice(None) if pos is None else slice(pos, pos + 1)
                columns = slice(None) if head is None else slice(head * width, (head + 1) * width)
                x[:, rows, columns] = values[layer][:, rows, columns]

            found += self.difference(corrupt, layer, stream, change)
        return found

    def batched(self, corrupt, values, chosen, stream):
        found = []
        for layer in sorted({layer for layer, _, _ in chosen}):
            positions = torch.tensor([pos for at, _, pos in chosen if at == layer])

            def change(x, layer=layer, positions=positions):
                x[torch.arange(len(positions)), positions] = values[layer][0, positions]

            found += self.difference(corrupt.expand(len(positions), -1), layer, stream, change)
        return found
