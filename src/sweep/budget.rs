//! Memory beside the weights: what a request needs of it, and what it is allowed, which cuts its work into parts that fit.

use std::ops::Range;

use super::row_bytes;
use crate::arch::Spec;
use crate::text::Prompt;

/// Bytes that an analysis holds at one time. Its own `need` says it, by the same cut as the one by which it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Activations and logits, as the budget cuts them.
    pub activations: usize,
    /// The least that they can be, whatever the budget: of the longest prompt alone, or of one patch of it.
    pub least: usize,
    /// What is held of one prompt or pair while it is drawn, which no budget cuts.
    pub rows: usize,
}

impl Need {
    /// What is needed for either, one after the other.
    pub fn or(self, other: Self) -> Self {
        Self {
            activations: self.activations.max(other.activations),
            least: self.least.max(other.least),
            rows: self.rows.max(other.rows),
        }
    }
}

/// Bytes that a request may take for activations and logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub usize);

/// Work that a budget has cut.
pub struct Cut {
    /// What runs together.
    pub waves: Vec<Range<usize>>,
    /// What that needs.
    pub need: Need,
}

impl Cut {
    /// `waves` of things of these sizes. `beside` them is what is there once.
    pub(super) fn of(waves: Vec<Range<usize>>, sizes: &[usize], beside: usize) -> Self {
        let most = waves.iter().map(|wave| sizes[wave.clone()].iter().sum::<usize>()).max().unwrap_or(0);
        let longest = sizes.iter().copied().max().unwrap_or(0);
        Self { waves, need: Need { activations: most + beside, least: longest + beside, rows: 0 } }
    }
}

impl Default for Budget {
    /// Where nobody says how much.
    fn default() -> Self {
        Self(512_000_000)
    }
}

impl Budget {
    /// Of a sweep: half for what is recorded, and half for runs that are patched.
    pub(crate) fn half(self) -> Self {
        Self(self.0 / 2)
    }

    /// Of a sweep: for each of the [`LOGITS`] copies of logits that are made at once.
    pub(crate) fn logits(self) -> Self {
        Self(self.0 / 8)
    }

    /// How many things of so many bytes fit: at least one.
    pub(crate) fn holds(self, bytes: usize) -> usize {
        (self.0 / bytes.max(1)).max(1)
    }

    /// Cuts consecutive things of these sizes into groups: in each as many as fit, at least one.
    pub(crate) fn groups(self, sizes: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
        let (mut groups, mut used): (Vec<Range<usize>>, usize) = (vec![], 0);
        for (i, size) in sizes.into_iter().enumerate() {
            match groups.last_mut() {
                Some(group) if used + size <= self.0 => group.end = i + 1,
                _ => {
                    groups.push(i..i + 1);
                    used = 0;
                }
            }
            used += size;
        }
        groups
    }

    /// Cuts consecutive things of these sizes. `beside` them is what is there once.
    pub(crate) fn cut(self, sizes: &[usize], beside: usize) -> Cut {
        Cut::of(self.groups(sizes.iter().copied()), sizes, beside)
    }

    /// Cuts prompts that run together, of each row of which the analysis keeps `kept` bytes beside the run itself.
    pub(crate) fn prompts(self, spec: &Spec, prompts: &[Prompt], kept: usize, beside: usize) -> Cut {
        let row = kept + row_bytes(spec);
        self.cut(&prompts.iter().map(|prompt| prompt.tokens.len() * row).collect::<Vec<_>>(), beside)
    }
}

/// How often logits of a sweep are there: as they are made, row by row, and run by run.
pub(crate) const LOGITS: usize = 3;

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
        let prompts = crate::text::build_prompts(&entries, None, 9, None, crate::text::Bos::default()).unwrap();
        let row = row_bytes(&spec);
        let waves = |budget| Budget(budget).prompts(&spec, &prompts, 0, 0).waves;
        assert_eq!(waves(10 * row), [0..2, 2..3, 3..5]);
        assert_eq!(waves(1), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert_eq!(waves(usize::MAX / row).len(), 1);
        let need = |kept, budget| {
            let need = Budget(budget).prompts(&spec, &prompts, kept, 7).need;
            [need.activations, need.least]
        };
        assert_eq!(need(0, 10 * row), [50 * row + 7, 50 * row + 7]);
        assert_eq!(need(0, 60 * row), [60 * row + 7, 50 * row + 7]);
        assert_eq!(need(row, 1 << 40), [62 * 2 * row + 7, 100 * row + 7]);
    }
}
