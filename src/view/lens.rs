//! The logit lens as a grid: layers up, positions along, in each cell what the model would say there.

use super::axis::LEFT;
use super::extent::{Extents, Positions};
use super::frame::{self, BAR, MARGIN, NARROWEST};
use super::label::{probability, quoted};
use super::lens_grid::Grid;
use super::line::{Point, line};
use super::svg::{Rect, Svg};
use super::{Emit, Figure, Options, collected, suffix};
use crate::analysis::LensRow;
use crate::error::Result;
use crate::table::{self, Held, Provenance, Rows, visible, visible_prose};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

/// Height of the panel that follows the target, its heading included.
const TARGET: f64 = 210.0;

/// A cell's title names at most this many tokens: the most probable. A table can have a whole vocabulary for each.
const SAID: usize = 20;
/// A grid draws at most this many cells; of more, the first positions are left out.
pub(crate) const MOST_CELLS: usize = 50_000;

/// What a figure of so many cells takes while it is drawn, each with so many tokens: the cells, and its text twice.
pub(crate) fn bytes(cells: usize, top: usize) -> usize {
    // The texts of a row, each of its own; and in the figure a mark, its words, and a line of facts.
    let cell = size_of::<LensRow>() + 6 * 32 + top.min(SAID) * (size_of::<Said>() + 32);
    cells.min(MOST_CELLS) * (cell + 2 * (600 + 24 * top.min(SAID)))
}

/// One figure for each prompt (the first 20): a grid of layers (last on top) and positions, each cell coloured by the
/// probability of the most probable token there, which is written in it. Several hooks of one layer are separate rows.
/// A second panel follows the target through the layers if there is one.
///
/// # Errors
/// There are no rows.
pub fn logit_lens(rows: &[LensRow], provenance: &Provenance) -> Result<Vec<Figure>> {
    collected(|emit| {
        let rows = &mut Held(rows);
        let extents = Extents::of::<LensRow>(rows, "prompt", Options::default().max_prompts)?;
        draw(rows, &extents, provenance, emit)
    })
}

/// Draws the prompts of `extents`, one after another: no more than the cells of one figure is held.
pub(crate) fn draw(
    rows: &mut dyn Rows<LensRow>,
    extents: &Extents,
    provenance: &Provenance,
    emit: &mut Emit<'_>,
) -> Result<()> {
    for (prompt, range) in extents.each::<LensRow>()? {
        let svg = figure(&Lens::of(rows, prompt, range)?, provenance)?;
        emit(Figure { name: format!("logit_lens{}", suffix(prompt, extents.only())), svg })?;
    }
    Ok(())
}

/// A row of the grid.
pub(super) struct Site {
    /// Full hook name.
    pub hook: String,
    /// What stands beside the row.
    pub label: String,
}

/// A column of the grid.
pub(super) struct Column {
    pub pos: u32,
    /// The token read there, visible.
    pub input: String,
    /// The token that follows, visible.
    pub next: Option<String>,
}

/// What was predicted at one place.
pub(super) struct Cell {
    /// The most probable, without the names of prompt and hook, which many cells share.
    pub top: LensRow,
    /// The [`SAID`] most probable.
    said: Vec<Said>,
    /// How many more there are.
    more: usize,
}

struct Said {
    rank: u32,
    token: Box<str>,
    prob: f32,
}

/// The rows of one prompt, by place.
pub(super) struct Lens {
    pub prompt_id: String,
    /// In the order of the computation.
    pub sites: Vec<Site>,
    pub columns: Vec<Column>,
    /// How many positions before these are left out.
    hidden: usize,
    /// What was predicted at (site, column).
    pub cells: BTreeMap<(usize, usize), Cell>,
    /// The part of the hook names that all sites share, if they do.
    pub shared: Option<String>,
}

impl Lens {
    /// Those of `prompt`, which are among the rows of `range`.
    fn of(rows: &mut dyn Rows<LensRow>, prompt: u32, range: Range<usize>) -> Result<Self> {
        let (mut hooks, mut positions) = (Vec::<(i64, usize, String)>::new(), Positions::<()>::default());
        rows.cells(range.clone(), &["prompt", "hook", "layer", "pos"], &mut |cells| {
            let [table::Cell::U32(of), table::Cell::Str(hook), layer, table::Cell::U32(pos)] = *cells else {
                return Ok(());
            };
            if of != prompt {
                return Ok(());
            }
            positions.add(pos);
            if !hooks.iter().rev().any(|(_, _, known)| known == hook) {
                let layer = if let table::Cell::U32(layer) = layer { Some(layer) } else { None };
                hooks.push((depth(layer, hook), within(hook), hook.to_owned()));
            }
            Ok(())
        })?;
        // Stable, so hooks that the list within a block does not know keep the order of the table.
        hooks.sort_by_key(|(depth, within, _)| (*depth, *within));
        let positions: Vec<u32> = positions.into_sorted();
        // Of positions the last matter most.
        let hidden = positions.len().saturating_sub((MOST_CELLS / hooks.len().max(1)).max(1));
        let first = hooks.first().map(|(_, _, hook)| site_name(hook).to_owned());
        let shared = first.filter(|first| hooks.iter().all(|(d, _, hook)| *d >= 0 && site_name(hook) == first));
        let label = |hook: &str| match (&shared, layer_of(hook)) {
            (Some(_), Some(layer)) => layer.to_owned(),
            (None, Some(layer)) => visible_prose(&format!("{layer} {}", site_name(hook))),
            _ => visible_prose(site_name(hook)),
        };
        let sites = hooks.into_iter().map(|(_, _, hook)| Site { label: label(&hook), hook }).collect();
        let mut lens =
            Self { prompt_id: String::new(), sites, columns: vec![], hidden, cells: BTreeMap::new(), shared: None };
        lens.shared = shared;
        lens.columns =
            positions[hidden..].iter().map(|pos| Column { pos: *pos, input: String::new(), next: None }).collect();
        let mut known = vec![false; lens.columns.len()];
        let mut site = 0;
        let mut any = false;
        rows.rows(range, &mut |row| {
            if row.prompt != prompt {
                return Ok(());
            }
            if !any {
                (any, lens.prompt_id) = (true, row.prompt_id.clone());
            }
            let Ok(column) = lens.columns.binary_search_by_key(&row.pos, |c| c.pos) else { return Ok(()) };
            // Rows of a hook follow one another.
            if lens.sites[site].hook != row.hook {
                site = lens.sites.iter().position(|s| s.hook == row.hook).unwrap_or(site);
            }
            if !std::mem::replace(&mut known[column], true) {
                lens.columns[column].input = visible(&row.input_token);
                lens.columns[column].next = row.next_token.as_deref().map(visible);
            }
            lens.take((site, column), row);
            Ok(())
        })?;
        Ok(lens)
    }

    fn take(&mut self, place: (usize, usize), mut row: LensRow) {
        (row.prompt_id, row.hook) = (String::new(), String::new());
        let said = Said { rank: row.rank, token: row.token.as_str().into(), prob: row.prob };
        match self.cells.entry(place) {
            Entry::Vacant(free) => drop(free.insert(Cell { top: row, said: vec![said], more: 0 })),
            Entry::Occupied(mut cell) => {
                let cell = cell.get_mut();
                if row.rank < cell.top.rank {
                    cell.top = row;
                }
                // Of equals the first comes first.
                let at = cell.said.partition_point(|s| s.rank <= said.rank);
                if at < SAID {
                    cell.said.insert(at, said);
                }
                if at == SAID || cell.said.len() > SAID {
                    cell.said.truncate(SAID);
                    cell.more += 1;
                }
            }
        }
    }

    /// The facts of a cell in one line.
    pub fn facts(&self, site: usize, Cell { top, said, more }: &Cell) -> String {
        let place = match (&self.shared, top.layer) {
            (Some(_), Some(layer)) => format!("layer {layer}"),
            _ => visible_prose(&self.sites[site].hook),
        };
        let list = |s: &Said| format!("{}. {} {}", s.rank, quoted(&s.token), probability(s.prob));
        let predicted: Vec<String> = said.iter().map(list).collect();
        let mut facts = format!("{place}, position {} {}: {}", top.pos, quoted(&top.input_token), predicted.join(", "));
        if *more > 0 {
            facts += &format!(" and {more} more in the table");
        }
        if let Some(next) = &top.next_token {
            facts += &format!("; followed by {}", quoted(next));
        }
        facts += &format!("; entropy {:.2} bits, KL to final {:.2} bits", top.entropy_bits, top.kl_to_final_bits);
        if let (Some(target), Some(rank), Some(prob)) = (&top.target, top.target_rank, top.target_prob) {
            facts += &format!("; target {} rank {rank}, {}", quoted(target), probability(prob));
        }
        facts
    }

    /// The target at the last position that has one: its name, the position, and a point for each site.
    fn target(&self) -> Option<(String, u32, Vec<Point>)> {
        let column = (0..self.columns.len()).rev().find(|c| {
            self.sites.iter().enumerate().any(|(s, _)| self.top(s, *c).is_some_and(|r| r.target_prob.is_some()))
        })?;
        let mut name = None;
        let mut points = Vec::new();
        for (site, shown) in self.sites.iter().enumerate() {
            let Some(row) = self.top(site, column) else { continue };
            let (Some(target), Some(prob)) = (&row.target, row.target_prob) else { continue };
            name.get_or_insert_with(|| quoted(target));
            let rank = row.target_rank.map_or(String::new(), |rank| format!("#{rank}"));
            let title =
                format!("{}: target {} {rank}, {}", visible_prose(&shown.hook), quoted(target), probability(prob));
            points.push(Point { y: f64::from(prob), title, note: rank, label: shown.label.clone() });
        }
        Some((name?, self.columns[column].pos, points))
    }

    fn top(&self, site: usize, column: usize) -> Option<&LensRow> {
        self.cells.get(&(site, column)).map(|cell| &cell.top)
    }
}

/// Where a hook stands in the computation: before the blocks, in one of them, after them.
fn depth(layer: Option<u32>, hook: &str) -> i64 {
    match layer {
        Some(layer) => i64::from(layer),
        None if hook.starts_with("ln_final") => i64::MAX,
        None => -1,
    }
}

/// The order within a block.
fn within(hook: &str) -> usize {
    let order = ["resid_pre", "ln1", "attn.", "attn_out", "resid_mid", "ln2", "mlp.", "mlp_out", "resid_post"];
    let name = site_name(hook);
    order.iter().position(|o| if o.ends_with('.') { name.starts_with(o) } else { name == *o }).unwrap_or(order.len())
}

fn layer_of(hook: &str) -> Option<&str> {
    hook.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')).map(|(layer, _)| layer)
}

/// `blocks.3.hook_resid_post` is `resid_post`, `blocks.3.attn.hook_z` is `attn.z`.
fn site_name(hook: &str) -> &str {
    let rest = match hook.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((_, rest)) => rest,
        None => hook,
    };
    rest.strip_prefix("hook_").unwrap_or(rest)
}

fn figure(lens: &Lens, provenance: &Provenance) -> Result<String> {
    let grid = Grid::plan(lens);
    let target = lens.target();
    let width = (grid.left() + grid.width() + BAR + 2.0 * MARGIN).max(NARROWEST);
    let mut sentences = vec![
        "Each cell: the token most probable if the model stopped there; colour: its probability.".to_owned(),
        "Outlined: it is the token that follows in the prompt.".to_owned(),
    ];
    if lens.hidden > 0 {
        sentences.push(format!("The first {} positions are not drawn; the table has them.", lens.hidden));
    }
    let caption = frame::caption_lines(&sentences, width);
    let below = if target.is_some() { TARGET } else { 0.0 };
    let height = frame::HEAD + grid.height() + below + frame::caption_height(caption.len());
    let mut svg = Svg::new(width, height);
    let subtitle = frame::subtitle(provenance, &format!("prompt {}", lens.prompt_id));
    frame::head(&mut svg, "Logit lens: what each layer would predict next", &subtitle);
    grid.draw(&mut svg, lens, MARGIN, frame::HEAD);
    if let Some((name, pos, points)) = target {
        let top = frame::HEAD + grid.height() + 14.0;
        let t = super::svg::Type::new(13.0).bold();
        svg.text(MARGIN, top + 8.0, &format!("Probability of the target {name} at position {pos}"), t);
        let wanted = LEFT + points.len() as f64 * 44.0;
        let w = wanted.clamp(NARROWEST - 2.0 * MARGIN, width - 2.0 * MARGIN);
        let place = Rect { x: MARGIN, y: top + 24.0, w, h: TARGET - 44.0 };
        let x_name =
            if lens.shared.is_some() { "layer (#: rank of the target)" } else { "site (#: rank of the target)" };
        line(&mut svg, place, &points, x_name, "probability")?;
    }
    frame::caption(&mut svg, &caption);
    let title = format!("Logit lens, {subtitle}");
    Ok(svg.finish(&title, &frame::desc(provenance)))
}
