//! Export: activations of a corpus as a data set, a row for each token.
//!
//! Documents come one after another, in the corpus's order or shuffled, in blocks of a fixed number of them. A block is cut into sequences, run, and written whole, and its bytes
//! depend on the request alone: so blocks can be made by many machines, stopped and made again, and what comes out is the same.

pub mod choose;
pub mod cut;
pub(in crate::analysis) mod options;
mod plan;
mod predicted;
mod readme;
pub mod rows;
pub(in crate::analysis) mod run;
pub mod shuffle;
mod side;
pub mod stats;

use std::path::PathBuf;

use serde_json::json;

use crate::dataset::{Dataset, Opening};
use crate::error::{Error, Result, bytes, give_as, said};
use crate::session::{Analysis, Corpora, Results, Session, Sink};
use crate::sweep::Need;
pub use options::{Column, Export, Pack, Tail};
use plan::Plan;
pub use rows::{ExportDocumentRow, ExportStatsRow};
use run::Exporter;
pub use shuffle::Shuffle;
use shuffle::{Ordered, Window};
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
        let asked = self.asked(on)?;
        let mut need = run::need(on.model.spec(), &asked, &self.columns);
        if let Some(rows) = asked.layout.window {
            let each = shuffle::row_bytes(&asked.layout);
            let room = on.memory_bytes.saturating_sub(need.least) / each;
            if rows > room {
                return Err(Error::bad_input(format!(
                    "a window of {rows} rows takes {}, and {} of memory are not enough for that and a run",
                    bytes(rows.saturating_mul(each)),
                    bytes(on.memory_bytes)
                ))
                .hint(match room {
                    2.. => {
                        give_as("shuffle", format!("tokens:{room}")) + said(" would do, or more memory: {memory=SIZE}")
                    }
                    _ => said("allow more with {memory=SIZE}"),
                }));
            }
            need.activations += rows * each;
            need.least += rows * each;
        }
        Ok(need)
    }

    fn run(&self, on: &Session, input: &Corpora, out: &mut Sink<'_>) -> Result<()> {
        let mut asked = self.asked(on)?;
        let shard = out.shard.unwrap_or_default();
        let provenance = out.provenance().clone();
        let to = out.destination()?;
        let mut request = to.request.clone();
        request["cut"] = json!({"block": asked.block, "context": asked.cutting.context});
        let tokenizer = on.tokenizer.as_ref().ok_or_else(|| on.source.no_tokenizer())?;
        let opening = Opening {
            layout: asked.layout.clone(),
            request: &request,
            provenance,
            shard,
            resume: to.resume,
            force: to.force,
            claiming: to.claiming,
        };
        // Before there is a folder: what is wrong with the first documents, or the disk, leaves none.
        let plan = Plan::of(&input.corpus, tokenizer, &asked, shard)?;
        if self.shuffle == Shuffle::Documents {
            input.corpus.check_any_order()?;
        }
        if !to.resume {
            plan.check_disk(&to.folder, &asked.layout)?;
        }
        let mut dataset = Dataset::open(&to.folder, opening)?;
        let limits = match self.max_norm_multiple {
            None => None,
            Some(multiple) => {
                // Of all tokens that may become rows, not only of those that are drawn.
                let sample = asked.choosing.sample.take();
                let all = Exporter { on, tokenizer, asked: &asked, columns: &[], limits: None, sums: false };
                let limits = all.limits(input.corpus.documents().take(FIRST), multiple)?;
                asked.choosing.sample = sample;
                Some(limits)
            }
        };
        let exporter = Exporter { on, tokenizer, asked: &asked, columns: &self.columns, limits, sums: true };
        let mut documents = Ordered::of(&input.corpus, self.shuffle, self.seed, &folder_of(out)?, out.watch)?;
        let (mut next, mut blocks, mut tokens) = (documents.next()?, 0, 0);
        while let Some(first) = next.take() {
            let number = first.0 / asked.block;
            blocks = number + 1;
            let (mut document, wanted) = (Some(first), dataset.wants(number));
            if !wanted {
                documents.skip_to((number + 1) * asked.block);
            }
            let mut window = Window::of(&asked.layout, self.seed, number);
            let mut made = wanted.then(|| Ok::<_, Error>((exporter.block(), dataset.block(number)?))).transpose()?;
            while let Some((at, own)) = document.take() {
                if at / asked.block != number {
                    next = Some((at, own));
                    break;
                }
                if let Some((block, writer)) = &mut made {
                    out.watch.at(tokens as usize, plan.tokens.max(tokens) as usize)?;
                    tokens += block.push(&own, &mut |rows| window.push(rows, &mut |rows| writer.push(rows)))?;
                }
                document = documents.next()?;
            }
            if let Some((block, mut writer)) = made {
                let (documents, sums) = block.finish(&mut |rows| window.push(rows, &mut |rows| writer.push(rows)))?;
                window.leave(&mut |rows| writer.push(rows))?;
                writer.finish(documents, sums)?;
            }
        }
        out.watch.at(tokens.max(1) as usize, tokens.max(1) as usize)?;
        match dataset.finish(blocks, documents.notes())? {
            Some(whole) => finish(whole, out),
            None => {
                let (part, folder) =
                    (format!("part {}/{}", shard.index, shard.of), folder_of(out)?.display().to_string());
                out.say(format_args!("{part} is done: `pellucid merge {folder}` joins all parts once they are there"));
                Ok(())
            }
        }
    }
}

/// The folder.
fn folder_of(out: &Sink<'_>) -> Result<PathBuf> {
    Ok(out.destination()?.folder.clone())
}
