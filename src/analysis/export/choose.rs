//! Which tokens become rows.

use crate::range::Interval;

/// Which tokens become rows, as far as that is known before anything runs.
#[derive(Clone, Debug, Default)]
pub struct Choosing {
    /// Control tokens, such as BOS, are left out.
    pub skip_special: bool,
    /// Positions in their sequence that are left out.
    pub skip_pos: Vec<Interval>,
    /// The share that is drawn; all without it.
    pub sample: Option<f64>,
    /// Of what is drawn.
    pub seed: u64,
}

impl Choosing {
    /// Whether a token is left out by what it is and where it stands in its sequence.
    pub fn skips(&self, pos: u32, special: bool) -> bool {
        (self.skip_special && special) || self.skip_pos.iter().any(|range| range.has(pos as usize))
    }

    /// Whether a token is drawn: by document, sequence and position alone, so that every machine draws the same.
    pub fn draws(&self, doc: u64, seq: u32, pos: u32) -> bool {
        let Some(share) = self.sample else { return true };
        let hash = [doc, u64::from(seq), u64::from(pos)].iter().fold(mix(self.seed), |hash, x| mix(hash ^ mix(*x)));
        // 53 bits, which an f64 holds exactly.
        ((hash >> 11) as f64) < share * (1u64 << 53) as f64
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014), after its step.
pub(in crate::analysis) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The median of `norms`, which is between the middle two of an even number; none of none.
pub fn median(mut norms: Vec<f64>) -> Option<f64> {
    norms.sort_unstable_by(f64::total_cmp);
    let half = norms.len() / 2;
    match norms.len() % 2 {
        _ if norms.is_empty() => None,
        0 => Some((norms[half - 1] + norms[half]) / 2.0),
        _ => Some(norms[half]),
    }
}
