"""Writes the seeds in corpus: small good files of every kind that the targets read, from which libFuzzer starts.

    python fuzz/make_seeds.py     # with torch, tokenizers and pyarrow; then look at what changed

The seeds of `table` are results of pellucid itself, see below; those of `config` are configurations of tests/fixtures.
"""

import io, json, shutil, struct, subprocess, sys, tempfile, zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, models
from tokenizers import decoders as D, normalizers as N, pre_tokenizers as P, processors as R

HERE = Path(__file__).parent
CORPUS, FIXTURES = HERE / "corpus", HERE.parent / "tests" / "fixtures"
APART = b"\xff"


def write(target, name, data):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


def header_of(path):
    data = path.read_bytes()
    return data[8 : 8 + struct.unpack("<Q", data[:8])[0]].rstrip()


def safetensors(header, data):
    header = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + data


def configs():
    for family in ("gpt2 llama3_rope llama_yarn_rope gemma3_text qwen3_moe phi3 falcon_gqa hooked_solu_lnpre mixtral "
                   "bloom stablelm olmo2").split():
        write("config", family, (FIXTURES / family / "config.json").read_bytes())


def weights():
    header = header_of(FIXTURES / "gpt2" / "model.safetensors")
    write("safetensors", "header", header)
    one = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
    write("safetensors", "one_tensor", safetensors({"__metadata__": {"format": "pt"}, "wte.weight": one}, bytes(12)))
    write("safetensors", "empty", safetensors({}, b""))
    shards = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(json.loads(header))}
    write("index", "two", {"metadata": {"total_size": 39000}, "weight_map": shards})
    write("index", "one", {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors"}})
    write("index", "outside", {"weight_map": {"a": "../config.json", "b": "sub/x.safetensors"}})
    write("dump", "header", header_of(FIXTURES / "gpt2" / "reference.safetensors"))
    small = {
        "__metadata__": {"format": "pellucid.reference.1", "model_type": "gpt2"},
        "input_ids": {"dtype": "I64", "shape": [1, 2], "data_offsets": [0, 16]},
        "logits": {"dtype": "F32", "shape": [1, 2, 97], "data_offsets": [16, 792]},
    }
    write("dump", "small", safetensors(small, bytes(792)))


def torch_files():
    state = {"wte.weight": torch.zeros(4, 2), "ln.bias": torch.zeros(3, dtype=torch.bfloat16)}
    checkpoint = {"model": state, "step": 3, "args": {"lr": 0.1, "names": ["a", (1, 2)], "none": None, "yes": True}}
    views = {"p": torch.nn.Parameter(torch.zeros(2)), "v": torch.zeros(4, 4).t()[1:, ::2]}
    ints = {"q": torch.zeros(3, dtype=torch.int64)}
    for name, value, how in [("state_dict", state, {}), ("ordered", OrderedDict(state), {}), ("views", views, {}),
                             ("checkpoint", checkpoint, {}), ("protocol_4", ints, {"pickle_protocol": 4})]:
        saved = io.BytesIO()
        torch.save(value, saved, **how)
        archive, small = zipfile.ZipFile(saved), io.BytesIO()
        with zipfile.ZipFile(small, "w") as out:  # without torch's alignment to 64 bytes
            for member in archive.namelist():
                if member.endswith(("data.pkl", "/version", "/byteorder")) or "/data/" in member:
                    out.writestr(zipfile.ZipInfo(member), archive.read(member))  # of no date
        write("zip", name, small.getvalue())
        write("pickle", name, archive.read(next(m for m in archive.namelist() if m.endswith("data.pkl"))))
    older = io.BytesIO()
    torch.save(state, older, _use_new_zipfile_serialization=False)
    write("zip", "older_format", older.getvalue())


def vocabulary(*tokens):
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def tokenizers():
    def seed(name, tokenizer, config=None, text="Anna gave a book to Ben"):
        config = b"" if config is None else json.dumps(config).encode()
        write("tokenizer", name, APART.join([tokenizer.to_str(pretty=False).encode(), config, text.encode()]))

    t = Tokenizer(models.BPE(vocabulary(*"ĠabdegkntovABr", "an", "Ġa", "oo"), [("a", "n"), ("Ġ", "a"), ("o", "o")]))
    t.pre_tokenizer, t.decoder = P.ByteLevel(add_prefix_space=False), D.ByteLevel()
    t.post_processor = R.ByteLevel(trim_offsets=False)
    t.add_special_tokens(["<|endoftext|>"])
    gpt2 = {"bos_token": "<|endoftext|>", "add_prefix_space": False, "tokenizer_class": "GPT2Tokenizer"}
    seed("byte_level", t, gpt2)

    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    v = vocabulary("<unk>", "<s>", "</s>", *"▁abdegkntovABr", *bytes_, "▁a")
    t = Tokenizer(models.BPE(v, [("▁", "a")], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    t.decoder = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    t.post_processor = R.TemplateProcessing("<s> $A", "<s> $A <s>:1 $B:1", [("<s>", 1)])
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    decoder = {"1": {"content": "<s>", "special": True}}
    seed("llama", t, {"bos_token": "<s>", "add_bos_token": True, "added_tokens_decoder": decoder})

    pieces = [("<unk>", 0.0), ("▁", -1.5), ("▁a", -2.0), ("a", -2.5), ("n", -3.0), ("Anna", -4.0)]
    t = Tokenizer(models.Unigram(pieces, unk_id=0))
    t.normalizer = N.Sequence([N.Nmt(), N.NFKC(), N.Replace("  ", " ")])
    t.pre_tokenizer, t.decoder = P.Metaspace(), D.Metaspace()
    seed("unigram", t, {})

    t = Tokenizer(models.WordPiece(vocabulary("[UNK]", "[CLS]", "[SEP]", "anna", "gave", "##n", "a"), unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer, t.decoder = N.BertNormalizer(), P.BertPreTokenizer(), D.WordPiece()
    t.post_processor = R.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    seed("bert", t, {"cls_token": "[CLS]"})

    t = Tokenizer(models.WordLevel(vocabulary("[UNK]", "Anna", "gave", "a"), unk_token="[UNK]"))
    t.normalizer = N.Sequence([N.Strip(), N.Lowercase(), N.StripAccents()])
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Punctuation(), P.Digits(True)])
    t.add_tokens([AddedToken("<x>", lstrip=True, single_word=True)])
    t.enable_truncation(5)
    t.enable_padding()
    seed("word_level", t)

    t = Tokenizer(models.BPE(vocabulary("a", "b", "ab"), [("a", "b")]))
    t.normalizer = N.Replace(Regex("(a|b)+c?"), "ab")
    t.pre_tokenizer = P.Sequence([P.Split(Regex(r"\p{L}+|\s+(?!\S)"), "isolated"), P.ByteLevel(True, use_regex=False)])
    seed("regex", t, None, "ab abc")

    pair = vocabulary("a", "n", "an", "Ġ", "<|endoftext|>")
    write("older_tokenizer", "gpt2", APART.join([json.dumps(pair).encode(), b"#version: 0.2\na n\n", b"an an"]))
    write("older_tokenizer", "no_product", APART.join([b'{"a":0,"b":1}', b"a b\n", b"ab"]))


def prompts():
    kinds = ["txt", "jsonl", "json", "csv", "tsv", "parquet"]
    for name, kind, text in [
        ("lines", "txt", "Anna gave a book to\n\n12,7,3\n  Ben sees \n"),
        ("objects", "jsonl", '{"text": "Anna", "id": "a"}\n{"ids": [1, 2, 3]}\n"Ben"\n[4, 5]\n'),
        ("pairs", "jsonl", '{"clean": "Anna gave", "corrupt": "Ben gave", "answer": " Ben", "wrong": " Anna"}\n'),
        ("list", "json", '[{"prompt": "The {} is", "subject": "sky", "a": {"b": 1}, "c": 2.5}]'),
        ("under_a_key", "json", '{"data": [{"text": "x"}], "version": 1}'),
        ("table", "csv", 'text,id\n"Anna, ""too""",1\nBen,2\n'),
        ("pairs_of_ids", "csv", 'clean_ids,corrupt_ids,answer_id,wrong_id\n"1 2 3","1 4 3",5,6\n'),
        ("tabs", "tsv", "text\tid\nAnna\t1\n"),
    ]:
        write("prompts", f"{kind}_{name}", bytes([kinds.index(kind)]) + text.encode())


def arguments():
    for i, text in enumerate(["blocks.*.attn.hook_z", "blocks.0.hook_resid_pre,blocks.{0,1}.ln1.hook_scale", "1,2, 3",
                              "s1=s1_pos", "end", "-1", "1-2.0.k,logits,0.v,*.mlp", "scale:0.5", "noise:3", "logit-diff",
                              "#17", "kl"]):
        write("arguments", str(i), text.encode())


def folders():
    measured = [{"pair": 0, "spot": 1, "values": [0.5]}]
    wave = json.dumps({"group": 0, "wave": 0, "measured": measured})
    write("parts", "two", f"{wave}\n{wave}".encode())
    write("parts", "raw", b"R" + b"0" * 64 + b" " + wave.encode() + b"\n")
    manifest = json.dumps({"pellucid_version": "0.1.0", "request": "0" * 64, "command": ["pellucid", "patch"],
                           "files": ["patch.parquet", "patch.svg", "../x"]}).encode()
    write("folder", "manifest", APART.join([manifest, b"<svg><desc>{}</desc></svg>", b"12 host pellucid patch"]))
    ours = b'<svg><desc>{&quot;pellucid_version&quot;: &quot;0.1.0&quot;}</desc></svg>'
    write("folder", "ours", APART.join([manifest, ours]))


def figures():
    """Bytes of which the target makes its cells; how is its own affair."""
    for which in range(8):
        write("figures", str(which), bytes([which]) + bytes((7 * i * i + 3 * i + which) % 240 for i in range(300)))


def corpora():
    """Of the files that the tests read, the beginning, with the byte that says their kind: see the target."""
    import gzip
    import pyarrow as pa, pyarrow.parquet as pq
    kinds = "txt jsonl json csv tsv parquet txt.gz jsonl.zst json.gz csv.zst tsv.gz jsonl.gz".split()
    rows = [{"n": 1, "text": "One \"two\"", "a": {"b": "x"}}, {"n": 2, "text": "Ö\nb", "a": {"b": ""}}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    csv = 'n,text,a.b\n1,"One ""two""",x\n\n2,"Ö\nb",\n'
    files = {"txt": "One\n\ntwo\nthree\n", "jsonl": lines, "json": json.dumps(rows, indent=1), "csv": csv,
             "tsv": csv.replace(",", "\t")}
    for i, kind in enumerate(kinds):
        data = files.get(kind.split(".")[0], "").encode()
        if kind == "parquet":
            file = io.BytesIO()
            table = pa.table({"n": [1, 2], "text": ["One", "two"], "a.b": ["x", None]})
            pq.write_table(table, file, compression="none", use_dictionary=False)
            data = file.getvalue()
        elif kind.endswith("gz"):
            data = gzip.compress(data, mtime=0)
        elif kind.endswith("zst"):
            data = pa.Codec("zstd").compress(data, asbytes=True)
        for reading in range(3):
            write("corpus", f"{kind}_{reading}", bytes([i + len(kinds) * reading]) + data)


def experiments():
    for path in sorted((HERE.parent / "experiments").glob("*.toml")):
        write("experiment", path.stem, path.read_bytes())
    text = b"""[experiment]
title = "t"
seed = 3
[matrix]
at = ["z", "attn_out"]
top = [1, 2]
combine = "zip"
exclude = [{ at = "z" }]
[steps.a]
run = "lens"
texts = ["${env.X:Mary} $${"]
at = "${matrix.at}"
top = "${matrix.top}"
[steps.b]
run = "compare"
texts = ["${steps.a.table}", "${steps.a.folder}"]
[expect]
"x" = ["steps.a where rank = 1 and prob > 0.5 per layer: rows = 4", "steps.a: layer = 1 in top 3 by |prob|"]
"y" = "steps.a: rank correlation of prob and logit in steps.a > 0.5"
[report]
template = '''
{{chart steps.a}} {{table steps.a where="rank = 1" rows=10}} {{expect}}
'''
"""
    write("experiment", "all", text)


def forms():
    head = (b"POST / HTTP/1.1\r\nHost: 127.0.0.1:7\r\nOrigin: http://localhost:7\r\nSec-Fetch-Site: same-origin\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ")
    for name, body in [("both", b"prompt=Mary+and+J%C3%B6rg%0D%0Ax&lang=both"), ("zh", b"lang=zh&prompt=%E4%BD%A0"),
                       ("none", b"prompt=")]:
        write("form", name, head + str(len(body)).encode() + b"\r\n\r\n" + body)
    write("form", "waits", head + b"10\r\nExpect: 100-continue\r\n\r\nprompt=abc")
    write("form", "style", b"GET /style.css HTTP/1.1\r\nHost: localhost:7\r\n\r\n")


def tables(pellucid):
    """Tables of the built-in model, small, and one without compression that a mutation reaches more of."""
    import pyarrow.parquet as pq
    pair = ["--clean", "Anna sees Ben. Anna", "--corrupt", "Anna sees Tom. Anna", "--answer", " sees", "--foil", " gave"]
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in [("lens", ["lens", "Anna sees", "--top", "2"]),
                                ("attention", ["attention", "--ids", "1,2,3"]),
                                ("patch", ["patch", *pair, "--at", "z"]),
                                ("attribute", ["attribute", *pair]),
                                ("verify", ["verify"])]:
            out = Path(folder) / name
            ran = subprocess.run([pellucid, *arguments, "-q", "--out", out], capture_output=True, text=True)
            if ran.returncode:
                sys.exit(f"{name}: {ran.stderr}")
            for file in sorted(out.glob("*.parquet")):
                table = pq.read_table(file)
                plain = Path(folder) / "plain.parquet"
                pq.write_table(table.slice(0, 12), plain, compression="none", use_dictionary=False)
                write("table", file.stem, file.read_bytes())
                write("table", f"{file.stem}_plain", plain.read_bytes())


if __name__ == "__main__":
    shutil.rmtree(CORPUS, ignore_errors=True)
    for make in (configs, weights, torch_files, tokenizers, prompts, arguments, folders, figures, corpora, experiments,
                 forms):
        make()
    if len(sys.argv) > 1:
        tables(sys.argv[1])
