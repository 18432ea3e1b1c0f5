//! Cutting work into groups that fit a memory budget.

use std::ops::Range;

use super::need::Need;
use crate::arch::Spec;
use crate::text::Prompt;

/// Cuts consecutive things of these sizes into groups: in each as many as fit `limit`, at least one.
pub(crate) fn cut(sizes: impl IntoIterator<Item = usize>, limit: usize) -> Vec<Range<usize>> {
    let (mut groups, mut used): (Vec<Range<usize>>, usize) = (vec![], 0);
    for (i, size) in sizes.into_iter().enumerate() {
        match groups.last_mut() {
            Some(group) if used + size <= limit => group.end = i + 1,
            _ => {
                groups.push(i..i + 1);
                used = 0;
            }
        }
        used += size;
    }
    groups
}

/// Consecutive prompts that run together: as many as fit `budget_bytes`, at least one.
///
/// `kept_bytes` is what the analysis keeps of each row beside the run itself.
pub(crate) fn waves(spec: &Spec, prompts: &[Prompt], kept_bytes: usize, budget_bytes: usize) -> Vec<Range<usize>> {
    let row = kept_bytes + run_bytes(spec);
    cut(prompts.iter().map(|prompt| prompt.tokens.len() * row), budget_bytes)
}

/// What these prompts need, cut into waves: of each row what the run and the analysis hold, and `beside` that, which is there once.
pub(crate) fn need(spec: &Spec, prompts: &[Prompt], kept_bytes: usize, beside: usize, budget_bytes: usize) -> Need {
    let row = kept_bytes + run_bytes(spec);
    let bytes = |wave: Range<usize>| row * prompts[wave].iter().map(|p| p.tokens.len()).sum::<usize>();
    let waves = waves(spec, prompts, kept_bytes, budget_bytes);
    let most = waves.into_iter().map(bytes).max().unwrap_or(0);
    let longest = prompts.iter().map(|p| row * p.tokens.len()).max().unwrap_or(0);
    Need { activations: most + beside, least: longest + beside, rows: 0 }
}

/// Bytes of a row's activations that one block holds at once, in f32: of the block that holds most.
fn run_bytes(spec: &Spec) -> usize {
    crate::sweep::row_bytes(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prompt_is_in_one_wave_and_waves_fit() {
        let config =
            r#"{"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 99, "vocab_size": 9}"#;
        let (_, spec) = crate::arch::family::read_config(config).unwrap();
        let prompt = |n: u32| crate::text::PromptEntry::ids(vec![0; n as usize]);
        let entries: Vec<_> = [5, 5, 50, 1, 1].map(prompt).into();
        let prompts = crate::text::build_prompts(&entries, None, 9, None, Default::default()).unwrap();
        let row = run_bytes(&spec);
        assert_eq!(waves(&spec, &prompts, 0, 10 * row), [0..2, 2..3, 3..5]);
        assert_eq!(waves(&spec, &prompts, 0, 1), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert_eq!(waves(&spec, &prompts, 0, usize::MAX / row).len(), 1);
        let need = |kept, budget| {
            let need = super::need(&spec, &prompts, kept, 7, budget);
            [need.activations, need.least]
        };
        assert_eq!(need(0, 10 * row), [50 * row + 7, 50 * row + 7]);
        assert_eq!(need(0, 60 * row), [60 * row + 7, 50 * row + 7]);
        assert_eq!(need(row, 1 << 40), [62 * 2 * row + 7, 100 * row + 7]);
    }
}
