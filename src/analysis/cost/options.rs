//! Cost as a question, with its options.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::measure::{self, measure};
use super::{Bits, CostMeasuredRow, CostRow, CostTotalRow, LONGEST, Pass, cost, lengths, total};
use crate::analysis::model::Described;
use crate::error::Result;
use crate::session::{Analysis, On, Plan, Session, Sink};
use crate::sweep::Need;
use crate::table::Provenance;

/// Cost: what does one more token cost, and why do long contexts cost more?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Counted exactly from the model's configuration; no weights are needed, except with --measure. Writes cost.parquet, a row \
                        for each part of each layer, cost_total.parquet, their sums (see `pellucid tables cost_total`), and an SVG of both; with \
                        --measure also cost_measured.parquet with its SVG, which a clock makes: these differ from run to run."
    )
)]
pub struct Cost {
    /// Lengths of the context to count, in tokens [default: the longest that the model can position, and halves of it]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "TOKENS", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=LONGEST))
    )]
    pub context: Vec<u64>,
    /// Bits of a weight
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "BITS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))
    )]
    pub bits: u32,
    /// Bits of a key or value in the cache [default: as --bits]
    #[cfg_attr(feature = "cli", arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(1..=64)))]
    pub cache_bits: Option<u32>,
}

impl Default for Cost {
    fn default() -> Self {
        Self { context: vec![], bits: 16, cache_bits: None }
    }
}

/// A model whose cost is counted, and the same loaded, where it is measured too.
pub struct Costed {
    /// What it is.
    pub described: Described,
    /// With its weights.
    pub measured: Option<Session>,
}

impl On for Costed {
    fn identity(&self) -> Value {
        let spec = serde_json::to_value(&self.described.spec).unwrap_or_default();
        json!({ "model": self.described.source.id, "spec": spec, "measured": self.measured.as_ref().map(On::identity) })
    }

    fn provenance(&self, command: Vec<String>) -> Provenance {
        match &self.measured {
            Some(session) => session.provenance(command),
            None => self.described.provenance(command),
        }
    }

    fn plan(&self, need: Need) -> Option<Plan> {
        self.measured.as_ref().and_then(|session| session.plan(need))
    }

    fn fits(&self, plan: &Plan) -> Result<Option<String>> {
        self.measured.as_ref().map_or(Ok(None), |session| session.fits(plan))
    }
}

impl Cost {
    /// The lengths that are counted, the shortest first.
    fn lengths(&self, on: &Costed) -> Vec<u64> {
        let mut lengths = if self.context.is_empty() { lengths(&on.described.spec) } else { self.context.clone() };
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }
}

impl Analysis for Cost {
    const NAME: &'static str = "cost";
    type Tables = (CostRow, CostTotalRow, CostMeasuredRow);
    type On = Costed;
    type Input = ();

    fn need(&self, on: &Costed, (): &()) -> Result<Need> {
        let Some(session) = &on.measured else { return Ok(Need::default()) };
        let spec = &on.described.spec;
        let longest = self.lengths(on).into_iter().filter(|n| spec.n_ctx.is_none_or(|limit| *n <= limit as u64)).max();
        let bytes = measure::need(&session.model, longest.unwrap_or(0) as usize, session.footprint);
        Ok(Need { activations: bytes, least: bytes, rows: 0 })
    }

    fn run(&self, on: &Costed, (): &(), out: &mut Sink<'_>) -> Result<()> {
        let (spec, lengths) = (&on.described.spec, self.lengths(on));
        let bits = Bits { weights: self.bits, cache: self.cache_bits.unwrap_or(self.bits) };
        let mut totals = vec![];
        for pass in Pass::all(spec) {
            for tokens in &lengths {
                let rows = cost(spec, *pass, *tokens, bits)?;
                totals.push(total(spec, &rows, bits)?);
                rows.into_iter().try_for_each(|row| out.push(row))?;
            }
        }
        totals.into_iter().try_for_each(|row| out.push(row))?;
        let Some(session) = &on.measured else { return Ok(()) };
        let beyond: Vec<String> = (lengths.iter())
            .filter(|n| spec.n_ctx.is_some_and(|limit| **n > limit as u64))
            .map(u64::to_string)
            .collect();
        if !beyond.is_empty() {
            out.note(format!("not measured, as the model cannot position so many tokens: {}", beyond.join(", ")));
        }
        let watch = out.watch;
        measure(&session.model, &lengths, session.footprint, watch, &mut |row| out.push(row))
    }
}
