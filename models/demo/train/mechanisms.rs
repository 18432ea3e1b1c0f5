//! What is to be found inside the model: heads that do what heads of large models do, and answers that come up on the way.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use pellucid::hook::Cache;
use pellucid::model::Batch;
use pellucid::run::Loaded;

use super::corpus::{random, repeated, streams};
use super::grammar::{Random, Split, facts, ioi};
use super::skills::{Bound, Measured, ids, token};

/// A head: layer and number.
type Head = (usize, usize);

/// Every mechanism.
pub fn measure(loaded: &Loaded, seed: u64) -> Result<Vec<Measured>> {
    let mut random = random(seed, streams::QUESTIONS);
    let (previous, induction) = on_repetitions(loaded, &mut random)?;
    let receiver = to_the_receiver(loaded, &mut random)?;
    let best = |scores: &BTreeMap<Head, f64>| {
        let best = scores.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(head, score)| (*head, *score));
        best.context("the model has no heads")
    };
    let head = |name: &str, how: &str, scores: &BTreeMap<Head, f64>, least: f64| -> Result<Measured> {
        let ((layer, head), score) = best(scores)?;
        Ok(Measured::new(name, format!("{how} (L{layer}H{head})"), score, Bound::AtLeast(least)))
    };
    Ok(vec![
        head("previous-token head", "mean attention to the token before, random tokens", &previous, 0.6)?,
        head(
            "induction head",
            "mean attention to what followed the same token before, random tokens 2 x 20",
            &induction,
            0.6,
        )?,
        head("name mover head", "mean attention from the last position to the indirect object", &receiver, 0.4)?,
        answer_comes_up(loaded, &mut random)?,
    ])
}

/// Mean attention of each head on repeated random tokens: to the token before, and, in the second half, to the token that
/// came after this one in the first (Olsson et al. 2022, "In-context Learning and Induction Heads").
fn on_repetitions(loaded: &Loaded, random: &mut Random) -> Result<(BTreeMap<Head, f64>, BTreeMap<Head, f64>)> {
    const LENGTH: usize = 20;
    const SEQUENCES: usize = 30;
    let model = &loaded.model;
    let (mut previous, mut induction) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..SEQUENCES {
        let sequence = repeated(random, model.spec().d_vocab as u32 - 1, LENGTH, 2);
        for (head, pattern_qk) in patterns(loaded, &sequence)? {
            let before = (1..pattern_qk.len()).map(|q| f64::from(pattern_qk[q][q - 1])).sum::<f64>();
            *previous.entry(head).or_insert(0.0) += before / (pattern_qk.len() - 1) as f64 / SEQUENCES as f64;
            // Token i of the first half is at position i + 1; its second occurrence LENGTH later.
            let followed = (LENGTH + 1..2 * LENGTH).map(|q| f64::from(pattern_qk[q][q - LENGTH + 1])).sum::<f64>();
            *induction.entry(head).or_insert(0.0) += followed / (LENGTH - 1) as f64 / SEQUENCES as f64;
        }
    }
    Ok((previous, induction))
}

/// Mean attention of each head from the last position to the one who receives.
fn to_the_receiver(loaded: &Loaded, random: &mut Random) -> Result<BTreeMap<Head, f64>> {
    const PROMPTS: usize = 100;
    let mut means = BTreeMap::new();
    for _ in 0..PROMPTS {
        let task = ioi::task(random, Split::HeldOut);
        let ids = ids(loaded, &task.prompt)?;
        // At the beginning of a sentence a name has no space before it.
        let names = [token(loaded, &task.answer)?, token(loaded, task.answer.trim_start())?];
        let at =
            ids.iter().position(|id| names.contains(&(*id as usize))).context("the receiver is not in the prompt")?;
        for (head, pattern_qk) in patterns(loaded, &ids)? {
            *means.entry(head).or_insert(0.0) += f64::from(pattern_qk[ids.len() - 1][at]) / PROMPTS as f64;
        }
    }
    Ok(means)
}

/// Every head's pattern on one sequence.
fn patterns(loaded: &Loaded, ids: &[u32]) -> Result<Vec<(Head, Vec<Vec<f32>>)>> {
    let model = &loaded.model;
    let mut cache = Cache::new(model.spec(), "pattern")?;
    model.forward(&Batch::one(ids), &mut [&mut cache])?;
    let mut all = vec![];
    for layer in 0..model.spec().n_layers() {
        let pattern_hqk = cache.get(&format!("blocks.{layer}.attn.hook_pattern"))?.to_vec3::<f32>()?;
        all.extend(pattern_hqk.into_iter().enumerate().map(|(head, pattern_qk)| ((layer, head), pattern_qk)));
    }
    Ok(all)
}

/// How often the capital becomes the logit lens's first guess in a stream after the first block's and before the last: after
/// a sublayer of a later block, but not only at the output.
fn answer_comes_up(loaded: &Loaded, random: &mut Random) -> Result<Measured> {
    const PROMPTS: usize = 300;
    let model = &loaded.model;
    let kind = &facts::KINDS[0];
    let phrasings: Vec<&str> = kind.direct().collect();
    let last = model.spec().n_layers() - 1;
    let mut between = 0;
    for _ in 0..PROMPTS {
        let task = facts::phrased(random, kind, Split::HeldOut, &phrasings);
        let (ids, answer) = (ids(loaded, &task.prompt)?, token(loaded, &task.answer)?);
        let mut cache = Cache::new(model.spec(), "resid_mid,resid_post")?;
        model.forward(&Batch::one(ids.as_slice()), &mut [&mut cache])?;
        // In order: after attention and after the MLP of each block.
        let mut first = vec![];
        for stream in (0..=last).flat_map(|l| ["mid", "post"].map(|at| format!("blocks.{l}.hook_resid_{at}"))) {
            let resid_td = cache.get(&stream)?.narrow(0, ids.len() - 1, 1)?;
            let logits = model.decode(&resid_td)?.get(0)?.to_vec1::<f32>()?;
            first.push(logits.iter().all(|&other| other <= logits[answer]));
        }
        let (early, rest) = first.split_at(2);
        let (output, inside) = rest.split_last().context("the model has one block")?;
        between += usize::from(*output && !early.contains(&true) && inside.contains(&true));
    }
    let how = format!(
        "capital is the logit lens's first guess in a stream between the first block and the output, and not before; \
         {PROMPTS} prompts"
    );
    Ok(Measured::new("answer comes up", how, between as f64 / PROMPTS as f64, Bound::AtLeast(0.5)))
}
