//! `pellucid chart`

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::DrawArgs;
use super::canonical::canonical;
use super::out::Out;
use super::signals;
use super::wait::WaitArgs;
use crate::analysis::seen::drawable;
use crate::error::{Error, Result};
use crate::range::Heads;
use crate::session::Claim;
use crate::session::owned::figure_provenance;
use crate::session::words::command;
use crate::table::read_provenance;
use crate::view::{Drawable, Figure, Options};
use crate::whole::write_whole;

/// Redraws the figures of a table from its file alone.
#[derive(Args, Debug)]
pub(super) struct Chart {
    /// A table that pellucid wrote
    file: PathBuf,
    /// Where to put the figures [default: beside the table]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Replace figures of other tables there. Files that pellucid did not draw are never touched
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// For attention: heads to draw large, such as 3.2 or L3H2, or a range, 3.0-3; may be repeated
    #[arg(long, value_name = "LAYER.HEAD", value_parser = Heads::parse)]
    head: Vec<Heads>,
    /// Draw at most this many prompts or pairs, the first of the table
    #[arg(long, default_value_t = Options::default().max_prompts, value_name = "N")]
    max_prompts: usize,
    #[command(flatten)]
    draw: DrawArgs,
}

impl Chart {
    pub fn run(&self, matches: &clap::ArgMatches, out: &Out) -> Result<()> {
        if self.max_prompts == 0 {
            return Err(Error::bad_input("--max-prompts is 0, so there is nothing to draw").hint("draw at least 1"));
        }
        let heads = Heads::all(&self.head).into_iter().map(|(l, h)| (l as u32, h as u32)).collect();
        let options = Options { max_prompts: self.max_prompts, heads, scale: self.draw.scale(), ..Options::default() };
        let beside = match self.file.parent() {
            Some(beside) if !beside.as_os_str().is_empty() => beside,
            _ => Path::new("."),
        };
        let folder = self.out.as_deref().unwrap_or(beside);
        // Before anybody waits, and before a folder is made.
        read_provenance(&self.file)?;
        let [given, last] = canonical(&Self::augment_args(clap::Command::new("chart")), matches, &|_| true);
        let words = command("chart", given, last);
        let claim = self.wait.claiming(out, &words, |how| Claim::of(folder, how))?;
        // None gets its name before all are drawn, of which one is held.
        let mut drawn = vec![];
        Drawable::figures(&drawable(), &self.file, &options, &mut |figure| {
            signals::check()?;
            let name = figure.file_name();
            self.check(&folder.join(&name), &figure)?;
            write_whole(&claim.stage().join(&name), figure.svg.as_bytes())?;
            drawn.push(name);
            Ok(())
        })?;
        for name in &drawn {
            fs_err::rename(claim.stage().join(name), folder.join(name))?;
        }
        drop(claim);
        // A table of this folder is beside its figures, without `./`.
        let shown = if self.out.is_none() && folder == Path::new(".") { Path::new("") } else { folder };
        drawn.iter().try_for_each(|name| out.data(|w| writeln!(w, "{}", shown.join(name).display())))
    }

    /// Refuses to replace a figure of another table, and what is no figure of pellucid's.
    fn check(&self, path: &Path, new: &Figure) -> Result<()> {
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let Some(old) = figure_provenance(path) else {
            return Err(Error::bad_input(format!("{} is there already, and not drawn by pellucid", path.display()))
                .hint("give another folder with --out, or move that file away"));
        };
        match self.force || new.svg.contains(&format!("<desc>{old}</desc>")) {
            true => Ok(()),
            false => Err(Error::bad_input(format!("{} is a figure of another table", path.display()))
                .hint("give another folder with --out, or replace it with --force")),
        }
    }
}
