//! From files to a model: config, weight files, every tensor accounted for.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::files::{WeightBytes, WeightFiles};
use super::place::Placement;
use super::torch::TorchFiles;
use super::{Model, Weights};
use crate::arch::Spec;
use crate::arch::config::ConfigOptions;
use crate::arch::family::{Family, Reading, read_config, read_config_with};
use crate::arch::weights::{Cut, Layout, Part, Slot, Source, slots};
use crate::error::{Error, Result, nearest, said};
use crate::ops::matrix::{Kept, Matrix, Wrong};
use crate::text::ModelSource;

/// What views of a few numbers may take beyond the size of their files, as a bias that is the same everywhere does. In bytes.
const MOST_REPEATED: usize = 64 << 20;

impl Model {
    /// Loads the model in `dir` (`config.json`; safetensors, or what torch.save wrote) on the CPU. Weights stay in the mapped
    /// files, and what is computed is f32.
    ///
    /// # Errors
    /// When a file is missing or malformed, the family is unknown, a config key is not handled, or a tensor is
    /// missing, extra or of the wrong shape.
    pub fn load(dir: &Path) -> Result<Self> {
        Self::from_source(&ModelSource::folder(dir)?)
    }

    /// Loads a model whose files were found already, with its weights as they are stored, on the CPU.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_source(source: &ModelSource) -> Result<Self> {
        // What is wrong with the configuration is said first.
        Self::read_spec(source)?;
        Self::place(source, &WeightBytes::open(source)?, &Placement::default())
    }

    /// Loads a model whose weight files are open, and puts it where `placement` says.
    ///
    /// # Errors
    /// As [`Model::load`]; when a number is too large for what weights are to be kept in; when there is no such device.
    pub fn place(source: &ModelSource, files: &WeightBytes, placement: &Placement) -> Result<Self> {
        let device = placement.place.device()?;
        let (family, spec) = Self::read_spec(source)?;
        let model = match is_torch(files) {
            true => Self::from_store(family, spec, &TorchFiles::open(files)?, placement.kept),
            false => Self::from_store(family, spec, &WeightFiles::open(files)?, placement.kept),
        }?;
        if device.is_cpu() {
            return Ok(model);
        }
        // The device computes in what the weights are kept in; where they are in several, in the widest.
        let dtype = model.weights.kept_in().first().copied().unwrap_or(DType::F32);
        let stored = model.stored;
        let mut model = Model::new(model.spec, model.weights.on(&device, dtype)?)?;
        model.stored = stored;
        Ok(model)
    }

    /// What the weights in these files will take when they are loaded so, and `processed` in f32 where they are to be.
    ///
    /// # Errors
    /// As [`Model::load`], as far as names and shapes go.
    pub fn footprint(
        source: &ModelSource,
        files: &WeightBytes,
        placement: &Placement,
        processed: bool,
    ) -> Result<Footprint> {
        let (family, spec) = Self::read_spec(source)?;
        match is_torch(files) {
            true => Footprint::of(family, &spec, &TorchFiles::open(files)?, placement, processed),
            false => Footprint::of(family, &spec, &WeightFiles::open(files)?, placement, processed),
        }
    }

    /// Reads the configuration alone.
    ///
    /// # Errors
    /// As [`Model::load`], as far as the configuration goes.
    pub fn read_spec(source: &ModelSource) -> Result<(&'static Family, Spec)> {
        let options = ConfigOptions::default().accepting(&source.accepted);
        let Reading { family, spec, .. } = read_config_with(&source.config()?, &options)?;
        Ok((family, spec))
    }

    /// A model of tensors in memory: a `config.json` and the tensors under the names that the family's files use. Where a
    /// tensor is a variable, gradients flow to it: this is how a model is trained.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_tensors(config: &str, tensors: &HashMap<String, Tensor>) -> Result<Self> {
        let (family, spec) = read_config(config)?;
        Self::from_store(family, spec, tensors, None)
    }

    fn from_store(family: &Family, spec: Spec, store: &impl Store, kept: Option<Kept>) -> Result<Self> {
        let (slots, stored) = Plan::new(family, &spec, store)?.read(store, kept)?;
        let weights = Weights::assemble(&spec, |slot| slots.get(&slot).cloned())?;
        let mut model = Model::new(spec, weights)?;
        model.stored = stored;
        Ok(model)
    }
}

fn is_torch(files: &WeightBytes) -> bool {
    files.files.iter().any(|(file, _)| [".bin", ".pt", ".pth"].iter().any(|end| file.name().ends_with(end)))
}

/// What weights take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// What stays in the mapped files, and is read as it is needed.
    pub mapped: usize,
    /// What is copied into memory.
    pub copied: usize,
    /// How many numbers they are.
    pub numbers: usize,
}

impl Footprint {
    fn of(
        family: &Family,
        spec: &Spec,
        store: &impl Store,
        placement: &Placement,
        processed: bool,
    ) -> Result<Footprint> {
        let plan = Plan::new(family, spec, store)?;
        let mut all = Footprint::default();
        let count = |name: &str| store.shape(name).unwrap_or_default().iter().product::<usize>();
        let names: BTreeSet<&str> = plan.entries.iter().map(|(_, name, _)| name.as_str()).collect();
        for name in names {
            let (n, stored) = (count(name), store.dtype(name));
            let in_place = matches!(stored, Some(DType::F32 | DType::F16 | DType::BF16)) && store.copied(name) == 0;
            all.numbers += n;
            match placement.kept.map_or(DType::F32, Kept::dtype) {
                dtype if in_place && placement.kept.is_none_or(|_| stored == Some(dtype)) => {
                    all.mapped += n * stored.map_or(0, |dtype| dtype.size_in_bytes());
                }
                dtype => {
                    let size = placement.kept.and(Some(dtype)).or(stored.filter(|d| *d != DType::F64)).unwrap_or(dtype);
                    all.copied += n * size.size_in_bytes();
                }
            }
        }
        // Rows that lie apart are gathered.
        for (_, name, source) in &plan.entries {
            let kept = placement.kept.map(Kept::dtype).or(store.dtype(name)).map_or(4, |d| d.size_in_bytes().min(4));
            match (&source.cut, source.layout) {
                (Cut::OfEach { groups, len, total, .. }, _) if *groups > 1 => {
                    all.copied += count(name) / total * len * kept
                }
                (_, Layout::HeadsOut(_)) => all.copied += count(name) * kept,
                _ => {}
            }
        }
        if processed {
            all.copied += all.numbers * DType::F32.size_in_bytes();
        }
        Ok(all)
    }
}

/// Where tensors are found by name.
pub(super) trait Store: Sync {
    /// The shape of a tensor, if there is one of this name.
    fn shape(&self, name: &str) -> Option<&[usize]>;
    /// What a tensor is stored in, if there is one of this name and it is of floating-point numbers.
    fn dtype(&self, name: &str) -> Option<DType>;
    /// All names.
    fn names(&self) -> impl Iterator<Item = &str>;
    /// What of a tensor's bytes does not lie in its file as it is read, and is gathered in memory.
    fn copied(&self, _name: &str) -> usize {
        0
    }
    /// How many bytes all files have together.
    fn size(&self) -> usize {
        0
    }
    /// Whether two tensors are there and hold the same values.
    fn same(&self, a: &str, b: &str) -> Result<bool>;
    /// A tensor that is there, checked.
    fn read(&self, name: &str) -> Result<Matrix>;
}

impl Store for HashMap<String, Tensor> {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.get(name).map(Tensor::dims)
    }

    fn dtype(&self, name: &str) -> Option<DType> {
        self.get(name).map(Tensor::dtype)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.keys().map(String::as_str)
    }

    fn same(&self, a: &str, b: &str) -> Result<bool> {
        let (Some(a), Some(b)) = (self.get(a), self.get(b)) else { return Ok(false) };
        Ok(a.dims() == b.dims() && a.ne(b)?.sum_all()?.to_scalar::<u8>()? == 0)
    }

    fn read(&self, name: &str) -> Result<Matrix> {
        Ok(self[name].clone().into())
    }
}

/// Which stored tensor serves which slot.
struct Plan {
    /// Slot, name in the files, and how it lies there.
    entries: Vec<(Slot, String, Source)>,
}

impl Plan {
    /// Finds every tensor that `spec` needs and refuses files that hold others.
    fn new(family: &Family, spec: &Spec, store: &impl Store) -> Result<Self> {
        let locate = |name: &str| {
            let mut names = family.prefixes.iter().map(|p| format!("{p}{name}")).chain([name.to_owned()]);
            names.find(|n| store.shape(n).is_some())
        };
        let source = |slot| {
            (family.source)(spec, slot).ok_or_else(|| {
                Error::compute(format!("the family {} has no name for {slot:?}", family.model_type)).fault()
            })
        };
        let unembed = (family.source)(spec, Slot::Unembed(Part::Weight));
        let twin = unembed.as_ref().filter(|_| spec.unembedding.tied).and_then(|s| locate(&s.name));
        let (mut entries, mut missing) = (vec![], vec![]);
        for (slot, shape) in slots(spec) {
            let source = source(slot)?;
            let tied = slot == Slot::Embed && locate(&source.name).is_none();
            // A tied pair is stored under either name.
            let other = || source.other_name.as_deref().and_then(locate);
            let Some(name) = locate(&source.name).or_else(other).or_else(|| twin.clone().filter(|_| tied)) else {
                let prefix = if matches!(slot, Slot::Unembed(_)) { "" } else { family.prefixes[0] };
                missing.push(format!("{prefix}{}", source.name));
                continue;
            };
            check_shape(&name, store.shape(&name).unwrap_or_default(), &source, &shape)?;
            entries.push((slot, name, source));
        }
        if let Some(first) = missing.first() {
            // Queries, keys and values may share one tensor.
            let others = match missing.iter().collect::<BTreeSet<_>>().len() {
                1 => String::new(),
                n => format!(", nor {} others that the config promises", n - 1),
            };
            return Err(Error::bad_model(format!("the weights have no tensor `{first}`{others}")).hint(match nearest(
                first,
                store.names(),
            ) {
                Some(near) => {
                    format!("the nearest name there is `{near}`; do config.json and the weights belong together?")
                }
                None => "do config.json and the weights belong together?".into(),
            }));
        }
        let plan = Self { entries };
        plan.refuse_repeated(store)?;
        plan.refuse_others(family, store, twin.as_deref())?;
        Ok(plan)
    }

    /// Refuses views that would take more memory than their files have: the same numbers again and again, which a file of a
    /// few bytes can ask for by the gigabyte.
    fn refuse_repeated(&self, store: &impl Store) -> Result<()> {
        let names: BTreeSet<&str> = self.entries.iter().map(|(_, name, _)| name.as_str()).collect();
        let copied = names.iter().map(|name| store.copied(name)).fold(0, usize::saturating_add);
        let Some(largest) = names.iter().max_by_key(|name| store.copied(name)) else { return Ok(()) };
        if copied <= store.size().saturating_add(MOST_REPEATED) {
            return Ok(());
        }
        Err(Error::bad_model(format!(
            "the weights take {copied} bytes in memory and are {} in their files: views such as `{largest}` repeat their numbers",
            store.size()
        ))
        .hint("save each tensor by itself: torch.save({k: v.contiguous().clone() for k, v in weights.items()}, file)"))
    }

    fn refuse_others(&self, family: &Family, store: &impl Store, twin: Option<&str>) -> Result<()> {
        let used: BTreeSet<&str> = self.entries.iter().map(|(_, name, _)| name.as_str()).collect();
        if let (Some(twin), Some((_, embed, _))) = (twin, self.entries.iter().find(|(slot, ..)| *slot == Slot::Embed))
            && twin != embed
            && !store.same(twin, embed)?
        {
            return Err(Error::bad_model(format!(
                "config.json says that embedding and unembedding are tied, but `{embed}` and `{twin}` differ"
            ))
            .hint("set `tie_word_embeddings` to false if both are meant"));
        }
        let others: Vec<&str> = (store.names())
            .filter(|n| !used.contains(n) && Some(*n) != twin && !family.buffers.iter().any(|b| n.ends_with(b)))
            .collect();
        match others[..] {
            [] => Ok(()),
            [first, ..] => Err(Error::bad_model(format!(
                "the weights have {} that this model does not use: `{first}`{}",
                if others.len() == 1 { "a tensor".into() } else { format!("{} tensors", others.len()) },
                if others.len() == 1 { "" } else { ", ..." }
            ))
            .hint("do config.json and the weights belong together? what is ignored could be what matters")),
        }
    }

    /// Reads every stored tensor once, and gives each slot its part; and which dtypes they were stored in.
    fn read(&self, store: &impl Store, kept: Option<Kept>) -> Result<(HashMap<Slot, Matrix>, Vec<DType>)> {
        let names: BTreeSet<&str> = self.entries.iter().map(|(_, name, _)| name.as_str()).collect();
        let read: Vec<(&str, Result<(Matrix, DType)>)> =
            names.into_par_iter().map(|name| (name, checked(store, name, kept))).collect();
        let (mut tensors, mut dtypes) = (HashMap::new(), vec![]);
        // In the order of names, so that of several refusals it is always the same one.
        for (name, tensor) in read {
            let (tensor, dtype) = tensor?;
            tensors.insert(name, tensor);
            if !dtypes.contains(&dtype) {
                dtypes.push(dtype);
            }
        }
        let parts = self.entries.iter().map(|(slot, name, source)| Ok((*slot, part(&tensors[name.as_str()], source)?)));
        Ok((parts.collect::<Result<_>>()?, dtypes))
    }
}

/// A stored tensor, kept in `kept`, and what it was stored in. What a trainer has in memory is taken as it is.
fn checked(store: &impl Store, name: &str, kept: Option<Kept>) -> Result<(Matrix, DType)> {
    let tensor = store.read(name)?;
    let dtype = tensor.dtype();
    let Matrix::Stored(numbers) = tensor else { return Ok((tensor, dtype)) };
    let which = |wrong: &Wrong, what: &str| match wrong.count {
        1 => format!("a number that is {what}: {} at {:?}", wrong.value, wrong.index),
        n => format!("{n} numbers that are {what}, the first of them {} at {:?}", wrong.value, wrong.index),
    };
    if let Some(wrong) = numbers.not_finite() {
        return Err(Error::bad_model(format!("the tensor `{name}` has {}", which(&wrong, "not finite"))).hint(
            "the file is damaged, or the training that wrote it diverged; fetch it again or take an earlier checkpoint",
        ));
    }
    let Some(kept) = kept else { return Ok((numbers.into(), dtype)) };
    let rounded = numbers.kept_in(kept).map_err(|wrong| {
        let what = format!("too large for {}", kept.name());
        Error::bad_input(format!("the tensor `{name}` has {}", which(&wrong, &what)))
            .hint(said("keep the weights as they are stored: {dtype=auto}"))
    })?;
    Ok((rounded.into(), dtype))
}

/// The slot's part of a stored tensor, linear maps turned to `[in, out]`. A view where its outputs lie together; gathered
/// where they are scattered over several runs.
fn part(stored: &Matrix, source: &Source) -> Result<Matrix> {
    let dims = stored.dims();
    let matrix = dims.len() == 2;
    let outputs = if matrix && source.layout == Layout::InOut { 1 } else { 0 };
    match (source.layout, dims) {
        (Layout::HeadsOut(_), &[h, d, e]) => return stored.transpose(0, 1)?.reshape(&[d, h * e]),
        (Layout::HeadsOut(_), &[h, e]) => return stored.reshape(&[h * e]),
        (Layout::HeadsIn(_), &[h, e, d]) => return stored.reshape(&[h * e, d]),
        _ => {}
    }
    let cut = match source.cut {
        Cut::Whole => stored.clone(),
        Cut::OfEach { groups: 1, start, len, .. } => stored.narrow(outputs, start, len)?,
        Cut::OfEach { groups, start, len, total } => {
            let mut apart = dims.to_vec();
            apart.splice(outputs..=outputs, [groups, total]);
            let mut together = dims.to_vec();
            together[outputs] = groups * len;
            stored.reshape(&apart)?.narrow(outputs + 1, start, len)?.reshape(&together)?
        }
    };
    if matrix && source.layout == Layout::OutIn { cut.t() } else { Ok(cut) }
}

/// Compares a stored shape with the one that a slot's canonical shape means in this layout.
fn check_shape(name: &str, stored: &[usize], source: &Source, canonical: &[usize]) -> Result<()> {
    let total = |n| match source.cut {
        Cut::Whole => n,
        Cut::OfEach { groups, total, .. } => groups * total,
    };
    let expected = match (canonical, source.layout) {
        (&[n], Layout::HeadsOut(heads)) => vec![heads, n / heads],
        (&[ins, outs], Layout::HeadsOut(heads)) => vec![heads, ins, outs / heads],
        (&[ins, outs], Layout::HeadsIn(heads)) => vec![heads, ins / heads, outs],
        (&[n], _) => vec![total(n)],
        (&[ins, outs], Layout::InOut) => vec![ins, total(outs)],
        (&[ins, outs], Layout::OutIn) => vec![total(outs), ins],
        _ => canonical.to_vec(),
    };
    if stored == expected {
        return Ok(());
    }
    Err(Error::bad_model(format!("the tensor `{name}` has shape {stored:?}, and config.json makes it {expected:?}"))
        .hint("do config.json and the weights belong together?"))
}
