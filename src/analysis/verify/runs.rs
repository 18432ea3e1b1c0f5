//! Laws of runs: other prompts, other tokens, other ways of cutting and computing, the same numbers.

use super::measure::{Finding, Worst};
use super::subject::Subject;
use crate::error::Result;
use crate::model::{Batch, Growing, Run, Sequence};
use crate::ops::Kernels;

const RUN: &str = "the same sums in another order: 32 x epsilon x root of (widest sum x blocks so far) x root mean square of the row, or, in \
     streams of fewer than 8 dimensions, 8 times as far as rounding takes the value from f64 if that is more";

pub(super) fn a_token_changes_nothing_before_it(s: &Subject) -> Result<Finding> {
    if !s.spec().is_causal() {
        return Ok(Finding::NotApplicable("the model is bidirectional: every position sees all others"));
    }
    if s.spec().d_vocab < 2 {
        return Ok(Finding::NotApplicable("the vocabulary has one token"));
    }
    // Other tokens may go through other experts, and where more rows run together the number of an expert's rows chooses the
    // kernel, which may sum in another order.
    let experts = s.spec().blocks.iter().any(|b| b.mlp.as_ref().is_some_and(|m| m.inner.experts().is_some()));
    let exact = !experts || s.rows.len() <= 32;
    let mut worst =
        Worst::new(if exact { "the same operations on the same numbers: every bit must be the same" } else { RUN });
    let places: [fn(usize) -> usize; 3] = [|_| 1, |n| n / 2, |n| n - 1];
    for place in places {
        let changed = s.prompts.iter().map(|ids| {
            let (mut ids, at) = (ids.clone(), place(ids.len()));
            if let Some(id) = ids.get_mut(at) {
                *id = (*id + 1) % s.spec().d_vocab as u32;
            }
            ids
        });
        for (point, value) in s.landmarks_of(&Batch::of(changed), &Run::default(), None)? {
            let recorded = s.one(point)?;
            for rows in &s.rows.sequences {
                let n = place(rows.len()).min(rows.len());
                if n == 0 {
                    continue;
                }
                let (was, is) = (recorded.narrow(0, rows.rows.start, n)?, value.narrow(0, rows.rows.start, n)?);
                match exact {
                    true => worst.see_bits(Some(point), &is, &was)?,
                    false => worst.see_rows(Some(point), &is, &was, &s.of_run(&was, point)?)?,
                }
            }
        }
    }
    Ok(Finding::Seen(worst))
}

pub(super) fn packed_is_alone(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new(RUN);
    if s.prompts.len() < 2 {
        return Ok(Finding::NotApplicable("there is one prompt only"));
    }
    for (ids, rows) in s.prompts.iter().zip(&s.rows.sequences) {
        for (point, alone) in s.landmarks_of(&Batch::one(ids.clone()), &Run::default(), None)? {
            let packed = rows.of(s.one(point)?)?;
            worst.see_rows(Some(point), &packed, &alone, &s.of_run(&alone, point)?)?;
        }
    }
    Ok(Finding::Seen(worst))
}

/// How many tokens at the end of each prompt come one at a time.
const STEPS: usize = 8;

pub(super) fn one_token_at_a_time_is_all_at_once(s: &Subject) -> Result<Finding> {
    if !s.spec().is_causal() {
        return Ok(Finding::NotApplicable("the model is bidirectional: what comes later would change the prefix"));
    }
    let mut worst = Worst::new(RUN);
    let keep = Run { keep_prefixes: true, ..Run::default() };
    // Prompts of one token have no prefix.
    let long: Vec<usize> = (0..s.prompts.len()).filter(|i| s.prompts[*i].len() > 1).collect();
    let start = |i: usize| s.prompts[i].len().saturating_sub(STEPS).max(1);
    if long.is_empty() {
        return Ok(Finding::Seen(worst));
    }
    let beginnings = Batch::of(long.iter().map(|i| s.prompts[*i][..start(*i)].to_vec()));
    let begun = s.model.run(&beginnings, &keep, &mut [])?.prefixes;
    let mut prefixes = (begun.iter().zip(&long))
        .map(|(prefix, i)| Growing::after(s.spec(), prefix, s.prompts[*i].len()))
        .collect::<Result<Vec<_>>>()?;
    for step in 0..STEPS {
        let going: Vec<usize> =
            (0..long.len()).filter(|g| start(long[*g]) + step < s.prompts[long[*g]].len()).collect();
        if going.is_empty() {
            break;
        }
        let next = |g: &usize| {
            let id = s.prompts[long[*g]][start(long[*g]) + step];
            Ok(Sequence::after(prefixes[*g].prefix()?, [id]))
        };
        let batch = Batch { sequences: going.iter().map(next).collect::<Result<_>>()? };
        let (values, output) = s.landmarks_and_output(&batch, &keep, None)?;
        for (point, value) in values {
            for (row, g) in going.iter().enumerate() {
                let at = s.rows.sequences[long[*g]].rows.start + start(long[*g]) + step;
                let whole = s.one(point)?.narrow(0, at, 1)?;
                worst.see_rows(Some(point), &value.narrow(0, row, 1)?, &whole, &s.of_run(&whole, point)?)?;
            }
        }
        for (g, more) in going.iter().zip(&output.prefixes) {
            prefixes[*g].push(more)?;
        }
    }
    Ok(Finding::Seen(worst))
}

pub(super) fn fused_is_plain(s: &Subject) -> Result<Finding> {
    if Kernels::best(s.model.device(), s.model.dtype()) != Kernels::Fused {
        return Ok(Finding::NotApplicable("the plain path is the only one here"));
    }
    let mut worst = Worst::new(RUN);
    let plain = Run { kernels: Some(Kernels::Plain), ..Run::default() };
    for (point, value) in s.landmarks_of(&s.batch, &plain, None)? {
        let fused = s.one(point)?;
        worst.see_rows(Some(point), fused, &value, &s.of_run(fused, point)?)?;
    }
    Ok(Finding::Seen(worst))
}
