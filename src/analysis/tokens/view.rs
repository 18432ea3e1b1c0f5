//! Tokens as they are seen: the text cut into its tokens, and the merges of a word as a tree.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use super::{TokenMergeRow, TokenRow};
use crate::error::{Result, Said, give_as, said, words};
use crate::table;
use crate::table::{Format, Provenance, Row, Rows, TOKEN, visible, visible_prose, write_rows};
use crate::view::colour::Colours;
use crate::view::extent::Extents;
use crate::view::kind::{Body, Cell, Mark, Panel, Table, TableRow, Text, View};
use crate::view::viewed::{Shown, Told};
use crate::view::{Emit, Options, Seen, suffix};

/// Tokens of a prompt that are shown as a table for people. A cell of such a table takes hundreds of bytes until it is printed.
const SHOWN: usize = 1000;
/// Tokens of a prompt that are drawn.
const DRAWN: usize = 2000;
/// Words of a prompt whose merges are drawn, and of a prompt whose merges are printed.
const WORDS: usize = 12;
const PRINTED: usize = 2;

table! {
    /// What a person reads of a token.
    Line = "tokens_shown" version 1: "A token, for people.";
    pos: u32, "", "its position";
    token_id: u32, "", "its id";
    piece: String, TOKEN, "how the vocabulary writes it";
    text: String, TOKEN, "what it spells";
    byte_start: Option<u32>, "", "where it begins in the text";
    byte_end: Option<u32>, "", "where it ends";
    part_of: Option<String>, TOKEN, "the character that it is a part of";
    special: Option<String>, "", "which special token it is";
    part: Option<String>, "", "whose it is in a chat";
}

/// Takes a prompt, the name of a tokenizer, the first of their rows, and how many there are.
type EmitRows<'a, R> = dyn FnMut(u32, &str, Vec<R>, usize) -> Result<()> + 'a;

/// The rows of one prompt and one tokenizer after another, the first `most` of them, and how many there are.
pub(super) fn each<R: Row>(
    rows: &mut dyn Rows<R>,
    range: std::ops::Range<usize>,
    most: usize,
    whose: &dyn Fn(&R) -> (u32, String),
    emit: &mut EmitRows<'_, R>,
) -> Result<()> {
    let (mut key, mut own, mut n) = (None, vec![], 0);
    rows.rows(range, &mut |row| {
        let new = whose(&row);
        if key.as_ref().is_some_and(|known| *known != new)
            && let Some((prompt, model)) = key.take()
        {
            emit(prompt, &model, std::mem::take(&mut own), n)?;
            n = 0;
        }
        key = Some(new);
        n += 1;
        if own.len() < most {
            own.push(row);
        }
        Ok(())
    })?;
    key.map_or(Ok(()), |(prompt, model)| emit(prompt, &model, own, n))
}

/// What a view of a prompt has in it: a part for each tokenizer, and what was found of each.
type Parts = Vec<(String, Body, String)>;

/// Gives a view of each prompt of a table to `emit`.
fn views<R: Row>(
    rows: &mut dyn Rows<R>,
    from: &Provenance,
    how: &Options,
    (name, title, legend): (&str, &str, &[&str]),
    whose: fn(&R) -> (u32, &str, &str),
    part: &dyn Fn(Vec<R>, usize) -> (Body, String),
    emit: &mut Emit<'_>,
) -> Result<()> {
    let extents = Extents::of::<R>(rows, "prompt", how)?;
    let provenance = Arc::new(from.clone());
    for (prompt, range) in extents.each::<R>()? {
        let (mut all, mut of): (Parts, String) = (vec![], String::new());
        let key = |row: &R| (whose(row).0, whose(row).2.to_owned());
        each(rows, range, DRAWN, &key, &mut |whom, model, own, n| {
            if whom == prompt {
                of = own.first().map_or(String::new(), |row| format!("prompt {}", visible_prose(whose(row).1)));
                let (body, found) = part(own, n);
                all.push((visible_prose(model), body, found));
            }
            Ok(())
        })?;
        let several = all.len() > 1;
        let mut caption = vec![];
        let panel = |(model, body, found): (String, Body, String)| {
            caption.push(if several { format!("{model}: {found}") } else { found });
            Panel { heading: if several { model } else { String::new() }, body }
        };
        let panels: Vec<Panel> = all.into_iter().map(panel).collect();
        if !panels.is_empty() {
            emit(View {
                name: format!("{name}{}", suffix(prompt, extents.only())),
                title: title.to_owned(),
                subtitle: View::subtitle(&provenance, &of),
                caption,
                legend: legend.iter().map(|said| (*said).to_owned()).collect(),
                panels,
                more: vec![],
                provenance: provenance.clone(),
                locale: how.locale,
            })?;
        }
    }
    Ok(())
}

/// `3 tokens`.
pub(super) fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

/// Tokens that make graphemes together, one after another.
fn groups(rows: &[TokenRow]) -> impl Iterator<Item = &[TokenRow]> {
    rows.chunk_by(|a, b| a.group.is_some() && a.group == b.group)
}

/// What tokens spell together: whole characters where they are, else bytes as they are written in the table.
fn together(group: &[TokenRow]) -> String {
    let bytes: Vec<u8> = group.iter().flat_map(TokenRow::spelled).collect();
    let whole = String::from_utf8(bytes).ok().filter(|_| group.len() > 1);
    visible(&whole.unwrap_or_else(|| group.iter().map(|row| &*row.text).collect()))
}

/// What is read of the tokens of a prompt, of which there may be many, for people.
#[derive(Default)]
struct Reading {
    /// The text cut into its tokens; where several are one character, that and how many.
    cut: String,
    tokens: usize,
    added: usize,
    /// Those of which nothing is the user's, of a chat.
    around: usize,
    lines: Vec<Line>,
    /// The largest group of tokens that are one character, and how many they are.
    largest: Option<(usize, String)>,
    /// Those that may have more.
    group: Vec<TokenRow>,
}

impl Reading {
    fn take(&mut self, row: TokenRow) {
        if self.group.last().is_some_and(|last| last.group.is_none() || last.group != row.group) {
            self.end_group();
        }
        self.group.push(row);
    }

    fn end_group(&mut self) {
        let group = std::mem::take(&mut self.group);
        let (n, text) = (group.len(), together(&group));
        if self.tokens > 0 {
            self.cut.push('|');
        }
        self.cut += &text;
        if n > 1 {
            self.cut += &format!("×{n}");
        }
        let room = SHOWN - self.lines.len();
        let part_of = (n > 1).then(|| text.clone());
        self.lines.extend(group.iter().take(room).map(|row| line(row, part_of.clone())));
        self.tokens += n;
        self.added += group.iter().filter(|row| row.byte_start.is_none()).count();
        self.around += group.iter().filter(|row| is_around(row)).count();
        if n > self.largest.as_ref().map_or(1, |(n, _)| *n) {
            self.largest = Some((n, text));
        }
    }

    /// Writes it and what it means; `letters` is how many characters the text has.
    fn write(mut self, letters: Option<usize>, note: &dyn Fn(&Said), w: &mut dyn Write) -> Result<()> {
        self.end_group();
        writeln!(w, "{}", self.cut)?;
        writeln!(w, "{}", summary(letters, self.tokens, self.added, self.around))?;
        if let Some((n, text)) = self.largest {
            writeln!(w, "{} Together they are written as ×{n}.", split_up(n, &text))?;
        }
        write_rows(&self.lines, Format::Table, w)?;
        let more = self.tokens - self.lines.len();
        if more > 0 {
            let plural = if more == 1 { "token is" } else { "tokens are" };
            let all = said(" not shown; all are in {format=csv}, and in the table that {out=FOLDER} writes");
            note(&(words(format!("{more} more {plural}")) + all));
        }
        Ok(())
    }
}

/// What it means that a text is cut so.
fn summary(letters: Option<usize>, n: usize, added: usize, around: usize) -> String {
    let also = match added {
        0 if around > 0 => format!(", {around} of them of the chat around the user's words"),
        0 => String::new(),
        1 => ", one of them added by the tokenizer".into(),
        n => format!(", {n} of them added by the tokenizer"),
    };
    match letters {
        Some(letters) => format!(
            "{} are {}{also}: the model sees their ids and no letters.",
            plural(letters, "character"),
            plural(n, "token")
        ),
        None => format!("{n} token ids, as given."),
    }
}

/// Whether nothing of it is what the user of a chat says.
fn is_around(row: &TokenRow) -> bool {
    row.part.as_ref().is_some_and(|part| !part.ends_with("user"))
}

/// That so many tokens are one character.
fn split_up(n: usize, text: &str) -> String {
    format!("\"{text}\" is {n} tokens, and each has a part of its bytes.")
}

impl Seen for TokenRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let legend = [
            "Under each token its id, which is all that the model gets. The more bytes a token has, the darker: common words are one, rare ones are many.",
            "Outlined: several tokens that are one character for a reader. Without colour: special tokens, and in a chat all that the user does not say.",
        ];
        let cell = |group: &[TokenRow]| {
            let first = &group[0];
            let bytes: usize = group.iter().map(|row| row.bytes.len() / 2).sum();
            let ids = || group.iter().map(|row| row.token_id.to_string()).collect::<Vec<_>>();
            let title =
                |row: &TokenRow| format!("position {}, token {} \"{}\"", row.pos, row.token_id, visible(&row.text));
            Cell {
                value: bytes as f64 / group.len() as f64,
                label: together(group),
                below: ids().join(" "),
                title: group.iter().map(title).collect::<Vec<_>>().join("; "),
                error: None,
                mark: match group.len() {
                    _ if first.special || is_around(first) => Mark::Nothing,
                    1 => Mark::Plain,
                    _ => Mark::Hit,
                },
            }
        };
        let part = |own: Vec<Self>, n: usize| {
            let bytes = own.iter().filter_map(|row| row.byte_end).max().filter(|bytes| *bytes > 0);
            let mut found = match bytes {
                _ if n > own.len() => format!("The first {} of {n} tokens.", own.len()),
                Some(bytes) => {
                    format!("{} for {} of text.", plural(n, "token"), plural(bytes as usize, "byte"))
                }
                None => format!("{}.", plural(n, "token")),
            };
            let largest = groups(&own).filter(|group| group.len() > 1).max_by_key(|group| group.len());
            if let Some(group) = largest {
                found += &format!(" {}", split_up(group.len(), &together(group)));
            }
            let tokens = groups(&own).map(cell).collect();
            (Body::Text(Text { colours: Colours::rising("bytes", 16.0), tokens }), found)
        };
        views(
            rows,
            from,
            how,
            ("tokens", "Tokens", &legend),
            |row| (row.prompt, &row.prompt_id, &row.model),
            &part,
            emit,
        )
    }

    fn words(rows: &mut dyn Rows<Self>, _: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        let texts: BTreeMap<u32, usize> = told
            .prompts
            .iter()
            .filter_map(|prompt| Some((prompt.index, prompt.text.as_ref()?.chars().count())))
            .collect();
        let (n, mut first, mut several) = (rows.len(), None, false);
        rows.cells(0..n, &["model"], &mut |cells| {
            if let [crate::table::Cell::Str(model)] = *cells {
                several |= first.get_or_insert_with(|| model.to_owned()) != model;
            }
            Ok(())
        })?;
        let write = |(prompt, model): (u32, String), reading: Reading, w: &mut dyn Write| {
            if several {
                writeln!(w, "{}:", visible_prose(&model))?;
            }
            reading.write(texts.get(&prompt).copied(), told.note, w)
        };
        let (mut key, mut reading) = (None::<(u32, String)>, Reading::default());
        rows.rows(0..n, &mut |row| {
            if let Some(done) = key.take_if(|(prompt, model)| (*prompt, &*model) != (row.prompt, &row.model)) {
                write(done, std::mem::take(&mut reading), w)?;
            }
            key.get_or_insert_with(|| (row.prompt, row.model.clone()));
            reading.take(row);
            Ok(())
        })?;
        key.map_or(Ok(()), |last| write(last, reading, w))
    }
}

fn line(row: &TokenRow, part_of: Option<String>) -> Line {
    Line {
        pos: row.pos,
        token_id: row.token_id,
        piece: row.piece.clone(),
        text: row.text.clone(),
        byte_start: row.byte_start,
        byte_end: row.byte_end,
        part_of,
        special: row.special.then(|| "special".to_owned()),
        part: row.part.clone(),
    }
}

/// A token of a word with those it was merged of, by where its first symbol is.
struct Node {
    row: TableRow,
    of: Vec<Node>,
}

/// The merges of one word as a tree: each token, and under it the two that it was merged of.
fn tree(rows: &[TokenMergeRow]) -> Vec<TableRow> {
    let node = |text: &str, id: u32| Node {
        row: TableRow {
            depth: 0,
            label: visible(text),
            cells: vec![Cell::said(""), Cell::said(""), Cell::said(id.to_string())],
        },
        of: vec![],
    };
    let mut nodes: BTreeMap<u32, Node> = BTreeMap::new();
    for row in rows {
        let mut merged = node(&row.merged, row.merged_id);
        merged.row.cells[0] = Cell::said(row.step.to_string());
        match (row.start.zip(row.split), row.left.as_deref().zip(row.left_id), row.right.as_deref().zip(row.right_id)) {
            (Some((start, split)), Some((left, left_id)), Some((right, right_id))) => {
                let left = nodes.remove(&start).unwrap_or_else(|| node(left, left_id));
                let right = nodes.remove(&split).unwrap_or_else(|| node(right, right_id));
                merged.of = vec![left, right];
            }
            _ => merged.row.cells[0] = Cell::said("whole"),
        }
        merged.row.cells[1] = Cell::said(row.rank.map_or(String::new(), |rank| rank.to_string()));
        nodes.insert(row.start.unwrap_or_default(), merged);
    }
    let mut lines = vec![];
    let mut open: Vec<(usize, Node)> = nodes.into_values().rev().map(|node| (0, node)).collect();
    while let Some((depth, node)) = open.pop() {
        lines.push(TableRow { depth, ..node.row });
        open.extend(node.of.into_iter().rev().map(|node| (depth + 1, node)));
    }
    lines
}

impl Seen for TokenMergeRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let legend = [
            "A token, and under it the two neighbours that it was merged of. Steps are counted for each word; of all neighbours those of the lowest rank are merged first.",
        ];
        let part = |own: Vec<Self>, n: usize| {
            let words: Vec<&[Self]> = own.chunk_by(|a, b| a.word == b.word).collect();
            let lines = words.iter().take(WORDS).flat_map(|word| tree(word)).collect();
            let columns = ["token", "step", "rank", "id"].map(str::to_owned).to_vec();
            let some = if words.len() > WORDS { format!("; the first {WORDS} words are drawn") } else { String::new() };
            let least = if n > own.len() { " or more" } else { "" };
            let found = format!("{} in {}{least}{some}.", plural(n, "merge"), plural(words.len(), "word"));
            (Body::Table(Table { columns, rows: lines, colours: None }), found)
        };
        views(
            rows,
            from,
            how,
            ("token_merges", "Merges", &legend),
            |row| (row.prompt, &row.prompt_id, &row.model),
            &part,
            emit,
        )
    }

    fn words(rows: &mut dyn Rows<Self>, shown: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        let (mut of, mut n) = (0, 0);
        rows.cells(0..rows.len(), &["step"], &mut |cells| {
            n += 1;
            of += usize::from(matches!(cells, [crate::table::Cell::U32(1)]));
            Ok(())
        })?;
        match of {
            0 => Ok(()),
            1..=PRINTED if told.inputs == 1 => Ok(shown.write(1, w)?),
            _ => Ok(writeln!(
                w,
                "{} in {} led to these tokens: the table token_merges and its figure, which {} writes, have them.",
                plural(n, "merge"),
                plural(of, "word"),
                (told.worded)(&give_as("out", "FOLDER"))
            )?),
        }
    }
}
