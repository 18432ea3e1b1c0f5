//! A reference dump: what another program made of some tokens, as `docs/reference.py` writes it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

use crate::arch::Spec;
use crate::arch::family::Family;
use crate::error::{Error, Result};

/// A dump that was read.
pub struct Dump {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
    made: HashMap<String, String>,
    hash: String,
    prompts: Vec<Vec<u32>>,
}

/// What docs/reference.py writes into the metadata. Values bear the names of the other program's modules, never those of hooks, so
/// a dump stays what it is when a hook's name comes to mean another value.
const FORMAT: &str = "pellucid.reference.1";
const FAMILY: &str = "pellucid.reference.";

const HOW: &str = "docs/reference.py makes a dump of any causal language model of transformers";

impl Dump {
    /// Reads the dump in the safetensors file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is not a safetensors file, or lacks the tokens or what was made of them.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = fs_err::read(path).map_err(|e| {
            Error::no_such(format!("cannot read the reference {}: {}", path.display(), e.kind())).hint(HOW)
        })?;
        let broken =
            |e: String| Error::bad_input(format!("{} is not a safetensors file: {e}", path.display())).hint(HOW);
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(e.to_string()))?;
        let made = header.metadata().clone().unwrap_or_default();
        if let Some(format) = made.get("format").filter(|format| format.starts_with(FAMILY) && *format != FORMAT) {
            return Err(Error::bad_input(format!(
                "{} is a reference of the format {format}, and this program knows {FORMAT}",
                path.display()
            ))
            .hint("make it with this version's docs/reference.py"));
        }
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|e| broken(e.to_string()))?;
        let hash = format!("blake3:{}", blake3::hash(&bytes).to_hex());
        let mut dump = Self { path: path.to_owned(), tensors, made, hash, prompts: vec![] };
        dump.prompts = dump.read_prompts()?;
        if dump.get("logits").is_none() && dump.get("hidden_states.0").is_none() {
            return Err(dump.says("it has neither `logits` nor `hidden_states.0`"));
        }
        Ok(dump)
    }

    fn says(&self, what: impl std::fmt::Display) -> Error {
        Error::bad_input(format!("{} is not a reference for this: {what}", self.path.display())).hint(HOW)
    }

    fn read_prompts(&self) -> Result<Vec<Vec<u32>>> {
        let ids = self.get("input_ids").ok_or_else(|| self.says("it has no `input_ids`"))?;
        let ids = if ids.rank() == 1 { ids.unsqueeze(0)? } else { ids.clone() };
        let odd = || self.says(format_args!("its `input_ids` are {:?} of {:?}", ids.dtype(), ids.shape()));
        if ids.rank() != 2 || ids.elem_count() == 0 || !ids.dtype().is_int() {
            return Err(odd());
        }
        let rows = ids.to_dtype(DType::I64)?.to_vec2::<i64>()?;
        (rows.into_iter()).map(|row| row.into_iter().map(|id| u32::try_from(id).map_err(|_| odd())).collect()).collect()
    }

    /// The tokens that it is of, each prompt as long as the others.
    pub fn prompts(&self) -> &[Vec<u32>] {
        &self.prompts
    }

    /// Hash over its bytes.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// A tensor of it.
    pub(super) fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Numbers of prompts and of positions.
    pub(super) fn shape(&self) -> [usize; 2] {
        [self.prompts.len(), self.prompts.first().map_or(0, Vec::len)]
    }

    /// A tensor `[b, p, ..]`, or one whose rows lie packed already, as rows in f64: `[b * p, ..]`.
    ///
    /// # Errors
    /// When it has another number of rows, or is not of floating-point numbers.
    pub(super) fn rows(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let t = self.shape().iter().product::<usize>();
        if !x.dtype().is_float() || x.elem_count() == 0 || !x.elem_count().is_multiple_of(t) {
            return Err(self.says(format_args!("its `{name}` is {:?} of {:?}, for {t} tokens", x.dtype(), x.shape())));
        }
        Ok(x.to_dtype(DType::F64)?.reshape((t, ()))?)
    }

    /// The precision that the other program computed in.
    pub(super) fn dtype(&self) -> DType {
        match self.made.get("dtype").map(String::as_str) {
            Some("float64") => DType::F64,
            Some("bfloat16") => DType::BF16,
            Some("float16") => DType::F16,
            _ => DType::F32,
        }
    }

    /// Which program made it, of what, in what.
    pub fn made_by(&self) -> String {
        let get = |key: &str| self.made.get(key).filter(|value| !value.is_empty());
        let program =
            get("transformers").map_or_else(|| "an unnamed program".to_owned(), |v| format!("transformers {v}"));
        let of = get("model").map(|m| format!(" of {m}")).unwrap_or_default();
        let dtype = get("dtype").map(|d| format!(" in {d}")).unwrap_or_default();
        format!("{program}{of}{dtype}")
    }

    /// Refuses a dump of another model.
    ///
    /// # Errors
    /// When family, layers, widths or vocabulary differ, with both.
    pub fn check(&self, family: &Family, spec: &Spec) -> Result<()> {
        let other = |what: &str, theirs: &dyn std::fmt::Display, ours: &dyn std::fmt::Display| {
            let message =
                format!("the reference is of another model: its {what} is {theirs}, and this one's is {ours}");
            Err(Error::bad_input(message).hint("give the model that the dump was made of, or make a dump of this one"))
        };
        if let Some(theirs) = self.made.get("model_type")
            && theirs != family.model_type
        {
            return other("model type", &theirs, &family.model_type);
        }
        let hidden = (0..).take_while(|i| self.get(&format!("hidden_states.{i}")).is_some()).count();
        if hidden > 0 && hidden - 1 != spec.n_layers() {
            return other("number of blocks", &(hidden - 1), &spec.n_layers());
        }
        let t = self.shape().iter().product::<usize>();
        let width = |name: &str| self.get(name).map(|x| x.elem_count() / t);
        for (what, theirs, ours) in [
            ("width", width("hidden_states.0"), spec.d_model),
            ("number of logits", width("logits"), spec.unembedding.d_vocab_out),
        ] {
            if let Some(theirs) = theirs
                && theirs != ours
            {
                return other(what, &theirs, &ours);
            }
        }
        match self.prompts.iter().flatten().find(|id| **id as usize >= spec.d_vocab) {
            Some(id) => other("vocabulary", &format!("at least {}", *id as usize + 1), &spec.d_vocab),
            None => Ok(()),
        }
    }

    /// Refuses a dump of other tokens.
    ///
    /// # Errors
    /// When these prompts are not the dump's, with the first difference.
    pub fn check_prompts(&self, prompts: &[Vec<u32>]) -> Result<()> {
        if prompts.len() != self.prompts.len() {
            let (theirs, ours) = (self.prompts.len(), prompts.len());
            return Err(Error::bad_input(format!("the reference is of {theirs} prompts, and {ours} were given"))
                .hint("leave the prompts out: the reference has its own"));
        }
        for (i, (theirs, ours)) in self.prompts.iter().zip(prompts).enumerate() {
            if theirs != ours {
                let at = theirs.iter().zip(ours).take_while(|(a, b)| a == b).count();
                let id = |ids: &[u32]| ids.get(at).map_or_else(|| "nothing".to_owned(), |id| format!("token {id}"));
                return Err(Error::bad_input(format!(
                    "the reference is of other tokens: at position {at} of prompt {i} it has {}, and here there is {}",
                    id(theirs),
                    id(ours)
                ))
                .hint("other tokens are other logits: compare the tokenizers, and whether each adds a BOS token"));
            }
        }
        Ok(())
    }
}
