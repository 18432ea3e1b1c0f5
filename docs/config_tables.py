#!/usr/bin/env python3
"""Which keys of `config.json` transformers reads in each family, what it takes for those left out, and which keys are harmless.

    python docs/config_tables.py WHEELS [--families llama,gpt2]

Needs torch and transformers 5 (CPU is enough). WHEELS is a folder of older releases, as `pip download --no-deps
transformers==4.30.2` puts them there. It writes src/arch/keys.json, which pellucid reads (docs/config.md is made from that),
and tests/fixtures/config/probes.json, in which the tests find what was tried and what it changed.

How it is found out, for each family, from the installed transformers:

    defaults   The fields of the configuration class, and what it makes of a file without rotary keys.
    model      A key changes the model if a tiny random model built with an unusual value of it has other tensors or gives
               other logits than the one without it, in any of several settings (with windows, with each rotary scaling).
               Keys of every family are tried in every family. A key of the class itself that transformers refuses at all
               values tried counts as well: nothing says that it is harmless.
    inert      Fields of the class that change no logit. Whatever their value, transformers computes the same.
    architecture  The class of its language models.
    spelled    Other names of a key: the class's attribute_map, and what it takes out of its keyword arguments.
    earlier    Defaults of the older releases where they are not today's, read from the signatures in their sources.

Keys that belong to no family come from PretrainedConfig and GenerationConfig of all releases. Those that only generation,
labels or training read are harmless at any value (GENERATION is found in the sources; BOOKKEEPING is listed below); SWITCHES
are harmless at the values listed. The script fails when a release has a key that is in none of these lists.
"""

import argparse
import ast
import json
import os
import pathlib
import re
import sys
import zipfile
import zlib

os.environ["TQDM_DISABLE"] = "1"
import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

transformers.logging.set_verbosity(transformers.logging.CRITICAL)
torch.set_num_threads(1)

FAMILIES = """bloom cohere falcon gemma gemma2 gemma3_text gpt2 gpt_bigcode gpt_neo gpt_neox gptj granite llama mistral mixtral
olmo olmo2 olmoe opt phi phi3 qwen2 qwen3 qwen3_moe smollm3 stablelm starcoder2""".split()

ANY = {}


def at(values, changes=None):
    """Harmless at these values, and null, alone; what another one means, where that is known."""
    return {"at": values} | ({"changes": changes} if changes else {})


def as_is(key):
    """Harmless where it says what another key says."""
    return {"as": key}


# Keys of PretrainedConfig that say how a model was made, what its labels are called, or what a run returns.
BOOKKEEPING = """_attn_implementation _attn_implementation_autoset _attn_implementation_internal _commit_hash
_experts_implementation _experts_implementation_internal _flash_attn_2_enabled _name_or_path
architectures attn_implementation auto_map bos_token_id dtype eos_token_id experts_implementation finetuning_task
gradient_checkpointing id2label keys_to_ignore_at_inference label2id name_or_path num_labels output_attentions
output_hidden_states pad_token_id prefix problem_type return_dict sep_token_id task_specific_params tf_legacy_loss
tie_last_hidden_states tokenizer_class torch_dtype torchscript transformers_version use_cache use_return_dict
xla_device""".split()
# Harmless at these values alone.
SWITCHES = {
    "add_cross_attention": at([False], "blocks that also read an encoder's output"),
    "chunk_size_feed_forward": at([0]),
    "cross_attention_hidden_size": at([], "blocks that also read an encoder's output"),
    "is_composition": at([False], "a model of several models"),
    "is_decoder": at([False, True]),
    "is_encoder_decoder": at([False], "a model of an encoder and a decoder"),
    "per_layer_config": at([], "layers that are configured one by one"),
    "pruned_heads": at([{}], "attention heads that were taken out"),
    "tie_encoder_decoder": at([False], "a model of an encoder and a decoder"),
    "use_bfloat16": at([False]),
}
# Attributes of the classes themselves, which no file holds; and what is the families' own.
OF_CLASSES = """_auto_class _from_model_config attribute_map base_config_key base_model_ep_plan base_model_fsdp_plan
base_model_pp_plan base_model_tp_plan extra_config_files extra_files generation_kwargs has_no_defaults_at_init
ignore_keys_at_rope_validation kwargs model_type rope_scaling rope_theta sub_configs sub_configs_defaults
tie_word_embeddings""".split()

# Keys that published files carry and no class declares. They come from other programs or from releases
# before 4.30, and transformers reads none of them.
STRAYS = {
    "_num_labels": ANY,
    "activation_dropout": ANY,
    "attention_dropout": ANY,
    "attention_probs_dropout_prob": ANY,
    "attn_pdrop": ANY,
    "classifier_dropout": ANY,
    "custom_pipelines": ANY,
    "dropout": ANY,
    "embd_pdrop": ANY,
    "embed_dropout": ANY,
    "embedding_dropout": ANY,
    "hidden_dropout": ANY,
    "hidden_dropout_prob": ANY,
    "init_std": ANY,
    "initializer_range": ANY,
    "is_llama_config": at([True]),
    "layerdrop": ANY,
    "max_sequence_length": ANY,
    "max_window_layers": ANY,
    "model_max_length": ANY,
    "n_special": at([0]),
    "output_past": ANY,
    "predict_special_tokens": at([True, False]),
    "pretraining_tp": ANY,
    "quantization": at([], "weights of fewer bits"),
    "resid_dropout": ANY,
    "resid_pdrop": ANY,
    "residual_dropout": ANY,
    "rope_interleaved": at([False], "rotation of adjacent dimensions"),
    "summary_activation": ANY,
    "summary_first_dropout": ANY,
    "summary_proj_to_labels": ANY,
    "summary_type": ANY,
    "summary_use_proj": ANY,
    "text_config": at([], "a language model inside one that reads something else too"),
    "transformers.js_config": ANY,
    "unk_token_id": ANY,
    "unsloth_fixed": ANY,
    "unsloth_version": ANY,
    "vision_config": at([], "a language model inside one that reads images"),
    # Other families read these. Where a family does not, a file says with this value what the family does anyway.
    "attention_bias": at([False]),
    "attn_logit_softcapping": at([]),
    "final_logit_softcapping": at([]),
    "mlp_bias": at([False]),
    "qk_layernorm": at([False]),
    "use_qk_norm": at([False]),
    "use_sliding_window": at([False]),
}
# The same, in one family.
STRAYS_OF = {
    "bloom": {
        "attention_softmax_in_fp32": ANY,
        "bias_dropout_fusion": ANY,
        "masked_softmax_fusion": ANY,
        "offset_alibi": ANY,
        "seq_length": ANY,
        "skip_bias_add": ANY,
        "skip_bias_add_qkv": ANY,
    },
    "falcon": {
        "apply_residual_connection_post_layernorm": at([False], "sublayers whose norm's output is added"),
        "ff_factor": ANY,
    },
    "gemma3_text": {"_sliding_window_pattern": ANY},
    "gpt2": {"n_ctx": ANY},
    "gpt_bigcode": {
        "inference_runner": ANY,
        "max_batch_size": ANY,
        "n_ctx": ANY,
        "pad_key_length": ANY,
        "pre_allocate_kv_cache": ANY,
        "validate_runner_input": ANY,
    },
    "gemma": {"hidden_activation": at(["gelu_pytorch_tanh"])},
    "gemma2": {"hidden_act": as_is("hidden_activation")},
    "gpt_neox": {
        # Releases 4.46 to 4.57 wrote them beside their own names for them.
        "partial_rotary_factor": as_is("rotary_pct"),
        "rope_theta": as_is("rotary_emb_base"),
    },
    "gptj": {
        "n_ctx": ANY,
        "rotary": at([True], "positions that are not rotated"),
        "scale_attn_weights": at([True], "scores that are not scaled"),
    },
    "llama": {"activation": at(["swiglu"])},
    "qwen2": {"use_mrope": at([False], "rotation by several kinds of positions")},
    "starcoder2": {
        "attention_softmax_in_fp32": ANY,
        "layer_norm_epsilon": as_is("norm_epsilon"),
        "mlp_type": at(["default"], "another MLP"),
        "norm_type": at(["layer_norm"], "another norm"),
        "scale_attention_softmax_in_fp32": ANY,
        "scale_attn_weights": at([True], "scores that are not scaled"),
    },
}
# Read, though no logit shows it here: by other implementations of attention than the one that is tried; and what a release
# wrote into its files of what it computed.
READ_ALL_THE_SAME = {
    "gemma": ["use_bidirectional_attention"],
    "gemma2": ["use_bidirectional_attention"],
    "gpt_bigcode": ["num_key_value_heads"],
    # With longrope, in which the probe does not start.
    "phi3": ["original_max_position_embeddings"],
}

# A quarter of a head must have more than one frequency, or the base of the frequencies would not matter.
BY_MEANING = {
    "hidden_size": 64, "n_embd": 64, "num_hidden_layers": 4, "n_layer": 4, "num_layers": 4, "num_attention_heads": 4, "n_head": 4,
    "num_heads": 4, "vocab_size": 40, "intermediate_size": 24, "ffn_dim": 24, "moe_intermediate_size": 24,
    "max_position_embeddings": 32, "n_positions": 32, "num_key_value_heads": 2, "num_experts": 4, "num_local_experts": 4,
    "num_experts_per_tok": 2, "rotary_dim": 4, "head_dim": 16, "pad_token_id": None,
}  # fmt: skip
# Values that no file has by accident, where the kind of the default does not suggest one.
UNUSUAL = {
    "activation": ["relu", "silu"], "activation_function": ["relu", "silu"], "hidden_act": ["relu", "silu"],
    "hidden_activation": ["relu", "silu"],
    "attention_layers": [["local"] * 4], "attention_types": [[[["local"], 4]], [[["global"], 4]]],
    "attn_logit_softcapping": [0.5], "final_logit_softcapping": [0.5], "clip_qkv": [0.05], "logit_scale": [0.3],
    "ffn_hidden_size": [20], "ffn_dim": [20], "head_dim": [8], "hidden_size": [32], "n_embd": [32], "n_embed": [32],
    "intermediate_size": [20], "n_inner": [20], "moe_intermediate_size": [20],
    "layer_types": [["full_attention", "sliding_attention"] * 2, ["sliding_attention", "full_attention"] * 2],
    "mlp_only_layers": [[1]], "decoder_sparse_step": [2], "max_window_layers": [2, 0], "no_rope_layers": [[0, 1, 1, 1]],
    "no_rope_layer_interval": [2], "num_attention_heads": [2], "n_head": [2], "num_heads": [2], "num_experts": [3],
    "num_local_experts": [3], "num_experts_per_tok": [1], "num_hidden_layers": [2], "n_layer": [2], "num_layers": [2],
    "num_key_value_heads": [1, 4], "num_kv_heads": [1, 2], "num_ln_in_parallel_attn": [1],
    "original_max_position_embeddings": [8], "max_position_embeddings": [24, 64], "n_positions": [24, 64],
    "n_ctx": [24], "partial_rotary_factor": [0.5, 0.25], "rotary_pct": [0.5], "rotary_dim": [2], "query_pre_attn_scalar": [2],
    "rope_theta": [77.0], "rotary_emb_base": [77.0], "rope_local_base_freq": [77.0],
    "rope_parameters": [{"rope_type": "default", "rope_theta": 77.0},
                        {"full_attention": {"rope_type": "default", "rope_theta": 77.0}}],
    "rope_scaling": [{"rope_type": "linear", "type": "linear", "factor": 3.0},
                     {"type": "longrope", "short_factor": [1.1] * 8, "long_factor": [1.2] * 8}],
    "sliding_window": [2], "sliding_window_pattern": [2], "_sliding_window_pattern": [2], "window_size": [2],
    "summary_activation": ["tanh"], "word_embed_proj_dim": [8], "vocab_size": [48], "layer_norm_epsilon": [0.1], "pruned_heads": [{"0": [1]}],
    "cross_attention_hidden_size": [8], "use_bidirectional_attention": [True], "rotary": [False],
    "apply_residual_connection_post_layernorm": [True], "mlp_type": ["gated"], "norm_type": ["rms_norm"],
    "embedding_multiplier": [0.5], "attention_multiplier": [0.5], "residual_multiplier": [0.5], "logits_scaling": [0.5],
    "is_decoder": [True, False], "is_encoder_decoder": [True], "add_cross_attention": [True], "tie_encoder_decoder": [True],
    "use_bfloat16": [True], "rope_interleaved": [True], "n_special": [3], "chunk_size_feed_forward": [3],
}  # fmt: skip
# Keys that are in no class's fields: older spellings, and what the classes take out of their keyword arguments.
LEGACY = """n_embed rope_theta rope_scaling partial_rotary_factor rotary_pct rotary_emb_base rope_local_base_freq
sliding_window_pattern _sliding_window_pattern attention_layers n_ctx head_dim rotary apply_residual_connection_post_layernorm
use_mrope mlp_type norm_type rope_interleaved n_special is_decoder is_encoder_decoder add_cross_attention tie_encoder_decoder
use_bfloat16 chunk_size_feed_forward pruned_heads cross_attention_hidden_size original_max_position_embeddings""".split()


def fields(family):
    """Fields that the family's own class declares, with their defaults."""
    own, base = CONFIG_MAPPING[family], set(transformers.PreTrainedConfig.__dataclass_fields__)
    declared = {name: field.default for name, field in own.__dataclass_fields__.items() if name not in base}
    return {k: (list(v) if isinstance(v, tuple) else v) for k, v in declared.items()}


def tiny(family):
    """A small complete model: sizes alone, under the names that the class has for them."""
    return {k: BY_MEANING[k] for k in fields(family) if k in BY_MEANING}


def settings(family):
    """Configurations in which a key may matter that does not matter in the plainest one."""
    base, has = tiny(family), fields(family)
    all_of_them = [base]
    window = {k: v for k, v in {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1}.items() if k in has}
    if "sliding_window" in has:
        all_of_them.append({**base, **window})
        if family == "gemma3_text":
            all_of_them.append({**base, **window, "layer_types": ["sliding_attention", "full_attention"] * 2})
    if family == "falcon":
        all_of_them += [{**base, "new_decoder_architecture": True}, {**base, "alibi": True}, {**base, "parallel_attn": False}]
        all_of_them.append({**base, "multi_query": False})
    if family == "qwen3_moe":
        all_of_them.append({**base, "mlp_only_layers": [1]})
    if family == "gpt_neo":
        all_of_them = [{**base, "attention_types": [[["global", "local"], 2]], "window_size": 3}]
    if "rope_parameters" in has and family != "phi3":
        yarn = {"rope_type": "yarn", "factor": 4.0}
        llama3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        all_of_them += [{**base, "rope_scaling": yarn}, {**base, "rope_scaling": llama3}]
    return all_of_them


def outcome(family, config):
    """Names and shapes of the model's tensors, and its logits with weights drawn by name; or why transformers refuses it."""
    try:
        built = CONFIG_MAPPING[family](**json.loads(json.dumps(config)))
        model = transformers.AutoModelForCausalLM.from_config(built, attn_implementation="eager", dtype=torch.float32).eval()
        with torch.no_grad():
            shapes = {name: tuple(p.shape) for name, p in model.state_dict().items()}
            for name, p in model.named_parameters():
                g = torch.Generator().manual_seed(zlib.crc32(name.encode()))
                p.copy_(torch.randn(p.shape, generator=g) * 0.3 + (p.dim() == 1))
            return shapes, model(torch.arange(1, 13)[None] * 3 % 37, use_cache=False).logits
    except Exception as e:
        return None, f"{type(e).__name__}: {e}".splitlines()[0]


def same(a, b):
    """Whether both are models with the same tensors and logits. Another order of the same sums is the same."""
    if a[0] is None or b[0] is None or a[0] != b[0]:
        return False
    return bool((a[1] - b[1]).abs().max() <= 1e-5 * a[1].abs().max())


def unusual(key, default):
    if key in UNUSUAL:
        return UNUSUAL[key]
    match default:
        case bool():
            return [not default, default]
        case int():
            return [default + 1, 1, 3]
        case float():
            return [0.37, 0.1]
        case str():
            return ["relu"]
        case _:
            return [3, 0.37, True]


def probe(family, everything):
    """For each key of any family: does it change this family's model? And every setting with what changed it there."""
    plain, found = [(c, outcome(family, c)) for c in settings(family)], {}
    for config, (shapes, why) in plain:
        if shapes is None and "rope_scaling" not in config:
            sys.exit(f"{family}: transformers cannot build the model to start from: {why}")
    plain = [(c, o) for c, o in plain if o[0] is not None]
    own = fields(family)
    probes = [{"config": config, "other": {}} for config, _ in plain]
    for key, default in everything.items():
        tried = []
        for (config, without), noted in zip(plain, probes):
            for value in unusual(key, own.get(key, default)):
                if config.get(key) == value or ("rope_scaling" in config and key == "rope_scaling"):
                    continue
                changed = {**config, key: value}
                got = outcome(family, changed)
                tried.append("refused" if got[0] is None else "same" if same(got, without) else "other")
                if tried[-1] == "other":
                    noted["other"].setdefault(key, []).append(value)
        found[key] = "other" if "other" in tried else "same" if "same" in tried else "refused"
    return found, probes


def computed(family):
    """What the class takes for rotary keys that a file leaves out: they have no fields of their own."""
    if family == "gpt_neo":
        return {"attention_types": CONFIG_MAPPING[family]().attention_types}
    if "rope_parameters" not in fields(family):
        return {}
    rope = CONFIG_MAPPING[family](**tiny(family)).rope_parameters
    if "full_attention" in rope:
        return {"rope_theta": rope["full_attention"]["rope_theta"], "rope_local_base_freq": rope["sliding_attention"]["rope_theta"],
                "sliding_window_pattern": 6, "rope_scaling": None}  # fmt: skip
    share = rope.get("partial_rotary_factor", 1.0)
    if family == "gpt_neox":
        return {"rotary_emb_base": rope["rope_theta"], "rotary_pct": share, "rope_scaling": None}
    return {"rope_theta": rope["rope_theta"], "partial_rotary_factor": share, "rope_scaling": None}


def signatures(source, classes, functions=("__init__", "__post_init__")):
    """Parameters and keyword arguments of these classes' constructors, with their defaults as written."""
    found = {}
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.ClassDef) and node.name in classes):
            continue
        for f in node.body:
            if isinstance(f, ast.AnnAssign) and isinstance(f.target, ast.Name):
                found.setdefault(f.target.id, f.value and ast.unparse(f.value))
            if not isinstance(f, ast.FunctionDef):
                continue
            if f.name in functions:
                for arg, default in zip(reversed(f.args.args), reversed(f.args.defaults)):
                    found.setdefault(arg.arg, ast.unparse(default))
                for call in ast.walk(f):
                    if (
                        isinstance(call, ast.Call)
                        and ast.unparse(call.func) in ("kwargs.pop", "kwargs.get")
                        and isinstance(call.args[0], ast.Constant)
                    ):
                        found.setdefault(call.args[0].value, ast.unparse(call.args[1]) if len(call.args) > 1 else "None")
            elif "generation_" in f.name and f.name.endswith(("_defaults", "_params")):
                for literal in ast.walk(f):
                    for key in getattr(literal, "keys", []) if isinstance(literal, ast.Dict) else []:
                        if isinstance(key, ast.Constant):
                            found.setdefault(key.value, "None")
    return found


def releases(folder):
    """Version and open archive of each wheel, oldest first."""
    wheels = [(re.search(r"-(\d+(?:\.\d+)+)-", w.name)[1], zipfile.ZipFile(w)) for w in pathlib.Path(folder).glob("transformers-*.whl")]
    return sorted(wheels, key=lambda w: [int(n) for n in w[0].split(".")])


def installed(path):
    return (pathlib.Path(transformers.__file__).parent / path).read_text()


def shared_keys(wheels):
    """Keys of PretrainedConfig and of GenerationConfig in every release."""
    config, generation = set(), set()
    files = ("configuration_utils.py", "generation/configuration_utils.py")
    sources = [[z.read(f"transformers/{f}").decode() for f in files] for _, z in wheels] + [[installed(f) for f in files]]
    for of_config, of_generation in sources:
        config |= set(signatures(of_config, ("PretrainedConfig", "PreTrainedConfig")))
        generation |= set(signatures(of_generation, ("GenerationConfig",)))
    return config, generation


def earlier(family, wheels, now):
    """Defaults in older releases that are not today's."""
    folder = {"gemma3_text": "gemma3"}.get(family, family)
    name = CONFIG_MAPPING[family].__name__
    found = {}
    for version, z in wheels:
        path = f"transformers/models/{folder}/configuration_{folder}.py"
        if path not in z.namelist() or version.startswith("5."):
            continue
        then = signatures(z.read(path).decode(), (name,))
        # The class of all configurations has True.
        then.setdefault("tie_word_embeddings", "True")
        for key, default in then.items():
            try:
                default = ast.literal_eval(default)
            except (ValueError, SyntaxError, TypeError):
                continue
            if key in now and json.dumps(default) != json.dumps(now[key]) and default != now[key]:
                found.setdefault(key, {}).setdefault(json.dumps(default), []).append(version)
    return {k: {d: f"{v[0]} to {v[-1]}" for d, v in of.items()} for k, of in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels")
    parser.add_argument("--families", default=",".join(FAMILIES))
    args = parser.parse_args()
    root = pathlib.Path(__file__).parent.parent
    out, noted = root / "src/arch/keys.json", root / "tests/fixtures/config/probes.json"
    wheels = releases(args.wheels)

    config, generation = shared_keys(wheels)
    listed = set(BOOKKEEPING) | set(SWITCHES) | set(OF_CLASSES)
    if unsorted := config - generation - listed:
        sys.exit(f"keys of PretrainedConfig that are in none of this script's lists: {sorted(unsorted)}")
    generation -= set(OF_CLASSES) | set(SWITCHES)

    everything = {key: None for key in LEGACY}
    for family in FAMILIES:
        everything |= {k: v for k, v in fields(family).items()}
        everything |= {k: None for k in CONFIG_MAPPING[family].attribute_map}
    skipped = set(BOOKKEEPING) - {"tie_word_embeddings"}
    everything = {k: everything[k] for k in sorted(everything) if k not in skipped}

    known = json.loads(out.read_text())["families"] if out.exists() else {}
    probed = json.loads(noted.read_text()) if noted.exists() else {"families": {}}
    probed["values"] = {k: unusual(k, v) for k, v in everything.items()}
    for family in args.families.split(","):
        own = fields(family)
        found, probed["families"][family] = probe(family, everything)
        aliases = dict(CONFIG_MAPPING[family].attribute_map)
        if found["n_embed"] == "other":
            aliases["n_embed"] = "hidden_size"
        defaults = {**own, **computed(family)}
        # A class may declare a key by a name that it only maps to another.
        defaults |= {to: own[name] for name, to in aliases.items() if name in own}
        model = {k: defaults.get(k) for k, is_ in found.items() if k not in aliases and (is_ == "other" or (is_ == "refused" and k in own))}
        model |= {key: defaults.get(key) for key in READ_ALL_THE_SAME.get(family, [])}
        # Read with the rotary scalings that have a context to extend, or as the context itself.
        for key in ("max_position_embeddings", "n_positions"):
            if key in own:
                model[key] = own[key]
        inert = {k: v for k, v in own.items() if k not in model and k not in aliases}
        known[family] = {
            "model": dict(sorted(model.items())),
            "inert": dict(sorted(inert.items())),
            "spelled": dict(sorted(aliases.items())),
            "earlier": earlier(family, wheels, {**defaults}),
        }
        print(f"{family}: {len(model)} keys change the model, {len(inert)} do not; foreign: "
              f"{[k for k in model if k not in own]}; inert: {sorted(inert)}", flush=True)  # fmt: skip

    table = {
        "transformers": transformers.__version__,
        "releases": [v for v, _ in wheels],
        "families": {
            f: {
                "architecture": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[f],
                **known[f],
                "harmless": dict(sorted(STRAYS_OF.get(f, {}).items())),
            }
            for f in FAMILIES
            if f in known
        },
        "harmless": {
            "bookkeeping": sorted(set(BOOKKEEPING)),
            "generation": sorted(generation - set(BOOKKEEPING)),
            "at": dict(sorted((SWITCHES | STRAYS).items())),
        },
    }
    out.write_text(json.dumps(table, indent=1) + "\n")
    lines = [f'"{f}": {json.dumps(of)}' for f, of in probed["families"].items()]
    values = json.dumps(probed["values"])
    noted.write_text('{"values": ' + values + ',\n"families": {\n' + ",\n".join(lines) + "\n}}\n")


main()
