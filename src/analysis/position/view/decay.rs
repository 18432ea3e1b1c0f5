//! The same word, further away: curves of scores over distance.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{around, panel};
use crate::analysis::position::PositionDecayRow;
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible_prose};
use crate::view::axis::Axis;
use crate::view::extent::Extents;
use crate::view::kind::{Body, Cell, Line, Lines, Panel, Table, TableRow, View};
use crate::view::label::{fit, quoted};
use crate::view::{Emit, Options, Seen, suffix};

/// Heads with a panel each.
const PANELS: usize = 4;
/// Keys with a curve each.
const CURVES: usize = 4;

/// A head and a query.
type Asking = (u32, u32, u32);

/// A key of one of them, without its scores.
struct Key {
    pos: u32,
    token: String,
    query_token: String,
    /// Its distance and score in the prompt.
    own: (u32, f64),
    least: f64,
    most: f64,
    /// How far the scores go.
    farthest: u32,
}

impl Seen for PositionDecayRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let extents = Extents::of::<Self>(rows, "prompt", how)?;
        let provenance = Arc::new(from.clone());
        for (prompt, range) in extents.each::<Self>()? {
            // Scores are many: first what they come to, then those that are drawn.
            let (mut asking, mut about): (BTreeMap<Asking, Vec<Key>>, Option<Self>) = (BTreeMap::new(), None);
            rows.rows(range.clone(), &mut |row| {
                if row.prompt == prompt {
                    add(asking.entry((row.layer, row.head, row.query_pos)).or_default(), &row);
                    about.get_or_insert(row);
                }
                Ok(())
            })?;
            let shown = chosen(&asking);
            let mut curves = Curves::new();
            rows.rows(range, &mut |row| {
                let at = (row.layer, row.head, row.query_pos);
                if row.prompt == prompt
                    && shown.iter().any(|(asking, keys)| *asking == at && keys.contains(&row.key_pos))
                {
                    curves.entry((at, row.key_pos)).or_default().push((f64::from(row.distance), row.score));
                }
                Ok(())
            })?;
            let Some(about) = about else { continue };
            let name = format!("position-decay{}", suffix(prompt, extents.only()));
            emit(view(name, &about, (&asking, &shown, &curves), provenance.clone(), how.locale))?;
        }
        Ok(())
    }
}

/// One more score of a query.
fn add(keys: &mut Vec<Key>, row: &PositionDecayRow) {
    match keys.last_mut().filter(|key| key.pos == row.key_pos) {
        Some(key) => {
            (key.least, key.most) = (key.least.min(row.score), key.most.max(row.score));
            key.farthest = key.farthest.max(row.distance);
            if row.own {
                key.own = (row.distance, row.score);
            }
        }
        None => keys.push(Key {
            pos: row.key_pos,
            token: row.key_token.clone(),
            query_token: row.query_token.clone(),
            own: (row.distance, if row.own { row.score } else { f64::NEG_INFINITY }),
            least: row.score,
            most: row.score,
            farthest: row.distance,
        }),
    }
}

/// The keys of a query that it scores highest, the highest first.
fn highest(keys: &[Key]) -> Vec<&Key> {
    let mut keys: Vec<&Key> = keys.iter().collect();
    keys.sort_by(|a, b| b.own.1.total_cmp(&a.own.1).then(b.pos.cmp(&a.pos)));
    keys
}

/// Heads whose strongest key's score changes most with distance, each with the keys that have curves.
fn chosen(asking: &BTreeMap<Asking, Vec<Key>>) -> Vec<(Asking, Vec<u32>)> {
    let change = |keys: &[Key]| highest(keys).first().map_or(0.0, |key| key.most - key.least);
    let mut all: Vec<(&Asking, &Vec<Key>)> = asking.iter().collect();
    all.sort_by(|a, b| change(b.1).total_cmp(&change(a.1)).then(a.0.cmp(b.0)));
    all.truncate(PANELS);
    let keys = |keys: &[Key]| highest(keys).into_iter().take(CURVES).map(|key| key.pos).collect();
    all.into_iter().map(|(at, own)| (*at, keys(own))).collect()
}

/// Scores over distance, of a head, a query and a key.
type Curves = BTreeMap<(Asking, u32), Vec<(f64, f64)>>;

/// What is drawn: what is known of all heads, which heads with which keys, and their curves.
type Drawn<'a> = (&'a BTreeMap<Asking, Vec<Key>>, &'a [(Asking, Vec<u32>)], &'a Curves);

fn view(
    name: String,
    about: &PositionDecayRow,
    (asking, shown, curves): Drawn<'_>,
    provenance: Arc<Provenance>,
    locale: Locale,
) -> View {
    let panels = shown.iter().map(|(at, keys)| of_head(*at, keys, &asking[at], curves, locale));
    let mut caption = vec![];
    if let Some((at, _)) = shown.first()
        && let Some(key) = highest(&asking[at]).first()
    {
        let points = curves.get(&(*at, key.pos)).map_or(&[][..], Vec::as_slice);
        let best =
            points.iter().copied().fold((0.0, f64::NEG_INFINITY), |best, at| if at.1 > best.1 { at } else { best });
        let score = |x: f64| locale.number(x as f32);
        let best = match best.0 == f64::from(key.own.0) {
            true => "no other distance would score more".to_owned(),
            false => format!("at distance {} it would score most, {}", best.0, score(best.1)),
        };
        caption.push(format!(
            "Head {}.{}: {} at position {} scores {} for {}, {} back; {best}.",
            at.0,
            at.1,
            quoted(&key.token),
            key.pos,
            score(key.own.1),
            quoted(&key.query_token),
            key.own.0,
        ));
    }
    caption.push(
        "Scores need not fall with distance: that depends on what the query asks for and the key offers.".to_owned(),
    );
    caption.extend(match (&*about.kind, shown.iter().any(|((layer, ..), _)| *layer > 0)) {
        ("learned" | "learned-qk", true) => Some(
            "In layers after 0 only the direct part of a learned position is moved: what layers before made of it stays.".to_owned(),
        ),
        ("none", _) => Some("This block knows no distances: the mask alone, by which early positions see fewer keys, leaks order.".to_owned()),
        _ => None,
    });
    let more = asking.iter().filter_map(|(at, keys)| Some((at, *highest(keys).first()?))).map(|(at, key)| {
        let cells = [
            quoted(&key.query_token),
            format!("{} at {}", quoted(&key.token), key.pos),
            key.own.0.to_string(),
            locale.number(key.own.1 as f32),
            locale.number(key.least as f32),
            locale.number(key.most as f32),
        ];
        TableRow { depth: 0, label: format!("{}.{}", at.0, at.1), cells: cells.map(Cell::said).to_vec() }
    });
    let columns =
        ["head", "query", "key of the highest score", "distance", "score there", "least at any distance", "most"];
    View {
        name,
        title: "The same word, further away".to_owned(),
        subtitle: View::subtitle(&provenance, &format!("prompt {}", visible_prose(&about.prompt_id))),
        caption,
        legend: vec!["The dot on a curve is where the word stands in the prompt.".to_owned()],
        panels: panels.collect(),
        more: vec![panel(
            "",
            Body::Table(Table { columns: columns.map(str::to_owned).to_vec(), rows: more.collect(), colours: None }),
        )],
        provenance,
        locale,
    }
}

/// Curves of some keys of one head and query.
fn of_head(at: Asking, shown: &[u32], keys: &[Key], curves: &Curves, locale: Locale) -> Panel {
    let own: Vec<&Key> = shown.iter().filter_map(|pos| keys.iter().find(|key| key.pos == *pos)).collect();
    let points = |key: &Key| curves.get(&(at, key.pos)).cloned().unwrap_or_default();
    let all: Vec<(f64, f64)> = own.iter().flat_map(|key| points(key)).collect();
    let mut lines = vec![];
    for (i, key) in own.iter().enumerate() {
        let points = points(key);
        let end = points.last().map_or(String::new(), |(_, y)| locale.number(*y as f32));
        lines.push(Line {
            name: fit(&format!("{} at {}", quoted(&key.token), key.pos), 15),
            end,
            strong: i == 0,
            points,
        });
    }
    // The weaker first, and the places in the prompt over all of them.
    lines.reverse();
    lines.extend(own.iter().map(|key| Line {
        name: String::new(),
        end: String::new(),
        strong: true,
        points: vec![(f64::from(key.own.0), key.own.1)],
    }));
    let end = all.iter().map(|(x, _)| *x).fold(1.0, f64::max);
    let facts = |distance: u32| {
        let at = |key: &&Key| {
            let score =
                points(key).iter().find(|(x, _)| *x == f64::from(distance)).map(|(_, y)| locale.number(*y as f32));
            score.map(|score| format!("{} {score}", quoted(&key.token)))
        };
        let each: Vec<String> = own.iter().filter_map(at).collect();
        (f64::from(distance), format!("distance {distance}: {}", each.join(", ")))
    };
    let farthest = own.iter().map(|key| key.farthest).max().unwrap_or(0);
    let query = own.first().map_or(String::new(), |key| quoted(&key.query_token));
    panel(
        format!("Head {}.{}, query {query} at {}", at.0, at.1, at.2),
        Body::Lines(Lines {
            x: Axis::counted("distance between query and key (positions)", 0.0, end, 8),
            y: around("score before softmax", all.iter().map(|(_, y)| *y)),
            stairs: false,
            titles: (0..=farthest.min(512)).map(facts).collect(),
            lines,
        }),
    )
}
