//! Several models or tokenizers, as they are named on the command line, and what they are asked on.

use std::path::Path;

use clap::Args;

use super::args::{AcceptArgs, HowArgs, MemoryArgs, ModelArgs};
use super::command::{Given, Named};
use super::given::{NamedPromptArgs, PromptArgs};
use super::out::{Out, flags};
use crate::analysis::compare::{Comparison, Runs};
use crate::analysis::tokens::{Splitter, Splitting, Texts};
use crate::error::{Error, Result};
use crate::session::models::{each_found, expanded, members};
use crate::session::{Models, Prompts, Session};
use crate::text::{DEMO, ModelSource, PromptInput, Tokenizer, Want, build_prompts};

/// Which tokenizers.
#[derive(Args)]
pub(super) struct SplittingArgs {
    /// The model whose tokenizer it is: `demo`, which is built in; a folder, which needs no more than a tokenizer; or a Hugging Face id
    /// (`gpt2`, `org/name@revision`). May be repeated, to compare several
    #[arg(short, long, env = "PELLUCID_MODEL", hide_env_values = true, default_value = DEMO, value_name = "MODEL")]
    model: Vec<String>,
}

impl Named for Splitting {
    type Args = SplittingArgs;

    fn load(args: &SplittingArgs, out: &Out) -> Result<Self> {
        let find = |name: &str| ModelArgs { model: name.to_owned() }.find(Want::Tokens, out);
        let mut all = vec![];
        for (name, source) in each_found(&args.model, find)? {
            let Some(tokenizer) = Tokenizer::from_files(&source.files)? else {
                return Err(source.no_tokenizer());
            };
            tokenizer.note().into_iter().for_each(|note| out.note(flags(note)));
            all.push(Splitter { name, source, tokenizer });
        }
        Ok(Self(all))
    }
}

impl Given<Splitting> for Texts {
    type Args = PromptArgs;

    fn read(args: &PromptArgs, Splitting(all): &Splitting, out: &Out) -> Result<Self> {
        let entries = args.entries(out)?;
        if all.len() > 1 && entries.iter().any(|entry| matches!(entry.input, PromptInput::Ids(_))) {
            return Err(Error::bad_input("token ids mean something to one tokenizer only, and several are compared")
                .hint("give texts, or name one model"));
        }
        let split = |of: &Splitter| {
            let n = of.tokenizer.vocab_size();
            let prompts = build_prompts(&entries, Some(&of.tokenizer), n, None, args.named.around());
            let prompts = prompts.map_err(|e| if all.len() > 1 { e.at(&of.name) } else { e })?;
            Ok(Prompts { prompts })
        };
        all.iter().map(split).collect::<Result<_>>().map(Self)
    }
}

/// Which models, and how each is loaded.
#[derive(Args)]
pub(super) struct ModelsArgs {
    /// A model, as with other commands: `demo`, a folder, or a Hugging Face id. Repeated: the first is the reference, with which each
    /// other is compared. A * in a folder's name or a revision stands for all checkpoints of that name: 'org/name@step*'
    #[arg(short, long, value_name = "MODEL")]
    model: Vec<String>,
    #[command(flatten)]
    accept: AcceptArgs,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    memory: MemoryArgs,
}

impl Named for Models {
    type Args = ModelsArgs;

    fn load(args: &ModelsArgs, out: &Out) -> Result<Self> {
        let (process, placement) = args.how.parse()?;
        let (accept, hub) = (&args.accept.accept_config, out.hub());
        // Of what is on the Hub, no weights before it is known that they are wanted.
        let find = |name: &str| Session::find_only(name, Want::Tokens, accept, &hub, &out.fetching());
        let names = expanded(&args.model, &hub, &out.fetching())?;
        let all = members(&names, find)?;
        for member in &all {
            out.accepted(&member.source);
            let note = member.tokenizer.as_ref().and_then(Tokenizer::note);
            note.into_iter().for_each(|note| out.note(flags(note)));
        }
        let models = Self { process, placement, memory_bytes: args.memory.memory, ..Self::new(all) };
        // Two checkpoints may be one, which their weights alone say.
        if names.len() != args.model.len() {
            weigh(&models, out)?;
        }
        Ok(models)
    }
}

/// Looks at the weights of all models, and fetches those that are on the Hub.
fn weigh(on: &Models, out: &Out) -> Result<()> {
    for source in on.all.iter().map(|member| &member.source) {
        if let Some(commit) = &source.revision {
            ModelSource::resolve_with(&format!("{}@{commit}", source.id), Want::All, &out.hub(), &out.fetching())?;
        }
    }
    on.weigh()
}

/// What models are compared on.
#[derive(Args)]
pub(super) struct ComparisonArgs {
    /// Texts that the models continue, one prompt each; without -m two runs of one analysis: folders of results, or tables in them
    #[arg(value_name = "PROMPT or RUN")]
    texts: Vec<String>,
    #[command(flatten)]
    named: NamedPromptArgs,
}

impl Given<Models> for Comparison {
    type Args = ComparisonArgs;

    fn read(args: &ComparisonArgs, on: &Models, out: &Out) -> Result<Self> {
        if on.all.is_empty() {
            return match (&args.texts[..], args.named.is_empty()) {
                ([reference, other], true) => Runs::open(Path::new(reference), Path::new(other)).map(Self::Runs),
                _ => Err(Error::bad_input("it is not said what is to be compared")
                    .hint("give two models with -m, or two runs: `pellucid compare RUN RUN`")),
            };
        }
        if args.texts.is_empty() && args.named.is_empty() {
            return Ok(Self::Nothing);
        }
        let read = Self::on(on, &args.named.entries(&args.texts, out)?, args.named.around())?;
        weigh(on, out)?;
        Ok(read)
    }
}
