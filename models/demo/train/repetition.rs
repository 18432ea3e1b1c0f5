//! Repeated random tokens: which heads look at the token before and at what followed last time, and what is lost without them
//! (Olsson et al. 2022, "In-context Learning and Induction Heads").

use std::collections::BTreeMap;

use anyhow::Result;
use pellucid::hook::{Cache, HookPoint, Site};
use pellucid::model::{Batch, Run};
use pellucid::ops::Kernels;
use pellucid::ops::loss::cross_entropy;
use pellucid::session::Session;

use super::corpus::repeated;
use super::grammar::Random;
use super::silence::{How, Means, Part, Silence, points};
use super::skills::{Bound, Measured};
use super::statistics::Mean;

/// Tokens of each half.
const LENGTH: usize = 20;
/// Sequences, all in one pack.
const SEQUENCES: usize = 60;
/// Mean attention that a head has to have to be called by what it looks at.
const LOOKS: f64 = 0.6;
/// What a silenced head or group costs, in nats for each token of the second half, to be what repetition rests on: a third of
/// what guessing among all tokens costs.
const COSTS: f64 = 2.5;

struct Repetition<'a> {
    loaded: &'a Session,
    batch: Batch,
    cache: Cache,
    means: Means,
}

impl<'a> Repetition<'a> {
    fn of(loaded: &'a Session, random: &mut Random) -> Result<Self> {
        let model = &loaded.model;
        let batch = Batch::of((0..SEQUENCES).map(|_| repeated(random, model.spec().d_vocab as u32 - 1, LENGTH, 2)));
        let kept =
            (0..model.spec().n_layers()).flat_map(|l| [Site::ResidPre, Site::Pattern].map(|s| HookPoint::block(l, s)));
        let mut cache = Cache::of(kept.chain(points(model)));
        model.forward(&batch, &mut [&mut cache])?;
        let mut means = Means::default();
        means.add(model, &cache)?;
        Ok(Self { loaded, batch, cache, means })
    }

    /// Mean attention of a head, sequence by sequence: to the token before; and in the second half to the token that came after
    /// this one in the first.
    fn looks(&self, part: Part) -> Result<[Mean; 2]> {
        let name = HookPoint::block(part.layer, Site::Pattern).to_string();
        let (mut previous, mut followed) = (vec![], vec![]);
        for i in 0..SEQUENCES {
            let pattern_qk = self.cache.sequence(&name, i)?.get(part.head.unwrap_or(0))?.to_vec2::<f32>()?;
            let mean = |queries: std::ops::Range<usize>, back: usize| {
                let n = queries.len() as f64;
                queries.map(|q| f64::from(pattern_qk[q][q - back])).sum::<f64>() / n
            };
            previous.push(mean(1..2 * LENGTH + 1, 1));
            // Token i of the first half is at position i + 1; its second occurrence LENGTH later.
            followed.push(mean(LENGTH + 1..2 * LENGTH, LENGTH - 1));
        }
        Ok([Mean::of(&previous), Mean::of(&followed)])
    }

    /// Loss on the second half, in nats for each token, sequence by sequence, without these parts. The first token of the half is
    /// left out: nothing says that the repetition begins.
    fn loss_without(&self, parts: &[Part]) -> Result<Vec<f64>> {
        let model = &self.loaded.model;
        let run = Run { kernels: Some(Kernels::Fused), ..Run::default() };
        let logits = if parts.is_empty() {
            model.run(&self.batch, &run, &mut [])?
        } else {
            let mut silence = Silence::of(model, parts, How::Mean, &self.means)?;
            let layer = silence.begins_at();
            let resid = self.cache.get(&HookPoint::block(layer, Site::ResidPre).to_string())?.clone();
            model.run(&self.batch, &Run { from: Some((layer, resid)), ..run }, &mut [&mut silence])?
        };
        let (mut rows, mut targets, mut first) = (vec![], vec![], 0u32);
        for sequence in &self.batch.sequences {
            for position in LENGTH + 1..2 * LENGTH {
                rows.push(first + position as u32);
                targets.push(sequence.ids[position + 1]);
            }
            first += sequence.ids.len() as u32;
        }
        let logits = logits.logits()?;
        let logits = logits.index_select(&candle_core::Tensor::new(rows, logits.device())?, 0)?;
        let losses = cross_entropy(Kernels::Fused, &logits, &targets)?.to_vec1::<f32>()?;
        Ok(losses
            .chunks(LENGTH - 1)
            .map(|of| of.iter().map(|x| f64::from(*x)).sum::<f64>() / of.len() as f64)
            .collect())
    }
}

/// The previous-token head and the induction heads: by where they look, and by what is lost without them.
pub fn measure(loaded: &Session, random: &mut Random) -> Result<Vec<Measured>> {
    let repetition = Repetition::of(loaded, random)?;
    let heads: Vec<Part> = Part::all(&loaded.model).into_iter().filter(|part| part.head.is_some()).collect();
    let looks = heads.iter().map(|part| Ok((*part, repetition.looks(*part)?))).collect::<Result<BTreeMap<_, _>>>()?;
    let found = |what: usize| -> Vec<Part> {
        heads.iter().filter(|part| looks[part][what].is_clearly_above(LOOKS)).copied().collect()
    };
    let (previous, induction) = (found(0), found(1));
    let whole = repetition.loss_without(&[])?;
    let cost = |parts: &[Part]| -> Result<Mean> {
        if parts.is_empty() {
            return Ok(Mean::default());
        }
        let without = repetition.loss_without(parts)?;
        Ok(Mean::of(&without.iter().zip(&whole).map(|(a, b)| a - b).collect::<Vec<_>>()))
    };
    let alone = heads.iter().map(|part| Ok((*part, cost(&[*part])?))).collect::<Result<BTreeMap<_, _>>>()?;
    let most = |of: &dyn Fn(&Part) -> bool| {
        let chosen = alone.iter().filter(|(part, _)| of(part));
        chosen
            .max_by(|a, b| a.1.mean.total_cmp(&b.1.mean))
            .map(|(part, cost)| (part.to_string(), *cost))
            .unwrap_or_default()
    };
    let least = |what: usize, of: &[Part]| {
        of.iter().map(|part| looks[part][what]).min_by(|a, b| a.mean.total_cmp(&b.mean)).unwrap_or_default()
    };
    let other_blocks = (0..loaded.model.spec().n_layers()).map(|layer| {
        let block: Vec<Part> = heads.iter().filter(|part| part.layer == layer).copied().collect();
        let of_neither = !block.iter().any(|part| previous.contains(part) || induction.contains(part));
        Ok((layer, if of_neither { cost(&block)? } else { Mean::default() }))
    });
    let other_blocks = other_blocks.collect::<Result<Vec<_>>>()?;
    let other_block =
        other_blocks.iter().max_by(|a, b| a.1.mean.total_cmp(&b.1.mean)).map(|(_, cost)| *cost).unwrap_or_default();
    let (other_head, other_alone) = most(&|part| !previous.contains(part) && !induction.contains(part));
    let (one, one_alone) = most(&|part| induction.contains(part));
    let second_half = format!("rise of the loss on the second half of random tokens 2 x {LENGTH}, nats for each token");
    Ok(vec![
        Measured::new(
            "previous-token head",
            format!("mean attention to the token before, random tokens ({})", all_of(&previous)),
            least(0, &previous),
            Bound::AtLeast(LOOKS),
        ),
        Measured::new(
            "previous-token head silenced",
            format!("{second_half}; mean ablation"),
            cost(&previous)?,
            Bound::AtLeast(COSTS),
        ),
        Measured::new(
            "induction heads",
            format!(
                "mean attention to what followed the same token before, random tokens 2 x {LENGTH}; the least of {}",
                all_of(&induction)
            ),
            least(1, &induction),
            Bound::AtLeast(LOOKS),
        ),
        Measured::new(
            "induction heads silenced",
            format!("as above, all {} together", induction.len()),
            cost(&induction)?,
            Bound::AtLeast(COSTS),
        ),
        Measured::new(
            "one induction head silenced",
            format!("as above, the one that is missed most ({one})"),
            one_alone,
            Bound::Nothing("nothing: the others do its work"),
        ),
        Measured::new(
            "another head silenced",
            format!("as above, the one of all other heads that is missed most ({other_head})"),
            other_alone,
            Bound::Under(COSTS / 2.0),
        ),
        Measured::new(
            "another block silenced",
            "as above, all heads of a block together in which none of these is, the block that is missed most",
            other_block,
            Bound::Under(COSTS / 10.0),
        ),
    ])
}

/// The names of parts, one after another.
pub fn all_of(parts: &[Part]) -> String {
    match parts {
        [] => "none".to_owned(),
        _ => parts.iter().map(Part::to_string).collect::<Vec<_>>().join(", "),
    }
}
