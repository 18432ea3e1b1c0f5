"""Hugging Face transformers, eager, f32, every core, on the folder that pellucid's bench wrote.

Not run by hand: compare.py starts it. The forward pass gives the logits of every position, as pellucid's does.
"""

import sys

import torch
import transformers
from safetensors.torch import save_file

from serve import serve, threads


def main(folder):
    torch.set_num_threads(threads())
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    model.config.use_cache = False

    @torch.inference_mode()
    def forward(ids):
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]

    hello = {"name": f"transformers {transformers.__version__}, torch {torch.__version__}", "threads": torch.get_num_threads()}
    serve(hello, forward, lambda logits, path: save_file({"logits": logits.contiguous()}, path))


if __name__ == "__main__":
    main(sys.argv[1])
