//! What was found, as it is drawn into its folder and printed.

use std::path::Path;

use super::args::Figures;
use super::out::{Out, flags};
use super::printed::Printed;
use crate::error::{Result, Said};
use crate::session::{Found, RunFolder};
use crate::table::Format;
use crate::text::Prompt;
use crate::view::viewed::{SHOWN, Shown, Told};
use crate::view::{Figure, Options, Total};

/// Draws figures of what was found into the folder, if there is one, and gives what is shown on a terminal: what is printed of it. Says
/// of how many prompts or pairs they are, where there are several.
pub(super) fn draw(
    found: &mut Found,
    mut folder: Option<&mut RunFolder>,
    printed: Printed,
    Figures(most): Figures,
) -> Result<Shown> {
    let mut shown = Shown::new(folder.is_some());
    let (caption, wanted) = (found.caption.as_ref().map(flags), if folder.is_some() { most } else { 0 });
    let (all, at) = (printed.is_all(), printed.at(&found.tables));
    let mut counts: Vec<String> = vec![];
    for (i, table) in found.tables.iter_mut().enumerate() {
        let mut own = Shown::new(folder.is_some());
        let mut options = Options { total: Total::default(), ..found.options.clone() };
        // A terminal shows its own number of them.
        let apart = wanted < SHOWN && (all || at == Some(i));
        if apart {
            options.max_prompts = SHOWN;
            table.views(&options, &mut |view| {
                own.take(&view, caption.as_deref());
                Ok(())
            })?;
        }
        if wanted > 0 || !apart {
            options.max_prompts = wanted.max(1);
            table.views(&options, &mut |view| {
                if !apart {
                    own.take(&view, caption.as_deref());
                }
                match (&mut folder, if wanted == 0 { None } else { Figure::of(&view)? }) {
                    (Some(folder), Some(figure)) => folder.write(&figure.file_name(), figure.svg.as_bytes()),
                    _ => Ok(()),
                }
            })?;
        }
        let n = options.total.get();
        if n > 1 && folder.is_some() {
            let what = table.subjects();
            let more = if wanted < n { ", --figures all draws them all" } else { "" };
            counts.push(format!("figures of {} of {n} {what}{more}", wanted.min(n)));
        }
        match at {
            _ if all => shown.follow(own),
            Some(at) if at == i => shown = own,
            _ => {}
        }
    }
    counts.dedup();
    found.said.splice(0..0, counts);
    Ok(shown)
}

/// Says and prints the folder of what was found, in place of it.
pub(super) fn printed_folder(found: Found, folder: &Path, out: &Out) -> Result<()> {
    found.said.iter().chain(&found.last).for_each(|said| out.say(said));
    out.folder(folder)?;
    found.verdict.map_or(Ok(()), Err)
}

/// Says and prints what was found: the table that was asked for, else of a folder what was drawn last, else every table.
pub(super) fn print(
    mut found: Found,
    shown: Option<&Shown>,
    printed: Printed,
    (inputs, prompts): (usize, &[Prompt]),
    out: &Out,
) -> Result<()> {
    found.said.iter().for_each(|said| out.say(said));
    if !out.prints {
        return found.verdict.map_or(Ok(()), Err);
    }
    if let Err(absent) = printed.chosen(&mut found) {
        found.last.iter().for_each(|said| out.say(said));
        return Err(found.verdict.unwrap_or(absent));
    }
    let note = |said: &Said| out.note(flags(said));
    let provenance = found.provenance.clone();
    let told = Told { inputs, prompts, provenance: &provenance, worded: &flags, note: &note };
    let options = found.options.clone();
    match (out.format, shown, &mut found.tables[..]) {
        (Format::Table, Some(shown), tables) => {
            let at = printed.at(tables).unwrap_or_default();
            if let Some(table) = tables.get_mut(at) {
                out.shown(table.is_drawn(), |w| table.words(shown, &told, w))?;
            }
        }
        (Format::Table, None, tables) => {
            for table in tables {
                let mut shown = Shown::default();
                table.views(&options, &mut |view| {
                    shown.take(&view, None);
                    Ok(())
                })?;
                out.shown(table.is_drawn(), |w| table.words(&shown, &told, w))?;
            }
        }
        (_, _, [first, ..]) => out.text(|format, how, w| first.text(format, how, w))?,
        _ => {}
    }
    found.last.iter().for_each(|said| out.say(said));
    found.verdict.map_or(Ok(()), Err)
}
