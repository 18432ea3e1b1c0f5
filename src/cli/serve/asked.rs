//! What is served: of each prompt what the command would make of it, by a model that stays loaded.

use clap::{ArgMatches, Args};

use super::{Served, Typed, serve};
use crate::cli::canonical::{canonical, words};
use crate::cli::command::{Asking, Given, Named, check_memory, clap_of, group};
use crate::cli::misunderstood;
use crate::cli::opened::OpenArgs;
use crate::cli::out::Out;
use crate::error::{Error, Result};
use crate::session::words::chosen_words;
use crate::session::{On, Page};

/// Arguments that name prompts, which are typed here.
const PROMPTS: [&str; 3] = ["texts", "ids", "prompts"];

/// Serves the pages of `A`: each request is read as a command line with the prompt that was typed, so that its page is the command's.
///
/// # Errors
/// When arguments, model and options do not fit; whatever [`serve`] says.
pub(in crate::cli) fn served<A: Asking>(
    page: &Page<A>,
    at: (u16, OpenArgs),
    matches: &ArgMatches,
    out: &Out,
) -> Result<()> {
    if PROMPTS.iter().any(|id| matches.try_get_raw(id).ok().flatten().is_some()) {
        return Err(Error::bad_input("with --serve prompts are typed into the form, and one is given here")
            .hint("leave out the prompt, or --serve"));
    }
    let (analysis, on) = (group::<A>(matches)?, A::On::load(&group(matches)?, out)?);
    let mut given = <A::On as Named>::Args::augment_args(clap::Command::new(A::NAME));
    given = <A::Input as Given<A::On>>::Args::augment_args(given);
    let [options, _] = canonical(&given, matches, &|_| true);
    let fixed: Vec<String> = [vec![A::NAME.to_owned()], options, chosen_words(&analysis)?].concat();
    let model = on.provenance(vec![]).model;
    let mut make = |Typed { prompt, language }: &Typed| {
        let typed = ["--lang", language, "--", prompt].map(str::to_owned);
        // The language that was typed is the one that counts.
        let command = clap_of::<A>().args_override_self(true);
        let matches = command.try_get_matches_from(fixed.iter().chain(&typed)).map_err(|e| misunderstood(&e))?;
        let analysis: A = group(&matches)?;
        let input = A::Input::read(&group(&matches)?, &on, out)?;
        check_memory(&analysis, &on, &input, out)?;
        let provenance = on.provenance(words(&analysis, &on, &input, &matches)?);
        (page.make)(&analysis, &on, &input, provenance, &out.watch(A::NAME))
    };
    serve(at, &Served { model: &model, policy: page.policy }, &mut make, out)
}
