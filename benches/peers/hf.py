"""Hugging Face transformers, eager, every core, on the folder that pellucid's bench wrote; f32 unless another is named.

Not run by hand: compare.py starts it. The forward pass gives the logits of every position, as pellucid's does.
"""

import json
import pathlib
import sys
import time

import torch
import transformers
from safetensors.torch import save_file

from hf_sweep import WAYS, Sweeper
from serve import serve, threads


def memory():
    """Bytes of this process, by Linux."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    names = {"VmHWM": "peak_bytes", "RssAnon": "anonymous_bytes", "RssFile": "file_bytes"}
    return {ours: int(found[name].split()[0]) * 1024 for name, ours in names.items() if name in found}


def main(folder, dtype="float32", first=None):
    start = time.perf_counter()
    torch.set_num_threads(threads())
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="eager", local_files_only=True
    ).eval()
    model.config.use_cache = False

    @torch.inference_mode()
    def forward(ids, last=False):
        return model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=int(last)).logits[0]

    @torch.inference_mode()
    def generate(request):
        n, ids = request["generate"], torch.tensor([request["ids"]] * max(request.get("traces", 1), 1))
        return model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, use_cache=True, min_new_tokens=n, max_new_tokens=n,
            pad_token_id=0, output_hidden_states=request.get("record", False), return_dict_in_generate=True,
        )

    if first:
        load = time.perf_counter() - start
        ids = [(i * 7919 + 17) % model.config.vocab_size for i in range(128)]
        token = forward(ids, True).argmax(-1).tolist()
        forward_seconds = time.perf_counter() - start - load
        print(json.dumps({"load_seconds": load, "forward_seconds": forward_seconds, "token": token, **memory()}))
        return

    hello = {"name": f"transformers {transformers.__version__}, torch {torch.__version__}", "threads": torch.get_num_threads()}
    sweep = Sweeper(model) if model.config.model_type == "gpt2" else None
    hello["ways"] = WAYS if sweep else []
    serve(hello, forward, lambda logits, path: save_file({"logits": logits.contiguous()}, path), sweep, generate)


if __name__ == "__main__":
    main(*sys.argv[1:])
