//! A report's folder: whole files only, and none of anybody else's.

use std::path::Path;

use super::NAMES;
use crate::error::{Error, Result, said};
use crate::session::owned::figure_provenance;
use crate::session::{Claim, Claiming};
use crate::whole::write_whole;

/// How pages of a report begin or what is in them, so that the next may replace them.
const MARKS: [&str; 2] = ["<meta name=\"generator\" content=\"pellucid", "<!-- Written by pellucid"];

/// Puts the files of a report into `folder`. Figures of the report that was there go, where the new one has none of their name; a file
/// that is as it should be is not touched.
///
/// # Errors
/// When a file cannot be written, or one of these names is not a report's.
pub fn write(folder: &Path, files: &[(String, String)], claiming: &Claiming) -> Result<()> {
    let claim = Claim::of(folder, claiming)?;
    for (name, _) in files {
        check(folder, name)?;
    }
    let old = std::fs::read_to_string(folder.join(NAMES[1])).unwrap_or_default();
    let changed = files
        .iter()
        .filter(|(name, text)| std::fs::read(folder.join(name)).map_or(true, |there| there != text.as_bytes()));
    let changed: Vec<&(String, String)> = changed.collect();
    for (name, text) in &changed {
        write_whole(&claim.stage().join(name), text.as_bytes())?;
    }
    let rename = |name: &str| {
        let to = folder.join(name);
        std::fs::rename(claim.stage().join(name), &to).map_err(|e| Error::cannot_write(&to, e))
    };
    let is_page = |name: &str| NAMES.contains(&name);
    // Figures come before the pages that show them, and go before the page that knows of them.
    changed.iter().filter(|(name, _)| !is_page(name)).try_for_each(|(name, _)| rename(name))?;
    for name in old.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(name, _)| name) {
        let path = folder.join(name);
        let plain = Path::new(name).file_name() == Some(name.as_ref()) && name.ends_with(".svg");
        if plain && !files.iter().any(|(new, _)| new == name) && figure_provenance(&path).is_some() {
            std::fs::remove_file(&path).map_err(|e| Error::cannot_write(&path, e))?;
        }
    }
    changed.iter().filter(|(name, _)| is_page(name)).try_for_each(|(name, _)| rename(name))?;
    Ok(())
}

/// Refuses to replace what is not a report's.
fn check(folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(name);
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let ours = match NAMES.iter().position(|page| page == &name) {
        Some(page) => std::fs::read_to_string(&path).is_ok_and(|text| text.contains(MARKS[page])),
        None => figure_provenance(&path).is_some(),
    };
    match ours {
        true => Ok(()),
        false => {
            Err(Error::bad_input(format!("{} holds {name}, which is of no report of pellucid's", folder.display()))
                .hint(said("give another folder with {report}, or move that file away")))
        }
    }
}
