//! Where a table came from: written into every file, with no clock in it.

use super::row::Row;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The key of the provenance in a parquet file's key-value metadata; the value is JSON.
///
/// pyarrow has it in `pq.read_schema(path).metadata[b"pellucid"]`, DuckDB in `parquet_kv_metadata(path)`.
pub const METADATA_KEY: &str = "pellucid";

/// The version of what hook names mean. It is raised whenever a name comes to mean another tensor, so that files of two versions
/// are not mixed without a word.
///
/// In version 1 (no file says it: they lack the number) `hook_normalized` of `ln1`, `ln2`, `mlp.ln` and `ln_final` had gain and
/// bias, as `hook_out` has now, and `hook_q`, `hook_k`, `hook_v` were read after norms on queries and keys and after clamps.
pub const HOOK_NAMES: u32 = 2;

fn first_names() -> u32 {
    1
}

/// How a table was made. The same request on the same model and machine gives the same provenance, and so the same
/// bytes: times and host names are deliberately absent. So it does on every machine with the same instructions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the table, set by the writer.
    pub table: String,
    /// Version of the table's schema, set by the writer.
    pub table_version: u32,
    /// Version of what hook names mean ([`HOOK_NAMES`]), set by the writer.
    #[serde(default = "first_names")]
    pub hook_names: u32,
    /// Version of pellucid that wrote the file, set by the writer.
    pub pellucid_version: String,
    /// The model as it was asked for: a hub id, a folder, or the name of a built-in model.
    pub model: String,
    /// The commit that the hub resolved it to; `None` for local and built-in models.
    pub revision: Option<String>,
    /// Hash over the model's weights.
    pub weights_hash: String,
    /// The model's architecture, as pellucid understood it.
    pub spec: Value,
    /// Keys of the model's config.json that pellucid does not know and was told to let through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_config: Vec<String>,
    /// Type of the weights and activations during the computation, e.g. `f32`.
    pub dtype: String,
    /// Where it was computed: `cpu`, `cuda`, `metal`.
    pub device: String,
    /// The instructions that the CPU kernels chose: `avx512`, `avx2`, `neon` or `scalar`. The same request gives the same bytes on
    /// one of them; on another, the same numbers within rounding. Empty in files that do not say it.
    #[serde(default)]
    pub instructions: String,
    /// Seed of whatever was drawn at random; `None` if nothing was.
    pub seed: Option<u64>,
    /// The command that made the table, one element for each argument.
    pub command: Vec<String>,
    /// Which part of the pairs or prompts the rows are of, such as `3/16`; none where they are of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// Whether the table is whole; `false` if the run was stopped and wrote what it had.
    pub complete: bool,
}

/// Nothing but the version of hook names, which is that of this program.
impl Default for Provenance {
    fn default() -> Self {
        Self {
            table: String::new(),
            table_version: 0,
            hook_names: HOOK_NAMES,
            pellucid_version: String::new(),
            model: String::new(),
            revision: None,
            weights_hash: String::new(),
            spec: Value::Null,
            accepted_config: vec![],
            dtype: String::new(),
            device: String::new(),
            instructions: String::new(),
            seed: None,
            command: vec![],
            shard: None,
            complete: false,
        }
    }
}

impl Provenance {
    /// Names the table of `R` and this version of pellucid; everything else stays as it is.
    pub(crate) fn stamp<R: Row>(&mut self) {
        self.stamp_as(R::TABLE.name, R::TABLE.version);
    }

    /// Names what is in the file, which need not be a table, and this version of pellucid.
    pub(crate) fn stamp_as(&mut self, name: &str, version: u32) {
        self.table = name.to_owned();
        self.table_version = version;
        self.hook_names = HOOK_NAMES;
        self.pellucid_version = env!("CARGO_PKG_VERSION").to_owned();
    }

    /// The provenance as compact JSON, keys in the order of the fields.
    pub fn to_json(&self) -> String {
        // Strings, integers and a JSON value: nothing here can fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}
