//! The page of a data set: what it is, how it was made, and how other programs open it.

use crate::dataset::{Form, HookColumn, Whole};
use crate::session::words::shell;

/// The page.
pub(super) fn page(whole: &Whole) -> String {
    let (layout, how) = (whole.layout(), whole.provenance());
    let first = layout.hooks.first().map_or("", |hook| &*hook.name);
    let (cut, options) = (&whole.request()["cut"], &whole.request()["options"]);
    let seed = options["seed"].as_u64().unwrap_or_default();
    let shuffled = options["shuffle"] == "documents";
    let order = match layout.window {
        Some(rows) => format!("shuffled inside of windows of {rows} rows (seed {seed}), which end at blocks"),
        None if shuffled => format!("document after document; documents are shuffled (seed {seed})"),
        None => "in the order of the documents".to_owned(),
    };
    // How to find the block of a row.
    let number = if shuffled { "which is in the file's name".to_owned() } else { format!("`doc` / {}", cut["block"]) };
    let revision = how.revision.as_ref().map_or_else(String::new, |revision| format!(" at revision `{revision}`"));
    let mut text = format!(
        "# Activations of {model}\n\n\
         A row is a token of a document. It was made by pellucid {version}, from {model}{revision}, with\n\n    {command}\n\n\
         in blocks of {block} documents and sequences of at most {context} tokens. The same command on the same files makes the same bytes \
         on processors with the same instructions ({instructions}).\n\n\
         ## Files\n\n\
         | file | what it is |\n|---|---|\n\
         | `data-*.{ending}` | the rows, {order} |\n\
         | `export_stats.parquet` | of each hook, its mean norm, median norm, largest size, mean, standard deviation and kurtosis |\n\
         | `export_documents.parquet` | the documents, block after block: id, tokens, rows |\n\
         | `manifest.json` | what was asked for, all files with their sizes and hashes, documents that were skipped |\n\n\
         ## Columns\n\n\
         | column | type | what it is |\n|---|---|---|\n\
         | `doc`, `doc_id` | u64, text | the document's number in the corpus, and its id |\n\
         | `seq`, `pos` | u32 | tokens of one sequence ran together: its number within its block ({number}), and the position in it |\n\
         | `token_id`, `token` | u32, text | the token |\n\
         | `byte_start`, `byte_end` | u32 | where it stands in the document's text, in bytes; null for tokens that were put around it |\n\
         | `special` | bool | whether it is a control token |\n",
        model = how.model,
        version = how.pellucid_version,
        command = shell(&how.command),
        block = cut["block"],
        context = cut["context"],
        instructions = how.instructions,
        ending = if layout.form == Form::Parquet { "parquet" } else { "safetensors" },
    );
    for column in &layout.scalars {
        let kind = if column.index { "u32" } else { "f32" };
        text += &format!("| `{}` | {kind} | {} ({}) |\n", column.name, column.meaning, column.unit);
    }
    let hook = |hook: &HookColumn| {
        let kind = if hook.index { "u32".to_owned() } else { format!("{:?}", layout.dtype).to_lowercase() };
        format!("| `{}` | {kind} [{}] | axes {}, shape {:?}, flat |\n", hook.name, hook.width(), hook.axes, hook.shape)
    };
    text.extend(layout.hooks.iter().map(hook));
    text + &match layout.form {
        Form::Parquet => opened(first),
        Form::Safetensors => tensors(first),
    }
}

fn opened(hook: &str) -> String {
    format!(
        "\n## Opening it\n\n\
         Each example reads the hook `{hook}`. Name the columns that you need: the others are then not read.\n\n\
         pyarrow\n\n```python\nimport glob, numpy as np, pyarrow.dataset as ds\n\
         data = ds.dataset(sorted(glob.glob(\"data-*.parquet\")))\n\
         for batch in data.to_batches(columns=[\"doc\", \"pos\", \"{hook}\"]):\n    \
         x = batch[\"{hook}\"]\n    x = np.asarray(x.flatten()).reshape(len(x), -1)   # [rows, width]\n```\n\n\
         polars\n\n```python\nimport polars as pl\nrows = pl.scan_parquet(\"data-*.parquet\").select(\"doc\", \"pos\", \"{hook}\").collect()\n\
         x = rows[\"{hook}\"].to_numpy()\n```\n\n\
         DuckDB\n\n```sql\nSELECT doc, pos, token, \"{hook}\"[1] FROM 'data-*.parquet' WHERE NOT special LIMIT 10;\n```\n\n\
         pandas\n\n```python\nimport glob, pandas as pd\n\
         rows = pd.concat(pd.read_parquet(f, columns=[\"doc\", \"{hook}\"]) for f in sorted(glob.glob(\"data-*.parquet\")))\n```\n\n\
         Hugging Face datasets\n\n```python\nfrom datasets import load_dataset\n\
         data = load_dataset(\"parquet\", data_files=\"data-*.parquet\", split=\"train\", streaming=True)\n```\n\n\
         PyTorch\n\n```python\nimport glob, numpy as np, pyarrow.parquet as pq, torch\n\
         def batches(size=4096):\n    \
         for name in sorted(glob.glob(\"data-*.parquet\")):\n        \
         for batch in pq.ParquetFile(name).iter_batches(size, columns=[\"{hook}\"]):\n            \
         x = batch.column(0)\n            yield torch.from_numpy(np.array(x.flatten()).reshape(len(x), -1))\n```\n"
    )
}

fn tensors(hook: &str) -> String {
    format!(
        "\n## Opening it\n\n\
         ```python\nimport glob\nfrom safetensors import safe_open\n\
         for name in sorted(glob.glob(\"data-*.safetensors\")):\n    \
         with safe_open(name, \"pt\") as f:\n        \
         x = f.get_tensor(\"{hook}\")    # [rows, ..]\n        \
         rows = f.get_tensor(\"rows\")   # [rows, 3]: document, sequence, position\n```\n"
    )
}
