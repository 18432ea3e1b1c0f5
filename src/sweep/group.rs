//! Pairs that are recorded together: what patched runs begin with, take values of, and are measured by.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::budget::LOGITS;
use super::kind::{Direction, Kind, Sources, several};
use super::measure::Long;
use super::metric::{Gauge, Needs, readout};
use super::options::{Keep, PatchOptions, Summary, Watch};
use super::{BLOCK, Need, Readout, Recorded, first_not_finite, not_finite, row_bytes, unchanged};
use crate::arch::Spec;
use crate::error::{Error, Result, position, said};
use crate::hook::HookPoint;
use crate::model::Model;
use crate::text::Pair;

/// Bytes that are kept of a patch while its chunk of the sweep runs, in several lists.
const PATCH_BYTES: usize = 700;
/// A pair's patches are not split into fewer than this: for each chunk, the pair's runs are recorded anew.
const LEAST_PATCHES: usize = 1024;

/// What is recorded and runs together: consecutive pairs, and which of each one's patches.
struct Chunk {
    pairs: Range<usize>,
    places: Range<usize>,
}

/// Bytes of a pair's recorded runs, with the values of `points`, and of what one of them holds while it runs.
fn recorded_bytes(model: &Model, pair: &Pair, points: &[HookPoint], options: &PatchOptions) -> usize {
    let spec = model.spec();
    let streams: usize =
        spec.blocks.iter().map(|b| spec.d_model + 2 * b.attention.inner.n_kv_heads * b.attention.inner.d_head).sum();
    let n = pair.text_len();
    let runs = 1
        + usize::from(pair.corrupt.is_some() || options.noised.is_some())
        + usize::from(matches!(options.how.kind, Kind::Resample));
    let values: usize = points.iter().map(|p| p.shape(spec, n).iter().product::<usize>()).sum();
    // What is added may be as large as what it is added to. The clean logits stay for the KL divergence.
    let added = if matches!(options.how.kind, Kind::Noise(_) | Kind::Add(_)) { values } else { 0 };
    let logits = if options.how.metric.iter().any(|metric| metric.needs(Needs::CleanLogits)) {
        spec.unembedding.d_vocab_out
    } else {
        0
    };
    runs * (4 * (n * streams + values) + n * row_bytes(spec)) + 4 * (added + logits)
}

/// Refuses an answer of several tokens that cannot be read one after another.
///
/// # Errors
/// When the model sees what follows, or not as far.
pub(crate) fn check_text(spec: &Spec, pair: &Pair) -> Result<()> {
    let (n, id) = (pair.text_len(), &pair.id);
    let refused = |why: String, hint: &str| Err(Error::bad_input(why).hint(hint));
    match spec.n_ctx {
        _ if pair.rest.is_empty() => Ok(()),
        _ if !spec.is_causal() => refused(
            format!("the answer of pair \"{id}\" is several tokens, and this model would see each before it says it"),
            "choose an answer of one token",
        ),
        Some(n_ctx) if n > n_ctx => refused(
            format!("pair \"{id}\" with its answer is {n} tokens, and the model sees {n_ctx}"),
            "give a shorter prompt",
        ),
        _ => Ok(()),
    }
}

/// Bytes of the rows of one place, of its means over pairs and of their figures, whatever the pairs.
const PLACE_BYTES: usize = 1700;

/// What a sweep of `pairs` needs of memory, of which each has so many `places` to be patched.
pub(crate) fn need(
    model: &Model,
    pairs: &[Pair],
    points: &[HookPoint],
    places: &[usize],
    options: &PatchOptions,
) -> Result<Need> {
    let (spec, budget) = (model.spec(), options.budget);
    let row = row_bytes(spec);
    let logits = |pair: &Pair| {
        let readout = readout(pair, &options.how.metric, options.how.measure_at)?;
        let width = readout.tokens.map_or(spec.unembedding.d_vocab_out, |tokens| tokens.len());
        Ok::<_, Error>(LOGITS * size_of::<f32>() * readout.positions.len() * width)
    };
    let (mut need, mut logits_of) = (Need::default(), vec![]);
    for (pair, places) in pairs.iter().zip(places) {
        logits_of.push(logits(pair)?);
        check_text(model.spec(), pair)?;
        let n = pair.text_len();
        let patches = (*places).min(LEAST_PATCHES) * PATCH_BYTES;
        let least = recorded_bytes(model, pair, points, options) + patches + n * row + logits_of[logits_of.len() - 1];
        need.least = need.least.max(least);
        need.rows = need.rows.max(places * options.how.metric.len() * PLACE_BYTES);
    }
    for Chunk { pairs: of, places: some } in chunks(model, pairs, points, places, options) {
        let (mut held, mut rows, mut logits, mut longest) = (0, 0, 0, 0);
        for i in of {
            let (n, patches) = (pairs[i].text_len(), places[i].min(some.end) - some.start.min(places[i]));
            held += recorded_bytes(model, &pairs[i], points, options) + patches * PATCH_BYTES;
            rows += patches * n;
            logits += patches * logits_of[i];
            longest = longest.max(n);
        }
        let most_logits = logits_of.iter().copied().max().unwrap_or(0);
        let wave = (rows * row).min(budget.half().0.max(longest * row));
        need.activations =
            need.activations.max(held + wave + logits.min((LOGITS * budget.logits().0).max(most_logits)));
    }
    Ok(need)
}

/// Splits the sweep into chunks whose recordings and lists of patches fit half of the memory budget: the other half is for
/// patched runs. A pair with more patches than that is split itself.
fn chunks(model: &Model, pairs: &[Pair], points: &[HookPoint], places: &[usize], options: &PatchOptions) -> Vec<Chunk> {
    let half = options.budget.half();
    let recorded: Vec<usize> = pairs.iter().map(|pair| recorded_bytes(model, pair, points, options)).collect();
    let with_patches = recorded.iter().zip(places).map(|(runs, patches)| runs + patches * PATCH_BYTES);
    let mut chunks = vec![];
    for pairs in half.packs(options.samples(), &with_patches.collect::<Vec<_>>()) {
        let first = pairs.start;
        let at_once = (half.0.saturating_sub(recorded[first]) / PATCH_BYTES).max(LEAST_PATCHES);
        match places[first] {
            patches if pairs.len() == 1 && patches > at_once => {
                let of = |from: usize| Chunk { pairs: pairs.clone(), places: from..(from + at_once).min(patches) };
                chunks.extend((0..patches).step_by(at_once).map(of));
            }
            _ => chunks.push(Chunk { pairs, places: 0..usize::MAX }),
        }
    }
    chunks
}

/// What a sweep goes by, whatever its places are.
pub(crate) struct Sweep<'a> {
    pub options: &'a PatchOptions,
    pub sources: &'a Sources<'a>,
    /// Where finished waves are kept.
    pub keep: &'a mut dyn Keep,
    /// Hears how far the sweep is.
    pub watch: &'a dyn Watch,
}

/// Records `pairs`, of which each has so many `places` to be patched, chunk by chunk with the values of `points`, and lets `each`
/// run what it has for a chunk.
pub(crate) fn in_groups(
    model: &Model,
    pairs: &[Pair],
    points: &[HookPoint],
    places: &[usize],
    Sweep { options, keep, watch, .. }: &mut Sweep,
    each: &mut dyn FnMut(&Group, &mut Summary, &mut Long) -> Result<()>,
) -> Result<Summary> {
    let mut chunks = chunks(model, pairs, points, places, options).into_iter().enumerate().collect::<Vec<_>>();
    let block_of = |pair: usize| pair / (BLOCK * options.samples());
    chunks.retain(|(_, chunk)| options.shard.has(block_of(chunk.pairs.start) as u64));
    let own = (places.iter().enumerate()).filter(|(pair, _)| options.shard.has(block_of(*pair) as u64));
    let total = own.map(|(_, places)| places).sum();
    let mut summary = Summary { patches: total, ..Summary::default() };
    // The number of each pair's first place among all.
    let first: Vec<usize> = (places.iter())
        .scan(0, |next, places| {
            *next += places;
            Some(*next - places)
        })
        .collect();
    let again = several(options.how.seed, options.how.verify, places.iter().sum());
    let (mut done, mut block, mut looked_from) = (0, 0, 0);
    for (g, chunk) in chunks {
        if block_of(chunk.pairs.start) != block {
            (block, looked_from) = (block_of(chunk.pairs.start), summary.not_finite);
        }
        let own = |pair: usize| {
            let to = chunk.places.end.min(places[pair]);
            let from = chunk.places.start.min(to);
            Own { pair, places: from..to, first: first[pair] + from }
        };
        let own = chunk.pairs.clone().map(own).collect();
        let group = Group::record(model, &pairs[chunk.pairs], own, points, options)?;
        let mut after = |n: usize| {
            done += n;
            watch.at(done, total)
        };
        let mut long = Long { keep: &mut **keep, group: g, after: &mut after, again: &again, looked_from };
        each(&group, &mut summary, &mut long)?;
    }
    Ok(summary)
}

/// The places of a pair that are in a group.
pub(crate) struct Own {
    /// Its place among all pairs.
    pub pair: usize,
    /// Which of its places.
    pub places: Range<usize>,
    /// The number of the first of them among all.
    pub first: usize,
}

/// Pairs that are recorded together.
pub(crate) struct Group<'a> {
    pub pairs: &'a [Pair],
    /// What of each is here.
    pub own: Vec<Own>,
    /// The runs that are changed, the pairs' other runs, and those that give values; where there are such.
    pub bases: Vec<Recorded>,
    others: Vec<Option<Recorded>>,
    pub donors: Vec<Option<Recorded>>,
    pub readouts: Vec<Readout>,
    at: Vec<usize>,
}

impl<'a> Group<'a> {
    /// Runs the pairs' prompts and keeps what patched runs need of them.
    fn record(
        model: &Model,
        pairs: &'a [Pair],
        own: Vec<Own>,
        points: &[HookPoint],
        options: &PatchOptions,
    ) -> Result<Self> {
        let (mut sequences, mut changes, mut names) = (vec![], vec![], vec![]);
        let sigma = options.noised.as_ref().map_or(Ok(0.0), |noised| noised.deviation(model))?;
        for pair in pairs {
            if pair.corrupt.is_none() && options.how.kind.needs_another_prompt() && options.noised.is_none() {
                return Err(Error::bad_input(format!("pair \"{}\" has no corrupt prompt to take values of", pair.id))
                    .hint(said(
                        "[give {corrupt}, or the file's column ({columns=corrupt=NAME}), or another {kind}|\
                          give {corrupt}, or the file's column ({columns=corrupt=NAME})|use another {kind}]",
                    )));
            }
            check_text(model.spec(), pair)?;
            let clean = pair.text(pair.clean.ids());
            let noise = options.noised.as_ref().map(|n| n.change(model, options.how.seed, pair, sigma)).transpose()?;
            let resample = matches!(options.how.kind, Kind::Resample);
            let resampled = resample.then(|| options.resampled(pair)).transpose()?;
            let corrupt = match noise {
                Some(noise) => Some((clean.clone(), vec![noise])),
                None => pair.corrupt.as_ref().map(|corrupt| (pair.text(corrupt.ids()), vec![])),
            };
            let (clean, resampled) = (Some((clean, vec![])), resampled.map(|ids| (ids, vec![])));
            let all = [(clean, "clean run"), (corrupt, "corrupt run"), (resampled, "resampled prompt")];
            for ((ids, changed), what) in all.into_iter().filter_map(|(run, what)| Some((run?, what))) {
                sequences.push(ids);
                changes.push(changed);
                names.push(format!("the {what} of pair \"{}\"", pair.id));
            }
        }
        let mut recorded = Recorded::named(model, &sequences, &changes, points, &|i| names[i].clone())?.into_iter();
        let (mut bases, mut donors, mut others) = (vec![], vec![], vec![]);
        for pair in pairs {
            let clean = recorded.next().ok_or_else(|| Error::compute("a prompt was not recorded").fault())?;
            let corrupt = (pair.corrupt.is_some() || options.noised.is_some()).then(|| recorded.next()).flatten();
            let (base, other) = match (corrupt, options.how.direction()) {
                (Some(corrupt), Direction::Denoise) => (corrupt, Some(clean)),
                (corrupt, _) => (clean, corrupt),
            };
            bases.push(base);
            donors.push(if matches!(options.how.kind, Kind::Resample) { recorded.next() } else { other.clone() });
            others.push(other);
        }
        let readouts =
            pairs.iter().map(|p| readout(p, &options.how.metric, options.how.measure_at)).collect::<Result<_>>()?;
        let at = |p: &Pair| position(&format!("pair \"{}\"", p.id), p.clean.tokens.len(), options.how.measure_at);
        let at = pairs.iter().map(at).collect::<Result<_>>()?;
        Ok(Self { pairs, own, bases, others, donors, readouts, at })
    }

    /// What a pair's clean and corrupt runs measure, nothing changed.
    pub(super) fn ends(&self, model: &Model, pair: usize, options: &PatchOptions) -> Result<End> {
        let readout = &self.readouts[pair];
        // The base is the corrupt run, where there is one and it is changed.
        let (clean, corrupt) = match (&self.others[pair], options.how.direction()) {
            (Some(other), Direction::Denoise) => (other, Some(&self.bases[pair])),
            (other, _) => (&self.bases[pair], other.as_ref()),
        };
        let logits = unchanged(model, clean, readout)?;
        let row = logits[readout.columns(self.at[pair], logits.len())].to_vec();
        let gauge = self.gauge(pair, &row);
        let of = |which: &str, run: &Recorded, logits: &[f32]| {
            let values = options.how.metric.iter().map(|m| gauge.finite(*m, logits)).collect::<Option<Vec<_>>>();
            values.map_or_else(
                || {
                    let (id, at) = (&self.pairs[pair].id, self.at[pair]);
                    let first = first_not_finite(model, &run.ids, &run.changes.iter().collect::<Vec<_>>())?;
                    let what = format!("the {which} run of pair \"{id}\", measured at position {at},");
                    Err(not_finite(&what, first.as_ref()))
                },
                Ok,
            )
        };
        let corrupt = corrupt.map(|run| of("corrupt", run, &unchanged(model, run, readout)?)).transpose()?;
        let (foil_preferred, clean) = (gauge.prefers_foil(&logits), of("clean", clean, &logits)?);
        Ok(End { clean, corrupt, row, foil_preferred })
    }

    /// What a pair's runs are measured with; `clean` are the logits of its clean run where it is measured.
    pub fn gauge<'g>(&'g self, pair: usize, clean: &'g [f32]) -> Gauge<'g> {
        let (readout, at) = (&self.readouts[pair], self.at[pair]);
        let Pair { answers, foils, rest, clean: prompt, .. } = &self.pairs[pair];
        let ids = &self.bases[pair].ids[..prompt.tokens.len()];
        Gauge { answers, foils, rest, ids, readout, at, clean }
    }

    /// Where a pair is measured.
    pub fn measured_at(&self, pair: usize) -> usize {
        self.at[pair]
    }

    /// Lengths of the pairs' runs.
    pub fn lengths(&self) -> Vec<usize> {
        self.bases.iter().map(Recorded::len).collect()
    }
}

/// What a pair's own runs measure.
pub(super) struct End {
    pub clean: Vec<f64>,
    pub corrupt: Option<Vec<f64>>,
    /// The clean run's logits where it is measured.
    pub row: Vec<f32>,
    /// Whether the clean run prefers the foil.
    pub foil_preferred: bool,
}

impl End {
    /// Of the run that is patched.
    pub fn base(&self, direction: Direction) -> &[f64] {
        match (direction, &self.corrupt) {
            (Direction::Denoise, Some(corrupt)) => corrupt,
            _ => &self.clean,
        }
    }
}

/// What `of` gives for each pair: pairs whose prompts have one length, and their named positions at the same places, share it.
pub(crate) fn of_each_shape<T>(pairs: &[Pair], of: impl Fn(&Pair) -> Result<T>) -> Result<Vec<Arc<T>>> {
    let mut known: HashMap<(usize, Vec<usize>), Arc<T>> = HashMap::new();
    let one = |pair: &Pair| {
        let shape = (pair.clean.tokens.len(), pair.positions.iter().map(|named| named.at).collect());
        if let Some(known) = known.get(&shape) {
            return Ok(known.clone());
        }
        let new = Arc::new(of(pair)?);
        known.insert(shape, new.clone());
        Ok(new)
    };
    pairs.iter().map(one).collect()
}
