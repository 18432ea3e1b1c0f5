//! What the weights of heads do: each head's W_OV and W_QK as products of thin factors, which are never multiplied out.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ops::algebra::decompose::{Rows, Singular, Thin, eigenvalues, singular};

/// The heads of one block.
pub struct Heads {
    /// Query heads that share a kv head.
    shared: usize,
    q: Vec<Rows>,
    k: Vec<Rows>,
    v: Vec<Rows>,
    o: Vec<Rows>,
}

/// Which map of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// W_V W_O: from what is looked at to what is written.
    Ov,
    /// W_Q W_K': from what asks to what is looked at.
    Qk,
}

impl Matrix {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ov, Self::Qk];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ov => "OV",
            Self::Qk => "QK",
        }
    }
}

/// Half of a head's map: `[k, d]` rows whose products with what reads them have the norm that the products of the whole map have.
pub struct Half {
    rows: Rows,
    /// The map's norm of Frobenius.
    pub norm: f64,
}

impl Half {
    /// Its numbers.
    pub fn numbers(&self) -> impl Iterator<Item = f32> + '_ {
        self.rows.numbers.iter().map(|x| *x as f32)
    }
}

impl Heads {
    /// Those of block `layer`.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn of(model: &Model, layer: usize) -> Result<Self> {
        let maps = model.head_maps(layer)?;
        let each = |x: &Tensor| -> Result<Vec<Rows>> {
            let (n, e, d) = x.dims3()?;
            let numbers = x.flatten_all()?.to_vec1::<f64>()?;
            Ok((0..n).map(|i| Rows::new(d, numbers[i * e * d..(i + 1) * e * d].to_vec())).collect())
        };
        let shared = model.spec().blocks[layer].attention.inner.shared_by();
        Ok(Self { shared, q: each(&maps.q)?, k: each(&maps.k)?, v: each(&maps.v)?, o: each(&maps.o)? })
    }

    /// How many query heads.
    pub fn len(&self) -> usize {
        self.q.len()
    }

    /// The kv head that a head reads.
    pub fn kv_head(&self, head: usize) -> usize {
        head / self.shared
    }

    /// Both factors of a map: it is the transpose of the first times the second.
    pub fn factors(&self, head: usize, matrix: Matrix) -> [&Rows; 2] {
        match matrix {
            Matrix::Ov => [&self.v[self.kv_head(head)], &self.o[head]],
            Matrix::Qk => [&self.q[head], &self.k[self.kv_head(head)]],
        }
    }

    /// The singular values of a map, with directions `[k, d]`.
    ///
    /// # Errors
    /// When it is not finite.
    pub fn singular(&self, head: usize, matrix: Matrix) -> Result<Singular> {
        let [a, b] = self.factors(head, matrix).map(Thin::of);
        let within = singular(&a.within.transposed().times(&b.within))?;
        Ok(Singular { left: within.left.times(&a.basis), right: within.right.times(&b.basis), values: within.values })
    }

    /// Of every head the singular values of a map.
    ///
    /// # Errors
    /// When one is not finite.
    pub fn all_singular(&self, matrix: Matrix) -> Result<Vec<Singular>> {
        (0..self.len()).into_par_iter().map(|head| self.singular(head, matrix)).collect()
    }

    /// `copying` of every head, `own [d, d]` being [`Model::own_logits`].
    ///
    /// # Errors
    /// When the computation fails.
    pub fn copying(&self, own: &Tensor) -> Result<Vec<Option<f64>>> {
        let width = own.dim(0)?;
        let written: Vec<f64> = self.o.iter().flat_map(|o| o.numbers.iter().copied()).collect();
        let n = written.len() / width;
        let read = Tensor::from_vec(written, (n, width), own.device())?.matmul(own)?.to_vec2::<f64>()?;
        let e = n / self.len();
        let of = |head: usize| {
            let read = Rows::new(width, read[head * e..(head + 1) * e].concat());
            Ok::<_, Error>(positive(&eigenvalues(&read.times_transposed(&self.v[self.kv_head(head)]))?))
        };
        (0..self.len()).into_par_iter().map(of).collect()
    }

    /// What every head writes, for products with what reads it.
    pub fn writes(&self) -> Vec<Half> {
        self.halves(|head| (&self.v[self.kv_head(head)], &self.o[head]))
    }

    /// What every head's queries, keys and values read, for products with what writes it.
    pub fn reads(&self) -> [Vec<Half>; 3] {
        [
            self.halves(|head| (&self.k[self.kv_head(head)], &self.q[head])),
            self.halves(|head| (&self.q[head], &self.k[self.kv_head(head)])),
            self.halves(|head| (&self.o[head], &self.v[self.kv_head(head)])),
        ]
    }

    /// Of a map `far' near` the part that is `near`: what `far` has of the stream's directions is a rotation of it.
    fn halves<'a>(&'a self, of: impl Fn(usize) -> (&'a Rows, &'a Rows) + Sync) -> Vec<Half> {
        let half = |head: usize| {
            let (far, near) = of(head);
            let rows = Thin::of(far).within.transposed().times(near);
            let norm = rows.squares().sqrt();
            Half { rows, norm }
        };
        (0..self.len()).into_par_iter().map(half).collect()
    }
}

/// The real part of the sum of these numbers over the sum of their sizes.
fn positive(eigenvalues: &[(f64, f64)]) -> Option<f64> {
    let sizes: f64 = eigenvalues.iter().map(|(re, im)| re.hypot(*im)).sum();
    (sizes > 0.0).then(|| eigenvalues.iter().map(|(re, _)| re).sum::<f64>() / sizes)
}

/// How many of these make 90 % of the sum of squares; 0 where all are 0.
pub fn rank_90(values: &[f64]) -> u32 {
    let all: f64 = values.iter().map(|x| x * x).sum();
    let mut sum = 0.0;
    let before = |x: &&f64| {
        let less = sum < 0.9 * all;
        sum += **x * **x;
        less
    };
    values.iter().take_while(before).count() as u32
}

/// Bytes of the maps of one block while they are made and decomposed.
pub fn block_bytes(spec: &Spec) -> usize {
    let of_block = |block: &crate::arch::spec::Block| {
        let a = &block.attention.inner;
        2 * (a.n_heads + a.n_kv_heads) * a.d_head * spec.d_model
    };
    // As they are read, as rows, as one more copy that is decomposed, and its basis.
    4 * 8 * spec.blocks.iter().map(of_block).max().unwrap_or(0)
}
