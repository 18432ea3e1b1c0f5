//! `runs/NAME.lock.toml`: which folder each step of an experiment has, and what its request is made of, so that a reader and a diff see
//! what has changed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::session::{Claim, Claiming};
use crate::whole::write_whole;

/// The version of these files.
const VERSION: u32 = 1;

/// A lock file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// The steps, by their labels.
    #[serde(default)]
    pub steps: BTreeMap<String, Locked>,
}

/// What a step was when it was last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Its command, as a shell takes it.
    pub command: String,
    /// The folder of its results.
    pub folder: String,
    /// The hash of its request.
    pub request: String,
    /// What the request is made of: short values as they are, of others a hash.
    pub inputs: BTreeMap<String, String>,
}

impl Default for Lock {
    fn default() -> Self {
        Self { version: VERSION, steps: BTreeMap::new() }
    }
}

impl Lock {
    /// Reads the file; an empty one where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is no lock file of this version.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|e| Error::cannot_read(path, e))?,
        };
        let wrong = |why: String| {
            Error::bad_input(format!("{} is not a lock file of this version: {why}", path.display()))
                .hint("move it away; results stay where they are, and are found without it")
        };
        let lock: Self = toml::from_str(&text).map_err(|e| wrong(e.message().trim().replace('\n', ", ")))?;
        match lock.version {
            VERSION => Ok(lock),
            other => Err(wrong(format!("its version is {other}"))),
        }
    }

    /// Writes into the file at `path` what each of these steps was, beside those that are there and `known`. A file that is as it should be
    /// is not touched.
    ///
    /// # Errors
    /// When it cannot be read or written, or another process writes it for longer than one waits.
    pub fn update(
        path: &Path,
        steps: &BTreeMap<String, Locked>,
        known: &dyn Fn(&str) -> bool,
        claiming: &Claiming,
    ) -> Result<()> {
        let updated = |mut lock: Self| {
            lock.steps.retain(|label, _| known(label));
            lock.steps.extend(steps.clone());
            lock
        };
        // Where the file is made, so that whoever is killed leaves nothing that the next one would not clear.
        let beside = path.with_extension("tmp");
        let before = Self::read(path)?;
        if updated(before.clone()) == before && path.exists() && !beside.exists() {
            return Ok(());
        }
        let claim = Claim::of(&beside, claiming)?;
        // Another process may have written it in the meantime.
        let body =
            toml::to_string_pretty(&updated(Self::read(path)?)).map_err(|e| Error::compute(e.to_string()).fault())?;
        let made = claim.stage().join("lock.toml");
        write_whole(&made, format!("{FIRST}\n{body}").as_bytes())?;
        std::fs::rename(made, path).map_err(|e| Error::cannot_write(path, e))?;
        drop(claim);
        // Only a killed process leaves it to the next; somebody else may be at work in it by now.
        let _ = std::fs::remove_dir(&beside);
        Ok(())
    }
}

/// The first line of a lock file.
const FIRST: &str = "# Written by `pellucid run`: which folder each step has, and what its request is made of.";

/// What of a request has changed since it was `before`, in words; nothing where nothing has.
pub fn changes(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut changes = vec![];
    for key in keys {
        let (was, is) = (before.get(key), now.get(key));
        if was == is {
            continue;
        }
        let said = |value: Option<&String>| value.map_or("not given".to_owned(), Clone::clone);
        changes.push(format!("{} is {}, was {}", in_words(key), said(is), said(was)));
    }
    changes
}

/// An input of a request as people call it.
fn in_words(key: &str) -> String {
    let parts: Vec<&str> = key.split('.').collect();
    match parts[..] {
        ["options", name] => format!("the option {name}"),
        ["on", "weights"] => "the hash of the model's weights".to_owned(),
        ["on", "files"] => "the hash of the model's configuration and tokenizer".to_owned(),
        ["on", name] => format!("the model's {name}"),
        ["input", "prompts", n] => format!("prompt {n}"),
        ["input", "pairs", n] => format!("pair {n}"),
        ["input", rest] => format!("the input's {rest}"),
        _ => key.to_owned(),
    }
}
