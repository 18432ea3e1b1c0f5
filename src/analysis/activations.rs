//! Raw activations of chosen hooks, streamed into one safetensors file.

use std::collections::HashMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use candle_core::Tensor;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::Watch;
use super::waves::waves;
use crate::error::{Error, Result};
use crate::hook::{Hook, HookPoint, Site, select};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::rows::Rows;
use crate::ops::values;
use crate::text::Prompt;
use crate::whole::{io_failed, keep, temporary_beside};

/// Writes the values of the hooks that `pattern` means to a safetensors file at `path`, under their names, f32; numbers of
/// experts u32.
///
/// Rows come first, all prompts' after one another; `rows [t, 2]` (u32) gives each row's prompt and position, and
/// `input_ids [t]` its token. Scores and patterns are made per prompt: with several, `.prompt{i}` follows the name.
/// Values go to the file as they are made, so memory does not grow with what is recorded. `metadata` is put into the
/// header. The file appears under its name only when it is whole.
///
/// # Errors
/// Hooks that the model does not have; a file that cannot be written.
pub fn save_activations(
    model: &Model,
    prompts: &[Prompt],
    pattern: &str,
    memory_bytes: usize,
    metadata: HashMap<String, String>,
    watch: &dyn Watch,
    path: &Path,
) -> Result<()> {
    let spec = model.spec();
    let points = select(spec, pattern)?;
    let lengths: Vec<usize> = prompts.iter().map(|p| p.tokens.len()).collect();
    let mut file = File::create(path, plan(model, &points, &lengths), metadata)?;
    let pairs = prompts.iter().flat_map(|p| (0..p.tokens.len() as u32).flat_map(move |pos| [p.index, pos]));
    file.write_u32("rows", 0, pairs)?;
    file.write_u32("input_ids", 0, prompts.iter().flat_map(|p| p.ids()))?;
    let mut row = 0;
    for wave in waves(spec, prompts, 0, memory_bytes) {
        watch.at(wave.start, prompts.len())?;
        let batch = Batch::of(prompts[wave.clone()].iter().map(Prompt::ids));
        let n_rows = batch.rows().len();
        let unembed = if points.iter().any(|p| p.site == Site::Logits) { Unembed::All } else { Unembed::Nothing };
        let run = Run { unembed, ..Run::default() };
        let mut hook = Save { points: &points, file: &mut file, row, first: wave.start, alone: prompts.len() == 1 };
        model.run(&batch, &run, &mut [&mut hook])?;
        row += n_rows;
    }
    watch.at(prompts.len(), prompts.len())?;
    file.finish(path)
}

/// Names, dtypes and shapes of everything the file will hold.
fn plan(model: &Model, points: &[HookPoint], lengths: &[usize]) -> Vec<(String, Dtype, Vec<usize>)> {
    let spec = model.spec();
    let t: usize = lengths.iter().sum();
    let mut plan = vec![("rows".into(), Dtype::U32, vec![t, 2]), ("input_ids".into(), Dtype::U32, vec![t])];
    for point in points {
        let shape = |n: usize| {
            let axes = point.site.info().axes.iter();
            axes.map(|a| Site::axis_len(spec, point.layer, *a).unwrap_or(n)).collect::<Vec<_>>()
        };
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
    points: &'a [HookPoint],
    file: &'a mut File,
    /// Row of the file that the wave's first row goes to.
    row: usize,
    /// First prompt of the wave.
    first: usize,
    alone: bool,
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
        let held = values(&x)?;
        self.file.write_f32(&name, row * width, &held)?;
        drop(held);
        Ok(x)
    }
}

/// A safetensors file whose tensors are written in pieces, in any order.
struct File {
    temporary: tempfile::NamedTempFile,
    /// Where each tensor's bytes begin.
    starts: HashMap<String, u64>,
}

impl File {
    fn create(
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
        let metadata = Metadata::new(Some(metadata), infos).map_err(|e| Error::compute(e.to_string()))?;
        let mut header = serde_json::to_vec(&metadata).map_err(|e| Error::compute(e.to_string()))?;
        // Data starts at a multiple of eight, as the format asks for.
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut temporary = temporary_beside(path)?;
        let failed = |e| io_failed(path, e);
        let data = 8 + header.len() as u64;
        temporary.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        temporary.write_all(&header).map_err(failed)?;
        temporary.as_file().set_len(data + end as u64).map_err(failed)?;
        Ok(Self { temporary, starts: offsets.into_iter().map(|(name, at)| (name, data + at)).collect() })
    }

    fn write_at(&mut self, name: &str, skip: usize, bytes: &[u8]) -> Result<()> {
        let start = self.starts.get(name).ok_or_else(|| Error::compute(format!("`{name}` was not planned")))?;
        let path = self.temporary.path().to_owned();
        let file = self.temporary.as_file_mut();
        file.seek(SeekFrom::Start(start + skip as u64))
            .and_then(|_| file.write_all(bytes))
            .map_err(|e| io_failed(&path, e))
    }

    fn write_f32(&mut self, name: &str, skip: usize, values: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.write_at(name, skip * 4, &bytes)
    }

    fn write_u32(&mut self, name: &str, skip: usize, values: impl Iterator<Item = u32>) -> Result<()> {
        let bytes: Vec<u8> = values.flat_map(u32::to_le_bytes).collect();
        self.write_at(name, skip * 4, &bytes)
    }

    fn finish(self, path: &Path) -> Result<()> {
        keep(self.temporary, path)
    }
}
