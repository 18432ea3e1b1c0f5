//! What becomes of a patched value.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::budget::{Cut, Need};
use super::finite::check_prompts;
use super::options::{PatchOptions, Patching};
use super::{Change, How, Recorded};
use crate::error::{Error, Result, said};
use crate::hook::finite::all_finite;
use crate::hook::{Cache, HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::attention::Scoring;
use crate::ops::numbers;
use crate::text::{Pair, Prompt};

/// Which run is changed, and which gives the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Direction {
    /// The corrupt run gets values of the clean one: what is enough to bring the answer back?
    Denoise,
    /// The clean run gets values of the corrupt one: what is needed for the answer?
    Noise,
}

impl Direction {
    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Denoise => "denoise",
            Self::Noise => "noise",
        }
    }
}

/// What becomes of a patched value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// It is that of the other prompt (activation patching; Vig et al. 2020, Meng et al. 2022).
    Replace,
    /// It is zero.
    Zero,
    /// It is its mean over all positions of a dataset, or over the dataset's prompts at the same position.
    Mean {
        /// Position by position.
        by_position: bool,
    },
    /// It is that of a prompt of the dataset, at the same position: for each pair another, drawn with the seed from those
    /// that are long enough (resample ablation; Chan et al. 2022).
    Resample,
    /// Gaussian noise is added, so many deviations of the value itself (over the whole prompt) strong.
    Noise(f64),
    /// It is multiplied.
    Scale(f32),
    /// A vector, so many times, is added to it (activation steering; Turner et al. 2023); or a tensor of its own shape.
    Add(f64),
    /// The query does not see the key (attention knock-out; Geva et al. 2023): scores become minus infinity, and what is
    /// left of the pattern sums to one again.
    KnockOut,
}

impl Kind {
    /// The names of all, with what stands behind them.
    pub fn names() -> Vec<&'static str> {
        const NAMES: [&str; 9] = [
            "replace", "zero", "mean", "mean-by-position", "resample", "noise=DEVIATIONS", "scale=FACTOR",
            "add=FACTOR", "knock-out",
        ];
        NAMES.to_vec()
    }

    /// The kind that `text` names.
    ///
    /// # Errors
    /// When there is none of this name, with the nearest, or its number is none.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, number) = text.split_once('=').map_or((text, None), |(name, number)| (name, Some(number)));
        let number = || -> Result<f64> {
            let number = number.ok_or_else(|| {
                Error::bad_input(format!("`{name}` needs a number")).hint(format!("write {name}=1.5"))
            })?;
            let parsed = number.parse().ok().filter(|n: &f64| n.is_finite());
            parsed.ok_or_else(|| {
                Error::bad_input(format!("`{number}` is not a number")).hint(format!("write {name}=1.5"))
            })
        };
        Ok(match name {
            "replace" => Kind::Replace,
            "zero" => Kind::Zero,
            "mean" => Kind::Mean { by_position: false },
            "mean-by-position" => Kind::Mean { by_position: true },
            "resample" => Kind::Resample,
            "knock-out" => Kind::KnockOut,
            "noise" => Kind::Noise(strength(number()?)?),
            "scale" => Kind::Scale(number()? as f32).finite()?,
            "add" => Kind::Add(number()?),
            _ => {
                const NAMES: [&str; 9] =
                    ["replace", "zero", "mean", "mean-by-position", "resample", "noise", "scale", "add", "knock-out"];
                let e = Error::no_such(format!("there is no kind of patch `{name}`"));
                return Err(e.nearest_or(name, NAMES, format!("there are {}", NAMES.join(", "))));
            }
        })
    }

    /// Refuses numbers that are not finite.
    fn finite(self) -> Result<Self> {
        match &self {
            Kind::Scale(factor) if !factor.is_finite() => Err(self.too_large("the factor is not a finite f32")),
            Kind::Noise(sigma) => strength(*sigma).map(|_| self),
            _ => Ok(self),
        }
    }

    fn too_large(&self, what: &str) -> Error {
        Error::bad_input(format!("`{}`: {what}", self.name())).hint("f32 holds up to 3.4e38; use smaller numbers")
    }

    /// What [`Kind::Add`] adds of `vector`.
    ///
    /// # Errors
    /// When it has none, or numbers that are not finite.
    pub(super) fn added(&self, vector: Option<&Tensor>) -> Result<Option<Tensor>> {
        let Kind::Add(factor) = self else { return Ok(None) };
        let missing =
            || Error::bad_input("`add` needs a vector").hint(said("[give it with {vector=FILE}|use another {kind}]"));
        let added = (vector.ok_or_else(missing)? * *factor)?;
        match all_finite(&added)? {
            true => Ok(Some(added)),
            false => Err(self.too_large("what is added has numbers that are NaN or infinite")),
        }
    }

    /// The text that names it: what [`Kind::parse`] reads.
    pub fn name(&self) -> String {
        // Of a number the shorter of the two ways to write it.
        let number = |name: &str, short: String, long: String| {
            format!("{name}={}", if short.len() < long.len() { short } else { long })
        };
        match self {
            Kind::Replace => "replace".to_owned(),
            Kind::Zero => "zero".to_owned(),
            Kind::Mean { by_position: false } => "mean".to_owned(),
            Kind::Mean { by_position: true } => "mean-by-position".to_owned(),
            Kind::Resample => "resample".to_owned(),
            Kind::Noise(sigma) => number("noise", format!("{sigma:e}"), sigma.to_string()),
            Kind::Scale(factor) => number("scale", format!("{factor:e}"), factor.to_string()),
            Kind::Add(factor) => number("add", format!("{factor:e}"), factor.to_string()),
            Kind::KnockOut => "knock-out".to_owned(),
        }
    }

    /// Whether it takes the values of the pair's other prompt.
    pub fn needs_another_prompt(&self) -> bool {
        matches!(self, Kind::Replace)
    }

    /// Which run is changed where nobody says: the corrupt one by values of the clean one; the clean one by anything else, as
    /// ablations do it (Michel et al. 2019, Wang et al. 2022).
    pub fn usual_direction(&self) -> Direction {
        if self.needs_another_prompt() { Direction::Denoise } else { Direction::Noise }
    }

    /// Whether it takes values of a dataset.
    pub fn needs_a_dataset(&self) -> bool {
        matches!(self, Kind::Mean { .. } | Kind::Resample)
    }

    /// Whether something is drawn.
    pub fn is_random(&self) -> bool {
        matches!(self, Kind::Resample | Kind::Noise(_))
    }
}

/// Where replacement values come from.
pub(crate) struct Sources<'a> {
    pub kind: &'a Kind,
    pub seed: u64,
    /// What is added, where something is.
    added: Option<Tensor>,
    /// What each block's queries see.
    scoring: Vec<&'a Scoring>,
    /// Means over the dataset, where they are wanted.
    means: HashMap<HookPoint, Tensor>,
}

impl<'a> Sources<'a> {
    /// What the kind of `options` needs of the dataset at `points`, for the prompts of `pairs`.
    pub fn of(model: &'a Model, options: &'a PatchOptions, points: &[HookPoint], pairs: &[Pair]) -> Result<Self> {
        let PatchOptions { how: Patching { kind, seed, .. }, dataset, vector, .. } = options;
        if kind.needs_a_dataset() && dataset.is_empty() {
            return Err(Error::bad_input("this kind of patch takes values of a dataset, and none was given")
                .hint(said("[give prompts with {dataset=FILE}|give prompts to take them from]")));
        }
        let added = kind.clone().finite()?.added(vector.as_ref())?;
        let means = match kind {
            Kind::Mean { by_position } => {
                let (waves, _) = of_means(model, points, pairs, options);
                means(model, (dataset, waves.waves), points, by_position.then(|| longest(pairs)))?
            }
            _ => HashMap::new(),
        };
        let scoring = model.weights().blocks.iter().map(|block| &block.scoring).collect();
        Ok(Self { kind, seed: *seed, added, scoring, means })
    }

    /// What of the value of `point`, of the shape `dims`, is there: of scores and patterns, the keys that a query sees.
    fn there(&self, point: HookPoint, dims: &[usize]) -> Option<Vec<bool>> {
        let scoring = point.layer.and_then(|l| self.scoring.get(l)).filter(|_| point.site.per_sequence())?;
        let (heads, queries, keys) = (*dims.first()?, *dims.get(1)?, *dims.get(2)?);
        let sees = |q| (0..keys).map(move |k| scoring.visible(q, keys).contains(&k));
        Some((0..heads).flat_map(|_| 0..queries).flat_map(sees).collect())
    }

    /// `x`, zero where nothing is.
    fn only_there(&self, point: HookPoint, x: &Tensor) -> Result<Tensor> {
        let Some(there) = self.there(point, x.dims()) else { return Ok(x.clone()) };
        let x_flat = numbers(x)?;
        let kept = x_flat.iter().zip(&there).map(|(v, there)| if *there { *v } else { 0.0 }).collect();
        Ok(Tensor::from_vec(kept, x.shape(), &Device::Cpu)?)
    }

    /// Edges that are cut: one key of each query. Where it is the only one that the query sees, the edge stays: a query
    /// that sees nothing has no pattern.
    pub fn knocked_out(&self, changes: Vec<Change>, n: usize) -> Result<Vec<Change>> {
        let mut cut = vec![];
        for mut change in changes {
            let (Some(key), Some(scoring)) = (change.key_pos, change.point.layer.and_then(|l| self.scoring.get(l)))
            else {
                return Err(Error::bad_input("a query that sees no key at all has no pattern").hint(said(
                    "[knock out one key at a time: {over=layer,head,key_pos}, or {keys=3}|use another {kind}]",
                )));
            };
            let mut positions = change.positions.take().unwrap_or_else(|| (0..n).collect());
            positions.retain(|q| scoring.visible(*q, n) != (key..key + 1));
            change.positions = Some(positions);
            cut.push(change);
        }
        cut.retain(|change| change.positions.as_ref().is_some_and(|p| !p.is_empty()));
        Ok(cut)
    }

    /// What becomes of the value of `point`. `base` is the run that is changed, number `run` of the request; `donor` the one
    /// that gives values.
    pub fn how(&self, point: HookPoint, run: usize, base: &Recorded, donor: Option<&Recorded>) -> Result<How> {
        Ok(match self.kind {
            Kind::Replace | Kind::Resample => {
                let donor = donor.ok_or_else(|| {
                    Error::bad_input("to replace values, another prompt is needed")
                        .hint(said("[give {corrupt}|use another {kind}]"))
                })?;
                How::Put(donor.value(point)?.clone())
            }
            Kind::Zero => How::Fill(0.0),
            Kind::Mean { .. } => {
                let mean = self.means.get(&point);
                How::Put(mean.ok_or_else(|| Error::compute(format!("{point} has no mean")).fault())?.clone())
            }
            Kind::Noise(sigma) => {
                let value = base.value(point)?;
                let values = numbers(value)?;
                let deviation = match self.there(point, value.dims()) {
                    Some(there) => deviation(values.iter().zip(&there).filter(|(_, there)| **there).map(|(v, _)| *v)),
                    None => deviation(values.iter().copied()),
                };
                let noise = gaussian(self.seed, (run, point), values.len(), sigma * deviation);
                How::Add(self.only_there(point, &Tensor::from_vec(noise, value.shape(), &Device::Cpu)?)?)
            }
            Kind::Scale(factor) => How::Scale(*factor),
            Kind::Add(_) => {
                let vector = self.added.as_ref().ok_or_else(|| Error::compute("nothing is added").fault())?;
                // As large as the whole value: position by position.
                if vector.dims() == base.value(point)?.dims() {
                    return Ok(How::Add(self.only_there(point, vector)?));
                }
                let width = vector.elem_count();
                let dims = &base.value(point)?.dims()[1..];
                if dims.last() != Some(&width) || dims.len() > 1 {
                    return Err(Error::bad_input(format!(
                        "the vector has {width} numbers, and a position of {point} has the shape {dims:?}"
                    ))
                    .hint("add a vector as wide as the value"));
                }
                How::Add(vector.reshape((1, width))?)
            }
            Kind::KnockOut if point.site == Site::AttnScores => How::Fill(f32::NEG_INFINITY),
            Kind::KnockOut => {
                return Err(Error::bad_input(format!("{point} has no edges to knock out"))
                    .hint(said("[use {at=attn_scores}|use another {kind}; `pellucid patch` can, of `attn_scores`]")));
            }
        })
    }
}

/// How strong noise is: more than nothing.
///
/// # Errors
/// When it is not.
pub(super) fn strength(sigma: f64) -> Result<f64> {
    match sigma.is_finite() && sigma > 0.0 {
        true => Ok(sigma),
        false => {
            Err(Error::bad_input(format!("noise of {sigma} deviations is none"))
                .hint("say a number above 0, such as 3"))
        }
    }
}

/// Normal noise of deviation `sigma`: another for each run and point, the same whatever else is drawn.
pub(super) fn gaussian(seed: u64, (run, point): (usize, HookPoint), len: usize, sigma: f64) -> Vec<f32> {
    let mut key = blake3::Hasher::new();
    key.update(&seed.to_le_bytes()).update(&(run as u64).to_le_bytes()).update(point.to_string().as_bytes());
    let mut rng = ChaCha8Rng::from_seed(*key.finalize().as_bytes());
    (0..len).map(|_| (sigma * Distribution::<f64>::sample(&StandardNormal, &mut rng)) as f32).collect()
}

/// A number below `n`, another for each run.
pub(super) fn drawn(seed: u64, run: usize, n: usize) -> usize {
    below(b"prompt", seed, run, n)
}

/// A number below `n`, another for each purpose, seed and `i`.
fn below(what: &[u8], seed: u64, i: usize, n: usize) -> usize {
    let mut key = blake3::Hasher::new();
    key.update(what).update(&seed.to_le_bytes()).update(&(i as u64).to_le_bytes());
    let bytes: [u8; 8] = key.finalize().as_bytes()[..8].try_into().unwrap_or_default();
    // The bias of a remainder of 64 bits is nothing.
    (u64::from_le_bytes(bytes) % n as u64) as usize
}

/// `n` of the numbers below `all`, or as many as there are, each set of them as likely as any other.
pub(super) fn several(seed: u64, n: usize, all: usize) -> BTreeSet<usize> {
    // Floyd's way: where a number is there already, the last one that could not be before is not.
    let mut chosen = BTreeSet::new();
    for last in all.saturating_sub(n)..all {
        let one = below(b"verify", seed, last, last + 1);
        if !chosen.insert(one) {
            chosen.insert(last);
        }
    }
    chosen
}

/// Standard deviation of all numbers.
pub(super) fn deviation(x: impl Iterator<Item = f32> + Clone) -> f64 {
    let n = x.clone().count().max(1) as f64;
    let mean = x.clone().map(f64::from).sum::<f64>() / n;
    (x.map(|v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// The mean of each point's rows over the dataset, `[1, ..]`; or position by position, `[positions, ..]`.
fn means(
    model: &Model,
    (dataset, waves): (&[Prompt], Vec<Range<usize>>),
    points: &[HookPoint],
    positions: Option<usize>,
) -> Result<HashMap<HookPoint, Tensor>> {
    if let Some(point) = points.iter().find(|p| p.site.per_sequence()) {
        return Err(Error::bad_input(format!("{point} has no mean: each prompt has keys of its own"))
            .hint(said("[use {kind=zero} or resample|choose other values]")));
    }
    if let Some(n) = positions
        && !dataset.iter().any(|p| p.tokens.len() >= n)
    {
        let longest = dataset.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
        return Err(Error::bad_input(format!(
            "the prompts have up to {n} positions, and the longest of the dataset has {longest}"
        ))
        .hint(said("give longer prompts[, or use {kind=mean} over all positions|]")));
    }
    let rows = positions.unwrap_or(1);
    let mut counts = vec![0usize; rows];
    let mut sums: HashMap<HookPoint, (Vec<usize>, Vec<f64>)> = HashMap::new();
    for wave in waves {
        let mut cache = Cache::of(points.iter().copied());
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        let prompts = &dataset[wave];
        let out = model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &run, &mut [&mut cache])?;
        check_prompts(model, prompts, &out, " of the dataset")?;
        let at: Vec<Option<usize>> =
            out.rows.positions().map(|p| positions.map_or(Some(0), |n| (p < n).then_some(p))).collect();
        at.iter().flatten().for_each(|row| counts[*row] += 1);
        for (point, values) in cache.iter() {
            let value = &values[0];
            let width = value.elem_count() / value.dim(0)?;
            let (_, sum) = sums.entry(point).or_insert_with(|| (value.dims().to_vec(), vec![0.0; rows * width]));
            for (row, numbers) in
                at.iter().zip(numbers(value)?.chunks_exact(width)).filter_map(|(at, x)| Some(((*at)?, x)))
            {
                sum[row * width..(row + 1) * width].iter_mut().zip(numbers).for_each(|(s, v)| *s += f64::from(*v));
            }
        }
    }
    (sums.into_iter())
        .map(|(point, (mut dims, sum))| {
            dims[0] = rows;
            let width = sum.len() / rows;
            let mean = sum.iter().enumerate().map(|(i, s)| (s / counts[i / width] as f64) as f32).collect();
            Ok((point, Tensor::from_vec(mean, dims, &Device::Cpu)?))
        })
        .collect()
}

/// `need` of a sweep of `pairs`, and what the means over its dataset need: while they are made, and
/// from then on.
pub(crate) fn with_means(
    model: &Model,
    points: &[HookPoint],
    pairs: &[Pair],
    options: &PatchOptions,
    need: Need,
) -> Need {
    let Kind::Mean { .. } = options.how.kind else { return need };
    let (making, means) = of_means(model, points, pairs, options);
    Need { activations: need.activations + means, least: need.least + means, ..need }.or(making.need)
}

/// How the dataset is cut while its means are made, and the bytes of the means themselves.
fn of_means(model: &Model, points: &[HookPoint], pairs: &[Pair], options: &PatchOptions) -> (Cut, usize) {
    let by_position = matches!(options.how.kind, Kind::Mean { by_position: true });
    let numbers: usize = points.iter().map(|p| width(model, *p)).sum();
    let rows = if by_position { longest(pairs) } else { 1 };
    // Sums in f64, and what is made of them.
    let (sums, means) = (numbers * rows * size_of::<f64>(), numbers * rows * size_of::<f32>());
    let kept = size_of::<f32>() * numbers;
    (options.budget.prompts(model.spec(), &options.dataset, kept, sums + means), means)
}

/// Positions of the longest run.
fn longest(pairs: &[Pair]) -> usize {
    pairs.iter().map(Pair::text_len).max().unwrap_or(0)
}

fn width(model: &Model, point: HookPoint) -> usize {
    point.shape(model.spec(), 1).iter().product()
}
