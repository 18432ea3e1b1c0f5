//! `pellucid chart`

use std::path::{Path, PathBuf};

use super::args::{DrawArgs, Figures, FiguresArgs};
use super::canonical::canonical;
use super::charted::Charted;
use super::figure::{FileArgs, Place, StyleArgs};
use super::opened::OpenArgs;
use super::out::Out;
use super::wait::WaitArgs;
use crate::error::{Error, Result};
use crate::range::{Heads, Interval};
use crate::session::Claim;
use crate::session::owned::figure_provenance;
use crate::session::words::command;
use crate::view::encode::Encoded;
use crate::view::{Figure, Only, Options, Style};
use crate::whole::write_whole;
use clap::Args;

/// Letters smaller than this part of those of a figure as wide as it needs are hard to read on paper.
const SMALL: f64 = 0.75;

/// Redraws the figures of a table, or of all tables in a folder, from the files alone: as SVG, PDF or PNG.
#[derive(Args, Debug)]
pub(super) struct Chart {
    /// A table that pellucid wrote, - for one from stdin, as --format parquet prints it, or a folder of results: all of its tables are drawn
    /// that can be and have a use for the options
    #[arg(value_name = "TABLE|FOLDER")]
    file: PathBuf,
    #[command(flatten)]
    files: FileArgs,
    /// Replace figures of other tables there. Files that pellucid did not draw are never touched
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    opened: OpenArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// For attention: heads to draw large, such as 3.2 or L3H2, or a range, 3.0-3; may be repeated
    #[arg(long, value_name = "LAYER.HEAD", value_parser = Heads::parse)]
    head: Vec<Heads>,
    /// Draw what is of this metric alone: of patches, paths, ablations and attributions the figures of logit_diff, prob or another of theirs; of
    /// means of the lens the panel of target_prob, target_rank or logit_diff
    #[arg(long, value_name = "METRIC")]
    metric: Option<String>,
    /// Draw the figure of this name alone, such as attention-L1H1: a file's name without its ending
    #[arg(long, value_name = "NAME")]
    figure: Option<String>,
    /// Draw these positions alone, such as 0,2-5,-1, or where they go by names, io,end; of attention, what is looked at from there
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Position::parse, allow_hyphen_values = true)]
    positions: Vec<Position>,
    #[command(flatten)]
    figures: FiguresArgs,
    #[command(flatten)]
    draw: DrawArgs,
    #[command(flatten)]
    style: StyleArgs,
}

impl Chart {
    pub fn run(&self, matches: &clap::ArgMatches, out: &Out) -> Result<()> {
        let Figures(max_prompts) = self.figures.figures;
        if max_prompts == 0 {
            return Err(Error::bad_input("--figures none leaves nothing to draw").hint("draw at least the first"));
        }
        let options = Options {
            max_prompts,
            heads: Heads::all(&self.head).into_iter().map(|(l, h)| (l as u32, h as u32)).collect(),
            scale: self.draw.scale(),
            only: self.chosen(),
            ..Options::default()
        };
        // Figures of a folder go into it.
        let table = if self.file.is_dir() { self.file.join("table") } else { self.file.clone() };
        let (place, types) = self.files.place(&table)?;
        let mut charted = Charted::of(&self.file, &place, &options)?;
        let style = self.style.style();
        // What there can be one of is drawn before anything is written.
        let mut only = None;
        if place.folder().is_none() || matches!(place, Place::File(_)) {
            only = Some(Self::only(&mut charted, &options, &style)?);
        }
        let mut said = Said::default();
        let Some(folder) = place.folder() else {
            if self.opened.open {
                return Err(Error::bad_input("no file is written that --open could open").hint("name one with --out"));
            }
            let figure = only.ok_or_else(|| Error::compute("no figure was drawn").fault())?;
            for file in types {
                let drawn = said.of(&figure, figure.encoded(file, self.files.dpi())?);
                out.data(|w| w.write_all(&drawn))?;
            }
            said.say(out);
            return Ok(());
        };
        let [given, last] = canonical(&Self::augment_args(clap::Command::new("chart")), matches, &|_| true);
        let words = command("chart", given, last);
        let claim = self.wait.claiming(out, &words, |how| Claim::of(folder, how))?;
        // None gets its name before all are drawn, of which one is held.
        let mut drawn = vec![];
        let mut write = |figure: Figure| {
            for file in &types {
                let name = match &place {
                    Place::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                    _ => format!("{}.{}", figure.name, file.extension()),
                };
                if drawn.contains(&name) {
                    return Err(Error::bad_input(format!("two tables there have the figure {name}"))
                        .hint("give one of them, as a file"));
                }
                self.check(&folder.join(&name), &figure)?;
                let bytes = said.of(&figure, figure.encoded(*file, self.files.dpi())?);
                write_whole(&claim.stage().join(&name), &bytes)?;
                drawn.push(name);
            }
            Ok(())
        };
        match only {
            Some(figure) => write(figure)?,
            None => charted.draw(&options, &style, &mut write)?,
        }
        for name in &drawn {
            fs_err::rename(claim.stage().join(name), folder.join(name))?;
        }
        drop(claim);
        said.say(out);
        // A table of this folder is beside its figures, without `./`.
        let shown = if !self.files.is_chosen() && folder == Path::new(".") { Path::new("") } else { folder };
        charted.say(out);
        self.opened.best_of(folder, &drawn, out);
        if let Place::File(path) = &place {
            return out.files(std::slice::from_ref(path));
        }
        out.files(&drawn.iter().map(|name| shown.join(name)).collect::<Vec<_>>())
    }

    /// What is drawn of a table.
    fn chosen(&self) -> Only {
        let (mut numbers, mut names) = (vec![], vec![]);
        for position in &self.positions {
            match position {
                Position::At(interval) => numbers.push(*interval),
                Position::Called(name) => names.push(name.clone()),
            }
        }
        Only {
            metric: self.metric.clone(),
            figure: self.figure.clone(),
            positions: (!numbers.is_empty()).then_some(numbers),
            position_names: names,
        }
    }

    /// The figure that there is.
    fn only(charted: &mut Charted, options: &Options, style: &Style) -> Result<Figure> {
        let (mut first, mut second) = (None, None);
        let drawn = two(charted, options, style, &mut |figure| match first {
            None => first = Some(figure),
            Some(_) => second = Some(figure.name),
        });
        match (first, second) {
            (Some(first), Some(second)) => {
                let first = first.name;
                let (one, mut n) = (Options { max_prompts: 1, ..options.clone() }, 0);
                let helps = options.max_prompts > 1 && two(charted, &one, style, &mut |_| n += 1).is_ok() && n == 1;
                let prompt = if helps { ", or those of one prompt with --figures first" } else { "" };
                Err(Error::bad_input(format!(
                    "the table has several figures, such as {first} and {second}, and there is one place for them"
                ))
                .hint(format!("name a folder with --out, or draw one of them with --figure {second}{prompt}")))
            }
            (Some(only), None) => drawn.map(|()| only),
            (None, _) => drawn.and_then(|()| Err(Error::compute("no figure was drawn").fault())),
        }
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
        match self.force || new.provenance() == old {
            true => Ok(()),
            false => Err(Error::bad_input(format!("{} is a figure of another table", path.display()))
                .hint("give another folder with --out, or replace it with --force")),
        }
    }
}

/// A position or a range of them, or what one is called.
#[derive(Clone, Debug)]
enum Position {
    At(Interval),
    Called(String),
}

impl Position {
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        match text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text != "all" {
            true => Ok(Self::Called(text.to_owned())),
            false => Interval::parse(text).map(Self::At),
        }
    }
}

/// Gives `emit` the first two figures, of which the second is an error.
fn two(charted: &mut Charted, options: &Options, style: &Style, emit: &mut dyn FnMut(Figure)) -> Result<()> {
    let mut n = 0;
    charted.draw(options, style, &mut |figure| {
        emit(figure);
        n += 1;
        match n {
            1 => Ok(()),
            _ => Err(Error::bad_input("there are several figures").hint("choose one with --figure")),
        }
    })
}

/// What a reader of the figures should know.
#[derive(Default)]
struct Said {
    missing: Vec<char>,
    /// The figure with the smallest letters.
    small: Option<(f64, String)>,
}

impl Said {
    /// The bytes of a figure, about which there may be something to say.
    fn of(&mut self, figure: &Figure, encoded: Encoded) -> Vec<u8> {
        if figure.scale < SMALL && self.small.as_ref().is_none_or(|(scale, _)| figure.scale < *scale) {
            self.small = Some((figure.scale, figure.name.clone()));
        }
        self.missing.extend(encoded.missing);
        encoded.bytes
    }

    fn say(mut self, out: &Out) {
        if let Some((scale, name)) = self.small {
            let percent = (100.0 * scale).round();
            out.note(format_args!(
                "{name} has more to show than fits into that width, so its letters have {percent} % of their size"
            ));
        }
        self.missing.sort_unstable();
        self.missing.dedup();
        if !self.missing.is_empty() {
            let letters: Vec<String> = self.missing.iter().map(|c| format!("U+{:04X}", u32::from(*c))).collect();
            out.note(format_args!("no font on this machine has {}, for which boxes stand", letters.join(", ")));
        }
    }
}
