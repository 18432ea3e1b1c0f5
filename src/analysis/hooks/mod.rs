//! Hooks: where can a model be read and edited?

mod options;
pub mod rows;

use std::collections::HashMap;

use crate::arch::Spec;
use crate::hook::site::{SITES, Scope};
use crate::hook::{HookPoint, Site};
pub use options::Hooks;
pub use rows::HookRow;

/// Every hook of a model with its axes' sizes, or every site there is when no model is given.
pub fn hooks(spec: Option<&Spec>) -> Vec<HookRow> {
    let row = |hook: String, site: Site, shape: String| HookRow {
        hook,
        axes: site.info().axes.iter().map(|a| a.letter()).collect::<Vec<_>>().join(" "),
        shape,
        writable: true,
        meaning: site.info().meaning.into(),
    };
    match spec {
        Some(spec) => HookPoint::all(spec).into_iter().map(|p| row(p.to_string(), p.site, shape(spec, p))).collect(),
        None => SITES
            .iter()
            .map(|s| {
                let prefix = if matches!(s.scope, Scope::Block | Scope::Expert) { "blocks.{l}." } else { "" };
                row(format!("{prefix}{}", s.name), s.site, String::new())
            })
            .collect(),
    }
}

/// The sizes of a hook's axes; of those that depend on the batch, the letter.
fn shape(spec: &Spec, at: HookPoint) -> String {
    let size = |a| Site::axis_len(spec, at.layer, a).map_or(a.letter().into(), |n: usize| n.to_string());
    at.site.info().axes.iter().map(|a| size(*a)).collect::<Vec<_>>().join(" x ")
}

/// For people: of rows of [`hooks`], those that differ in the number of an expert as one, `blocks.0.mlp.experts.0-7.hook_post`.
/// What it says is a pattern, as a name is.
pub fn brief(rows: Vec<HookRow>) -> Vec<HookRow> {
    let mut brief: Vec<HookRow> = vec![];
    // Where in `brief` an expert's hook stands, by what is before and after its number, and the last number so far.
    let mut places: HashMap<(String, String), (usize, usize)> = HashMap::new();
    for row in rows {
        let Some((before, e, after)) = at_expert(&row.hook) else {
            brief.push(row);
            continue;
        };
        let key = (before.to_owned(), after.to_owned());
        match places.get_mut(&key) {
            Some((place, last)) if *last + 1 == e => {
                *last = e;
                let first = at_expert(&brief[*place].hook).map_or(e, |(_, first, _)| first);
                brief[*place].hook = format!("{before}{first}-{e}{after}");
            }
            _ => {
                places.insert(key, (brief.len(), e));
                brief.push(row);
            }
        }
    }
    brief
}

/// The number of the expert in a hook's name, or the first of several, and what stands before and after.
fn at_expert(hook: &str) -> Option<(&str, usize, &str)> {
    let start = hook.find(EXPERTS)? + EXPERTS.len();
    let (before, rest) = hook.split_at(start);
    let (numbers, after) = rest.split_at(rest.find('.')?);
    let first = numbers.split('-').next()?;
    Some((before, first.parse().ok()?, after))
}

const EXPERTS: &str = ".experts.";
