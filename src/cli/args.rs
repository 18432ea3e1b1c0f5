//! Arguments that several commands share.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ColorChoice, ValueEnum};
use serde::Serialize;

use super::input::{OfColumns, ReadArgs, aligned, flat, parse_columns, written};
use super::out::{Out, read_input};
use super::wait::WaitArgs;
use crate::analysis::Need;
use crate::analysis::patch::{Align, Direction};
use crate::error::{Error, Result};
use crate::model::{Hardware, Placement, Processing};
use crate::ops::matrix::Kept;
use crate::session::plan::available;
use crate::session::records::Input;
use crate::session::{RunFolder, Session, pairs, prompts};
use crate::table::Format;
use crate::text::ids::{ids_of, literal, parse_ids};
use crate::text::records::Written;
use crate::text::{Bos, DEMO, ModelSource, NamedPosition, Pair, Prompt, PromptEntry, Tokenizer, Want, build_prompts};

/// How much is said, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "Talk")]
pub(super) struct Talk {
    /// How stdout is written
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// In CSV, put an apostrophe before text that a spreadsheet would take for a formula: text that begins with =, +, -, @, a tab
    /// or a carriage return. Needs --format csv
    #[arg(long, global = true)]
    pub csv_safe: bool,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more on stderr: what was loaded, and the causes of errors
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Never use the network: a model that is not in the Hugging Face cache is an error, not a download. As HF_HUB_OFFLINE=1
    #[arg(long, global = true)]
    pub offline: bool,
    /// Send the Hub's token although HF_ENDPOINT begins with http://, where whoever is on the way can read it. To this machine
    /// itself it is sent without asking
    #[arg(long, global = true)]
    pub insecure: bool,
    /// At most so much is fetched of a file whose size the Hub does not say [default: of weights what the model's index says
    /// that all of them are, else 4GB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_bytes)]
    pub fetch_limit: Option<usize>,
}

/// Which model.
#[derive(Args, Debug)]
pub(super) struct ModelArgs {
    /// `demo`, which is built in; a folder with config.json and weights; or a Hugging Face id (`gpt2`, `org/name@revision`),
    /// fetched once into the cache that Python uses. A folder called demo is `./demo`
    #[arg(short, long, env = "PELLUCID_MODEL", hide_env_values = true, default_value = DEMO, value_name = "MODEL")]
    pub model: String,
}

impl ModelArgs {
    /// Finds the model's files, as many of them as are wanted.
    pub fn find(&self, want: Want, out: &Out) -> Result<ModelSource> {
        ModelSource::resolve_with(&self.model, want, &out.hub(), &out.fetching())
    }
}

/// Which unknown keys of config.json are let through.
#[derive(Args, Debug)]
pub(super) struct AcceptArgs {
    /// Let through a key of config.json that pellucid does not know, because you know that it does not change what the model
    /// computes; may be repeated. It stands in the provenance of the results. A key that is known to change the model is
    /// refused all the same
    #[arg(long, value_name = "KEY")]
    pub accept_config: Vec<String>,
}

/// Which model, and what of its weights.
#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    accept: AcceptArgs,
    /// Process the weights as TransformerLens does: fold-ln, center-writing, center-unembed, fold-value-biases, or several of
    /// them with commas between. Probabilities stay the same, activations do not [default: as they are stored]
    #[arg(long, value_name = "HOW", value_delimiter = ',')]
    process: Vec<String>,
    /// What weights are kept in. `auto` leaves them in the file, in f32, f16 or bf16 as they are stored. Activations on the
    /// CPU are f32 whatever this is, and 16-bit weights are widened as they are read, which is exact; storing f32 in f16 or
    /// bf16 rounds. On a GPU, activations have the dtype of the weights
    #[arg(long, value_name = "DTYPE", default_value = "auto", value_parser = ["auto", "f32", "f16", "bf16"])]
    dtype: String,
    /// Where to compute: cpu, cuda, cuda:1 or metal. GPUs need a build with `--features cuda` or `--features metal`
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
}

impl LoadArgs {
    /// Loads the model.
    pub fn load(&self, out: &Out) -> Result<Session> {
        self.load_named(&self.model.model, out)
    }

    /// Loads the model called `name` in place of `-m`'s, where there is one.
    pub fn load_or(&self, name: Option<&str>, out: &Out) -> Result<Session> {
        self.load_named(name.unwrap_or(&self.model.model), out)
    }

    fn load_named(&self, name: &str, out: &Out) -> Result<Session> {
        let process = self.process.iter().map(|name| Processing::parse(name)).collect::<Result<Vec<_>>>()?;
        let placement = Placement { kept: Kept::parse(&self.dtype), place: Hardware::parse(&self.device)? };
        // Before the files are looked for, which may take longer.
        placement.place.device()?;
        let source = Session::find(name, &self.accept.accept_config, &out.hub(), &out.fetching())?;
        let loaded = Session::placed(source, &process, placement)?;
        out.accepted(&loaded.source);
        out.loaded(&loaded);
        loaded.notes().iter().for_each(|note| out.note(note));
        Ok(loaded)
    }
}

/// Which prompts.
#[derive(Args, Debug)]
pub(super) struct PromptArgs {
    /// Texts, one prompt each
    #[arg(value_name = "PROMPT")]
    texts: Vec<String>,
    /// A file of prompts: .txt (one a line); .jsonl, .json, .csv, .tsv or .parquet (`text` or `ids`, optional `id`); or `-`,
    /// standard input
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// How that file is written, if its name does not say so. From a pipe, without this: a text on each line
    #[arg(long, value_name = "FORMAT", requires = "prompts", value_parser = Written::NAMES)]
    prompts_format: Option<String>,
    /// What the file calls these columns, such as text=prompt,id=known_id; also fields inside others, text=rewrite.prompt, and
    /// texts made of fields, 'text=The capital of {country} is'. subject=NAME takes the place of {} in the text
    #[arg(long, value_name = "NAMES", requires = "prompts", value_parser = parse_columns)]
    columns: Vec<OfColumns>,
    #[command(flatten)]
    pub read: ReadArgs,
    /// Token ids instead of text, such as 1,2,3; may be repeated
    #[arg(long, value_name = "IDS")]
    ids: Vec<String>,
    /// Begin every prompt with the tokenizer's BOS token
    #[arg(long, conflicts_with = "no_bos")]
    bos: bool,
    /// Take away the BOS token that the tokenizer adds
    #[arg(long)]
    no_bos: bool,
}

impl PromptArgs {
    /// The prompts as tokens of this model.
    pub fn build(&self, loaded: &Session) -> Result<Vec<Prompt>> {
        loaded.prompts(&self.entries()?, self.bos())
    }

    /// The prompts as tokens of this tokenizer, of any length.
    pub fn tokens(&self, tokenizer: &Tokenizer) -> Result<Vec<Prompt>> {
        build_prompts(&self.entries()?, Some(tokenizer), tokenizer.vocab_size(), None, self.bos())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.ids.is_empty() && self.prompts.is_none()
    }

    fn entries(&self) -> Result<Vec<PromptEntry>> {
        let mut entries: Vec<PromptEntry> = self.texts.iter().map(PromptEntry::text).collect();
        for ids in &self.ids {
            entries.push(PromptEntry::ids(parse_ids(ids)?));
        }
        if let Some(path) = &self.prompts {
            let bounds = self.read.bounds();
            let input = Input { path, written: written(self.prompts_format.as_deref()), read: read_input, bounds };
            entries.extend(prompts::from_input(&input, &flat(&self.columns))?);
        }
        if entries.is_empty() {
            return Err(Error::bad_input("there is no prompt").hint("give a text, --ids 1,2,3, or --prompts FILE"));
        }
        Ok(entries)
    }

    /// How text becomes tokens.
    pub fn bos(&self) -> Bos {
        match (self.bos, self.no_bos) {
            (true, _) => Bos::Always,
            (_, true) => Bos::Never,
            _ => Bos::AsTokenizer,
        }
    }
}

/// Which pairs of prompts, and what they are measured by.
#[derive(Args, Debug)]
pub(super) struct PairArgs {
    /// The prompt whose answer is right; or token ids, such as '#1,2,3' (##1 is the text #1)
    #[arg(long, value_name = "TEXT", required_unless_present = "pairs")]
    clean: Option<String>,
    /// The prompt that lacks what makes it so, of as many tokens
    #[arg(long, value_name = "TEXT", requires = "clean")]
    corrupt: Option<String>,
    /// The token that is right after the clean prompt, such as " Mary", or a token id, such as #17 (##17 is the text #17); may be
    /// repeated
    #[arg(long, value_name = "TOKEN")]
    answer: Vec<String>,
    /// The token that is right after the corrupt prompt, or wrong after both; may be repeated
    #[arg(long, value_name = "TOKEN")]
    foil: Vec<String>,
    /// A file of pairs, .csv, .tsv, .jsonl, .json or .parquet, or `-`, standard input: columns clean, corrupt (text) or clean_ids,
    /// corrupt_ids (token ids), answer, foil (text) or answer_id, foil_id (token ids, several in a list), id
    #[arg(long, value_name = "FILE", conflicts_with_all = ["clean", "corrupt", "answer", "foil"])]
    pairs: Option<PathBuf>,
    /// How that file is written, if its name does not say so
    #[arg(long, value_name = "FORMAT", requires = "pairs", value_parser = ["jsonl", "json", "csv", "tsv", "parquet"])]
    pairs_format: Option<String>,
    /// How the file calls these columns, such as corrupt=corrupted,answer_id=correct_idx; also fields inside others,
    /// clean=rewrite.prompt, and texts made of fields, 'answer= {attribute}'
    #[arg(long, value_name = "NAMES", requires = "pairs", value_parser = parse_columns)]
    columns: Vec<OfColumns>,
    #[command(flatten)]
    pub read: ReadArgs,
    /// Sweep these positions alone, and take means over pairs by their names: NAME=COLUMN (of the file), NAME=NUMBER, `end` for the
    /// last; such as io=io_pos,s2=s2_pos,end. Columns hold positions from 0, negative from the end, or words of the clean prompt,
    /// which mean their last token
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = parse_position, conflicts_with = "align")]
    positions: Vec<NamedPosition>,
    /// Where positions of prompts of different lengths are the same: counted from the start, or from the end
    #[arg(long, value_name = "WHERE", default_value = "start", value_parser = ["start", "end"])]
    align: String,
    /// Leave out pairs whose prompts are not as many tokens, and say which
    #[arg(long, requires = "pairs")]
    skip_misaligned: bool,
    /// Only the first N pairs of the file
    #[arg(long, value_name = "N", requires = "pairs", value_parser = at_least_one())]
    limit: Option<usize>,
    /// Begin every prompt with the tokenizer's BOS token
    #[arg(long, conflicts_with = "no_bos")]
    bos: bool,
    /// Take away the BOS token that the tokenizer adds
    #[arg(long)]
    no_bos: bool,
}

fn parse_position(text: &str) -> Result<NamedPosition, String> {
    NamedPosition::parse(text).map_err(|e| e.to_string())
}

impl PairArgs {
    /// The pairs as tokens of this model.
    pub fn build(&self, loaded: &Session, out: &Out) -> Result<Vec<Pair>> {
        let bos = self.bos();
        if let Some(path) = &self.pairs {
            let bounds = self.read.bounds();
            let input = Input { path, written: written(self.pairs_format.as_deref()), read: read_input, bounds };
            let mut entries = pairs::from_input(&input, &flat(&self.columns), &self.positions)?;
            if self.skip_misaligned {
                entries = aligned(loaded, entries, bos, out)?;
            }
            entries.truncate(self.limit.unwrap_or(usize::MAX));
            return loaded.pairs(&entries, bos, &self.positions);
        }
        let entry = |text: &String| match ids_of(text) {
            Some(ids) => ids.map(PromptEntry::ids),
            None => Ok(PromptEntry::text(literal(text))),
        };
        let entries: Vec<PromptEntry> =
            [self.clean.as_ref(), self.corrupt.as_ref()].into_iter().flatten().map(entry).collect::<Result<_>>()?;
        let mut prompts = loaded.prompts(&entries, bos)?.into_iter();
        let clean = prompts.next().ok_or_else(|| {
            Error::bad_input("there is no clean prompt").hint("give one with --clean, or pairs with --pairs")
        })?;
        let tokens = |texts: &[String]| texts.iter().map(|t| loaded.target(t)).collect::<Result<Vec<_>>>();
        let words = [tokens(&self.answer)?, tokens(&self.foil)?];
        let pair = loaded.new_pair((0, "0".into()), (clean, prompts.next()), words, &self.positions, |_| None)?;
        Ok(vec![pair])
    }

    /// How positions of different pairs are matched.
    pub fn align(&self) -> Result<Align> {
        match self.positions.is_empty() {
            true => Align::parse(&self.align),
            false => Ok(Align::Named),
        }
    }

    /// How text becomes tokens.
    pub fn bos(&self) -> Bos {
        match (self.bos, self.no_bos) {
            (true, _) => Bos::Always,
            (_, true) => Bos::Never,
            _ => Bos::AsTokenizer,
        }
    }
}

/// Which run is changed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Way {
    Denoise,
    Noise,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::Denoise => Self::Denoise,
            Way::Noise => Self::Noise,
        }
    }
}

/// Where results go and how much memory may be used.
#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// Folder for the results [default: runs/<analysis>-<hash of the request>]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Replace the results of another request in that folder. Files that pellucid did not write are never touched
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Memory for activations and logits, beside the weights
    #[arg(long, value_name = "SIZE", default_value = "512MB", value_parser = parse_bytes)]
    pub memory: usize,
}

impl RunArgs {
    /// The folder for the results of `request`, which are `tables` and their figures.
    pub fn folder(&self, out: &Out, analysis: &str, tables: &[&str], request: &impl Serialize) -> Result<RunFolder> {
        self.wait.folder(out, self.out.as_deref(), (analysis, tables), request, self.force)
    }

    /// Says what the request needs, and refuses what cannot fit, into the budget or into memory, before anything runs.
    pub fn plan(&self, out: &Out, loaded: &Session, need: Need) -> Result<()> {
        loaded.plan(need).check_budget(self.memory)?;
        planned(out, loaded, need)
    }
}

/// How figures of effects are drawn. No part of the request: the same folder, the same table.
#[derive(Args, Debug)]
pub(super) struct DrawArgs {
    /// Where the colours and axes of the figures end: an effect, such as 1 or 0.5, beyond which effects are marked as cut off; or
    /// auto, as far as the effects go, but shares at least to 0.1 and at most to 2
    #[arg(long, value_name = "MAX", default_value = "auto", value_parser = parse_scale)]
    scale: ScaleEnd,
}

/// Where a scale ends, if that was said.
#[derive(Clone, Copy, Debug)]
struct ScaleEnd(Option<f64>);

impl DrawArgs {
    /// Where the scale ends; nothing if it fits the effects.
    pub fn scale(&self) -> Option<f64> {
        self.scale.0
    }
}

fn parse_scale(text: &str) -> Result<ScaleEnd, String> {
    match text.parse::<f64>() {
        _ if text == "auto" => Ok(ScaleEnd(None)),
        // Smaller and larger numbers are no f32, which effects are.
        Ok(end) if (1e-30..1e30).contains(&end) => Ok(ScaleEnd(Some(end))),
        _ => Err("not the end of a scale; write a number over 0, such as 0.5, or auto".into()),
    }
}

/// Says what the request needs beside the weights, and refuses what cannot fit into memory, before anything runs.
pub(super) fn planned(out: &Out, loaded: &Session, need: Need) -> Result<()> {
    let plan = loaded.plan(need);
    out.planned(&plan);
    if let Some(warning) = plan.check_loaded(&loaded.placement, available())? {
        out.say(warning);
    }
    Ok(())
}

/// A number that cannot be 0.
pub(super) fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// `512MB`, `2GiB`, `1000000`.
pub(super) fn parse_bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        unit => return Err(format!("`{unit}` is not a unit; use MB, GB, MiB or GiB")),
    };
    match digits.trim().parse::<f64>() {
        Ok(n) if n * unit >= 1.0 && n * unit < 1e18 => Ok((n * unit) as usize),
        _ => Err("not a size; write 512MB or 2GiB".into()),
    }
}

/// A layer and a head, as `3.2` or `L3H2`.
pub(super) fn parse_head(text: &str) -> Result<(u32, u32), String> {
    let plain = text.trim_start_matches(['L', 'l']).replace(['H', 'h'], ".");
    let parse = |part: &str| part.parse::<u32>().ok();
    match plain.split_once('.').map(|(l, h)| (parse(l), parse(h))) {
        Some((Some(layer), Some(head))) => Ok((layer, head)),
        _ => Err("not a head; write 3.2 or L3H2 for head 2 of layer 3".into()),
    }
}

/// The command as provenance has it: without the folder that results went to and how they were talked about, which say
/// nothing about them.
pub(super) fn command() -> Vec<String> {
    let args = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned());
    ["pellucid".to_owned()].into_iter().chain(deciding(args)).collect()
}

/// Options that decide no result, and whether a value follows each: how one talks, how much is fetched and read, how long one waits,
/// where results go and what they replace.
fn undeciding() -> HashMap<String, bool> {
    let groups = ReadArgs::augment_args(WaitArgs::augment_args(Talk::augment_args(clap::Command::new("pellucid"))));
    let written = |arg: &clap::Arg| {
        let (long, short) = (arg.get_long().map(|l| format!("--{l}")), arg.get_short().map(|s| format!("-{s}")));
        let value = arg.get_action().takes_values();
        long.into_iter().chain(short).map(move |name| (name, value)).collect::<Vec<_>>()
    };
    let others = [("--out", true), ("--scale", true), ("--resume", false), ("--force", false)];
    let others = others.map(|(name, value)| (name.to_owned(), value));
    groups.get_arguments().flat_map(written).chain(others).collect()
}

/// The arguments that decide the results.
fn deciding(mut args: impl Iterator<Item = String>) -> Vec<String> {
    let undeciding = undeciding();
    let mut kept = vec![];
    while let Some(arg) = args.next() {
        let (name, with_value) = arg.split_once('=').map_or((&*arg, false), |(name, _)| (name, true));
        match undeciding.get(name) {
            // What follows is prompts.
            None if arg == "--" => kept.extend([arg].into_iter().chain(args.by_ref())),
            None => kept.push(arg),
            Some(true) if !with_value => drop(args.next()),
            Some(_) => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_decide_the_results_is_left_out_of_the_command() {
        let of = |line: &str| deciding(line.split(' ').map(str::to_owned)).join(" ");
        let said = "lens -q -m x --out a --format=csv --csv-safe --wait 5 --top 3 text";
        assert_eq!(of(said), "lens -m x --top 3 text");
        assert_eq!(of("lens --color never -v --force a -- --out b"), "lens a -- --out b");
        let fetched =
            "lens --insecure --fetch-limit 1GB --fetch-limit=1GB --input-rows 5 --offline --resume --scale 1 a=b";
        assert_eq!(of(fetched), "lens a=b");
    }

    #[test]
    fn sizes_and_heads() {
        assert_eq!(parse_bytes("512MB"), Ok(512_000_000));
        assert_eq!(parse_bytes("1.5 GiB").map_err(|_| ()), Ok(1_610_612_736));
        assert!(parse_bytes("many").is_err() && parse_bytes("5 parsecs").is_err() && parse_bytes("0").is_err());
        assert_eq!(parse_head("3.2"), Ok((3, 2)));
        assert_eq!(parse_head("L10H0"), Ok((10, 0)));
        assert!(parse_head("3").is_err() && parse_head("a.b").is_err());
    }
}
