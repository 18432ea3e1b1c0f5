//! What the page says, before it is said: the tables of all analyses of one prompt, and numbers made of them.

use std::cell::Cell;

use super::options::{Explain, PAGE};
use super::rows::ExplainRow;
use super::{made, near};
use crate::analysis::attention::{Attention, AttentionOptions, Parts, attention};
use crate::analysis::cost::{self, Bits, Pass};
use crate::analysis::generate::{Generate, GeneratedRow, TraceRow};
use crate::analysis::lens::Lens;
use crate::analysis::loss::unlike;
use crate::analysis::neurons::Neurons;
use crate::analysis::next::{self, CandidateRow, Next, NextRow};
use crate::analysis::position::{
    self, PositionAlibiRow, PositionBoardRow, PositionDecayRow, PositionLayerRow, PositionRotaryRow,
};
use crate::analysis::residual::Residual;
use crate::analysis::residual::rows::{ResidualHeadRow, ResidualRow};
use crate::analysis::{
    AttentionRow, CostTotalRow, EmbedNeighborRow, LensRow, NeuronLayerRow, NeuronRow, TokenCountRow, TokenLetterRow,
    TokenMergeRow, TokenRow, tokens,
};
use crate::arch::Spec;
use crate::error::Result;
use crate::model::{Batch, Run, Unembed};
use crate::ops::numbers;
use crate::range::Heads;
use crate::sample::{Context, Pool, Sampling};
use crate::session::analysis::Analysis;
use crate::session::words::option;
use crate::session::{Prompts, PromptsAndCorpora, Session, Sink, Steered, Targeted};
use crate::sweep::{Budget, Need, Watch, check_prompts};
use crate::table::Provenance;
use crate::text::{Merges, Prompt};

/// How many candidates a board shows.
pub const BOARD: usize = 10;
/// How many neurons are shown.
const NEURONS: usize = 8;
/// The temperatures and top-p of the boards that are computed beforehand.
pub const TEMPERATURES: [f64; 3] = [0.5, 1.0, 1.5];
/// Top-p of these boards; 1 keeps all.
pub const TOP_P: [f64; 3] = [1.0, 0.9, 0.5];
/// The longest prompt whose whole pattern of one head is kept.
pub const SQUARE: usize = 64;
/// How far away a word is put.
const FAR: usize = 64;

/// Everything that a page says. Rows stand in the order in which they are written.
pub struct Facts {
    /// What the model is called.
    pub model: String,
    /// What it is.
    pub spec: Spec,
    /// What is asked of it.
    pub prompt: Prompt,
    /// How everything was made.
    pub provenance: Provenance,
    /// Its tokens; of a second model behind them.
    pub tokens: Vec<TokenRow>,
    /// How many; of each model with a tokenizer.
    pub counts: Vec<TokenCountRow>,
    /// The letter that is counted.
    pub letters: Vec<TokenLetterRow>,
    /// How byte-pair encoding came to the tokens.
    pub merges: Vec<TokenMergeRow>,
    /// Why there are no merges, where there are none.
    pub unmerged: Option<&'static str>,
    /// Neighbours of some tokens.
    pub neighbors: Vec<EmbedNeighborRow>,
    /// How each block knows positions.
    pub layers: Vec<PositionLayerRow>,
    /// The score of one key at every distance.
    pub decay: Vec<PositionDecayRow>,
    /// What comes next with two tokens swapped, and with positions made equal.
    pub swapped: Vec<PositionBoardRow>,
    /// Which two were swapped.
    pub swap: Option<(usize, usize)>,
    /// Penalties by distance.
    pub alibi: Vec<PositionAlibiRow>,
    /// Turns of pairs of dimensions.
    pub rotary: Vec<PositionRotaryRow>,
    /// What every head looks at from the last position, and all of one head.
    pub attention: Vec<AttentionRow>,
    /// The head that pushes the answer most.
    pub head: Option<(u32, u32)>,
    /// The strongest neurons.
    pub neurons: Vec<NeuronRow>,
    /// All neurons of each layer together.
    pub neuron_layers: Vec<NeuronLayerRow>,
    /// The strokes at the last position.
    pub residual: Vec<ResidualRow>,
    /// What each head adds there.
    pub heads: Vec<ResidualHeadRow>,
    /// What each layer would say at each position.
    pub lens: Vec<LensRow>,
    /// The boards: as the model says it, then for each temperature and top-p. None of a model that sees what comes after.
    pub candidates: Vec<CandidateRow>,
    /// What each board comes to.
    pub next: Vec<NextRow>,
    /// Tokens of continuations.
    pub traces: Vec<TraceRow>,
    /// Whole continuations.
    pub generated: Vec<GeneratedRow>,
    /// What passes cost.
    pub cost: Vec<CostTotalRow>,
    /// Numbers made of these.
    pub numbers: Vec<ExplainRow>,
    /// The command of each analysis.
    pub commands: Vec<(&'static str, Vec<String>)>,
    /// The model beside it.
    pub beside: Option<Beside>,
}

/// A second model, of which less is said.
pub struct Beside {
    /// What it is called.
    pub model: String,
    /// What it is.
    pub spec: Spec,
    /// Its strokes at the last position.
    pub residual: Vec<ResidualRow>,
    /// Its board; none where it sees what comes after.
    pub candidates: Vec<CandidateRow>,
}

/// A part of the work, which is told as one step.
struct Step<'a> {
    watch: &'a dyn Watch,
    done: Cell<usize>,
}

/// How many steps there are.
const STEPS: usize = 10;

impl Watch for Step<'_> {
    fn at(&self, _: usize, _: usize) -> Result<()> {
        self.watch.at(self.done.get(), STEPS)
    }
}

impl Step<'_> {
    fn over(&self) -> Result<()> {
        self.done.set(self.done.get() + 1);
        self.watch.at(self.done.get(), STEPS)
    }
}

/// The analyses that are run as they are.
struct Asked {
    residual: Residual,
    lens: Lens,
    neurons: Neurons,
    generate: Generate,
}

impl Asked {
    fn new(how: &Explain, target: Option<u32>, foil: Option<u32>) -> Self {
        let word = |id: Option<u32>| id.map(|id| format!("#{id}"));
        Self {
            residual: Residual { target: word(target), foil: word(foil), ..Residual::default() },
            lens: Lens { target: word(target), top: Some(1), ..Lens::default() },
            neurons: Neurons { target: word(target), top: NEURONS, tokens: 3, ..Neurons::default() },
            generate: Generate { traces: how.traces, tokens: how.tokens, seed: how.seed, ..Generate::default() },
        }
    }
}

/// What all of it needs of memory.
///
/// # Errors
/// When the model cannot be asked so.
pub fn need(on: &Session, prompt: &Prompt, how: &Explain) -> Result<Need> {
    let (asked, spec) = (Asked::new(how, None, None), on.model.spec());
    let (prompts, one) = (|| Targeted::from(std::slice::from_ref(prompt)), std::slice::from_ref(prompt));
    let mut need = asked.residual.need(on, &prompts())?.or(asked.lens.need(on, &prompts())?);
    if spec.blocks.iter().any(|block| block.mlp.is_some()) {
        need = need.or(asked.neurons.need(on, &PromptsAndCorpora { prompts: prompts(), corpora: vec![] })?);
    }
    if spec.is_causal() {
        let steered = Steered { prompts: vec![prompt.clone()], steer: None };
        need = need.or(asked.generate.need(on, &steered)?).or(Next::default().need(on, &one.into())?);
        need = need.or(position::boards::need(&on.model, one, true));
    }
    let patterns = Attention { parts: true, ..Attention::default() }.need(on, &prompts())?;
    Ok(need.or(Need { rows: 0, ..patterns }).or(near::need(on, prompt)).or(unlike::need(on, one)))
}

impl Facts {
    /// Runs every analysis of one prompt.
    ///
    /// # Errors
    /// When the model cannot read the prompt, or memory is not enough; what `watch` says.
    pub fn gather(
        on: &Session,
        beside: Option<&Session>,
        prompt: &Prompt,
        how: &Explain,
        provenance: Provenance,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let step = Step { watch, done: Cell::new(0) };
        let (spec, one) = (on.model.spec(), std::slice::from_ref(prompt));
        let mut facts = Self::none(on, prompt, provenance);
        facts.split(on, prompt)?;
        step.over()?;
        let logits = last_logits(on, prompt)?;
        if spec.is_causal() {
            facts.commands.push(("next", on.command_on("next", &one.into(), vec![])));
            let risk = [option("temperature", "1.5"), option("top_p", "0.9")].concat();
            facts.commands.push(("sampling", on.command_on("next", &one.into(), risk)));
            let (candidates, next) = boards(on, prompt, &logits)?;
            (facts.candidates, facts.next) = (candidates, next);
        }
        let first = |rank: usize| order(&logits).get(rank).copied();
        let (target, foil) = (first(0), first(1));
        let asked = Asked::new(how, target, foil);
        step.over()?;
        (facts.residual, facts.heads) = {
            let (strokes, heads, _) = on.run_with(&asked.residual, one, &step, &|_| {})?;
            facts.commands.push(("residual", strokes.provenance.command.clone()));
            (strokes.rows, heads.rows)
        };
        step.over()?;
        let (lens, _) = on.run_with(&asked.lens, one, &step, &|_| {})?;
        facts.commands.push(("lens", lens.provenance.command.clone()));
        facts.lens = lens.rows;
        step.over()?;
        if spec.blocks.iter().any(|block| block.mlp.is_some()) {
            let (neurons, layers, ..) = on.run_with(&asked.neurons, one, &step, &|_| {})?;
            facts.commands.push(("neurons", neurons.provenance.command.clone()));
            (facts.neurons, facts.neuron_layers) = (neurons.rows, layers.rows);
        }
        step.over()?;
        facts.look(on, prompt, target, &step)?;
        step.over()?;
        (facts.neighbors, facts.commands) = {
            let (rows, command) = near::neighbors(on, prompt, target, how.seed)?;
            (rows, [facts.commands, vec![("embed", command)]].concat())
        };
        step.over()?;
        facts.place(on, prompt, &step)?;
        step.over()?;
        if spec.is_causal() {
            let steered = Steered { prompts: vec![prompt.clone()], steer: None };
            let traces = [option("traces", how.traces.to_string()), option("tokens", how.tokens.to_string())].concat();
            facts.commands.push(("generate", on.command_on("generate", &one.into(), traces)));
            let (traces, generated) = on.run_with(&asked.generate, steered, &step, &|_| {})?;
            (facts.traces, facts.generated) = (traces.rows, generated.rows);
        }
        facts.commands.push(("model", on.command_on("model", &Prompts::default(), vec![])));
        facts.costs(on, prompt)?;
        step.over()?;
        if let Some(other) = beside {
            facts.beside(other, prompt, &step)?;
        }
        made::numbers(&mut facts, &logits, unlike::surprises(on, one, 1)?.pop().flatten());
        step.over()?;
        Ok(facts)
    }

    fn none(on: &Session, prompt: &Prompt, mut provenance: Provenance) -> Self {
        provenance.stamp_as(PAGE, 1);
        Self {
            model: on.source.id.clone(),
            spec: on.model.spec().clone(),
            prompt: prompt.clone(),
            provenance,
            tokens: vec![],
            counts: vec![],
            letters: vec![],
            merges: vec![],
            unmerged: None,
            neighbors: vec![],
            layers: vec![],
            decay: vec![],
            swapped: vec![],
            swap: None,
            alibi: vec![],
            rotary: vec![],
            attention: vec![],
            head: None,
            neurons: vec![],
            neuron_layers: vec![],
            residual: vec![],
            heads: vec![],
            lens: vec![],
            candidates: vec![],
            next: vec![],
            traces: vec![],
            generated: vec![],
            cost: vec![],
            numbers: vec![],
            commands: vec![],
            beside: None,
        }
    }

    /// What the tokenizer did.
    fn split(&mut self, on: &Session, prompt: &Prompt) -> Result<()> {
        let own = Prompts::from(std::slice::from_ref(prompt));
        self.commands.push(("tokens", on.command_on("tokens", &own, vec![])));
        self.tokens = tokens(prompt, &self.model).collect();
        let Some(tokenizer) = &on.tokenizer else { return Ok(()) };
        self.counts.push(tokens::count(prompt, &self.model, tokenizer));
        match (Merges::of(tokenizer), &prompt.text) {
            (Err(kind), _) => self.unmerged = Some(kind),
            (Ok(mut all), Some(text)) => {
                let spell = |id: u32| tokenizer.token_text(id);
                let words = all.words(text)?;
                tokens::merges(prompt, (&self.model, &spell), words, &mut |row| {
                    self.merges.push(row);
                    Ok(())
                })?;
            }
            (Ok(_), None) => {}
        }
        let letter = made::letter(prompt).map(|of| of.letter);
        self.letters = letter.map_or(vec![], |letter| tokens::letters(prompt, &self.model, Some(&letter)));
        Ok(())
    }

    /// Where heads look: of all the last position, of one all.
    fn look(&mut self, on: &Session, prompt: &Prompt, target: Option<u32>, watch: &dyn Watch) -> Result<()> {
        let one = std::slice::from_ref(prompt);
        let strongest = self.heads.iter().filter(|row| row.head.is_some());
        let strongest = strongest.max_by(|a, b| a.push.abs().total_cmp(&b.push.abs()));
        self.head = strongest.and_then(|row| Some((row.layer, row.head?)));
        let target = target.map(|id| (id, on.spell(id)));
        let word = target.as_ref().map(|(id, _)| format!("#{id}"));
        let named = Attention {
            parts: true,
            target: word,
            head: self.head.map(|(l, h)| Heads::from((l as usize, h as usize))).into_iter().collect(),
            ..Attention::default()
        };
        self.commands.push(("attention", on.command(&named, &one.into())?));
        let parts = vec![Parts::of(target, None)];
        let options = AttentionOptions { parts, budget: Budget(on.memory_bytes), ..AttentionOptions::default() };
        let (last, square) = (prompt.tokens.len() as u32 - 1, prompt.tokens.len() <= SQUARE);
        attention(&on.model, one, &options, watch, &mut |row| {
            if row.query_pos == last || square && self.head == Some((row.layer, row.head)) {
                self.attention.push(row);
            }
            Ok(())
        })
    }

    /// How the model knows what came first.
    fn place(&mut self, on: &Session, prompt: &Prompt, watch: &dyn Watch) -> Result<()> {
        let (spec, one) = (on.model.spec(), std::slice::from_ref(prompt));
        self.layers = position::kinds::layers(spec);
        self.rotary = position::kinds::rotary(spec, prompt).into_iter().filter(|row| row.layer == 0).collect();
        self.alibi = position::kinds::alibi(&on.model, 1).into_iter().filter(|row| row.layer == 0).collect();
        // The key that a head of the first block looks at most from the last position, beside the first and itself.
        let last = prompt.tokens.len() as u32 - 1;
        let farther = |row: &&AttentionRow| row.query_pos == last && row.key_pos > 0 && row.key_pos < last;
        let seen = self.attention.iter().filter(|row| row.layer == 0).filter(farther);
        let most = seen.max_by(|a, b| a.prob.total_cmp(&b.prob).then(b.head.cmp(&a.head)));
        let mut words = vec![];
        if let Some((head, key)) = most.map(|row| (row.head, row.key_pos)) {
            let farthest = FAR.min(spec.n_ctx.unwrap_or(FAR).saturating_sub(1));
            let budget = Budget(on.memory_bytes);
            let asked =
                position::Asked { heads: vec![(0, head as usize)], queries: vec![(-1).into()], farthest, budget };
            position::decay::decay(&on.model, one, &asked, watch, &mut |row| {
                if row.key_pos == key {
                    self.decay.push(row);
                }
                Ok(())
            })?;
            words = option("head", format!("0.{head}"));
        }
        self.commands.push(("position", on.command_on("position", &one.into(), words)));
        if !spec.is_causal() {
            return Ok(());
        }
        let swapped = near::swapped(on, prompt)?;
        self.swap = swapped.as_ref().map(|(_, places)| *places);
        let (token, text) = (|id: u32| on.spell(id), |ids: &[u32]| on.spelled(ids));
        let spelling = position::boards::Spelling { token: &token, text: &text };
        position::boards::boards(&on.model, prompt, swapped.as_ref().map(|(p, _)| p), 5, spelling, &mut |row| {
            self.swapped.push(row);
            Ok(())
        })
    }

    /// What one more token costs: after this prompt, twice as far, and at the end of the context, beyond which nothing goes on.
    fn costs(&mut self, on: &Session, prompt: &Prompt) -> Result<()> {
        let (spec, n) = (on.model.spec(), prompt.tokens.len() as u64);
        let mut lengths = vec![n, 2 * n, spec.n_ctx.map_or(16 * n, |limit| limit as u64)];
        lengths.retain(|length| spec.n_ctx.is_none_or(|limit| *length <= limit as u64));
        lengths.sort_unstable();
        lengths.dedup();
        let bits = Bits { weights: 16, cache: 16 };
        for pass in Pass::all(spec) {
            for tokens in &lengths {
                self.cost.push(cost::total(spec, &cost::cost(spec, *pass, *tokens, bits)?, bits)?);
            }
        }
        let list = lengths.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        self.commands.push(("cost", on.command_on("cost", &Prompts::default(), option("context", list))));
        Ok(())
    }

    /// What another model says of the same text.
    fn beside(&mut self, on: &Session, prompt: &Prompt, watch: &dyn Watch) -> Result<()> {
        let own = near::reread(on, prompt)?;
        let name = if on.source.id == self.model { on.name.clone() } else { on.source.id.clone() };
        self.tokens.extend(tokens(&own, &name));
        self.counts.extend(on.tokenizer.as_ref().map(|tokenizer| tokens::count(&own, &name, tokenizer)));
        let logits = last_logits(on, &own)?;
        let candidates = if on.model.spec().is_causal() { boards(on, &own, &logits)?.0 } else { vec![] };
        let (strokes, ..) = on.run_with(&Residual::default(), std::slice::from_ref(&own), watch, &|_| {})?;
        let spec = on.model.spec().clone();
        let candidates = candidates.into_iter().take(BOARD + 1).collect();
        self.beside = Some(Beside { model: name, spec, residual: strokes.rows, candidates });
        Ok(())
    }

    /// The number of this name.
    pub fn number(&self, name: &str, place: Option<u32>) -> Option<(usize, &ExplainRow)> {
        self.numbers
            .iter()
            .enumerate()
            .find(|(_, row)| row.name == name && row.place == place && row.model == self.model)
    }

    /// The command of an analysis.
    pub fn command(&self, name: &str) -> &[String] {
        self.commands.iter().find(|(known, _)| *known == name).map_or(&[], |(_, words)| words)
    }

    /// One line for whoever made the page.
    pub fn said(&self) -> String {
        match self.candidates.first() {
            Some(first) => format!(
                "most probable: \"{}\" with {}",
                crate::table::visible(first.token.as_deref().unwrap_or_default()),
                crate::number::Locale::EN.long_probability(first.prob)
            ),
            None => "this model sees the whole text at once and says nothing of what comes next".to_owned(),
        }
    }

    /// Gives all rows to `out`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn push(self, out: &mut Sink<'_>) -> Result<()> {
        macro_rules! all {
            ($($rows:ident)*) => {$(self.$rows.into_iter().try_for_each(|row| out.push(row))?;)*};
        }
        all!(candidates next tokens counts letters merges neighbors layers decay swapped alibi rotary attention neurons
             neuron_layers residual heads lens traces generated cost numbers);
        Ok(())
    }
}

/// The logits after the last position.
fn last_logits(on: &Session, prompt: &Prompt) -> Result<Vec<f32>> {
    let batch = Batch::of([prompt.ids()]);
    let run = Run { unembed: Unembed::Rows(vec![prompt.tokens.len() as u32 - 1]), ..Run::default() };
    let out = on.model.run(&batch, &run, &mut [])?;
    check_prompts(&on.model, std::slice::from_ref(prompt), &out, "")?;
    numbers(out.logits()?)
}

/// Tokens by what the model says, of equals the lower id first: the first two.
fn order(logits: &[f32]) -> Vec<u32> {
    let mut first: Vec<u32> = vec![];
    for _ in 0..2 {
        let left = (0..logits.len() as u32).filter(|id| !first.contains(id));
        first.extend(left.reduce(|a, b| if logits[b as usize] > logits[a as usize] { b } else { a }));
    }
    first
}

/// The board of what the model says, and those of temperatures and top-p.
fn boards(on: &Session, prompt: &Prompt, logits: &[f32]) -> Result<(Vec<CandidateRow>, Vec<NextRow>)> {
    let (mut all, mut wholes) = (vec![], vec![]);
    let combined = TEMPERATURES.iter().flat_map(|t| TOP_P.iter().map(|p| (*t, *p)));
    let plain = [(1.0, 1.0)].into_iter();
    for (temperature, top_p) in plain.chain(combined.filter(|how| *how != (1.0, 1.0))) {
        let set = |x: f64| Some(x).filter(|x| *x != 1.0);
        let sampling = Sampling { temperature: set(temperature), top_p: set(top_p), ..Sampling::default() };
        let asked = next::Asked { chain: sampling.chain(None)?, top: BOARD, positions: vec![(-1).into()] };
        let ids = prompt.ids();
        let pool = Pool::of(logits, &asked.chain, Context { prompt: &ids, output: &[] })?;
        let (rows, whole) = next::rows_of(prompt, ids.len() - 1, logits, &pool, &asked, &|id| on.spell(id));
        all.extend(rows);
        wholes.push(whole);
    }
    Ok((all, wholes))
}
