//! What `pellucid chart` is given: a table, a table from stdin, or a folder, of which every table is drawn that can be.

use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::figure::Place;
use super::out::{Out, flags};
use super::piped::read_input;
use super::signals;
use crate::analysis::seen::drawable;
use crate::analysis::tables;
use crate::error::{Error, ErrorKind, Result};
use crate::table::read_provenance;
use crate::text::bounds::Bounds;
use crate::view::viewed::subjects;
use crate::view::{Drawable, Figure, Options, Style, Total};

/// Tables to draw.
pub(super) struct Charted {
    files: Vec<PathBuf>,
    /// Kept until all is drawn.
    stdin: Option<NamedTempFile>,
    /// What a reader should know of figures that were drawn, and of tables that were not.
    said: Vec<String>,
}

impl Charted {
    /// Those of `given`, of which figures go to `place`.
    ///
    /// # Errors
    /// When there is no table that can be drawn with these options, or there are several and one place.
    pub fn of(given: &Path, place: &Place, options: &Options) -> Result<Self> {
        let of = |files: Vec<PathBuf>, stdin| Self { files, stdin, said: vec![] };
        if given == Path::new("-") {
            let stdin = from_stdin()?;
            return Ok(of(vec![stdin.path().to_owned()], Some(stdin)));
        }
        if !given.is_dir() {
            // Before anybody waits, and before a folder is made.
            read_provenance(given)?;
            return Ok(of(vec![given.to_owned()], None));
        }
        let files = in_folder(given, options)?;
        if let (Place::Stdout | Place::File(_), [_, _, ..]) = (place, &files[..]) {
            let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            let (given, several) = (given.display(), names.join(", "));
            return Err(Error::bad_input(format!(
                "{given} has several tables that can be drawn, {several}, and there is one place for a figure"
            ))
            .hint("give one of these files, or name a folder with --out"));
        }
        Ok(of(files, None))
    }

    /// Draws them, one figure after another. Of several tables, one may have nothing to draw.
    ///
    /// # Errors
    /// As [`Drawable::figures`]; of several tables, when none has a figure.
    pub fn draw(&mut self, options: &Options, style: &Style, emit: &mut dyn FnMut(Figure) -> Result<()>) -> Result<()> {
        let (mut drawn, mut first) = (false, None);
        for file in &self.files {
            let mut any = false;
            let options = Options { total: Total::default(), ..options.clone() };
            let done = Drawable::figures(&drawable(), file, &options, style, &mut |figure| {
                signals::check()?;
                any = true;
                emit(figure)
            });
            match done {
                Ok(()) => {}
                Err(e) if !any && self.files.len() > 1 && refuses(&e) => {
                    self.said.push(format!("{} is not drawn: {}", file.display(), e.message()));
                    first.get_or_insert(e);
                    continue;
                }
                Err(e) => return Err(self.named(e)),
            }
            drawn = true;
            // One that was asked for by name is what was wanted.
            if options.only.figure.is_none() {
                self.said.extend(figures_of(file, &options, self.files.len() > 1));
            }
        }
        match first {
            Some(e) if !drawn => Err(e),
            _ => Ok(()),
        }
    }

    /// The error, which calls the table on stdin that: nobody knows the name of its file.
    fn named(&self, e: Error) -> Error {
        let Some(name) = self.stdin.as_ref().map(|file| file.path().display().to_string()) else { return e };
        let said = flags(e.sentence());
        match said.contains(&name) {
            true => Error::of_kind(e.kind(), said.replace(&name, "stdin")).hint(e.remedy().clone()).because(e),
            false => e,
        }
    }

    /// Says how many there are that were drawn, and what was not.
    pub fn say(&self, out: &Out) {
        self.said.iter().for_each(|said| out.say(said));
    }
}

/// Whether a table is refused, and nothing else went wrong.
fn refuses(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::BadInput | ErrorKind::NoSuch)
}

/// How many prompts or pairs of a table have figures, of how many.
fn figures_of(file: &Path, options: &Options, several: bool) -> Option<String> {
    let (n, most) = (options.total.get(), options.max_prompts);
    let name = read_provenance(file).ok().filter(|_| n > 1)?.table;
    let what = tables().find(|known| known.name == name).map_or("entries", subjects);
    let more = if most < n { ", --figures all draws them all" } else { "" };
    let of = if several { format!("{name}: ") } else { String::new() };
    Some(format!("{of}figures of {} of {n} {what}{more}", most.min(n)))
}

/// The tables of a folder that can be drawn, and have a use for the options, by name.
fn in_folder(folder: &Path, options: &Options) -> Result<Vec<PathBuf>> {
    let is_table = |path: &PathBuf| path.extension().is_some_and(|e| e == "parquet") && path.is_file();
    let entries = fs_err::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<Result<Vec<PathBuf>>>()?;
    files.retain(is_table);
    files.sort();
    let (known, mut found, mut refused, mut others) = (drawable(), vec![], None, vec![]);
    for file in files {
        let name = match read_provenance(&file) {
            Ok(provenance) => provenance.table,
            Err(e) => {
                refused.get_or_insert(e);
                continue;
            }
        };
        match known.iter().find(|table| table.table == name).map(|table| table.takes(options)) {
            Some(Ok(())) => found.push(file),
            Some(Err(e)) => drop(refused.get_or_insert(e)),
            None => others.push(name),
        }
    }
    let (folder, names) = (folder.display(), others.join("`, `"));
    match (found.is_empty(), refused) {
        (false, _) => Ok(found),
        (true, Some(e)) => Err(e),
        (true, None) if others.is_empty() => {
            Err(Error::no_such(format!("there is no table in {folder}"))
                .hint("give a folder of results, or a file of one"))
        }
        (true, None) => Err(Error::no_such(format!("there is no chart of the tables in {folder}: `{names}`"))
            .hint("`pellucid tables` lists all; give a folder with others")),
    }
}

/// What to do where rows come as text.
const READS: &str = "chart reads parquet: run what writes the table with --format parquet";

/// Whether bytes begin as text does.
fn is_text(bytes: &[u8]) -> bool {
    let begin = &bytes[..bytes.len().min(1 << 12)];
    let whole = |e: std::str::Utf8Error| e.error_len().is_none();
    !begin.contains(&0) && std::str::from_utf8(begin).map_or_else(whole, |_| true)
}

/// The table that comes from stdin, as a file that goes with the value.
fn from_stdin() -> Result<NamedTempFile> {
    let most = Bounds::default().bytes;
    let bytes = read_input(Path::new("-"), most)?;
    if bytes.len() > most {
        return Err(Error::bad_input("the table on stdin has over 1 GB").hint("give it as a file"));
    }
    if bytes.is_empty() {
        return Err(Error::bad_input("stdin is empty, and a table was to come from it").hint(READS));
    }
    if !bytes.starts_with(b"PAR1") {
        let hint = if is_text(&bytes) { READS } else { "give a table that pellucid wrote" };
        return Err(Error::bad_input("stdin is not a parquet file").hint(hint));
    }
    let mut file = tempfile::Builder::new().suffix(".parquet").tempfile()?;
    std::io::Write::write_all(&mut file, &bytes)?;
    Ok(file)
}
