//! The documentation of the tables, from their declarations.

use super::rows::tables;
use std::fmt::Write;

/// `docs/tables.md`: every table and column with its type, unit and meaning, as markdown.
pub fn docs() -> String {
    let mut out = String::from(
        "# Tables\n\n\
         Every analysis writes one table, in long form: one row for one fact, keys first. Files are parquet (zstd); \
         how a table was made (model, weights hash, command, ...) is JSON under the key `pellucid` of the file's \
         key-value metadata, and each column carries its unit and meaning as field metadata.\n\n\
         ```python\n\
         import json, pyarrow.parquet as pq\n\
         table = pq.read_table(\"logit_lens.parquet\")\n\
         how = json.loads(table.schema.metadata[b\"pellucid\"])\n\
         ```\n\n\
         On stdout the same rows are `--format json`, `ndjson`, `csv` or `markdown`, read from the file as they are written. JSON has no \
         control characters, only their escapes. A spreadsheet takes text that begins with `=`, `+`, `-` or `@` for a formula, and prompts, \
         their names and tokens may begin so: `--csv-safe` puts an apostrophe before such text in CSV, and before text that begins with \
         a tab or a carriage return. Numbers stay as they are, and so does the file.\n\n\
         A column marked `?` may be null. This page is generated from `src/table/rows.rs`.\n",
    );
    for table in tables() {
        let _ = write!(
            out,
            "\n## `{}` (version {})\n\n{}\n\n| column | type | unit | meaning |\n|---|---|---|---|\n",
            table.name, table.version, table.about
        );
        for column in table.columns {
            let optional = if column.nullable { "?" } else { "" };
            let mut meaning = column.meaning.replace('|', "\\|");
            if column.since > 1 {
                let _ = write!(meaning, " (since version {})", column.since);
            }
            let kind = column.kind.name();
            let _ = writeln!(out, "| `{}` | {kind}{optional} | {} | {meaning} |", column.name, column.unit);
        }
    }
    out.push_str(ACTIVATIONS);
    out
}

/// What `pellucid cache` writes is no table, and is described beside them.
const ACTIVATIONS: &str = "
## `activations` (version 1)

What `pellucid cache` writes: no table but one safetensors file, `activations.safetensors`. Tensors are f32 and have the names and \
axes of [hooks](hooks.md), the rows of all prompts after one another; numbers of experts are u32.

| tensor | type | meaning |
|---|---|---|
| `rows` | u32 [t, 2] | the prompt of each row, counted from 0, and its position there |
| `input_ids` | u32 [t] | the token id at each row |
| a hook's name | f32 [t, ..] | its value at each row |
| `..hook_attn_scores`, `..hook_pattern` | f32 [h, q, k] | of one prompt; with several prompts, `.prompt0`, `.prompt1`, ... follows the name |

The header's metadata has two keys: `pellucid`, how the file was made, as in every table (`table` is `activations`), and `prompts`, \
a JSON list of the prompts' ids, in the order in which `rows` counts them.

```python
import json
from safetensors import safe_open
with safe_open(\"activations.safetensors\", \"np\") as f:
    prompts = json.loads(f.metadata()[\"prompts\"])
    rows = f.get_tensor(\"rows\")
    last_of_first = f.get_tensor(\"blocks.0.hook_resid_post\")[(rows[:, 0] == 0)][-1]
```
";
