//! What of a request decides the results, so that its folder's name can be made of it. It is written to the hash piece by piece:
//! of many prompts, nothing is held twice.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::pairs::asked_of;
use crate::model::Hardware;
use crate::session::Session;
use crate::table::HOOK_NAMES;
use crate::text::{Pair, Prompt};

/// A request. Its fields stand in this order, or the same request would have another folder.
#[derive(Serialize)]
pub(super) struct Request<'a, O> {
    analysis: &'static str,
    version: &'static str,
    hook_names: u32,
    model: &'a str,
    weights: &'a str,
    prompts: Prompts<'a>,
    options: O,
    #[serde(skip_serializing_if = "Option::is_none")]
    processed: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

/// What `analysis` was asked of these prompts.
pub(super) fn request<'a, O: Serialize>(
    analysis: &'static str,
    loaded: &'a Session,
    prompts: impl IntoIterator<Item = &'a Prompt>,
    options: O,
) -> Request<'a, O> {
    // What decides the numbers, where it is not as it is by itself.
    let (processed, accepted) = (&loaded.model.spec().processed, &loaded.source.accepted);
    let place = loaded.placement.place;
    Request {
        analysis,
        version: env!("CARGO_PKG_VERSION"),
        hook_names: HOOK_NAMES,
        model: &loaded.source.id,
        weights: &loaded.weights_hash,
        prompts: Prompts(prompts.into_iter().collect()),
        options,
        processed: (!processed.is_empty()).then(|| serde_json::json!(processed)),
        accepted_config: (!accepted.is_empty()).then(|| serde_json::json!(accepted)),
        dtype: loaded.placement.kept.map(|kept| kept.name()),
        device: (place != Hardware::Cpu).then(|| format!("{place:?}")),
    }
}

/// Prompts: of each its name and its ids.
pub(super) struct Prompts<'a>(pub Vec<&'a Prompt>);

impl Serialize for Prompts<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|p| (&p.id, p.ids())))
    }
}

/// Prompts without names.
pub(super) struct Ids<'a>(pub &'a [Prompt]);

impl Serialize for Ids<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(Prompt::ids))
    }
}

/// Pairs, but for their clean prompts, which are the request's prompts.
pub(super) struct Pairs<'a>(pub &'a [Pair]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(asked_of))
    }
}
