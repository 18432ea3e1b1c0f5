//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use clap::builder::RangedU64ValueParser;
use clap::{Args, ColorChoice};

use super::out::{Out, flags};
use super::wait::WaitArgs;
use crate::error::{Error, Result};
use crate::model::{Hardware, Placement, Processing};
use crate::ops::matrix::Kept;
use crate::session::{Claiming, Session, Shard};
use crate::table::Format;
use crate::text::{DEMO, ModelSource, Want};

/// How much is said, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "Talk")]
pub(super) struct Talk {
    /// Format of stdout
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// In CSV, put an apostrophe before text that a spreadsheet would take for a formula: text that begins with =, +, -, @, a tab
    /// or a carriage return. Needs --format csv
    #[arg(long, global = true)]
    pub csv_safe: bool,
    /// Print nothing but errors on stderr
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print more on stderr: what was loaded, and the causes of errors
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Never use the network: a model that is not in the Hugging Face cache is an error. The same as HF_HUB_OFFLINE=1
    #[arg(long, global = true)]
    pub offline: bool,
    /// Send the Hub's token unencrypted to an HF_ENDPOINT that begins with http://. To this machine itself it is always
    /// sent
    #[arg(long, global = true)]
    pub insecure: bool,
    /// Largest download of a file whose size the Hub does not give [default: for weights the size in the model's index,
    /// else 4GB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_bytes)]
    pub fetch_limit: Option<usize>,
}

/// Which model.
#[derive(Args, Debug)]
pub(super) struct ModelArgs {
    /// The model: `demo`, which is built in; a folder with config.json and weights; or a Hugging Face id (`gpt2`,
    /// `org/name@revision`), downloaded once into the cache that Python uses. A folder called demo is `./demo`
    #[arg(short, long, env = "PELLUCID_MODEL", hide_env_values = true, default_value = DEMO, value_name = "MODEL")]
    pub model: String,
}

impl ModelArgs {
    /// Finds the model's files, as many of them as are wanted.
    pub fn find(&self, want: Want, out: &Out) -> Result<ModelSource> {
        ModelSource::resolve_with(&self.model, want, &out.hub(), &out.fetching())
    }
}

/// Which unknown keys of config.json are let through.
#[derive(Args, Debug)]
pub(super) struct AcceptArgs {
    /// Accept a key of config.json that pellucid does not know, if you know that it does not change what the model
    /// computes; may be repeated. The results record it. A key that is known to change the model is refused even so
    #[arg(long, value_name = "KEY")]
    pub accept_config: Vec<String>,
}

/// Which model, and what of its weights.
#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    accept: AcceptArgs,
    #[command(flatten)]
    how: HowArgs,
}

/// How weights are loaded.
#[derive(Args, Debug)]
pub(super) struct HowArgs {
    /// Process the weights as TransformerLens does: fold-ln, center-writing, center-unembed, fold-value-biases, or several
    /// of them with commas between. Probabilities stay the same, activations change [default: no processing]
    #[arg(long, value_name = "HOW", value_delimiter = ',')]
    process: Vec<String>,
    /// Dtype of the weights. `auto` leaves them in the file as they are stored, in f32, f16 or bf16. On the CPU activations
    /// are f32, and 16-bit weights are upcast as they are read, which is exact; converting f32 to f16 or bf16 rounds. On a
    /// GPU activations have the dtype of the weights
    #[arg(long, value_name = "DTYPE", default_value = "auto", value_parser = ["auto", "f32", "f16", "bf16"])]
    dtype: String,
    /// Where to compute: cpu, cuda, cuda:1 or metal. GPUs need a build with `--features cuda` or `--features metal`
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
}

impl LoadArgs {
    /// Loads the model called `name` in place of `-m`'s, where there is one.
    pub fn load(&self, name: Option<&str>, out: &Out) -> Result<Session> {
        let name = name.unwrap_or(&self.model.model);
        let (process, placement) = self.how.parse()?;
        let source = Session::find(name, &self.accept.accept_config, &out.hub(), &out.fetching())?;
        let loaded = Session::placed(source, &process, placement)?;
        out.accepted(&loaded.source);
        out.loaded(&loaded);
        loaded.notes().iter().for_each(|note| out.note(flags(note)));
        Ok(loaded)
    }
}

impl HowArgs {
    /// How weights are processed, and where they are put. That there is such a device is known before files are looked for, which may
    /// take longer.
    pub fn parse(&self) -> Result<(Vec<Processing>, Placement)> {
        let process = self.process.iter().map(|name| Processing::parse(name)).collect::<Result<Vec<_>>>()?;
        let placement = Placement { kept: Kept::parse(&self.dtype), place: Hardware::parse(&self.device)? };
        placement.place.device()?;
        Ok((process, placement))
    }
}

/// Where results go. No part of the request.
#[derive(Args, Debug)]
pub(super) struct OutArgs {
    /// Folder for the results
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Replace the results of another request in that folder. Files that pellucid did not write are never touched
    #[arg(long)]
    pub force: bool,
    /// Print the folder of the results to stdout, and not the results
    #[arg(long)]
    pub print_folder: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

impl OutArgs {
    /// Whether nothing is written: results go to stdout alone.
    ///
    /// # Errors
    /// When their folder is to be printed, and there is none.
    pub fn is_stdout(&self) -> Result<bool> {
        let stdout = self.out.as_deref() == Some(Path::new("-"));
        match stdout && self.print_folder {
            true => Err(Error::bad_input("--out - writes no folder, and --print-folder prints its name")
                .hint("leave out one of them")),
            false => Ok(stdout),
        }
    }

    /// The folder for the results of the request of `analysis` with this hash.
    pub fn place(&self, analysis: &str, request: &str) -> PathBuf {
        let own = || Path::new("runs").join(format!("{analysis}-{}", &request[..12]));
        self.out.clone().unwrap_or_else(own)
    }

    /// Claims a folder by `claim`, which is told how.
    pub fn claiming<T>(&self, out: &Out, command: &[String], claim: impl FnOnce(&Claiming) -> Result<T>) -> Result<T> {
        self.wait.claiming(out, command, claim)
    }
}

/// Whether a run goes on where it was stopped.
#[derive(Args, Debug)]
pub(super) struct ResumeArgs {
    /// Resume this command where it was stopped
    #[arg(long)]
    pub resume: bool,
}

/// Which part of the work is done here.
#[derive(Args, Debug)]
pub(super) struct ShardArgs {
    /// Do a part of the work: 3/16 is the fourth of 16 parts, and `slurm` the part of this task of a job array. `pellucid merge` joins
    /// all parts
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    pub shard: Option<Shard>,
}

/// How much memory may be used.
#[derive(Args, Debug)]
pub(super) struct MemoryArgs {
    /// Memory for activations and logits, in addition to the weights
    #[arg(long, value_name = "SIZE", default_value = "512MB", value_parser = parse_bytes)]
    pub memory: usize,
}

/// How figures of effects are drawn. No part of the request: the same folder, the same table.
#[derive(Args, Debug)]
pub(super) struct DrawArgs {
    /// End of the colours and axes of the figures: an effect such as 1 or 0.5, and effects beyond it are marked; or auto,
    /// as far as the effects go, but for shares at least 0.1 and at most 2
    #[arg(long, value_name = "MAX", default_value = "auto", value_parser = parse_scale)]
    scale: ScaleEnd,
}

/// Where a scale ends, if that was said.
#[derive(Clone, Copy, Debug)]
struct ScaleEnd(Option<f64>);

impl DrawArgs {
    /// Where the scale ends; nothing if it fits the effects.
    pub fn scale(&self) -> Option<f64> {
        self.scale.0
    }
}

/// Which figures are drawn. No part of the request: the same folder, the same table.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct FiguresArgs {
    /// Figures of which prompts or pairs to draw: all, the first, none, or the first N of them. `pellucid chart` draws others later
    #[arg(long, value_name = "WHICH", default_value = "20", value_parser = parse_figures)]
    pub figures: Figures,
}

/// Of how many prompts or pairs there are figures, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figures(pub usize);

impl Default for Figures {
    fn default() -> Self {
        Self(crate::view::Options::default().max_prompts)
    }
}

fn parse_figures(text: &str) -> Result<Figures, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Figures(usize::MAX)),
        ("first", _) => Ok(Figures(1)),
        ("none", _) => Ok(Figures(0)),
        (_, Ok(n)) if n > 0 => Ok(Figures(n)),
        _ => Err("not a choice of figures; write all, first, none, or a number over 0".into()),
    }
}

fn parse_scale(text: &str) -> Result<ScaleEnd, String> {
    match text.parse::<f64>() {
        _ if text == "auto" => Ok(ScaleEnd(None)),
        // Smaller and larger numbers are no f32, which effects are.
        Ok(end) if (1e-30..1e30).contains(&end) => Ok(ScaleEnd(Some(end))),
        _ => Err("not the end of a scale; write a number over 0, such as 0.5, or auto".into()),
    }
}

/// A number that cannot be 0.
pub(super) fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// `512MB`, `2GiB`, `1000000`.
pub(super) fn parse_bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        unit => return Err(format!("`{unit}` is not a unit; use MB, GB, MiB or GiB")),
    };
    match digits.trim().parse::<f64>() {
        Ok(n) if n * unit >= 1.0 && n * unit < 1e18 => Ok((n * unit) as usize),
        _ => Err("not a size; write 512MB or 2GiB".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::head;

    #[test]
    fn sizes_and_heads() {
        assert_eq!(parse_bytes("512MB"), Ok(512_000_000));
        assert_eq!(parse_bytes("1.5 GiB").map_err(|_| ()), Ok(1_610_612_736));
        assert!(parse_bytes("many").is_err() && parse_bytes("5 parsecs").is_err() && parse_bytes("0").is_err());
        assert_eq!(head("3.2"), Ok((3, 2)));
        assert_eq!(head("L10H0"), Ok((10, 0)));
        assert!(head("3").is_err() && head("a.b").is_err());
    }
}
