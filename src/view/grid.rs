//! Results as a person reads them on a terminal: grids of tokens, and the few numbers that matter most.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use crate::analysis::{AttentionRow, LensRow};
use crate::error::Result;
use crate::table::{Cell, Rows, visible};
use crate::view::extent::{Extents, Positions};

/// Prompts and pairs that are shown; the file has them all.
pub(crate) const SHOWN: u32 = 3;
/// Widest cell. A longer token is cut short.
const CELL: usize = 12;
const LABEL: usize = 14;
/// Tokens that are shown of the last position.
const TOP: usize = 5;

pub(crate) fn terminal_width() -> usize {
    match console::Term::stdout().size_checked() {
        Some((_, columns)) => columns as usize,
        // Not a terminal: wide enough to be useful, narrow enough for a page.
        None => 120,
    }
}

/// Cuts or pads `text` to `width` columns.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let mut out = text.to_owned();
    if out.width() > width {
        while out.width() + 1 > width && out.pop().is_some() {}
        out.push('…');
    }
    let pad = width.saturating_sub(out.width());
    out + &" ".repeat(pad)
}

/// What is shown of the logit lens: of the first prompts, the most probable tokens at as many positions as there is room for, and
/// some more at the last.
pub(crate) struct Lens(Vec<LensOfPrompt>);

/// Of one prompt.
#[derive(Default)]
struct LensOfPrompt {
    id: String,
    /// In the order of the table.
    hooks: Vec<String>,
    /// The most probable token at (hook, position), of positions for which there is room.
    cells: BTreeMap<(usize, u32), LensRow>,
    positions: BTreeSet<u32>,
    /// How many positions there are before these.
    hidden: usize,
    /// The last position, and the first rows there of each hook that has any.
    last: Option<u32>,
    at_last: Vec<Vec<LensRow>>,
}

impl Lens {
    /// Reads it from the table, in which the prompts are where `drawn` says.
    pub fn read(rows: &mut dyn Rows<LensRow>, drawn: &Extents) -> Result<Self> {
        let room = ((terminal_width().saturating_sub(LABEL + 2)) / (CELL + 1)).max(1);
        let mut shown = vec![];
        for (prompt, range) in drawn.each::<LensRow>()?.into_iter().take_while(|(prompt, _)| *prompt < SHOWN) {
            let (mut seen, mut of) = (Positions::<()>::default(), LensOfPrompt::default());
            rows.rows(range, &mut |row| {
                if row.prompt == prompt {
                    if row.rank == 1 {
                        seen.add(row.pos);
                    }
                    of.take(row, room);
                }
                Ok(())
            })?;
            of.hidden = seen.into_sorted().len() - of.positions.len();
            shown.push(of);
        }
        Ok(Self(shown))
    }

    /// Layers x positions of top tokens, last layer first, then the layers of the last position in numbers.
    pub fn write(&self, n_prompts: usize, w: &mut dyn Write) -> io::Result<()> {
        for prompt in &self.0 {
            if n_prompts > 1 {
                writeln!(w, "prompt {}", visible(&prompt.id))?;
            }
            prompt.write_grid(w)?;
            prompt.write_numbers(w)?;
        }
        more(n_prompts, "prompts", w)
    }
}

impl LensOfPrompt {
    /// One more row. Rows of a hook follow one another.
    fn take(&mut self, row: LensRow, room: usize) {
        if self.hooks.is_empty() {
            self.id.clone_from(&row.prompt_id);
        }
        let hook = match self.hooks.iter().rposition(|hook| *hook == row.hook) {
            Some(hook) => hook,
            None => {
                self.hooks.push(row.hook.clone());
                self.at_last.push(vec![]);
                self.hooks.len() - 1
            }
        };
        if self.last.is_none_or(|last| row.pos > last) {
            self.last = Some(row.pos);
            self.at_last.iter_mut().for_each(Vec::clear);
        }
        if self.last == Some(row.pos) && self.at_last[hook].len() < TOP {
            self.at_last[hook].push(row.clone());
        }
        if row.rank != 1 {
            return;
        }
        let first = self.positions.first().copied().unwrap_or(0);
        if self.positions.len() == room && row.pos < first {
            return;
        }
        self.positions.insert(row.pos);
        self.cells.insert((hook, row.pos), row);
        if self.positions.len() > room {
            self.positions.remove(&first);
            self.cells.retain(|(_, pos), _| *pos != first);
        }
    }

    fn write_grid(&self, w: &mut dyn Write) -> io::Result<()> {
        let dim = Style::new().dimmed();
        let line = |label: &str, cell: &dyn Fn(u32) -> String, w: &mut dyn Write| {
            write!(w, "{dim}{}{dim:#} ", fit(label, LABEL))?;
            for pos in &self.positions {
                write!(w, " {}", cell(*pos))?;
            }
            writeln!(w)
        };
        let of = |pos: u32| self.cells.values().find(|r| r.pos == pos);
        let next = |pos| of(pos).and_then(|r| r.next_token.as_deref()).map_or("?".into(), visible);
        line("follows", &|pos| format!("{dim}{}{dim:#}", fit(&next(pos), CELL)), w)?;
        for (i, hook) in self.hooks.iter().enumerate().rev() {
            let cell = |pos: u32| {
                let Some(row) = self.cells.get(&(i, pos)) else { return fit("", CELL) };
                let hit = row.next_token_id == Some(row.token_id);
                // Right is underlined, sure is bold: neither needs colour to be seen.
                let style = match row.prob {
                    p if p >= 0.5 => Style::new().bold().fg_color(Some(AnsiColor::Green.into())),
                    p if p >= 0.1 => Style::new(),
                    _ => dim,
                };
                let style = if hit { style.underline() } else { style };
                let text = fit(&visible(&row.token), CELL);
                let token = text.trim_end();
                format!("{style}{token}{style:#}{}", " ".repeat(text.len() - token.len()))
            };
            line(&short(hook), &cell, w)?;
        }
        let read = |pos: u32| of(pos).map_or(String::new(), |r| visible(&r.input_token));
        line("reads", &|pos| format!("{dim}{}{dim:#}", fit(&read(pos), CELL)), w)?;
        line("position", &|pos| format!("{dim}{}{dim:#}", fit(&pos.to_string(), CELL)), w)?;
        if self.hidden > 0 {
            writeln!(w, "({} earlier positions are in the files, or in a wider terminal)", self.hidden)?;
        }
        Ok(())
    }

    fn write_numbers(&self, w: &mut dyn Write) -> io::Result<()> {
        let (Some(last), Some(any)) = (self.last, self.at_last.iter().flatten().next_back()) else { return Ok(()) };
        writeln!(w, "\nafter position {last}, {}:", visible(&any.input_token))?;
        for (hook, top) in self.hooks.iter().zip(&self.at_last).rev() {
            let Some(row) = top.first() else { continue };
            write!(w, "{} ", fit(&short(hook), LABEL))?;
            for top in top {
                write!(w, " {} {:<5}", fit(&visible(&top.token), CELL), format!("{:.3}", top.prob))?;
            }
            write!(w, "  entropy {:>5.2} bits, KL to final {:>5.2} bits", row.entropy_bits, row.kl_to_final_bits)?;
            if let (Some(target), Some(rank), Some(prob)) = (&row.target, row.target_rank, row.target_prob) {
                write!(w, ", {} rank {rank}, prob {prob:.4}", visible(target))?;
            }
            writeln!(w)?;
        }
        Ok(())
    }
}

/// Says how many of `n` prompts or pairs, as `what` says, are not shown.
pub(crate) fn more(n: usize, what: &str, w: &mut dyn Write) -> io::Result<()> {
    match n.saturating_sub(SHOWN as usize) {
        0 => Ok(()),
        n => writeln!(w, "... and {n} more {what}, in the files"),
    }
}

/// `blocks.3.hook_resid_post` as `3 resid_post`.
fn short(hook: &str) -> String {
    let short = hook.replace("hook_", "");
    match short.strip_prefix("blocks.").and_then(|r| r.split_once('.')) {
        Some((layer, site)) => format!("{layer} {site}"),
        None => short,
    }
}

/// What is shown of attention: of the first prompts, for each layer and head the key that the last position looks at most.
pub(crate) struct Looks(Vec<BTreeMap<(u32, u32), AttentionRow>>);

impl Looks {
    /// Reads it from the table, in which the prompts are where `drawn` says.
    pub fn read(rows: &mut dyn Rows<AttentionRow>, drawn: &Extents) -> Result<Self> {
        let mut shown = vec![];
        for (prompt, range) in drawn.each::<AttentionRow>()?.into_iter().take_while(|(prompt, _)| *prompt < SHOWN) {
            // The rows that are shown are few, and those of the last position lie all over the table.
            let mut last: Option<u32> = None;
            let mut best: BTreeMap<(u32, u32), (usize, f32)> = BTreeMap::new();
            let mut at = range.start;
            rows.cells(range, &["prompt", "layer", "head", "query_pos", "prob"], &mut |cells| {
                use Cell::{F32, U32};
                at += 1;
                let [U32(of), U32(layer), U32(head), U32(query), F32(prob)] = *cells else { return Ok(()) };
                if of != prompt || last.is_some_and(|last| query < last) {
                    return Ok(());
                }
                if last != Some(query) {
                    best.clear();
                    last = Some(query);
                }
                let entry = best.entry((layer, head)).or_insert((at - 1, prob));
                if prob > entry.1 {
                    *entry = (at - 1, prob);
                }
                Ok(())
            })?;
            let mut looks = BTreeMap::new();
            for (head, (at, _)) in best {
                rows.rows(at..at + 1, &mut |row| {
                    looks.insert(head, row);
                    Ok(())
                })?;
            }
            shown.push(looks);
        }
        Ok(Self(shown))
    }

    pub fn write(&self, n_prompts: usize, w: &mut dyn Write) -> io::Result<()> {
        for best in &self.0 {
            let Some(any) = best.values().next() else { continue };
            if n_prompts > 1 {
                writeln!(w, "prompt {}", visible(&any.prompt_id))?;
            }
            let last = any.query_pos;
            writeln!(w, "from position {last}, {}, each head looks most at:", visible(&any.query_token))?;
            let heads = best.keys().map(|(_, h)| h + 1).max().unwrap_or(0);
            let room = (terminal_width().saturating_sub(LABEL) / (CELL + 6)).max(1) as u32;
            for layer in best.keys().map(|(l, _)| *l).collect::<BTreeSet<_>>() {
                for (i, start) in (0..heads).step_by(room as usize).enumerate() {
                    let label = if i == 0 { format!("layer {layer}") } else { String::new() };
                    write!(w, "{}", fit(&label, LABEL))?;
                    for head in start..heads.min(start + room) {
                        let cell = best.get(&(layer, head)).map_or(fit("", CELL + 5), |r| {
                            format!("{} {:.2}", fit(&visible(&r.key_token), CELL), r.prob)
                        });
                        write!(w, "{cell} ")?;
                    }
                    writeln!(w)?;
                }
            }
        }
        more(n_prompts, "prompts", w)
    }
}
