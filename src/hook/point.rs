//! Names of hook points: writing them, parsing them, and patterns that select many.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use super::site::{SITES, Scope, Site};
use crate::arch::Spec;
use crate::arch::spec::Block;
use crate::error::{Error, Result, said, words};
use crate::range::{self, Interval};

/// A site in a place: `blocks.3.attn.hook_z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HookPoint {
    /// The block, where the site is one of a block.
    pub layer: Option<usize>,
    /// The expert of that block, where the site is one of an expert.
    pub expert: Option<usize>,
    /// The site.
    pub site: Site,
}

/// The order of the forward pass within a layer, in which one expert comes after another.
impl Ord for HookPoint {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |p: &HookPoint| (p.layer, p.expert.map_or(p.site, |_| FIRST_OF_EXPERT), p.expert, p.site);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for HookPoint {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

const FIRST_OF_EXPERT: Site = Site::ExpertGate;

impl HookPoint {
    /// The shape of its value, where `n` is the length of each axis that depends on the batch: rows, queries and keys.
    pub fn shape(&self, spec: &Spec, n: usize) -> Vec<usize> {
        self.site.info().axes.iter().map(|a| Site::axis_len(spec, self.layer, *a).unwrap_or(n)).collect()
    }

    /// A point outside the blocks.
    pub fn global(site: Site) -> Self {
        Self { layer: None, expert: None, site }
    }

    /// A point in block `layer`.
    pub fn block(layer: usize, site: Site) -> Self {
        Self { layer: Some(layer), expert: None, site }
    }

    /// A point in expert `expert` of block `layer`.
    pub fn expert(layer: usize, expert: usize, site: Site) -> Self {
        Self { layer: Some(layer), expert: Some(expert), site }
    }

    /// Every point of a model, in the order in which the forward pass makes them.
    pub fn all(spec: &Spec) -> Vec<HookPoint> {
        let of = |scope: Scope| SITES.iter().filter(move |s| s.scope == scope).map(|s| s.site);
        let start = of(Scope::Start).map(Self::global);
        let blocks = (0..spec.n_layers()).flat_map(|l| Self::all_of_block(spec, l));
        let end = of(Scope::End).map(Self::global);
        start.chain(blocks).chain(end).filter(|p| p.site.exists(spec, p.layer)).collect()
    }

    fn all_of_block(spec: &Spec, layer: usize) -> Vec<HookPoint> {
        let experts = spec.blocks[layer].mlp.as_ref().and_then(|m| m.inner.experts()).map_or(0, |e| e.n_experts);
        let mut points = vec![];
        for info in SITES.iter().filter(|s| s.scope == Scope::Block || s.site == FIRST_OF_EXPERT) {
            if info.scope == Scope::Block {
                points.push(Self::block(layer, info.site));
                continue;
            }
            // All sites of an expert, then those of the next.
            for e in 0..experts {
                let sites = SITES.iter().filter(|s| s.scope == Scope::Expert);
                points.extend(sites.map(|s| Self::expert(layer, e, s.site)));
            }
        }
        points
    }

    /// The name; inside a block, what follows `blocks.{l}.`.
    fn name(&self) -> Cow<'static, str> {
        let name = self.site.info().name;
        self.expert.map_or(name.into(), |e| name.replace("{e}", &e.to_string()).into())
    }

    /// The one point that `name` means in this model.
    ///
    /// # Errors
    /// When it means none, with the nearest name, or several.
    pub fn parse(spec: &Spec, name: &str) -> Result<HookPoint> {
        match select(spec, name)?[..] {
            [point] => Ok(point),
            ref many => Err(Error::bad_input(format!("`{name}` means {} hooks, and one is wanted here", many.len()))
                .hint(format!("name one, such as `{}`", many[0]))),
        }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "blocks.{layer}.{}", self.name()),
            None => f.write_str(&self.name()),
        }
    }
}

/// The points of this model that a pattern means, in the order of the forward pass.
///
/// A pattern is a comma-separated list of names. `*` stands for any layer or any part of a name, `4-8` for a range of
/// layers, and short forms for a site in every layer: `resid_pre`, `z`, `mlp.post`, `experts.3.post`, `experts.0-7.post`, `experts.*.post`.
///
/// ```
/// # let (_, spec) = pellucid::arch::family::read_config(r#"{"model_type": "gpt2", "n_embd": 8, "n_head": 2,
/// #   "n_layer": 3, "n_positions": 16, "vocab_size": 10}"#)?;
/// use pellucid::hook::select;
/// let names = |pattern| select(&spec, pattern).map(|points| points.iter().map(|p| p.to_string()).collect::<Vec<_>>());
/// assert_eq!(names("blocks.1-2.attn.hook_z")?, ["blocks.1.attn.hook_z", "blocks.2.attn.hook_z"]);
/// assert_eq!(names("resid_mid")?.len(), 3);
/// assert_eq!(names("hook_embed,ln_final.*")?.len(), 4);
/// assert_eq!(names("blocks.0.hook_resid_pst").unwrap_err().hint_text(), Some("did you mean `blocks.0.hook_resid_post`?"));
/// # Ok::<(), pellucid::Error>(())
/// ```
///
/// # Errors
/// When a part selects nothing in this model, with the nearest name; when a range ends past the last layer or expert.
pub fn select(spec: &Spec, pattern: &str) -> Result<Vec<HookPoint>> {
    let all = HookPoint::all(spec);
    let mut chosen = vec![false; all.len()];
    let parts = pattern.split(',').map(str::trim).filter(|p| !p.is_empty());
    let mut any = false;
    for part in parts {
        any = true;
        check_ranges(spec, part)?;
        let mut hit = false;
        for (point, chosen) in all.iter().zip(&mut chosen) {
            if matches(part, point) {
                (*chosen, hit) = (true, true);
            }
        }
        if !hit {
            return Err(unknown(spec, part, &all));
        }
    }
    if !any {
        return Err(Error::bad_input("no hook was named").hint("try `resid_post`, or `pellucid hooks` for all names"));
    }
    Ok(all.into_iter().zip(chosen).filter_map(|(p, chosen)| chosen.then_some(p)).collect())
}

/// The points of [`select`] that are in these layers, or in no layer at all; without any, all of them.
///
/// # Errors
/// As [`select`]; when a layer is not there, or none of them has such a point.
pub fn select_in(spec: &Spec, pattern: &str, layers: Option<&[Interval]>) -> Result<Vec<HookPoint>> {
    let mut points = select(spec, pattern)?;
    if let Some(chosen) = layers {
        range::layers_of(chosen, spec.n_layers())?;
        points.retain(|point| point.layer.is_none_or(|layer| range::has(layers, layer)));
    }
    match points.is_empty() {
        true => Err(Error::bad_input(format!("no layer that was chosen has `{pattern}`")).hint("choose other layers")),
        false => Ok(points),
    }
}

/// Refuses ranges of layers and experts that go past the end, as a single number there is refused: whoever writes `2-9` of four
/// layers thinks of another model.
fn check_ranges(spec: &Spec, part: &str) -> Result<()> {
    let experts = |block: &Block| block.mlp.as_ref().and_then(|m| m.inner.experts()).map_or(0, |e| e.n_experts);
    let most = spec.blocks.iter().map(experts).max().unwrap_or(0);
    let layers = part.strip_prefix("blocks.").map(|rest| ("layer", rest, spec.n_layers()));
    let experts = part.split_once("experts.").map(|(_, rest)| ("expert", rest, most));
    for (what, rest, n) in layers.into_iter().chain(experts).filter(|(.., n)| *n > 0) {
        let numbers = rest.split('.').next().unwrap_or_default();
        let Some((from, to)) = Interval::read(numbers).map(Interval::ends).filter(|(from, to)| from != to) else {
            continue;
        };
        if from < 0 || to < 0 {
            return Err(Error::bad_input(format!(
                "{numbers} in `{part}` is counted from the end, which only positions are"
            ))
            .hint(format!("write {what}s from 0, such as 0-{}", n - 1)));
        }
        if from > to {
            return Err(Error::bad_input(format!("{numbers} in `{part}` ends before it begins"))
                .hint(format!("write it as {to}-{from}")));
        }
        if to as usize >= n {
            return Err(Error::no_such(format!(
                "there are {n} {what}s (0-{}), and {numbers} in `{part}` ends at {to}",
                n - 1
            ))
            .hint(if (from as usize) < n {
                format!("the last range is {from}-{}", n - 1)
            } else {
                format!("{what}s are counted from 0")
            }));
        }
    }
    Ok(())
}

fn matches(pattern: &str, point: &HookPoint) -> bool {
    let name = &*point.name();
    let pattern = &*point.expert.map_or(pattern.into(), |e| numbered(pattern, e));
    match (pattern.strip_prefix("blocks."), point.layer) {
        (Some(rest), Some(layer)) => {
            let Some((layers, site)) = rest.split_once('.') else { return rest == "*" };
            layer_matches(layers, layer) && (glob(site, name) || glob(site, &name.replace("hook_", "")))
        }
        (Some(_), None) => false,
        (None, _) => is_short(pattern, name) || (pattern == "*") || (point.layer.is_none() && glob(pattern, name)),
    }
}

/// Short forms: the name without `hook_`, with or without the module before it where that is unambiguous.
fn is_short(pattern: &str, name: &str) -> bool {
    let short = name.replace("hook_", "");
    let bare = short.strip_prefix("attn.").or(short.strip_prefix("mlp.")).unwrap_or(&short);
    if bare.starts_with("experts.") {
        // Which expert may be left open; what else could be is said by the longer forms.
        let of_experts = pattern.starts_with("experts.") || pattern.starts_with("mlp.experts.");
        return of_experts && (glob(pattern, &short) || glob(pattern, bare));
    }
    // "pre" and "post" alone read like the stream's; the stream's have names of their own.
    pattern == short || (pattern == bare && !matches!(bare, "pre" | "post"))
}

/// The pattern for expert `e`: its number in place of a range of experts that holds it.
fn numbered(pattern: &str, e: usize) -> Cow<'_, str> {
    let range = || {
        let (before, rest) = pattern.split_once("experts.")?;
        let (numbers, after) = rest.split_once('.')?;
        Interval::read(numbers)?.has(e).then(|| format!("{before}experts.{e}.{after}"))
    };
    range().map_or(pattern.into(), Cow::from)
}

fn layer_matches(pattern: &str, layer: usize) -> bool {
    pattern == "*" || Interval::read(pattern).is_some_and(|layers| layers.has(layer))
}

/// Whether `text` fits `pattern`, in which `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut left) = text.strip_prefix(head).and_then(|text| text.strip_suffix(tail)) else { return false };
    // What is between two stars is taken where it first comes: that leaves most for the others, and nothing is tried twice.
    middle.split('*').all(|part| match left.find(part) {
        Some(at) => {
            left = &left[at + part.len()..];
            true
        }
        None => false,
    })
}

/// What to do about a hook that a model has not.
pub(super) const LISTED: &str = "`pellucid hooks` with {model=MODEL} lists what it has";

fn unknown(spec: &Spec, pattern: &str, all: &[HookPoint]) -> Error {
    let error = Error::no_such(format!("this model has no hook `{pattern}`"));
    // A name that other models have deserves a better answer than the nearest spelling.
    if SITES.iter().any(|s| pattern.ends_with(s.name) || is_short(pattern, s.name)) {
        let layers = format!("it has {} layers (0-{}); ", spec.n_layers(), spec.n_layers() - 1);
        return error.hint(words(layers) + said(LISTED));
    }
    if let Some(meant) = elsewhere(pattern, all) {
        return error.nearest_or(&meant, [&*meant], said(LISTED));
    }
    let names: Vec<String> = all.iter().flat_map(|p| [p.to_string(), p.site.short()]).collect();
    error.nearest_or(pattern, names.iter().map(String::as_str), said(LISTED))
}

/// What a name means that has the right end and a wrong beginning: `z` for `hook_z`, `blocks.0.attn.hook_z` for `blocks.0.hook_z`.
fn elsewhere(pattern: &str, all: &[HookPoint]) -> Option<String> {
    let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().trim_start_matches("hook_").to_owned();
    let wanted = bare(pattern);
    let point = all.iter().find(|point| !wanted.is_empty() && bare(&point.site.short()) == wanted)?;
    let layers = pattern.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')).map(|(layers, _)| layers);
    match layers.zip(point.layer) {
        Some((layers, _)) => Some(format!("blocks.{layers}.{}", point.name())),
        None if is_short(&wanted, &point.name()) => Some(wanted),
        None => Some(point.site.short()),
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    /// Every way to split, one after another: its time doubles with each star.
    fn naive(pattern: &str, text: &str) -> bool {
        match pattern.split_once('*') {
            None => pattern == text,
            Some((head, tail)) => {
                text.strip_prefix(head).is_some_and(|rest| (0..=rest.len()).any(|i| naive(tail, &rest[i..])))
            }
        }
    }

    /// All words of at most `most` of these letters.
    fn words(letters: &str, most: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..most {
            let to = all.len();
            let longer: Vec<_> =
                all[from..].iter().flat_map(|word| letters.chars().map(move |c| format!("{word}{c}"))).collect();
            all.extend(longer);
            from = to;
        }
        all
    }

    #[test]
    fn stars_match_what_every_way_to_split_would() {
        let texts = words("ab", 5);
        for pattern in words("ab*", 5) {
            for text in &texts {
                assert_eq!(glob(&pattern, text), naive(&pattern, text), "{pattern} {text}");
            }
        }
        let stars = "*".repeat(10_000);
        assert!(glob(&format!("{stars}z"), "attn.hook_z") && !glob(&format!("{stars}VM"), "attn.hook_result"));
    }
}
