//! The question with its options, and the model that is asked.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::facts::Facts;
use super::page;
use super::rows::ExplainRow;
use crate::analysis::generate::{GeneratedRow, TraceRow};
use crate::analysis::next::{CandidateRow, NextRow};
use crate::analysis::position::{
    PositionAlibiRow, PositionBoardRow, PositionDecayRow, PositionLayerRow, PositionRotaryRow,
};
use crate::analysis::residual::rows::{ResidualHeadRow, ResidualRow};
use crate::analysis::{
    AttentionRow, CostTotalRow, EmbedNeighborRow, LensRow, NeuronLayerRow, NeuronRow, TokenCountRow, TokenLetterRow,
    TokenMergeRow, TokenRow,
};
use crate::error::{Error, Result, said};
use crate::session::{Analysis, On, Page, Plan, Prompts, Session, Sink};
use crate::sweep::{Need, Watch};
use crate::table::Provenance;
use crate::text::Prompt;
use crate::whole::write_whole;

/// What the page is called.
pub const PAGE: &str = "explain.html";

/// The largest page that is written, in bytes.
pub const LARGEST: usize = 4 << 20;

/// Explain: one page that follows one prompt through the whole model, for readers without mathematics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes explain.html, one page that needs nothing else, and beside it the tables that its numbers are from (see `pellucid tables \
                        explain`). Every number on the page is this model's own on this prompt. See docs/explain.md."
    )
)]
pub struct Explain {
    /// The language of the page: English, Chinese, or both on one page
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t = Lang::En, value_name = "LANG"))]
    pub lang: Lang,
    /// How many continuations are drawn
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Explain::default().traces, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=32)))]
    pub traces: usize,
    /// How many tokens each has
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Explain::default().tokens, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64)))]
    pub tokens: usize,
    /// Seed for random draws
    #[cfg_attr(feature = "cli", arg(long, value_name = "SEED", default_value_t = 0))]
    pub seed: u64,
}

/// In which language a page is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese.
    Zh,
    /// Both, one of which is shown at a time.
    Both,
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::En => "en",
            Self::Zh => "zh",
            Self::Both => "both",
        })
    }
}

impl Default for Explain {
    fn default() -> Self {
        Self { lang: Lang::En, traces: 8, tokens: 12, seed: 0 }
    }
}

/// A model, and another that is put beside it.
pub struct Explained {
    /// The model that the page is of.
    pub session: Session,
    /// The other.
    pub beside: Option<Session>,
}

impl On for Explained {
    fn identity(&self) -> Value {
        match &self.beside {
            None => self.session.identity(),
            Some(beside) => json!({ "model": self.session.identity(), "beside": beside.identity() }),
        }
    }

    fn provenance(&self, command: Vec<String>) -> Provenance {
        self.session.provenance(command)
    }

    fn memory(&self) -> Option<usize> {
        On::memory(&self.session)
    }

    fn plan(&self, need: Need) -> Option<Plan> {
        self.session.plan(need)
    }

    fn fits(&self, plan: &Plan) -> Result<Option<String>> {
        self.session.fits(plan)
    }
}

impl Explain {
    /// The page of one prompt, and the rows that its numbers are from. Nothing is written.
    ///
    /// # Errors
    /// When the model cannot read the prompt, or memory is not enough; when the page would be too large; what `watch` says.
    pub fn page(
        &self,
        session: &Session,
        beside: Option<&Session>,
        prompt: &Prompt,
        provenance: Provenance,
        watch: &dyn Watch,
    ) -> Result<(String, Facts)> {
        let facts = Facts::gather(session, beside, prompt, self, provenance, watch)?;
        let page = page::html(&facts, self.lang);
        small_enough(page.len(), prompt.tokens.len())?;
        Ok((page, facts))
    }
}

/// Refuses a page of so many bytes that is too large.
fn small_enough(bytes: usize, tokens: usize) -> Result<()> {
    if bytes <= LARGEST {
        return Ok(());
    }
    let (size, most) = (bytes as f64 / 1e6, LARGEST as f64 / 1e6);
    Err(Error::bad_input(format!(
        "the page of {tokens} tokens would take {size:.1} MB, and a page has at most {most:.1} MB"
    ))
    .hint(said("give a shorter prompt, one language with {lang=en}, or fewer continuations with {traces}")))
}

/// The one prompt that a page is of.
fn only(input: &Prompts) -> Result<&Prompt> {
    match &input.prompts[..] {
        [one] => Ok(one),
        all => Err(Error::bad_input(format!("a page is of one prompt, and there are {}", all.len()))
            .hint("make a page of each in a folder of its own")),
    }
}

/// The page as it is served.
fn served(
    explain: &Explain,
    on: &Explained,
    input: &Prompts,
    provenance: Provenance,
    watch: &dyn Watch,
) -> Result<Vec<u8>> {
    let provenance = Provenance { seed: Some(explain.seed), ..provenance };
    let (page, _) = explain.page(&on.session, on.beside.as_ref(), only(input)?, provenance, watch)?;
    Ok(page.into_bytes())
}

impl Analysis for Explain {
    const NAME: &'static str = "explain";
    const FILES: &'static [&'static str] = &[PAGE];
    const DRAWS: bool = false;
    const PAGE: Option<Page<Self>> = Some(Page { make: served, policy: page::CONTENT_SECURITY });
    type Tables = (
        CandidateRow,
        NextRow,
        TokenRow,
        TokenCountRow,
        TokenLetterRow,
        TokenMergeRow,
        EmbedNeighborRow,
        PositionLayerRow,
        PositionDecayRow,
        PositionBoardRow,
        PositionAlibiRow,
        PositionRotaryRow,
        AttentionRow,
        NeuronRow,
        NeuronLayerRow,
        ResidualRow,
        ResidualHeadRow,
        LensRow,
        TraceRow,
        GeneratedRow,
        CostTotalRow,
        ExplainRow,
    );
    type On = Explained;
    type Input = Prompts;

    fn need(&self, on: &Explained, input: &Prompts) -> Result<Need> {
        let prompt = only(input)?;
        let of = |session: &Session| super::facts::need(session, prompt, self);
        let beside = on.beside.as_ref().map(of).transpose()?.unwrap_or_default();
        Ok(of(&on.session)?.or(beside))
    }

    fn run(&self, on: &Explained, input: &Prompts, out: &mut Sink<'_>) -> Result<()> {
        let prompt = only(input)?;
        out.provenance().seed = Some(self.seed);
        let provenance = out.provenance().clone();
        let (page, facts) = self.page(&on.session, on.beside.as_ref(), prompt, provenance, out.watch)?;
        if let Ok(path) = out.file(PAGE) {
            write_whole(&path, page.as_bytes())?;
        }
        out.say(facts.said());
        facts.push(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_not_too_large() {
        assert!(small_enough(LARGEST, 500).is_ok());
        let refused = small_enough(LARGEST + 1, 500).unwrap_err();
        assert_eq!(refused.kind(), crate::error::ErrorKind::BadInput);
        assert!(refused.to_string().contains("500 tokens would take 4.2 MB"), "{refused}");
    }
}
