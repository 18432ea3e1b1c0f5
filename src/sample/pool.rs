//! What a chain leaves of a distribution.

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

/// A distribution, and what a chain made of it. All vectors have an element for each token of the vocabulary.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Logits after penalties and temperature; after penalties alone where the temperature is 0.
    pub logits: Vec<f64>,
    /// What the model says.
    pub prob: Vec<f64>,
    /// The softmax of `logits`, before anything is cut.
    pub tempered: Vec<f64>,
    /// What a token is drawn from: 0 for those that are cut.
    pub sampled: Vec<f64>,
    /// Of those that are cut, why.
    pub cut: Vec<Option<Cut>>,
    /// The candidates, those that are drawn first first.
    pub kept: Vec<u32>,
    /// The sampler that decided most closely, and how far the nearest token is from its threshold, in the unit of [`Cut::margin`].
    pub nearest: Option<(Sampler, f64)>,
}

/// A chain at work.
struct Work {
    logits: Vec<f64>,
    /// What is left; in order where `sorted`.
    alive: Vec<u32>,
    sorted: bool,
    cut: Vec<Option<Cut>>,
    nearest: Option<(Sampler, f64)>,
    ties: Ties,
}

impl Pool {
    /// What `chain` makes of `logits` after these tokens.
    ///
    /// # Errors
    /// When a logit is NaN, or all are minus infinity.
    pub fn of(logits: &[f32], chain: &Chain, context: Context<'_>) -> Result<Self> {
        let most = logits.iter().fold(f32::NEG_INFINITY, |most, x| if *x > most || x.is_nan() { *x } else { most });
        if !most.is_finite() {
            return Err(Error::compute("the logits are not numbers").hint("look for the first bad value with `verify`"));
        }
        let raw: Vec<f64> = logits.iter().map(|x| f64::from(*x)).collect();
        let prob = softmax(&raw);
        let mut work = Work {
            alive: (0..logits.len() as u32).collect(),
            sorted: false,
            cut: vec![None; logits.len()],
            nearest: None,
            ties: chain.ties,
            logits: raw,
        };
        let mut tempered = None;
        for step in &chain.steps {
            if *step == Step::Temperature(0.0) {
                tempered = Some(one_of(&mut work));
                continue;
            }
            work.apply(step, context);
        }
        work.sort();
        let mut sampled = vec![0.0; logits.len()];
        for (id, p) in work.alive.iter().zip(work.probabilities()) {
            sampled[*id as usize] = p;
        }
        let tempered = match tempered {
            Some(tempered) => tempered,
            None if chain.steps.is_empty() => prob.clone(),
            None => softmax(&work.logits),
        };
        let Work { logits, alive: kept, cut, nearest, .. } = work;
        Ok(Self { logits, prob, tempered, sampled, cut, kept, nearest })
    }

    /// The entropy of what the model says, in nats.
    pub fn entropy_nats(&self) -> f64 {
        entropy_nats(&self.prob)
    }

    /// The entropy of what a token is drawn from, in nats.
    pub fn sampled_entropy_nats(&self) -> f64 {
        entropy_nats(&self.sampled)
    }

    /// Whether another program may keep other candidates, because one is so near a threshold.
    pub fn is_close(&self) -> bool {
        self.nearest.is_some_and(|(_, distance)| distance < CLOSE)
    }

    /// All tokens, the most probable first, of equals the lower id.
    pub fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.prob.len() as u32).collect();
        sort(&mut order, &self.prob);
        order
    }
}

/// At temperature 0: the first candidate, whose probability is then 1.
fn one_of(work: &mut Work) -> Vec<f64> {
    work.sort();
    let first = work.alive[0] as usize;
    let at = |id: u32, work: &Work| work.logits[first] - work.logits[id as usize];
    if let Some(second) = work.alive.get(1) {
        work.near(Sampler::Temperature, at(*second, work));
    }
    for id in work.alive.split_off(1) {
        work.cut[id as usize] = Some(Cut { by: Sampler::Temperature, mass_above: 1.0, margin: at(id, work) });
    }
    let mut tempered = vec![0.0; work.logits.len()];
    tempered[first] = 1.0;
    tempered
}

impl Work {
    fn apply(&mut self, step: &Step, context: Context<'_>) {
        match *step {
            Step::Penalties { repetition, presence, frequency, last } => {
                self.penalise([repetition, presence, frequency], last, context);
            }
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
        let all = || prompt.iter().chain(output).copied();
        let after = prompt.len() + output.len() - last.unwrap_or(usize::MAX).min(prompt.len() + output.len());
        let counted: Vec<u32> = match last {
            Some(_) => all().skip(after).collect(),
            None => output.to_vec(),
        };
        let mut repeated: Vec<u32> = all().skip(after).collect();
        repeated.sort_unstable();
        repeated.dedup();
        for id in repeated {
            let logit = &mut self.logits[id as usize];
            *logit = if *logit < 0.0 { *logit * repetition } else { *logit / repetition };
        }
        let mut counted = counted;
        counted.sort_unstable();
        for same in counted.chunk_by(|a, b| a == b) {
            self.logits[same[0] as usize] -= presence + frequency * same.len() as f64;
        }
        self.sorted = false;
    }

    fn top_k(&mut self, k: usize) {
        self.sort();
        let mut end = k;
        let equal = |a: u32, b: u32, work: &Self| work.logits[a as usize] == work.logits[b as usize];
        if equal(self.alive[k - 1], self.alive[k], self) {
            self.near(Sampler::TopK, 0.0);
        }
        while self.ties == Ties::Transformers
            && end < self.alive.len()
            && equal(self.alive[k - 1], self.alive[end], self)
        {
            end += 1;
        }
        let mass = running(&self.probabilities());
        for (at, id) in self.alive.split_off(end).into_iter().enumerate() {
            let cut = Cut { by: Sampler::TopK, mass_above: mass[end + at], margin: (end + at + 1 - k) as f64 };
            self.cut[id as usize] = Some(cut);
        }
    }

    fn top_p(&mut self, p: f64) {
        self.sort();
        if self.ties == Ties::Transformers {
            let logits = &self.logits;
            self.alive.chunk_by_mut(|a, b| logits[*a as usize] == logits[*b as usize]).for_each(<[u32]>::reverse);
        }
        let mass = running(&self.probabilities());
        // Of the masses before each token, which only rise. The first is always kept.
        let end = mass[..self.alive.len()].partition_point(|before| *before < p).max(1);
        if end > 1 {
            self.near(Sampler::TopP, p - mass[end - 1]);
        }
        if end < self.alive.len() {
            self.near(Sampler::TopP, mass[end] - p);
        }
        for (at, id) in self.alive.split_off(end).into_iter().enumerate() {
            let mass_above = mass[end + at];
            self.cut[id as usize] = Some(Cut { by: Sampler::TopP, mass_above, margin: mass_above - p });
        }
        if self.ties == Ties::Transformers {
            self.sorted = false;
        }
    }

    fn min_p(&mut self, p: f64) {
        self.sort();
        let probs = self.probabilities();
        let enough = p * probs[0];
        let end = probs.partition_point(|prob| *prob >= enough).max(1);
        if end > 1 {
            self.near(Sampler::MinP, probs[end - 1] - enough);
        }
        if end < probs.len() {
            self.near(Sampler::MinP, enough - probs[end]);
        }
        let mass = running(&probs);
        for (at, id) in self.alive.split_off(end).into_iter().enumerate() {
            let (mass_above, margin) = (mass[end + at], enough - probs[end + at]);
            self.cut[id as usize] = Some(Cut { by: Sampler::MinP, mass_above, margin });
        }
    }

    fn typical(&mut self, p: f64) {
        self.sort();
        let probs = self.probabilities();
        let entropy = entropy_nats(&probs);
        let far = |prob: f64| (-prob.ln() - entropy).abs();
        let mut order: Vec<usize> = (0..probs.len()).collect();
        order.sort_by(|a, b| far(probs[*a]).total_cmp(&far(probs[*b])));
        let mass = running(&order.iter().map(|i| probs[*i]).collect::<Vec<_>>());
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
            let cut = Cut { by: Sampler::Typical, mass_above: mass[at], margin: (mass[at] - p).max(0.0) };
            self.cut[self.alive[*i] as usize] = Some(cut);
        }
        let mut keep = keep.into_iter();
        self.alive.retain(|_| keep.next().unwrap_or_default());
    }

    fn near(&mut self, by: Sampler, distance: f64) {
        if self.nearest.is_none_or(|(_, known)| distance < known) {
            self.nearest = Some((by, distance));
        }
    }

    fn sort(&mut self) {
        if !self.sorted {
            self.alive.sort_unstable();
            sort(&mut self.alive, &self.logits);
            self.sorted = true;
        }
    }

    /// Of what is left, in its order.
    fn probabilities(&self) -> Vec<f64> {
        softmax(&self.alive.iter().map(|id| self.logits[*id as usize]).collect::<Vec<_>>())
    }
}

/// Sorts ids by what they have, the largest first; equals stay in their order.
fn sort(ids: &mut [u32], by: &[f64]) {
    // Sorting keys of integers beside the ids is faster than looking each up.
    let key = |x: f64| {
        let bits = x.to_bits();
        !(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
    };
    // 0 and -0 are equals.
    let mut keyed: Vec<(u64, u32)> = ids.iter().map(|id| (key(by[*id as usize] + 0.0), *id)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    ids.iter_mut().zip(keyed).for_each(|(id, (_, sorted))| *id = sorted);
}

/// The softmax, in f64.
fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> = logits.iter().map(|x| (x - most).exp()).collect();
    let total: f64 = exp.iter().sum();
    exp.into_iter().map(|x| x / total).collect()
}

/// The sums before each element, and of all.
fn running(of: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let mut sums = Vec::with_capacity(of.len() + 1);
    sums.push(0.0);
    for x in of {
        sum += x;
        sums.push(sum);
    }
    sums
}

fn entropy_nats(probs: &[f64]) -> f64 {
    probs.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum()
}
