//! What the last position took from each token: looked at, carried and pushed, by one head or by all of them together.

use super::{Patterns, Taken};
use crate::table::visible;
use crate::view::axis::{Axis, round_up};
use crate::view::colour::Colours;
use crate::view::kind::{Body, Cell, Item, Mark, Panel, Side, Steps, Text};
use crate::view::label::quoted;

/// Bars and square grids are drawn of at most so many tokens; beyond, tokens are coloured in the text.
pub(super) const MOST_TOKENS: usize = 64;
/// A sink is looked at by at least this share of all looking, and carries at most this part of what it would carry if it carried as
/// much as it is looked at.
const SINK: (f64, f64) = (0.2, 0.5);
/// What the first token took may be so many times more than that of any other: then the scale fits the others, and it is marked as beyond. Not where others are so many times less, and nothing.
const OUTLIER: (f64, f64) = (4.0, 1000.0);
/// Tokens that a sentence names.
const NAMED: usize = 3;

/// What the last position took from each token, in the order of the tokens.
#[derive(Default)]
pub(super) struct Took {
    /// The probability, a mean over heads.
    looked: Vec<f64>,
    /// The share of the lengths of what is carried, a mean over the heads that write anything.
    carried: Option<Vec<f64>>,
    /// Logits, a sum over heads.
    pushed: Option<Vec<f64>>,
    heads: usize,
    writing: usize,
    /// In how many heads each is a sink.
    sinks: Vec<usize>,
}

fn is_sink(looked: f64, carried: f64) -> bool {
    looked >= SINK.0 && carried <= SINK.1 * looked
}

impl Took {
    /// Adds what one head took.
    pub fn add(&mut self, keys: usize, taken: &[Taken]) {
        self.looked.resize(keys, 0.0);
        self.sinks.resize(keys, 0);
        self.heads += 1;
        let all: f64 = taken.iter().filter_map(|t| t.carried).map(f64::from).sum();
        self.writing += usize::from(all > 0.0);
        for t in taken {
            let key = t.key as usize;
            // A file may say anything.
            let number = |x: f32| if x.is_finite() { f64::from(x) } else { 0.0 };
            self.looked[key] += number(t.looked);
            if let Some(carried) = t.carried {
                let share = if all > 0.0 { number(carried) / all } else { 0.0 };
                self.sinks[key] += usize::from(is_sink(number(t.looked), share));
                self.carried.get_or_insert_with(|| vec![0.0; keys])[key] += share;
            }
            if let Some(pushed) = t.pushed {
                self.pushed.get_or_insert_with(|| vec![0.0; keys])[key] += number(pushed);
            }
        }
    }

    fn looked(&self, key: usize) -> f64 {
        self.looked[key] / self.heads.max(1) as f64
    }

    fn carried(&self, key: usize) -> Option<f64> {
        Some(self.carried.as_ref()?[key] / self.writing.max(1) as f64)
    }

    fn pushed(&self, key: usize) -> Option<f64> {
        Some(self.pushed.as_ref()?[key])
    }

    /// Whether a token is looked at much and carries little.
    fn is_sink(&self, key: usize) -> bool {
        self.carried(key).is_some_and(|carried| is_sink(self.looked(key), carried))
    }

    /// The tokens that are looked at most, so many, in the order of the text.
    pub fn most_looked(&self, n: usize) -> Vec<usize> {
        let mut keys: Vec<usize> = (0..self.looked.len()).collect();
        keys.sort_by(|a, b| self.looked[*b].total_cmp(&self.looked[*a]).then(a.cmp(b)));
        keys.truncate(n);
        keys.sort_unstable();
        keys
    }

    /// Where a scale of these values ends.
    fn end(&self, value: &dyn Fn(usize) -> f64) -> f64 {
        let most = |keys: std::ops::Range<usize>| keys.map(|key| value(key).abs()).fold(0.0, f64::max);
        let (first, others) = (most(0..self.looked.len().min(1)), most(1..self.looked.len()));
        let times = first / others;
        round_up(if times > OUTLIER.0 && times < OUTLIER.1 { others } else { first.max(others) })
    }

    /// Where the scale of shares ends, of what is looked at and of what is carried: both have one, or the eye could not compare them.
    fn end_of_shares(&self) -> f64 {
        let carried = self.carried.as_ref().map_or(0.0, |_| self.end(&|key| self.carried(key).unwrap_or(0.0)));
        self.end(&|key| self.looked(key)).max(carried)
    }

    /// Where that of pushes ends.
    fn end_of_pushes(&self) -> f64 {
        self.end(&|key| self.pushed(key).unwrap_or(0.0))
    }

    /// Whether the first token lies beyond a scale.
    fn clips(&self) -> bool {
        let beyond = |value: f64, end: f64| value.abs() > end * (1.0 + 1e-4);
        let (shares, pushes) = (self.end_of_shares(), self.end_of_pushes());
        let share = |key| f64::max(self.looked(key), self.carried(key).unwrap_or(0.0));
        !self.looked.is_empty()
            && (beyond(share(0), shares) || self.pushed(0).is_some_and(|pushed| beyond(pushed, pushes)))
    }

    /// Sentences that say what was found.
    pub fn says(&self, of: &Patterns) -> Vec<String> {
        let Some((pos, token)) = of.queries.last() else { return vec![] };
        let keys = self.looked.len();
        let name = |key: usize| format!("{} at {}", quoted(&of.keys[key].1), of.keys[key].0);
        let listed = |value: &dyn Fn(usize) -> f64, written: &dyn Fn(f64) -> String| {
            let mut order: Vec<usize> = (0..keys).filter(|key| value(*key) != 0.0).collect();
            order.sort_by(|a, b| value(*b).abs().total_cmp(&value(*a).abs()).then(a.cmp(b)));
            let named = order.into_iter().take(NAMED).map(|key| format!("{} ({})", name(key), written(value(key))));
            named.collect::<Vec<_>>().join(", ")
        };
        let share = |x: f64| of.locale.percent(x);
        let looked = listed(&|key| self.looked(key), &share);
        let mut says = vec![];
        if !looked.is_empty() {
            says.push(format!("The last position, {pos} {}, looks most at {looked}.", quoted(token)));
        }
        if self.carried.is_some() {
            let carried = listed(&|key| self.carried(key).unwrap_or(0.0), &share);
            if !carried.is_empty() {
                says.push(format!("It took most from {carried}."));
            }
        }
        if self.pushed.is_some() {
            let pushed = listed(&|key| self.pushed(key).unwrap_or(0.0), &|x| format!("{} logits", of.locale.signed(x)));
            let target = of.target.as_deref().map_or(String::new(), quoted);
            says.push(match pushed.is_empty() {
                true => format!("Nothing pushed {target}."),
                false => format!("{target} was pushed most by {pushed}."),
            });
        }
        // Of those that are sinks in some heads only, the one that is it most often; of equals the first.
        let often = (0..keys).rev().max_by_key(|key| self.sinks[*key]).filter(|key| self.sinks[*key] > 0);
        for key in (0..keys).filter(|key| often == Some(*key) || self.is_sink(*key)) {
            says.push(match self.is_sink(key) {
                true => {
                    let (looked, carried) = (share(self.looked(key)), share(self.carried(key).unwrap_or(0.0)));
                    format!("{} is a sink: {looked} of the looking, {carried} of what is carried.", name(key))
                }
                false => {
                    let often = format!("in {} of {} heads", self.sinks[key], self.heads);
                    format!("{} is a sink {often}: looked at much, carrying little.", name(key))
                }
            });
        }
        says
    }

    /// What marks mean that there are: in the text a corner says that a value lies beyond the scale, of bars an arrow.
    pub fn legend(&self, beyond: &str) -> Vec<String> {
        let any = (0..self.looked.len()).any(|key| self.is_sink(key));
        let sink = any.then_some(
            "Outlined: a sink, looked at by a fifth of all looking or more and carrying at most half of its share.",
        );
        let clips = self.clips().then(|| {
            format!(
                "The first token has over {} times as much as any other: scales fit the others, and {beyond} marks it.",
                OUTLIER.0
            )
        });
        sink.map(str::to_owned).into_iter().chain(clips).collect()
    }

    fn cells(&self, of: &Patterns, value: &dyn Fn(usize) -> f64, written: &dyn Fn(f64) -> String) -> Vec<Cell> {
        let cell = |key: usize| {
            let sink = self.is_sink(key);
            let mut title = format!(
                "key {} {}: looked at {}",
                of.keys[key].0,
                quoted(&of.keys[key].1),
                of.locale.percent(self.looked(key))
            );
            if let Some(carried) = self.carried(key) {
                title += &format!(", carried {}", of.locale.percent(carried));
            }
            if let Some(pushed) = self.pushed(key) {
                title += &format!(", pushed {} logits", of.locale.signed(pushed));
            }
            if sink {
                title += ": a sink";
            }
            Cell {
                value: value(key),
                label: visible(&of.keys[key].1),
                below: [written(value(key)), if sink { " sink".to_owned() } else { String::new() }].concat(),
                title,
                mark: if sink { Mark::Hit } else { Mark::Plain },
                ..Cell::default()
            }
        };
        (0..self.looked.len()).map(cell).collect()
    }

    /// The text, each token coloured by what was taken from it; with `all`, once more for each other quantity.
    pub fn text(&self, of: &Patterns, all: bool) -> Vec<Panel> {
        let mut panels = vec![];
        let mut panel =
            |heading: &str, colours: Colours, value: &dyn Fn(usize) -> f64, written: &dyn Fn(f64) -> String| {
                let tokens = self.cells(of, value, written);
                panels.push(Panel { heading: heading.to_owned(), body: Body::Text(Text { colours, tokens }) });
            };
        let share = |x: f64| if x >= 0.005 { of.locale.percent(x) } else { String::new() };
        let shares = || Colours::rising("share", self.end_of_shares());
        let (looked, carried) = (|key| self.looked(key), |key| self.carried(key).unwrap_or(0.0));
        if all || self.carried.is_none() {
            panel("what the last position looked at", shares(), &looked, &share);
        }
        if self.carried.is_some() {
            panel("what it took: how much each token carried", shares(), &carried, &share);
        }
        if self.pushed.is_some() {
            let pushed = |key| self.pushed(key).unwrap_or(0.0);
            let most = self.end_of_pushes();
            let written = |x: f64| if x.abs() >= 0.02 * most { of.locale.signed(x) } else { String::new() };
            let target = of.target.as_deref().map_or(String::new(), quoted);
            let heading = format!("how far what each token carried pushed {target}");
            panel(&heading, Colours::signed("logits", most), &pushed, &written);
        }
        panels
    }

    /// Bars for each key, one panel for each quantity.
    pub fn bars(&self, of: &Patterns) -> Vec<Panel> {
        let item = |(key, (pos, token)): (usize, &(u32, String))| {
            let sink = if self.is_sink(key) { " (sink)" } else { "" };
            Item { label: visible(token) + sink, number: Some(*pos) }
        };
        let items = || of.keys.iter().enumerate().map(item).collect();
        let mut panels = vec![];
        let mut panel = |heading: String, y: Axis, value: &dyn Fn(usize) -> f64, written: &dyn Fn(f64) -> String| {
            let mut points = self.cells(of, value, written);
            for point in &mut points {
                point.label = written(point.value);
                point.below.clear();
            }
            let x = Side { names: vec!["key".to_owned()], items: items() };
            let limits = (y.from, y.to);
            // With room for an arrow and a number beyond.
            let room = if self.clips() { 1.15 } else { 1.0 };
            let y = Axis { from: room * limits.0, to: room * limits.1, ..y };
            panels.push(Panel { heading, body: Body::Steps(Steps { x, y, limits, points, joined: false }) });
        };
        let share = |x: f64| if x >= 0.005 { of.locale.percent(x) } else { String::new() };
        let (looked, carried) = (|key| self.looked(key), |key| self.carried(key).unwrap_or(0.0));
        let y = || Axis::linear("share", 0.0, self.end_of_shares(), 4);
        panel("Looked at: attention probability".to_owned(), y(), &looked, &share);
        if self.carried.is_some() {
            panel(
                "Carried: length of probability x value x output map, of all keys'".to_owned(),
                y(),
                &carried,
                &share,
            );
        }
        if self.pushed.is_some() {
            let pushed = |key| self.pushed(key).unwrap_or(0.0);
            let most = self.end_of_pushes();
            let written = |x: f64| if x.abs() >= 0.02 * most { of.locale.signed(x) } else { String::new() };
            let target = of.target.as_deref().map_or(String::new(), quoted);
            let any = |sign: f64| (0..self.looked.len()).any(|key| sign * pushed(key) > 0.0);
            let y = match (any(-1.0), any(1.0)) {
                (false, true) => Axis::linear("logits", 0.0, most, 4),
                (true, false) => Axis::linear("logits", -most, 0.0, 4),
                _ => Axis::signed("logits", most),
            };
            panel(format!("Pushed: the logit of {target}"), y, &pushed, &written);
        }
        panels
    }
}
