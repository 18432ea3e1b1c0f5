//! What was done to the runs of a sweep, in words: which kind of change, in which run, with what noise, in how many layers at once.
//! All of it comes from the columns of the rows.

use crate::table::{visible, visible_prose};
use crate::view::label::quoted;

/// What was done; the same for all rows of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Method {
    /// What became of a value, as it was asked for: `replace`, `zero`, `noise=2`.
    pub kind: String,
    /// Whether it was done to the clean run, and not to the corrupt one.
    pub to_clean: bool,
    /// Whether there is a corrupt run.
    pub has_corrupt: bool,
    /// How many neighbouring layers were changed at once.
    pub window: u32,
    /// Of what was not gone over, what was changed at once, where that is not all.
    pub at_once: Option<String>,
    /// What makes the corrupt run, where that is not another prompt.
    pub noise: Option<Noise>,
    /// Whether nothing was done: it is what a patch would do, to first order.
    pub estimated: bool,
    /// Whether the change went along a path.
    pub path: bool,
}

/// Causal tracing: noise on embeddings of the clean prompt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Noise {
    /// Of the embedding.
    pub deviations: f32,
    /// The positions, where all rows have the same.
    pub at: Option<String>,
    /// Their tokens, where all rows have the same.
    pub tokens: Option<String>,
}

impl Method {
    /// `Zero ablation of attn.z`, `Path patching attn.z → logits`; `what` is the value or the path.
    pub fn title(&self, what: &str) -> String {
        if self.estimated {
            return format!("Attribution of {what}");
        }
        let (name, number) = self.kind.split_once('=').unwrap_or((&self.kind, ""));
        let along = if self.path { "paths " } else { "" };
        match name {
            "replace" if self.path => format!("Path patching {what}"),
            "replace" if self.noise.is_some() => format!("Causal tracing of {what}"),
            "replace" => format!("Patching {what}"),
            "zero" => format!("Zero ablation of {along}{what}"),
            "mean" => format!("Mean ablation of {along}{what}"),
            "mean-by-position" => format!("Mean ablation (by position) of {along}{what}"),
            "resample" => format!("Resample ablation of {along}{what}"),
            "noise" => format!("Noise of {number} deviations on {along}{what}"),
            "scale" => format!("Scaling by {number} of {along}{what}"),
            "add" => format!("Steering {along}{what} by {number} times a vector"),
            "knock-out" => format!("Knock-out of {along}{what}"),
            other => format!("{other} of {along}{what}"),
        }
    }

    /// In which run, and by values of which: `clean values into the corrupt run`. Nothing where there is one run only.
    pub fn deed(&self) -> Option<String> {
        let corrupt = self.corrupt();
        let would = if self.estimated { "would be put " } else { "" };
        match (self.kind == "replace", self.to_clean) {
            _ if !self.has_corrupt => None,
            (true, false) => Some(format!("clean values {would}into the {corrupt} run")),
            (true, true) => Some(format!("{corrupt} values {would}into the clean run")),
            (false, false) => Some(format!("in the {corrupt} run")),
            (false, true) => Some("in the clean run".to_owned()),
        }
    }

    /// What the run is called that is not the clean one.
    pub fn corrupt(&self) -> &'static str {
        if self.noise.is_some() { "noised" } else { "corrupt" }
    }

    /// What was done to a run: `patched`, `ablated`, `changed`.
    pub fn participle(&self) -> &'static str {
        match self.name() {
            "replace" => "patched",
            "zero" | "mean" | "mean-by-position" | "resample" => "ablated",
            _ => "changed",
        }
    }

    /// What one row is, and what several are.
    pub fn noun(&self) -> (&'static str, &'static str) {
        match self.participle() {
            _ if self.estimated => ("estimate", "estimates"),
            _ if self.path => ("path", "paths"),
            "ablated" => ("ablation", "ablations"),
            _ => ("patch", "patches"),
        }
    }

    /// What is measured, one and several: `pair` where there are two prompts.
    pub fn unit(&self, n: u32) -> &'static str {
        match (self.has_corrupt && self.noise.is_none(), n) {
            (true, 1) => "pair",
            (true, _) => "pairs",
            (false, 1) => "prompt",
            (false, _) => "prompts",
        }
    }

    /// `mean of 12 pairs`, `mean of 10 noise samples`, `mean of 12 prompts, 10 noise samples each`.
    pub fn mean_over(&self, n: u32, samples: u32) -> String {
        match (n, samples) {
            (n, 1) => format!("mean of {n} {}", self.unit(n)),
            (1, samples) => format!("mean of {samples} noise samples"),
            (n, samples) => format!("mean of {n} {}, {samples} noise samples each", self.unit(n)),
        }
    }

    /// Sentences about noise and windows, where there are any.
    pub fn more(&self) -> Vec<String> {
        let mut more = vec![];
        if let Some(noise) = &self.noise {
            let at = match (&noise.at, &noise.tokens) {
                (Some(at), Some(tokens)) => format!(" of position {}, {}", visible_prose(at), quoted(tokens)),
                (None, Some(tokens)) => format!(" of {}", quoted(tokens)),
                (Some(at), None) => format!(" of position {}", visible_prose(at)),
                (None, None) => "s of each prompt's own positions".to_owned(),
            };
            more.push(format!(
                "The noised run is the clean prompt with noise of {} deviations on the embedding{at}.",
                noise.deviations
            ));
        }
        if self.window > 1 {
            more.push(format!("At each layer, {} layers around it were {} at once.", self.window, self.participle()));
        }
        if let Some(at_once) = &self.at_once {
            more.push(format!("What was {} at once: {}.", self.participle(), visible_prose(at_once)));
        }
        more
    }

    /// The kind without its number.
    fn name(&self) -> &str {
        self.kind.split_once('=').map_or(&self.kind, |(name, _)| name)
    }
}

impl Noise {
    /// `noise of 3 deviations on "·Mary"`, for a subtitle.
    pub fn short(&self) -> String {
        let on = match (&self.tokens, &self.at) {
            (Some(tokens), _) => format!(" on \"{}\"", visible(tokens)),
            (None, Some(at)) => format!(" at position {}", visible_prose(at)),
            (None, None) => String::new(),
        };
        format!("noise of {} deviations{on}", self.deviations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(kind: &str, to_clean: bool) -> Method {
        Method {
            kind: kind.into(),
            to_clean,
            has_corrupt: true,
            window: 1,
            at_once: None,
            noise: None,
            estimated: false,
            path: false,
        }
    }

    #[test]
    fn what_was_done_is_named() {
        let title = |kind: &str| method(kind, true).title("attn.z");
        assert_eq!(title("replace"), "Patching attn.z");
        assert_eq!(
            (title("zero"), title("mean")),
            ("Zero ablation of attn.z".into(), "Mean ablation of attn.z".into())
        );
        assert_eq!(title("resample"), "Resample ablation of attn.z");
        assert_eq!(title("noise=2"), "Noise of 2 deviations on attn.z");
        let deed = |kind, to_clean| method(kind, to_clean).deed().unwrap();
        assert_eq!(deed("replace", false), "clean values into the corrupt run");
        assert_eq!(deed("replace", true), "corrupt values into the clean run");
        assert_eq!(deed("zero", true), "in the clean run");
        let alone = Method { has_corrupt: false, ..method("mean", true) };
        assert_eq!((alone.deed(), alone.unit(2), alone.noun().1), (None, "prompts", "ablations"));
        let noise = Noise { deviations: 3.0, at: Some("1".into()), tokens: Some(" Mary".into()) };
        let traced = Method { noise: Some(noise), window: 5, ..method("replace", false) };
        assert_eq!(traced.title("mlp_out"), "Causal tracing of mlp_out");
        assert_eq!((traced.deed().unwrap(), traced.unit(1)), ("clean values into the noised run".into(), "prompt"));
        assert_eq!(traced.more().len(), 2);
        let some = Method { at_once: Some("positions io, s2".into()), ..method("zero", true) };
        assert_eq!(some.more(), ["What was ablated at once: positions io, s2."]);
        assert!(traced.more()[0].ends_with("noise of 3 deviations on the embedding of position 1, \"·Mary\"."));
    }
}
