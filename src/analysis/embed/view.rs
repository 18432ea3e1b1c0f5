//! Embeddings as they are seen: a board of neighbours for each word, of candidates for each analogy, and of the tokens that look untrained.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use super::rows::{EmbedAnalogyRow, EmbedNeighborRow, EmbedNormRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Row, Rows};
use crate::view::kind::{Board, Body, Entry, Panel, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen, no_rows};

/// Of how many boards a caption speaks: a word may stand in a prompt many times.
const SENTENCES: usize = 6;
/// How many tokens the board of untrained ones has.
const UNTRAINED: usize = 15;

/// All rows of a table, in groups of one key, in the order in which the groups begin.
fn groups<R: Row, K: Copy + Eq + Hash>(
    rows: &mut dyn Rows<R>,
    how: &Options,
    key: impl Fn(&R) -> K,
) -> Result<Vec<Vec<R>>> {
    let (most, mut all) = (how.max_prompts, HashSet::new());
    let mut groups: Vec<(K, Vec<R>)> = vec![];
    rows.rows(0..rows.len(), &mut |row| {
        let own = key(&row);
        all.insert(own);
        match groups.iter().position(|(key, _)| *key == own) {
            Some(at) => groups[at].1.push(row),
            None if groups.len() < most => groups.push((own, vec![row])),
            None => {}
        }
        Ok(())
    })?;
    how.total.tell(all.len());
    if groups.is_empty() { Err(no_rows::<R>()) } else { Ok(groups.into_iter().map(|(_, rows)| rows).collect()) }
}

/// What a figure's name ends in, of several.
fn ending(i: usize, of: usize) -> String {
    if of == 1 { String::new() } else { format!("-{i}") }
}

fn matrix(among: &str) -> &'static str {
    if among == "embed" { "the embedding W_E" } else { "the unembedding W_U" }
}

/// What a bar of a cosine says: there is none of one below 0.
fn bar(value: f64, locale: Locale) -> (f64, String) {
    (value.max(0.0), locale.fixed(value, 3))
}

impl Seen for EmbedNeighborRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (provenance, all) = (Arc::new(from.clone()), groups(rows, how, |row| row.token_id)?);
        let of = how.total.get();
        for (i, own) in all.into_iter().enumerate() {
            emit(neighbors(format!("embed_neighbors{}", ending(i, of)), &own, provenance.clone(), how.locale))?;
        }
        Ok(())
    }
}

/// Where a stream is.
fn stage(row: &EmbedNeighborRow) -> String {
    match (row.layer, row.pos) {
        (Some(0), Some(pos)) => format!("at position {pos} before the first block"),
        (Some(_), Some(pos)) => format!("at position {pos} after the last block"),
        _ => String::new(),
    }
}

fn neighbors(name: String, rows: &[EmbedNeighborRow], provenance: Arc<Provenance>, locale: Locale) -> View {
    let boards: Vec<&[EmbedNeighborRow]> =
        rows.chunk_by(|a, b| (&a.space, a.layer, a.pos, &a.among) == (&b.space, b.layer, b.pos, &b.among)).collect();
    let entry = |row: &EmbedNeighborRow| {
        let label = quoted(&row.neighbor);
        let same = if row.same_word { "same word" } else { "" };
        Entry {
            title: format!(
                "{label}, #{}, rank {}: cosine {}, {} with the mean row taken away; above {} % of random pairs{}{same}",
                row.neighbor_id,
                row.rank,
                locale.fixed(row.cosine, 4),
                locale.fixed(row.cosine_centered, 4),
                locale.fixed(row.percentile, 2),
                if row.same_word { "; " } else { "" }
            ),
            label,
            bars: vec![bar(row.cosine, locale), bar(row.cosine_centered, locale)],
            note: same.to_owned(),
            out: row.same_word,
            others: false,
        }
    };
    let panels = boards.iter().filter_map(|own| {
        let first = own.first()?;
        let (of, stage) = (matrix(&first.among), stage(first));
        Some(Panel {
            heading: if stage.is_empty() { format!("In {of}") } else { format!("The stream {stage}, in {of}") },
            body: Body::Board(Board {
                name: "neighbour".to_owned(),
                bars: vec!["cosine".to_owned(), "without the mean row".to_owned()],
                entries: own.iter().map(entry).collect(),
                ends: None,
            }),
        })
    });
    let token = rows.first().map_or(String::new(), |row| quoted(&row.token));
    let mut caption: Vec<String> = boards.iter().filter_map(|own| said(own, locale)).take(SENTENCES).collect();
    caption.extend(changed(&boards));
    View {
        name,
        title: format!("Neighbours of {token}"),
        subtitle: View::subtitle(&provenance, &rows.first().map_or(String::new(), |row| format!("token #{}", row.token_id))),
        caption,
        legend: vec![
            "Pale names are the word itself with other spaces or another case. The second bar is the cosine without what all tokens have in common, the mean row, which makes most cosines larger.".to_owned(),
            "A near vector says that two tokens are used alike, not that they mean the same.".to_owned(),
        ],
        panels: panels.collect(),
        more: vec![],
        provenance,
        locale,
    }
}

/// What one board says.
fn said(own: &[EmbedNeighborRow], locale: Locale) -> Option<String> {
    let first = own.first()?;
    let same = own.iter().filter(|row| row.same_word).count();
    // A stream is near its own token, which says little.
    let other = own.iter().find(|row| !row.same_word);
    let (of, stage) = (matrix(&first.among), stage(first));
    let place = if stage.is_empty() { format!("In {of}") } else { format!("In {of}, the stream {stage}") };
    let Some(other) = other else {
        return Some(format!("{place}: all {} neighbours are the same word.", own.len()));
    };
    let itself = match same {
        0 => String::new(),
        n => format!("; {n} of {} are the same word", own.len()),
    };
    Some(format!(
        "{place}: nearest other word {} with cosine {}, above {} % of random pairs{itself}.",
        quoted(&other.neighbor),
        locale.fixed(other.cosine, 2),
        locale.fixed(other.percentile, 1)
    ))
}

/// What of its neighbours before the first block a token still has after the last.
fn changed(boards: &[&[EmbedNeighborRow]]) -> Option<String> {
    let stream = |last: bool| {
        let is = |row: &&EmbedNeighborRow| row.among == "embed" && row.layer.is_some_and(|layer| (layer > 0) == last);
        boards.iter().copied().find(|own| own.first().as_ref().is_some_and(is))
    };
    let (before, after) = (stream(false)?, stream(true)?);
    let kept = after.iter().filter(|row| before.iter().any(|other| other.neighbor_id == row.neighbor_id)).count();
    let pos = before.first()?.pos?;
    Some(format!("Of its {} neighbours at position {pos}, {kept} are left after all blocks.", before.len()))
}

impl Seen for EmbedAnalogyRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (provenance, all) = (Arc::new(from.clone()), groups(rows, how, |row| [row.a_id, row.b_id, row.c_id])?);
        let of = how.total.get();
        for (i, own) in all.into_iter().enumerate() {
            emit(of_analogy(format!("embed_analogy{}", ending(i, of)), &own, provenance.clone(), how.locale))?;
        }
        Ok(())
    }
}

fn of_analogy(name: String, rows: &[EmbedAnalogyRow], provenance: Arc<Provenance>, locale: Locale) -> View {
    let entry = |row: &EmbedAnalogyRow| {
        let label = quoted(&row.token);
        let given = if row.rank.is_none() { "given" } else { "" };
        Entry {
            title: format!(
                "{label}, #{}: score {}, rank {} with the given ones; the differences have cosine {}",
                row.token_id,
                locale.fixed(row.score, 4),
                row.rank_with_inputs,
                locale.fixed(row.offset_cos, 3)
            ),
            label,
            bars: vec![bar(row.score, locale)],
            note: given.to_owned(),
            out: row.rank.is_none(),
            others: false,
        }
    };
    let boards: Vec<&[EmbedAnalogyRow]> = rows.chunk_by(|a, b| a.space == b.space).collect();
    let panels = boards.iter().filter_map(|own| {
        Some(Panel {
            heading: format!("In {}", matrix(&own.first()?.space)),
            body: Body::Board(Board {
                name: "candidate".to_owned(),
                bars: vec!["3CosAdd".to_owned()],
                entries: own.iter().map(entry).collect(),
                ends: None,
            }),
        })
    });
    let asked =
        |row: &EmbedAnalogyRow| format!("{} is to {} as {} is to", quoted(&row.a), quoted(&row.b), quoted(&row.c));
    View {
        name,
        title: "Analogy".to_owned(),
        subtitle: View::subtitle(&provenance, &rows.first().map_or(String::new(), |row| format!("{} ...", asked(row)))),
        caption: boards.iter().filter_map(|own| answered(own, locale)).collect(),
        legend: vec!["3CosAdd: cosine with the second word, less that with the first, plus that with the third. The given words are excluded from the answer.".to_owned()],
        panels: panels.collect(),
        more: vec![],
        provenance,
        locale,
    }
}

/// The answer of an analogy in one space, in words.
pub(super) fn answered(own: &[EmbedAnalogyRow], locale: Locale) -> Option<String> {
    let best = own.iter().find(|row| row.rank == Some(1))?;
    let asked =
        format!("{} is to {} as {} is to {}", quoted(&best.a), quoted(&best.b), quoted(&best.c), quoted(&best.token));
    let first = own.iter().find(|row| row.rank_with_inputs == 1).filter(|row| row.rank.is_none());
    let kept = match first {
        Some(first) => format!("; with nothing excluded it would be {} itself", quoted(&first.token)),
        None => "; also with nothing excluded".to_owned(),
    };
    Some(format!(
        "In {}: {asked} (score {}, the two differences have cosine {}){kept}.",
        matrix(&best.space),
        locale.fixed(best.score, 2),
        locale.fixed(best.offset_cos, 2)
    ))
}

impl Seen for EmbedNormRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (mut all, mut known) = (vec![], 0);
        rows.rows(0..rows.len(), &mut |row| {
            known += usize::from(row.known_unused);
            all.push(row);
            Ok(())
        })?;
        if all.is_empty() {
            return Err(no_rows::<Self>());
        }
        emit(untrained(all, known, Arc::new(from.clone()), how.locale))
    }
}

fn untrained(rows: Vec<EmbedNormRow>, known: usize, provenance: Arc<Provenance>, locale: Locale) -> View {
    let n = rows.len();
    // Where nothing is known to be unused, a short row is what is left to look at.
    let measure: fn(&EmbedNormRow) -> Option<f64> =
        if known > 0 { |row| row.unused_cos_no_component } else { |row| row.norm_in };
    let mut least: Vec<(f64, &EmbedNormRow)> =
        rows.iter().filter(|row| !row.known_unused).filter_map(|row| Some((measure(row)?, row))).collect();
    let mut sizes: Vec<f64> = least.iter().map(|(x, _)| *x).collect();
    sizes.sort_by(f64::total_cmp);
    let median = sizes.get(sizes.len() / 2).copied().unwrap_or(f64::NAN);
    least.sort_by(|(a, first), (b, second)| a.total_cmp(b).then(first.token_id.cmp(&second.token_id)));
    least.truncate(UNTRAINED);
    let size = |x: Option<f64>| x.map_or("-".to_owned(), |x| locale.in_table(x));
    let entry = |(x, row): &(f64, &EmbedNormRow)| {
        let label = quoted(&row.token);
        Entry {
            title: format!(
                "{label}, #{}: length {} where it is read, {} where it is said; {} from the mean unused column",
                row.token_id,
                size(row.norm_in),
                size(row.norm_out),
                size(row.unused_cos_no_component)
            ),
            label,
            bars: vec![(x.max(0.0), locale.in_table(*x))],
            note: if known > 0 { format!("length {}", size(row.norm_in)) } else { String::new() },
            ..Entry::default()
        }
    };
    let count = locale.count(n as u64);
    let (title, name, found) = match (known, least.first()) {
        (1.., Some((x, row))) => (
            "Tokens that look untrained",
            "1 - cosine to the mean unused column, first component removed",
            format!(
                "Nearest to the {known} tokens that are known to be unused: {} with {}; half of all {count} tokens are farther than {}.",
                quoted(&row.token),
                locale.in_table(*x),
                locale.in_table(median)
            ),
        ),
        (_, Some((x, row))) => (
            "The shortest rows of the embedding",
            "length",
            format!(
                "No token is known to be unused. The shortest row is that of {} with {}; half of all {count} tokens have longer ones than {}.",
                quoted(&row.token),
                locale.in_table(*x),
                locale.in_table(median)
            ),
        ),
        (_, None) => ("Tokens that look untrained", "", format!("All {count} tokens are known to be unused.")),
    };
    View {
        name: EmbedNormRow::TABLE.name.to_owned(),
        title: title.to_owned(),
        subtitle: View::subtitle(&provenance, &format!("{count} tokens")),
        caption: vec![found],
        legend: vec![if known > 0 {
            "A small value says that training hardly moved the token (Land & Bartolo 2024). It is a suspicion: whether the model fails on it, \
             only a run shows."
        } else {
            "A short row may be that of a token which was hardly trained, or of a common one: without unused tokens to compare with, nothing says which."
        }
        .to_owned()],
        panels: View::panel(Body::Board(Board {
            name: "token".to_owned(),
            bars: vec![name.to_owned()],
            entries: least.iter().map(entry).collect(),
            ends: None,
        })),
        more: vec![],
        provenance,
        locale,
    }
}
