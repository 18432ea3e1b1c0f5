//! Tokens as a question: which letter is counted, and of which tokenizers.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{TokenCountRow, TokenLetterRow, TokenMergeRow, TokenRow, count, letter, letters, merges, tokens};
use crate::error::Result;
use crate::model::Model;
use crate::session::{Analysis, Input, On, Prompts, Results, Sink};
use crate::table::Provenance;
use crate::text::{Merges, ModelSource, Prompt, Tokenizer};

/// Tokens: what does the model see of a text? Pieces and their numbers, not letters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Prints the tokens of each prompt, and with --out writes tokens.parquet (see `pellucid tables tokens`), token_merges.parquet with \
                        the merges that led to them, token_counts.parquet, token_letters.parquet where letters are counted, and an SVG of each \
                        text and of its merges. -m may be given several times, to compare tokenizers; a folder with nothing but a \
                        tokenizer will do."
    )
)]
pub struct Tokens {
    /// Count this letter in the text, and the tokens that are that letter [default: every letter of a prompt that is one word]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LETTER"))]
    pub letter: Option<String>,
}

/// A tokenizer, and where it came from.
pub struct Splitter {
    /// What it is called: the model's id, or the name it was found by where two have the same.
    pub name: String,
    /// The model's files.
    pub source: ModelSource,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
}

/// One tokenizer, or several that are compared.
pub struct Splitting(pub Vec<Splitter>);

/// Prompts as the tokens of each tokenizer.
#[derive(Serialize)]
pub struct Texts(pub Vec<Prompts>);

impl Input for Texts {
    fn len(&self) -> usize {
        self.prompts().len()
    }

    fn prompts(&self) -> &[Prompt] {
        self.0.first().map_or(&[], |first| &first.prompts)
    }
}

impl On for Splitting {
    fn identity(&self) -> Value {
        match &self.0[..] {
            [one] => json!({ "model": one.source.id }),
            all => json!({ "model": all.iter().map(|of| &of.name).collect::<Vec<_>>() }),
        }
    }

    fn provenance(&self, command: Vec<String>) -> Provenance {
        let names: Vec<&str> = self.0.iter().map(|of| &*of.name).collect();
        let mut said = Provenance { model: names.join(", "), command, complete: true, ..Provenance::default() };
        if let [one] = &self.0[..] {
            let spec = Model::read_spec(&one.source).ok().and_then(|(_, spec)| serde_json::to_value(spec).ok());
            (said.revision, said.spec) = (one.source.revision.clone(), spec.unwrap_or_default());
        }
        said
    }
}

impl Analysis for Tokens {
    const NAME: &'static str = "tokens";
    const RESULTS: Results = Results::FolderIfNamed;
    type Tables = (TokenRow, TokenMergeRow, TokenCountRow, TokenLetterRow);
    type On = Splitting;
    type Input = Texts;

    fn run(&self, on: &Splitting, input: &Texts, out: &mut Sink<'_>) -> Result<()> {
        let wanted = self.letter.as_deref().map(letter).transpose()?;
        out.begin::<TokenRow>()?;
        out.begin::<TokenMergeRow>()?;
        out.begin::<TokenCountRow>()?;
        let texts = input.prompts().iter().filter(|prompt| prompt.text.is_some()).count();
        if texts < input.len() {
            out.say("token ids are taken as they are: no text was split, so there are no merges of it");
        }
        for prompt in input.prompts().iter().filter(|p| p.chat.as_ref().is_some_and(|chat| chat.said.is_none())) {
            out.say(format_args!(
                "the chat template changed what prompt {} says, so it cannot be told which tokens are its own",
                prompt.id
            ));
        }
        let mut merging = vec![];
        for of in on.0.iter().filter(|_| texts > 0) {
            let all = Merges::of(&of.tokenizer);
            if let Err(kind) = &all {
                out.say(format_args!(
                    "the tokenizer of {} is {kind}, which merges no pairs: there are no merges of it",
                    of.name
                ));
            }
            merging.push(all.ok());
        }
        let mut totals = vec![(0, 0); on.0.len()];
        for i in 0..input.len() {
            for (at, (of, prompts)) in on.0.iter().zip(&input.0).enumerate() {
                let prompt = &prompts.prompts[i];
                tokens(prompt, &of.name).try_for_each(|row| out.push(row))?;
                if let (Some(text), Some(Some(all))) = (&prompt.text, merging.get_mut(at)) {
                    let spell = |id: u32| of.tokenizer.token_text(id);
                    merges(prompt, (&of.name, &spell), all.words(text)?, &mut |row| out.push(row))?;
                }
                let counted = count(prompt, &of.name, &of.tokenizer);
                totals[at].0 += u64::from(counted.tokens);
                totals[at].1 += u64::from(counted.chars.unwrap_or_default());
                out.push(counted)?;
                letters(prompt, &of.name, wanted.as_deref()).into_iter().try_for_each(|row| out.push(row))?;
            }
        }
        if on.0.len() > 1 && input.len() > 1 {
            for (of, (tokens, chars)) in on.0.iter().zip(totals) {
                let each = tokens as f64 / chars.max(1) as f64;
                out.say_last(format_args!("{}: {tokens} tokens for {chars} characters, {each:.3} for each", of.name));
            }
        }
        Ok(())
    }
}
