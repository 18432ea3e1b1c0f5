//! Cards as they are seen: the text of examples, each token coloured by the feature's value there.

use std::collections::HashSet;
use std::sync::Arc;

use super::rows::{NeuronCardRow, NeuronExampleRow, NeuronStatsRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible, visible_prose};
use crate::view::colour::Colours;
use crate::view::kind::{Body, Cell, Mark, Text, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen, no_rows};

impl Seen for NeuronStatsRow {
    const DRAWN: bool = false;
}

impl Seen for NeuronExampleRow {
    const DRAWN: bool = false;
}

/// Which feature a row is of.
type Of = (String, Option<u32>, u32);

fn of(row: &NeuronCardRow) -> Of {
    (row.feature.hook.clone(), row.feature.head, row.feature.neuron)
}

impl Seen for NeuronCardRow {
    /// A card for each of the first features, with its examples in all corpora. The rows of these are held.
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (mut order, mut own): (Vec<Of>, Vec<Vec<Self>>) = (vec![], vec![]);
        let mut all = HashSet::new();
        rows.rows(0..rows.len(), &mut |row| {
            let of = of(&row);
            if !all.contains(&of) {
                all.insert(of.clone());
            }
            match order.iter().position(|known| *known == of) {
                Some(at) => own[at].push(row),
                None if order.len() < how.max_prompts => {
                    order.push(of);
                    own.push(vec![row]);
                }
                None => {}
            }
            Ok(())
        })?;
        how.total.tell(all.len());
        if own.is_empty() {
            return Err(no_rows::<Self>());
        }
        let provenance = Arc::new(from.clone());
        own.iter().try_for_each(|rows| emit(card(rows, provenance.clone(), how.locale)))
    }
}

/// What a feature is called, and what its figure's file is.
fn names(row: &NeuronCardRow) -> (String, String) {
    let is_neuron =
        row.feature.layer.is_some() && (row.feature.hook.ends_with("mlp.hook_post") || row.feature.expert.is_some());
    match (row.feature.layer.filter(|_| is_neuron), row.feature.expert) {
        (Some(layer), Some(expert)) => {
            let own = format!("{layer}.{expert}.{}", row.feature.neuron);
            (format!("Neuron {own}"), format!("neuron-{own}"))
        }
        (Some(layer), None) => {
            let own = format!("{layer}.{}", row.feature.neuron);
            (format!("Neuron {own}"), format!("neuron-{own}"))
        }
        (None, _) => {
            let hook = visible_prose(&row.feature.hook);
            let (said, part) =
                row.feature.head.map_or((String::new(), String::new()), |h| (format!(", head {h}"), format!("-h{h}")));
            let plain: String =
                hook.chars().map(|c| if c.is_alphanumeric() || ".-_".contains(c) { c } else { '_' }).collect();
            (
                format!("{hook}{said}, column {}", row.feature.neuron),
                format!("feature-{plain}{part}-{}", row.feature.neuron),
            )
        }
    }
}

fn card(rows: &[NeuronCardRow], provenance: Arc<Provenance>, locale: Locale) -> View {
    let first = &rows[0];
    let (title, name) = names(first);
    let corpora: Vec<&[NeuronCardRow]> = rows.chunk_by(|a, b| a.feature.corpus == b.feature.corpus).collect();
    let about: Vec<String> = corpora.iter().map(|own| own[0].feature.corpus.clone()).collect();
    let values = || rows.iter().map(|row| f64::from(row.value));
    let (least, most) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    // What is a little below zero, as GELU's neurons are nearly everywhere, needs no colour of its own.
    let size = most.max(-least).max(f64::MIN_POSITIVE);
    let colours = match -least > 0.2 * size {
        true => Colours::signed("activation", size),
        false => Colours::rising("activation", size),
    };
    let key = |row: &NeuronCardRow| (row.feature.corpus.clone(), row.kind.clone(), row.group, row.rank);
    let several = corpora.len() > 1;
    let cell = |row: &NeuronCardRow| Cell {
        value: f64::from(row.value),
        label: visible(&row.token),
        below: if row.offset == 0 { locale.number(row.value) } else { String::new() },
        title: format!("{}: {}", quoted(&row.token), locale.number(row.value)),
        mark: if row.offset == 0 { Mark::Hit } else { Mark::Plain },
        ..Cell::default()
    };
    let line = |own: &[NeuronCardRow]| -> Vec<Cell> {
        let (label, title) = heading(&own[0], several);
        let begins = Cell { value: f64::NAN, label, title, mark: Mark::Begins, ..Cell::default() };
        std::iter::once(begins).chain(own.iter().map(cell)).collect()
    };
    let tokens = rows.chunk_by(|a, b| key(a) == key(b)).flat_map(line).collect();
    View {
        name,
        title,
        subtitle: View::subtitle(&provenance, &format!("over {}", about.join(", "))),
        caption: caption(&corpora, locale),
        legend: vec![
            "Tokens are coloured by the activation at them; the example's own token has its value below it.".to_owned(),
            "Top and bottom examples are the furthest of the corpus, one a document; those with a percentage are drawn from that tenth of its \
             tokens by value."
                .to_owned(),
        ],
        panels: View::panel(Body::Text(Text { colours, tokens })),
        more: vec![],
        provenance,
        locale,
    }
}

/// `top 1`, and where that is.
fn heading(row: &NeuronCardRow, several: bool) -> (String, String) {
    let kind = match (&*row.kind, row.group) {
        ("quantile", Some(group)) => format!("{}-{} %", 10 * group, 10 * (group + 1)),
        (kind, _) => format!("{kind} {}", row.rank),
    };
    let corpus = if several { format!("{} ", row.feature.corpus) } else { String::new() };
    let place = format!("{}, {}, position {}", row.feature.corpus, row.doc_id, row.pos);
    (visible_prose(&format!("{corpus}{kind}:")), visible_prose(&place))
}

fn caption(corpora: &[&[NeuronCardRow]], locale: Locale) -> Vec<String> {
    let first = &corpora[0][0];
    let mut said = vec![];
    if let (Some(promotes), Some(suppresses)) = (&first.promotes, &first.suppresses) {
        said.push(format!("It promotes {}, and suppresses {}.", visible(promotes), visible(suppresses)));
    }
    for own in corpora {
        let row = &own[0];
        let number = |x: f64| locale.number(x as f32);
        let alone = match row.token_only_r2 {
            Some(r2) if r2 > 0.0 => format!("; the token alone explains {} of it (adjusted R²)", locale.percent(r2)),
            Some(_) => "; the token alone explains nothing of it (adjusted R²)".to_owned(),
            None => String::new(),
        };
        let corpus =
            if corpora.len() > 1 { format!("{}: ", visible_prose(&row.feature.corpus)) } else { String::new() };
        said.push(format!(
            "{corpus}Over 0 at {} of {} tokens, mean {}, deviation {}, from {} to {}{alone}.",
            locale.percent(row.numbers.frac_positive),
            locale.count(row.numbers.tokens_seen),
            number(row.numbers.mean),
            number(row.numbers.std),
            locale.number(row.numbers.min),
            locale.number(row.numbers.max)
        ));
    }
    said
}
