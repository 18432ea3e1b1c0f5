//! How a token is drawn, as options; and what a model's own `generation_config.json` says of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Chain, Engine, Sampler, Step, Ties};
use crate::error::{Error, Result};
use crate::text::files::Files;

/// How a token is drawn. By default nothing is done to what the model says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Sampling {
    /// Divide the logits by this: below 1 the likely become likelier; 0 takes the most probable token (greedy)
    #[cfg_attr(feature = "cli", arg(long, value_name = "T", allow_hyphen_values = true))]
    pub temperature: Option<f64>,
    /// Keep the K most probable tokens; 0 keeps all
    #[cfg_attr(feature = "cli", arg(long, value_name = "K"))]
    pub top_k: Option<usize>,
    /// Keep the most probable tokens until they have this much mass (nucleus sampling); 1 keeps all
    #[cfg_attr(feature = "cli", arg(long, value_name = "P", allow_hyphen_values = true))]
    pub top_p: Option<f64>,
    /// Keep tokens at least this share as probable as the most probable one; 0 keeps all
    #[cfg_attr(feature = "cli", arg(long, value_name = "P", allow_hyphen_values = true))]
    pub min_p: Option<f64>,
    /// Keep the tokens whose surprise is nearest to the entropy until they have this much mass (typical sampling); 1 keeps all
    #[cfg_attr(feature = "cli", arg(long, value_name = "P", allow_hyphen_values = true))]
    pub typical: Option<f64>,
    /// Divide positive logits of tokens that were there by this, and multiply negative ones; 1 is off
    #[cfg_attr(feature = "cli", arg(long, value_name = "X", allow_hyphen_values = true))]
    pub repetition_penalty: Option<f64>,
    /// Take this off the logits of tokens that were generated; 0 is off
    #[cfg_attr(feature = "cli", arg(long, value_name = "X", allow_hyphen_values = true))]
    pub presence_penalty: Option<f64>,
    /// Take this off the logits of tokens that were generated, for each time; 0 is off
    #[cfg_attr(feature = "cli", arg(long, value_name = "X", allow_hyphen_values = true))]
    pub frequency_penalty: Option<f64>,
    /// Do as this program does: its order of samplers, its defaults, its choice among equals
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub engine: Option<Engine>,
    /// The order of samplers, such as top-k,temperature,top-p: penalties, temperature, top-k, top-p, min-p, typical
    #[cfg_attr(feature = "cli", arg(long, value_name = "SAMPLERS", value_delimiter = ','))]
    pub order: Option<Vec<String>>,
    /// What is used where nothing is given: nothing, or what the model's generation_config.json says
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub defaults: Option<Defaults>,
}

/// Where numbers come from that are not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Defaults {
    /// From the model's generation_config.json, as Hugging Face transformers takes them.
    Model,
}

/// A model's `generation_config.json`. Other programs use it without a word; here it is shown, and used only where that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig(Map<String, Value>);

impl GenerationConfig {
    /// The file's name.
    pub const FILE: &str = "generation_config.json";

    /// That of the model with these files; none where it has none.
    ///
    /// # Errors
    /// When it cannot be read, or is not an object.
    pub fn read(files: &Files) -> Result<Option<Self>> {
        let Some(bytes) = files.read(Self::FILE)? else { return Ok(None) };
        let map = serde_json::from_slice(&bytes).map_err(|e| {
            Error::bad_model(format!("{}: {e}", files.shown(Self::FILE)))
                .hint("mend that file or take it away: it says how transformers generates, and nothing of the model")
        })?;
        Ok(Some(Self(map)))
    }

    /// What the model's `config.json` says of the same, as older models do.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_config(files: &Files) -> Result<Option<Self>> {
        let bytes = files.read("config.json")?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).map(Self))
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.0.get(key).and_then(Value::as_f64)
    }

    /// Whether it asks for draws. Without this transformers takes the most probable token, and looks at no sampler.
    pub fn samples(&self) -> bool {
        self.0.get("do_sample") == Some(&Value::Bool(true))
    }

    /// The tokens that end a text.
    pub fn ends(&self) -> Vec<u32> {
        match self.0.get("eos_token_id") {
            Some(Value::Array(ids)) => {
                ids.iter().filter_map(Value::as_u64).filter_map(|id| id.try_into().ok()).collect()
            }
            Some(id) => id.as_u64().and_then(|id| id.try_into().ok()).into_iter().collect(),
            None => vec![],
        }
    }

    /// What it says of sampling, as options; where it says nothing, transformers' defaults: of draws, the 50 most probable.
    fn sampling(&self) -> Sampling {
        let repetition_penalty = self.number("repetition_penalty");
        if !self.samples() {
            return Sampling { temperature: Some(0.0), repetition_penalty, ..Sampling::default() };
        }
        Sampling {
            temperature: self.number("temperature"),
            top_k: Some(self.number("top_k").map_or(50, |k| k as usize)),
            top_p: self.number("top_p"),
            min_p: self.number("min_p"),
            typical: self.number("typical_p"),
            repetition_penalty,
            ..Sampling::default()
        }
    }

    /// What it says, in a sentence; none where it says nothing of sampling.
    pub fn said(&self) -> Option<String> {
        const KEYS: [&str; 7] =
            ["do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty"];
        let said = KEYS.iter().filter_map(|key| Some(format!("{key} {}", self.0.get(*key).filter(|v| !v.is_null())?)));
        let said = said.collect::<Vec<_>>().join(", ");
        (!said.is_empty()).then_some(said)
    }
}

impl Sampling {
    /// What these programs do where nothing is given.
    fn of(engine: Engine) -> Self {
        let none = Self::default();
        match engine {
            Engine::Transformers => Self { top_k: Some(50), ..none },
            Engine::Vllm => none,
            Engine::LlamaCpp => {
                Self { temperature: Some(0.8), top_k: Some(40), top_p: Some(0.95), min_p: Some(0.05), ..none }
            }
            Engine::Ollama => Self {
                temperature: Some(0.8),
                top_k: Some(40),
                top_p: Some(0.9),
                repetition_penalty: Some(1.1),
                ..none
            },
        }
    }

    /// These options; where one is not given, that of `other`.
    fn or(self, other: Self) -> Self {
        Self {
            temperature: self.temperature.or(other.temperature),
            top_k: self.top_k.or(other.top_k),
            top_p: self.top_p.or(other.top_p),
            min_p: self.min_p.or(other.min_p),
            typical: self.typical.or(other.typical),
            repetition_penalty: self.repetition_penalty.or(other.repetition_penalty),
            presence_penalty: self.presence_penalty.or(other.presence_penalty),
            frequency_penalty: self.frequency_penalty.or(other.frequency_penalty),
            ..self
        }
    }

    /// The chain that they ask for: what is given; else what the model says, if that is asked for; else what the engine does; else
    /// nothing.
    ///
    /// # Errors
    /// When a number is outside its range, there is no sampler of a name in `order`, or `order` leaves out one that is given; when
    /// the model's defaults are asked for and it has none.
    pub fn chain(&self, model: Option<&GenerationConfig>) -> Result<Chain> {
        self.check()?;
        let mut all = self.clone();
        if self.defaults == Some(Defaults::Model) {
            let model = model.ok_or_else(|| {
                Error::no_such(format!("the model has no {}", GenerationConfig::FILE))
                    .hint("leave out the defaults of the model, and give the numbers")
            })?;
            all = all.or(model.sampling());
            all.check().map_err(|e| e.at(GenerationConfig::FILE))?;
        }
        let engine = self.engine;
        all = engine.into_iter().fold(all, |all, engine| all.or(Self::of(engine)));
        let named = self.order.as_ref().map(|names| names.iter().map(|name| Sampler::parse(name)).collect());
        let order = match named.transpose()? {
            Some(order) => order,
            None => engine.map_or(&Sampler::ALL[..], Engine::order).to_vec(),
        };
        if let Some(twice) = order.iter().enumerate().find(|(i, s)| order[..*i].contains(s)) {
            return Err(Error::bad_input(format!("{} stands twice in the order", twice.1)).hint("name it once"));
        }
        let given = |sampler| all.step(sampler, engine.and_then(Engine::last));
        let asked = |sampler| self.step(sampler, None);
        if let Some(left) = Sampler::ALL.into_iter().find(|s| asked(*s).is_some() && !order.contains(s)) {
            let whose = match (self.order.is_some(), engine) {
                (false, Some(engine)) => format!("the order of {}", engine.name()),
                _ => "the order".to_owned(),
            };
            return Err(Error::bad_input(format!("{left} is given, but {whose} leaves it out"))
                .hint(format!("add {left} to an order of your own, or leave it out")));
        }
        Ok(Chain {
            steps: order.into_iter().filter_map(given).collect(),
            ties: engine.map_or(Ties::Lower, Engine::ties),
        })
    }

    /// The step of `sampler`; none where it does nothing.
    fn step(&self, sampler: Sampler, last: Option<usize>) -> Option<Step> {
        Some(match sampler {
            Sampler::Penalties => {
                let penalties = (
                    self.repetition_penalty.unwrap_or(1.0),
                    self.presence_penalty.unwrap_or(0.0),
                    self.frequency_penalty.unwrap_or(0.0),
                );
                let (repetition, presence, frequency) = penalties;
                return (penalties != (1.0, 0.0, 0.0)).then_some(Step::Penalties {
                    repetition,
                    presence,
                    frequency,
                    last,
                });
            }
            Sampler::Temperature => Step::Temperature(self.temperature.filter(|t| *t != 1.0)?),
            Sampler::TopK => Step::TopK(self.top_k.filter(|k| *k > 0)?),
            Sampler::TopP => Step::TopP(self.top_p.filter(|p| *p < 1.0)?),
            Sampler::MinP => Step::MinP(self.min_p.filter(|p| *p > 0.0)?),
            Sampler::Typical => Step::Typical(self.typical.filter(|p| *p < 1.0)?),
        })
    }

    fn check(&self) -> Result<()> {
        let bad = |name: &str, x: f64, range: &str, hint: &str| {
            Error::bad_input(format!("{name} is {x}, which is not {range}")).hint(hint)
        };
        if let Some(t) = self.temperature.filter(|t| !(*t == 0.0 || (1e-9..=1e9).contains(t))) {
            let hint = "give 0 for the most probable token, 1 for what the model says, or a number between or above";
            return Err(bad("temperature", t, "0 or a number from 1e-9 to 1e9", hint));
        }
        for (name, share) in [("top-p", self.top_p), ("min-p", self.min_p), ("typical", self.typical)] {
            if let Some(share) = share.filter(|p| !(0.0..=1.0).contains(p)) {
                return Err(bad(name, share, "from 0 to 1", "give a share, such as 0.9"));
            }
        }
        if let Some(x) = self.repetition_penalty.filter(|x| !(x.is_finite() && *x > 0.0)) {
            return Err(bad("the repetition penalty", x, "above 0", "give 1 for none, or a number such as 1.1"));
        }
        for (name, x) in [("presence", self.presence_penalty), ("frequency", self.frequency_penalty)] {
            if let Some(x) = x.filter(|x| !x.is_finite()) {
                return Err(bad(&format!("the {name} penalty"), x, "a number", "give 0 for none"));
            }
        }
        Ok(())
    }
}
