//! A hook that keeps what it sees.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::point::{HookPoint, select};
use super::tap::Hook;
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::ops::rows::Rows;

/// Keeps the values of chosen hook points. Tensors are shared with the run, not copied.
#[derive(Debug, Default)]
pub struct Cache {
    values: BTreeMap<HookPoint, Vec<Tensor>>,
}

impl Cache {
    /// A cache of the points that `pattern` means in this model ([`select`]).
    ///
    /// # Errors
    /// When part of the pattern selects nothing.
    pub fn new(spec: &Spec, pattern: &str) -> Result<Self> {
        Ok(Self::of(select(spec, pattern)?))
    }

    /// A cache of these points.
    pub fn of(points: impl IntoIterator<Item = HookPoint>) -> Self {
        Self { values: points.into_iter().map(|p| (p, vec![])).collect() }
    }

    /// The value of the point called `name`, over the whole pack.
    ///
    /// # Errors
    /// When the cache does not keep that point, or it is made per sequence and there were several.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        match self.all(name)? {
            [x] => Ok(x),
            xs => Err(Error::bad_input(format!("`{name}` is made once per sequence, and there are {}", xs.len()))
                .hint("ask for one sequence's with `sequence(name, index)`")),
        }
    }

    /// The value of the point called `name` for one sequence (scores and patterns).
    ///
    /// # Errors
    /// When the cache does not keep that point or that sequence.
    pub fn sequence(&self, name: &str, index: usize) -> Result<&Tensor> {
        let all = self.all(name)?;
        all.get(index).ok_or_else(|| {
            Error::no_such(format!("`{name}` was kept for {} sequences, and {index} is not one", all.len()))
                .hint("sequences are counted from 0, in the order of the batch")
        })
    }

    fn all(&self, name: &str) -> Result<&[Tensor]> {
        let names: Vec<String> = self.values.keys().map(|p| p.to_string()).collect();
        if let Some((_, x)) = self.values.iter().zip(&names).find(|(_, n)| *n == name).map(|((p, x), _)| (p, x)) {
            return Ok(x);
        }
        let error = Error::no_such(format!("this cache does not keep `{name}`"));
        let keeps = match names.is_empty() {
            true => "it keeps nothing yet: run the model with it first".to_owned(),
            false => format!("it keeps {}", names.join(", ")),
        };
        Err(error.nearest_or(name, names.iter().map(String::as_str), keeps))
    }

    /// Every point and what was kept of it, in the order of the forward pass within a layer.
    pub fn iter(&self) -> impl Iterator<Item = (HookPoint, &[Tensor])> {
        self.values.iter().map(|(p, x)| (*p, x.as_slice()))
    }
}

impl Hook for Cache {
    fn wants(&self, at: HookPoint) -> bool {
        self.values.contains_key(&at)
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor> {
        let kept = self.values.entry(at).or_default();
        // A second run with the same cache starts afresh.
        if rows.sequences.first().is_some_and(|s| s.index == 0) {
            kept.clear();
        }
        kept.push(x.clone());
        Ok(x)
    }

    fn finish(&mut self) -> Result<()> {
        match self.values.iter().find(|(_, kept)| kept.is_empty()) {
            Some((point, _)) => {
                Err(Error::bad_input(format!("the run never reached {point}, so there is nothing to keep"))
                    .hint("start earlier or stop later, or ask for fewer hooks"))
            }
            None => Ok(()),
        }
    }
}
