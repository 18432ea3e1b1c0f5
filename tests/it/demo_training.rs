//! The built-in model: that its training is real, and that what is said of it is true.

use anyhow::Result;
use pellucid::run::Loaded;

use crate::train::corpus::{Corpus, train_tokenizer};
use crate::train::training::{Plan, Trainer};
use crate::train::{mechanisms, skills};

/// The seed of the shipped model.
const SEED: u64 = 1;

fn trainer(steps: u64) -> Result<Trainer> {
    Trainer::new(Corpus::new(train_tokenizer(SEED)?, SEED, steps), Plan { seed: SEED, steps, every: 5 })
}

/// The program that made the shipped weights, from the same seed: a hundred steps take the held-out loss from that of
/// guessing among all tokens (7.6 nats) to under half of it.
#[test]
fn a_short_run_learns() -> Result<()> {
    let mut trainer = trainer(100)?;
    let before = trainer.held_out_loss()?;
    while !trainer.finished() {
        trainer.step()?;
    }
    let after = trainer.held_out_loss()?;
    assert!((7.4..7.9).contains(&before), "{before}");
    assert!(after < 3.8, "from {before} to {after}");
    assert_eq!(trainer.reports.len(), 20);
    assert!((trainer.reports[19].held_out_loss_nats - after).abs() < 1e-6);
    Ok(())
}

/// Killed and started again, the run ends with the same bits.
#[test]
fn a_run_that_was_interrupted_ends_as_one_that_was_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let mut whole = trainer(6)?;
    while !whole.finished() {
        whole.step()?;
        if whole.parameters.steps == 3 {
            whole.save(&checkpoint)?;
        }
    }
    let mut resumed = trainer(6)?;
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
    assert!(!trainer(7)?.resume(&checkpoint)?);
    Ok(())
}

#[test]
fn the_shipped_model_can_do_what_it_must() -> Result<()> {
    for skill in skills::measure(&Loaded::open("demo", &[])?, SEED)? {
        assert!(skill.holds(), "{skill:?}");
    }
    Ok(())
}

#[test]
fn the_mechanisms_are_there_to_find() -> Result<()> {
    for mechanism in mechanisms::measure(&Loaded::open("demo", &[])?, SEED)? {
        assert!(mechanism.holds(), "{mechanism:?}");
    }
    Ok(())
}
