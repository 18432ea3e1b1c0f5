//! The map of tokens as it is seen: dots with their names, as many as have room.

use std::sync::Arc;

use super::rows::EmbedMapRow;
use crate::error::Result;
use crate::table::{Provenance, Row, Rows, visible, visible_prose};
use crate::view::axis::Axis;
use crate::view::kind::{Body, Dot, Scatter, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen, no_rows};

/// Of a map with more tokens, so many are drawn.
const MOST: usize = 5000;

impl Seen for EmbedMapRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (n, mut all) = (rows.len(), vec![]);
        rows.rows(0..n.min(MOST), &mut |row| {
            all.push(row);
            Ok(())
        })?;
        let Some(first) = all.first() else { return Err(no_rows::<Self>()) };
        let (locale, shares) = (how.locale, [first.explained_x, first.explained_y]);
        let classes = all.iter().filter_map(|row| row.class.clone()).fold(vec![], |mut classes: Vec<String>, class| {
            if !classes.contains(&class) {
                classes.push(class);
            }
            classes
        });
        let axis = |i: usize, of: fn(&Self) -> f64| {
            let (least, most) =
                all.iter().map(of).fold((f64::MAX, f64::MIN), |(a, b), x| (f64::min(a, x), f64::max(b, x)));
            let room = if most > least { (most - least) * 0.05 } else { 1.0 };
            let name = format!("component {}, {} of the spread", i + 1, locale.percent(shares[i]));
            Axis::linear(&name, least - room, most + room, 6)
        };
        let dot = |row: &Self| Dot {
            x: row.x,
            y: row.y,
            kind: row.class.as_ref().and_then(|class| classes.iter().position(|known| known == class)),
            strong: row.asked,
            title: format!(
                "{}, #{}{}: {}, {}",
                quoted(&row.token),
                row.token_id,
                row.class.as_ref().map_or(String::new(), |class| format!(", {}", visible_prose(class))),
                locale.any(row.x as f32),
                locale.any(row.y as f32)
            ),
        };
        let mut caption = vec![format!(
            "The two components hold {} of the spread of {} tokens: {} of it cannot be seen here.",
            locale.percent(shares[0] + shares[1]),
            locale.count(n as u64),
            locale.percent((1.0 - shares[0] - shares[1]).max(0.0))
        )];
        caption.extend(of_classes(&all, &classes).map(|(share, chance)| {
            format!(
                "Of the 10 nearest of a token by cosine, in all dimensions, {} are of its own class on average; by chance it would be {}.",
                locale.percent(share),
                locale.percent(chance)
            )
        }));
        if n > all.len() {
            caption.push(format!("The first {} are drawn.", all.len()));
        }
        let words = |(i, row): (usize, &Self)| (i, visible(&row.token));
        let classes_seen = classes.iter().map(|class| visible_prose(class)).collect();
        emit(View {
            name: Self::TABLE.name.to_owned(),
            title: "Map of the embedding".to_owned(),
            subtitle: View::subtitle(from, &format!("{} tokens", locale.count(n as u64))),
            caption,
            legend: vec![
                "Each dot is a token; names stand where there is room for them. Near on the map need not be near in the embedding.".to_owned(),
            ],
            panels: View::panel(Body::Scatter(Scatter {
                x: axis(0, |row| row.x),
                y: axis(1, |row| row.y),
                diagonal: false,
                kinds: classes_seen,
                dots: all.iter().map(dot).collect(),
                words: all.iter().enumerate().map(words).collect(),
            })),
            more: vec![],
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}

/// Over all tokens of a class, the mean share of neighbours of their own, and what it would be if neighbours were drawn.
fn of_classes(rows: &[EmbedMapRow], classes: &[String]) -> Option<(f64, f64)> {
    let known: Vec<(f64, &String)> =
        rows.iter().filter_map(|row| Some((row.same_class_of_10?, row.class.as_ref()?))).collect();
    let n = known.len() as f64;
    if known.len() < 2 {
        return None;
    }
    let share = known.iter().map(|(share, _)| share).sum::<f64>() / n;
    let size = |class: &String| known.iter().filter(|(_, own)| *own == class).count() as f64;
    let chance = classes.iter().map(|class| size(class) * (size(class) - 1.0) / (n - 1.0)).sum::<f64>() / n;
    Some((share, chance))
}
