//! The patches of a group: for each spot a run in which its values are changed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::rows::{PatchRow, seen_as};
use crate::error::Result;
use crate::hook::site::Axis;
use crate::hook::{HookPoint, NotFinite};
use crate::model::Model;
use crate::sweep::{
    Change, Group, How, Kind, Metric, MetricValues, PatchOptions, Patched, Runs, Sources, Spot, Wave, first_not_finite,
    naive, plan, sweep,
};
use crate::table::{Around, Place};
use crate::text::Pair;

/// Runs of the spots that change something.
pub(in crate::analysis) struct Patches<'a> {
    model: &'a Model,
    group: &'a Group<'a>,
    /// Those of each pair that are in the group.
    spots: Vec<&'a [Spot]>,
    sources: &'a Sources<'a>,
    options: &'a PatchOptions,
    /// Where each pair's embeddings have noise, in words.
    noise_at: Vec<Option<[String; 2]>>,
    runs: Vec<Patched>,
    of: Vec<(usize, usize)>,
    waves: Vec<Wave>,
}

impl<'a> Patches<'a> {
    /// Those of the group among each pair's own `spots`.
    ///
    /// # Errors
    /// When a spot does not fit the model or the prompt, or there is nothing to take its values from.
    pub fn of(
        model: &'a Model,
        group: &'a Group<'a>,
        spots: &'a [Arc<Vec<Spot>>],
        options: &'a PatchOptions,
        sources: &'a Sources<'a>,
    ) -> Result<Self> {
        let spots = group.own.iter().map(|own| &spots[own.pair][own.places.clone()]).collect();
        let noise_at = group.pairs.iter().map(|pair| Some(options.noised.as_ref()?.in_words(pair)));
        let noise_at = noise_at.map(Option::transpose).collect::<Result<_>>()?;
        let (runs, of, waves) = (vec![], vec![], vec![]);
        let mut patches = Self { model, group, spots, sources, options, noise_at, runs, of, waves };
        for pair in 0..patches.spots.len() {
            let changes_of = patches.changes(pair);
            let (mut runs, mut of) = (vec![], vec![]);
            for (spot, s) in patches.spots[pair].iter().enumerate() {
                let changes = changes_of(s)?;
                let mut moves = false;
                for change in &changes {
                    moves |= !change.changes_nothing(group.bases[pair].value(change.point)?)?;
                }
                if moves {
                    runs.push(Patched { base: pair, changes: patches.with_its_own(pair, changes) });
                    of.push((pair, spot));
                }
            }
            drop(changes_of);
            patches.runs.extend(runs);
            patches.of.extend(of);
        }
        let half = options.budget.half();
        patches.waves = plan(model.spec(), &group.lengths(), &patches.runs, &group.readouts, half)?;
        Ok(patches)
    }

    /// What is changed in each patch of a pair: the same values for all of them.
    fn changes(&self, pair: usize) -> impl Fn(&Spot) -> Result<Vec<Change>> + use<'a> {
        let known: RefCell<HashMap<HookPoint, How>> = RefCell::default();
        let (group, sources, spec) = (self.group, self.sources, self.model.spec());
        let (base, donor) = (&group.bases[pair], group.donors[pair].as_ref());
        let run = group.pairs[pair].index as usize;
        move |spot| {
            let mut changes = spot.changes(|point| {
                if let Some(how) = known.borrow().get(&point) {
                    return Ok(how.clone());
                }
                let how = sources.how(point, run, base, donor)?;
                known.borrow_mut().insert(point, how.clone());
                Ok(how)
            })?;
            changes.extend(spot.others_keep(spec, &changes, base)?);
            match sources.kind {
                Kind::KnockOut => sources.knocked_out(changes, base.len()),
                _ => Ok(changes),
            }
        }
    }

    /// The changes of a run that begins at the embedding: it is embedded anew, with whatever its base run was given there.
    fn with_its_own(&self, pair: usize, changes: Vec<Change>) -> Vec<Change> {
        let anew = changes.iter().any(|change| change.point.layer.is_none());
        let before = if anew { self.group.bases[pair].changes.clone() } else { vec![] };
        before.into_iter().chain(changes).collect()
    }
}

impl Runs for Patches<'_> {
    type Row = PatchRow;

    fn of(&self) -> &[(usize, usize)] {
        &self.of
    }

    fn waves(&self) -> &[Wave] {
        &self.waves
    }

    fn sweep(&self, wave: &Wave, emit: &mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        let Group { bases, readouts, .. } = self.group;
        sweep(self.model, bases, readouts, &self.runs, wave, self.options.budget.logits(), emit)
    }

    fn naive(&self, (pair, spot): (usize, usize)) -> Result<Vec<f32>> {
        let (base, own) = (&self.group.bases[pair], self.changes(pair)(&self.spots[pair][spot])?);
        naive(self.model, &base.ids, &base.with(&own), &self.group.readouts[pair])
    }

    fn first_not_finite(&self, (pair, spot): (usize, usize)) -> Result<Option<NotFinite>> {
        let own = self.changes(pair)(&self.spots[pair][spot])?;
        // Where what is put there is not finite, that is the first.
        let point = own.iter().map(|change| change.point).min();
        for change in own.iter().filter(|change| Some(change.point) == point) {
            let found = change.makes_not_finite(self.group.bases[pair].value(change.point)?)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        let base = &self.group.bases[pair];
        first_not_finite(self.model, &base.ids, &base.with(&own))
    }

    fn row(&self, (pair, spot): (usize, usize), metric: Metric, seen: MetricValues) -> PatchRow {
        let (options, of, spot) = (self.options, &self.group.pairs[pair], &self.spots[pair][spot]);
        let (measured, done, outcome) = seen_as(seen, metric, options, of);
        let sample = options.noised.as_ref().map(|noised| noised.sample(of.index));
        let (noise_at, noise_tokens) = self.noise_at[pair].clone().map(|[at, tokens]| (at, tokens)).unzip();
        let noise = options.noised.as_ref().map(|noised| noised.sigma as f32);
        let window = options.grid.window.max(1) as u32;
        PatchRow {
            pair: sample.map_or(of.index, |(pair, _)| pair),
            pair_id: of.id.clone(),
            place: place(self.model, of, spot),
            measured,
            done,
            around: Around { window, noise, noise_at, noise_tokens },
            sample: sample.map(|(_, sample)| sample),
            outcome,
        }
    }
}

/// Where a patch is, as rows say it.
pub(in crate::analysis) fn place(model: &Model, pair: &Pair, spot: &Spot) -> Place {
    let number = |x: Option<usize>| x.map(|x| x as u32);
    let of_kv_head = spot.site.has(Axis::G) && spot.shared_by.is_none();
    let of_pattern = spot.site.per_sequence();
    let group = spot.points[0].layer.map_or(1, |l| model.spec().blocks[l].attention.inner.shared_by());
    let token = |pos: Option<usize>| pos.map(|p| pair.clean.label(p).to_owned());
    let [position_name, key_position_name] = spot.position_names(pair);
    Place {
        site: spot.name(),
        layer: number(spot.layer),
        head: if of_kv_head { None } else { number(spot.head) },
        kv_head: if of_kv_head { number(spot.head) } else { number(spot.head.map(|h| h / group)) },
        neuron: number(spot.neuron),
        pos: if of_pattern { None } else { number(spot.pos) },
        query_pos: if of_pattern { number(spot.pos) } else { None },
        key_pos: number(spot.key_pos),
        position_name,
        key_position_name,
        token: token(spot.pos),
        key_token: token(spot.key_pos),
    }
}
