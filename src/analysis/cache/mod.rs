//! Raw activations of chosen hooks, streamed into one safetensors file.

mod options;

use std::collections::{BTreeMap, HashMap};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use candle_core::Tensor;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::{Need, Watch};
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::hook::finite::finite;
use crate::hook::{Hook, HookPoint, NotFinite, Site, select};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::rows::Rows;
use crate::ops::values;
use crate::sweep::budget::{Budget, Cut};
use crate::sweep::{check_prompts, first_not_finite, not_finite};
use crate::text::Prompt;
use crate::whole::{keep, temporary_beside};
pub use options::Cache;

/// What a file of activations is called in its provenance.
pub const FORMAT: &str = "activations";
/// Raised whenever its tensors or metadata change their names or meanings.
pub const FORMAT_VERSION: u32 = 1;
/// The key of the prompts' names in a file's metadata: a JSON list of strings, in the order that `rows` counts prompts in.
pub const PROMPTS_KEY: &str = "prompts";

/// Writes the values of the hooks that `pattern` means to a safetensors file at `path`, under their names, f32; numbers of
/// experts u32.
///
/// Rows come first, all prompts' after one another; `rows [t, 2]` (u32) gives each row's prompt and position, and
/// `input_ids [t]` its token. Scores and patterns are made per prompt: with several, `.prompt{i}` follows the name.
/// Values go to the file as they are made, so memory does not grow with what is recorded. `metadata` is put into the
/// header, and beside it the prompts' names ([`PROMPTS_KEY`]). The file appears under its name only when it is whole.
///
/// # Errors
/// Hooks that the model does not have; a run that is not finite; a file that cannot be written.
pub fn save_activations(
    model: &Model,
    prompts: &[Prompt],
    pattern: &str,
    budget: Budget,
    mut metadata: HashMap<String, String>,
    watch: &dyn Watch,
    path: &Path,
) -> Result<()> {
    let names: Vec<&str> = prompts.iter().map(|p| p.id.as_str()).collect();
    metadata.insert(PROMPTS_KEY.to_owned(), serde_json::json!(names).to_string());
    let spec = model.spec();
    let points = select(spec, pattern)?;
    let lengths: Vec<usize> = prompts.iter().map(|p| p.tokens.len()).collect();
    let mut file = File::create(path, plan(model, &points, &lengths), metadata)?;
    let pairs = prompts.iter().flat_map(|p| (0..p.tokens.len() as u32).flat_map(move |pos| [p.index, pos]));
    file.write_u32("rows", 0, pairs)?;
    file.write_u32("input_ids", 0, prompts.iter().flat_map(|p| p.ids()))?;
    let mut row = 0;
    for wave in cut(spec, prompts, &points, budget).waves {
        watch.at(wave.start, prompts.len())?;
        let batch = Batch::of(prompts[wave.clone()].iter().map(Prompt::ids));
        let n_rows = batch.rows().len();
        let unembed = if points.iter().any(|p| p.site == Site::Logits) { Unembed::All } else { Unembed::Nothing };
        let run = Run { unembed, ..Run::default() };
        let (first, alone) = (wave.start, prompts.len() == 1);
        let mut hook = Save { model, points: &points, file: &mut file, row, first, alone, not_finite: None };
        let out = model.run(&batch, &run, &mut [&mut hook])?;
        let bad = hook.not_finite;
        check_prompts(model, &prompts[wave.clone()], &out, "")?;
        if let Some(prompt) = bad {
            let prompt = &prompts[wave.start + prompt];
            let first = first_not_finite(model, &prompt.ids(), &[])?;
            return Err(not_finite(&format!("the run of prompt \"{}\"", prompt.id), first.as_ref()));
        }
        row += n_rows;
    }
    watch.at(prompts.len(), prompts.len())?;
    file.finish(path)
}

/// What [`save_activations`] needs of memory.
///
/// # Errors
/// Hooks that the model does not have.
pub fn need(spec: &Spec, prompts: &[Prompt], pattern: &str, budget: Budget) -> Result<Need> {
    Ok(cut(spec, prompts, &select(spec, pattern)?, budget).need)
}

/// Which prompts run together, and what that needs.
fn cut(spec: &Spec, prompts: &[Prompt], points: &[HookPoint], budget: Budget) -> Cut {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    budget.prompts(spec, prompts, kept(spec, points), patterns(spec, points, longest))
}

/// Bytes of a row that are held beside the run: a value that is large, such as the logits or what each head writes, and its bytes
/// on their way to the file.
fn kept(spec: &Spec, points: &[HookPoint]) -> usize {
    let width = |p: &HookPoint| p.shape(spec, 1).iter().product::<usize>();
    2 * size_of::<f32>() * points.iter().filter(|p| !p.site.per_sequence()).map(width).max().unwrap_or(0)
}

/// Bytes of one prompt's scores, its pattern and their bytes on their way to the file, where they are wanted.
fn patterns(spec: &Spec, points: &[HookPoint], longest: usize) -> usize {
    let heads = |p: &HookPoint| p.layer.map_or(0, |l| spec.blocks[l].attention.inner.n_heads);
    let heads = points.iter().filter(|p| p.site.per_sequence()).map(heads).max().unwrap_or(0);
    3 * size_of::<f32>() * heads * longest * longest
}

/// Names, dtypes and shapes of everything the file will hold.
fn plan(model: &Model, points: &[HookPoint], lengths: &[usize]) -> Vec<(String, Dtype, Vec<usize>)> {
    let spec = model.spec();
    let t: usize = lengths.iter().sum();
    let mut plan = vec![("rows".into(), Dtype::U32, vec![t, 2]), ("input_ids".into(), Dtype::U32, vec![t])];
    for point in points {
        let shape = |n: usize| point.shape(spec, n);
        if point.site.per_sequence() {
            for (i, n) in lengths.iter().enumerate() {
                plan.push((sequence_name(*point, i, lengths.len() == 1), Dtype::F32, shape(*n)));
            }
        } else {
            let dtype = if point.site.is_index() { Dtype::U32 } else { Dtype::F32 };
            plan.push((point.to_string(), dtype, shape(t)));
        }
    }
    plan
}

fn sequence_name(point: HookPoint, prompt: usize, alone: bool) -> String {
    if alone { point.to_string() } else { format!("{point}.prompt{prompt}") }
}

/// Writes what it sees and keeps nothing.
struct Save<'a> {
    model: &'a Model,
    points: &'a [HookPoint],
    file: &'a mut File,
    /// Row of the file that the wave's first row goes to.
    row: usize,
    /// First prompt of the wave.
    first: usize,
    alone: bool,
    /// The first prompt of the wave of which a value is not finite.
    not_finite: Option<usize>,
}

impl Save<'_> {
    /// Which sequence has a value that is not finite. Scores of keys that the mask hides are minus infinity, and no others are.
    fn bad(&self, at: HookPoint, rows: &Rows, x: &Tensor) -> Result<Option<usize>> {
        if let Some(found) = NotFinite::first_in(at, rows, x)? {
            return Ok(Some(found.sequence));
        }
        let scoring = at.layer.filter(|_| at.site == Site::AttnScores).map(|l| &self.model.weights().blocks[l].scoring);
        let Some(scoring) = scoring else { return Ok(None) };
        let (s, n_keys) = (&rows.sequences[0], x.dim(2)?);
        let held = values(x)?;
        let overflows =
            |(row, scores): (usize, &[f32])| !finite(&scores[scoring.visible(s.start + row % s.len(), n_keys)]);
        Ok(held.chunks_exact(n_keys).enumerate().any(overflows).then_some(s.index))
    }
}

impl Hook for Save<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        self.points.contains(&at)
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor> {
        let (name, row) = match at.site.per_sequence() {
            true => (sequence_name(at, self.first + rows.sequences[0].index, self.alone), 0),
            false => (at.to_string(), self.row),
        };
        let width = x.elem_count() / x.dim(0)?;
        if at.site.is_index() {
            self.file.write_u32(&name, row * width, x.flatten_all()?.to_vec1::<u32>()?.into_iter())?;
            return Ok(x);
        }
        if self.not_finite.is_none() {
            self.not_finite = self.bad(at, rows, &x)?;
        }
        let held = values(&x)?;
        self.file.write_f32(&name, row * width, &held)?;
        drop(held);
        Ok(x)
    }
}

/// A safetensors file whose tensors are written in pieces, in any order.
pub(super) struct File {
    temporary: tempfile::NamedTempFile,
    /// Where each tensor's bytes begin.
    starts: HashMap<String, u64>,
}

impl File {
    pub fn create(
        path: &Path,
        tensors: Vec<(String, Dtype, Vec<usize>)>,
        metadata: HashMap<String, String>,
    ) -> Result<Self> {
        let mut end = 0;
        let infos: Vec<(String, TensorInfo)> = (tensors.into_iter())
            .map(|(name, dtype, shape)| {
                let start = end;
                end += shape.iter().product::<usize>() * 4;
                (name, TensorInfo { dtype, shape, data_offsets: (start, end) })
            })
            .collect();
        let offsets: Vec<(String, u64)> = infos.iter().map(|(n, i)| (n.clone(), i.data_offsets.0 as u64)).collect();
        let failed = |e: &dyn std::fmt::Display| Error::compute(e.to_string()).fault();
        let tensors = Metadata::new(None, infos).map_err(|e| failed(&e))?;
        let tensors = serde_json::to_string(&tensors).map_err(|e| failed(&e))?;
        // In the order of the keys, or the same request would not give the same bytes.
        let metadata: BTreeMap<String, String> = metadata.into_iter().collect();
        let metadata = serde_json::to_string(&metadata).map_err(|e| failed(&e))?;
        let mut header = format!("{{\"__metadata__\":{metadata},{}", &tensors[1..]).into_bytes();
        // Data starts at a multiple of eight, as the format asks for.
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut temporary = temporary_beside(path)?;
        let failed = |e| Error::cannot_write(path, e);
        let data = 8 + header.len() as u64;
        temporary.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        temporary.write_all(&header).map_err(failed)?;
        temporary.as_file().set_len(data + end as u64).map_err(failed)?;
        Ok(Self { temporary, starts: offsets.into_iter().map(|(name, at)| (name, data + at)).collect() })
    }

    fn write_at(&mut self, name: &str, skip: usize, bytes: &[u8]) -> Result<()> {
        let start = self.starts.get(name).ok_or_else(|| Error::compute(format!("`{name}` was not planned")).fault())?;
        let path = self.temporary.path().to_owned();
        let file = self.temporary.as_file_mut();
        file.seek(SeekFrom::Start(start + skip as u64))
            .and_then(|_| file.write_all(bytes))
            .map_err(|e| Error::cannot_write(&path, e))
    }

    pub fn write_f32(&mut self, name: &str, skip: usize, values: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.write_at(name, skip * 4, &bytes)
    }

    pub fn write_u32(&mut self, name: &str, skip: usize, values: impl Iterator<Item = u32>) -> Result<()> {
        let bytes: Vec<u8> = values.flat_map(u32::to_le_bytes).collect();
        self.write_at(name, skip * 4, &bytes)
    }

    pub fn finish(self, path: &Path) -> Result<()> {
        keep(self.temporary, path)
    }
}

/// The file's section of the page of tables: it is none, and is described beside them.
pub(super) const ABOUT: &str = "
## `activations` (version 1)

What `pellucid cache` writes: no table but one safetensors file, `activations.safetensors`. Tensors are f32 and have the names and \
axes of [hooks](hooks.md), the rows of all prompts after one another; numbers of experts are u32.

| tensor | type | meaning |
|---|---|---|
| `rows` | u32 [t, 2] | the prompt of each row, counted from 0, and its position there |
| `input_ids` | u32 [t] | the token id at each row |
| a hook's name | f32 [t, ..] | its value at each row |
| `..hook_attn_scores`, `..hook_pattern` | f32 [h, q, k] | of one prompt; with several prompts, `.prompt0`, `.prompt1`, ... follows the name |

The header's metadata has two keys: `pellucid`, how the file was made, as in every table (`table` is `activations`), and `prompts`, \
a JSON list of the prompts' ids, in the order in which `rows` counts them.

```python
import json
from safetensors import safe_open
with safe_open(\"activations.safetensors\", \"np\") as f:
    prompts = json.loads(f.metadata()[\"prompts\"])
    rows = f.get_tensor(\"rows\")
    last_of_first = f.get_tensor(\"blocks.0.hook_resid_post\")[(rows[:, 0] == 0)][-1]
```
";
