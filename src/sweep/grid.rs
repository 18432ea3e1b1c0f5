//! What a sweep patches: its places, one for each choice of layer, head, neuron and position.

use serde::{Deserialize, Serialize};

use super::align::{Align, Label};
use super::{Change, How};
use crate::arch::Spec;
use crate::error::{Error, Result, either, leave_out_all, said, words};
use crate::hook::site::{Axis, Site};
use crate::hook::{HookPoint, select_in};
use crate::range::{self, Interval, among, positions_of};
use crate::text::Pair;

/// An axis of the grid. What is not swept is patched all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Over {
    /// Block by block.
    Layer,
    /// Position by position: of the queries, for scores and patterns.
    Pos,
    /// Head by head: key/value head for keys and values.
    Head,
    /// Neuron by neuron.
    Neuron,
    /// Of scores and patterns, key by key.
    KeyPos,
}

impl Over {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Pos => "pos",
            Self::Head => "head",
            Self::Neuron => "neuron",
            Self::KeyPos => "key_pos",
        }
    }

    /// The names of all.
    pub fn names() -> Vec<&'static str> {
        [Self::Layer, Self::Pos, Self::Head, Self::Neuron, Self::KeyPos].map(Self::name).to_vec()
    }

    /// The axis of this name.
    ///
    /// # Errors
    /// When there is none, with the nearest.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "layer" => Self::Layer,
            "pos" | "query_pos" => Self::Pos,
            "head" | "kv_head" => Self::Head,
            "neuron" => Self::Neuron,
            "key_pos" => Self::KeyPos,
            _ => {
                let e = Error::no_such(format!("a sweep does not go over `{name}`"));
                return Err(e.nearest_or(
                    name,
                    ["layer", "pos", "head", "neuron", "key_pos", "query_pos"],
                    "it goes over any of layer, pos, head, neuron, query_pos, key_pos",
                ));
            }
        })
    }
}

/// Which patches are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Grid {
    /// Which values to patch: resid_pre, resid_mid, resid_post, attn_out, mlp_out, q, k, v, z, pattern, attn_scores,
    /// mlp.post, hook_embed, or a pattern of hook names
    #[cfg_attr(feature = "cli", arg(long, default_value_t = Grid::default().at, value_name = "HOOKS", visible_alias = "hooks"))]
    pub at: String,
    /// What to go over: any of layer, pos, head, neuron, query_pos, key_pos. The rest is patched all at once
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value = "layer,pos", value_name = "AXES", value_delimiter = ',', value_parser = Over::parse)
    )]
    pub over: Vec<Over>,
    /// Which of the places.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub only: Only,
    /// Only these keys, of scores and patterns, such as 0,3-5,-1; negative ones count from the end
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Interval::parse, allow_hyphen_values = true)
    )]
    pub keys: Option<Vec<Interval>>,
    /// Patch all sites of a layer together, in one run
    #[cfg_attr(feature = "cli", arg(long))]
    pub together: bool,
    /// Patch keys and values as one query head sees them, where several share a key/value head: heads are query heads then,
    /// and the others that read the same key/value head see what they saw
    #[cfg_attr(feature = "cli", arg(long))]
    pub per_query_head: bool,
    /// Patch so many neighbouring layers at once, around each
    // 1 for the layer alone; Meng et al. 2022 restore ten.
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "N", default_value_t = 1, value_parser = super::at_least_one)
    )]
    pub window: usize,
    /// How positions of different pairs are matched: the pairs say it.
    #[serde(skip)]
    #[cfg_attr(feature = "cli", arg(skip))]
    pub align: Align,
}

/// Which of the places of a sweep: all of them, unless some are named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Only {
    /// Only these layers, such as 0-2,5
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = Interval::from_zero))]
    pub layers: Option<Vec<Interval>>,
    /// Only these heads, such as 0-2,5 (of keys and values: key/value heads)
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "HEADS", value_delimiter = ',', value_parser = Interval::from_zero))]
    pub heads: Option<Vec<Interval>>,
    /// Only these neurons, such as 0-99,512
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "NEURONS", value_delimiter = ',', value_parser = Interval::from_zero))]
    pub neurons: Option<Vec<Interval>>,
    /// Only these positions, such as 0,3-5,-1; negative ones count from the end, and 3--1 goes up to it
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Interval::parse, allow_hyphen_values = true)
    )]
    pub pos: Option<Vec<Interval>>,
}

impl Grid {
    /// The places of `at`, hook names or patterns as [`select`] reads them, one for each choice along these axes.
    pub fn of(at: &str, over: &[Over]) -> Self {
        Self { at: at.to_owned(), over: over.to_vec(), ..Self::default() }
    }
}

impl Default for Grid {
    /// The stream before each block, layer by layer and position by position.
    fn default() -> Self {
        Self {
            at: "resid_pre".into(),
            over: vec![Over::Layer, Over::Pos],
            only: Only::default(),
            keys: None,
            together: false,
            per_query_head: false,
            window: 1,
            align: Align::default(),
        }
    }
}

/// One place in the grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Which value; the first where several are patched together.
    pub site: Site,
    /// In which block, where layers are swept; the middle of the window.
    pub layer: Option<usize>,
    /// All points that are patched together.
    pub points: Vec<HookPoint>,
    /// In which head.
    pub head: Option<usize>,
    /// Of keys and values as one query head sees them: `head` is that query head, one of so many that share a key/value head.
    pub shared_by: Option<usize>,
    /// Which neuron.
    pub neuron: Option<usize>,
    /// At which position.
    pub pos: Option<usize>,
    /// For which key.
    pub key_pos: Option<usize>,
    /// What `pos` and `key_pos` are called.
    pub(super) labels: [Label; 2],
    /// The positions that are patched where they are not swept and only some are.
    together: Option<Vec<usize>>,
}

impl Spot {
    /// The site's short name; where several are patched together, all of them.
    pub fn name(&self) -> String {
        let mut sites: Vec<Site> = self.points.iter().map(|p| p.site).collect();
        sites.sort_unstable();
        sites.dedup();
        sites.iter().map(|site| site.short()).collect::<Vec<_>>().join("+")
    }

    /// The patch of one part of one value.
    pub(crate) fn of(point: HookPoint, pos: usize) -> Self {
        Self {
            site: point.site,
            layer: point.layer,
            points: vec![point],
            head: None,
            shared_by: None,
            neuron: None,
            pos: Some(pos),
            key_pos: None,
            labels: Default::default(),
            together: None,
        }
    }

    /// The same patch under each name that its positions have in `pair`: none where `align` goes by names and they have none.
    pub(crate) fn called(&self, pair: &Pair, align: Align) -> Vec<Self> {
        let named: Vec<usize> = pair.positions.iter().map(|named| named.at).collect();
        let keys = align.labels(self.key_pos, &named);
        let both = align.labels(self.pos, &named).into_iter().flat_map(|pos| keys.iter().map(move |key| [pos, *key]));
        both.map(|labels| Self { labels, ..self.clone() }).collect()
    }

    /// What its position and its key are called in `pair`, apart from their numbers.
    pub(crate) fn position_names(&self, pair: &Pair) -> [Option<String>; 2] {
        [self.labels[0].name(pair, self.pos), self.labels[1].name(pair, self.key_pos)]
    }

    /// The positions that are patched of a prompt of `n`.
    pub fn positions(&self, n: usize) -> Vec<usize> {
        match (self.pos, &self.together) {
            (Some(pos), _) => vec![pos],
            (None, Some(together)) => together.clone(),
            (None, None) => (0..n).collect(),
        }
    }

    /// The changes of this patch; `how` says for each point what becomes of it.
    ///
    /// # Errors
    /// Whatever `how` says.
    pub fn changes(&self, how: impl Fn(HookPoint) -> Result<How>) -> Result<Vec<Change>> {
        (self.points.iter())
            .map(|point| {
                let positions = self.pos.map(|p| vec![p]).or_else(|| self.together.clone());
                let (head, neuron, key_pos) = (self.head_of(point.site), self.neuron, self.key_pos);
                Ok(Change { positions, head, neuron, key_pos, ..Change::new(*point, how(*point)?) })
            })
            .collect()
    }
}

impl Grid {
    /// The points whose values are patched, in the order of the forward pass.
    ///
    /// # Errors
    /// When a name means nothing in this model, nothing is left, or a site cannot be patched.
    pub fn points(&self, spec: &Spec) -> Result<Vec<HookPoint>> {
        let points = select_in(spec, &self.at, self.only.layers.as_deref())?;
        for point in &points {
            Change::new(*point, How::Fill(0.0)).check(spec, 1)?;
        }
        Ok(points)
    }

    /// Every patch of a pair's prompts.
    ///
    /// # Errors
    /// As [`Grid::spots`]; and when positions go by names, and other positions are chosen or the pair names none.
    pub fn spots_of(&self, spec: &Spec, pair: &Pair) -> Result<Vec<Spot>> {
        if self.align == Align::Named {
            if self.only.pos.is_some() || self.keys.is_some() {
                return Err(Error::bad_input("positions are chosen both by number and by name").hint("choose by one"));
            }
            if pair.positions.is_empty() {
                return Err(Error::bad_input(format!("pair \"{}\" names no position", pair.id))
                    .hint(said("name positions[ with {positions}|]")));
            }
        }
        let named: Vec<usize> = pair.positions.iter().map(|named| named.at).collect();
        self.spots_at(spec, pair.clean.tokens.len(), &named)
    }

    /// Every patch of a prompt of `n` positions, which have no names.
    ///
    /// # Errors
    /// As [`Grid::points`]; and when a swept axis is no axis of a site, or a chosen head, neuron or position is not
    /// there.
    pub fn spots(&self, spec: &Spec, n: usize) -> Result<Vec<Spot>> {
        self.spots_at(spec, n, &[])
    }

    /// Every patch of a prompt of `n` positions, of which those of `named` have names.
    fn spots_at(&self, spec: &Spec, n: usize, named: &[usize]) -> Result<Vec<Spot>> {
        let points = self.points(spec)?;
        let positions = match self.align {
            Align::Named => {
                let mut positions = named.to_vec();
                positions.sort_unstable();
                positions.dedup();
                Some(positions)
            }
            _ => self.only.pos.as_ref().map(|p| positions_of("the prompt", p, n)).transpose()?,
        };
        let mut sites: Vec<Site> = points.iter().map(|p| p.site).collect();
        sites.dedup();
        sites.sort_unstable();
        sites.dedup();
        if self.together {
            sites.truncate(1);
        }
        self.check_query_heads(spec, &points)?;
        let mut spots = vec![];
        for site in sites {
            let own = |p: &HookPoint| self.together || p.site == site;
            let of_site: Vec<HookPoint> = points.iter().copied().filter(own).collect();
            let groups: Vec<(Option<usize>, Vec<HookPoint>)> = match of_site[0].layer {
                Some(_) if self.over.contains(&Over::Layer) => {
                    let mut first: Vec<HookPoint> = of_site.iter().filter(|p| p.site == site).copied().collect();
                    // A layer's experts are patched together: each row goes through some of them.
                    first.dedup_by_key(|p| p.layer);
                    first.into_iter().map(|p| (p.layer, window(&of_site, p, self.window))).collect()
                }
                _ => vec![(None, of_site)],
            };
            for (layer, points) in groups {
                let axes = Axes::of(self, spec, points[0], n, (positions.as_deref(), named))?;
                let of_kv = points.iter().find(|p| self.per_query_head && p.site.has(Axis::G));
                let shared_by = of_kv.and_then(|p| spec.blocks.get(p.layer?)).map(|b| b.attention.inner.shared_by());
                for head in &axes.heads {
                    for neuron in &axes.neurons {
                        for (pos, label) in &axes.positions {
                            for (key_pos, key_label) in &axes.keys {
                                spots.push(Spot {
                                    site,
                                    layer,
                                    points: points.clone(),
                                    head: *head,
                                    shared_by,
                                    neuron: *neuron,
                                    pos: *pos,
                                    key_pos: *key_pos,
                                    labels: [*label, *key_label],
                                    together: if pos.is_none() { positions.clone() } else { None },
                                });
                            }
                        }
                    }
                }
            }
        }
        Ok(spots)
    }
}

/// The values of each swept axis at one site; a single `None` where all is patched at once.
struct Axes {
    heads: Vec<Option<usize>>,
    neurons: Vec<Option<usize>>,
    positions: Vec<(Option<usize>, Label)>,
    keys: Vec<(Option<usize>, Label)>,
}

impl Axes {
    /// `positions` are those that are chosen, and those that have names.
    fn of(
        grid: &Grid,
        spec: &Spec,
        point: HookPoint,
        n: usize,
        (positions, named): (Option<&[usize]>, &[usize]),
    ) -> Result<Self> {
        let axes = point.site.info().axes;
        let len = |wanted: &[Axis]| {
            let axis = axes.iter().find(|a| wanted.contains(a))?;
            let axis = if grid.per_query_head && *axis == Axis::G { Axis::H } else { *axis };
            Site::axis_len(spec, point.layer, axis)
        };
        let none = |over: Over, is_chosen: bool| {
            let (what, option) = match over {
                Over::Layer => ("layers", "layers"),
                Over::Pos => ("positions", "pos"),
                Over::Head => ("heads", "heads"),
                Over::Neuron => ("neurons", "neurons"),
                Over::KeyPos => ("keys", "keys"),
            };
            let e = Error::bad_input(format!("{point} has no {what} to go over"));
            Err(match is_chosen {
                true => e.hint(words("leave out ") + leave_out_all(option) + ", or patch another site"),
                false => {
                    let out_of = words(format!("leave `{}` out of ", over.name()));
                    e.hint(either([out_of + said("{over}, or patch another site"), words("choose another site")]))
                }
            })
        };
        let each = |over: Over, n: Option<usize>, chosen: Option<&[Interval]>| match (n, chosen) {
            (None, None) if !grid.over.contains(&over) => Ok(vec![None]),
            (None, _) => none(over, chosen.is_some()),
            // Keys are positions of the prompt.
            (Some(n), Some(chosen)) if over == Over::KeyPos => {
                Ok(positions_of("the prompt", chosen, n)?.into_iter().map(Some).collect())
            }
            (Some(n), Some(chosen)) => match among(chosen, n) {
                Err(i) => {
                    Err(Error::no_such(format!("{point} has {n} {}s (0-{}), and {i} is not one", over.name(), n - 1))
                        .hint(format!("{}s are counted from 0", over.name())))
                }
                Ok(chosen) => Ok(chosen.into_iter().map(Some).collect()),
            },
            (Some(n), None) if grid.over.contains(&over) => Ok((0..n).map(Some).collect()),
            (Some(_), None) => Ok(vec![None]),
        };
        let keys = point.site.per_sequence().then_some(n);
        Ok(Self {
            heads: each(Over::Head, len(&[Axis::H, Axis::G]), grid.only.heads.as_deref())?,
            neurons: each(Over::Neuron, len(&[Axis::M]), grid.only.neurons.as_deref())?,
            keys: match each(Over::KeyPos, keys, grid.keys.as_deref())? {
                all if all == [None] => vec![(None, Label::None)],
                some => grid.align.labelled(some.into_iter().flatten().collect(), named),
            },
            positions: match (grid.over.contains(&Over::Pos), positions) {
                (false, _) => vec![(None, Label::None)],
                (true, Some(positions)) => grid.align.labelled(positions.to_vec(), named),
                (true, None) => grid.align.labelled((0..n).collect(), named),
            },
        })
    }
}

/// `size` points around `middle`.
fn window(points: &[HookPoint], middle: HookPoint, size: usize) -> Vec<HookPoint> {
    let (Some(layer), before) = (middle.layer, size.max(1) / 2) else { return vec![middle] };
    let from = layer.saturating_sub(before);
    let within = |p: &&HookPoint| p.layer.is_some_and(|l| (from..layer + size.max(1) - before).contains(&l));
    points.iter().filter(within).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(at: &str, over: &[Over]) -> Grid {
        Grid::of(at, over)
    }

    #[test]
    fn a_grid_has_a_spot_for_every_choice() -> Result<()> {
        let config =
            r#"{"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 3, "n_positions": 16, "vocab_size": 10}"#;
        let (_, spec) = crate::arch::family::read_config(config)?;
        use Over::*;
        let count = |g: &Grid| g.spots(&spec, 5).map(|s| s.len());
        assert_eq!(count(&grid("resid_pre", &[Layer, Pos]))?, 15);
        assert_eq!(count(&grid("resid_pre", &[]))?, 1);
        assert_eq!(count(&grid("z", &[Layer, Head]))?, 6);
        assert_eq!(count(&grid("pattern", &[Layer, Head, Pos, KeyPos]))?, 150);
        assert_eq!(count(&grid("attn_out,mlp_out", &[Layer]))?, 6);
        assert_eq!(count(&grid("hook_embed", &[Pos]))?, 5);
        assert!(count(&grid("resid_pre", &[Head])).is_err() && count(&grid("logits", &[])).is_err());
        let some = Grid {
            only: Only {
                pos: Some(vec![(-1).into(), 1.into()]),
                neurons: Some(vec![7.into()]),
                layers: Some(vec![2.into()]),
                ..Only::default()
            },
            ..grid("mlp.post", &[Pos])
        };
        let spots = some.spots(&spec, 5)?;
        assert_eq!(
            spots.iter().map(|s| (s.pos, s.neuron)).collect::<Vec<_>>(),
            [(Some(1), Some(7)), (Some(4), Some(7))]
        );
        let both = Grid { together: true, ..grid("attn_out,mlp_out", &[Layer]) };
        assert_eq!(
            both.spots(&spec, 5)?.iter().map(|s| (s.name(), s.points.len())).collect::<Vec<_>>(),
            vec![("attn_out+mlp_out".to_owned(), 2); 3]
        );
        let wide = Grid { window: 2, ..grid("mlp_out", &[Layer]) };
        let layers = |s: &Spot| s.points.iter().filter_map(|p| p.layer).collect::<Vec<_>>();
        assert_eq!(wide.spots(&spec, 5)?.iter().map(layers).collect::<Vec<_>>(), [vec![0], vec![0, 1], vec![1, 2]]);
        Ok(())
    }
}
