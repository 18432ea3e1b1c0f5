"""TransformerLens on the same weights, for compare.py and sweep.py, where `transformer_lens` 3.x can be imported.

It loads GPT-2 from the hub, not from a folder, so the weights are converted here by its own function, and used as they are:
nothing folded, nothing centred.
"""

import importlib.metadata
import os
import sys

# Its progress bars would be drawn between the rounds.
os.environ["TQDM_DISABLE"] = "1"

import pandas
import torch
import transformers
from safetensors.torch import save_file
from transformer_lens import HookedTransformer, HookedTransformerConfig, patching
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

from patches import ANSWER, FOIL, corrupted, patches, spread, timed
from serve import serve, threads

# Its own functions for one patch: which activation, and where the value is put.
PATCHES = {
    "resid_pre by position": ("resid_pre", ["layer", "pos"], patching.layer_pos_patch_setter),
    "z by head": ("z", ["layer", "head"], patching.layer_head_vector_patch_setter),
    "z by head and position": ("z", ["layer", "pos", "head"], patching.layer_pos_head_vector_patch_setter),
}


def load(folder):
    source = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    config = source.config
    model = HookedTransformer(
        HookedTransformerConfig(
            n_layers=config.n_layer,
            d_model=config.n_embd,
            n_ctx=config.n_positions,
            n_heads=config.n_head,
            d_head=config.n_embd // config.n_head,
            d_mlp=4 * config.n_embd,
            d_vocab=config.vocab_size,
            eps=config.layer_norm_epsilon,
            act_fn="gelu_new",
            normalization_type="LN",
            device="cpu",
            seed=0,
        )
    ).eval()
    weights = convert_gpt2_weights(source, model.cfg)
    as_they_are = dict.fromkeys(["fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"], False)
    model.load_and_process_state_dict(weights, **as_they_are)
    return model


def main(folder):
    torch.set_num_threads(threads())
    model = load(folder)

    @torch.inference_mode()
    def forward(ids):
        return model(torch.tensor([ids]), return_type="logits")[0]

    @torch.inference_mode()
    def sweep(request):
        clean = request["ids"]
        corrupt = torch.tensor([corrupted(clean, model.cfg.d_vocab)])
        activation, axes, setter = PATCHES[request["sweep"]]
        every = patches(request["sweep"], model.cfg.n_layers, model.cfg.n_heads, len(clean))

        def record():
            return model.run_with_cache(torch.tensor([clean]))[1]

        def run(cache, chosen):
            named = [dict(zip(["layer", "head", "pos"], patch)) for patch in chosen]
            table = pandas.DataFrame([[patch[axis] for axis in axes] for patch in named], columns=axes)
            difference = lambda logits: logits[0, -1, ANSWER] - logits[0, -1, FOIL]
            found = patching.generic_activation_patch(model, corrupt, cache, difference, setter, activation, index_df=table)
            return found.tolist()

        return timed(record, run, every, spread(len(every), request.get("sample")))

    name = f"transformer_lens {importlib.metadata.version('transformer_lens')}"
    hello = {"name": name, "threads": torch.get_num_threads(), "ways": [[sweep, "transformer_lens"] for sweep in PATCHES]}
    serve(hello, forward, lambda logits, path: save_file({"logits": logits.contiguous()}, path), sweep)


if __name__ == "__main__":
    main(sys.argv[1])
