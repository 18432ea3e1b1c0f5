//! The documentation of the tables, from their declarations.

use crate::analysis::{cache, tables};
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
         On stdout the same rows are `--format json`, `ndjson`, `csv` or `markdown`, read from the file as they are written; \
         `--format parquet` is the file itself. JSON has no \
         control characters, only their escapes. A spreadsheet takes text that begins with `=`, `+`, `-` or `@` for a formula, and prompts, \
         their names and tokens may begin so: `--csv-safe` puts an apostrophe before such text in CSV, and before text that begins with \
         a tab or a carriage return. Numbers stay as they are, and so does the file.\n\n\
         A column marked `?` may be null. The key of a table says which row a row is: `pellucid compare RUN RUN` joins two runs by it. This page is generated from the `rows.rs` of each folder in `src/analysis`.\n",
    );
    for table in tables() {
        let _ = write!(out, "\n## `{}` (version {})\n\n{}\n\n", table.name, table.version, table.about);
        let keys: Vec<String> = table.keys().iter().map(|column| format!("`{}`", column.name)).collect();
        if !keys.is_empty() {
            let _ = writeln!(out, "Key: {}.\n", keys.join(", "));
        }
        out.push_str("| column | type | unit | meaning |\n|---|---|---|---|\n");
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
    out.push_str(cache::ABOUT);
    out
}
