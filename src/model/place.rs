//! Where a model is put and in what its weights are kept.

use candle_core::{DType, Device, Tensor};

use super::weights::{BlockWeights, FeedForwardWeights, MlpWeights, NeuronWeights, Weights};
use crate::error::{Error, Result, said, words};
use crate::ops::linear::Linear;
use crate::ops::matrix::{Kept, Matrix};
use crate::ops::norm::NormWeights;

/// How a model is loaded. The default keeps weights as they are stored, in the mapped files, and computes on the CPU.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Placement {
    /// What weights are kept in; as they are stored, unless given. Activations on the CPU are f32 whatever this is; on
    /// another device they have the dtype of the weights.
    pub kept: Option<Kept>,
    /// Where it computes.
    pub place: Hardware,
}

/// A device that may not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Hardware {
    /// The processor.
    #[default]
    Cpu,
    /// A GPU of NVIDIA, by number.
    Cuda(usize),
    /// A GPU of Apple.
    Metal,
}

impl Hardware {
    /// `cpu`, `cuda`, `cuda:1` or `metal`.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(name: &str) -> Result<Self> {
        match (name, name.strip_prefix("cuda:").map(str::parse)) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(Ok(n))) => Ok(Self::Cuda(n)),
            ("metal", _) => Ok(Self::Metal),
            _ => {
                Err(Error::bad_input(format!("`{name}` is not a device")).hint("there are cpu, cuda, cuda:1 and metal"))
            }
        }
    }

    /// The device.
    ///
    /// # Errors
    /// When this build has no code for it, or the machine has no such device.
    pub fn device(self) -> Result<Device> {
        let absent = |what, feature| {
            Err(Error::bad_input(format!("this build of pellucid has no code for {what}")).hint(
                words(format!("build it with `cargo install --path . --features {feature}`, or leave "))
                    + said("{!device} out"),
            ))
        };
        let failed = |e: candle_core::Error| {
            Error::bad_input(format!("{self:?} cannot be used: {e}")).hint("choose another device, such as cpu")
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => absent("CUDA", "cuda"),
            Self::Metal if !cfg!(feature = "metal") => absent("Metal", "metal"),
            Self::Cuda(n) => Device::new_cuda(n).map_err(failed),
            Self::Metal => Device::new_metal(0).map_err(failed),
        }
    }
}

impl Weights {
    /// The same weights as tensors of one dtype on one device, where the plain path computes with them.
    ///
    /// # Errors
    /// When the device has no memory for them.
    pub fn on(mut self, device: &Device, dtype: DType) -> Result<Self> {
        self.each(&mut |x| Ok(x.to_dtype(dtype)?.to_device(device)?))?;
        Ok(self)
    }

    /// The distinct dtypes of the linear maps and the embedding, widest first.
    pub fn kept_in(&self) -> Vec<DType> {
        let mut found = vec![];
        let mut see = |x: &Matrix| {
            if !found.contains(&x.dtype()) {
                found.push(x.dtype());
            }
        };
        see(&self.embed);
        see(&self.unembed.weight);
        for block in &self.blocks {
            [&block.q, &block.k, &block.v, &block.o].into_iter().for_each(|map| see(&map.weight));
            match block.mlp.as_ref().map(|mlp| &mlp.inner) {
                Some(FeedForwardWeights::Dense(w)) => w.maps().for_each(|map| see(&map.weight)),
                Some(FeedForwardWeights::Experts(w)) => {
                    w.experts.iter().flat_map(NeuronWeights::maps).for_each(|map| see(&map.weight));
                }
                None => {}
            }
        }
        found.sort_by_key(|dtype| (std::cmp::Reverse(dtype.size_in_bytes()), dtype.as_str()));
        found
    }

    fn each(&mut self, f: &mut impl FnMut(Tensor) -> Result<Tensor>) -> Result<()> {
        let Self { embed, positions, embed_norm, blocks, final_norm, unembed } = self;
        matrix(embed, f)?;
        vector(positions, f)?;
        norm(embed_norm, f)?;
        for block in blocks {
            let BlockWeights { ln1, q, k, v, q_norm, k_norm, o, ln1_post, mlp, scoring: _ } = block;
            [ln1, q_norm, k_norm, ln1_post].into_iter().try_for_each(|x| norm(x, f))?;
            [q, k, v, o].into_iter().try_for_each(|x| linear(x, f))?;
            let Some(MlpWeights { ln2, inner, ln2_post }) = mlp else { continue };
            [ln2, ln2_post].into_iter().try_for_each(|x| norm(x, f))?;
            match inner {
                FeedForwardWeights::Dense(w) => neurons(w, f)?,
                FeedForwardWeights::Experts(w) => {
                    linear(&mut w.router, f)?;
                    w.experts.iter_mut().try_for_each(|w| neurons(w, f))?;
                }
            }
        }
        norm(final_norm, f)?;
        linear(unembed, f)
    }
}

impl NeuronWeights {
    fn maps(&self) -> impl Iterator<Item = &Linear> {
        [&self.input, &self.output].into_iter().chain(&self.linear)
    }
}

fn neurons(w: &mut NeuronWeights, f: &mut impl FnMut(Tensor) -> Result<Tensor>) -> Result<()> {
    let NeuronWeights { input, linear: partner, post_bias, norm: inner, output, activation: _ } = w;
    [Some(input), partner.as_mut(), Some(output)].into_iter().flatten().try_for_each(|x| linear(x, f))?;
    norm(inner, f)?;
    vector(post_bias, f)
}

fn linear(map: &mut Linear, f: &mut impl FnMut(Tensor) -> Result<Tensor>) -> Result<()> {
    matrix(&mut map.weight, f)?;
    vector(&mut map.bias, f)
}

fn norm(norm: &mut Option<NormWeights>, f: &mut impl FnMut(Tensor) -> Result<Tensor>) -> Result<()> {
    let Some(norm) = norm else { return Ok(()) };
    vector(&mut norm.gain, f)?;
    vector(&mut norm.bias, f)
}

fn matrix(x: &mut Matrix, f: &mut impl FnMut(Tensor) -> Result<Tensor>) -> Result<()> {
    *x = f(x.tensor()?)?.into();
    Ok(())
}

fn vector(x: &mut Option<Tensor>, f: &mut impl FnMut(Tensor) -> Result<Tensor>) -> Result<()> {
    if let Some(x) = x {
        *x = f(x.clone())?;
    }
    Ok(())
}
