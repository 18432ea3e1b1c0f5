//! Which files in a results' folder are pellucid's, and of which request.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::table::{METADATA_KEY, read_provenance};

/// What a manifest is called.
pub(super) const MANIFEST: &str = "manifest.json";

/// Characters of a command that are shown.
const SHOWN: usize = 160;

/// What a folder's manifest says.
pub(super) struct Manifest {
    /// Hash of the request; none where an earlier version wrote it.
    pub request: Option<String>,
    /// The command, for people.
    pub command: String,
    /// The results, by name.
    pub files: Vec<String>,
}

impl Manifest {
    /// The manifest at `path`; none where there is none.
    ///
    /// # Errors
    /// When it is not one of pellucid's.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let bytes = if is_regular(path) { std::fs::read(path).ok() } else { None };
        let value: Value = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let strings = |key: &str| -> Option<Vec<String>> {
            value[key].as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect()
        };
        match (value["pellucid_version"].as_str(), strings("command"), strings("files")) {
            (Some(_), Some(command), Some(mut files)) => {
                // Names in the folder, and no paths to elsewhere.
                files.retain(|name| Path::new(name).file_name() == Some(name.as_ref()));
                let command = match &command[..] {
                    [] => "of an unknown command".to_owned(),
                    words => shortened(&words.join(" ")),
                };
                Ok(Some(Self { request: value["request"].as_str().map(str::to_owned), command, files }))
            }
            _ => Err(Error::bad_input(format!("{} is not a manifest of pellucid's", path.display()))
                .hint("give another folder with --out, or move that file away")),
        }
    }
}

fn shortened(command: &str) -> String {
    match command.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("`{} ...`", &command[..end]),
        None => format!("`{command}`"),
    }
}

/// Whether `path` itself is a file, and no link to one.
pub(super) fn is_regular(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_file())
}

/// Whether pellucid wrote the file: it says so in its metadata.
pub fn is_ours(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    is_regular(path)
        && match extension {
            "parquet" => read_provenance(path).is_ok(),
            "svg" => figure_provenance(path).is_some(),
            "safetensors" => safetensors_header(path).is_some_and(|h| h["__metadata__"][METADATA_KEY].is_string()),
            _ => false,
        }
}

/// What a figure says of how it was made, as it stands in the file; none where pellucid did not draw it.
pub fn figure_provenance(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, after) = text.split_once("<desc>")?;
    let (desc, _) = after.split_once("</desc>")?;
    // Escaped as text in XML is.
    let plain = desc.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    let plain = plain.replace("&amp;", "&");
    let value: Value = serde_json::from_str(&plain).ok()?;
    value["pellucid_version"].is_string().then(|| desc.to_owned())
}

fn safetensors_header(path: &Path) -> Option<Value> {
    /// A header of ours lists tensors; one that claims more is not read.
    const MOST: u64 = 100_000_000;
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    if length > MOST.min(file.metadata().ok()?.len()) {
        return None;
    }
    let mut header = vec![];
    file.take(length).read_to_end(&mut header).ok()?;
    serde_json::from_slice(&header).ok()
}
