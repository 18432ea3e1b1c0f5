//! What hooks see while texts are generated, kept until it is known how long they are.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::Tensor;
use safetensors::Dtype;

use super::Trace;
use crate::analysis::cache::{File, PROMPTS_KEY};
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::hook::{Cache, HookPoint, select};
use crate::ops::values;
use crate::text::Prompt;

/// Values of hooks, by trace.
pub struct Recorded {
    /// The hook that sees them.
    pub(super) cache: Cache,
    points: Vec<HookPoint>,
    /// Of each point and trace, the values of rows that follow each other.
    kept: BTreeMap<HookPoint, Vec<Vec<Tensor>>>,
    /// Traces of the prompts before.
    whole: Vec<Whole>,
}

/// A trace that is finished.
struct Whole {
    name: String,
    ids: Vec<u32>,
    kept: Vec<Vec<Tensor>>,
}

impl Recorded {
    /// Of the hooks that `pattern` means.
    ///
    /// # Errors
    /// Hooks that the model does not have, and scores and patterns, whose axes grow with the text.
    pub fn new(spec: &Spec, pattern: &str) -> Result<Self> {
        let points = select(spec, pattern)?;
        if let Some(point) = points.iter().find(|point| point.site.per_sequence()) {
            return Err(Error::bad_input(format!(
                "{point} has an axis of keys, which grows while a text is generated"
            ))
            .hint("record other hooks here, and this one in a run of the finished text"));
        }
        Ok(Self { cache: Cache::of(points.iter().copied()), points, kept: BTreeMap::new(), whole: vec![] })
    }

    /// Bytes of what is kept of a row.
    ///
    /// # Errors
    /// As [`Recorded::new`].
    pub fn row_bytes(spec: &Spec, pattern: &str) -> Result<usize> {
        let points = Self::new(spec, pattern)?.points;
        Ok(points.iter().map(|p| p.shape(spec, 1).iter().product::<usize>() * size_of::<f32>()).sum())
    }

    /// Takes what the run of the prompt has kept, which is every trace's.
    pub(super) fn begin(&mut self, traces: usize) -> Result<()> {
        self.kept = self.points.iter().map(|point| (*point, vec![vec![]; traces])).collect();
        self.take(&(0..traces).collect::<Vec<_>>(), |x, _| Ok(x.clone()))
    }

    /// Takes what the run of a step has kept, whose rows are those of these traces.
    pub(super) fn step(&mut self, traces: &[usize]) -> Result<()> {
        self.take(traces, |x, row| Ok(x.narrow(0, row, 1)?))
    }

    fn take(&mut self, traces: &[usize], of: impl Fn(&Tensor, usize) -> Result<Tensor>) -> Result<()> {
        for (point, seen) in self.cache.iter() {
            let ([x], Some(kept)) = (seen, self.kept.get_mut(&point)) else {
                return Err(Error::compute(format!("{point} was not seen once")).fault());
            };
            for (row, trace) in traces.iter().enumerate() {
                kept[*trace].push(of(x, row)?);
            }
        }
        Ok(())
    }

    /// Says that the traces of `prompt` are finished.
    pub fn finish(&mut self, prompt: &Prompt, traces: &[Trace]) {
        let mut kept: Vec<_> = std::mem::take(&mut self.kept).into_values().map(Vec::into_iter).collect();
        for (t, trace) in traces.iter().enumerate() {
            // The last token of a text never ran.
            let mut ids = prompt.ids();
            ids.extend(trace.ids().split_last().map_or(&[][..], |(_, before)| before));
            let own = kept.iter_mut().map(|of| of.next().unwrap_or_default()).collect();
            self.whole.push(Whole { name: format!("{} trace {t}", prompt.id), ids, kept: own });
        }
    }

    /// Writes all of it as a safetensors file, as `cache` does: a prompt there is a trace here.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, spec: &Spec, mut metadata: HashMap<String, String>, path: &Path) -> Result<()> {
        let names: Vec<&str> = self.whole.iter().map(|whole| &*whole.name).collect();
        metadata.insert(PROMPTS_KEY.to_owned(), serde_json::json!(names).to_string());
        let t = self.whole.iter().map(|whole| whole.ids.len()).sum();
        let mut plan = vec![("rows".into(), Dtype::U32, vec![t, 2]), ("input_ids".into(), Dtype::U32, vec![t])];
        let dtype = |point: &HookPoint| if point.site.is_index() { Dtype::U32 } else { Dtype::F32 };
        plan.extend(self.points.iter().map(|point| (point.to_string(), dtype(point), point.shape(spec, t))));
        let mut file = File::create(path, plan, metadata)?;
        let rows = |(i, whole): (usize, &Whole)| (0..whole.ids.len() as u32).flat_map(move |pos| [i as u32, pos]);
        file.write_u32("rows", 0, self.whole.iter().enumerate().flat_map(rows))?;
        file.write_u32("input_ids", 0, self.whole.iter().flat_map(|whole| whole.ids.iter().copied()))?;
        // A map has its points in order; so has the cache.
        let mut order = self.points.clone();
        order.sort();
        for (p, point) in order.iter().enumerate() {
            let (name, mut at) = (point.to_string(), 0);
            for part in self.whole.iter().flat_map(|whole| &whole.kept[p]) {
                match point.site.is_index() {
                    true => file.write_u32(&name, at, part.flatten_all()?.to_vec1::<u32>()?.into_iter())?,
                    false => file.write_f32(&name, at, &values(&part.contiguous()?)?)?,
                }
                at += part.elem_count();
            }
        }
        file.finish(path)
    }
}
