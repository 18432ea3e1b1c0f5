//! What is counted of a text: its tokens, by tokenizers beside each other, and its letters.

use std::io::Write;

use super::view::{each, plural};
use super::{TokenCountRow, TokenLetterRow};
use crate::error::Result;
use crate::table::{Provenance, Rows, visible_prose};
use crate::view::axis::Axis;
use crate::view::extent::each_prompt;
use crate::view::kind::{Body, Cell, Panel, Side, Steps, Table, TableRow, View};
use crate::view::viewed::{Shown, Told};
use crate::view::{Emit, Options, Seen};

impl Seen for TokenCountRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let locale = how.locale;
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            // One tokenizer is compared with nothing.
            let (Some(least), Some(most), 2..) =
                (own.iter().min_by_key(|row| row.tokens), own.iter().max_by_key(|row| row.tokens), own.len())
            else {
                return Ok(());
            };
            let fixed = |x: Option<f64>| x.map_or("-".to_owned(), |x| locale.fixed(x, 3));
            let row = |row: &Self| TableRow {
                depth: 0,
                label: visible_prose(&row.model),
                cells: [
                    row.tokens.to_string(),
                    fixed(row.tokens_per_char),
                    fixed(row.tokens_per_byte),
                    row.added.to_string(),
                    row.vocabulary.to_string(),
                ]
                .map(Cell::said)
                .to_vec(),
            };
            let columns = ["model", "tokens", "for each character", "for each byte", "added", "vocabulary"];
            let point =
                |row: &Self| Cell { title: format!("{}: {}", row.model, row.tokens), ..value(f64::from(row.tokens)) };
            let steps = Steps {
                x: Side::new("model", own.iter().map(|row| visible_prose(&row.model))),
                y: Axis::counted("tokens", 0.0, 1.1 * f64::from(most.tokens), 6),
                limits: (0.0, 1.1 * f64::from(most.tokens)),
                points: own.iter().map(point).collect(),
                joined: false,
            };
            let table = Table {
                columns: columns.map(str::to_owned).to_vec(),
                rows: own.iter().map(row).collect(),
                colours: None,
            };
            let found = match least.tokens == most.tokens {
                true => format!("All make {} of this text.", plural(least.tokens as usize, "token")),
                false => format!(
                    "{} makes {} of this text, and {} makes {}: a context, a price for each token and the time they take count tokens, not words.",
                    visible_prose(&least.model),
                    plural(least.tokens as usize, "token"),
                    visible_prose(&most.model),
                    most.tokens
                ),
            };
            let panel = |body| Panel { heading: String::new(), body };
            emit(View {
                name: format!("token_counts{end}"),
                title: "Tokenizers compared".to_owned(),
                subtitle: View::subtitle(&provenance, &format!("prompt {}", visible_prose(&own[0].prompt_id))),
                caption: vec![found],
                legend: vec!["What a tokenizer adds around the text is not counted.".to_owned()],
                panels: vec![panel(Body::Steps(steps)), panel(Body::Table(table))],
                more: vec![],
                provenance,
                locale,
            })
        })
    }

    fn words(_: &mut dyn Rows<Self>, shown: &Shown, _: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        Ok(shown.write(0, w)?)
    }
}

fn value(value: f64) -> Cell {
    Cell { value, ..Cell::default() }
}

/// What counting letters says of a model, and what it does not.
const HONEST: &str = "Letters are not given to the model, which reads ids. Its embeddings encode some spelling, mostly the first letter (Itzhak & Levy 2021; \
    Kaushal & Mahowald 2022; Hiraoka & Inui 2025), and counting is hard for the architecture in itself.";

impl Seen for TokenLetterRow {
    const DRAWN: bool = false;

    fn words(rows: &mut dyn Rows<Self>, _: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        if rows.len() == 0 {
            return Ok(());
        }
        let key = |row: &Self| (row.prompt, row.model.clone());
        let n = rows.len();
        each(rows, 0..n, usize::MAX, &key, &mut |_, model, own, _| {
            let of = if told.inputs > 1 { format!("prompt {}, ", own[0].prompt_id) } else { String::new() };
            match &own[..] {
                [row] => writeln!(
                    w,
                    "{}",
                    visible_prose(&format!(
                        "{of}{model}: the letter {} is {} times in the text. Of its {}, {} have it in them and {} are it.",
                        row.letter,
                        row.in_text,
                        plural(row.tokens as usize, "token"),
                        row.tokens_with,
                        row.tokens_that_are
                    ))
                )?,
                rows => {
                    let counts = |row: &Self| format!("{} {}", row.letter, row.in_text);
                    let are: u32 = rows.iter().map(|row| row.tokens_that_are).sum();
                    let all = rows.iter().map(counts).collect::<Vec<_>>().join(", ");
                    writeln!(
                        w,
                        "{}",
                        visible_prose(&format!(
                            "{of}{model}: letters in the text: {all}. Of its {}, {are} are one letter.",
                            plural(rows[0].tokens as usize, "token")
                        ))
                    )?;
                }
            }
            Ok(())
        })?;
        Ok(writeln!(w, "{HONEST}")?)
    }
}
