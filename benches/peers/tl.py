"""TransformerLens on a model of the same shape, for compare.py, where `transformer_lens` can be imported.

Its own random weights: it loads GPT-2 from the hub, not from a folder, and speed depends on shapes alone. So its
logits are not compared.
"""

import importlib.metadata
import json
import pathlib
import sys

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

from serve import serve, threads


def main(folder):
    torch.set_num_threads(threads())
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    model = HookedTransformer(
        HookedTransformerConfig(
            n_layers=config["n_layer"],
            d_model=config["n_embd"],
            n_ctx=config["n_positions"],
            n_heads=config["n_head"],
            d_head=config["n_embd"] // config["n_head"],
            d_mlp=4 * config["n_embd"],
            d_vocab=config["vocab_size"],
            act_fn="gelu_new",
            normalization_type="LN",
            device="cpu",
            seed=0,
        )
    ).eval()

    @torch.inference_mode()
    def forward(ids):
        return model(torch.tensor([ids]), return_type="logits")[0]

    serve({"name": f"transformer_lens {importlib.metadata.version('transformer_lens')}", "threads": torch.get_num_threads()}, forward, None)


if __name__ == "__main__":
    main(sys.argv[1])
