//! A sweep of patches, as figures and terminal see it: what it went over, what each patch did, and that in words.

use super::mark::{Mark, OTHERS};
use super::patch_words::{Coord, implied, number, percent, place, place_along};
use crate::table::visible_prose;
use std::collections::BTreeMap;

/// The number that says what a patch did. Nothing done is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Of a corrupt run that was patched: `recovered`, 0 as before, 1 as the clean run.
    Recovered,
    /// Of a clean run that was patched: `recovered` - 1, 0 as before, -1 as the corrupt run.
    Lost,
    /// Where there is no such share: the patched run's metric minus the clean run's.
    Change,
}

/// The patches of one pair at one site, or on the paths from one to another, measured by one metric; or their means over pairs.
/// One row at least.
#[derive(Clone, Debug)]
pub(crate) struct Sweep<'a> {
    pub rows: Vec<&'a Mark>,
    /// The coordinates that differ between patches.
    pub over: Vec<Coord>,
    pub effect: Effect,
}

impl<'a> Sweep<'a> {
    /// All sweeps of the first `most` pairs: pair by pair, then in the order of the table.
    pub fn all(marks: &'a [Mark], most: usize) -> Vec<Self> {
        let mut of_pairs = BTreeMap::<u32, Vec<Vec<&Mark>>>::new();
        for mark in marks {
            let own = of_pairs.entry(mark.pair).or_default();
            let name = |m: &Mark| m.to.as_ref().map(|to| (to.name.clone(), to.through.clone()));
            let same = |of: &Mark| of.site == mark.site && of.metric == mark.metric && name(of) == name(mark);
            match own.iter_mut().find(|o| same(o[0])) {
                Some(sweep) => sweep.push(mark),
                None => own.push(vec![mark]),
            }
        }
        let sweep = |rows: Vec<&'a Mark>| {
            let differ = |r: &&Mark| match r.patched {
                Some(_) => r.recovered.is_some(),
                None => r.corrupt.is_some_and(|corrupt| corrupt != r.clean),
            };
            let effect = match rows.iter().all(differ) {
                true if rows[0].direction.as_deref() == Some("noise") => Effect::Lost,
                true => Effect::Recovered,
                false => Effect::Change,
            };
            Self::of(rows, effect)
        };
        of_pairs.into_values().take(most).flatten().map(sweep).collect()
    }

    fn of(rows: Vec<&'a Mark>, effect: Effect) -> Self {
        let differ = |c: &Coord| rows.iter().any(|r| c.of(r) != c.of(rows[0]));
        let mut over: Vec<Coord> = Coord::ALL.into_iter().filter(differ).collect();
        if rows.iter().any(|r| r.head.is_some()) {
            // It follows from the head.
            over.retain(|c| *c != Coord::KvHead);
        }
        if rows.iter().any(|r| Coord::ToHead.of(r).is_some()) {
            over.retain(|c| *c != Coord::ToKvHead);
        }
        Self { rows, over, effect }
    }

    /// The part of it that is at the same place as `row` along `coords`.
    pub fn part(&self, row: &Mark, coords: &[Coord]) -> Self {
        let same = |r: &&&Mark| coords.iter().all(|c| c.of(r) == c.of(row));
        Self::of(self.rows.iter().filter(same).copied().collect(), self.effect)
    }

    /// Of a mean, its standard error.
    pub fn error(&self, row: &Mark) -> Option<f64> {
        let mean = row.mean?;
        if self.effect == Effect::Change { mean.change_se } else { mean.recovered_se }.map(f64::from)
    }

    /// Whether nothing was patched: the rows are what patches would do, to first order.
    pub fn estimated(&self) -> bool {
        self.any().estimated
    }

    /// Of means, the most pairs that a place has.
    pub fn pairs(&self) -> Option<u32> {
        self.rows.iter().filter_map(|r| Some(r.mean?.pairs)).max()
    }

    /// Whose sweep it is.
    pub fn whose(&self) -> String {
        match self.any().mean {
            Some(_) => self.any().pair_id.clone(),
            None => format!("pair {}", self.any().pair_id),
        }
    }

    /// A row of it: pair, site, metric and the values of the unpatched runs are the same on all.
    pub fn any(&self) -> &'a Mark {
        self.rows[0]
    }

    /// What a patch did.
    pub fn value(&self, row: &Mark) -> f64 {
        let recovered = row.recovered.map_or(f64::NAN, f64::from);
        match self.effect {
            Effect::Recovered => recovered,
            Effect::Lost => recovered - 1.0,
            Effect::Change => row.patched.map_or(f64::NAN, f64::from) - f64::from(row.clean),
        }
    }

    /// How strong it is, for sorting: what is no number comes last.
    pub fn strength(&self, row: &Mark) -> f64 {
        let value = self.value(row).abs();
        if value.is_nan() { -1.0 } else { value }
    }

    /// Whether the patch changes nothing of what is measured, to the last bit: the value that was put there is the one that was
    /// there, or no change of it can reach what is measured.
    pub fn nothing_changed(&self, row: &Mark) -> bool {
        !row.reached
    }

    /// The end of an axis or of the colours: the largest finite effect, rounded up to two digits; 1 if there is none.
    pub fn most(&self) -> f64 {
        let finite = self.rows.iter().map(|r| self.value(r).abs()).filter(|v| v.is_finite());
        let most = finite.fold(0.0, f64::max);
        if most == 0.0 {
            return 1.0;
        }
        let (size, power) = (most / 10f64.powi(most.log10().floor() as i32), most.log10().floor() as i32 - 1);
        // Written and read, it is the number that it looks like. What is just over two digits is them.
        format!("{}e{power}", (size * 10.0 - 1e-4).ceil()).parse().unwrap_or(most)
    }

    /// What [`Sweep::value`] is called.
    pub fn quantity(&self) -> String {
        let name = match self.effect {
            Effect::Recovered => "recovered",
            Effect::Lost => "recovered−1",
            Effect::Change => "patched−clean",
        };
        visible_prose(&format!("{} {name}", self.any().metric))
    }

    /// What [`Sweep::value`] means.
    pub fn meaning(&self) -> String {
        let (row, corrupt) = (self.any(), self.any().corrupt.unwrap_or(f32::NAN));
        let (metric, clean) = (visible_prose(&row.metric), number(row.clean));
        let others = |r: &&Mark| [&r.token, &r.key_token].into_iter().flatten().any(|t| t == OTHERS);
        let mean = match row.mean {
            Some(_) if self.rows.iter().any(others) => {
                "Means over pairs, with standard errors; … stands for their different tokens. "
            }
            Some(_) => "Means over pairs, with standard errors. ",
            None => "",
        };
        let patched = if self.estimated() { "" } else { ", which was patched" };
        let estimated = if self.estimated() { "Estimated to first order; nothing was patched. " } else { "" };
        let meaning = match self.effect {
            Effect::Recovered => format!(
                "{metric} recovered: 0 as the corrupt run ({}){patched}; 1 as the clean run ({clean}).",
                number(corrupt)
            ),
            Effect::Lost => format!(
                "{metric} recovered−1: 0 as the clean run ({clean}){patched}; -1 as the corrupt run ({}).",
                number(corrupt)
            ),
            Effect::Change => format!("{metric} of the patched run minus that of the clean run ({clean})."),
        };
        let between = match row.to.as_ref().map(|to| to.through.as_deref()) {
            Some(None) => " Between sender and receiver everything is frozen.",
            Some(Some(_)) => " Between sender and receiver MLPs are computed anew, and attention is frozen.",
            None => "",
        };
        format!("{estimated}{mean}{meaning}{between}")
    }

    /// `Patching attn.z of layer 2`: with the coordinates that all patches share; `Path patching attn.z → q of layer 2, head 1`.
    pub fn title(&self) -> String {
        let row = self.any();
        let of = |name: &str, receivers: bool| {
            let own = Coord::ALL.into_iter().filter(|c| c.is_receivers() == receivers);
            let shared = own.filter(|c| !self.over.contains(c) && !implied(*c, row));
            let shared: Vec<String> = shared.filter_map(|c| place_along(c, row)).collect();
            format!("{name}{}{}", if shared.is_empty() { "" } else { " of " }, shared.join(", "))
        };
        visible_prose(&match &row.to {
            Some(to) => format!("Path patching {} → {}", of(&row.site, false), of(&to.name, true)),
            None if self.estimated() => format!("Attribution of {}", of(&row.site, false)),
            None => format!("Patching {}", of(&row.site, false)),
        })
    }

    /// What a mark without colour says.
    pub fn nothing(&self) -> &'static str {
        match self.estimated() {
            true => "no change, to first order",
            false => "the patch changes nothing, to the last bit",
        }
    }

    /// `attn.z`, or `attn.z → logits`.
    pub fn site(&self) -> String {
        let row = self.any();
        visible_prose(&match &row.to {
            Some(to) => format!("{} → {}", row.site, to.name),
            None => row.site.clone(),
        })
    }

    /// The facts of a patch in one line.
    pub fn facts(&self, row: &Mark) -> String {
        let (metric, clean) = (visible_prose(&row.metric), number(row.clean));
        let patched = row.patched.map_or("not finite".to_owned(), number);
        let corrupt = row.corrupt.map_or(String::new(), |c| format!(", corrupt {}", number(c)));
        let nothing = match (self.estimated(), row.changed, row.reached) {
            (true, ..) => ", estimated",
            (false, false, _) => "; this patch changes nothing",
            (false, true, false) => "; this patch cannot reach what is measured",
            (false, true, true) => "",
        };
        let pairs = row.mean.map_or(String::new(), |mean| format!(", mean of {}", mean.pairs));
        let effect = self.effect_in_words(row);
        format!("{}: {metric} {patched} (clean {clean}{corrupt}), {effect}{pairs}{nothing}", place(row))
    }

    /// `77 % recovered`, `23 % lost` or `+1.20 from clean`; of means with their standard errors, `77 ± 3.1 % recovered`.
    pub fn effect_in_words(&self, row: &Mark) -> String {
        let error = self.error(row);
        let share = |share: f64| match error {
            Some(error) => format!("{} ± {}", percent(share).trim_end_matches(" %"), percent(error)),
            None => percent(share),
        };
        if let (None, Some(at)) = (row.patched, &row.not_finite) {
            return format!("not finite ({at})");
        }
        match row.recovered {
            Some(recovered) if self.effect == Effect::Recovered => format!("{} recovered", share(f64::from(recovered))),
            Some(_) if self.effect == Effect::Lost => match self.value(row) {
                gained if gained > 0.0 => format!("{} gained", share(gained)),
                lost => format!("{} lost", share(-lost)),
            },
            _ => {
                let change = row.patched.unwrap_or(f32::NAN) - row.clean;
                let error = error.map_or(String::new(), |error| format!(" ± {}", number(error as f32)));
                format!("{}{}{error} from clean", if change > 0.0 { "+" } else { "" }, number(change))
            }
        }
    }
}
