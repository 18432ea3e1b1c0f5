//! The model that is part of the program, so that there is always one: its files, byte for byte as `models/demo` has them.

use super::files::Files;

/// What it is called wherever a model is named. A folder of this name is `./demo`.
pub const DEMO: &str = "demo";

/// Its files.
pub(super) const FILES: Files = Files::BuiltIn(&[
    ("config.json", include_bytes!("../../models/demo/config.json")),
    ("model.safetensors", include_bytes!("../../models/demo/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../models/demo/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../models/demo/tokenizer_config.json")),
]);
