//! Speed and memory of pellucid on a model of GPT-2 small's shape. `benches/README.md` says how to run and read it.

mod attribute;
mod clock;
mod export;
mod forward;
mod lens;
mod memory;
mod models;
mod neighbours;
mod neurons;
mod products;
mod record;
mod say;
mod scale;
mod serve;
mod start;
mod sweep;
mod weights;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use pellucid::model::Model;

use models::Shape;
use neighbours::Watch;
use say::Say;

/// Measures pellucid on random weights of GPT-2 small's shape.
#[derive(Parser)]
#[command(name = "speed")]
struct Args {
    /// What to measure; everything unless given.
    cases: Vec<Case>,
    /// Repetitions of each measurement.
    #[arg(long, default_value_t = 15)]
    reps: usize,
    /// One JSON object a line instead of words.
    #[arg(long)]
    json: bool,
    /// Answer requests on stdin instead, for `benches/peers/compare.py`.
    #[arg(long)]
    serve: bool,
    /// With `--serve`: the model in this folder, instead of GPT-2 small.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Write the models of `scale` and say where they are, for `benches/peers/scale.py`.
    #[arg(long)]
    write_scale: bool,
    /// Be the process whose first token is waited for.
    #[arg(long, hide = true)]
    first_token: Option<PathBuf>,
    /// Be the process whose memory is measured.
    #[arg(long, hide = true)]
    child: Option<memory::Work>,
    /// What cargo says when it means to measure. Without it (`cargo test --all-targets`) every case runs once on a
    /// tiny model, to see that it works.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Case {
    /// Forward pass with full logits.
    Forward,
    /// What recording activations adds to it.
    Record,
    /// The logit lens against the machine's own matmul rate.
    Lens,
    /// Peak memory beyond the weights.
    Memory,
    /// From starting the binary to its first output.
    Start,
    /// Patching sweeps.
    Sweep,
    /// A Llama of a billion parameters (8 GB of files); only when named.
    Scale,
    /// Exporting activations of a corpus, beside bare forward passes.
    Export,
    /// Statistics of all neurons over a corpus, beside bare forward passes.
    Neurons,
    /// Neighbours of a token, a map of tokens, and kinds of heads.
    Weights,
    /// Attribution patching, in units of a forward pass.
    Attribute,
}

/// What every case needs.
struct Bench {
    shape: &'static Shape,
    folder: PathBuf,
    reps: usize,
    say: Say,
}

impl Bench {
    fn load(&self) -> Result<Model> {
        Ok(Model::load(&self.folder)?)
    }

    /// The same tokens each time, spread over the vocabulary.
    fn ids(&self, n: usize) -> Vec<u32> {
        (0..n).map(|i| ((i * 7919 + 17) % self.shape.d_vocab) as u32).collect()
    }
}

fn main() -> Result<()> {
    // As the program does it.
    pellucid::ops::memory::keep_freed_pages();
    let args = Args::parse();
    if let Some(folder) = &args.first_token {
        return scale::child(folder, args.bench);
    }
    if args.write_scale {
        let models = scale::models(args.bench)?.map(|(dtype, folder)| (dtype.to_owned(), folder));
        println!("{}", serde_json::to_string(&std::collections::BTreeMap::from(models))?);
        return Ok(());
    }
    if let (true, Some(folder)) = (args.serve, &args.folder) {
        return serve::serve_folder(folder);
    }
    let shape = if args.bench { &models::GPT2_SMALL } else { &models::TINY };
    let reps = if args.bench { args.reps.max(1) } else { 1 };
    let bench = Bench { shape, folder: models::gpt2(shape)?, reps, say: Say { json: args.json } };
    if let Some(work) = args.child {
        return memory::child(&bench, work);
    }
    if args.serve {
        return serve::serve(&bench);
    }
    bench.say.machine(&bench);
    let wanted = |case| args.cases.is_empty() || args.cases.contains(&case);
    if wanted(Case::Forward) {
        let watch = Watch::start();
        forward::measure(&bench)?;
        watch.say(&bench.say, "forward");
    }
    if wanted(Case::Record) {
        let watch = Watch::start();
        record::measure(&bench)?;
        watch.say(&bench.say, "record");
    }
    if wanted(Case::Lens) {
        let watch = Watch::start();
        lens::measure(&bench)?;
        watch.say(&bench.say, "lens");
    }
    if wanted(Case::Memory) {
        memory::measure(&bench, args.bench)?;
    }
    if wanted(Case::Start) {
        start::measure(&bench)?;
    }
    if wanted(Case::Sweep) {
        let watch = Watch::start();
        sweep::measure(&bench)?;
        watch.say(&bench.say, "sweep");
    }
    // Half an hour of writing and measuring is nothing that one gets without asking; the tiny one is.
    if args.cases.contains(&Case::Scale) || !args.bench && wanted(Case::Scale) {
        let watch = Watch::start();
        scale::measure(&bench, args.bench)?;
        watch.say(&bench.say, "scale");
    }
    if wanted(Case::Export) {
        let watch = Watch::start();
        export::measure(&bench)?;
        watch.say(&bench.say, "export");
    }
    if wanted(Case::Neurons) {
        let watch = Watch::start();
        neurons::measure(&bench)?;
        watch.say(&bench.say, "neurons");
    }
    if wanted(Case::Weights) {
        let watch = Watch::start();
        weights::measure(&bench)?;
        watch.say(&bench.say, "weights");
    }
    if wanted(Case::Attribute) {
        let watch = Watch::start();
        attribute::measure(&bench)?;
        watch.say(&bench.say, "attribute");
    }
    Ok(())
}
