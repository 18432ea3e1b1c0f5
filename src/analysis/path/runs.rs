//! The paths of a group of pairs as runs: which of them go together, and what the receivers of a wave are given.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;

use super::carry::{Received, receive};
use super::naive::FrozenPath;
use super::receiver::{self, Reads};
use super::routes::{Route, Routes};
use super::rows::{PathRow, Receiver};
use super::sender::Sender;
use super::{Reading, Through};
use crate::analysis::patch::{place, rows::seen_as};
use crate::error::{Error, Result};
use crate::hook::{HookPoint, NotFinite};
use crate::model::Model;
use crate::ops::numbers;
use crate::sweep::{Budget, Change, How, PatchOptions, Patched, Wave, plan, row_bytes, sweep};
use crate::sweep::{Group, Metric, MetricValues, Runs, Sources};

/// Runs of the paths whose sender changes something.
pub(super) struct Paths<'a> {
    model: &'a Model,
    group: &'a Group<'a>,
    /// Each pair's own, of which a part is in the group.
    own: Vec<(&'a Routes, &'a [Route])>,
    patch: &'a PatchOptions,
    reading: &'a Reading,
    sources: &'a Sources<'a>,
    /// The pair of each run, and which of its routes in the group.
    of: Vec<(usize, usize)>,
    waves: Vec<Wave>,
}

impl<'a> Paths<'a> {
    /// Those of the group among each pair's own `routes`.
    ///
    /// # Errors
    /// When there is nothing to take a sender's values from, or a change does not fit.
    pub fn of(
        model: &'a Model,
        group: &'a Group<'a>,
        routes: &'a [Arc<Routes>],
        (patch, reading): (&'a PatchOptions, &'a Reading),
        sources: &'a Sources<'a>,
    ) -> Result<Self> {
        let own = group.own.iter().map(|own| {
            let routes = routes[own.pair].as_ref();
            (routes, &routes.routes[own.places.clone()])
        });
        let own = own.collect();
        let mut paths = Self { model, group, own, patch, reading, sources, of: vec![], waves: vec![] };
        let (mut skeletons, mut to_logits) = (vec![], vec![]);
        for pair in 0..paths.own.len() {
            let (all, routes) = paths.own[pair];
            let mut rows: Vec<Option<Vec<usize>>> = vec![None; all.senders.len()];
            for (r, route) in routes.iter().enumerate() {
                if rows[route.sender].is_none() {
                    rows[route.sender] = Some(paths.sender(pair, route.sender, false)?.rows);
                }
                let rows = rows[route.sender].as_deref().unwrap_or_default();
                if rows.is_empty() {
                    continue;
                }
                // What is put there is made when the wave runs; where it is, is known now.
                let change = |receiver: &receiver::Receiver| Change {
                    positions: Some(rows.to_vec()),
                    ..Change::new(receiver.point(model.spec()), How::Fill(0.0))
                };
                let measured = rows.iter().filter(|p| group.readouts[pair].positions.contains(p)).count();
                let logits = is_logits(route);
                if logits && measured > 0 {
                    to_logits.push((paths.of.len(), measured));
                }
                let changes = if logits { vec![] } else { route.receivers.iter().map(change).collect() };
                skeletons.push(Patched { base: pair, changes });
                paths.of.push((pair, r));
            }
        }
        let half = patch.budget.half();
        let rows = Budget(half.holds(row_bytes(model.spec())));
        let groups = rows.groups(to_logits.iter().map(|(_, rows)| *rows));
        let wave = |group: Range<usize>| Wave { runs: to_logits[group].iter().map(|(run, _)| *run).collect() };
        paths.waves = groups.into_iter().map(wave).collect();
        paths.waves.extend(plan(model.spec(), &group.lengths(), &skeletons, &group.readouts, half)?);
        Ok(paths)
    }

    /// A sender of a pair, in the pair's base run; at measured positions alone where only those are read.
    fn sender(&self, pair: usize, sender: usize, measured: bool) -> Result<Sender<'a>> {
        let (base, donor) = (&self.group.bases[pair], self.group.donors[pair].as_ref());
        let positions = &self.group.readouts[pair].positions;
        let run = self.group.pairs[pair].index as usize;
        let how = |point| self.sources.how(point, run, base, donor);
        Sender::of(&self.own[pair].0.senders[sender], base, how, |p| !measured || positions.contains(&p))
    }

    fn route(&self, run: usize) -> (usize, &'a Route) {
        let (pair, route) = self.of[run];
        (pair, &self.own[pair].1[route])
    }

    /// What the receivers of a wave are given: the senders, which of them each run has, and their receivers' values.
    fn received(&self, wave: &Wave, measured: bool) -> Result<(Vec<Sender<'a>>, Vec<usize>, Received)> {
        let (mut senders, mut known, mut of_run) = (vec![], BTreeMap::new(), vec![]);
        let mut wanted = BTreeSet::new();
        for run in &wave.runs {
            let (pair, route) = self.route(*run);
            let s = match known.get(&(pair, route.sender)) {
                Some(s) => *s,
                None => {
                    known.insert((pair, route.sender), senders.len());
                    senders.push(self.sender(pair, route.sender, measured)?);
                    senders.len() - 1
                }
            };
            of_run.push(s);
            let spec = self.model.spec();
            wanted.extend(route.receivers.iter().map(|r| (s, r.point(spec), r.reads_at(spec))));
        }
        let received = receive(self.model, &senders, &wanted, self.reading.through)?;
        Ok((senders, of_run, received))
    }

    /// What is changed of the sender of a route.
    fn changes(&self, pair: usize, route: usize) -> Result<Vec<Change>> {
        let (all, routes) = self.own[pair];
        let (base, donor) = (&self.group.bases[pair], self.group.donors[pair].as_ref());
        let index = self.group.pairs[pair].index as usize;
        all.senders[routes[route].sender].changes(|point| self.sources.how(point, index, base, donor))
    }

    fn path<'s>(&'s self, pair: usize, route: usize, sender: &'s [Change]) -> FrozenPath<'s> {
        FrozenPath {
            model: self.model,
            base: &self.group.bases[pair],
            sender,
            route: &self.own[pair].1[route],
            through: self.reading.through,
            readout: &self.group.readouts[pair],
        }
    }

    /// Runs into the middle of the model: from there on as every patched run.
    fn sweep_on(&self, wave: &Wave, emit: &mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        let (senders, of_run, received) = self.received(wave, false)?;
        let mut whole: BTreeMap<(usize, HookPoint), Tensor> = BTreeMap::new();
        let mut runs = vec![];
        for (run, s) in wave.runs.iter().zip(&of_run) {
            let (pair, route) = self.route(*run);
            let mut changes = vec![];
            for receiver in &route.receivers {
                let (point, sender) = (receiver.point(self.model.spec()), &senders[*s]);
                let value = match whole.get(&(*s, point)) {
                    Some(value) => value.clone(),
                    None => {
                        let value = received.get(&(*s, point));
                        let value = value.ok_or_else(|| Error::compute(format!("{point} was not made")).fault())?;
                        let value = spread(value, &sender.rows, sender.base.len())?;
                        whole.insert((*s, point), value.clone());
                        value
                    }
                };
                let positions = Some(sender.rows.clone());
                changes.push(Change { positions, head: receiver.head, ..Change::new(point, How::Put(value)) });
            }
            runs.push(Patched { base: pair, changes });
        }
        let (Group { bases, readouts, .. }, all) = (self.group, Wave { runs: (0..runs.len()).collect() });
        sweep(self.model, bases, readouts, &runs, &all, self.patch.budget.logits(), |i, logits| {
            emit(wave.runs[i], logits)
        })
    }

    /// Runs into the logits: nothing of the model is left but the unembedding.
    fn unembed(&self, wave: &Wave, emit: &mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        let (senders, of_run, received) = self.received(wave, true)?;
        let n_layers = self.model.spec().n_layers();
        let mut streams = vec![];
        for (run, s) in wave.runs.iter().zip(&of_run) {
            let (pair, route) = self.route(*run);
            let (sender, readout) = (&senders[*s], &self.group.readouts[pair]);
            let point = route.receivers[0].point(self.model.spec());
            let changed =
                received.get(&(*s, point)).ok_or_else(|| Error::compute("the last stream was not made").fault())?;
            let stream = sender.base.stream(n_layers);
            let rows = readout.positions.iter().map(|p| match sender.rows.binary_search(p) {
                Ok(row) => Ok(changed.narrow(0, row, 1)?),
                Err(_) => Ok(stream.narrow(0, *p, 1)?),
            });
            streams.push((*run, pair, Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?));
        }
        // Those of a pair read the same tokens.
        for of_pair in streams.chunk_by(|a, b| a.1 == b.1) {
            let tokens = self.group.readouts[of_pair[0].1].tokens.as_deref();
            let width = tokens.map_or(self.model.spec().unembedding.d_vocab_out, <[u32]>::len).max(1);
            let rows = self.group.readouts[of_pair[0].1].positions.len().max(1);
            let at_once = self.patch.budget.logits().holds(4 * width * rows);
            for some in of_pair.chunks(at_once) {
                let streams: Vec<&Tensor> = some.iter().map(|(.., stream)| stream).collect();
                let logits = self.model.decode_some(&Tensor::cat(&streams, 0)?, tokens)?;
                let logits = numbers(&logits)?;
                for ((run, ..), logits) in some.iter().zip(logits.chunks(width * rows)) {
                    emit(*run, logits)?;
                }
            }
        }
        Ok(())
    }
}

fn is_logits(route: &Route) -> bool {
    route.receivers.iter().any(|r| r.reads == Reads::Logits)
}

/// `x [rows, ..]` as rows of a sequence of `n`; what lies between is never read.
fn spread(x: &Tensor, rows: &[usize], n: usize) -> Result<Tensor> {
    if rows.len() == n || rows.len() == 1 {
        return Ok(x.clone());
    }
    let mut dims = x.dims().to_vec();
    dims[0] = n;
    let at: Vec<u32> = rows.iter().map(|p| *p as u32).collect();
    Ok(Tensor::zeros(dims, x.dtype(), x.device())?.index_add(&Tensor::new(at, x.device())?, &x.contiguous()?, 0)?)
}

impl Runs for Paths<'_> {
    type Row = PathRow;

    fn of(&self) -> &[(usize, usize)] {
        &self.of
    }

    fn waves(&self) -> &[Wave] {
        &self.waves
    }

    fn sweep(&self, wave: &Wave, emit: &mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        // A wave is of one kind.
        match wave.runs.first().is_some_and(|run| is_logits(self.route(*run).1)) {
            true => self.unembed(wave, emit),
            false => self.sweep_on(wave, emit),
        }
    }

    fn naive(&self, (pair, route): (usize, usize)) -> Result<Vec<f32>> {
        let sender = self.changes(pair, route)?;
        self.path(pair, route, &sender).naive()
    }

    fn first_not_finite(&self, (pair, route): (usize, usize)) -> Result<Option<NotFinite>> {
        let sender = self.changes(pair, route)?;
        self.path(pair, route, &sender).first_not_finite()
    }

    fn row(&self, (pair, r): (usize, usize), metric: Metric, seen: MetricValues) -> PathRow {
        let ((own, routes), of) = (self.own[pair], &self.group.pairs[pair]);
        let route = &routes[r];
        let spot = &own.senders[route.sender];
        let number = |x: Option<usize>| x.map(|x| x as u32);
        let one = route.receivers.first().filter(|_| own.together.is_none());
        let head = one.and_then(|r| r.head);
        let queries = one.is_some_and(|r| r.reads == Reads::Q);
        let shared_by =
            one.and_then(|r| r.layer).map_or(1, |l| self.model.spec().blocks[l].attention.inner.shared_by());
        let (measured, done, outcome) = seen_as(seen, metric, self.patch, of);
        PathRow {
            pair: of.index,
            pair_id: of.id.clone(),
            from: place(self.model, of, spot).into(),
            to: Receiver {
                receiver: match (&own.together, one) {
                    (Some(name), _) => name.clone(),
                    (None, one) => one.map_or("", |r| r.reads.name()).to_owned(),
                },
                receiver_layer: number(one.and_then(|r| r.layer)),
                receiver_head: number(head.filter(|_| queries)),
                receiver_kv_head: number(if queries { head.map(|h| h / shared_by) } else { head }),
                through: (self.reading.through == Through::Mlps).then(|| "mlps".to_owned()),
            },
            measured,
            done,
            outcome,
        }
    }
}
