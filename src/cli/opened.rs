//! `--open`: the page or a figure of what was made, shown by whatever this machine shows such files with.

use std::ffi::OsStr;
use std::path::Path;

use clap::Args;

use super::out::Out;

/// Whether what was made is shown. No part of the request.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct OpenArgs {
    /// When it is there, open the page, else the first figure, in the program that this machine has for it
    #[arg(long)]
    pub open: bool,
}

impl OpenArgs {
    /// Opens the page among the files of a folder, else the first figure.
    pub fn best_of<N: AsRef<OsStr>>(self, folder: &Path, files: &[N], out: &Out) {
        if !self.open {
            return;
        }
        let of = |ends: &[&str]| {
            let ends =
                |file: &&N| Path::new(file).extension().is_some_and(|end| ends.iter().any(|wanted| end == *wanted));
            files.iter().find(ends).map(|file| folder.join(Path::new(file)))
        };
        match of(&["html"]).or_else(|| of(&["svg", "pdf", "png"])) {
            Some(file) => open(file.as_os_str(), out),
            None => out.note("there is no page and no figure to open"),
        }
    }
}

/// Opens a file or an address. Whoever cannot has its name, and all results.
pub(super) fn open(what: &OsStr, out: &Out) {
    if let Err(e) = open::that_detached(what) {
        out.note(format_args!("nothing on this machine could open {}: {e}", Path::new(what).display()));
    }
}
