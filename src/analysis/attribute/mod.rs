//! Attribution patching: what would every patch do, to first order? One forward pass of each prompt and one backward pass.
//!
//! A patch replaces a value of the run that is changed, the base, by that of the other run, the donor. To first order, the
//! metric changes by (Nanda 2023, "Attribution patching"; Syed, Rager and Conmy 2023)
//!
//! `estimate = sum over the node's numbers of (donor - base) dmetric/dvalue`, the derivative taken at the base run,
//!
//! for every node at once. Two fixes are those of AtP* (Kramár, Lieberum, Shah and Nanda 2024, arXiv 2403.00745):
//!
//! - for queries and keys the pattern is made again instead of taken as linear (`qk.rs`);
//! - GradDrop, against effects that cancel: the backward pass is repeated for each layer `l` of `L`, with nothing going
//!   through that layer's sublayers. With `estimate_l` what that gives, the `strength` of a node is
//!   `1 / (L - 1)  sum over l of |estimate_l|`: the layer of the node itself gives zero. A node of the stream is in no layer, so
//!   there the divisor is `L`.
//!
//! Estimates add up: that of a head at all positions is the sum over its positions, the queries' and keys' fix excepted.

mod confirm;
mod mean;
mod mean_view;
mod nodes;
mod options;
mod pass;
mod qk;
pub mod rows;
mod strongest;
pub(crate) mod view;
mod words;

pub use confirm::Confirmed;

use super::patch::place;
use super::{Need, Watch};
use crate::analysis::{AttributionRow, PatchRow};
use crate::arch::Spec;
use crate::error::{Error, Result, said};
use crate::hook::site::{Role, Scope, Writer};
use crate::hook::{HookPoint, Site, select_in};
use crate::model::Model;
use crate::sweep::budget::{Budget, Cut};
use crate::sweep::{
    Align, Change, Direction, Doubts, How, Kind, METRICS, MetricValues, Needs, Shard, Spot, Unpatched, check_text,
    row_bytes,
};
use crate::text::Pair;
use nodes::Nodes;
pub use options::Attribute;
use pass::{Ends, Estimates, Pass};
use strongest::Strongest;

/// What a sweep leaves beside its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributionSummary {
    /// Nodes in all, of which only some have a row.
    pub nodes: usize,
    /// Pairs in which the clean run does not do what it is there for.
    pub doubts: Doubts,
    /// What measuring the strongest has shown.
    pub confirmed: Option<Confirmed>,
}

/// The components of this model, as a pattern: what blocks write, what heads and neurons give, and the stream; with queries
/// and keys where they are to be fixed, after their norm where there is one.
pub fn components(spec: &Spec, qk_fix: bool) -> String {
    let exists = |s: &&Site| (0..spec.n_layers()).any(|l| s.exists(spec, Some(l)));
    let [q, k] = if exists(&&Site::QNormed) { [Site::QNormed, Site::KNormed] } else { [Site::Q, Site::K] };
    let sites = [Site::ResidPre, q, k, Site::Z, Site::AttnOut, Site::MlpPost, Site::MlpOut];
    let wanted = |s: &&Site| qk_fix || !has_fix(**s);
    sites.iter().filter(wanted).filter(exists).map(|s| s.short()).collect::<Vec<_>>().join(",")
}

/// Estimates the effect of every patch that `options` name, on every pair, and emits a row for each, pair after pair.
///
/// # Errors
/// When options, pairs and model do not fit; whatever the run, `watch` or `emit` says.
pub fn attribute(
    model: &Model,
    pairs: &[Pair],
    options: &Attribute,
    (align, budget, shard): (Align, Budget, Shard),
    watch: &dyn Watch,
    emit: &mut dyn FnMut(AttributionRow) -> Result<()>,
) -> Result<AttributionSummary> {
    let points = points(model.spec(), options)?;
    let mut groups = groups(model.spec(), pairs, budget).waves;
    groups.retain(|group| shard.measures(group.start));
    // What is strongest of all pairs is known when the last has been estimated. Where not all estimates can be held, they are made again.
    let twice = options.confirm > 0 && groups.len() > 1;
    let own: usize = groups.iter().map(std::ops::Range::len).sum();
    let total = if twice { 2 * own } else { own };
    let (mut summary, mut measured, mut done) = (AttributionSummary::default(), vec![], 0);
    let mut strongest = Strongest::new(options.confirm);
    if twice {
        for group in &groups {
            let estimates = Pass::new(model, &pairs[group.clone()], &points, options)?;
            let estimates = estimates.estimates(&Steady { watch, done, total })?;
            strongest.add_all((group.start, &pairs[group.clone()]), &estimates, (options.top, align));
            done += group.len();
            watch.at(done, total)?;
        }
    }
    for group in groups {
        let pairs_of_group = &pairs[group.clone()];
        let pass = Pass::new(model, pairs_of_group, &points, options)?;
        let watch = &Steady { watch, done, total };
        let estimates = pass.estimates(watch)?;
        if !twice {
            strongest.add_all((group.start, pairs_of_group), &estimates, (options.top, align));
        }
        let ends: Vec<Ends> = (0..pairs_of_group.len()).map(|pair| pass.ends(pair)).collect();
        for (estimates, ends) in estimates.iter().zip(&ends) {
            summary.nodes += estimates.iter().map(|e| e.told(0).len()).sum::<usize>();
            let (clean, corrupt) = (&[ends.clean][..], &[ends.corrupt][..]);
            let unpatched = Unpatched { clean, corrupt: Some(corrupt), foil_preferred: ends.foil_preferred };
            summary.doubts.add(&[options.metric], &unpatched);
        }
        // What is measured has the same budget.
        drop(pass);
        let told: Vec<Told> = (pairs_of_group.iter().zip(&ends).zip(&estimates))
            .map(|((pair, ends), estimates)| Told { model, pair, ends, estimates, options, align })
            .collect();
        let chosen: Vec<Vec<usize>> = group.clone().map(|pair| strongest.of(pair)).collect();
        let mut exact = measured_of(model, &told, &chosen, (options, budget), watch)?.into_iter();
        // Rows are made as they are given away: there may be one for each entry of each pattern.
        for (told, chosen) in told.iter().zip(&chosen) {
            told.rows(&mut |i, Estimated { mut row, .. }| {
                if chosen.binary_search(&i).is_ok() {
                    let patch = exact.next().ok_or_else(|| Error::compute("a patch was not measured").fault())?;
                    let base = if options.direction == Direction::Denoise { row.corrupt } else { row.clean };
                    row.exact = patch.measured.patched.map(|patched| patched - base);
                    row.exact_recovered = patch.measured.recovered;
                    row.not_finite = patch.outcome.not_finite;
                    measured.push(row.clone());
                }
                emit(row)
            })?;
        }
        done += pairs_of_group.len();
        watch.watch.at(done, total)?;
    }
    summary.confirmed = Confirmed::of(&measured, !options.grad_drop);
    Ok(summary)
}

/// Asks whether to go on while a group of pairs is worked on, which is one step.
struct Steady<'a> {
    watch: &'a dyn Watch,
    done: usize,
    total: usize,
}

impl Watch for Steady<'_> {
    fn at(&self, _: usize, _: usize) -> Result<()> {
        self.watch.at(self.done, self.total)
    }
}

/// The points that are estimated, checked.
fn points(spec: &Spec, options: &Attribute) -> Result<Vec<HookPoint>> {
    let usual = || components(spec, options.qk_fix);
    let points = select_in(spec, &options.at.clone().unwrap_or_else(usual), options.layers.as_deref())?;
    for point in &points {
        if point.site.info().scope == Scope::Expert {
            return Err(Error::bad_input(format!(
                "{point} is of the rows that go through one expert, which a patch does not send elsewhere"
            ))
            .hint("attribute to mlp_out, or to the router's weights"));
        }
        Change::new(*point, How::Fill(0.0)).check(spec, 1)?;
    }
    if !options.metric.has_slope() {
        let names = METRICS.iter().filter(|row| row.metric.has_slope()).map(|row| row.name).collect::<Vec<_>>();
        return Err(Error::bad_input(format!("`{}` changes in steps, so it has no gradient", options.metric.name()))
            .hint(format!("measure one of {}", names.join(", "))));
    }
    if options.metric.needs(Needs::CleanLogits) && options.direction == Direction::Noise {
        return Err(Error::bad_input(
            "the divergence from the clean run is smallest at the clean run, so its slope is zero there",
        )
        .hint(said("use {direction=denoise}, or another metric")));
    }
    if options.qk_fix && !points.iter().any(|p| has_fix(p.site)) {
        return Err(Error::bad_input("the fix for queries and keys needs some, and there are none among the values")
            .hint(said("add q,k to {at}")));
    }
    if options.qk_fix
        && let Some(point) = points.iter().find(|p| normed_together(spec, p))
    {
        return Err(Error::bad_input(format!(
            "the fix replaces the queries or keys of one head, and the norm after {point} makes those of every head out of \
             it"
        ))
        .hint("write q_norm.out and k_norm.out in place of q and k: after the norm each head has its own"));
    }
    if options.grad_drop && spec.n_layers() < 2 {
        return Err(Error::bad_input("GradDrop drops one layer of several, and this model has one")
            .hint("leave GradDrop out for this model"));
    }
    Ok(points)
}

fn has_fix(site: Site) -> bool {
    matches!(site.info().role, Role::Queries | Role::Keys)
}

/// Whether these are queries or keys that a norm over all heads together is still to be applied to.
fn normed_together(spec: &Spec, point: &HookPoint) -> bool {
    let norm = point.layer.and_then(|l| spec.blocks[l].attention.inner.qk_norm);
    matches!(point.site, Site::Q | Site::K) && norm.is_some_and(|qk| !qk.per_head)
}

/// What [`attribute`] needs of memory. The rows of one pair are held while they are drawn.
///
/// # Errors
/// When options and model do not fit.
pub fn need(spec: &Spec, pairs: &[Pair], options: &Attribute, budget: Budget) -> Result<Need> {
    let points = points(spec, options)?;
    pairs.iter().try_for_each(|pair| check_text(spec, pair))?;
    let of_point = |point: &HookPoint, n: usize| {
        let nodes = Nodes::of(spec, *point, n, n);
        let told = if nodes.are_neurons() && options.top > 0 { n * options.top } else { nodes.len() };
        told * ROW_BYTES
    };
    let of_pair = |pair: &Pair| points.iter().map(|point| of_point(point, pair.clean.tokens.len())).sum::<usize>();
    let rows = pairs.iter().map(of_pair).max().unwrap_or(0);
    // A mean of each of its places, while the rows of a pair are made and while it is drawn.
    let rows = if pairs.len() > 1 { 3 * rows } else { rows };
    Ok(Need { rows, ..groups(spec, pairs, budget).need })
}

/// Bytes of a row while it is drawn: what a figure knows of it, and its texts.
const ROW_BYTES: usize = size_of::<AttributionRow>() + 8 * 32 + 64;

/// Bytes of a row of a forward and a backward pass. Every block's values are kept, beside them the other run's and, for a while,
/// gradients.
fn row_of_pass(spec: &Spec) -> usize {
    3 * spec.n_layers() * row_bytes(spec) + 4 * spec.unembedding.d_vocab_out
}

/// Consecutive pairs whose values, gradients and what lies between them fit `budget`, at least one pair.
fn groups(spec: &Spec, pairs: &[Pair], budget: Budget) -> Cut {
    budget.cut_packs(&pairs.iter().map(|pair| pair.text_len() * row_of_pass(spec)).collect::<Vec<_>>(), 0)
}

/// A row with the patch that it stands for.
struct Estimated {
    spot: Spot,
    row: AttributionRow,
}

/// What was estimated of one pair.
struct Told<'a> {
    model: &'a Model,
    pair: &'a Pair,
    ends: &'a Ends,
    estimates: &'a [Estimates],
    options: &'a Attribute,
    align: Align,
}

impl Told<'_> {
    /// Gives the rows to `f`, in order, each with its place among them.
    fn rows(&self, f: &mut dyn FnMut(usize, Estimated) -> Result<()>) -> Result<()> {
        let Self { model, pair, ends, estimates, options, align } = *self;
        let mut at = 0;
        for of_point in estimates {
            for i in of_point.told(options.top) {
                let (estimate, strength) = (of_point.values[i], of_point.strengths[i]);
                let spot = of_point.nodes.spot(i);
                // In f32, which the table holds.
                if ![estimate, strength].iter().all(|x| (*x as f32).is_finite()) {
                    let (id, point) = (&pair.id, of_point.nodes.point);
                    return Err(Error::compute(format!(
                        "an estimate at {point} of pair \"{id}\" is {estimate}, more than f32 can hold"
                    ))
                    .hint("measure another metric, such as logit_diff"));
                }
                let seen = MetricValues {
                    clean: ends.clean,
                    corrupt: Some(ends.corrupt),
                    patched: Some(ends.base + estimate),
                    changed: of_point.changed[i],
                    reached: true,
                    not_finite: None,
                };
                for spot in spot.called(pair, align) {
                    let row = AttributionRow {
                        pair: pair.index,
                        pair_id: pair.id.clone(),
                        place: place(model, pair, &spot),
                        metric: options.metric.name().to_owned(),
                        clean: ends.clean as f32,
                        corrupt: ends.corrupt as f32,
                        estimate: estimate as f32,
                        estimated_recovered: seen.recovered(),
                        strength: strength as f32,
                        exact: None,
                        exact_recovered: None,
                        kind: Kind::Replace.name(),
                        direction: options.direction.name().to_owned(),
                        changed: seen.changed,
                        not_finite: None,
                    };
                    f(at, Estimated { row, spot })?;
                    at += 1;
                }
            }
        }
        Ok(())
    }
}

/// Measures the rows `chosen` of each pair.
fn measured_of(
    model: &Model,
    pairs: &[Told<'_>],
    chosen: &[Vec<usize>],
    (options, budget): (&Attribute, Budget),
    watch: &dyn Watch,
) -> Result<Vec<PatchRow>> {
    let (mut own, mut spots) = (vec![], vec![]);
    // A pair without any is not run.
    for (told, chosen) in pairs.iter().zip(chosen).filter(|(_, chosen)| !chosen.is_empty()) {
        let mut of_pair = vec![];
        told.rows(&mut |i, found| {
            if chosen.binary_search(&i).is_ok() {
                of_pair.push(found.spot);
            }
            Ok(())
        })?;
        own.push(told.pair.clone());
        spots.push(of_pair);
    }
    match own.is_empty() {
        true => Ok(vec![]),
        false => confirm::measure(model, &own, &spots, (options, budget), watch),
    }
}

/// Whether a node of this site is part of the stream, which every layer only adds to.
fn is_stream(site: Site) -> bool {
    matches!(site.info().role, Role::Stream | Role::Write(Writer::Embedding))
}
