//! What heads would do about chosen tokens, by their weights: full OV and QK circuits.

use candle_core::Tensor;

use super::Steps;
use super::maps::{Heads, Matrix, block_bytes};
use super::rows::HeadCircuitRow;
use crate::arch::Spec;
use crate::error::Result;
use crate::model::Model;
use crate::ops::algebra::decompose::Rows;
use crate::ops::wide;
use crate::sweep::Need;

/// A vocabulary that is small enough for all of it, where none is chosen.
pub const SMALL: usize = 64;

/// Chosen tokens.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Those that are read.
    pub read: Vec<u32>,
    /// Those that are said.
    pub said: Vec<u32>,
}

/// What [`circuits`] needs of memory.
pub fn need(spec: &Spec, chosen: &Chosen) -> Need {
    let (read, said) = (chosen.read.len(), chosen.said.len());
    // Embeddings and unembeddings in f32 and f64, and a circuit with what it is made of.
    let bytes = 3 * 8 * spec.d_model * (read + said) + 8 * 3 * read * read.max(said);
    Need { activations: bytes + block_bytes(spec), least: bytes + block_bytes(spec), rows: 0 }
}

/// The rows of these heads; of all where none is named.
///
/// # Errors
/// When the computation fails; what `emit` says.
pub fn circuits(
    model: &Model,
    (heads, chosen): (&[(usize, usize)], &Chosen),
    spell: &dyn Fn(u32) -> String,
    steps: &Steps<'_>,
    emit: &mut dyn FnMut(HeadCircuitRow) -> Result<()>,
) -> Result<()> {
    if chosen.read.is_empty() {
        return Ok(());
    }
    let d = model.spec().d_model;
    let rows = |x: &Tensor| -> Result<Rows> { Ok(Rows::new(d, wide(x)?.flatten_all()?.to_vec1()?)) };
    let read = rows(&model.embedded(&chosen.read)?)?;
    let said = rows(&model.effective_unembedding(&chosen.said)?)?;
    for layer in 0..model.spec().n_layers() {
        steps.step()?;
        if !heads.is_empty() && heads.iter().all(|(own, _)| *own != layer) {
            continue;
        }
        let block = Heads::of(model, layer)?;
        for head in (0..block.len()).filter(|head| heads.is_empty() || heads.contains(&(layer, *head))) {
            for matrix in Matrix::ALL {
                let (to, ids) = match matrix {
                    Matrix::Ov => (&said, &chosen.said),
                    Matrix::Qk => (&read, &chosen.read),
                };
                let [near, far] = block.factors(head, matrix);
                let values = read.times_transposed(near).times(&to.times_transposed(far).transposed());
                for (i, from_id) in chosen.read.iter().enumerate() {
                    for (to_id, value) in ids.iter().zip(values.row(i)) {
                        emit(HeadCircuitRow {
                            layer: layer as u32,
                            head: head as u32,
                            kv_head: block.kv_head(head) as u32,
                            matrix: matrix.name().to_owned(),
                            from: spell(*from_id),
                            from_id: *from_id,
                            to: spell(*to_id),
                            to_id: *to_id,
                            value: *value,
                        })?;
                    }
                }
            }
        }
    }
    Ok(())
}
