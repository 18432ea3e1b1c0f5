//! A chain of samplers: which, with which numbers, in which order; and the orders of other programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What can be done to logits before a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sampler {
    /// Tokens that were there already lose.
    Penalties,
    /// Logits are divided.
    Temperature,
    /// Only so many are kept.
    TopK,
    /// Only so much mass is kept.
    TopP,
    /// Only what is not much less probable than the most probable is kept.
    MinP,
    /// Only what is about as surprising as is expected is kept.
    Typical,
}

impl Sampler {
    /// All of them, in transformers' order.
    pub const ALL: [Self; 6] = [Self::Penalties, Self::Temperature, Self::TopK, Self::TopP, Self::MinP, Self::Typical];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Penalties => "penalties",
            Self::Temperature => "temperature",
            Self::TopK => "top-k",
            Self::TopP => "top-p",
            Self::MinP => "min-p",
            Self::Typical => "typical",
        }
    }

    /// The sampler of this name.
    ///
    /// # Errors
    /// When there is none; names the nearest.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let otherwise = format!("the samplers are {}", names.join(", "));
            Error::no_such(format!("there is no sampler `{name}`")).nearest_or(name, names, otherwise)
        })
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A sampler with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Of tokens that were there: a positive logit is divided by `repetition` and a negative one multiplied (Keskar et al. 2019); then
    /// `presence` is taken away, and `frequency` for each time.
    Penalties {
        /// 1 is off.
        repetition: f64,
        /// 0 is off.
        presence: f64,
        /// 0 is off.
        frequency: f64,
        /// All of them look at so many tokens at the end of prompt and output. None: repetition looks at all of both, the others at
        /// the output.
        last: Option<usize>,
    },
    /// Divides logits; 0 keeps the first candidate alone.
    Temperature(f64),
    /// How many are kept.
    TopK(usize),
    /// How much mass is kept.
    TopP(f64),
    /// Which share of the largest probability is enough.
    MinP(f64),
    /// How much mass is kept.
    Typical(f64),
}

impl Step {
    /// Which sampler it is.
    pub fn sampler(&self) -> Sampler {
        match self {
            Self::Penalties { .. } => Sampler::Penalties,
            Self::Temperature(_) => Sampler::Temperature,
            Self::TopK(_) => Sampler::TopK,
            Self::TopP(_) => Sampler::TopP,
            Self::MinP(_) => Sampler::MinP,
            Self::Typical(_) => Sampler::Typical,
        }
    }
}

/// As options are written: `top-p 0.9`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Penalties { repetition, presence, frequency, last } => {
                let parts =
                    [("repetition", *repetition, 1.0), ("presence", *presence, 0.0), ("frequency", *frequency, 0.0)];
                let on = parts.iter().filter(|(_, x, off)| x != off).map(|(name, x, _)| format!("{name} penalty {x}"));
                f.write_str(&on.collect::<Vec<_>>().join(", "))?;
                last.map_or(Ok(()), |n| write!(f, " over {n} tokens"))
            }
            Self::Temperature(0.0) => f.write_str("temperature 0 (greedy)"),
            Self::TopK(k) => write!(f, "top-k {k}"),
            Self::Temperature(x) | Self::TopP(x) | Self::MinP(x) | Self::Typical(x) => {
                write!(f, "{} {x}", self.sampler())
            }
        }
    }
}

/// Which of two equal candidates comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// The lower id.
    #[default]
    Lower,
    /// As transformers and vLLM have it: top-k keeps all that equal the last one; top-p takes the higher id first.
    Transformers,
}

/// A program whose order of samplers, defaults and ties can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Engine {
    /// Hugging Face transformers.
    #[serde(rename = "transformers")]
    #[cfg_attr(feature = "cli", value(name = "transformers"))]
    Transformers,
    /// vLLM.
    #[serde(rename = "vllm")]
    #[cfg_attr(feature = "cli", value(name = "vllm"))]
    Vllm,
    /// llama.cpp.
    #[serde(rename = "llama.cpp")]
    #[cfg_attr(feature = "cli", value(name = "llama.cpp"))]
    LlamaCpp,
    /// Ollama.
    #[serde(rename = "ollama")]
    #[cfg_attr(feature = "cli", value(name = "ollama"))]
    Ollama,
}

impl Engine {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transformers => "transformers",
            Self::Vllm => "vLLM",
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "Ollama",
        }
    }

    /// Its order.
    pub fn order(self) -> &'static [Sampler] {
        use Sampler::{MinP, Penalties, Temperature, TopK, TopP, Typical};
        match self {
            Self::Transformers => &Sampler::ALL,
            Self::Vllm => &[Penalties, Temperature, MinP, TopK, TopP],
            Self::LlamaCpp => &[Penalties, TopK, Typical, TopP, MinP, Temperature],
            Self::Ollama => &[Penalties, TopK, Temperature, TopP, MinP],
        }
    }

    /// Which of two equals it takes first.
    pub fn ties(self) -> Ties {
        match self {
            Self::Transformers | Self::Vllm => Ties::Transformers,
            Self::LlamaCpp | Self::Ollama => Ties::Lower,
        }
    }

    /// How many tokens at the end its penalties look at, where they do not look at all.
    pub fn last(self) -> Option<usize> {
        match self {
            Self::Transformers | Self::Vllm => None,
            Self::LlamaCpp | Self::Ollama => Some(64),
        }
    }
}

/// The tokens before the one that is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Of the prompt.
    pub prompt: &'a [u32],
    /// Of what was drawn after it.
    pub output: &'a [u32],
}

/// Samplers in their order. The default does nothing: the model's own distribution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// One after the other.
    pub steps: Vec<Step>,
    /// Which of two equals comes first.
    pub ties: Ties,
}

impl Chain {
    /// Always the most probable token.
    pub fn greedy() -> Self {
        Self { steps: vec![Step::Temperature(0.0)], ties: Ties::Lower }
    }

    /// Whether nothing is left to chance.
    pub fn is_greedy(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Temperature(0.0) | Step::TopK(1)))
    }

    /// The temperature; 1 where there is none.
    pub fn temperature(&self) -> f64 {
        self.steps.iter().find_map(|step| if let Step::Temperature(t) = step { Some(*t) } else { None }).unwrap_or(1.0)
    }
}

/// `temperature 0.8, then top-p 0.9`.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.steps.is_empty() {
            true => f.write_str("no sampler"),
            false => f.write_str(&self.steps.iter().map(Step::to_string).collect::<Vec<_>>().join(", then ")),
        }
    }
}
