//! Statistics and examples of all neurons over a corpus, beside bare forward passes over as many tokens.
//!
//! What is told at the end, the examples of each neuron with their texts, takes as long whatever the corpus is. So two corpora are timed,
//! and what the longer one takes more is compared with passes over its further tokens.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pellucid::analysis::{NeuronStatsRow, Neurons};
use pellucid::session::{Analysis, Corpora, On, PromptsAndCorpora, Session, Sink, To};
use pellucid::table::read_some_rows;
use pellucid::text::corpus::Reading;

use crate::Bench;
use crate::clock::take_turns;
use crate::export::{CONTEXT, forward, with_tokenizer};
use crate::models::scratch;

/// Words of a document.
const WORDS: usize = 100;

pub fn measure(bench: &Bench) -> Result<()> {
    let real = bench.shape.d_model > 100;
    let session = match real {
        true => Session::open(&with_tokenizer(&bench.folder)?.display().to_string())?,
        // The tiny shape has fewer tokens than any tokenizer.
        false => Session::open("demo")?,
    };
    let context = CONTEXT.min(session.model.spec().n_ctx.unwrap_or(CONTEXT));
    let documents = if real { 30 } else { 4 };
    let (short, long) = (corpus("short", documents)?, corpus("long", 2 * documents)?);
    let tokens = [run(&session, &short, context)?, run(&session, &long, context)?];
    let more = tokens[1] - tokens[0];
    let mut bare = || forward(&session.model, more, context);
    let (mut one, mut two) = (|| run(&session, &short, context).map(drop), || run(&session, &long, context).map(drop));
    let times = take_turns(bench.reps.min(3), &mut [&mut bare, &mut one, &mut two])?;
    let further = times[2].less(&times[1]);
    bench.say.times("neurons", "bare forward passes", more, &times[0]);
    bench.say.times("neurons", "a corpus, all told", tokens[0], &times[1]);
    bench.say.times("neurons", "as many tokens more", more, &further);
    bench.say.ratio("neurons", "further tokens over bare", more, &further.over(&times[0]), Some(1.3));
    Ok(())
}

/// A corpus of so many documents, a word about a token and some letters more.
fn corpus(name: &str, documents: usize) -> Result<PathBuf> {
    let path = scratch().join(format!("neurons-{name}.jsonl"));
    let word = |i: usize| format!("w{}", i * 7919 % 1000);
    let document = |d: usize| {
        let text: Vec<String> = (d * WORDS..(d + 1) * WORDS).map(word).collect();
        format!("{}\n", serde_json::json!({"text": text.join(" ")}))
    };
    fs_err::write(&path, (0..documents).map(document).collect::<String>())?;
    Ok(path)
}

/// Reads the corpus, and says how many tokens it has.
fn run(session: &Session, corpus: &Path, context: usize) -> Result<usize> {
    let neurons = Neurons { context: Some(context), cards: 1, ..Neurons::default() };
    let corpora = vec![Corpora::open(&[corpus.to_owned()], &Reading::default())?];
    let input = PromptsAndCorpora { corpora, ..PromptsAndCorpora::default() };
    let folder = tempfile::tempdir()?;
    let stats = folder.path().join("neuron_stats.parquet");
    let mut sink = Sink::new(To::Temporary(folder), On::provenance(session, vec![]), &(), &|_| {});
    neurons.run(session, &input, &mut sink)?;
    let _found = sink.finish(true)?;
    let (rows, _) = read_some_rows::<NeuronStatsRow>(&stats, 0, 1)?;
    Ok(rows.first().context("there are no statistics")?.numbers.tokens_seen as usize)
}
