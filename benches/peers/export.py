"""pellucid export against transformers' output_hidden_states written by pyarrow, and SAELens's CacheActivationsRunner, taking turns.

    python benches/peers/export.py --program target/release/pellucid
    python benches/peers/export.py --program .. --sae PYTHON     # an interpreter that has sae-lens as well

All of them run random weights of GPT-2 small's shape in f32 on full sequences of 128 tokens of the same documents, and write the same
hooks. A round is a run of each, one after another. pellucid is timed from the start of the program to its end; the others are
processes that stay alive, with their model loaded and the documents in tokens: only running and writing is timed. See benches/README.md.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

CONTEXT, BATCH, LAYERS, D = 128, 16, 12, 768
# As many words as make a document of a little over so many sequences; what is left of it is dropped by all.
SEQUENCES = 2


def make(folder, documents):
    """A random GPT-2 with a tokenizer of its own, and a corpus that it splits into about 1.2 tokens a word."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    draw = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprstv" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(5000)]
    texts = [" ".join(draw.choices(words, k=CONTEXT * SEQUENCES)) for _ in range(documents)]
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts[:200], trainer)
    special = dict.fromkeys(["bos_token", "eos_token", "unk_token"], "<|endoftext|>")
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = transformers.GPT2Config(bos_token_id=0, eos_token_id=0)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder / "model")


def sequences(folder):
    """Full sequences: for each document its number and tokens, cut at the context."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "model" / "tokenizer.json"))
    found = []
    for doc, line in enumerate((folder / "corpus.jsonl").read_text().splitlines()):
        ids = tokenizer.encode(json.loads(line)["text"]).ids
        found += [(doc, start, ids[start : start + CONTEXT]) for start in range(0, len(ids) - CONTEXT + 1, CONTEXT)]
    return found


def transformers_worker(folder):
    """Answers with seconds for each list of layers that it is asked for."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    import transformers

    torch.set_num_threads(os.cpu_count())
    model = transformers.AutoModel.from_pretrained(folder / "model", dtype=torch.float32).eval()
    rows = sequences(folder)

    @torch.inference_mode()
    def run(layers, out):
        names = [f"blocks.{layer}.hook_resid_post" for layer in layers]
        wide = pa.list_(pa.field("element", pa.float32(), nullable=False), D)
        keys = [("doc", pa.uint64()), ("pos", pa.uint32()), ("token_id", pa.uint32())]
        schema = pa.schema([pa.field(*key) for key in keys] + [pa.field(name, wide) for name in names])
        # What pellucid does: split bytes, zstd, no dictionaries, no statistics.
        with pq.ParquetWriter(
            out, schema, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False,
            use_byte_stream_split=[f"{name}.list.element" for name in names] or False,
        ) as file:
            for start in range(0, len(rows), BATCH):
                batch = rows[start : start + BATCH]
                ids = torch.tensor([tokens for _, _, tokens in batch])
                states = model(ids, output_hidden_states=bool(layers), use_cache=False).hidden_states
                docs = pa.array([doc for doc, _, _ in batch for _ in range(CONTEXT)], pa.uint64())
                pos = pa.array(list(range(CONTEXT)) * len(batch), pa.uint32())
                columns = [docs, pos, pa.array(ids.flatten().numpy(), pa.uint32())]
                for layer in layers:
                    flat = pa.array(states[layer + 1].reshape(-1).numpy())
                    columns.append(pa.FixedSizeListArray.from_arrays(flat, type=wide))
                file.write_table(pa.table(columns, schema=schema))

    return f"transformers {transformers.__version__}, output_hidden_states, pyarrow {pa.__version__}", run


def sae_worker(folder):
    """SAELens reads one hook. It loads models by name, so the runner is given the same weights in its place."""
    import datasets
    import sae_lens
    import torch
    import transformers
    from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig, cache_activations_runner
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    torch.set_num_threads(os.cpu_count())
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder / "model")
    hf = transformers.GPT2LMHeadModel.from_pretrained(folder / "model", dtype=torch.float32)
    config = HookedTransformerConfig(
        n_layers=LAYERS, d_model=D, n_ctx=1024, d_head=64, n_heads=12, d_mlp=3072, act_fn="gelu_new", d_vocab=50257,
        normalization_type="LN", default_prepend_bos=False, device="cpu",
    )
    model = HookedTransformer(config, tokenizer=tokenizer)
    model.load_state_dict(convert_gpt2_weights(hf, config), strict=False)
    # Where it would load a model by its name.
    cache_activations_runner.load_model = lambda *args, **kwargs: model
    # Whole batches, each a buffer of its own: where a buffer is larger than the corpus, SAELens goes through the corpus again to fill it.
    rows = sequences(folder)
    rows = rows[: len(rows) // BATCH * BATCH]
    tokens = datasets.Dataset.from_dict({"input_ids": [ids for _, _, ids in rows]})
    tokens.save_to_disk(str(folder / "tokens"))

    def run(layers, out):
        assert len(layers) <= 1, "SAELens keeps one hook at a time"
        cfg = CacheActivationsRunnerConfig(
            dataset_path=str(folder / "tokens"), model_name="gpt2", hook_name=f"blocks.{layers[0]}.hook_resid_post",
            d_in=D, training_tokens=len(rows) * CONTEXT, context_size=CONTEXT, model_batch_size=BATCH,
            new_cached_activations_path=str(out), prepend_bos=False, dtype="float32", device="cpu", shuffle=False,
            streaming=False, buffer_size_gb=BATCH * CONTEXT * D * 4 / 1e9 + 1e-6,
        )
        shutil.rmtree(out, ignore_errors=True)
        CacheActivationsRunner(cfg, override_dataset=tokens).run()

    return f"SAELens {sae_lens.__version__}, CacheActivationsRunner", run


class Peer:
    def __init__(self, python, kind, folder):
        self.process = subprocess.Popen(
            [python, __file__, "--worker", kind, "--folder", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name = self.read()["name"]

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a peer ended with status {self.process.wait()}")
        return json.loads(line)

    def seconds(self, layers):
        print(json.dumps(layers), file=self.process.stdin, flush=True)
        return self.read()["seconds"]


def serve(kind, folder):
    name, run = {"transformers": transformers_worker, "sae": sae_worker}[kind](folder)
    # Whatever a library prints goes elsewhere.
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({"name": name}), file=answers, flush=True)
    for line in sys.stdin:
        out = folder / f"out-{kind}"
        start = time.perf_counter()
        run(json.loads(line), out)
        print(json.dumps({"seconds": time.perf_counter() - start}), file=answers, flush=True)


def pellucid(program, folder, layers):
    out = folder / "out-pellucid"
    shutil.rmtree(out, ignore_errors=True)
    hooks = ",".join(f"blocks.{layer}.hook_resid_post" for layer in layers)
    command = [program, "export", "-m", folder / "model", "--hooks", hooks, "--corpus", folder / "corpus.jsonl"]
    command += ["--context", str(CONTEXT), "--tail", "drop", "--out", out, "--force", "--offline", "-q"]
    start = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def check(folder, layers):
    """The largest difference between pellucid's rows and transformers', of what both wrote last."""
    import numpy
    import pyarrow.dataset

    name = f"blocks.{layers[0]}.hook_resid_post"
    columns = ["doc", "pos", "token_id", name]
    ours = pyarrow.dataset.dataset(sorted(map(str, (folder / "out-pellucid").glob("data-*.parquet")))).to_table(columns)
    theirs = pyarrow.dataset.dataset(str(folder / "out-transformers")).to_table(columns)
    for key in columns[:3]:
        assert ours[key].to_numpy().tolist() == theirs[key].to_numpy().tolist(), key
    values = [table[name].combine_chunks().flatten().to_numpy() for table in (ours, theirs)]
    return float(numpy.abs(values[0] - values[1]).max()), float(numpy.abs(values[1]).max()), ours.num_rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", help="pellucid, built in release")
    parser.add_argument("--sae", metavar="PYTHON", help="an interpreter that has sae-lens")
    parser.add_argument("--documents", type=int, default=64, help=f"of {SEQUENCES} sequences or so (64)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return serve(args.worker, args.folder)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make(folder, args.documents)
        peers = [Peer(sys.executable, "transformers", folder)]
        if args.sae:
            peers.append(Peer(args.sae, "sae", folder))
        for what, layers in [("one resid_post", [6]), ("all but the last resid_post", list(range(LAYERS - 1)))]:
            taking_part = [peer for peer in peers if len(layers) == 1 or "SAELens" not in peer.name]
            rounds = []
            for _ in range(args.rounds + 1):
                rounds.append([pellucid(args.program, folder, layers)] + [peer.seconds(layers) for peer in taking_part])
            # The first round warms caches up.
            rounds = rounds[1:]
            difference, largest, rows = check(folder, layers)
            print(f"{what}: {rows} tokens; largest difference {difference:.1e}, of {largest:.1f} at most")
            for place, name in enumerate(["pellucid export"] + [peer.name for peer in taking_part]):
                seconds = statistics.median(times[place] for times in rounds)
                ratios = [times[place] / times[0] for times in rounds]
                ratio = f"; pellucid is {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
                print(f"  {name}: {rows / seconds:.0f} tokens/s{ratio if place else ''}")


if __name__ == "__main__":
    main()
