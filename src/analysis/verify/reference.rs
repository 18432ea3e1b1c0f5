//! Where does our run differ from somebody else's, and is that rounding? Decided by a run of ours in f64.

use candle_core::DType;

use super::dump::Dump;
use super::measure::{distance, flat, largest};
use super::sites::{Known, known};
use super::{Watch, epsilon};
use crate::analysis::ReferenceRow;
use crate::arch::family::Family;
use crate::error::{Error, Result, said};
use crate::hook::{Cache, HookPoint, Site};
use crate::model::{Batch, Model};
use crate::ops::rounding::{TIMES, smallest};

/// What is always rounding, in units of epsilon times the largest value, and of the smallest number: where one side happens to be
/// exact, the other may have rounded a few operations.
const FLOOR: f64 = 4.0;

/// Compares a run of `model` on the dump's tokens with the dump: one row for each of our sites that it has, in the order of
/// the forward pass.
///
/// A site is `equal` where no value differs. It is `rounding` where the reference lies no farther from our run in f64 than 8
/// times as far as our own run does, and the other way round, both in units of their precision, plus 4 epsilon of the largest
/// value. Otherwise it is `wrong`. The f64 run holds the same weights, so it needs twice their memory in f32.
///
/// # Errors
/// When the dump is of another model or cannot be run. A site that is wrong is not an error but a row.
pub fn verify_reference(model: &Model, family: &Family, dump: &Dump, watch: &dyn Watch) -> Result<Vec<ReferenceRow>> {
    if !model.spec().processed.is_empty() {
        return Err(Error::bad_input("a model whose weights were processed has other activations than the reference")
            .hint(said("leave out {!process}")));
    }
    dump.check(family, model.spec())?;
    let known = known(dump, family, model.spec())?;
    let batch = Batch::of(dump.prompts().to_vec());
    let run = |model: &Model| -> Result<Cache> {
        let mut cache = Cache::of(known.iter().map(|k| k.point));
        model.forward(&batch, &mut [&mut cache])?;
        Ok(cache)
    };
    watch.at(0, 3)?;
    let ours = run(model)?;
    watch.at(1, 3)?;
    let exact = run(&model.to_dtype(DType::F64)?)?;
    watch.at(2, 3)?;
    let dtypes = [dump.dtype(), model.dtype()];
    let rows = known.iter().map(|k| row(k, &values(&ours, k.point)?, &values(&exact, k.point)?, dtypes)).collect();
    watch.at(3, 3)?;
    rows
}

/// All values at `point`, prompt after prompt.
fn values(cache: &Cache, point: HookPoint) -> Result<Vec<f64>> {
    let mut all = vec![];
    for x in cache.iter().filter(|(p, _)| *p == point).flat_map(|(_, values)| values) {
        all.extend(flat(x)?);
    }
    Ok(all)
}

fn row(known: &Known, ours: &[f64], exact: &[f64], dtypes: [DType; 2]) -> Result<ReferenceRow> {
    let theirs = flat(&known.value)?;
    if theirs.len() != exact.len() {
        return Err(Error::bad_input(format!(
            "the reference is of another shape: its `{}` has {} values, and {} has {}",
            known.name,
            theirs.len(),
            known.point,
            exact.len()
        ))
        .hint("give the model that the dump was made of, or make a dump of this one"));
    }
    // Two that are both not numbers agree in nothing.
    let legal = |x: &f64| x.is_finite() || (known.point.site == Site::AttnScores && *x == f64::NEG_INFINITY);
    if let Some(at) = theirs.iter().position(|x| !legal(x)) {
        return Err(Error::bad_input(format!("the reference's `{}` is {} at number {at}", known.name, theirs[at]))
            .hint("make the dump again, in a precision that does not overflow"));
    }
    if let Some(at) = ours.iter().position(|x| !legal(x)) {
        return Err(Error::compute(format!("{} of this run is {} at number {at}", known.point, ours[at]))
            .hint("`pellucid verify` without a reference says where the model stops being numbers"));
    }
    let magnitude = largest(exact.iter().map(|x| x.abs()));
    let apart =
        Apart { each_other: distance(ours, &theirs), reference: distance(&theirs, exact), ours: distance(ours, exact) };
    let (verdict, allowed) = apart.verdict(magnitude, dtypes);
    Ok(ReferenceRow {
        hook: known.point.to_string(),
        layer: known.point.layer.map(|l| l as u32),
        reference: known.name.clone(),
        magnitude,
        difference: apart.each_other,
        reference_to_f64: apart.reference,
        ours_to_f64: apart.ours,
        allowed,
        verdict: verdict.into(),
    })
}

/// Largest differences.
struct Apart {
    each_other: f64,
    reference: f64,
    ours: f64,
}

impl Apart {
    /// The verdict, and how far the reference may lie from f64.
    fn verdict(&self, magnitude: f64, dtypes: [DType; 2]) -> (&'static str, f64) {
        let [theirs, ours] = dtypes.map(epsilon);
        // Programs keep parts of a run in f64 in f32, statistics of norms among them.
        let rounds = theirs.max(epsilon(DType::F32));
        // Subnormal numbers are multiples of the smallest, so an error is at least that.
        let [their_floor, our_floor] = dtypes.map(smallest);
        let their_floor = FLOOR * (rounds * magnitude + their_floor.max(smallest(DType::F32)));
        let allowed = TIMES * self.ours * rounds / ours + their_floor;
        // The other way round only if the reference rounds at all: an exact one says nothing of how far rounding goes.
        let allowed_of_ours = TIMES * self.reference * ours / rounds + FLOOR * (ours * magnitude + our_floor);
        let fault_of_ours = theirs >= ours && self.ours > allowed_of_ours;
        let verdict = match self.each_other {
            0.0 => "equal",
            _ if self.reference <= allowed && !fault_of_ours => "rounding",
            _ => "wrong",
        };
        (verdict, allowed)
    }
}

/// The first site that is wrong, as an error: the sentence that answers "why do my logits differ".
///
/// # Errors
/// When a site is wrong.
pub fn first_wrong(rows: &[ReferenceRow]) -> Result<()> {
    let Some(first) = rows.iter().find(|row| row.verdict == "wrong") else { return Ok(()) };
    let layer = first.layer.map(|l| format!(" in block {l}")).unwrap_or_default();
    let (difference, size) = (first.difference, first.magnitude);
    if first.reference_to_f64 <= first.allowed {
        return Err(Error::compute(format!(
            "the first site that is wrong is {}{layer}: the reference agrees with f64 there, and this run is {:.1e} away, at \
             values of up to {size:.1e}",
            first.hook, first.ours_to_f64
        ))
        .hint("this is a fault of pellucid; please report it with the table"));
    }
    let error = Error::compute(format!(
        "the first site that is wrong is {}{layer}: it differs from `{}` by {difference:.1e}, where rounding explains {:.1e}, \
         at values of up to {size:.1e}",
        first.hook, first.reference, first.allowed
    ));
    Err(match SITES_TO_BLAME.iter().find(|(site, _)| first.hook.ends_with(site.info().name)) {
        Some((_, hint)) => error.hint(*hint),
        None => error.hint("compare how this value is computed in both; a dump of more sites says more"),
    })
}

/// What decides each value, given that everything before it is right.
#[rustfmt::skip]
const SITES_TO_BLAME: &[(Site, &str)] = &[
    (Site::Embed, "compare the embedding weights: are both of the same revision, and were they loaded in the same precision?"),
    (Site::PosEmbed, "compare the position table, its offset, and at which position the tokens begin"),
    (Site::ResidPre, "compare what the block before wrote, or for block 0 the embedding; a dump with modules says more"),
    (Site::Ln1Out, "compare this norm's kind, epsilon, gain and bias in config.json and in the weights"),
    (Site::Ln2Out, "compare this norm's kind, epsilon, gain and bias in config.json and in the weights"),
    (Site::Q, "compare the weights and bias of the queries, and the number of heads"),
    (Site::K, "compare the weights and bias of the keys, and the number of key heads"),
    (Site::V, "compare the weights and bias of the values, and the number of value heads"),
    (Site::QNormed, "compare the norm on queries: its gain and epsilon, and whether it is over each head or over all together"),
    (Site::KNormed, "compare the norm on keys: its gain and epsilon, and whether it is over each head or over all together"),
    (Site::Pattern, "compare what becomes of queries and keys: rotation (theta, scaling, dimensions), scale, cap, window"),
    (Site::Z, "compare the values' heads, and how query heads share them"),
    (Site::AttnOut, "compare the weights and bias of attention's output, the norm after it, and the residual multiplier"),
    (Site::ResidMid, "compare how attention's output is added to the stream"),
    (Site::MlpPre, "compare the weights and bias of the map into the neurons"),
    (Site::MlpPreLinear, "compare the weights and bias of the gate's linear partner"),
    (Site::MlpPost, "compare the activation function: `gelu` is not `gelu_new`"),
    (Site::RouterLogits, "compare the router's weights"),
    (Site::MlpOut, "compare the weights and bias of the map out of the neurons, the norm after it, and the residual multiplier"),
    (Site::FinalOut, "compare the last block's writes, and the final norm's kind, epsilon, gain and bias"),
    (Site::Logits, "compare the unembedding's weights and bias, the scale and the cap of the logits"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_what_the_other_side_shows_too() {
        let f32s = [DType::F32; 2];
        let verdict =
            |each_other, reference, ours, dtypes| Apart { each_other, reference, ours }.verdict(1.0, dtypes).0;
        assert_eq!(verdict(0.0, 1e-6, 1e-6, f32s), "equal");
        assert_eq!(verdict(2e-6, 3e-6, 1e-6, f32s), "rounding");
        assert_eq!(verdict(1e-4, 1e-4, 1e-6, f32s), "wrong");
        // Ours is the one that is off.
        assert_eq!(verdict(1e-4, 1e-6, 1e-4, f32s), "wrong");
        assert_eq!(verdict(f64::INFINITY, f64::INFINITY, 1e-6, f32s), "wrong");
        // bfloat16 rounds 65536 times as coarsely.
        let bf16 = [DType::BF16, DType::F32];
        assert_eq!(verdict(0.05, 0.05, 1e-6, bf16), "rounding");
        assert_eq!(verdict(2.0, 2.0, 1e-6, bf16), "wrong");
        // A reference in f64 lies nearer than ours can.
        let f64s = [DType::F64, DType::F32];
        assert_eq!(verdict(1e-5, 1e-15, 1e-5, f64s), "rounding");
    }

    /// A subnormal number that is off by the last bit is rounding, though it be half of its value; ten times as much is not.
    #[test]
    fn subnormal_numbers_are_rounded_to_multiples_of_the_smallest() {
        let last = f64::from(f32::from_bits(1));
        let verdict = |apart| {
            let apart = Apart { each_other: apart, reference: apart, ours: 0.0 };
            apart.verdict(4.0 * last, [DType::F32; 2]).0
        };
        assert_eq!(verdict(last), "rounding");
        assert_eq!(verdict(10.0 * last), "wrong");
    }
}
