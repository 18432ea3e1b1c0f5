//! What receivers read, for many senders at once: rows of the stream with what each sender changes in them, through the blocks in
//! order. Rows keep to themselves, so those of all senders are packed, and each weight is read once for all of them.

use std::collections::{BTreeSet, HashMap};

use candle_core::Tensor;

use super::Through;
use super::receiver::{Reads, Receivers, mlp_reads_at};
use super::sender::Sender;
use crate::arch::Spec;
use crate::arch::spec::Arrangement;
use crate::error::{Error, Result};
use crate::hook::{HookPoint, Site};
use crate::model::Model;
use crate::sweep::Recorded;

/// The points whose values of the base run are needed: those of the senders, and what MLPs read and write.
pub(super) fn points(spec: &Spec, senders: &[HookPoint], receivers: &Receivers, through: Through) -> Vec<HookPoint> {
    let mut points = senders.to_vec();
    let mlp_reads = receivers.all().any(|r| r.reads == Reads::Mlp) || through == Through::Mlps;
    let of_blocks = |site: Site| (0..spec.n_layers()).map(move |l| HookPoint::block(l, site));
    if mlp_reads {
        points.extend(of_blocks(Site::ResidMid));
    }
    if through == Through::Mlps {
        points.extend(of_blocks(Site::MlpOut));
    }
    if spec.embedding.norm.is_some() && senders.iter().any(|p| p.layer.is_none()) {
        points.extend([Site::Embed, Site::PosEmbed].map(HookPoint::global));
    }
    points.retain(|p| p.site.exists(spec, p.layer));
    points.sort_unstable();
    points.dedup();
    points
}

/// A sender's change on its way.
struct Carried<'a> {
    sender: &'a Sender<'a>,
    /// What is still to be written, the next last.
    ahead: Vec<(usize, Tensor)>,
    /// What was: `[rows, d]`, nothing as long as nothing was written.
    change: Option<Tensor>,
    /// When the last of its receivers reads.
    until: usize,
}

impl Carried<'_> {
    /// Takes in what is written up to `now`.
    fn advance(&mut self, now: usize) -> Result<()> {
        while self.ahead.last().is_some_and(|(when, _)| *when <= now) {
            if let Some((_, more)) = self.ahead.pop() {
                self.add(more)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, more: Tensor) -> Result<()> {
        self.change = Some(match self.change.take() {
            Some(change) => (change + more)?,
            None => more,
        });
        Ok(())
    }
}

/// What a receiver's value becomes at the sender's rows, `[rows, ..]`, by the number of the sender and the receiver's point.
pub(super) type Received = HashMap<(usize, HookPoint), Tensor>;

/// What receivers make of the streams that `senders` change. `wanted` are the numbers of senders with the points of their
/// receivers and when these read.
///
/// # Errors
/// When a value that this needs was not recorded, or the computation fails.
pub(super) fn receive(
    model: &Model,
    senders: &[Sender],
    wanted: &BTreeSet<(usize, HookPoint, usize)>,
    through: Through,
) -> Result<Received> {
    let mut carried = vec![];
    for (i, sender) in senders.iter().enumerate() {
        let mut ahead = sender.writes(model)?;
        ahead.reverse();
        let until = wanted.iter().filter(|(s, ..)| *s == i).map(|(.., reads_at)| *reads_at).max().unwrap_or(0);
        carried.push(Carried { sender, ahead, change: None, until });
    }
    let mut wave = Carrier { model, carried, received: HashMap::new() };
    for layer in 0..model.spec().n_layers() {
        wave.block(layer, wanted, through)?;
    }
    let last = 2 * model.spec().n_layers();
    let point = HookPoint::block(model.spec().n_layers() - 1, Site::ResidPost);
    let who = wave.who(wanted, point, last)?;
    wave.make(&who, point, |base| Ok(base.stream(model.spec().n_layers()).clone()), |_, stream| Ok(stream.clone()))?;
    Ok(wave.received)
}

struct Carrier<'a> {
    model: &'a Model,
    carried: Vec<Carried<'a>>,
    received: Received,
}

impl Carrier<'_> {
    fn block(&mut self, layer: usize, wanted: &BTreeSet<(usize, HookPoint, usize)>, through: Through) -> Result<()> {
        let model = self.model;
        for site in [Site::Q, Site::K, Site::V, Site::QNormed, Site::KNormed] {
            let point = HookPoint::block(layer, site);
            let who = self.who(wanted, point, 2 * layer)?;
            let stream = |base: &Recorded| Ok(base.stream(layer).clone());
            self.make(&who, point, stream, |senders, stream| {
                let positions =
                    senders.iter().filter_map(|s| Some(s.at(s.base.positions()?))).collect::<Result<Vec<_>>>()?;
                let positions = if positions.is_empty() { None } else { Some(Tensor::cat(&positions, 0)?) };
                model.project(layer, site, stream, positions.as_ref())
            })?;
        }
        let block = &model.spec().blocks[layer];
        if block.mlp.is_none() {
            return Ok(());
        }
        let (point, reads_at) = (HookPoint::block(layer, Site::MlpOut), mlp_reads_at(model.spec(), layer));
        let mut who = self.who(wanted, point, reads_at)?;
        let writes_at = 2 * layer + 2;
        // Those on whose way it lies.
        let passed: Vec<usize> = match through {
            Through::Nothing => vec![],
            Through::Mlps => {
                let passes = |c: &Carried| c.change.is_some() && writes_at <= c.until && !c.sender.is_mlp_of(layer);
                (0..self.carried.len()).filter(|i| passes(&self.carried[*i])).collect()
            }
        };
        who.extend(&passed);
        who.sort_unstable();
        who.dedup();
        let reads = |base: &Recorded| match block.arrangement {
            Arrangement::Sequential => base.value(HookPoint::block(layer, Site::ResidMid)).cloned(),
            Arrangement::Parallel | Arrangement::ParallelSharedNorm => Ok(base.stream(layer).clone()),
        };
        self.make(&who, point, reads, |_, stream| model.feed_forward(layer, stream))?;
        for i in passed {
            let kept = wanted.contains(&(i, point, reads_at));
            let out = if kept { self.received.get(&(i, point)).cloned() } else { self.received.remove(&(i, point)) };
            let out = out.ok_or_else(|| Error::compute(format!("{point} was not made")).fault())?;
            let sender = self.carried[i].sender;
            let more = (out - sender.at(sender.base.value(point)?)?)?;
            self.carried[i].advance(writes_at - 1)?;
            self.carried[i].add(more)?;
        }
        Ok(())
    }

    /// The senders whose change is read at `point`, brought up to when that is.
    fn who(
        &mut self,
        wanted: &BTreeSet<(usize, HookPoint, usize)>,
        point: HookPoint,
        reads_at: usize,
    ) -> Result<Vec<usize>> {
        for carried in &mut self.carried {
            carried.advance(reads_at)?;
        }
        let reads = |i: &usize| wanted.contains(&(*i, point, reads_at)) && self.carried[*i].change.is_some();
        Ok((0..self.carried.len()).filter(reads).collect())
    }

    /// Makes what is at `point` for the senders `who`, all in one pack: `stream` is what the base run has there, `f` what is made
    /// of its rows with the change.
    fn make(
        &mut self,
        who: &[usize],
        point: HookPoint,
        stream: impl Fn(&Recorded) -> Result<Tensor>,
        f: impl Fn(&[&Sender], &Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        if who.is_empty() {
            return Ok(());
        }
        let mut rows = vec![];
        for i in who {
            let Carried { sender, change, .. } = &self.carried[*i];
            let change =
                change.as_ref().ok_or_else(|| Error::compute("a receiver reads before its sender writes").fault())?;
            rows.push((sender.at(&stream(sender.base)?)? + change)?);
        }
        let senders: Vec<&Sender> = who.iter().map(|i| self.carried[*i].sender).collect();
        let made = f(&senders, &Tensor::cat(&rows, 0)?)?;
        let mut from = 0;
        for (i, rows) in who.iter().zip(&rows) {
            let n = rows.dim(0)?;
            self.received.insert((*i, point), made.narrow(0, from, n)?);
            from += n;
        }
        Ok(())
    }
}
