//! Export: activations of a corpus as a data set, a row for each token.
//!
//! Documents come as a stream, in blocks of a fixed number of them. A block is cut into sequences, run, and written whole, and its bytes
//! depend on the request alone: so blocks can be made by many machines, stopped and made again, and what comes out is the same.

pub mod choose;
pub mod cut;
mod options;
mod plan;
mod predicted;
mod readme;
pub mod rows;
mod run;
mod side;
pub mod stats;

use serde_json::json;

use crate::dataset::{Dataset, Opening};
use crate::error::{Error, Result};
use crate::session::{Analysis, Corpora, Results, Session, Sink};
use crate::sweep::Need;
pub use options::{Column, Export, Pack, Positions, Tail, shard, shard_of_slurm};
use plan::Plan;
pub use rows::{ExportDocumentRow, ExportStatsRow};
use run::Exporter;
pub use side::finish;

/// Documents whose norms say what the median is, and whose tokens how many there will be.
const FIRST: usize = 64;

impl Analysis for Export {
    const NAME: &'static str = "export";
    const RESULTS: Results = Results::Dataset;
    const RESUMES: bool = true;
    type Tables = (ExportStatsRow, ExportDocumentRow);
    type On = Session;
    type Input = Corpora;

    fn need(&self, on: &Session, _: &Corpora) -> Result<Need> {
        Ok(run::need(on.model.spec(), &self.asked(on)?, &self.columns))
    }

    fn run(&self, on: &Session, input: &Corpora, out: &mut Sink<'_>) -> Result<()> {
        let mut asked = self.asked(on)?;
        let shard = self.shard.unwrap_or_default();
        let provenance = out.provenance().clone();
        let place = out.place()?;
        let mut request = place.request.clone();
        request["cut"] = json!({"block": asked.block, "context": asked.cutting.context});
        let tokenizer = on.tokenizer.as_ref().ok_or_else(|| on.source.no_tokenizer())?;
        let opening = Opening {
            layout: asked.layout.clone(),
            request: &request,
            provenance,
            shard,
            resume: place.resume,
            force: place.force,
            claiming: place.claiming,
        };
        // Before there is a folder: what is wrong with the first documents, or the disk, leaves none.
        let plan = Plan::of(&input.corpus, tokenizer, &asked, shard)?;
        if !place.resume {
            plan.check_disk(&place.folder, &asked.layout)?;
        }
        let mut dataset = Dataset::open(&place.folder, opening)?;
        let limits = match self.max_norm_multiple {
            None => None,
            Some(multiple) => {
                // Of all tokens that may become rows, not only of those that are drawn.
                let sample = asked.choosing.sample.take();
                let all = Exporter { on, tokenizer, asked: &asked, columns: &[], limits: None };
                let limits = all.limits(input.corpus.documents().take(FIRST), multiple)?;
                asked.choosing.sample = sample;
                Some(limits)
            }
        };
        let exporter = Exporter { on, tokenizer, asked: &asked, columns: &self.columns, limits };
        let mut documents = input.corpus.documents();
        let (mut next, mut blocks, mut tokens) = (documents.next().transpose()?, 0, 0);
        while let Some(first) = next.take() {
            let number = first.index / asked.block;
            blocks = number + 1;
            let (mut document, wanted) = (Some(first), dataset.wants(number));
            let mut made = wanted.then(|| Ok::<_, Error>((exporter.block(), dataset.block(number)?))).transpose()?;
            while let Some(own) = document.take() {
                if own.index / asked.block != number {
                    next = Some(own);
                    break;
                }
                if let Some((block, writer)) = &mut made {
                    out.watch.at(tokens as usize, plan.tokens.max(tokens) as usize)?;
                    tokens += block.push(&own, &mut |rows| writer.push(rows))?;
                }
                document = documents.next().transpose()?;
            }
            if let Some((block, mut writer)) = made {
                let (documents, sums) = block.finish(&mut |rows| writer.push(rows))?;
                writer.finish(documents, sums)?;
            }
        }
        let notes = json!({"skipped": documents.skips(), "first_skipped": documents.skipped()});
        out.watch.at(tokens.max(1) as usize, tokens.max(1) as usize)?;
        match dataset.finish(blocks, notes)? {
            Some(whole) => finish(whole, out),
            None => {
                let (part, folder) = (format!("part {}/{}", shard.index, shard.of), place_of(out)?);
                out.say(format_args!("{part} is done: `pellucid merge {folder}` joins all parts once they are there"));
                Ok(())
            }
        }
    }
}

/// The folder, as it is named.
fn place_of(out: &Sink<'_>) -> Result<String> {
    Ok(out.place()?.folder.display().to_string())
}
