//! A sweep of patches, as figures and terminal see it: what it went over, what each patch did, and that in words.

use super::mark::{Mark, OTHERS};
use super::method::Method;
use super::scale::{Scale, Scales, is_first};
use super::words::{Coord, implied, is_no_better, place, place_along};
use crate::number::Locale;
use crate::table::visible_prose;
use crate::view::label::capital;
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

impl Effect {
    /// What is drawn of a row: a share wherever there can be one.
    pub fn of(row: &Mark) -> Self {
        match row.recovered.is_some() || row.corrupt.is_some_and(|corrupt| corrupt != row.clean) {
            true if row.method.to_clean => Self::Lost,
            true => Self::Recovered,
            false => Self::Change,
        }
    }

    /// Whether 1 is all that lies between the two runs.
    pub fn is_share(self) -> bool {
        self != Self::Change
    }

    /// The number; NaN where the patched run has none.
    pub fn value(self, row: &Mark) -> f64 {
        let recovered = row.recovered.map_or(f64::NAN, f64::from);
        match self {
            Self::Recovered => recovered,
            Self::Lost => recovered - 1.0,
            Self::Change => row.change.unwrap_or(f64::NAN),
        }
    }

    /// Of a mean, its standard error.
    pub fn error(self, row: &Mark) -> Option<f64> {
        let mean = row.mean?;
        if self.is_share() { mean.recovered_se } else { mean.change_se }.map(f64::from)
    }
}

/// The patches of one pair at one site, or on the paths from one to another, measured by one metric; or their means over pairs.
/// One row at least.
#[derive(Clone, Debug)]
pub(crate) struct DrawnSweep<'a> {
    pub rows: Vec<&'a Mark>,
    /// The coordinates that differ between patches.
    pub over: Vec<Coord>,
    pub effect: Effect,
    pub scale: Scale,
    pub locale: Locale,
}

impl<'a> DrawnSweep<'a> {
    /// All sweeps of `marks`, on the scales of a whole table: pair by pair, then in the order of the table.
    pub fn all(marks: &'a [Mark], scales: &Scales, locale: Locale) -> Vec<Self> {
        grouped(marks).into_iter().map(|rows| Self::of(rows, scales, locale)).collect()
    }

    fn of(rows: Vec<&'a Mark>, scales: &Scales, locale: Locale) -> Self {
        // Of one pair or of means, all rows have a share, or none; but for those whose run is not finite.
        let shown = rows.iter().find(|r| r.patched.is_some()).unwrap_or(&rows[0]);
        let (effect, scale) = (Effect::of(shown), scales.of(shown));
        Self { over: over(&rows), rows, effect, scale, locale }
    }

    /// The part of it that is at the same place as `row` along `coords`.
    pub fn part(&self, row: &Mark, coords: &[Coord]) -> Self {
        let same = |r: &&&Mark| coords.iter().all(|c| c.of(r) == c.of(row));
        let rows: Vec<&Mark> = self.rows.iter().filter(same).copied().collect();
        Self { over: over(&rows), rows, effect: self.effect, scale: self.scale, locale: self.locale }
    }

    /// Of a mean, its standard error.
    pub fn error(&self, row: &Mark) -> Option<f64> {
        self.effect.error(row)
    }

    /// Whether nothing was patched: the rows are what patches would do, to first order.
    pub fn estimated(&self) -> bool {
        self.any().method.estimated
    }

    /// Whose sweep it is: `pair 3`, `prompt 0, noise sample 2`, `mean of 12 pairs`, `mean of 10 noise samples`.
    pub fn whose(&self) -> String {
        let (row, method) = (self.any(), &self.any().method);
        let means = || self.rows.iter().filter_map(|r| r.mean);
        let samples = means().map(|mean| mean.samples).max().unwrap_or(1);
        match means().map(|mean| mean.pairs.saturating_add(mean.not_finite)).max() {
            Some(n) => method.mean_over(n, samples),
            None => {
                let sample = row.sample.map_or(String::new(), |s| format!(", noise sample {s}"));
                format!("{} {}{sample}", method.unit(1), visible_prose(&row.pair_id))
            }
        }
    }

    /// What standard errors are over.
    fn errors_over(&self) -> &'static str {
        let means = || self.rows.iter().filter_map(|r| r.mean);
        match means().map(|mean| mean.pairs).max() {
            Some(1) if means().any(|mean| mean.samples > 1) => "noise samples",
            _ => self.any().method.unit(2),
        }
    }

    /// A row of it: pair, site, metric, what was done, and the values of the unpatched runs are the same on all.
    pub fn any(&self) -> &'a Mark {
        self.rows[0]
    }

    /// What a patch did.
    pub fn value(&self, row: &Mark) -> f64 {
        self.effect.value(row)
    }

    /// How strong it is, for sorting: what is no number comes last.
    pub fn strength(&self, row: &Mark) -> f64 {
        let value = self.value(row).abs();
        if value.is_nan() { -1.0 } else { value }
    }

    /// Whether no value was changed, or nothing that is measured could see it.
    pub fn nothing_changed(&self, row: &Mark) -> bool {
        (!row.changed || !row.reached) && row.patched.is_some()
    }

    /// The metric of a patched run.
    pub fn patched(&self, row: &Mark) -> String {
        row.patched.map_or("not finite".to_owned(), |x| self.locale.number(x))
    }

    /// How far the colours go, and what lies beyond; `marked` says how that is marked.
    pub fn colours(&self, marked: &str) -> String {
        self.range("Colours", (-self.scale.most, self.scale.most), marked)
    }

    /// Whether the clean run is no better than the corrupt run: then what brings a run nearer to it is no success.
    pub fn is_reversed(&self) -> bool {
        let row = self.any();
        row.corrupt.is_some_and(|corrupt| is_no_better(&row.metric, row.clean, corrupt))
    }

    /// What [`DrawnSweep::value`] is called.
    pub fn quantity(&self) -> String {
        let metric = &self.any().metric;
        let name = match self.effect {
            Effect::Recovered => format!("{metric} recovered"),
            Effect::Lost => format!("{metric} recovered−1"),
            Effect::Change => format!("change of {metric}"),
        };
        visible_prose(&if self.any().mean.is_some() { format!("mean {name}") } else { name })
    }

    /// Whether … stands on an axis, for the different tokens of pairs.
    pub fn has_others(&self) -> bool {
        let along = |r: &Mark, c: &Coord| c.token(r) == Some(OTHERS) && c.position_name(r).is_none();
        self.rows.iter().any(|r| self.over.iter().any(|c| along(r, c)))
    }

    /// What [`DrawnSweep::value`] means, and what was done; of tokens that pairs do not share, on an axis or in what was found, what
    /// stands for them.
    pub fn meaning(&self) -> String {
        self.meaning_beside(self.has_others() || self.finding().contains(OTHERS))
    }

    /// The same in a figure that has such tokens or has none.
    pub fn meaning_beside(&self, others: bool) -> String {
        let (row, method) = (self.any(), &self.any().method);
        let (metric, clean) = (visible_prose(&row.metric), self.locale.number(row.clean));
        let (base, corrupt) = (method.corrupt(), self.locale.number(row.corrupt.unwrap_or(f32::NAN)));
        let unit = method.unit(2);
        let mean = match row.mean {
            Some(_) if others => {
                format!(
                    "Means, with standard errors over {}; … alone stands for different tokens of the {unit}. ",
                    self.errors_over()
                )
            }
            Some(_) => format!("Means, with standard errors over {}. ", self.errors_over()),
            None => String::new(),
        };
        let patched = if self.estimated() { String::new() } else { format!(", which was {}", method.participle()) };
        let estimated = if self.estimated() { "Estimates, to first order; nothing was patched for them. " } else { "" };
        let meaning = match self.effect {
            Effect::Recovered => {
                format!("{metric} recovered: 0 as the {base} run ({corrupt}){patched}; 1 as the clean run ({clean}).")
            }
            Effect::Lost => {
                format!(
                    "{metric} recovered−1: 0 as the clean run ({clean}){patched}; -1 as the {base} run ({corrupt})."
                )
            }
            Effect::Change => {
                format!("{metric} of the {} run minus that of the clean run ({clean}).", method.participle())
            }
        };
        let between = match row.to.as_ref().map(|to| to.through.as_deref()) {
            Some(None) => " Between sender and receiver everything is frozen.",
            Some(Some(_)) => " Between sender and receiver MLPs are computed anew, and attention is frozen.",
            None => "",
        };
        let reversed = match self.is_reversed() {
            true => {
                " The clean run is no better than the corrupt run: what is called recovered brings no better answer."
            }
            false => "",
        };
        let more: String = method.more().iter().map(|sentence| format!(" {sentence}")).collect();
        format!("{estimated}{mean}{meaning}{reversed}{between}{more}")
    }

    /// What was found, in a sentence: the strongest effect, and the strongest of the other sign if it is a tenth as strong.
    pub fn finding(&self) -> String {
        let (one, several) = self.any().method.noun();
        let n = self.rows.len();
        let changed = || self.rows.iter().filter(|r| !self.nothing_changed(r) && self.strength(r) >= 0.0);
        // The first of equals.
        let strongest = |a: &'a Mark, b: &&'a Mark| if self.strength(b) > self.strength(a) { *b } else { a };
        let Some(first) = changed().next() else {
            let not_finite = self.rows.iter().filter(|r| r.patched.is_none()).count();
            return match (n, not_finite) {
                (1, 0) => format!("The {one} changes nothing."),
                (_, 0) => format!("None of {n} {several} changes anything."),
                _ => format!("{not_finite} of {n} {several} overflow, and no other changes anything."),
            };
        };
        let top = changed().fold(*first, strongest);
        // A mean of fewer pairs than others says so.
        let pairs = |row: &Mark| row.mean.map_or(0, |mean| mean.pairs + mean.not_finite);
        let most = self.rows.iter().map(|row| pairs(row)).max().unwrap_or(0);
        let said = |row: &Mark| {
            let few = match pairs(row) {
                n if n < most => format!(" (in {n} of {most} {})", row.method.unit(2)),
                _ => String::new(),
            };
            format!("{}, {}{few}", place(row), self.effect_in_words(row))
        };
        if n == 1 {
            return format!("{}.", capital(&said(top)));
        }
        let other = changed().filter(|r| self.value(r) * self.value(top) < 0.0);
        let other =
            other.fold(None, |best: Option<&'a Mark>, row| Some(best.map_or(*row, |best| strongest(best, row))));
        let other = other.filter(|r| self.strength(r) >= 0.1 * self.strength(top));
        let other = other.map_or(String::new(), |row| format!("; the other way: {}", said(row)));
        format!("Strongest of {n} {several}: {}{other}.", said(top))
    }

    /// How far the scale goes on which effects are `drawn`, and what lies beyond; `marked` says how that is marked.
    pub fn range(&self, drawn: &str, (from, to): (f64, f64), marked: &str) -> String {
        let (from, to) = (self.locale.trimmed(from).replace('-', "−"), self.locale.trimmed(to));
        let beyond: Vec<&&Mark> = self.rows.iter().filter(|r| self.scale.clips(self.value(r))).collect();
        let first = if beyond.iter().all(|row| is_first(row)) { ", at the first position," } else { "" };
        let beyond = match beyond.len() {
            0 => String::new(),
            1 => format!("; 1 effect beyond{first} is {marked}"),
            n => format!("; {n} effects beyond{first} are {marked}"),
        };
        format!("{drawn} from {from} to {to}{beyond}.")
    }

    /// The standard errors of means that a patch has changed.
    pub fn errors(&self) -> Vec<f64> {
        let changed = self.rows.iter().filter(|r| !self.nothing_changed(r));
        changed.filter_map(|r| self.error(r)).filter(|e| e.is_finite()).collect()
    }

    /// `Patching attn.z of layer 2`: with the coordinates that all patches share; `Path patching attn.z → q of layer 2, head 1`.
    pub fn title(&self) -> String {
        let row = self.any();
        let of = |name: &str, receivers: bool| {
            let own = Coord::ALL.into_iter().filter(|c| c.is_receivers() == receivers);
            let shared = own.filter(|c| !self.over.contains(c) && !implied(*c, row));
            // What is not gone over, and is neither one place nor all.
            let at_once = row.method.at_once.clone().filter(|_| !receivers);
            let shared: Vec<String> = shared.filter_map(|c| place_along(c, row)).chain(at_once).collect();
            format!("{name}{}{}", if shared.is_empty() { "" } else { " of " }, shared.join(", "))
        };
        let what = match &row.to {
            Some(to) => format!("{} → {}", of(&row.site, false), of(&to.receiver, true)),
            None => of(&row.site, false),
        };
        let window = match row.method.window {
            2.. if self.over.contains(&Coord::Layer) => format!(" in windows of {} layers", row.method.window),
            _ => String::new(),
        };
        visible_prose(&format!("{}{window}", row.method.title(&what)))
    }

    /// Whose sweep it is and what was done, for under the title.
    pub fn subtitle(&self) -> String {
        let method = &self.any().method;
        let noise = method.noise.as_ref().map(|noise| noise.short());
        [Some(self.whose()), method.deed(), noise].into_iter().flatten().collect::<Vec<_>>().join(" · ")
    }

    /// What a mark without colour says.
    pub fn nothing(&self) -> String {
        match self.estimated() {
            true => "no change, to first order".to_owned(),
            false => format!("the {} changes nothing, to the last bit", self.any().method.noun().0),
        }
    }

    /// The facts of a patch in one line.
    pub fn facts(&self, row: &Mark) -> String {
        let (metric, patched, clean) = (visible_prose(&row.metric), self.patched(row), self.locale.number(row.clean));
        let method = &row.method;
        let corrupt =
            row.corrupt.map_or(String::new(), |c| format!(", {} {}", method.corrupt(), self.locale.number(c)));
        let noun = method.noun().0;
        let nothing = match (self.estimated(), row.changed, row.reached) {
            (true, ..) => ", estimated".to_owned(),
            (false, false, _) => format!("; this {noun} changes nothing"),
            (false, true, false) => format!("; this {noun} cannot reach what is measured"),
            (false, true, true) => String::new(),
        };
        let over = row.mean.map_or(String::new(), |mean| {
            let lost =
                if mean.not_finite > 0 { format!(", {} more not finite", mean.not_finite) } else { String::new() };
            format!(", {}{lost}", method.mean_over(mean.pairs, mean.samples))
        });
        let beyond = if self.scale.clips(self.value(row)) { ", beyond the scale" } else { "" };
        let effect = self.effect_in_words(row);
        format!("{}: {metric} {patched} (clean {clean}{corrupt}), {effect}{over}{beyond}{nothing}", place(row))
    }

    /// `77 % recovered`, `23 % lost` or `+1.20 from clean`; of means with their standard errors, `77 ± 3.1 % recovered`.
    pub fn effect_in_words(&self, row: &Mark) -> String {
        let error = self.error(row);
        let share = |share: f64| match error {
            Some(error) => {
                let share = self.locale.percent(share);
                let share = share.trim_end_matches(" %");
                // A share of a hundredth of a percent is nothing beside the effect of a patch.
                let error = match 100.0 * error {
                    error if error > 0.0 && error < 0.005 => format!("<{}", self.locale.fixed(0.01, 2)),
                    error => self.locale.error(share, error),
                };
                format!("{share} ± {error} %")
            }
            None => self.locale.percent(share),
        };
        if row.patched.is_none() {
            let at = row.not_finite.as_deref().map_or(String::new(), |at| format!(" ({})", visible_prose(at)));
            return format!("not finite{at}");
        }
        match (self.effect, self.value(row)) {
            (Effect::Recovered, recovered) if self.is_reversed() => {
                format!("{} of the way to the clean run", share(recovered))
            }
            (Effect::Lost, lost) if self.is_reversed() => format!("{} of the way to the corrupt run", share(-lost)),
            (Effect::Recovered, recovered) => format!("{} recovered", share(recovered)),
            (Effect::Lost, gained) if gained > 0.0 => format!("{} gained", share(gained)),
            (Effect::Lost, lost) => format!("{} lost", share(-lost)),
            (Effect::Change, change) => {
                let change = self.locale.signed(change);
                let error = error.map_or(String::new(), |e| format!(" ± {}", self.locale.error(&change, e)));
                format!("{change}{error} from clean")
            }
        }
    }
}

/// How large some standard errors are; nothing of none.
pub(crate) fn errors_in_words(mut errors: Vec<f64>, locale: Locale) -> Option<String> {
    errors.sort_by(f64::total_cmp);
    let (middle, most) = (errors.get(errors.len() / 2)?, errors.last()?);
    let error = |x: f64| locale.number(x as f32);
    Some(format!("Standard errors: {} at most, {} at the median.", error(*most), error(*middle)))
}

/// The marks of each pair, sample, value, path, metric and kind.
fn grouped(marks: &[Mark]) -> Vec<Vec<&Mark>> {
    let mut of_pairs = BTreeMap::<(u32, Option<u32>), Vec<Vec<&Mark>>>::new();
    for mark in marks {
        let own = of_pairs.entry((mark.pair, mark.sample)).or_default();
        let name = |m: &Mark| m.to.as_ref().map(|to| (to.receiver.clone(), to.through.clone()));
        let same =
            |of: &Mark| of.site == mark.site && of.metric == mark.metric && name(of) == name(mark) && alike(of, mark);
        match own.iter_mut().find(|o| same(o[0])) {
            Some(sweep) => sweep.push(mark),
            None => own.push(vec![mark]),
        }
    }
    of_pairs.into_values().flatten().collect()
}

/// Whether the same was done. Where the noise was may differ between rows of means.
fn alike(a: &Mark, b: &Mark) -> bool {
    let (a, b): (&Method, &Method) = (&a.method, &b.method);
    let noise = |m: &Method| m.noise.as_ref().map(|noise| noise.deviations);
    a.kind == b.kind && a.to_clean == b.to_clean && a.window == b.window && noise(a) == noise(b)
}

/// The coordinates that differ between rows.
fn over(rows: &[&Mark]) -> Vec<Coord> {
    let differ = |c: &Coord| rows.iter().any(|r| c.of(r) != c.of(rows[0]));
    let mut over: Vec<Coord> = Coord::ALL.into_iter().filter(differ).collect();
    if rows.iter().any(|r| r.head.is_some()) {
        // It follows from the head.
        over.retain(|c| *c != Coord::KvHead);
    }
    if rows.iter().any(|r| Coord::ToHead.of(r).is_some()) {
        over.retain(|c| *c != Coord::ToKvHead);
    }
    over
}
