//! Keys and values as one query head sees them, where several query heads share a key/value head.
//!
//! The key/value head is changed, and the other query heads that read it get their own base run's `z` back. That is exact
//! where the change is the first thing in which the two runs differ: then those heads' queries, keys, values and so their `z`
//! are the base run's. It is what TransformerLens does with `ungroup_grouped_query_attention`.

use super::grid::{Grid, Over, Spot};
use super::{Change, How, Recorded};
use crate::arch::Spec;
use crate::error::{Error, Result, Said, said};
use crate::hook::HookPoint;
use crate::hook::site::{Axis, Site};

impl Grid {
    /// The points whose values of the base run patches need: those that are patched, and the `z` of heads that keep theirs.
    ///
    /// # Errors
    /// As [`Grid::points`].
    pub fn recorded(&self, spec: &Spec) -> Result<Vec<HookPoint>> {
        let mut points = self.points(spec)?;
        if self.per_query_head {
            let of_kv = points.iter().filter(|p| p.site.has(Axis::G));
            let z: Vec<HookPoint> = of_kv.map(|p| HookPoint { site: Site::Z, ..*p }).collect();
            points.extend(z);
            points.sort_unstable();
            points.dedup();
        }
        Ok(points)
    }

    /// Refuses keys and values as one query head sees them where the other heads' `z` would not be that of the base run.
    pub(super) fn check_query_heads(&self, spec: &Spec, points: &[HookPoint]) -> Result<()> {
        if !self.per_query_head {
            return Ok(());
        }
        let bad = |what: String, hint: Said| Err(Error::bad_input(what).hint(hint));
        if !points.iter().any(|p| p.site.has(Axis::G)) {
            return bad(
                format!("a query head is chosen for keys and values, and `{}` is neither", self.at),
                said("leave out {!per_query_head}, or patch k, v, k_norm.out or rot_k"),
            );
        }
        if !self.over.contains(&Over::Head) && self.only.heads.is_none() {
            return bad(
                "all heads at once see all keys and values, so there is no query head to choose".into(),
                said("go over heads: {over=layer,head}"),
            );
        }
        let several = points.iter().any(|p| p.layer != points[0].layer);
        if self.window > 1 || (several && !self.over.contains(&Over::Layer)) {
            return bad(
                "keys and values are patched as one query head sees them in one layer at a time: in a later layer the \
                 other heads already read another stream"
                    .into(),
                said("go over layers ({over=layer,head}) without {!window}, or choose one with {layers}"),
            );
        }
        let shared_norm = |p: &&HookPoint| {
            let norm = p.layer.and_then(|l| spec.blocks[l].attention.inner.qk_norm);
            p.site == Site::K && norm.is_some_and(|qk| !qk.per_head)
        };
        if let Some(point) = points.iter().find(shared_norm) {
            return bad(
                format!("the norm after {point} is over all keys together, so every head would see another key"),
                "patch k_norm.out, the keys after that norm".into(),
            );
        }
        let of_all_heads = |p: &&HookPoint| !p.site.has(Axis::H) && !p.site.has(Axis::G);
        if let Some(point) = points.iter().find(of_all_heads).filter(|_| self.together) {
            return bad(
                format!("{point} is read by every head, so it is not patched together with what one query head sees"),
                "patch it apart, or together only what belongs to heads, such as q,k,v".into(),
            );
        }
        Ok(())
    }
}

impl Spot {
    /// The head of a value that is patched here: `head`, or the key/value head that this one reads.
    pub(super) fn head_of(&self, site: Site) -> Option<usize> {
        match self.shared_by.filter(|_| site.has(Axis::G)) {
            Some(shared_by) => self.head.map(|h| h / shared_by),
            None => self.head,
        }
    }

    /// What gives the other query heads their own `z` back, beside `changes` of this spot; nothing where nobody shares.
    ///
    /// # Errors
    /// When the `z` of `base` was not recorded.
    pub(crate) fn others_keep(&self, spec: &Spec, changes: &[Change], base: &Recorded) -> Result<Vec<Change>> {
        let (Some(shared_by), Some(head)) = (self.shared_by, self.head) else { return Ok(vec![]) };
        let of_kv = changes.iter().filter(|change| change.point.site.has(Axis::G));
        let Some(first) = of_kv.map(|change| change.rows(base.len()).start).min() else { return Ok(vec![]) };
        let positions = spec.is_causal().then(|| (first..base.len()).collect::<Vec<_>>());
        // All of one layer.
        let z = HookPoint { site: Site::Z, ..changes[0].point };
        let group = head / shared_by;
        let others = (group * shared_by..(group + 1) * shared_by).filter(|other| *other != head);
        let kept = |other| {
            let how = How::Put(base.value(z)?.clone());
            Ok(Change { positions: positions.clone(), head: Some(other), ..Change::new(z, how) })
        };
        others.map(kept).collect()
    }
}
