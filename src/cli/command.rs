//! The command of an analysis, made of its type: arguments in, one run, files and words out.

use clap::{ArgMatches, Args, FromArgMatches};

use super::args::{DrawArgs, Figures, FiguresArgs, OutArgs, ResumeArgs, ShardArgs};
use super::canonical::{canonical, words};
use super::examples::examples;
use super::found::{draw, print, printed_folder};
use super::help::{below, grouped};
use super::kinds::{drawn, names, opens, scaled, shared, unwritten};
use super::listed::with_names;
use super::opened::OpenArgs;
use super::out::{Out, flags};
use super::printed::{self, Printed};
use super::serve::{ServeArgs, served};
use super::signals;
use super::unlike;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::{Error, ErrorKind, Result, Said, said};
use crate::session::folder::{is_whole, request_hash};
use crate::session::pieces::{LIST, is_begun};
use crate::session::shards::{self, Record};
use crate::session::{
    Analysis, Claiming, Destination, Input, On, Parts, Pieces, Request, Results, RunFolder, Session, Shard, Shards,
    Sink, Tables, To,
};
use crate::sweep::{Need, Watch};
use crate::table::{Format, Provenance};
use crate::view::viewed::{AnyTable, Shown};

/// What an analysis is asked of, as it is named on the command line.
pub(super) trait Named: On + Sized + 'static {
    /// How.
    type Args: Args;

    /// Loads it.
    fn load(args: &Self::Args, out: &Out) -> Result<Self>;

    /// The model in it, where all of it is loaded.
    fn session(&self) -> Option<&Session> {
        None
    }
}

/// What an analysis is run on, as it is given on the command line.
pub(super) trait Given<O>: Input + Sized {
    /// How.
    type Args: Args;

    /// Reads it.
    fn read(args: &Self::Args, on: &O, out: &Out) -> Result<Self>;
}

/// An analysis whose model and input can be given on the command line.
pub(super) trait Asking: Analysis<On: Named, Input: Given<<Self as Analysis>::On>> + Args {}

impl<A: Analysis<On: Named, Input: Given<<A as Analysis>::On>> + Args> Asking for A {}

/// Nothing is given.
#[derive(Args)]
pub(super) struct NoArgs {}

/// An analysis as a command.
#[derive(Clone, Copy)]
pub(super) struct Command {
    /// What it is called.
    pub name: &'static str,
    /// Its arguments.
    pub clap: fn() -> clap::Command,
    /// Runs it.
    pub run: fn(&ArgMatches, &Out) -> Result<()>,
    /// Says what it asks for.
    pub asked: fn(&ArgMatches, &Out) -> Result<Asked>,
    /// Joins its shards.
    pub join: fn(&Shards, &Joining, &Out) -> Result<()>,
    /// The tables that it may write.
    pub tables: &'static [&'static dyn AnyTable],
    /// Its other files.
    pub files: &'static [&'static str],
    /// Where its results go.
    pub results: Results,
    /// Whether it goes on where it was stopped.
    pub resumes: bool,
}

/// How shards are joined.
pub(super) struct Joining<'a> {
    /// The folder for the whole.
    pub folder: &'a Path,
    pub scale: Option<f64>,
    pub figures: Figures,
    /// The table that is printed, if one was asked for.
    pub table: Option<&'a str>,
    pub claiming: &'a Claiming<'a>,
}

/// What a command asks for.
pub struct Asked {
    /// The hash of its request, of which the folder of its results is named.
    pub request: String,
    /// The command as provenance has it.
    pub command: Vec<String>,
    /// What it needs of memory, beside the weights.
    pub need: Need,
    /// What the request is made of.
    pub made_of: BTreeMap<String, String>,
}

impl Command {
    /// Whether it has this option, as a field or a flag.
    pub fn has(&self, option: &str) -> bool {
        super::help::has(&(self.clap)(), option)
    }

    /// The command of `A`.
    pub const fn of<A: Asking>() -> Self {
        Self {
            name: A::NAME,
            clap: clap_of::<A>,
            run: run::<A>,
            asked: asked::<A>,
            join: join::<A>,
            tables: A::Tables::ALL,
            files: A::FILES,
            results: A::RESULTS,
            resumes: A::RESUMES,
        }
    }
}

pub(super) fn clap_of<A: Asking>() -> clap::Command {
    // What it is about is what the options' own type says.
    let own = A::augment_args(clap::Command::new(A::NAME));
    let mut command = grouped(<A::On as Named>::Args::augment_args(clap::Command::new(A::NAME)), "Model");
    command = <A::Input as Given<A::On>>::Args::augment_args(command);
    let of_corpora = command.get_arguments().any(|arg| arg.get_id() == "corpus");
    command = grouped(command, if of_corpora { "Input" } else { "Prompts" });
    command = grouped(with_names(A::augment_args(command)), "What");
    if scaled::<A>() {
        command = DrawArgs::augment_args(command);
    }
    if drawn::<A>() {
        command = FiguresArgs::augment_args(command);
    }
    if A::RESUMES {
        command = ResumeArgs::augment_args(command);
    }
    if shared::<A>() {
        command = ShardArgs::augment_args(command);
    }
    if A::PAGE.is_some() {
        command = ServeArgs::augment_args(command);
    }
    if opens::<A>() {
        command = OpenArgs::augment_args(command);
    }
    if A::RESULTS != Results::Screen {
        command = OutArgs::augment_args(command);
        let folder = match A::RESULTS {
            Results::FolderIfNamed => "Also write the results to this folder".to_owned(),
            Results::Dataset => format!("Folder for the results [default: runs/{}-<hash of the request>]", A::NAME),
            _ => format!(
                "Folder for the results, or - to write none: then they are on stdout alone [default: runs/{}-<hash of the request>]",
                A::NAME
            ),
        };
        command = command.mut_arg("out", |arg| arg.help(folder));
    }
    command = grouped(printed::augmented(command, A::Tables::ALL), "Output");
    let about = own.get_about().cloned().unwrap_or_default();
    let long = own.get_long_about().cloned();
    command = command
        .about(about)
        .after_help(below(&own.get_after_help().map(ToString::to_string).unwrap_or_default(), examples(A::NAME)));
    match long {
        Some(long) => command.long_about(long),
        None => command.long_about(None::<&str>),
    }
}

/// What was given for the arguments of a group.
pub(super) fn group<T: FromArgMatches>(matches: &ArgMatches) -> Result<T> {
    T::from_arg_matches(matches).map_err(|e| super::misunderstood(&e))
}

/// The analysis, what it is asked of, and what it is run on.
fn read<A: Asking>(matches: &ArgMatches, out: &Out) -> Result<(A, Rc<A::On>, A::Input)> {
    let (analysis, given) = (group(matches)?, group(matches)?);
    let named = <A::On as Named>::Args::augment_args(clap::Command::new(A::NAME));
    let on = out.kept.get(canonical(&named, matches, &|_| true), || A::On::load(&given, out))?;
    let input = A::Input::read(&group(matches)?, &on, out)?;
    Ok((analysis, on, input))
}

fn asked<A: Asking>(matches: &ArgMatches, out: &Out) -> Result<Asked> {
    let (analysis, on, input) = read::<A>(matches, out)?;
    let request = Request::new(&analysis, &*on, &input)?;
    let command = words(&analysis, &*on, &input, matches)?;
    let (need, made_of) = (analysis.need(&on, &input)?, request.made_of()?);
    Ok(Asked { request: request_hash(&request)?, command, need, made_of })
}

fn run<A: Asking>(matches: &ArgMatches, out: &Out) -> Result<()> {
    if let Some(page) = A::PAGE {
        let how = group::<ServeArgs>(matches)?;
        if how.serve {
            return served::<A>(&page, (how.port, group(matches)?), matches, out);
        }
    }
    run_on::<A>(matches, None, out)
}

/// Runs it, on the pieces of shards where they are all there.
fn run_on<A: Asking>(matches: &ArgMatches, joined: Option<(&Shards, &Joining)>, out: &Out) -> Result<()> {
    let (analysis, on, input) = read::<A>(matches, out)?;
    check_memory(&analysis, &on, &input, out)?;
    if let Some(session) = on.session().filter(|_| out.prints) {
        unlike::note(session, input.prompts(), out);
    }
    let words = words(&analysis, &*on, &input, matches)?;
    let noted = |said: &Said| out.note(flags(said));
    let scale = if scaled::<A>() { group::<DrawArgs>(matches)?.scale() } else { None };
    let asked_to_resume = if A::RESUMES { group::<ResumeArgs>(matches)?.resume } else { false };
    let shard = if shared::<A>() { group::<ShardArgs>(matches)?.shard } else { None };
    let figures = if drawn::<A>() { group::<FiguresArgs>(matches)?.figures } else { Figures::default() };
    let how: Option<OutArgs> = if A::RESULTS == Results::Screen { None } else { Some(group(matches)?) };
    let printed = match joined {
        Some((_, joining)) => Printed::named(joining.table, A::Tables::ALL, A::SHOWS_ALL)?,
        None => Printed::of(matches, A::Tables::ALL, A::SHOWS_ALL)?,
    };
    printed.check(out.format, how.as_ref(), shard)?;
    let stdout = how.as_ref().map_or(Ok(false), OutArgs::is_stdout)?;
    let opened = if opens::<A>() { group(matches)? } else { OpenArgs::default() };
    let is_unwritten =
        stdout || how.as_ref().is_some_and(|how| how.out.is_none()) && A::RESULTS == Results::FolderIfNamed;
    if opened.open && (is_unwritten || shard.is_some()) {
        return Err(Error::bad_input("no page and no figure is written here that --open could open")
            .hint("leave out --open, or name a folder with --out and let all of it be done here"));
    }
    if let Some(why) = unwritten::<A>(shard.is_some() || asked_to_resume).filter(|_| stdout) {
        return Err(Error::bad_input(format!("{why}, and --out - writes none")).hint("name a folder with --out"));
    }
    if how.as_ref().is_some_and(|how| how.print_folder && how.out.is_none() && A::RESULTS == Results::FolderIfNamed) {
        return Err(
            Error::bad_input("no folder is written, and --print-folder prints its name").hint("name one with --out")
        );
    }
    if let (Results::Dataset, Some(how)) = (A::RESULTS, &how) {
        return data_set((&analysis, &*on, &input), how, (shard, asked_to_resume), (&words, printed), out);
    }
    let Some(how) = how.filter(|how| !stdout && (A::RESULTS == Results::Folder || how.out.is_some())) else {
        let to = match A::RESULTS {
            Results::Folder | Results::FolderIfNamed => To::Temporary(tempfile::tempdir()?),
            _ => To::Memory,
        };
        // Where a folder is the rule, as long as with one, and shown as with one.
        let watch = (A::RESULTS == Results::Folder).then(|| out.watch(A::NAME));
        let watch: &dyn Watch = match &watch {
            Some(watch) => watch,
            None => &(),
        };
        let mut sink = Sink::new(to, on.provenance(words), watch, &noted);
        sink.options.scale = scale;
        analysis.run(&on, &input, &mut sink)?;
        let mut found = sink.finish(true)?;
        let shown = match A::RESULTS {
            Results::Folder if !A::DRAWS => Some(Shown::default()),
            Results::Folder => Some(draw(&mut found, None, printed, Figures(0))?),
            _ => None,
        };
        return print(found, shown.as_ref(), printed, (input.len(), input.prompts()), out);
    };
    let mut request = Request::new(&analysis, &*on, &input)?;
    let whole = request_hash(&request)?;
    let place = joined.map_or_else(|| how.place(A::NAME, &whole), |(_, how)| how.folder.to_owned());
    if let Some((shards, _)) = joined.filter(|(shards, _)| shards.record().request != whole) {
        let folder = shards.folders().next().unwrap_or(&place);
        return Err(Error::bad_input(format!(
            "{} was made of another model or input than is there now",
            folder.display()
        ))
        .hint("join parts where they were made, with the same files"));
    }
    let path = match shard {
        Some(_) if scale.is_some() => {
            return Err(Error::bad_input("a shard has no figures, and so none with a scale")
                .hint(said("give {scale} to `pellucid merge`, which draws them")));
        }
        Some(shard) => shards::place(&place, &whole, shard)?,
        None => place.clone(),
    };
    if let Some(shard) = shard.filter(|_| asked_to_resume && shards::is_done(&path, &whole)) {
        out.say(parted(shard, &place));
        return if how.print_folder { out.folder(&path) } else { Ok(()) };
    }
    request.shard = shard;
    // Listens to Ctrl-C from here on, so that nothing is left by it.
    let watch = out.watch(A::NAME);
    let hash = request_hash(&request)?;
    let create = |claiming: &Claiming| RunFolder::create(path.clone(), &names::<A>(), hash, how.force, claiming);
    let mut folder = match joined {
        Some((_, joining)) => create(joining.claiming)?,
        None => how.claiming(out, &words, create)?,
    };
    // Whoever this step waited for has done it.
    if !out.prints && folder.waited() && is_whole(folder.path(), &whole) {
        return Ok(());
    }
    let (mut parts, mut pieces) = (None, Pieces::default());
    if let Some((shards, _)) = joined {
        pieces = Pieces::of_shards(shards.folders())?;
    } else if A::RESUMES {
        // Whoever this one waited for may have completed what was to be resumed, and of a shard one command begins it and goes on.
        let may_be_none = folder.waited() || shard.is_some();
        let resume = asked_to_resume && (is_begun(folder.path()) || !may_be_none);
        match A::PIECES {
            true => pieces = Pieces::open(folder.path(), &whole, resume, how.force)?,
            false => parts = Some(Parts::open(folder.path(), &request, resume, how.force)?),
        }
    }
    let provenance = Provenance { shard: shard.map(|shard| shard.to_string()), ..on.provenance(words.clone()) };
    let mut sink = Sink::new(To::Folder(&mut folder), provenance, &watch, &noted);
    (sink.parts, sink.pieces) = (parts, pieces);
    sink.shard = shard;
    sink.options.scale = scale;
    let stopped = match analysis.run(&on, &input, &mut sink) {
        Ok(()) => None,
        // Pieces are whole files, and what was made of them is not.
        Err(e) if A::PIECES && e.kind() == ErrorKind::Interrupted && Pieces::are_in(&path) => {
            return Err(signals::interrupted("what was done is kept").hint(goes_on(&place)).because(e));
        }
        Err(e) if A::RESUMES && !A::PIECES && e.kind() == ErrorKind::Interrupted => Some(e),
        Err(e) => return Err(e),
    };
    let mut found = sink.finish(stopped.is_none())?;
    let shown = match shard {
        None if !A::DRAWS => Some(Shown::default()),
        None => Some(draw(&mut found, Some(&mut folder), printed, figures)?),
        Some(shard) => {
            // Its rows are for whoever joins them.
            found.tables.clear();
            let (told, complete) = (found.told.take(), stopped.is_none());
            let (analysis, items) = (A::NAME.to_owned(), input.len());
            let table = match A::PIECES {
                true => LIST.to_owned(),
                false => format!("{}.parquet", A::Tables::ALL[0].info().name),
            };
            let path = folder.file(&table);
            if A::PIECES {
                found.pieces.write_list(&path, &found.provenance)?;
            }
            let (bytes, blake3) = Default::default();
            let record = Record { analysis, request: whole, shard, items, table, bytes, blake3, complete, told };
            folder.shard = Some(record.measured(&path)?);
            found.said.push(parted(shard, &place));
            None
        }
    };
    if let Some(e) = stopped {
        // Before the first wave is measured there is nothing to go on with.
        let hint = match Parts::are_in(&path) {
            true => goes_on(&place),
            false => "run the same command again: nothing had been measured yet".to_owned(),
        };
        let what = match folder.finish_stopped(&words)? {
            Some(finished) => {
                out.wrote(&finished);
                "what was done is kept"
            }
            None => "what was done is kept, and so are the complete results that were there",
        };
        return Err(signals::interrupted(what).hint(hint).because(e));
    }
    let finished = folder.finish(&words)?;
    out.wrote(&finished);
    // Before anybody else is let in, who may keep parts there.
    found.parts.iter_mut().for_each(Parts::clear);
    if shard.is_none() {
        found.pieces.clear();
    }
    let (path, files) = (finished.path.clone(), finished.files.clone());
    drop(finished);
    opened.best_of(&path, &files, out);
    if how.print_folder {
        return printed_folder(found, &path, out);
    }
    let made: Vec<PathBuf> =
        A::FILES.iter().filter(|name| files.iter().any(|file| file == *name)).map(|name| path.join(name)).collect();
    // Tables are one document for a program, in which names of files have no place.
    if out.prints && !printed.is_chosen() && (out.format == Format::Table || A::Tables::ALL.is_empty()) {
        out.files(&made)?;
    }
    let shown = shown.as_ref().filter(|_| A::RESULTS == Results::Folder);
    print(found, shown, printed, (input.len(), input.prompts()), out)
}

/// Refuses what does not fit into memory, before anything runs.
pub(super) fn check_memory<A: Analysis>(analysis: &A, on: &A::On, input: &A::Input, out: &Out) -> Result<()> {
    let Some(plan) = on.plan(analysis.need(on, input)?) else { return Ok(()) };
    on.memory().map_or(Ok(()), |memory| plan.check_budget(memory))?;
    out.planned(&plan);
    if let Some(warning) = on.fits(&plan)? {
        out.say(warning);
    }
    Ok(())
}

/// How to go on with what a stopped run left.
fn goes_on(folder: &Path) -> String {
    format!("the same command with --resume --out {} goes on from here", folder.display())
}

/// What is said when one of several processes has done its part.
fn parted(shard: Shard, folder: &Path) -> String {
    format!("part {shard} is done: `pellucid merge {}` joins all parts once they are there", folder.display())
}

/// Makes of shards what one process makes.
fn join<A: Asking>(shards: &Shards, how: &Joining, out: &Out) -> Result<()> {
    if how.scale.is_some() && !scaled::<A>() {
        return Err(Error::bad_input(format!("the figures of {} have no scale to choose", A::NAME))
            .hint(said("leave out {!scale}; it is for figures of patches, paths, ablations and attributions")));
    }
    let (record, provenance) = (shards.record(), shards.provenance());
    if A::PIECES {
        shards::place(how.folder, &record.request, record.shard)?;
        let words = provenance.command.iter().skip(1);
        let matches = clap_of::<A>().try_get_matches_from(words).map_err(|e| super::misunderstood(&e))?;
        return run_on::<A>(&matches, Some((shards, how)), out);
    }
    let printed = Printed::named(how.table, A::Tables::ALL, A::SHOWS_ALL)?;
    let join = A::JOINS.ok_or_else(|| Error::compute(format!("{} has no shards", A::NAME)).fault())?;
    shards::place(how.folder, &record.request, record.shard)?;
    let watch = out.watch("merge");
    let noted = |said: &Said| out.note(flags(said));
    let request = record.request.clone();
    let mut folder = RunFolder::create(how.folder.to_owned(), &names::<A>(), request, false, how.claiming)?;
    let mut sink = Sink::new(To::Folder(&mut folder), provenance.clone(), &watch, &noted);
    sink.options.scale = how.scale;
    join(shards, &mut sink)?;
    let mut found = sink.finish(true)?;
    let shown = draw(&mut found, Some(&mut folder), printed, how.figures)?;
    out.wrote(&folder.finish(&provenance.command)?);
    print(found, Some(&shown), printed, (record.items, &[]), out)
}

/// Runs an analysis that makes a data set, whose finished blocks stay wherever it is stopped.
fn data_set<A: Asking>(
    (analysis, on, input): (&A, &A::On, &A::Input),
    how: &OutArgs,
    (shard, resume): (Option<Shard>, bool),
    (words, printed): (&[String], Printed),
    out: &Out,
) -> Result<()> {
    let request = Request::new(analysis, on, input)?;
    let folder = how.place(A::NAME, &request_hash(&request)?);
    let request = serde_json::to_value(&request).map_err(|e| Error::compute(e.to_string()).fault())?;
    let noted = |said: &Said| out.note(flags(said));
    let watch = out.watch_tokens(A::NAME);
    let found = how.claiming(out, words, |claiming| {
        let to = Destination { folder: folder.clone(), request, resume, force: how.force, claiming };
        let mut sink = Sink::new(To::Dataset(to), on.provenance(words.to_vec()), &watch, &noted);
        sink.shard = shard;
        analysis.run(on, input, &mut sink)?;
        sink.finish(true)
    });
    let found = found.map_err(|e| match e.kind() {
        ErrorKind::Interrupted => {
            signals::interrupted("blocks that were finished are kept").hint(goes_on(&folder)).because(e)
        }
        _ => e,
    })?;
    match how.print_folder {
        true => printed_folder(found, &folder, out),
        false => print(found, None, printed, (input.len(), input.prompts()), out),
    }
}
