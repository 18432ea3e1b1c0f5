//! When something may be claimed: each claim of the page is one of these, and false on a model where it is not so.

/// The largest of some numbers, where it is half as large again as any other: what is less does not stand out.
pub fn stands_out(of: &[f64]) -> Option<usize> {
    let most = (0..of.len()).reduce(|a, b| if of[b].abs() > of[a].abs() { b } else { a })?;
    let others = of.iter().enumerate().filter(|(i, _)| *i != most).map(|(_, x)| x.abs()).fold(0.0, f64::max);
    (of[most].abs() > 1.5 * others && of[most] != 0.0).then_some(most)
}

/// Whether an answer that stands from this layer on, counted from 0, stands before the last of `n`.
pub fn decided(layer: u32, n: usize) -> bool {
    (layer as usize) + 1 < n
}
