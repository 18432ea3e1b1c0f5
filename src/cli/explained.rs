//! The model that a page is of, and another beside it, as they are named on the command line.

use clap::Args;

use super::args::ModelArgs;
use super::command::{Given, Named};
use super::given::{PromptArgs, SessionArgs};
use super::out::Out;
use crate::analysis::explain::Explained;
use crate::error::Result;
use crate::session::{Prompts, Session};
use crate::text::Want;

/// Which models.
#[derive(Args)]
pub(super) struct ExplainedArgs {
    #[command(flatten)]
    of: SessionArgs,
    /// Another model, whose board, tokens, strokes and architecture are put beside
    #[arg(long, value_name = "MODEL")]
    compare: Option<String>,
}

impl Named for Explained {
    type Args = ExplainedArgs;

    fn load(args: &ExplainedArgs, out: &Out) -> Result<Self> {
        let session = Session::load(&args.of, out)?;
        let other = |name: &String| {
            let source = ModelArgs { model: name.clone() }.find(Want::All, out)?;
            Session::from_source(source, &[]).map(|found| Session { name: name.clone(), ..found })
        };
        Ok(Self { session, beside: args.compare.as_ref().map(other).transpose()? })
    }

    fn session(&self) -> Option<&Session> {
        Some(&self.session)
    }
}

impl Given<Explained> for Prompts {
    type Args = PromptArgs;

    fn read(args: &PromptArgs, on: &Explained, out: &Out) -> Result<Self> {
        Ok(Self { prompts: args.build(&on.session, out)? })
    }
}
