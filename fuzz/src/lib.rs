//! What every fuzz target asks of an answer: no panic, no refusal that a person could not use.

use std::borrow::Cow;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use pellucid::Result;
use pellucid::error::{Error, ErrorKind};

/// The longest refusal. A name in a file may be megabytes long, and none is quoted whole.
const LONGEST: usize = 2_000;

/// The last panic: one that is caught inside pellucid, around other people's parsers, is no fault.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Runs `call`, and ends the process when it panics or refuses in a way that helps nobody.
pub fn check<T>(call: impl FnOnce() -> Result<T>) -> Option<T> {
    static HOOK: OnceLock<()> = OnceLock::new();
    // libFuzzer's own hook ends the process at once, also in a panic that is caught.
    HOOK.get_or_init(|| {
        set_hook(Box::new(|panic| {
            let trace = std::backtrace::Backtrace::force_capture();
            let told = format!("{panic}\n{trace}");
            // For whoever looks at a file that was kept: some panics end the process by themselves.
            if std::env::var_os("SHOW_PANICS").is_some() {
                eprintln!("{told}");
            }
            *PANIC.lock().unwrap_or_else(|e| e.into_inner()) = told;
        }));
    });
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(e)) => {
            judge(&e);
            None
        }
        Err(_) => {
            eprintln!("{}", PANIC.lock().unwrap_or_else(|e| e.into_inner()));
            std::process::abort();
        }
    }
}

/// Ends the process where `holds` does not: a panic in a target itself would not say why.
pub fn ensure(holds: bool, what: &str) {
    if !holds {
        eprintln!("{what}");
        std::process::abort();
    }
}

/// A refusal is one sentence of some length and a hint, and blames the file. The program shows it in characters that cannot harm a
/// terminal, so none is asked for here.
fn judge(e: &Error) {
    let hint = e.hint_text().unwrap_or_default();
    let fault = if matches!(e.kind(), ErrorKind::Compute | ErrorKind::Interrupted) {
        "is no refusal of a file"
    } else if hint.is_empty() {
        "has no hint"
    } else if e.message().len().max(hint.len()) > LONGEST {
        "is too long"
    } else {
        return;
    };
    eprintln!("this {fault}: {:?} {:?}, hint {hint:?}", e.kind(), e.message());
    std::process::abort();
}

/// A folder of this process among the temporary ones (TMPDIR), which `.ci/fuzz` puts into memory and removes.
pub struct Folder(PathBuf);

impl Folder {
    /// The folder of this process, with these files and no others.
    pub fn with(files: &[(&str, &[u8])]) -> Self {
        static BASE: OnceLock<PathBuf> = OnceLock::new();
        let base = BASE.get_or_init(|| {
            let base = std::env::temp_dir().join(format!("pellucid-fuzz-{}", std::process::id()));
            fs::create_dir_all(&base).expect("a folder for files");
            base
        });
        let folder = Self(base.clone());
        folder.clear();
        for (name, bytes) in files {
            fs::write(folder.file(name), bytes).expect("a file in memory");
        }
        folder
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn clear(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A file of the fixture that the targets start from: a tiny GPT-2.
pub fn fixture(name: &str) -> &'static [u8] {
    static CONFIG: &[u8] = include_bytes!("../../tests/fixtures/gpt2/config.json");
    static WEIGHTS: &[u8] = include_bytes!("../../tests/fixtures/gpt2/model.safetensors");
    match name {
        "config.json" => CONFIG,
        "model.safetensors" => WEIGHTS,
        _ => panic!("no such fixture: {name}"),
    }
}

/// A safetensors file of `bytes`: where they begin with `{` they are a header alone, and get their length and the data of `good`.
pub fn safetensors<'a>(bytes: &'a [u8], good: &[u8]) -> Cow<'a, [u8]> {
    if bytes.first() != Some(&b'{') {
        return bytes.into();
    }
    let length = u64::from_le_bytes(good[..8].try_into().expect("8 bytes")) as usize;
    [&(bytes.len() as u64).to_le_bytes()[..], bytes, &good[8 + length..]].concat().into()
}

/// `bytes` cut at the first two separators (0xFF, a byte that no text has) into three parts, of which the last may be missing.
pub fn three(bytes: &[u8]) -> [&[u8]; 3] {
    let mut parts = bytes.splitn(3, |&byte| byte == 0xFF);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
