//! `pellucid attention`

use clap::Args;
use serde_json::json;

use super::args::{LoadArgs, PromptArgs, RunArgs, command, parse_head};
use super::collect::{Shown, Written, collect};
use super::out::Out;
use super::request::request;
use crate::analysis::AttentionRow;
use crate::analysis::attention::{attention, need, view};
use crate::error::{Error, Result};
use crate::table::{Format, Row};
use crate::view::Options;

/// Attention patterns: where does each head look?
#[derive(Args, Debug)]
#[command(
    after_help = "Writes attention.parquet (see `pellucid tables attention`) and for each prompt an SVG of one head and one of all heads."
)]
pub(super) struct AttentionCommand {
    #[command(flatten)]
    model: LoadArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// The head to draw large, such as 3.2 or L3H2 [default: the one that looks furthest from the obvious]
    #[arg(long, value_name = "LAYER.HEAD", value_parser = parse_head)]
    head: Option<(u32, u32)>,
    /// Leave out rows of smaller probabilities; with 0, every key that a query can see has a row
    #[arg(long, default_value_t = 0.0, value_name = "PROB")]
    min_prob: f32,
    #[command(flatten)]
    run: RunArgs,
}

impl AttentionCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        if !(0.0..=1.0).contains(&self.min_prob) {
            return Err(Error::bad_input(format!("--min-prob is {}, and a probability is 0 to 1", self.min_prob))
                .hint("give a number from 0, which leaves nothing out, to 1"));
        }
        let loaded = self.model.load(out)?;
        let prompts = self.prompts.build(&loaded)?;
        self.run.plan(out, &loaded, need(loaded.model.spec(), &prompts, self.run.memory, view::bytes))?;
        if let Some((layer, head)) = self.head {
            let blocks = &loaded.model.spec().blocks;
            let n = blocks.get(layer as usize).map(|b| b.attention.inner.n_heads);
            if n.is_none_or(|n| head as usize >= n) {
                let heads = blocks[0].attention.inner.n_heads;
                return Err(Error::no_such(format!("the model has no head L{layer}H{head}")).hint(format!(
                    "it has layers 0-{} and heads 0-{}",
                    blocks.len() - 1,
                    heads - 1
                )));
            }
        }
        let asked = json!({"head": self.head, "min_prob": self.min_prob});
        let request = request("attention", &loaded, &prompts, asked);
        // Listens to Ctrl-C from here on, so that nothing is left by it.
        let watch = out.watch("attention");
        let mut folder = self.run.folder(out, "attention", &[AttentionRow::TABLE.name], &request)?;
        let path = folder.file("attention.parquet");
        let mut rows = collect(
            &path,
            loaded.provenance(command()),
            |r: &AttentionRow| r.prompt,
            |emit| attention(&loaded.model, &prompts, self.min_prob, self.run.memory, &watch, emit),
        )?;
        let Written { table, drawn, provenance } = &mut rows;
        let (mut shown, how) = (Shown::default(), Options { head: self.head, ..Options::default() });
        view::views(table, drawn, provenance, &how, &mut |view| {
            shown.take(&view);
            folder.view(&view)
        })?;
        out.wrote(&folder.finish(&command())?);
        match out.format {
            Format::Table => shown.print(out, prompts.len(), "prompts"),
            _ => out.table(table),
        }
    }
}
