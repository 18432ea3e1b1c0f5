//! The question with its options.

use serde::{Deserialize, Serialize};

use super::circuit::{Chosen, SMALL, circuits};
use super::pairs::pairs;
use super::random::Texts;
use super::rows::{HeadCircuitRow, HeadPairRow, HeadRow, HeadSvdRow};
use super::svd::{Asked, svd};
use super::{Steps, circuit, heads, need_of_heads};
use crate::error::{Error, Result, give, give_as};
use crate::range;
use crate::session::{Analysis, Session, Sink};
use crate::sweep::Need;
use crate::sweep::budget::Budget;

/// Heads: which kind is each attention head, and which work together?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes heads.parquet (see `pellucid tables heads`): what each head looks at on random tokens read twice, with an SVG of all heads; \
                        head_pairs.parquet: whose output each head reads; head_svd.parquet: the largest singular values of each head's maps with tokens; and \
                        head_circuit.parquet: what heads would do about chosen tokens, or all of a vocabulary of 64 or fewer."
    )
)]
pub struct Heads {
    /// What to find out, such as heads,pairs
    #[cfg_attr(
        feature = "cli",
        arg(long, value_enum, value_name = "WHAT", value_delimiter = ',', default_value = "heads,pairs,svd,circuits")
    )]
    pub find: Vec<Find>,
    /// How many random texts where heads look is measured on
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Heads::default().texts))]
    pub texts: usize,
    /// How many random tokens are read twice [default: 50, or half of the context]
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub length: Option<usize>,
    /// Heads, such as 3.2,4.0-3, whose singular values and circuits to write; may be repeated [default: all]
    #[serde(serialize_with = "range::heads")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYER.HEAD", value_parser = range::Heads::parse))]
    pub head: Vec<range::Heads>,
    /// How many singular values of each map
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Heads::default().components))]
    pub components: usize,
    /// How many tokens at each end of a singular direction
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Heads::default().top))]
    pub top: usize,
    /// Tokens for circuits, such as " Mary, John,#17" [default: all of a vocabulary of 64 or fewer]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKENS", value_delimiter = ','))]
    pub tokens: Vec<String>,
    /// Seed for random draws
    #[cfg_attr(feature = "cli", arg(long, value_name = "SEED", default_value_t = 0))]
    pub seed: u64,
}

/// What can be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Find {
    /// Where each head looks, and whether it copies
    Heads,
    /// Which heads read what others write
    Pairs,
    /// The largest singular values of each head's maps
    Svd,
    /// What heads do about chosen tokens
    Circuits,
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            find: vec![Find::Heads, Find::Pairs, Find::Svd, Find::Circuits],
            texts: 50,
            length: None,
            head: vec![],
            components: 3,
            top: 5,
            tokens: vec![],
            seed: 0,
        }
    }
}

impl Heads {
    fn finds(&self, what: Find) -> bool {
        self.find.contains(&what)
    }

    /// The random texts, where they are asked for.
    fn texts(&self, on: &Session) -> Result<Option<Texts>> {
        if !self.finds(Find::Heads) {
            return Ok(None);
        }
        if self.texts < 2 {
            return Err(Error::bad_input(give("texts") + format!(" is {}, and a standard error needs 2", self.texts))
                .hint(give_as("texts", Self::default().texts.to_string()) + " is what is taken by itself"));
        }
        Texts::of(on, self.texts, self.length, self.seed).map(Some)
    }

    /// The tokens of circuits.
    fn chosen(&self, on: &Session) -> Result<Chosen> {
        let spec = on.model.spec();
        if !self.finds(Find::Circuits) {
            return Ok(Chosen::default());
        }
        if self.tokens.is_empty() {
            let all = |n: usize| (0..n as u32).collect();
            let (read, said) = (spec.d_vocab, spec.unembedding.d_vocab_out);
            let small = read.max(said) <= SMALL;
            return Ok(if small { Chosen { read: all(read), said: all(said) } } else { Chosen::default() });
        }
        let mut ids = self.tokens.iter().map(|text| on.target(text)).collect::<Result<Vec<u32>>>()?;
        if let Some(id) = ids.iter().find(|id| **id as usize >= spec.d_vocab) {
            return Err(Error::no_such(format!("token {id} is outside the {} that the model reads", spec.d_vocab))
                .hint(format!("choose a token below #{}", spec.d_vocab)));
        }
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        Ok(Chosen { read: ids.clone(), said: ids })
    }

    fn asked(&self) -> Asked {
        Asked { components: self.components, top: self.top }
    }

    /// That the model has what is asked for.
    fn check(&self, on: &Session) -> Result<()> {
        let blocks = &on.model.spec().blocks;
        let n = |layer: usize| blocks.get(layer).map_or(0, |block| block.attention.inner.n_heads);
        if let Some((layer, head)) = range::Heads::all(&self.head).into_iter().find(|(layer, head)| *head >= n(*layer))
        {
            let said = Error::no_such(format!("the model has no head {layer}.{head}"));
            let last = blocks.len().saturating_sub(1);
            return Err(match n(layer) {
                0 => said.hint(format!("it has {} blocks, of layers 0 to {last}", blocks.len())),
                n => said.hint(format!("block {layer} has {n} heads, 0 to {}", n - 1)),
            });
        }
        if blocks.iter().all(|block| block.attention.inner.n_heads == 0) {
            return Err(Error::bad_input("the model has no attention heads").hint("choose one that has"));
        }
        for (option, n) in [("components", self.components), ("top", self.top)] {
            if n == 0 {
                return Err(
                    Error::bad_input(give(option) + " is 0, which leaves nothing to write").hint("give at least 1")
                );
            }
        }
        if self.find.is_empty() {
            return Err(Error::bad_input("there is nothing to find out").hint(give_as("find", "heads")));
        }
        Ok(())
    }
}

impl Analysis for Heads {
    const NAME: &'static str = "heads";
    type Tables = (HeadRow, HeadPairRow, HeadSvdRow, HeadCircuitRow);
    type On = Session;
    type Input = ();

    fn need(&self, on: &Session, (): &()) -> Result<Need> {
        self.check(on)?;
        let (spec, budget, chosen) = (on.model.spec(), Budget(on.memory_bytes), self.chosen(on)?);
        let mut need = Need::default();
        if let Some(texts) = self.texts(on)? {
            need = need.or(need_of_heads(&on.model, &texts, budget));
        }
        if self.finds(Find::Pairs) {
            need = need.or(super::pairs::need(spec, budget));
        }
        if self.finds(Find::Svd) {
            need = need.or(super::svd::need(spec, &self.asked(), budget));
        }
        if self.finds(Find::Circuits) {
            need = need.or(circuit::need(spec, &chosen));
        }
        Ok(need)
    }

    fn run(&self, on: &Session, (): &(), out: &mut Sink<'_>) -> Result<()> {
        let (model, budget, watch) = (&on.model, Budget(on.memory_bytes), out.watch);
        let (texts, chosen) = (self.texts(on)?, self.chosen(on)?);
        let spell = |id| on.spell(id);
        let layers = model.spec().n_layers();
        let looks = texts.as_ref().map_or(0, |texts| texts.prompts.len());
        let steps = Steps::new(watch, looks + layers * self.find.len());
        if let Some(texts) = &texts {
            heads(model, texts, budget, &steps)?.into_iter().try_for_each(|row| out.push(row))?;
        }
        if self.finds(Find::Pairs) && layers > 1 {
            pairs(model, budget, &steps, &mut |row| out.push(row))?;
        }
        if self.finds(Find::Svd) {
            svd(model, (&range::Heads::all(&self.head), &self.asked()), &spell, budget, &steps, &mut |row| {
                out.push(row)
            })?;
        }
        circuits(model, (&range::Heads::all(&self.head), &chosen), &spell, &steps, &mut |row| out.push(row))?;
        Ok(())
    }
}
