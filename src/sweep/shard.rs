//! Blocks of pairs or prompts, and shards: the blocks that one of several processes measures.
//!
//! How runs are packed decides the last bits of numbers. So that these are the same in every shard, no pack crosses the end of a block,
//! and blocks are the same whatever the shards are.

use std::str::FromStr;

use super::Budget;
use super::budget::Cut;

/// Pairs or prompts of a block. Fewer would make packs of short prompts so small that the lens is slower by more than 3 %.
pub const BLOCK: usize = 64;

/// The most parts that a request can have.
const MOST: u64 = 100_000;

/// One of several processes that share the blocks of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shard {
    /// Which one, from 0.
    pub index: u64,
    /// Of how many.
    pub of: u64,
}

/// The one process that makes all.
impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

/// `3/16`: the fourth of sixteen.
impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        match text.split_once('/').map(|(index, of)| (number(index), number(of))) {
            Some((Some(_), Some(of))) if of > MOST => Err(format!("there are at most {MOST} parts")),
            Some((Some(index), Some(of))) if index < of => Ok(Self { index, of }),
            Some((Some(index), Some(of))) => Err(format!("there is no part {index} of {of}: parts are counted from 0")),
            _ => Err("write which part of how many, such as 0/4 for the first of four".to_owned()),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl Shard {
    /// What its files and folders are called: `shard-3-of-16`.
    pub fn name(self) -> String {
        format!("shard-{}-of-{}", self.index, self.of)
    }

    /// The shard with this name; none where it is none's.
    pub fn named(name: &str) -> Option<Self> {
        let (index, of) = name.strip_prefix("shard-")?.split_once("-of-")?;
        let shard = format!("{index}/{of}").parse::<Self>().ok()?;
        (shard.name() == name).then_some(shard)
    }

    /// Whether it makes block `block`.
    pub fn has(self, block: u64) -> bool {
        block % self.of == self.index
    }

    /// Whether it measures pair or prompt `item`.
    pub(crate) fn measures(self, item: usize) -> bool {
        self.has((item / BLOCK) as u64)
    }

    /// `I/N`, or `slurm`: this task of a job array.
    ///
    /// # Errors
    /// When it is neither; when there is no job array, or not all numbers of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "slurm" => Self::of_slurm(&|name| std::env::var(name).ok()),
            text => text.parse(),
        }
    }

    /// The shard of this task of a job array: tasks are counted from the smallest, in its steps.
    ///
    /// # Errors
    /// When there is no array, or one with gaps, in which a task's place is not its number.
    pub fn of_slurm(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str| {
            let name = format!("SLURM_ARRAY_TASK_{name}");
            let text = variable(&name).ok_or_else(|| format!("{name} is not set: run it as a task of a job array"))?;
            text.parse::<u64>().map_err(|_| format!("{name} is `{text}`, which is no number"))
        };
        let (id, of, first) = (number("ID")?, number("COUNT")?, number("MIN")?);
        let step = variable("SLURM_ARRAY_TASK_STEP").and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
        let last = number("MAX")?;
        let place = id.checked_sub(first).filter(|place| place % step == 0).map(|place| place / step);
        match place {
            Some(index) if index < of && (last.saturating_sub(first)) / step + 1 == of => {
                format!("{index}/{of}").parse()
            }
            _ => Err(format!(
                "task {id} of {of} in an array from {first} to {last} with gaps is not one of equal parts: give I/N, such as $SLURM_ARRAY_TASK_ID/16"
            )),
        }
    }
}

impl Budget {
    /// Cuts consecutive pairs or prompts of these sizes into packs, as many of them in each as fit, and none beyond the end of its block.
    /// Each counts as `runs` things that are cut.
    pub(crate) fn packs(self, runs: usize, sizes: &[usize]) -> Vec<std::ops::Range<usize>> {
        let blocks = sizes.chunks(BLOCK * runs).enumerate();
        let packs = blocks.flat_map(|(block, sizes)| {
            let first = block * BLOCK * runs;
            self.groups(sizes.iter().copied()).into_iter().map(move |pack| first + pack.start..first + pack.end)
        });
        packs.collect()
    }

    /// The same, with what that needs. `beside` them is what is there once.
    pub(crate) fn cut_packs(self, sizes: &[usize], beside: usize) -> Cut {
        Cut::of(self.packs(1, sizes), sizes, beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pack_crosses_the_end_of_a_block() {
        let packs = |budget, runs, n| Budget(budget).packs(runs, &vec![1; n]);
        assert_eq!(packs(1 << 30, 1, 2 * BLOCK + 3), [0..BLOCK, BLOCK..2 * BLOCK, 2 * BLOCK..2 * BLOCK + 3]);
        assert_eq!(packs(BLOCK - 1, 1, BLOCK + 3), [0..BLOCK - 1, BLOCK - 1..BLOCK, BLOCK..BLOCK + 3]);
        assert_eq!(packs(1 << 30, 3, 3 * BLOCK + 3), [0..3 * BLOCK, 3 * BLOCK..3 * BLOCK + 3]);
        assert_eq!(packs(2, 1, 3), [0..2, 2..3]);
        assert!(packs(9, 1, 0).is_empty());
        let shard = Shard { index: 1, of: 3 };
        let own: Vec<usize> = (0..4 * BLOCK + 1).filter(|item| shard.measures(*item)).collect();
        assert_eq!(own, [(BLOCK..2 * BLOCK).collect::<Vec<_>>(), vec![4 * BLOCK]].concat());
    }
}
