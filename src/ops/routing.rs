//! Mixtures of experts: which rows go through which expert, and the backward pass. Composed of candle's own operations, which
//! have gradients: there are few numbers here, the experts' maps are elsewhere.

use candle_core::{DType, Tensor};

use crate::error::{Error, Result};

/// The softmax of each row of `logits [t, x]`, made in f32 whatever the dtype, unless that is wider.
///
/// # Errors
/// When the computation fails.
pub fn softmax(logits: &Tensor) -> Result<Tensor> {
    let wide = logits.to_dtype(if logits.dtype() == DType::F64 { DType::F64 } else { DType::F32 })?;
    Ok(super::softmax::softmax(&wide)?.to_dtype(logits.dtype())?)
}

/// The places of the `k` largest of each row of `weights [t, x]`, the largest first, of equals the first: `[t, k]`, u32.
///
/// # Errors
/// When the computation fails.
pub fn largest(weights: &Tensor, k: usize) -> Result<Tensor> {
    let rows = weights.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let mut places = Vec::with_capacity(rows.len() * k);
    for row in &rows {
        let mut order: Vec<u32> = (0..row.len() as u32).collect();
        order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
        places.extend_from_slice(&order[..k]);
    }
    Ok(Tensor::from_vec(places, (rows.len(), k), weights.device())?)
}

/// The weights at `indices [t, k]` of each row of `weights [t, x]`, divided by their sum where they are to be.
///
/// # Errors
/// When an index is outside the row.
pub fn chosen_weights(weights: &Tensor, indices: &Tensor, renormalized: bool) -> Result<Tensor> {
    let chosen = weights.gather(indices, 1)?;
    Ok(if renormalized { chosen.broadcast_div(&chosen.sum_keepdim(1)?)? } else { chosen })
}

/// Which rows go through which expert.
#[derive(Debug)]
pub struct Routing {
    /// For each expert its rows, ascending.
    rows: Vec<Vec<u32>>,
    /// For each row and choice, where its output lies when those of all experts lie after one another.
    back: Vec<u32>,
    n_rows: usize,
}

impl Routing {
    /// The routing that `indices [t, k]` describe.
    ///
    /// # Errors
    /// When one of them is not the number of an expert.
    pub fn new(indices: &Tensor, n_experts: usize) -> Result<Self> {
        let chosen = indices.to_vec2::<u32>()?;
        let mut rows = vec![vec![]; n_experts];
        for (row, experts) in chosen.iter().enumerate() {
            for expert in experts {
                let Some(rows) = rows.get_mut(*expert as usize) else {
                    let last = n_experts - 1;
                    return Err(Error::no_such(format!(
                        "row {row} was sent to expert {expert}, and there are 0-{last}"
                    ))
                    .hint(format!("send rows to experts from 0 to {last}")));
                };
                rows.push(row as u32);
            }
        }
        let mut next: Vec<u32> = rows.iter().map(|rows| rows.len() as u32).collect();
        let mut start = 0;
        next.iter_mut().for_each(|n| start += std::mem::replace(n, start));
        let take = |expert: &u32| {
            let place = next[*expert as usize];
            next[*expert as usize] += 1;
            place
        };
        let back = chosen.iter().flatten().map(take).collect();
        Ok(Self { rows, back, n_rows: chosen.len() })
    }

    /// The rows that go through `expert`, ascending.
    pub fn rows(&self, expert: usize) -> &[u32] {
        &self.rows[expert]
    }

    /// The rows of `x [t, ..]` that go through `expert`, `[rows, ..]`.
    ///
    /// # Errors
    /// When `x` has fewer rows.
    pub fn gather(&self, expert: usize, x: &Tensor) -> Result<Tensor> {
        Ok(x.index_select(&Tensor::new(self.rows(expert), x.device())?, 0)?)
    }

    /// The other way: `y [rows, m]` to `[t, m]`, zero in the rows that do not go through `expert`.
    ///
    /// # Errors
    /// When `y` has another number of rows.
    pub fn spread(&self, expert: usize, y: &Tensor) -> Result<Tensor> {
        let (n, m) = y.dims2()?;
        if n == 0 {
            return Ok(Tensor::zeros((self.n_rows, m), y.dtype(), y.device())?);
        }
        // Chosen rather than added: every bit of what is spread stays what it is.
        let zero = Tensor::zeros((1, m), y.dtype(), y.device())?;
        let mut from = vec![n as u32; self.n_rows];
        self.rows(expert).iter().enumerate().for_each(|(i, row)| from[*row as usize] = i as u32);
        Ok(Tensor::cat(&[y, &zero], 0)?.index_select(&Tensor::new(from, y.device())?, 0)?)
    }

    /// What the experts that have rows gave, each `[rows, d]`, weighted by `weights [t, k]` and summed for each row, in the
    /// order of its choices: `[t, d]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn combine(&self, outputs: &[Tensor], weights: &Tensor) -> Result<Tensor> {
        let (t, k) = weights.dims2()?;
        let all = if let [one] = outputs { one.clone() } else { Tensor::cat(outputs, 0)? };
        let back = Tensor::new(self.back.as_slice(), all.device())?;
        let each = all.index_select(&back, 0)?.reshape((t, k, ()))?;
        Ok(each.broadcast_mul(&weights.unsqueeze(2)?)?.sum(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn rows_come_back_to_where_they_went_from() -> Result<()> {
        let dev = Device::Cpu;
        // Expert 1 has no row, and row 2 goes through expert 0 twice.
        let indices = Tensor::new(&[[2u32, 0], [0, 3], [0, 0]], &dev)?;
        let routing = Routing::new(&indices, 4)?;
        assert_eq!([0, 1, 2, 3].map(|e| routing.rows(e)), [&[0, 1, 2, 2][..], &[], &[0], &[1]]);
        let x = Tensor::new(&[[1f32, -0.0], [3.0, 4.0], [5.0, 6.0]], &dev)?;
        let weights = Tensor::new(&[[0.5f32, 0.25], [1.0, 2.0], [0.75, 0.25]], &dev)?;
        let gathered = (0..4).filter(|e| !routing.rows(*e).is_empty()).map(|e| {
            let rows = routing.gather(e, &x)?;
            // What an expert would do to it: here, expert e multiplies by 10^e.
            Ok((rows * 10f64.powi(e as i32))?)
        });
        let out = routing.combine(&gathered.collect::<Result<Vec<_>>>()?, &weights)?;
        assert_eq!(out.to_vec2::<f32>()?, [[50.25, 0.0], [6003.0, 8004.0], [5.0, 6.0]]);
        let spread = routing.spread(2, &routing.gather(2, &x)?)?;
        assert_eq!(spread.to_vec2::<f32>()?, [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]);
        assert!(spread.to_vec2::<f32>()?[0][1].is_sign_negative());
        assert!(Routing::new(&indices, 3).unwrap_err().message().contains("expert 3"));
        Ok(())
    }

    #[test]
    fn the_largest_come_first_and_of_equals_the_first() -> Result<()> {
        let weights = Tensor::new(&[[0.1f32, 0.4, 0.1, 0.4], [0.7, 0.1, 0.1, 0.1]], &Device::Cpu)?;
        assert_eq!(largest(&weights, 3)?.to_vec2::<u32>()?, [[1, 3, 0], [0, 1, 2]]);
        let chosen = chosen_weights(&weights, &largest(&weights, 2)?, true)?;
        assert_eq!(chosen.to_vec2::<f32>()?, [[0.5, 0.5], [0.875, 0.125]]);
        Ok(())
    }
}
