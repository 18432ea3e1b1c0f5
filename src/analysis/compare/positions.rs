//! Two distributions over the next token, compared.

use super::super::loss::Surprise;

/// How far one distribution is from another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// KL(reference || model), in bits.
    pub kl_bits: f64,
    /// The Jensen-Shannon divergence, in bits.
    pub js_bits: f64,
}

/// How far the distribution of logits `model` is from that of `reference`: over the tokens that both have, each distribution being
/// that of these tokens alone. Sums are in f64; equal logits give exactly 0.
pub fn divergence(reference: &[f32], model: &[f32]) -> Divergence {
    let n = reference.len().min(model.len());
    let (p, q) = (&reference[..n], &model[..n]);
    let (total_p, total_q) = (log_total(p), log_total(q));
    let (mut kl, mut js) = (0.0, 0.0);
    for (x, y) in p.iter().zip(q) {
        let (log_p, log_q) = (f64::from(*x) - total_p, f64::from(*y) - total_q);
        let (p, q) = (log_p.exp(), log_q.exp());
        // What has no probability adds nothing.
        if p > 0.0 {
            kl += p * (log_p - log_q);
            js += p * less_than_middle(log_q - log_p);
        }
        if q > 0.0 {
            js += q * less_than_middle(log_p - log_q);
        }
    }
    // Below zero is rounding.
    let bits = |nats: f64| (nats / std::f64::consts::LN_2).max(0.0);
    Divergence { kl_bits: bits(kl), js_bits: bits(js / 2.0) }
}

/// `log(p / m)` of the middle `m = (p + q) / 2`, where `by = log q - log p`.
fn less_than_middle(by: f64) -> f64 {
    match by > 30.0 {
        // So that the exponential is a number.
        true => std::f64::consts::LN_2 - by - (-by).exp().ln_1p(),
        false => -(0.5 + 0.5 * by.exp()).ln(),
    }
}

/// The logarithm of the sum of the exponentials.
fn log_total(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: f64 = logits.iter().map(|x| (f64::from(*x) - f64::from(most)).exp()).sum();
    f64::from(most) + shifted.ln()
}

/// What a model says at one position: of the token that came next, where one did, and of its first choice.
#[derive(Clone, Copy, Debug)]
pub struct Says {
    /// Surprise at the token that came next, and its rank.
    pub next: Option<Surprise>,
    /// The most probable token and its probability.
    pub first: (u32, f64),
}

impl Says {
    /// Of these logits; `next` is the token that came.
    pub fn of(logits: &[f32], next: Option<u32>) -> Self {
        // What is asked of the first token is asked of any.
        let any = Surprise::of(logits, next.unwrap_or(0));
        Self { next: next.map(|_| any), first: any.expected }
    }

    /// Its surprise at the next token, in bits.
    pub fn bits(&self) -> Option<f64> {
        self.next.map(|surprise| surprise.loss_nats / std::f64::consts::LN_2)
    }
}
