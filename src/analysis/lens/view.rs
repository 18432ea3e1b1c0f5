//! The logit lens as a grid: layers up, positions along, in each cell what the model would say there.

use crate::analysis::LensRow;
use crate::error::Result;
use crate::number::Locale;
use crate::table::{self, Provenance, Rows, visible, visible_prose};
use crate::view::axis::{Axis, round_up};
use crate::view::colour::Colours;
use crate::view::extent::{Extents, Positions};
use crate::view::kind::{self, Body, Heat, Item, Mark, Panel, Shape, Side, Steps, TableRow, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen, suffix};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

/// A cell's title names at most this many tokens: the most probable. A table can have a whole vocabulary for each.
const SAID: usize = 20;
/// Of more points on a curve than this, the last alone has its number written beside it.
pub(super) const MOST_LABELS: usize = 12;
/// A grid draws at most this many cells; of more, the first positions are left out.
pub(crate) const MOST_CELLS: usize = 50_000;

impl Seen for LensRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let extents = Extents::of::<Self>(rows, "prompt", how)?;
        views(rows, &extents, from, how.locale, emit)
    }
}

/// What a figure of so many cells takes while it is drawn, each with so many tokens: the cells, their facts, and its text twice.
pub(crate) fn bytes(cells: usize, top: usize) -> usize {
    // The texts of a row, each of its own; and in the figure a mark, its words, and a line of facts.
    let cell = size_of::<LensRow>() + 6 * 32 + top.min(SAID) * (size_of::<Said>() + 32);
    let facts = 200 + 24 * top.min(SAID);
    cells.min(MOST_CELLS) * (cell + size_of::<kind::Cell>() + facts + 2 * (400 + facts))
}

/// One figure for each prompt of `extents`: a grid of layers (last on top) and positions, each cell coloured by the probability of the
/// most probable token there, which is written in it. Several hooks of one layer are separate rows. A second panel follows the
/// target through the layers if there is one. No more than the cells of one figure is held.
///
/// # Errors
/// There are no rows.
pub(crate) fn views(
    rows: &mut dyn Rows<LensRow>,
    extents: &Extents,
    provenance: &Provenance,
    locale: Locale,
    emit: &mut Emit<'_>,
) -> Result<()> {
    let provenance = Arc::new(provenance.clone());
    for (prompt, range) in extents.each::<LensRow>()? {
        let lens = Lens::of(rows, prompt, range, locale)?;
        emit(lens.view(format!("logit_lens{}", suffix(prompt, extents.only())), provenance.clone()))?;
    }
    Ok(())
}

/// A row of the grid.
struct Site {
    /// Full hook name.
    hook: String,
    /// What stands beside the row.
    label: String,
}

/// A column of the grid.
struct Column {
    pos: u32,
    /// The token read there, visible.
    input: String,
    /// The token that follows, visible.
    next: Option<String>,
}

/// What was predicted at one place.
struct Cell {
    /// The most probable, without the names of prompt and hook, which many cells share.
    top: LensRow,
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
struct Lens {
    prompt_id: String,
    /// In the order of the computation.
    sites: Vec<Site>,
    columns: Vec<Column>,
    /// How many positions before these are left out.
    hidden: usize,
    /// What was predicted at (site, column).
    cells: BTreeMap<(usize, usize), Cell>,
    /// The part of the hook names that all sites share, if they do.
    shared: Option<String>,
    locale: Locale,
}

impl Lens {
    /// Those of `prompt`, which are among the rows of `range`.
    fn of(rows: &mut dyn Rows<LensRow>, prompt: u32, range: Range<usize>, locale: Locale) -> Result<Self> {
        let (mut hooks, mut positions) = (Vec::<(i64, usize, String)>::new(), Positions::<()>::default());
        rows.cells(range.clone(), &["prompt", "hook", "layer", "pos"], &mut |cells| {
            let [table::Cell::U32(of), table::Cell::Str(hook), layer, table::Cell::U32(pos)] = *cells else {
                return Ok(());
            };
            if of != prompt {
                return Ok(());
            }
            positions.add_with(pos, || ());
            if !hooks.iter().rev().any(|(_, _, known)| known == hook) {
                let layer = if let table::Cell::U32(layer) = layer { Some(layer) } else { None };
                hooks.push((depth(layer, hook), within(hook), hook.to_owned()));
            }
            Ok(())
        })?;
        // Stable, so hooks that the list within a block does not know keep the order of the table.
        hooks.sort_by_key(|(depth, within, _)| (*depth, *within));
        let positions: Vec<u32> = positions.into_pairs().map(|(pos, ())| pos).collect();
        // Of positions the last matter most.
        let hidden = positions.len().saturating_sub((MOST_CELLS / hooks.len().max(1)).max(1));
        let (shared, labels) = labels(hooks.iter().map(|(_, _, hook)| hook.as_str()));
        let sites = hooks.into_iter().zip(labels).map(|((_, _, hook), label)| Site { label, hook }).collect();
        let columns =
            positions[hidden..].iter().map(|pos| Column { pos: *pos, input: String::new(), next: None }).collect();
        let mut lens =
            Self { prompt_id: String::new(), sites, columns, hidden, cells: BTreeMap::new(), shared, locale };
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
    fn facts(&self, site: usize, Cell { top, said, more }: &Cell) -> String {
        let place = match (&self.shared, top.layer) {
            (Some(_), Some(layer)) => format!("layer {layer}"),
            _ => visible_prose(&self.sites[site].hook),
        };
        let number = self.locale;
        let list = |s: &Said| format!("{}. {} {}", s.rank, quoted(&s.token), number.probability(s.prob));
        let predicted: Vec<String> = said.iter().map(list).collect();
        let mut facts = format!("{place}, position {} {}: {}", top.pos, quoted(&top.input_token), predicted.join(", "));
        if *more > 0 {
            facts += &format!(" and {more} more in the table");
        }
        if let Some(next) = &top.next_token {
            facts += &format!("; followed by {}", quoted(next));
        }
        let bits = |x: f32| number.fixed(f64::from(x), 2);
        facts += &format!("; entropy {} bits, KL to final {} bits", bits(top.entropy_bits), bits(top.kl_to_final_bits));
        if let (Some(target), Some(rank), Some(prob)) = (&top.target, top.target_rank, top.target_prob) {
            facts += &format!("; target {} rank {rank}, {}", quoted(target), number.probability(prob));
        }
        if let (Some(foil), Some(diff)) = (&top.foil, top.logit_diff) {
            facts += &format!(", {} logits over {}", number.signed(f64::from(diff)), quoted(foil));
        }
        facts
    }

    fn view(&self, name: String, provenance: Arc<Provenance>) -> View {
        let heat = self.heat();
        let mut legend =
            vec!["Each cell: the token most probable if the model stopped there; colour: its probability.".to_owned()];
        if heat.cells.iter().any(|(_, cell)| cell.mark == Mark::Hit) {
            legend.push("Outlined: it is the token that follows in the prompt.".to_owned());
        }
        if self.hidden > 0 {
            legend.push(format!("The first {} positions are not drawn; the table has them.", self.hidden));
        }
        let mut panels = View::panel(Body::Heat(heat));
        panels.extend(self.target());
        View {
            name,
            title: "Logit lens: what each layer would predict next".to_owned(),
            subtitle: View::subtitle(&provenance, &format!("prompt {}", self.prompt_id)),
            caption: self.finding().into_iter().collect(),
            legend,
            panels,
            more: self.last().into_iter().collect(),
            provenance,
            locale: self.locale,
        }
    }

    fn heat(&self) -> Heat {
        let layers = match &self.shared {
            Some(site) => vec![format!("layer ({})", visible_prose(site)), "layer".to_owned()],
            None => vec!["site".to_owned()],
        };
        let rows = self.sites.iter().rev().map(|site| Item { label: site.label.clone(), number: None });
        let columns = self.columns.iter().map(|c| Item { label: c.input.clone(), number: Some(c.pos) });
        let follows = self.columns.iter().any(|c| c.next.is_some());
        let above = self.columns.iter().filter(|_| follows);
        let side = |names: [&str; 2], items| Side { names: names.map(str::to_owned).to_vec(), items };
        let cells = (0..self.sites.len()).rev().flat_map(|site| self.cells.range((site, 0)..(site + 1, 0)));
        let cell = |(&(site, column), cell): (&(usize, usize), &Cell)| {
            let top = &cell.top;
            let seen = kind::Cell {
                value: f64::from(top.prob),
                label: visible(&top.token),
                below: self.locale.short_probability(top.prob),
                title: self.facts(site, cell),
                error: None,
                mark: if top.next_token_id == Some(top.token_id) { Mark::Hit } else { Mark::Plain },
            };
            // The last layer is on top.
            ((self.sites.len() - 1 - site, column), seen)
        };
        Heat {
            rows: Side { names: layers, items: rows.collect() },
            columns: side(["position and token read there", "position"], columns.collect()),
            above: side(
                ["token that follows in the prompt", "follows"],
                above.map(|c| Item { label: c.next.clone().unwrap_or_default(), number: None }).collect(),
            ),
            cells: cells.map(cell).collect(),
            areas: vec![],
            colours: Colours::probability("probability"),
            shape: Shape::Tokens,
            absent: "not in the table",
        }
    }

    /// The target at the last position that has one: a point for each site.
    fn target(&self) -> Option<Panel> {
        let column = (0..self.columns.len())
            .rev()
            .find(|c| (0..self.sites.len()).any(|s| self.top(s, *c).is_some_and(|r| r.target_prob.is_some())))?;
        let (mut name, mut items, mut points) = (None, vec![], vec![]);
        for (site, shown) in self.sites.iter().enumerate() {
            let Some(row) = self.top(site, column) else { continue };
            let (Some(target), Some(prob)) = (&row.target, row.target_prob) else { continue };
            name.get_or_insert_with(|| quoted(target));
            let rank = row.target_rank.map_or(String::new(), |rank| rank.to_string());
            let (hook, said) = (visible_prose(&shown.hook), self.locale.probability(prob));
            let title = format!("{hook}: target {}, rank {rank}, {said}", quoted(target));
            points.push(kind::Cell { value: f64::from(prob), title, label: rank, ..kind::Cell::default() });
            items.push(Item { label: shown.label.clone(), number: None });
        }
        let most = points.iter().map(|p| p.value).filter(|y| y.is_finite()).fold(0.0, f64::max);
        // Of many, they would stand over each other; the table beside has them all.
        let (last, several) = (points.len().saturating_sub(1), points.len() > MOST_LABELS);
        points.iter_mut().take(if several { last } else { 0 }).for_each(|point| point.label.clear());
        let x = if self.shared.is_some() { "layer" } else { "site" };
        let steps = Steps {
            x: Side { names: vec![format!("{x} (number: target's rank)"), x.to_owned()], items },
            y: Axis::linear(&format!("probability of {}", name.as_deref()?), 0.0, round_up(most), 5),
            limits: (0.0, round_up(most)),
            points,
            joined: true,
        };
        let heading = format!("Probability of the target {} at position {}", name?, self.columns[column].pos);
        Some(Panel { heading, body: Body::Steps(steps) })
    }

    /// What was said at the last position: the most probable tokens of each layer, and how sure it is.
    fn last(&self) -> Option<Panel> {
        let column = self.columns.len().checked_sub(1)?;
        let at = |site| self.cells.get(&(site, column)).map(|cell| (site, cell));
        let all: Vec<_> = (0..self.sites.len()).rev().filter_map(at).collect();
        let listed = all.iter().map(|(_, cell)| cell.said.len()).max()?;
        let more = all.iter().map(|(_, cell)| cell.more).max().unwrap_or(0);
        let target = all.iter().find_map(|(_, cell)| cell.top.target.as_deref()).map(visible);
        let foil = all.iter().find_map(|(_, cell)| cell.top.foil.as_deref()).map(visible);
        let bits = |x: f32| kind::Cell::said(self.locale.fixed(f64::from(x), 2));
        let row = |(site, cell): &(usize, &Cell)| {
            let said = |s: &Said| kind::Cell {
                value: f64::from(s.prob),
                label: visible(&s.token),
                below: self.locale.probability(s.prob),
                ..kind::Cell::default()
            };
            let mut cells: Vec<_> = cell.said.iter().take(listed).map(said).collect();
            cells.resize_with(listed, || kind::Cell::said(""));
            cells.extend([bits(cell.top.entropy_bits), bits(cell.top.kl_to_final_bits)]);
            if target.is_some() {
                let rank = cell.top.target_rank.zip(cell.top.target_prob);
                cells.push(kind::Cell::said(
                    rank.map_or(String::new(), |(rank, p)| format!("rank {rank}, {}", self.locale.probability(p))),
                ));
            }
            if foil.is_some() {
                let diff = cell.top.logit_diff.map(|diff| self.locale.signed(f64::from(diff)));
                cells.push(kind::Cell::said(diff.unwrap_or_default()));
            }
            TableRow { depth: 0, label: self.sites[*site].label.clone(), cells }
        };
        let rows = all.iter().map(row).collect();
        let ranks = (1..=listed).map(|rank| format!("{rank}."));
        let first = if self.shared.is_some() { "layer" } else { "site" };
        let columns = std::iter::once(first.to_owned())
            .chain(ranks)
            .chain(["entropy (bits)", "KL to final (bits)"].map(str::to_owned))
            .chain(target.map(|target| format!("target {target}")))
            .chain(foil.map(|foil| format!("logits over {foil}")));
        let table =
            kind::Table { columns: columns.collect(), rows, colours: Some(Colours::probability("probability")) };
        let Column { pos, input, .. } = &self.columns[column];
        let more = if more > 0 { format!("; {more} more of each are in the table") } else { String::new() };
        Some(Panel { heading: format!("after position {pos}, {input}{more}"), body: Body::Table(table) })
    }

    /// From which layer on the model says what it says in the end, at the last position.
    fn finding(&self) -> Option<String> {
        let column = self.columns.len().checked_sub(1)?;
        let said: Vec<_> =
            (0..self.sites.len()).rev().map_while(|site| self.top(site, column).map(|top| (site, top))).collect();
        let (_, top) = said.first()?;
        let (first, _) = said.iter().take_while(|(_, other)| other.token_id == top.token_id).last()?;
        let at = match (&self.shared, &self.sites[*first]) {
            (Some(_), site) => format!("layer {}", site.label),
            (None, site) => site.label.clone(),
        };
        let (pos, token, sure) = (top.pos, quoted(&top.token), self.locale.probability(top.prob));
        // The last site is the model's own output, or is not: what one MLP writes says something else.
        let last = match top.kl_to_final_bits == 0.0 {
            true => "in the end".to_owned(),
            false => format!("at the last site, {}, which is not what the model says,", visible_prose(&top.hook)),
        };
        Some(format!("After position {pos}, {token} is the most probable token from {at} on; {last} with {sure}."))
    }

    fn top(&self, site: usize, column: usize) -> Option<&LensRow> {
        self.cells.get(&(site, column)).map(|cell| &cell.top)
    }
}

/// What stands beside hooks: where all are of blocks and one site, that site, and their layers; else sites with their layers.
pub(super) fn labels<'a>(hooks: impl Iterator<Item = &'a str> + Clone) -> (Option<String>, Vec<String>) {
    let first = hooks.clone().next().map(site_name);
    let shared = first.filter(|first| hooks.clone().all(|hook| layer_of(hook).is_some() && site_name(hook) == *first));
    let label = |hook: &str| match (shared, layer_of(hook)) {
        (Some(_), Some(layer)) => layer.to_owned(),
        (None, Some(layer)) => visible_prose(&format!("{layer} {}", site_name(hook))),
        _ => visible_prose(site_name(hook)),
    };
    (shared.map(str::to_owned), hooks.map(label).collect())
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
