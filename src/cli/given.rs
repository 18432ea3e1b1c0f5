//! What analyses are asked of and run on, as it is named and given on the command line.

use std::path::PathBuf;

use clap::Args;

use super::args::{AcceptArgs, LoadArgs, MemoryArgs, ModelArgs, at_least_one};
use super::command::{Given, Named, NoArgs};
use super::input::{
    DatasetFormat, OfColumns, PAIR_FORMATS, PairsFile, ReadArgs, aligned, flat, parse_columns, parse_position, written,
};
use super::out::{Out, flags};
use super::piped::read_input;
use super::unlike;
use crate::analysis::cost::Costed;
use crate::analysis::model::Described;
use crate::analysis::verify::{Checked, Dump, Verified};
use crate::error::{Error, Result};
use crate::session::prompts::{PromptFile, WORDS};
use crate::session::records::Input;
use crate::session::{Pairs, Prompts, Session, Steered, Swept, Target, Targeted, WithDataset, read_vector};
use crate::sweep::Align;
use crate::text::chat::Date;
use crate::text::ids::parse_ids;
use crate::text::records::Written;
use crate::text::{Around, Bos, Chat, NamedPosition, Pair, Prompt, PromptEntry, Want};

/// Which model, and how much memory its runs may take.
#[derive(Args)]
pub(super) struct SessionArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    memory: MemoryArgs,
}

impl Named for Session {
    type Args = SessionArgs;

    fn load(args: &SessionArgs, out: &Out) -> Result<Self> {
        Ok(Self { memory_bytes: args.memory.memory, ..args.load.load(None, out)? })
    }

    fn session(&self) -> Option<&Session> {
        Some(self)
    }
}

/// Which model is verified.
#[derive(Args)]
pub(super) struct CheckedArgs {
    /// The model, as with -m, whose place it takes
    #[arg(value_name = "MODEL")]
    name: Option<String>,
    #[command(flatten)]
    load: LoadArgs,
}

impl Named for Checked {
    type Args = CheckedArgs;

    fn load(args: &CheckedArgs, out: &Out) -> Result<Self> {
        Ok(Self(args.load.load(args.name.as_deref(), out)?))
    }

    fn session(&self) -> Option<&Session> {
        Some(&self.0)
    }
}

/// Which model is described.
#[derive(Args)]
pub(super) struct DescribedArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    accept: AcceptArgs,
}

impl Named for Described {
    type Args = DescribedArgs;

    fn load(args: &DescribedArgs, out: &Out) -> Result<Self> {
        let source = Session::find(&args.model.model, &args.accept.accept_config, &out.hub(), &out.fetching())?;
        let described = Self::new(source)?;
        out.accepted(&described.source);
        Ok(described)
    }
}

/// A model of which nothing but its configuration is fetched.
fn configured(model: &ModelArgs, accept: &AcceptArgs, out: &Out) -> Result<Described> {
    let described = Described::new(model.find(Want::Config, out)?.accepting(&accept.accept_config))?;
    out.accepted(&described.source);
    Ok(described)
}

/// Which model's cost is counted.
#[derive(Args)]
pub(super) struct CostedArgs {
    #[command(flatten)]
    model: DescribedArgs,
    /// Also load the weights, and time this machine: one more token over prefixes of these lengths, and prompts
    #[arg(long)]
    measure: bool,
}

impl Named for Costed {
    type Args = CostedArgs;

    fn load(args: &CostedArgs, out: &Out) -> Result<Self> {
        let DescribedArgs { model, accept } = &args.model;
        // Its weights are large, and only a measurement needs them.
        if !args.measure {
            return Ok(Self { described: configured(model, accept, out)?, measured: None });
        }
        let described = Described::load(&args.model, out)?;
        let session = Session::from_source(described.source.clone(), &[])?;
        Ok(Self { described, measured: Some(session) })
    }

    fn session(&self) -> Option<&Session> {
        self.measured.as_ref()
    }
}

/// Which model's hooks are listed.
#[derive(Args)]
pub(super) struct AnyArgs {
    /// The model whose hooks to list [default: every hook there is; with a pattern, those of demo]
    #[arg(short, long, env = "PELLUCID_MODEL", hide_env_values = true, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    accept: AcceptArgs,
}

impl Named for Option<Described> {
    type Args = AnyArgs;

    fn load(args: &AnyArgs, out: &Out) -> Result<Self> {
        let Some(model) = args.model.clone() else { return Ok(None) };
        Ok(Some(configured(&ModelArgs { model }, &args.accept, out)?))
    }
}

impl Given<Session> for Prompts {
    type Args = PromptArgs;

    fn read(args: &PromptArgs, on: &Session, out: &Out) -> Result<Self> {
        Ok(Self { prompts: args.build(on, out)? })
    }
}

impl Given<Session> for Targeted {
    type Args = PromptArgs;

    fn read(args: &PromptArgs, on: &Session, out: &Out) -> Result<Self> {
        args.targeted(&WORDS, on, out)
    }
}

/// Which prompts, and which others.
#[derive(Args)]
pub(super) struct WithDatasetArgs {
    #[command(flatten)]
    prompts: PromptArgs,
    /// A file of pairs in place of prompts, as for `pellucid patch`: columns clean (text) or clean_ids (token ids), answer, foil
    /// (text) or answer_id, foil_id (token ids), id. Each clean prompt is measured by its own answer and foil
    #[arg(long, value_name = "FILE", group = "file_of_prompts", conflicts_with_all = ["texts", "ids", "answer", "foil"])]
    pairs: Option<PathBuf>,
    /// Format of that file, if its name does not say it
    #[arg(long, value_name = "FORMAT", requires = "pairs", value_parser = PAIR_FORMATS)]
    pairs_format: Option<String>,
    /// Prompts that means and resampled values are taken from, as for --prompts [default: the prompts themselves]
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
    #[command(flatten)]
    written: DatasetFormat,
}

impl Given<Session> for WithDataset {
    type Args = WithDatasetArgs;

    fn read(args: &WithDatasetArgs, on: &Session, out: &Out) -> Result<Self> {
        let own = &args.prompts.named;
        let mut given = match &args.pairs {
            None => Self { prompts: args.prompts.build(on, out)?, ..Self::default() },
            Some(path) => {
                let file =
                    PairsFile { path, format: args.pairs_format.as_deref(), columns: &own.columns, limit: own.limit };
                let entries = file.pairs(own.read.bounds(), &[], true, out)?;
                Self::from(&on.pairs(&entries, own.around(), &[])?)
            }
        };
        let dataset = args.dataset.as_ref().map(|path| args.written.prompts(path, own.read.bounds())).transpose()?;
        given.dataset = dataset.map(|entries| on.prompts(&entries, own.around())).transpose()?;
        Ok(given)
    }
}

/// Which prompts, and what is added to their runs.
#[derive(Args)]
pub(super) struct SteeredArgs {
    #[command(flatten)]
    prompts: PromptArgs,
    /// A vector to steer by: a safetensors file, or FILE:TENSOR where it holds several
    #[arg(long, value_name = "FILE", requires = "steer_at")]
    steer: Option<String>,
}

impl Given<Session> for Steered {
    type Args = SteeredArgs;

    fn read(args: &SteeredArgs, on: &Session, out: &Out) -> Result<Self> {
        Ok(Self { prompts: args.prompts.build(on, out)?, steer: args.steer.as_deref().map(read_vector).transpose()? })
    }
}

/// Which prompts a model is verified on.
#[derive(Args)]
pub(super) struct VerifiedArgs {
    #[command(flatten)]
    prompts: PromptArgs,
    /// Compare with what another program made of the same tokens, site by site; says whether a difference is rounding, by a
    /// run in f64 that needs memory for the weights twice more
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
}

impl Given<Checked> for Verified {
    type Args = VerifiedArgs;

    fn read(args: &VerifiedArgs, Checked(on): &Checked, out: &Out) -> Result<Self> {
        let dump = args.reference.as_deref().map(Dump::open).transpose()?;
        let given = (!args.prompts.is_empty()).then(|| args.prompts.build(on, out)).transpose()?;
        Self::new(on, given, dump)
    }
}

impl Given<Session> for Pairs {
    type Args = PairArgs;

    fn read(args: &PairArgs, on: &Session, out: &Out) -> Result<Self> {
        Ok(Self { pairs: args.build(on, out)?, align: args.align()? })
    }
}

/// Which pairs, and what is put into their runs.
#[derive(Args)]
pub(super) struct SweptArgs {
    #[command(flatten)]
    pairs: PairArgs,
    /// Prompts that means and resampled values are taken from: .txt, .jsonl, .json, .csv, .tsv or .parquet, or `-`, standard input
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
    #[command(flatten)]
    written: DatasetFormat,
    /// The vector to add: a safetensors file, or FILE:TENSOR where it holds several
    #[arg(long, value_name = "FILE")]
    vector: Option<String>,
}

impl Given<Session> for Swept {
    type Args = SweptArgs;

    fn read(args: &SweptArgs, on: &Session, out: &Out) -> Result<Self> {
        let pairs = Pairs::read(&args.pairs, on, out)?;
        let vector = args.vector.as_deref().map(read_vector).transpose()?;
        let dataset = match &args.dataset {
            Some(path) => {
                on.prompts(&args.written.prompts(path, args.pairs.read.bounds())?, args.pairs.around.around())?
            }
            None => vec![],
        };
        Ok(Self { pairs, dataset, vector })
    }
}

/// Nothing is given.
impl<O> Given<O> for () {
    type Args = NoArgs;

    fn read(_: &NoArgs, _: &O, _: &Out) -> Result<Self> {
        Ok(())
    }
}

/// How text becomes tokens.
#[derive(Args, Debug)]
pub(super) struct AroundArgs {
    /// Begin every prompt with the tokenizer's BOS token
    #[arg(long, conflicts_with_all = ["no_bos", "chat"])]
    bos: bool,
    /// Remove the BOS token that the tokenizer adds
    #[arg(long, conflicts_with = "chat")]
    no_bos: bool,
    /// Write each prompt as what a user says in a chat, by the tokenizer's own chat template, up to where the model answers.
    /// Positions then count all tokens of the chat. The template says itself whether there is a BOS
    #[arg(long)]
    chat: bool,
    /// The system message of the chat
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// The day that is told to a chat template that asks for it: no result has today's date by itself
    #[arg(long, value_name = "YYYY-MM-DD", requires = "chat")]
    date: Option<Date>,
}

impl AroundArgs {
    pub fn around(&self) -> Around {
        match (self.chat, self.bos, self.no_bos) {
            (true, ..) => Chat { system: self.system.clone(), date: self.date }.into(),
            (_, true, _) => Bos::Always.into(),
            (.., true) => Bos::Never.into(),
            _ => Bos::AsTokenizer.into(),
        }
    }
}

/// Which prompts.
#[derive(Args, Debug)]
pub(super) struct PromptArgs {
    /// Texts, one prompt each
    #[arg(value_name = "PROMPT")]
    texts: Vec<String>,
    #[command(flatten)]
    pub named: NamedPromptArgs,
}

/// Which prompts, beside texts that come after all options.
#[derive(Args, Debug)]
pub(super) struct NamedPromptArgs {
    /// A file of prompts: .txt (one a line); .jsonl, .json, .csv, .tsv or .parquet (`text` or `ids`, optional `id`); or `-`,
    /// standard input
    #[arg(long, value_name = "FILE", group = "file_of_prompts")]
    prompts: Option<PathBuf>,
    /// Format of that file, if its name does not say it. Without this, a pipe has one text on each line
    #[arg(long, value_name = "FORMAT", requires = "prompts", value_parser = Written::NAMES)]
    prompts_format: Option<String>,
    /// Names of columns in the file, such as text=prompt,id=known_id. A name may be a nested field, text=rewrite.prompt, or
    /// a template, 'text=The capital of {country} is'. The column subject=NAME replaces {} in the text
    #[arg(long, value_name = "NAMES", requires = "file_of_prompts", value_parser = parse_columns)]
    columns: Vec<OfColumns>,
    /// Only the first N prompts of the file
    #[arg(long, value_name = "N", requires = "file_of_prompts", value_parser = at_least_one())]
    limit: Option<usize>,
    #[command(flatten)]
    pub read: ReadArgs,
    /// Token ids instead of text, such as 1,2,3; may be repeated
    #[arg(long, value_name = "IDS")]
    ids: Vec<String>,
    #[command(flatten)]
    around: AroundArgs,
}

impl PromptArgs {
    /// The prompts as tokens of this model.
    pub fn build(&self, loaded: &Session, out: &Out) -> Result<Vec<Prompt>> {
        loaded.prompts(&self.entries(out)?, self.named.around.around())
    }

    /// The same with those of [`WORDS`] after them that are `followed`.
    pub fn targeted(&self, followed: &[[&str; 2]], on: &Session, out: &Out) -> Result<Targeted> {
        let PromptFile { entries, asked, .. } = self.named.read(&self.texts, followed, out)?;
        let mut targets = on.targets(&asked)?;
        if !targets.is_empty() {
            // Those of the file come last.
            let others = entries.len() - targets.len();
            targets.splice(0..0, vec![Target::default(); others]);
        }
        Ok(Targeted { prompts: on.prompts(&entries, self.named.around())?, targets })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.named.is_empty()
    }

    /// The prompts as they were given.
    pub fn entries(&self, out: &Out) -> Result<Vec<PromptEntry>> {
        self.named.entries(&self.texts, out)
    }
}

impl NamedPromptArgs {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.prompts.is_none()
    }

    /// What is put around texts.
    pub fn around(&self) -> Around {
        self.around.around()
    }

    /// These texts, and the prompts that are named here.
    pub fn entries(&self, texts: &[String], out: &Out) -> Result<Vec<PromptEntry>> {
        Ok(self.read(texts, &[], out)?.entries)
    }

    /// The same, and of the words after prompts that are `followed` what a file says.
    fn read(&self, texts: &[String], followed: &[[&str; 2]], out: &Out) -> Result<PromptFile> {
        let mut entries: Vec<PromptEntry> = texts.iter().map(PromptEntry::text).collect();
        unlike::unquoted(texts, out);
        let ids = self.ids.iter().map(|ids| Ok(PromptEntry::ids(parse_ids(ids)?)));
        entries.extend(ids.collect::<Result<Vec<_>>>()?);
        let mut file = PromptFile::default();
        if let Some(path) = &self.prompts {
            let bounds = self.read.bounds();
            let input = Input { path, written: written(self.prompts_format.as_deref()), read: read_input, bounds };
            file = PromptFile::read(&input, &flat(&self.columns), followed)?;
            file.unused().into_iter().for_each(|said| out.note(flags(&said)));
            let most = self.limit.unwrap_or(usize::MAX);
            file.entries.truncate(most);
            file.asked.truncate(most);
            entries.append(&mut file.entries);
        }
        if entries.is_empty() {
            return Err(Error::bad_input("there is no prompt").hint("give a text, --ids 1,2,3, or --prompts FILE"));
        }
        file.entries = entries;
        Ok(file)
    }
}

/// Which pairs of prompts, and what they are measured by.
#[derive(Args, Debug)]
pub(super) struct PairArgs {
    /// The clean prompt, after which the answer is right; or token ids, such as '#1,2,3' (##1 is the text #1)
    #[arg(long, value_name = "TEXT", required_unless_present = "pairs")]
    clean: Option<String>,
    /// The corrupt prompt, with as many tokens as the clean one
    #[arg(long, value_name = "TEXT", requires = "clean")]
    corrupt: Option<String>,
    /// The right token after the clean prompt, such as " Mary", or a token id, such as #17 (##17 is the text #17); may be
    /// repeated. Or one word of several tokens, which log_prob and prob can measure
    #[arg(long, value_name = "TOKEN")]
    answer: Vec<String>,
    /// The right token after the corrupt prompt, or a wrong one after both; may be repeated
    #[arg(long, value_name = "TOKEN")]
    foil: Vec<String>,
    /// A file of pairs, .csv, .tsv, .jsonl, .json or .parquet, or `-`, standard input: columns clean, corrupt (text) or clean_ids,
    /// corrupt_ids (token ids), answer, foil (text) or answer_id, foil_id (token ids, several in a list), id
    #[arg(long, value_name = "FILE", conflicts_with_all = ["clean", "corrupt", "answer", "foil"])]
    pairs: Option<PathBuf>,
    /// Format of that file, if its name does not say it
    #[arg(long, value_name = "FORMAT", requires = "pairs", value_parser = PAIR_FORMATS)]
    pairs_format: Option<String>,
    /// Names of columns in the file, such as corrupt=corrupted,answer_id=correct_idx. A name may be a nested field,
    /// clean=rewrite.prompt, or a template, 'answer= {attribute}'
    #[arg(long, value_name = "NAMES", requires = "pairs", value_parser = parse_columns)]
    columns: Vec<OfColumns>,
    #[command(flatten)]
    pub read: ReadArgs,
    /// Sweep only these positions, and take means over pairs by their names: NAME=WORDS (of the clean prompt), NAME=NUMBER or, of
    /// the pairs of a file, NAME=COLUMN (which holds either); `end` for the last. Such as io=Mary,s2=John@2,end. Words mean their last token,
    /// and John@2 is John the second time. Numbers count tokens from 0, the BOS token where there is one; negative ones from the end
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = parse_position, conflicts_with = "align")]
    positions: Vec<NamedPosition>,
    /// Which positions of prompts of different lengths correspond: those counted from the start, or from the end
    #[arg(long, value_name = "WHERE", default_value = "start", value_parser = ["start", "end"])]
    align: String,
    /// Leave out pairs whose prompts differ in length, and list them
    #[arg(long, requires = "pairs")]
    skip_misaligned: bool,
    /// Only the first N pairs of the file
    #[arg(long, value_name = "N", requires = "pairs", value_parser = at_least_one())]
    limit: Option<usize>,
    #[command(flatten)]
    around: AroundArgs,
}

impl PairArgs {
    /// The pairs as tokens of this model.
    pub fn build(&self, loaded: &Session, out: &Out) -> Result<Vec<Pair>> {
        let around = self.around.around();
        if let Some(path) = &self.pairs {
            // Those that are left out do not count.
            let limit = if self.skip_misaligned { None } else { self.limit };
            let file = PairsFile { path, format: self.pairs_format.as_deref(), columns: &self.columns, limit };
            let mut entries = file.pairs(self.read.bounds(), &self.positions, false, out)?;
            if self.skip_misaligned {
                entries = aligned(loaded, entries, &around, out)?;
            }
            entries.truncate(self.limit.unwrap_or(usize::MAX));
            return loaded.pairs(&entries, around, &self.positions);
        }
        let prompts = [self.clean.as_deref(), self.corrupt.as_deref()];
        let pair = loaded.asked(prompts, around, [&self.answer, &self.foil], &self.positions)?;
        Ok(vec![pair])
    }

    /// How positions of different pairs are matched.
    pub fn align(&self) -> Result<Align> {
        match self.positions.is_empty() {
            true => Align::parse(&self.align),
            false => Ok(Align::Named),
        }
    }
}
