//! Exporting activations of a corpus, beside bare forward passes over as many tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use pellucid::analysis::Export;
use pellucid::analysis::export::Pack;
use pellucid::model::{Batch, Model, Run, Unembed};
use pellucid::session::{Analysis, Claiming, Corpora, Destination, On, Session, Sink, To};
use pellucid::text::corpus::Reading;

use crate::Bench;
use crate::clock::take_turns;
use crate::models::scratch;

/// Tokens of a sequence.
const CONTEXT: usize = 128;
/// Sequences that run together, as in the export.
const TOGETHER: usize = 16;

pub fn measure(bench: &Bench) -> Result<()> {
    let real = bench.shape.d_model > 100;
    let session = match real {
        true => Session::open(&with_tokenizer(&bench.folder)?.display().to_string())?,
        // The tiny shape has fewer tokens than any tokenizer.
        false => Session::open("demo")?,
    };
    let spec = session.model.spec();
    let (context, layers) = (CONTEXT.min(spec.n_ctx.unwrap_or(CONTEXT)), spec.blocks.len());
    let corpus = scratch().join("corpus.txt");
    // A word a token, and a few letters more.
    let words: Vec<String> = (0..32 * TOGETHER * CONTEXT).map(|i| format!("w{}", i * 7919 % 1000)).collect();
    let few = if real { words.len() / 24 } else { words.len() / 50 };
    fs_err::write(&corpus, words[..few].chunks(100).map(|line| line.join(" ") + "\n").collect::<String>())?;
    let out = scratch().join("exported");
    let mut tokens = 0;
    let mut export = |hooks: &str| -> Result<()> {
        tokens = run(&session, &corpus, &out, hooks, context)?;
        Ok(())
    };
    export("blocks.0.hook_resid_post")?;
    let last = format!("blocks.{}.hook_resid_post", layers - 1);
    let mut bare = || forward(&session.model, tokens, context);
    let (mut one, mut all) = (
        || run(&session, &corpus, &out, &last, context).map(drop),
        || run(&session, &corpus, &out, "blocks.*.hook_resid_post", context).map(drop),
    );
    let times = take_turns(bench.reps.min(9), &mut [&mut bare, &mut one, &mut all])?;
    bench.say.times("export", "bare forward passes", tokens, &times[0]);
    for (what, times_of, needed) in [("one resid_post", &times[1], 1.1), ("every resid_post", &times[2], 1.3)] {
        bench.say.times("export", what, tokens, times_of);
        bench.say.ratio("export", &format!("{what} over bare"), tokens, &times_of.over(&times[0]), Some(needed));
    }
    fs_err::remove_dir_all(&out)?;
    Ok(())
}

/// The bench's model with the built-in model's tokenizer, whose ids it has too.
fn with_tokenizer(model: &Path) -> Result<PathBuf> {
    let folder = scratch().join(format!("{}-text", model.file_name().context("a model has a name")?.display()));
    fs_err::create_dir_all(&folder)?;
    for name in ["config.json", "model.safetensors"] {
        let to = folder.join(name);
        if !to.exists() {
            fs_err::hard_link(model.join(name), to)?;
        }
    }
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/tokenizer.json");
    fs_err::copy(tokenizer, folder.join("tokenizer.json"))?;
    Ok(folder)
}

/// So many tokens in full sequences, up to the last block.
fn forward(model: &Model, tokens: usize, context: usize) -> Result<()> {
    let what = Run { until: Some(model.spec().blocks.len()), unembed: Unembed::Nothing, ..Run::default() };
    let ids: Vec<u32> = (0..context).map(|i| (i * 7919 % 1999) as u32).collect();
    let mut left = tokens;
    while left > 0 {
        let now = left.min(TOGETHER * context);
        let sequences = (0..now.div_ceil(context)).map(|i| ids[..context.min(now - i * context)].to_vec());
        drop(model.run(&Batch::of(sequences), &what, &mut [])?);
        left -= now;
    }
    Ok(())
}

/// Exports the corpus, and says how many tokens it has.
fn run(session: &Session, corpus: &Path, out: &Path, hooks: &str, context: usize) -> Result<usize> {
    let export = Export {
        hooks: hooks.to_owned(),
        context: Some(context),
        pack: Pack::Text("\n".to_owned()),
        ..Export::default()
    };
    let input = Corpora::open(&[corpus.to_owned()], &Reading::default())?;
    let claiming = Claiming { command: &[], wait: Duration::ZERO, waiting: &|_| Ok(()) };
    let place = Destination {
        folder: out.to_owned(),
        request: serde_json::json!({"hooks": hooks}),
        resume: false,
        force: true,
        claiming: &claiming,
    };
    let provenance = On::provenance(session, vec![]);
    let mut sink = Sink::new(To::Dataset(place), provenance, &(), &|_| {});
    export.run(session, &input, &mut sink)?;
    let manifest: serde_json::Value = serde_json::from_slice(&fs_err::read(out.join("manifest.json"))?)?;
    Ok(manifest["rows"].as_u64().context("the manifest has no rows")? as usize)
}
