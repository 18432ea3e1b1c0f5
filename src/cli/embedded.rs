//! Words whose embeddings are looked at, as they are given on the command line.

use clap::Args;

use super::command::Given;
use super::given::AroundArgs;
use super::out::Out;
use crate::analysis::embed::Embedded;
use crate::error::Result;
use crate::session::Session;
use crate::text::PromptEntry;
use crate::text::ids::{ids_of, literal};

/// Which words, and in which prompt.
#[derive(Args)]
pub(super) struct EmbeddedArgs {
    /// Words, or token ids such as #17. A text counts as it is, with its space: in most vocabularies " Paris" and "Paris" are two tokens,
    /// as `pellucid tokens` shows. Without a word, what is written is of the whole vocabulary: how long vectors are, and how untrained they look
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// A prompt that has the words: also what becomes of them in it, before the first block and after the last; or token ids, such as
    /// '#1,2,3'
    #[arg(long, value_name = "TEXT")]
    context: Option<String>,
    #[command(flatten)]
    around: AroundArgs,
}

impl Given<Session> for Embedded {
    type Args = EmbeddedArgs;

    fn read(args: &EmbeddedArgs, on: &Session, _: &Out) -> Result<Self> {
        let entry = |text: &String| match ids_of(text) {
            Some(ids) => ids.map(PromptEntry::ids),
            None => Ok(PromptEntry::text(literal(text))),
        };
        let context = args.context.as_ref().map(entry).transpose()?;
        let context = context.map(|entry| on.prompts(&[entry], args.around.around())).transpose()?;
        Self::new(on, &args.words, context.and_then(|mut prompts| prompts.pop()))
    }
}
