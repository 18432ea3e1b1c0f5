//! What a chain leaves of a distribution.

use std::cmp::Reverse;

use super::{CLOSE, Chain, Context, Sampler, Step, Ties};
use crate::error::{Error, Result};

/// Why a token is no candidate any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// What cut it.
    pub by: Sampler,
    /// The mass before it, in the order and distribution of that sampler.
    pub mass_above: f64,
    /// How far it is from being kept, at least 0: places (top-k), mass (top-p, typical), probability (min-p), logits (temperature 0).
    pub margin: f64,
}

/// A token that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// The token.
    pub id: u32,
    /// The probability with which it was drawn.
    pub prob: f64,
    /// Whether the draw is so near the end of its share that the last bits of a sum decide.
    pub close: bool,
}

/// A distribution, and what a chain made of it.
///
/// A vocabulary has many tokens and a draw needs few of them, so candidates are put in order only as far as somebody asks.
#[derive(Clone, Debug)]
pub struct Pool<'a> {
    raw: &'a [f32],
    said: Softmax,
    logits: Vec<f64>,
    /// What is left. The first `sorted` of it are in order, and before all others.
    alive: Vec<u32>,
    sorted: usize,
    drawn: Softmax,
    greedy: bool,
    /// Of each token that is cut, why; empty where nobody asks.
    cut: Vec<Option<Cut>>,
    nearest: Option<(Sampler, f64)>,
    ties: Ties,
    /// Of equals the higher id comes first.
    flipped: bool,
}

/// What makes probabilities of logits.
#[derive(Clone, Copy, Debug, Default)]
struct Softmax {
    most: f64,
    total: f64,
    weighted: f64,
}

impl Softmax {
    fn of(logits: impl Iterator<Item = f64> + Clone) -> Self {
        let most = logits.clone().fold(f64::NEG_INFINITY, f64::max);
        let (mut total, mut weighted) = (0.0, 0.0);
        for x in logits.map(|x| x - most).filter(|x| *x > f64::NEG_INFINITY) {
            let weight = x.exp();
            total += weight;
            weighted += weight * x;
        }
        Self { most, total, weighted }
    }

    fn prob(&self, logit: f64) -> f64 {
        (logit - self.most).exp() / self.total
    }

    /// The logarithm of the total less the mean logit.
    fn entropy_nats(&self) -> f64 {
        self.total.ln() - self.weighted / self.total
    }
}

impl<'a> Pool<'a> {
    /// What `chain` makes of `logits` after these tokens, and why of each token that it cuts.
    ///
    /// # Errors
    /// When a logit is NaN, or all are minus infinity.
    pub fn of(logits: &'a [f32], chain: &Chain, context: Context<'_>) -> Result<Self> {
        let mut pool = Self::made(logits, chain, context, vec![None; logits.len()])?;
        pool.order(pool.alive.len());
        Ok(pool)
    }

    /// The same for a draw: it does not say why tokens are cut, and takes half the time or less.
    ///
    /// # Errors
    /// As [`Pool::of`].
    pub fn to_draw(logits: &'a [f32], chain: &Chain, context: Context<'_>) -> Result<Self> {
        Self::made(logits, chain, context, vec![])
    }

    fn made(raw: &'a [f32], chain: &Chain, context: Context<'_>, cut: Vec<Option<Cut>>) -> Result<Self> {
        let most = raw.iter().fold(f32::NEG_INFINITY, |most, x| if *x > most || x.is_nan() { *x } else { most });
        if !most.is_finite() {
            return Err(Error::compute("the logits are not numbers").hint("look for the first bad value with `verify`"));
        }
        let logits: Vec<f64> = raw.iter().map(|x| f64::from(*x)).collect();
        let said = Softmax::of(logits.iter().copied());
        let mut pool = Self {
            raw,
            said,
            alive: (0..raw.len() as u32).collect(),
            sorted: 0,
            drawn: said,
            greedy: false,
            cut,
            nearest: None,
            ties: chain.ties,
            flipped: false,
            logits,
        };
        chain.steps.iter().for_each(|step| pool.apply(step, context));
        if !chain.steps.is_empty() {
            pool.drawn = pool.softmax();
        }
        Ok(pool)
    }

    /// How many tokens can be drawn.
    pub fn size(&self) -> usize {
        self.alive.len()
    }

    /// The candidates, those that are drawn first first; of [`Pool::to_draw`] in any order.
    pub fn kept(&self) -> &[u32] {
        &self.alive
    }

    /// Of a token that is cut, why. [`Pool::to_draw`] does not know it.
    pub fn cut(&self, id: u32) -> Option<Cut> {
        self.cut.get(id as usize).copied().flatten()
    }

    /// The probability that the model gives a token.
    pub fn prob(&self, id: u32) -> f64 {
        self.said.prob(f64::from(self.raw[id as usize]))
    }

    /// A token's logit after penalties and temperature; after penalties alone where the temperature is 0.
    pub fn logit(&self, id: u32) -> f64 {
        self.logits[id as usize]
    }

    /// Of every token the probability after penalties and temperature, before anything is cut.
    pub fn tempered(&self) -> Vec<f64> {
        if self.greedy {
            return self.sampled();
        }
        let all = Softmax::of(self.logits.iter().copied());
        self.logits.iter().map(|x| all.prob(*x)).collect()
    }

    /// Of every token the probability that it is drawn: 0 where it is cut.
    pub fn sampled(&self) -> Vec<f64> {
        let mut sampled = vec![0.0; self.logits.len()];
        self.alive.iter().for_each(|id| sampled[*id as usize] = self.drawn.prob(self.logit(*id)));
        sampled
    }

    /// The most probable token by what the model says, of equals the lowest.
    pub fn first(&self) -> u32 {
        let mut first = 0;
        for (id, x) in self.raw.iter().enumerate() {
            if *x > self.raw[first] {
                first = id;
            }
        }
        first as u32
    }

    /// A token's place by what the model says, from 1, of equals the lower id first.
    pub fn rank(&self, id: u32) -> u32 {
        let own = self.raw[id as usize];
        let before = |(i, x): (usize, &f32)| *x > own || (*x == own && i < id as usize);
        1 + self.raw.iter().enumerate().filter(|x| before(*x)).count() as u32
    }

    /// All tokens by what the model says, the most probable first, of equals the lower id.
    pub fn by_rank(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..self.raw.len() as u32).collect();
        ids.sort_by_cached_key(|id| falling(f64::from(self.raw[*id as usize])));
        ids
    }

    /// The entropy of what the model says, in nats.
    pub fn entropy_nats(&self) -> f64 {
        self.said.entropy_nats()
    }

    /// The entropy of what a token is drawn from, in nats.
    pub fn sampled_entropy_nats(&self) -> f64 {
        self.drawn.entropy_nats()
    }

    /// The sampler that decided most closely, and how far the nearest token is from its threshold, in the unit of [`Cut::margin`].
    pub fn nearest(&self) -> Option<(Sampler, f64)> {
        self.nearest
    }

    /// Whether another program may keep other candidates, because one is so near a threshold.
    pub fn is_close(&self) -> bool {
        self.nearest.is_some_and(|(_, distance)| distance < CLOSE)
    }

    /// The candidate in whose share of 0 to 1 `at` lies; shares stand in the order of candidates.
    pub fn draw(&mut self, at: f64) -> Drawn {
        let (mut before, mut i) = (0.0, 0);
        loop {
            self.order(i + 1);
            let id = self.alive[i];
            let prob = self.drawn.prob(self.logit(id));
            let (end, last) = (before + prob, i + 1 == self.alive.len());
            if at < end || last {
                let close = (i > 0 && at - before < CLOSE) || (!last && (end - at).abs() < CLOSE);
                return Drawn { id, prob, close };
            }
            (before, i) = (end, i + 1);
        }
    }

    fn apply(&mut self, step: &Step, context: Context<'_>) {
        match *step {
            Step::Penalties { repetition, presence, frequency, last } => {
                self.penalise([repetition, presence, frequency], last, context);
            }
            Step::Temperature(0.0) => self.first_alone(),
            Step::Temperature(t) => self.logits.iter_mut().for_each(|x| *x /= t),
            Step::TopK(k) if k > 0 && k < self.alive.len() => self.top_k(k),
            Step::TopP(p) if p < 1.0 => self.top_p(p),
            Step::MinP(p) if p > 0.0 => self.min_p(p),
            Step::Typical(p) if p < 1.0 => self.typical(p),
            Step::TopK(_) | Step::TopP(_) | Step::MinP(_) | Step::Typical(_) => {}
        }
    }

    fn penalise(&mut self, [repetition, presence, frequency]: [f64; 3], last: Option<usize>, context: Context<'_>) {
        let Context { prompt, output } = context;
        let n = prompt.len() + output.len();
        let mut repeated: Vec<u32> = prompt.iter().chain(output).copied().skip(n - last.unwrap_or(n).min(n)).collect();
        let mut counted = if last.is_some() { repeated.clone() } else { output.to_vec() };
        repeated.sort_unstable();
        repeated.dedup();
        for id in repeated {
            let logit = &mut self.logits[id as usize];
            *logit = if *logit < 0.0 { *logit * repetition } else { *logit / repetition };
        }
        counted.sort_unstable();
        for same in counted.chunk_by(|a, b| a == b) {
            self.logits[same[0] as usize] -= presence + frequency * same.len() as f64;
        }
        self.sorted = 0;
    }

    fn first_alone(&mut self) {
        self.greedy = true;
        self.order(2);
        let first = self.logit(self.alive[0]);
        if let Some(second) = self.alive.get(1) {
            self.near(Sampler::Temperature, first - self.logit(*second));
        }
        self.cut_after(1, Sampler::Temperature, None, |_, _, logit, _| first - logit);
    }

    fn top_k(&mut self, k: usize) {
        self.order(k + 1);
        let last = self.logit(self.alive[k - 1]);
        if self.logit(self.alive[k]) == last {
            self.near(Sampler::TopK, 0.0);
        }
        let mut end = k;
        while self.ties == Ties::Transformers && end < self.alive.len() && self.logit(self.alive[end]) == last {
            end += 1;
            self.order(end + 1);
        }
        let softmax = self.softmax();
        self.cut_after(end, Sampler::TopK, Some(softmax), |at, _, _, _| (at + 1 - k) as f64);
    }

    fn top_p(&mut self, p: f64) {
        let transformers = self.ties == Ties::Transformers;
        if transformers {
            (self.flipped, self.sorted) = (true, 0);
        }
        let softmax = self.softmax();
        // The first is always kept. The mass before each token only rises.
        let (mut end, mut mass, mut before) = (0, 0.0, 0.0);
        while end < self.alive.len() && (end == 0 || mass < p) {
            self.order(end + 1);
            before = mass;
            mass += softmax.prob(self.logit(self.alive[end]));
            end += 1;
        }
        if end > 1 {
            self.near(Sampler::TopP, p - before);
        }
        if end < self.alive.len() {
            self.near(Sampler::TopP, mass - p);
        }
        self.cut_after(end, Sampler::TopP, Some(softmax), |_, mass, _, _| mass - p);
        if transformers {
            (self.flipped, self.sorted) = (false, 0);
        }
    }

    fn min_p(&mut self, p: f64) {
        let softmax = self.softmax();
        let enough = p * softmax.prob(softmax.most);
        let (mut end, mut least, mut most) = (0, f64::INFINITY, f64::NEG_INFINITY);
        for i in 0..self.alive.len() {
            let prob = softmax.prob(self.logit(self.alive[i]));
            if prob >= enough {
                // What is kept in front stays in order.
                self.alive.swap(end, i);
                (end, least) = (end + 1, least.min(prob));
            } else {
                most = most.max(prob);
            }
        }
        self.sorted = self.sorted.min(end);
        if end > 1 {
            self.near(Sampler::MinP, least - enough);
        }
        if end < self.alive.len() {
            self.near(Sampler::MinP, enough - most);
        }
        self.cut_after(end, Sampler::MinP, Some(softmax), |_, _, _, prob| enough - prob);
    }

    fn typical(&mut self, p: f64) {
        self.order(self.alive.len());
        let softmax = self.softmax();
        let probs: Vec<f64> = self.alive.iter().map(|id| softmax.prob(self.logit(*id))).collect();
        let entropy = softmax.entropy_nats();
        let far = |prob: f64| (-prob.ln() - entropy).abs();
        let mut order: Vec<usize> = (0..probs.len()).collect();
        order.sort_by(|a, b| far(probs[*a]).total_cmp(&far(probs[*b])));
        let mass = running(order.iter().map(|i| probs[*i]));
        // Through the first token at which the mass reaches p, and whatever is as far as that one.
        let last = mass[1..].partition_point(|with| *with < p).min(order.len() - 1);
        let limit = far(probs[order[last]]);
        let end = order.partition_point(|i| far(probs[*i]) <= limit);
        if last > 0 {
            self.near(Sampler::Typical, p - mass[last]);
        }
        self.near(Sampler::Typical, (mass[last + 1] - p).abs());
        if end < order.len() {
            // As good as equally far: another sum may order them otherwise.
            self.near(Sampler::Typical, far(probs[order[end]]) - limit);
        }
        let mut keep = vec![true; order.len()];
        for (at, i) in order.iter().enumerate().skip(end) {
            keep[*i] = false;
            if let Some(cut) = self.cut.get_mut(self.alive[*i] as usize) {
                *cut = Some(Cut { by: Sampler::Typical, mass_above: mass[at], margin: (mass[at] - p).max(0.0) });
            }
        }
        let mut keep = keep.into_iter();
        self.alive.retain(|_| keep.next().unwrap_or_default());
        self.sorted = self.alive.len();
    }

    /// Keeps the first `end`, which are before all others. `margin` is of a place, the mass before it, a logit and its probability; without
    /// a softmax the first has all the mass.
    fn cut_after(
        &mut self,
        end: usize,
        by: Sampler,
        softmax: Option<Softmax>,
        margin: impl Fn(usize, f64, f64, f64) -> f64,
    ) {
        if !self.cut.is_empty() {
            self.order(self.alive.len());
            let mut mass_above = 0.0;
            for (at, id) in self.alive.iter().enumerate() {
                let logit = self.logits[*id as usize];
                let prob = softmax.map_or(f64::from(u8::from(at == 0)), |softmax| softmax.prob(logit));
                if at >= end {
                    let margin = margin(at, mass_above, logit, prob);
                    self.cut[*id as usize] = Some(Cut { by, mass_above, margin });
                }
                mass_above += prob;
            }
        }
        self.alive.truncate(end);
        self.sorted = self.sorted.min(end);
    }

    fn near(&mut self, by: Sampler, distance: f64) {
        if self.nearest.is_none_or(|(_, known)| distance < known) {
            self.nearest = Some((by, distance));
        }
    }

    /// Puts the first `n` candidates in order, or all where there are fewer. Some more than were there, so that asking again is cheap.
    fn order(&mut self, n: usize) {
        if n <= self.sorted || self.sorted == self.alive.len() {
            return;
        }
        let n = n.max(4 * self.sorted).max(64).min(self.alive.len());
        let (logits, flipped) = (&self.logits, self.flipped);
        let key = |id: &u32| (falling(logits[*id as usize]), if flipped { !*id } else { *id });
        let rest = &mut self.alive[self.sorted..];
        let more = n - self.sorted;
        if more < rest.len() {
            rest.select_nth_unstable_by_key(more - 1, key);
        }
        rest[..more].sort_by_cached_key(key);
        self.sorted = n;
    }

    /// Of what is left.
    fn softmax(&self) -> Softmax {
        Softmax::of(self.alive.iter().map(|id| self.logits[*id as usize]))
    }
}

/// A number that is the smaller, the larger `x` is. 0 and -0 are equals.
fn falling(x: f64) -> Reverse<u64> {
    let bits = (x + 0.0).to_bits();
    Reverse(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
}

/// The sums before each element, and of all.
fn running(of: impl Iterator<Item = f64>) -> Vec<f64> {
    let sums = of.scan(0.0, |sum, x| {
        *sum += x;
        Some(*sum)
    });
    std::iter::once(0.0).chain(sums).collect()
}
