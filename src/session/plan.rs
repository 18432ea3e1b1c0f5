//! What a request needs of memory, said and compared with what there is before anything runs.

use sysinfo::System;

use crate::error::{Error, Result, Said, bytes, give_as, said};
use crate::limits::{Room, room};
use crate::model::{Footprint, Placement};
use crate::sweep::Need;

/// Bytes that a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of weights, and of those that are copied.
    pub weights: Footprint,
    /// Of activations, logits and rows at one time.
    pub need: Need,
}

/// What may still be taken of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// Bytes that the machine has, or the process's group where that has less.
    pub memory: u64,
    /// What the process itself may still map, where it has a limit, less what it takes without being asked.
    pub room: Option<Room>,
}

/// Address space for what no plan counts: buffers of kernels, figures, compression.
const BESIDE: u64 = 24 << 20;

/// What may still be taken: of the machine, of the process's group, and under its own limits.
pub fn available() -> Available {
    let mut system = System::new();
    system.refresh_memory();
    let machine = system.available_memory();
    // What the group may have, less what it has that cannot be given back. Files that are mapped can.
    let group = system.cgroup_limits().map(|group| group.total_memory.saturating_sub(group.rss));
    let room = room().map(|room| Room { bytes: room.bytes.saturating_sub(BESIDE), ..room });
    Available { memory: group.map_or(machine, |group| machine.min(group)), room }
}

impl Available {
    /// The least of them, in bytes.
    pub fn bytes(&self) -> u64 {
        self.room.map_or(self.memory, |room| room.bytes.min(self.memory))
    }

    /// The limit of the process, where that decides.
    fn limit(&self) -> Option<&'static str> {
        self.room.filter(|room| room.bytes < self.memory).map(|room| room.limit)
    }

    /// As much, and what is taken already.
    fn and(self, bytes: u64) -> Self {
        let room = self.room.map(|room| Room { bytes: room.bytes.saturating_add(bytes), ..room });
        Self { memory: self.memory.saturating_add(bytes), room }
    }
}

impl Plan {
    /// What weights alone need.
    pub fn of_weights(weights: Footprint) -> Self {
        Self { weights, need: Need::default() }
    }

    /// Refuses a budget that even the smallest part of the work exceeds: what is asked for would not be kept to.
    ///
    /// # Errors
    /// When it is less than that.
    pub fn check_budget(&self, budget: usize) -> Result<()> {
        let least = self.need.least;
        if least <= budget {
            return Ok(());
        }
        // In the unit that the option is given in, and never less than what is needed.
        let (size, unit) = if least < 1_000_000 { (1000, "KB") } else { (1_000_000, "MB") };
        Err(Error::bad_input(format!(
            "{} of memory are not enough: the least that this needs is {}",
            bytes(budget),
            bytes(least)
        ))
        .hint(
            give_as("memory", format!("{}{unit}", least.div_ceil(size)))
                + " would do; nothing less can, but with shorter prompts",
        ))
    }

    /// As [`Plan::check`], when the weights are loaded already: what of them is copied is not needed again.
    ///
    /// # Errors
    /// As [`Plan::check`].
    pub fn check_loaded(&self, placement: &Placement, available: Available) -> Result<Option<String>> {
        self.check(placement, available.and(self.weights.copied as u64))
    }

    /// Refuses what does not fit into what is available, and says what would. Of what fits but is slow, a warning.
    ///
    /// # Errors
    /// When what is copied and computed does not fit.
    pub fn check(&self, placement: &Placement, available: Available) -> Result<Option<String>> {
        let (copied, mapped) = (self.weights.copied, self.weights.mapped);
        let needed = (copied + self.need.activations + self.need.rows) as u64;
        let least = available.bytes();
        if needed > least {
            let limit = available.limit().map(|limit| format!(" under the limit of memory ({limit})"));
            let limit = limit.unwrap_or_default();
            let has = format!("this needs {self}, and {} are available{limit}", bytes(least as usize));
            return Err(Error::bad_input(has).hint(self.what_would(placement, available)));
        }
        // Where the process has a limit, what is mapped counts already, whether it is in memory or not.
        let memory = available.memory;
        let slow = (needed + mapped as u64 > memory).then(|| {
            format!(
                "warning: {} of mapped weights do not fit into the {} that are available, and are read again for each pass",
                bytes(mapped),
                bytes((memory - needed) as usize)
            )
        });
        Ok(slow)
    }

    /// What would fit.
    fn what_would(&self, placement: &Placement, available: Available) -> Said {
        let (limit, available) = (available.limit(), available.bytes() as usize);
        let Footprint { copied, numbers, .. } = self.weights;
        let least = self.need.least + self.need.rows;
        if copied + least.max(1) <= available && self.need.activations > self.need.least {
            return match available - copied - self.need.rows {
                left if left >= 2_000_000 => give_as("memory", format!("{}MB", left / 1_000_000)) + " would fit",
                _ => "fewer tokens in a prompt would fit".into(),
            };
        }
        if copied > 0 && placement.kept.is_some() && least <= available {
            return said("{dtype=auto} leaves the weights in the file, where they are read as they are needed");
        }
        let halves = numbers * size_of::<u16>();
        match limit {
            _ if copied > halves && halves + least <= available => said("{dtype=f16} would fit"),
            Some(limit) => format!("allow more memory ({limit} unlimited), or shorten the prompts").into(),
            None => "it needs a larger machine, or shorter prompts".into(),
        }
    }
}

/// `2.5 GB of weights (mapped) and 512 MB of activations`.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Footprint { copied, mapped, .. } = self.weights;
        match (copied, mapped) {
            (0, mapped) => write!(f, "{} of weights (mapped)", bytes(mapped))?,
            (copied, 0) => write!(f, "{} of weights (copied)", bytes(copied))?,
            (copied, mapped) => {
                write!(f, "{} of weights (mapped) and {} of copies of them", bytes(mapped), bytes(copied))?
            }
        }
        if self.need.activations > 0 {
            write!(f, ", and {} of activations and logits", bytes(self.need.activations))?;
        }
        match self.need.rows {
            0 => Ok(()),
            rows => write!(f, ", and {} for figures", bytes(rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::matrix::Kept;

    const GB: usize = 1_000_000_000;

    fn has(bytes: usize) -> Available {
        Available { memory: bytes as u64, room: None }
    }

    fn plan(mapped: usize, copied: usize, activations: usize, least: usize) -> Plan {
        let weights = Footprint { mapped, copied, numbers: (mapped + copied) / 4 };
        Plan { weights, need: Need { activations, least, rows: 0 } }
    }

    /// Invariant: as `what_cannot_fit_is_refused_with_what_would`.
    #[test]
    fn what_fits_runs_and_what_is_mapped_need_not_fit() {
        let auto = Placement::default();
        assert_eq!(plan(5 * GB, 0, GB, 1000).check(&auto, has(8 * GB)).unwrap(), None);
        let slow = plan(5 * GB, 0, GB, 1000).check(&auto, has(4 * GB)).unwrap().unwrap();
        assert!(slow.contains("5.0 GB of mapped weights do not fit into the 3.0 GB"), "{slow}");
    }

    /// Invariant: A request that cannot fit into memory is refused before it runs, with what would fit.
    #[test]
    fn what_cannot_fit_is_refused_with_what_would() {
        let f32 = Placement { kept: Some(Kept::F32), ..Placement::default() };
        let refused = |plan: Plan, placement: &Placement, available: usize| {
            let error = plan.check(placement, has(available)).unwrap_err();
            format!("{} | {}", error.message(), error.hint_text().unwrap_or_default())
        };
        let auto = Placement::default();
        let said = refused(plan(5 * GB, 0, 2 * GB, 1000), &auto, GB);
        let wanted =
            "this needs 5.0 GB of weights (mapped), and 2.0 GB of activations and logits, and 1.0 GB are available";
        assert_eq!(said, format!("{wanted} | `memory = 1000MB` would fit"));
        assert!(
            refused(plan(0, 5 * GB, GB, 1000), &f32, 4 * GB)
                .ends_with("`dtype = auto` leaves the weights in the file, where they are read as they are needed")
        );
        assert!(refused(plan(0, 5 * GB, GB, 1000), &auto, 4 * GB).ends_with("`dtype = f16` would fit"));
        assert!(refused(plan(0, 5 * GB, GB, 1000), &auto, GB).ends_with("a larger machine, or shorter prompts"));
        assert!(refused(plan(5 * GB, 0, 2 * GB, 2 * GB), &auto, GB).ends_with("a larger machine, or shorter prompts"));
    }

    /// What a process may map counts like memory, and is said to be what it is.
    #[test]
    fn the_limit_of_the_process_is_named() {
        let of = |left: usize| {
            let room = Room { bytes: left as u64, limit: "ulimit -v" };
            Available { memory: 8 * GB as u64, room: Some(room) }
        };
        let (auto, plan) = (Placement::default(), plan(5 * GB, 0, 2 * GB, 2 * GB));
        let error = plan.check(&auto, of(GB)).unwrap_err();
        assert!(error.message().ends_with("1.0 GB are available under the limit of memory (ulimit -v)"), "{error:?}");
        assert_eq!(error.hint_text(), Some("allow more memory (ulimit -v unlimited), or shorten the prompts"));
        // Weights are mapped already, and memory has place for them.
        assert_eq!(plan.check(&auto, of(3 * GB)).unwrap(), None);
        // A limit beyond what the machine has is none.
        let error = plan.check(&auto, Available { memory: GB as u64, ..of(3 * GB) }).unwrap_err();
        assert!(error.message().ends_with("1.0 GB are available"), "{error:?}");
    }

    #[test]
    fn a_budget_that_cannot_be_kept_is_refused_with_one_that_can() {
        let plan = plan(5 * GB, 0, 3_400_000, 1_200_345);
        assert!(plan.check_budget(1_200_345).is_ok());
        let error = plan.check_budget(1000).unwrap_err();
        assert_eq!(error.message(), "1.0 kB of memory are not enough: the least that this needs is 1.2 MB");
        assert!(error.hint_text().unwrap_or_default().starts_with("`memory = 2MB` would do"), "{error:?}");
        assert!(plan.check_budget(2_000_000).is_ok());
    }

    #[test]
    fn there_is_memory() {
        assert!(available().bytes() > 1_000_000);
    }
}
