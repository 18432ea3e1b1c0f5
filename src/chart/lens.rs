//! The logit lens as a grid: layers up, positions along, in each cell what the model would say there.

use super::axis::LEFT;
use super::frame::{self, BAR, MARGIN, NARROWEST};
use super::label::{probability, quoted};
use super::lens_grid::Grid;
use super::line::{Point, line};
use super::svg::{Rect, Svg};
use super::{Figure, Options, by_prompt, suffix};
use crate::error::Result;
use crate::table::{LogitLens, Provenance, visible, visible_prose};
use std::collections::BTreeMap;

/// Height of the panel that follows the target, its heading included.
const TARGET: f64 = 210.0;

/// One figure for each prompt (the first 20): a grid of layers (last on top) and positions, each cell coloured by the
/// probability of the most probable token there, which is written in it. Several hooks of one layer are separate rows.
/// A second panel follows the target through the layers if there is one.
///
/// # Errors
/// There are no rows.
pub fn logit_lens(rows: &[LogitLens], provenance: &Provenance) -> Result<Vec<Figure>> {
    draw(rows, provenance, &Options::default())
}

pub(super) fn draw(rows: &[LogitLens], provenance: &Provenance, options: &Options) -> Result<Vec<Figure>> {
    let prompts = by_prompt(rows, |r| r.prompt, options.max_prompts)?;
    let only = prompts.len() == 1;
    prompts
        .iter()
        .map(|(prompt, rows)| {
            let svg = figure(&Lens::of(rows), provenance)?;
            Ok(Figure { name: format!("logit_lens{}", suffix(*prompt, only)), svg })
        })
        .collect()
}

/// A row of the grid.
pub(super) struct Site<'a> {
    /// Full hook name.
    pub hook: &'a str,
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

/// The rows of one prompt, by place.
pub(super) struct Lens<'a> {
    pub prompt_id: &'a str,
    /// In the order of the computation.
    pub sites: Vec<Site<'a>>,
    pub columns: Vec<Column>,
    /// What was predicted at (site, column), the most probable first. Never empty.
    pub cells: BTreeMap<(usize, usize), Vec<&'a LogitLens>>,
    /// The part of the hook names that all sites share, if they do.
    pub shared: Option<&'a str>,
}

impl<'a> Lens<'a> {
    fn of(rows: &[&'a LogitLens]) -> Self {
        let mut hooks: Vec<(i64, usize, &str)> = Vec::new();
        let mut columns = BTreeMap::<u32, &LogitLens>::new();
        for row in rows {
            if !hooks.iter().any(|(_, _, hook)| *hook == row.hook) {
                hooks.push((depth(row), within(&row.hook), &row.hook));
            }
            columns.entry(row.pos).or_insert(row);
        }
        // Stable, so hooks that the list within a block does not know keep the order of the table.
        hooks.sort_by_key(|(depth, within, _)| (*depth, *within));
        let first = hooks.first().map(|(_, _, hook)| site_name(hook));
        let shared = first.filter(|first| hooks.iter().all(|(d, _, hook)| *d >= 0 && site_name(hook) == *first));
        let places: BTreeMap<u32, usize> = columns.keys().enumerate().map(|(i, pos)| (*pos, i)).collect();
        let mut cells = BTreeMap::<_, Vec<&LogitLens>>::new();
        for row in rows {
            let site = hooks.iter().position(|(_, _, hook)| *hook == row.hook);
            if let (Some(site), Some(column)) = (site, places.get(&row.pos)) {
                cells.entry((site, *column)).or_default().push(row);
            }
        }
        cells.values_mut().for_each(|rows| rows.sort_by_key(|r| r.rank));
        let label = |hook: &str| match (shared, layer_of(hook)) {
            (Some(_), Some(layer)) => layer.to_owned(),
            (None, Some(layer)) => visible_prose(&format!("{layer} {}", site_name(hook))),
            _ => visible_prose(site_name(hook)),
        };
        Self {
            prompt_id: rows.first().map_or("", |r| &r.prompt_id),
            sites: hooks.iter().map(|(_, _, hook)| Site { hook, label: label(hook) }).collect(),
            columns: columns
                .into_values()
                .map(|r| Column {
                    pos: r.pos,
                    input: visible(&r.input_token),
                    next: r.next_token.as_deref().map(visible),
                })
                .collect(),
            cells,
            shared,
        }
    }

    /// The facts of a cell in one line.
    pub fn facts(&self, site: usize, rows: &[&LogitLens]) -> String {
        let Some(top) = rows.first() else { return String::new() };
        let place = match (self.shared, top.layer) {
            (Some(_), Some(layer)) => format!("layer {layer}"),
            _ => visible_prose(self.sites[site].hook),
        };
        let list = |r: &&LogitLens| format!("{}. {} {}", r.rank, quoted(&r.token), probability(r.prob));
        let predicted: Vec<String> = rows.iter().map(list).collect();
        let mut facts = format!("{place}, position {} {}: {}", top.pos, quoted(&top.input_token), predicted.join(", "));
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
                format!("{}: target {} {rank}, {}", visible_prose(shown.hook), quoted(target), probability(prob));
            points.push(Point { y: f64::from(prob), title, note: rank, label: shown.label.clone() });
        }
        Some((name?, self.columns[column].pos, points))
    }

    fn top(&self, site: usize, column: usize) -> Option<&'a LogitLens> {
        self.cells.get(&(site, column)).and_then(|rows| rows.first()).copied()
    }
}

/// Where a hook stands in the computation: before the blocks, in one of them, after them.
fn depth(row: &LogitLens) -> i64 {
    match row.layer {
        Some(layer) => i64::from(layer),
        None if row.hook.starts_with("ln_final") => i64::MAX,
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

fn figure(lens: &Lens<'_>, provenance: &Provenance) -> Result<String> {
    let grid = Grid::plan(lens);
    let target = lens.target();
    let width = (grid.left() + grid.width() + BAR + 2.0 * MARGIN).max(NARROWEST);
    let caption = frame::caption_lines(
        &[
            "Each cell: the token most probable if the model stopped there; colour: its probability.".to_owned(),
            "Outlined: it is the token that follows in the prompt.".to_owned(),
        ],
        width,
    );
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
