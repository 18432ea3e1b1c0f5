//! Makes pellucid's built-in model from nothing but a seed: text, tokenizer, weights, loss curve and model card.
//!
//! Killed, it goes on where it was when it is started again. `--check` trains nothing: it measures the model that is there
//! and fails if its card is not true.

mod train;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use pellucid::analysis::TrainingRow;
use pellucid::session::Session;
use pellucid::table::{TableWriter, read_rows};
use pellucid::whole::write_whole;
use tokenizers::Tokenizer;
use train::card::Card;
use train::corpus::{self, Corpus, train_tokenizer};
use train::skills::Measured;
use train::training::{Plan, Trainer};
use train::{export, grammar, mechanisms, skills};

/// Trains pellucid's built-in model, or checks it.
#[derive(Parser)]
struct Arguments {
    /// Where the model is written, or read
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo"))]
    out: PathBuf,
    /// Where everything random comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps of training
    #[arg(long, default_value_t = 10_000)]
    steps: u64,
    /// A row of the loss table every so many steps
    #[arg(long, default_value_t = 50)]
    every: u64,
    /// Train nothing: measure the model again and fail if its card is not true
    #[arg(long)]
    check: bool,
    /// Train nothing: measure the model again, draw its losses and write its card anew
    #[arg(long, conflicts_with = "check")]
    card: bool,
    /// Train nothing: print so many texts of the corpus
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
}

/// The loss table.
const LOSSES: &str = "training.parquet";
/// A checkpoint is written this often.
const CHECKPOINT: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    pellucid::ops::memory::keep_freed_pages();
    let arguments = Arguments::parse();
    if let Some(n) = arguments.sample {
        let mut random = corpus::random(arguments.seed, corpus::streams::TOKENIZER);
        (0..n).for_each(|_| println!("{}", grammar::document(&mut random, grammar::Split::Train)));
        return Ok(());
    }
    if arguments.card {
        let (reports, _) = read_rows::<TrainingRow>(arguments.out.join(LOSSES))?;
        losses(&arguments.out, &reports)?;
    } else if !arguments.check {
        train(&arguments)?;
    }
    let Arguments { out, seed, steps, check, .. } = &arguments;
    let is = measure(out, *seed, *steps)?;
    for Measured { name, measure, value, .. } in is.skills.iter().chain(&is.mechanisms.measured) {
        println!("{name:<56} {:>7.3} ± {:.3}  {measure}", value.mean, value.error);
    }
    let path = out.join("README.md");
    if !check {
        write_whole(&path, is.markdown().as_bytes())?;
    }
    let wrong = is.differences(&fs_err::read_to_string(&path)?);
    ensure!(wrong.is_empty(), "{} is not true:\n  {}", path.display(), wrong.join("\n  "));
    println!("{} is true", path.display());
    Ok(())
}

/// Trains, and writes all files but the card.
fn train(arguments: &Arguments) -> Result<()> {
    let Arguments { out, seed, steps, every, .. } = arguments;
    fs_err::create_dir_all(out)?;
    let checkpoint = out.join("checkpoint.safetensors");
    eprintln!("making text and tokenizer");
    let tokenizer = train_tokenizer(*seed)?;
    let plan = Plan { seed: *seed, steps: *steps, every: *every };
    let mut trainer = Trainer::new(Corpus::new(tokenizer.clone(), *seed, *steps), plan)?;
    if checkpoint.exists() {
        if !trainer.resume(&checkpoint)? {
            bail!("{} is of another run; delete it to begin anew", checkpoint.display());
        }
        eprintln!("going on after step {}", trainer.parameters.steps);
    }
    let bar = ProgressBar::new(*steps).with_position(trainer.parameters.steps);
    bar.set_style(ProgressStyle::with_template("{bar:32} {pos}/{len} steps, {msg}, {eta} left")?);
    bar.reset_eta();
    let mut saved = Instant::now();
    while !trainer.finished() {
        trainer.step()?;
        bar.inc(1);
        if let Some(last) = trainer.reports.last().filter(|last| last.step == trainer.parameters.steps) {
            let said = format!("loss {:.3}, held out {:.3}", last.loss_nats, last.held_out_loss_nats);
            if bar.is_hidden() {
                eprintln!("step {} of {steps}: {said}", last.step);
            }
            bar.set_message(said);
        }
        if saved.elapsed() > CHECKPOINT {
            trainer.save(&checkpoint)?;
            saved = Instant::now();
        }
    }
    bar.finish_and_clear();
    export::write(out, &trainer.parameters, &tokenizer)?;
    losses(out, &trainer.reports)?;
    if checkpoint.exists() {
        fs_err::remove_file(&checkpoint)?;
    }
    Ok(())
}

/// The loss table and its figure.
fn losses(out: &Path, reports: &[TrainingRow]) -> Result<()> {
    let provenance = Session::open(&out.to_string_lossy())?.provenance(vec!["train-demo".to_owned()]);
    let path = out.join(LOSSES);
    let mut writer = TableWriter::<TrainingRow>::create(&path, provenance)?;
    for report in reports {
        writer.push(report)?;
    }
    writer.finish()?;
    for figure in pellucid::analysis::seen::render(&path)? {
        write_whole(&out.join(format!("{}.svg", figure.name)), figure.svg.as_bytes())?;
    }
    Ok(())
}

/// What is true of the model in `folder`.
fn measure(folder: &Path, seed: u64, steps: u64) -> Result<Card> {
    let loaded = Session::open(&folder.to_string_lossy())?;
    let bytes = fs_err::read(folder.join("tokenizer.json"))?;
    let tokenizer = Tokenizer::from_bytes(&bytes).map_err(|e| anyhow::anyhow!("{e}"))?;
    let (reports, _) = read_rows::<TrainingRow>(folder.join(LOSSES))?;
    let last = reports.last().context("the loss table is empty")?;
    let corpus = Corpus::new(tokenizer, seed, steps);
    Ok(Card {
        seed,
        steps,
        tokens: last.tokens,
        parameters: loaded.model.spec().n_params(),
        d_vocab: corpus.d_vocab(),
        held_out_loss: last.held_out_loss_nats,
        corpus: corpus.hash()?,
        weights: loaded.weights_hash.clone(),
        tokenizer: format!("blake3:{}", blake3::hash(&bytes).to_hex()),
        skills: skills::measure(&loaded, seed)?,
        mechanisms: mechanisms::measure(&loaded, seed)?,
    })
}
