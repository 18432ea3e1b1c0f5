//! One pass over the layers for all runs of a wave.

use std::ops::Range;

use candle_core::{DType, Tensor};

use super::patcher::Patcher;
use super::plan::Joining;
use super::{Budget, Change, Patched, Readout, Recorded, Wave};
use crate::error::Result;
use crate::hook::Tap;
use crate::model::{Asking, Batch, Model, Pack, Sequence, Stream};
use crate::ops::rows::{Rows, SequenceRows};
use crate::ops::stacked;

/// A run on its way through the layers.
struct Live<'a> {
    /// Its number.
    run: usize,
    base: &'a Recorded,
    changes: &'a [Change],
    /// Its rows.
    rows: Range<usize>,
    joining: Joining,
}

impl Live<'_> {
    fn sequence(&self) -> Sequence {
        let ids = self.base.ids[self.rows.clone()].to_vec();
        Sequence { ids, prefix: self.base.prefix(self.rows.start) }
    }

    /// Of `x [n, ..]` of the whole sequence, these rows.
    fn cut(x: &Tensor, rows: &Range<usize>) -> Result<Tensor> {
        Ok(x.narrow(0, rows.start, rows.len())?)
    }
}

/// Runs the patched runs of one wave and gives `emit` the number of each and its logits `[positions, tokens]`, flat.
///
/// `bases` and `readouts` belong together; `budget` bounds the logits that are made at once.
///
/// # Errors
/// As [`Model::run`], and whatever `emit` says.
pub fn sweep(
    model: &Model,
    bases: &[Recorded],
    readouts: &[Readout],
    runs: &[Patched],
    wave: &Wave,
    budget: Budget,
    mut emit: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let spec = model.spec();
    let n_layers = spec.n_layers();
    let mut waiting: Vec<Live> = (wave.runs.iter())
        .filter_map(|i| {
            let (base, changes) = (&bases[runs[*i].base], runs[*i].changes.as_slice());
            let joining = runs[*i].joining(spec, base.len(), &readouts[runs[*i].base])?;
            Some(Live { run: *i, base, changes, rows: joining.rows.clone(), joining })
        })
        .collect();
    let Some(first) = waiting.iter().map(|live| live.joining.layer.unwrap_or(0)).min() else { return Ok(()) };
    let longest = waiting.iter().map(|live| live.base.len()).max().unwrap_or(0);
    let angles = model.angles(&Rows::pack([(0, longest)]))?;
    let mut live: Vec<Live> = waiting.extract_if(.., |w| w.joining.layer.is_none()).collect();
    let mut stream = begin(model, &live)?;
    for layer in first..n_layers {
        let joining: Vec<Live> = waiting.extract_if(.., |w| w.joining.layer == Some(layer)).collect();
        stream = join(stream, &joining, layer)?;
        live.extend(joining);
        let batch = Batch { sequences: live.iter().map(Live::sequence).collect() };
        let all = batch.rows();
        let asking = if layer + 1 == n_layers { Some(asking(model, &all, &live, runs, readouts)?) } else { None };
        let pack = Pack { kernels: model.kernels(), batch: &batch, angles: angles.of(&all)?, asking };
        let mut patcher = patcher(&live, Some(layer));
        stream = model.block(layer, &pack, &mut Tap::new(&mut [&mut patcher], all.clone()), stream)?.0;
        if let Some(asking) = pack.asking {
            return read(model, bases, readouts, runs, (&asking.rows, &live), &stream.resid, budget, &mut emit);
        }
        stream = grow(stream, &mut live, layer + 1)?;
    }
    Ok(())
}

fn patcher<'a>(live: &[Live<'a>], layer: Option<usize>) -> Patcher<'a> {
    let of = |(s, live): (usize, &Live<'a>)| {
        let changes = live.changes;
        changes.iter().filter(move |change| change.point.layer == layer).map(move |change| (s, change))
    };
    Patcher::new(live.iter().enumerate().flat_map(of))
}

/// The runs that begin at the embedding.
fn begin(model: &Model, live: &[Live]) -> Result<Stream> {
    if live.is_empty() {
        let nothing = Tensor::zeros((0, model.spec().d_model), model.dtype(), model.device())?;
        return Ok(Stream { resid: nothing, positions: None });
    }
    let batch = Batch { sequences: live.iter().map(Live::sequence).collect() };
    model.begin(model.kernels(), &batch, &mut Tap::new(&mut [&mut patcher(live, None)], batch.rows()))
}

/// The pack with the rows of those that join, as their base runs have them.
fn join(stream: Stream, joining: &[Live], layer: usize) -> Result<Stream> {
    if joining.is_empty() {
        return Ok(stream);
    }
    let with = |x: Option<&Tensor>, of: &dyn Fn(&Recorded) -> Option<Tensor>| -> Result<Option<Tensor>> {
        let mut parts: Vec<Tensor> = x.filter(|x| x.dims()[0] > 0).cloned().into_iter().collect();
        for live in joining {
            parts.extend(of(live.base).map(|x| Live::cut(&x, &live.rows)).transpose()?);
        }
        (!parts.is_empty()).then(|| stacked(&parts)).transpose()
    };
    let resid = with(Some(&stream.resid), &|base| Some(base.stream(layer).clone()))?;
    let positions = with(stream.positions.as_ref(), &|base| base.positions().cloned())?;
    Ok(Stream { resid: resid.unwrap_or(stream.resid), positions })
}

/// After a block, rows after those that were changed follow: until now they were their base run's.
fn grow(stream: Stream, live: &mut [Live], layer: usize) -> Result<Stream> {
    if live.iter().all(|live| live.rows.end == live.base.len()) {
        return Ok(stream);
    }
    let (mut resid, mut positions, mut next) = (vec![], vec![], 0);
    for live in live {
        let (own, more) = (live.rows.len(), live.rows.end..live.base.len());
        resid.push(stream.resid.narrow(0, next, own)?);
        positions.extend(stream.positions.as_ref().map(|p| p.narrow(0, next, own)).transpose()?);
        if !more.is_empty() {
            resid.push(Live::cut(live.base.stream(layer), &more)?);
            positions.extend(live.base.positions().map(|p| Live::cut(p, &more)).transpose()?);
        }
        next += own;
        live.rows.end = live.base.len();
    }
    let positions = (!positions.is_empty()).then(|| stacked(&positions)).transpose()?;
    Ok(Stream { resid: stacked(&resid)?, positions })
}

/// The rows that are measured, from the first to the last of each run.
fn asking(model: &Model, all: &Rows, live: &[Live], runs: &[Patched], readouts: &[Readout]) -> Result<Asking> {
    let (mut sequences, mut indices) = (vec![], vec![]);
    for (s, live) in all.sequences.iter().zip(live) {
        let measured = readouts[runs[live.run].base].positions.iter().filter(|p| live.rows.contains(p));
        let (first, last) = measured.fold((usize::MAX, 0), |(first, last), p| (first.min(*p), last.max(*p)));
        let from = indices.len();
        indices.extend((first..=last).map(|p| (s.rows.start + p - s.start) as u32));
        sequences.push(SequenceRows { index: s.index, rows: from..indices.len(), start: first });
    }
    Ok(Asking { rows: Rows { sequences, made: None }, indices: Tensor::new(indices, model.device())? })
}

/// The logits of the measured rows, a few runs at a time.
#[allow(clippy::too_many_arguments)]
fn read(
    model: &Model,
    bases: &[Recorded],
    readouts: &[Readout],
    runs: &[Patched],
    (rows, live): (&Rows, &[Live]),
    resid: &Tensor,
    budget: Budget,
    emit: &mut impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let columns = Columns::of(model, live.iter().map(|live| &readouts[runs[live.run].base]));
    let at_once = budget.holds(size_of::<f32>() * columns.len);
    // What comes before a change is as it was: the logits of the base run that the last of the runs had.
    let mut before: Option<(usize, Vec<f32>)> = None;
    let mut from = 0;
    while from < live.len() {
        let first = rows.sequences[from].rows.start;
        let mut to = from + 1;
        while to < live.len() && rows.sequences[to].rows.end - first <= at_once {
            to += 1;
        }
        let n = rows.sequences[to - 1].rows.end - first;
        let logits = columns.logits(model, &resid.narrow(0, first, n)?)?;
        for (s, live) in rows.sequences[from..to].iter().zip(&live[from..to]) {
            let base = runs[live.run].base;
            let readout = &readouts[base];
            let changed = |p: &usize| (s.start..s.n_keys()).contains(p);
            if !readout.positions.iter().all(changed) && before.as_ref().is_none_or(|(of, _)| *of != base) {
                before = Some((base, unchanged(model, &bases[base], readout)?));
            }
            let still = before.as_ref().map_or(&[][..], |(_, logits)| logits);
            let width = still.len() / readout.positions.len();
            let mut own = vec![];
            for (i, p) in readout.positions.iter().enumerate() {
                match changed(p) {
                    true => own.extend(columns.pick(&logits[s.rows.start - first + p - s.start], readout)),
                    false => own.extend_from_slice(&still[i * width..(i + 1) * width]),
                }
            }
            emit(live.run, &own)?;
        }
        from = to;
    }
    Ok(())
}

/// The logits `[positions, tokens]`, flat, of a run that was recorded.
///
/// # Errors
/// As [`Model::run`].
pub fn unchanged(model: &Model, base: &Recorded, readout: &Readout) -> Result<Vec<f32>> {
    let at: Vec<u32> = readout.positions.iter().map(|p| *p as u32).collect();
    let rows = base.stream(model.spec().n_layers()).index_select(&Tensor::new(at, model.device())?, 0)?;
    let columns = Columns::of(model, [readout].into_iter());
    Ok(columns.logits(model, &rows)?.iter().flat_map(|row| columns.pick(row, readout)).collect())
}

/// Columns of the unembedding that somebody reads.
struct Columns {
    tokens: Option<Vec<u32>>,
    len: usize,
}

impl Columns {
    fn of<'a>(model: &Model, readouts: impl Iterator<Item = &'a Readout>) -> Self {
        let tokens = readouts.map(|r| r.tokens.clone()).collect::<Option<Vec<_>>>().map(|tokens| {
            let mut tokens = tokens.concat();
            tokens.sort_unstable();
            tokens.dedup();
            tokens
        });
        let len = tokens.as_ref().map_or(model.spec().unembedding.d_vocab_out, Vec::len).max(1);
        Self { tokens, len }
    }

    fn logits(&self, model: &Model, resid: &Tensor) -> Result<Vec<Vec<f32>>> {
        Ok(model.decode_some(resid, self.tokens.as_deref())?.to_dtype(DType::F32)?.to_vec2()?)
    }

    /// Of a row of these columns, what `readout` asks for.
    fn pick(&self, row: &[f32], readout: &Readout) -> Vec<f32> {
        match (&self.tokens, &readout.tokens) {
            (None, None) => row.to_vec(),
            (None, Some(wanted)) => wanted.iter().map(|t| row[*t as usize]).collect(),
            (Some(have), wanted) => {
                (wanted.iter().flatten()).map(|t| have.binary_search(t).map_or(f32::NAN, |i| row[i])).collect()
            }
        }
    }
}
