//! TransformerLens's ways to process weights so that they are easier to read, by name. None of them changes what the
//! model says; each changes what activations look like, so none is done unless it is asked for.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result, give, words};

/// One way to process weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Processing {
    /// Gains and biases of norms become part of the maps that read them (`fold_ln`). What reads after a layer norm is also
    /// centred, for the mean that it would read is always 0.
    FoldLn,
    /// What is written to the stream has mean 0, where every reader takes the mean away (`center_writing_weights`).
    CenterWriting,
    /// Logits have mean 0, which no probability notices (`center_unembed`).
    CenterUnembed,
    /// Values have no bias: as each pattern sums to 1, what it adds is part of the output's (`fold_value_biases`).
    FoldValueBiases,
}

impl Processing {
    /// All of them, in the order in which they are done.
    pub const ALL: [Self; 4] = [Self::FoldLn, Self::CenterWriting, Self::CenterUnembed, Self::FoldValueBiases];

    /// Its name on the command line and in provenance.
    pub fn name(self) -> &'static str {
        match self {
            Self::FoldLn => "fold-ln",
            Self::CenterWriting => "center-writing",
            Self::CenterUnembed => "center-unembed",
            Self::FoldValueBiases => "fold-value-biases",
        }
    }

    /// The one called `name`.
    ///
    /// # Errors
    /// When there is none, with the nearest.
    pub fn parse(name: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name);
        let found = Self::ALL.into_iter().find(|p| p.name() == name);
        found.ok_or_else(|| {
            let error = Error::no_such(format!("weights cannot be processed by `{name}`"));
            error.nearest_or(name, names, format!("there are {}", names.join(", ")))
        })
    }

    /// The error for a model that it would change, or that has nothing of the kind.
    pub fn undefined(self, why: &str) -> Error {
        Error::bad_input(format!("{self} is not defined for this model: {why}"))
            .hint(words(format!("leave {self} out of ")) + give("process"))
    }
}

impl fmt::Display for Processing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
