//! The built-in model: that its training is real, and that what is said of it is true.

use std::path::Path;

use anyhow::Result;
use pellucid::analysis::TrainingRow;
use pellucid::session::Session;
use pellucid::table::read_rows;

use crate::train::corpus::{Corpus, train_tokenizer};
use crate::train::training::{Plan, Trainer};
use crate::train::{mechanisms, skills};

/// The seed of the shipped model.
const SEED: u64 = 1;
/// Its steps: the text of a step depends on how many there are to be.
const STEPS: u64 = 10_000;

fn trainer(steps: u64, every: u64) -> Result<Trainer> {
    Trainer::new(Corpus::new(train_tokenizer(SEED)?, SEED, steps), Plan { seed: SEED, steps, every })
}

/// The program that made the shipped weights, from the same seed, takes the held-out loss from that of guessing among all
/// tokens down by two nats in 150 steps, along the curve that was shipped.
///
/// Invariant: The built-in model was trained by the program beside it, and does and contains what its card says (`train-demo
/// --check` in `.ci/run` checks the numbers).
#[test]
fn a_short_run_learns_as_the_shipped_model_did() -> Result<()> {
    let mut trainer = trainer(STEPS, 50)?;
    let before = trainer.held_out_loss()?;
    while trainer.parameters.steps < 150 {
        trainer.step()?;
    }
    let after = trainer.held_out_loss()?;
    assert!((7.3..8.5).contains(&before), "{before}");
    assert!(after < before - 2.0, "from {before} to {after}");
    let curve = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/training.parquet");
    let (shipped, _) = read_rows::<TrainingRow>(curve)?;
    assert_eq!(trainer.reports.len(), 3);
    for (report, shipped) in trainer.reports.iter().zip(&shipped) {
        assert_eq!((report.step, report.tokens), (shipped.step, shipped.tokens));
        // Another machine adds in another order, and 150 steps make more of it.
        let apart = (report.held_out_loss_nats - shipped.held_out_loss_nats).abs();
        assert!(apart < 0.1, "step {}: {} and {}", report.step, report.held_out_loss_nats, shipped.held_out_loss_nats);
    }
    Ok(())
}

/// Killed and started again, the run ends with the same bits.
///
/// Invariant: A training run that was killed ends with the same weights as one that was not.
#[test]
fn a_run_that_was_interrupted_ends_as_one_that_was_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let mut whole = trainer(6, 2)?;
    while !whole.finished() {
        whole.step()?;
        if whole.parameters.steps == 3 {
            whole.save(&checkpoint)?;
        }
    }
    let mut resumed = trainer(6, 2)?;
    assert!(resumed.resume(&checkpoint)?);
    assert_eq!(resumed.parameters.steps, 3);
    while !resumed.finished() {
        resumed.step()?;
    }
    for (a, b) in whole.parameters.all.iter().zip(&resumed.parameters.all) {
        assert_eq!(a.state, b.state, "{}", a.name);
    }
    assert_eq!(whole.reports, resumed.reports);
    // A checkpoint of another plan is not gone on with.
    assert!(!trainer(7, 2)?.resume(&checkpoint)?);
    Ok(())
}

/// Invariant: as `a_short_run_learns_as_the_shipped_model_did`.
#[test]
fn the_shipped_model_can_do_what_it_must() -> Result<()> {
    for skill in skills::measure(&Session::open("demo")?, SEED)? {
        assert!(skill.holds(), "{skill:?}");
    }
    Ok(())
}

/// Invariant: as `a_short_run_learns_as_the_shipped_model_did`.
#[test]
fn the_mechanisms_are_there_to_find() -> Result<()> {
    for mechanism in mechanisms::measure(&Session::open("demo")?, SEED)?.measured {
        assert!(mechanism.holds(), "{mechanism:?}");
    }
    Ok(())
}
