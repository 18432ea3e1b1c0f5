//! The tokens that are followed after prompts: what options say of all of them, and what a file says of each.

use serde::Serialize;

use super::request::named;
use super::spaces::Words;
use super::{Input, Prompts, Session, Sink};
use crate::error::{Error, Result, said};
use crate::range::{self, Interval};
use crate::table::visible;
use crate::text::Prompt;

/// Prompts, and the tokens that are followed after each.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Targeted {
    /// The prompts: of each, its name and its ids count.
    #[serde(serialize_with = "named")]
    pub prompts: Vec<Prompt>,
    /// What each prompt itself says, in their order; empty where none says anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
}

/// The token that is right after a prompt, and one that it is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The token that is followed.
    pub target: Option<u32>,
    /// The other.
    pub foil: Option<u32>,
}

/// What options say is followed after every prompt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The word that is followed.
    pub target: Option<&'a str>,
    /// The one that it is compared with.
    pub foil: Option<&'a str>,
    /// Whether a foil may be compared with the most probable token, where there is no target.
    pub alone: bool,
}

impl Input for Targeted {
    fn len(&self) -> usize {
        self.prompts.len()
    }

    fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    fn words(&self, on: &Session) -> [Vec<String>; 2] {
        match self.targets.is_empty() {
            true => on.prompt_words(&self.prompts),
            // No option gives each prompt its own.
            false => [Session::elsewhere("prompts"), vec![]],
        }
    }
}

impl Targeted {
    /// These prompts, numbered as they stand here, each with its own target and foil.
    pub fn new(prompts: &[Prompt], targets: Vec<Target>) -> Self {
        Self { prompts: Prompts::from(prompts).prompts, targets }
    }

    /// What is followed after each prompt: what `options` say, else what the prompt itself does. Empty where nothing is.
    ///
    /// # Errors
    /// For what is no token of this model; a foil that is compared with nothing, or with itself.
    pub fn followed(&self, on: &Session, options: Options<'_>) -> Result<Vec<Target>> {
        let token = |text: Option<&str>| text.map(|t| on.target(t)).transpose();
        let (target, foil) = (token(options.target)?, token(options.foil)?);
        if target.is_none() && foil.is_none() && (self.targets.is_empty() || self.foils_alone(options)) {
            return Ok(vec![]);
        }
        let of = |(i, prompt): (usize, &Prompt)| {
            let own = self.targets.get(i).copied().unwrap_or_default();
            let words = Target { target: target.or(own.target), foil: foil.or(own.foil) };
            let several = self.prompts.len() > 1;
            let checked = if options.alone && words.target.is_none() { Ok(()) } else { on.check_target(words) };
            checked.map_err(|e| if several { e.at(format_args!("prompt {}", prompt.id)) } else { e })?;
            Ok(words)
        };
        self.prompts.iter().enumerate().map(of).collect()
    }

    /// Whether the file has foils and nothing that they could be compared with, as a file of pairs whose answers are not followed.
    fn foils_alone(&self, options: Options<'_>) -> bool {
        let has_target = options.target.is_some() || self.targets.iter().any(|own| own.target.is_some());
        !options.alone && !has_target && self.targets.iter().any(|own| own.foil.is_some())
    }

    /// Says what of a file is not followed, and what `options` take the place of.
    pub fn note_replaced(&self, options: Options<'_>, out: &Sink<'_>) {
        if options.foil.is_none() && self.foils_alone(options) {
            out.note("foils of the file are not followed, as it has no targets that they could be compared with");
        }
        if options.target.is_some() && self.targets.iter().any(|own| own.target.is_some()) {
            out.note(said("{target} takes the place of the targets that prompts of the file have"));
        }
        if options.foil.is_some() && self.targets.iter().any(|own| own.foil.is_some()) {
            out.note(said("[{foil}|the foil] takes the place of the foils that prompts of the file have"));
        }
    }

    /// Says which of the words that are followed after the prompts, at the last of these positions, may have been meant with a space before
    /// them or without.
    ///
    /// # Errors
    /// Whatever the model says as it runs.
    pub fn note_spaces(
        &self,
        on: &Session,
        followed: &[Target],
        positions: Option<&[Interval]>,
        out: &Sink<'_>,
    ) -> Result<()> {
        let last = |p: &Prompt| range::last(positions, p.tokens.len());
        for (what, of) in [("target", (|w| w.target) as fn(&Target) -> Option<u32>), ("foil", |w| w.foil)] {
            let after = |(prompt, words)| Some(Words { prompt, at: last(prompt)?, tokens: vec![of(words)?] });
            let words: Vec<Words<'_>> = self.prompts.iter().zip(followed).filter_map(after).collect();
            if let Some(said) = on.doubtful_spaces([what, "prompts"], &words)? {
                out.note(said);
            }
        }
        Ok(())
    }
}

impl From<&[Prompt]> for Targeted {
    fn from(prompts: &[Prompt]) -> Self {
        Self { prompts: Prompts::from(prompts).prompts, targets: vec![] }
    }
}

impl Session {
    /// Refuses a foil that is compared with nothing, or with itself.
    ///
    /// # Errors
    /// Then.
    pub fn check_target(&self, Target { target, foil }: Target) -> Result<()> {
        match (target, foil) {
            (None, Some(_)) => Err(Error::bad_input("there is a foil, and no target that it could be compared with")
                .hint(said("give the target as well"))),
            (Some(target), Some(foil)) if target == foil => {
                let text = visible(&self.spell(target));
                Err(Error::bad_input(format!("the target and the foil are the same token, \"{text}\" (#{target})"))
                    .hint("compare the target with another token"))
            }
            _ => Ok(()),
        }
    }
}
