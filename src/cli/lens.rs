//! `pellucid lens`

use clap::Args;
use serde_json::json;

use super::args::{LoadArgs, PromptArgs, RunArgs, command};
use super::collect::{Shown, collect};
use super::out::Out;
use super::request::request;
use crate::analysis::LensRow;
use crate::analysis::lens::{need, view};
use crate::analysis::{LensOptions, lens};
use crate::error::Result;
use crate::number::Locale;
use crate::session::spaces::Words;
use crate::table::{Format, Row};
use crate::text::positions::position_at;

/// The logit lens: what would the model say if it stopped at each layer?
#[derive(Args, Debug)]
#[command(after_help = "Writes logit_lens.parquet (see `pellucid tables logit_lens`) and one SVG for each prompt.")]
pub(super) struct Lens {
    #[command(flatten)]
    model: LoadArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// Which values of the stream to decode: resid_pre, resid_mid, resid_post, attn_out, mlp_out, or a pattern of hook names
    #[arg(long, default_value = "resid_post", value_name = "HOOKS")]
    at: String,
    /// Only these positions, such as 0,3,-1; negative ones count from the end [default: all]
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', allow_hyphen_values = true)]
    pos: Option<Vec<isize>>,
    /// How many tokens to keep for each hook and position [default: 5]
    #[arg(long, value_name = "K")]
    top: Option<usize>,
    /// A word to follow through the layers, such as " Mary", or a token id, such as #17
    #[arg(long, value_name = "TOKEN")]
    target: Option<String>,
    #[command(flatten)]
    run: RunArgs,
}

impl Lens {
    pub fn run(&self, out: &Out) -> Result<()> {
        let loaded = self.model.load(out)?;
        let prompts = self.prompts.build(&loaded)?;
        let options = LensOptions {
            at: self.at.clone(),
            positions: self.pos.clone(),
            top: self
                .top
                .unwrap_or_else(|| LensOptions::default().top.min(loaded.model.spec().unembedding.d_vocab_out)),
            target: self.target.as_deref().map(|t| loaded.target(t)).transpose()?,
            memory_bytes: self.run.memory,
        };
        self.run.plan(
            out,
            &loaded,
            need(loaded.model.spec(), &prompts, &options, |cells| view::bytes(cells, options.top))?,
        )?;
        let asked = json!({"at": self.at, "pos": self.pos, "top": options.top, "target": options.target});
        // Listens to Ctrl-C from here on, so that nothing is left by it.
        let watch = out.watch("lens");
        let request = request("lens", &loaded, &prompts, asked);
        let mut folder = self.run.folder(out, "lens", &[LensRow::TABLE.name], &request)?;
        if let Some(target) = options.target {
            // After the last position that is looked at.
            let last = self.pos.as_ref().and_then(|positions| positions.last()).copied().unwrap_or(-1);
            let after = |p| Some(Words { prompt: p, at: position_at(last, p).ok()?, tokens: vec![target] });
            let words: Vec<Words<'_>> = prompts.iter().filter_map(after).collect();
            if let Some(said) = loaded.doubtful_spaces(["target", "prompts"], &words)? {
                out.note(said);
            }
        }
        let path = folder.file("logit_lens.parquet");
        let mut rows = collect(
            &path,
            loaded.provenance(command()),
            |r: &LensRow| r.prompt,
            |emit| lens(&loaded.model, &prompts, &|id| loaded.spell(id), &options, &watch, emit),
        )?;
        let mut shown = Shown::default();
        view::views(&mut rows.table, &rows.drawn, &rows.provenance, Locale::EN, &mut |view| {
            shown.take(&view);
            folder.view(&view)
        })?;
        out.wrote(&folder.finish(&command())?);
        match out.format {
            Format::Table => shown.print(out, prompts.len(), "prompts"),
            _ => out.table(&mut rows.table),
        }
    }
}
