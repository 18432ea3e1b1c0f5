//! Which files in a results' folder are pellucid's, and of which request.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result, said};
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
    /// The results, what they were about to replace, and figures of earlier runs.
    pub files: Vec<Listed>,
    /// Those of them that are figures of this request. None where another version drew them, which may call figures otherwise.
    pub drawn: Vec<String>,
}

/// A file that a manifest lists.
pub(super) struct Listed {
    /// Its name in the folder.
    pub name: String,
    /// The command that wrote it, as it stands in the file as well.
    pub command: Vec<String>,
}

impl Listed {
    /// Whether it is in `folder`: a file that says of itself what the manifest says of it. A manifest alone makes no file ours.
    pub fn is_at(&self, folder: &Path) -> bool {
        // Characters that no XML may hold are written as this one.
        let plain =
            |word: &String| word.replace(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'), "\u{fffd}");
        let said = provenance_of(&folder.join(&self.name)).and_then(|said| strings(&said["command"]));
        said.is_some_and(|said| said.iter().map(plain).eq(self.command.iter().map(plain)))
    }
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
        match (value["pellucid_version"].as_str(), strings(&value["command"]), strings(&value["files"])) {
            (Some(version), Some(command), Some(names)) => {
                let shown = match &command[..] {
                    [] => "of an unknown command".to_owned(),
                    words => shortened(&words.join(" ")),
                };
                let of_this = names.into_iter().map(|name| Listed { name, command: command.clone() });
                let one = |old: &Value| {
                    Some(Listed { name: old["name"].as_str()?.to_owned(), command: strings(&old["command"])? })
                };
                let others = |what: &str| value[what].as_array().into_iter().flatten().filter_map(one);
                // Names in the folder, and no paths to elsewhere.
                let plain = |name: &str| Path::new(name).file_name() == Some(name.as_ref());
                let of_this: Vec<Listed> =
                    of_this.chain(others("drawn_before")).filter(|file| plain(&file.name)).collect();
                let figures = of_this.iter().map(|file| &file.name).filter(|name| name.ends_with(".svg"));
                let drawn = if version == env!("CARGO_PKG_VERSION") { figures.cloned().collect() } else { vec![] };
                let files = of_this.into_iter().chain(others("replaces").filter(|file| plain(&file.name))).collect();
                let request = value["request"].as_str().map(str::to_owned);
                Ok(Some(Self { request, command: shown, files, drawn }))
            }
            _ => Err(Error::bad_input(format!("{} is not a manifest of pellucid's", path.display()))
                .hint(said("give another folder with {out}, or move that file away"))),
        }
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect()
}

/// A command in quotes, cut where it is long.
pub(super) fn shortened(command: &str) -> String {
    match command.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("`{} ...`", &command[..end]),
        None => format!("`{command}`"),
    }
}

/// Whether `path` itself is a file, and no link to one.
pub(crate) fn is_regular(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_file())
}

/// The file at `path`, open to be read and written: none if nothing is there, `Some(None)` if it is no regular file. Neither is a
/// link followed nor a pipe waited for.
pub(crate) fn open_regular(path: &Path) -> io::Result<Option<Option<File>>> {
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
        Ok(found) if !found.is_file() => return Ok(Some(None)),
        Ok(_) => {}
    }
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    // Only to be read, where somebody else's cannot be written.
    match options.clone().write(true).open(path).or_else(|_| options.open(path)) {
        Ok(file) => Ok(Some(Some(file))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The size and hash of a file that is open.
pub(crate) fn size_and_hash(mut file: File) -> io::Result<(u64, String)> {
    let mut hash = blake3::Hasher::new();
    let bytes = io::copy(&mut file, &mut hash)?;
    Ok((bytes, hash.finalize().to_hex().to_string()))
}

/// Whether the file at `path` has this size and this hash. Without `hashes`, its size alone is compared.
pub(super) fn is_as_written(path: &Path, (bytes, blake3): (u64, &str), hashes: bool) -> bool {
    let Ok(Some(Some(file))) = open_regular(path) else { return false };
    file.metadata().is_ok_and(|m| m.len() == bytes)
        && (!hashes || size_and_hash(file).is_ok_and(|(_, hash)| hash == blake3))
}

/// Whether pellucid wrote the file: it says so in its metadata.
pub fn is_ours(path: &Path) -> bool {
    provenance_of(path).is_some()
}

/// Whether the file is a result of pellucid's that says that it is complete, and not what a stopped run left.
pub(super) fn is_complete(path: &Path) -> bool {
    provenance_of(path).is_some_and(|said| said["complete"] == true)
}

/// What a file says of how it was made; none where pellucid did not write it.
pub(super) fn provenance_of(path: &Path) -> Option<Value> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if !is_regular(path) {
        return None;
    }
    match extension {
        "parquet" => serde_json::to_value(read_provenance(path).ok()?).ok(),
        "svg" | "pdf" | "png" => said_by(&figure_provenance(path)?),
        "html" => page_provenance(path),
        "safetensors" => {
            let header = safetensors_header(path)?;
            let said = header["__metadata__"][METADATA_KEY].as_str()?;
            Some(serde_json::from_str(said).unwrap_or(Value::Object(Default::default())))
        }
        // A list says it in its first entry.
        "json" => {
            let list: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
            let said = list.get(0)?.get(METADATA_KEY)?;
            said["pellucid_version"].is_string().then(|| said.clone())
        }
        _ => None,
    }
}

/// What a figure says of how it was made, as it stands in the file; none where pellucid did not draw it.
pub fn figure_provenance(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let (before, after) = match &bytes[..] {
        [0x89, b'P', b'N', b'G', ..] => return png_provenance(&bytes),
        [b'%', b'P', b'D', b'F', ..] => ("<pellucid:provenance>", "</pellucid:provenance>"),
        _ => ("<desc>", "</desc>"),
    };
    let at = |text: &str, from: usize| {
        bytes[from..].windows(text.len()).position(|window| window == text.as_bytes()).map(|at| from + at)
    };
    let from = at(before, 0)? + before.len();
    let said = std::str::from_utf8(&bytes[from..at(after, from)?]).ok()?;
    said_by(said).map(|_| said.to_owned())
}

/// What a PNG says in its text chunk of that name.
fn png_provenance(bytes: &[u8]) -> Option<String> {
    // After the signature, each chunk is its length, its name, its content and a checksum.
    let mut rest = bytes.get(8..)?;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (name, content) = (after.get(..4)?, after.get(4..4usize.checked_add(length)?)?);
        // The keyword, no compression, no language, and then the text.
        let said = content.strip_prefix(METADATA_KEY.as_bytes()).and_then(|text| text.strip_prefix(&[0; 5]));
        if let (b"iTXt", Some(said)) = (name, said) {
            let said = std::str::from_utf8(said).ok()?;
            return said_by(said).map(|_| said.to_owned());
        }
        rest = after.get(length.checked_add(8)?..)?;
    }
}

/// What a page says of how it was made, in its `<meta name="pellucid">`.
fn page_provenance(path: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, after) = text.split_once("<meta name=\"pellucid\" content=\"")?;
    said_by(after.split_once('"')?.0)
}

/// The provenance in a figure's description.
fn said_by(desc: &str) -> Option<Value> {
    // Escaped as text in XML is.
    let plain = desc.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    let plain = plain.replace("&amp;", "&");
    let value: Value = serde_json::from_str(&plain).ok()?;
    value["pellucid_version"].is_string().then_some(value)
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
