//! Learned positions: the spiral, cosines, and waves.

use std::sync::Arc;

use super::{around, panel};
use crate::analysis::position::{PositionCosineRow, PositionVectorRow, PositionWaveRow};
use crate::error::Result;
use crate::table::{Provenance, Rows};
use crate::view::axis::Axis;
use crate::view::colour::Colours;
use crate::view::kind::{Body, Cell, Dot, Heat, Item, Line, Lines, Mark, Scatter, Shape, Side, View};
use crate::view::{Emit, Options, Seen, all_rows};

/// Positions along each side of the map of cosines.
const ALONG: usize = 64;
/// Peaks that the caption names.
const NAMED: usize = 12;
/// A peak is one worth naming where it takes so many times what each frequency of the Fourier transform takes on average.
const STANDS_OUT: f64 = 1.5;

impl Seen for PositionVectorRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        let dots: Vec<Dot> = (rows.iter())
            .filter_map(|row| Some((row.x?, row.y?, row)))
            .map(|(x, y, row)| {
                let [first, second, length] = [x, y, row.norm].map(|x| locale.number(x as f32));
                let title = format!("position {}: {first}, {second}; length {length}", row.pos);
                Dot { x, y, title, ..Dot::default() }
            })
            .collect();
        let most = dots.iter().flat_map(|dot| [dot.x.abs(), dot.y.abs()]).fold(0.0, f64::max) * 1.08;
        let most = if most > 0.0 { most } else { 1.0 };
        let (x, y) = (locale.percent(rows[0].explained_x), locale.percent(rows[0].explained_y));
        let norms: Vec<(f64, f64)> = rows.iter().map(|row| (f64::from(row.pos), row.norm)).collect();
        let (least, longest) =
            norms.iter().fold((f64::MAX, 0.0), |(a, b), (_, norm)| (f64::min(a, *norm), f64::max(b, *norm)));
        let last = norms.last().map_or(1.0, |(pos, _)| *pos).max(1.0);
        let caption = vec![
            format!("The first two components have {x} and {y} of the variation between positions."),
            format!(
                "The {} vectors are {} to {} long.",
                locale.count(rows.len() as u64),
                locale.any(least as f32),
                locale.any(longest as f32)
            ),
        ];
        let length = Line {
            name: "length".to_owned(),
            end: norms.last().map_or(String::new(), |(_, norm)| locale.any(*norm as f32)),
            strong: true,
            points: norms,
        };
        // Positions to be read beside their dots.
        let every = (dots.len() / 24).max(1);
        let words = (0..dots.len()).step_by(every).map(|i| (i, rows[i].pos.to_string())).collect();
        emit(View {
            name: "position-vectors".to_owned(),
            title: "Learned positions along their first two components".to_owned(),
            subtitle: View::subtitle(from, &format!("{} positions", locale.count(rows.len() as u64))),
            caption,
            legend: vec!["A dot is a position; numbers say which.".to_owned()],
            panels: vec![
                panel(
                    "Where the vectors lie",
                    Body::Scatter(Scatter {
                        x: Axis::linear(&format!("component 1, {x} of the variation"), -most, most, 6),
                        y: Axis::linear(&format!("component 2, {y} of the variation"), -most, most, 6),
                        diagonal: false,
                        kinds: vec![],
                        dots,
                        words,
                    }),
                ),
                panel(
                    "How long they are",
                    Body::Lines(Lines {
                        x: Axis::counted("position", 0.0, last, 8),
                        y: Axis::linear("length of the vector", 0.0, longest * 1.08 + f64::MIN_POSITIVE, 6),
                        stairs: false,
                        titles: vec![],
                        lines: vec![length],
                    }),
                ),
            ],
            more: vec![],
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}

impl Seen for PositionCosineRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let locale = how.locale;
        let mut last = 0;
        // Sums of the cosines at each distance.
        let mut near: Vec<(f64, u32)> = vec![];
        rows.rows(0..rows.len(), &mut |row| {
            last = last.max(row.pos_b);
            let at = row.distance as usize;
            if near.len() <= at {
                near.resize(at + 1, (0.0, 0));
            }
            if let Some(cosine) = row.cosine {
                near[at] = (near[at].0 + cosine, near[at].1 + 1);
            }
            Ok(())
        })?;
        let n = last as usize + 1;
        let step = n.div_ceil(ALONG).max(1);
        let shown = n.div_ceil(step);
        let cell = |a: u32, b: u32, cosine: Option<f64>| Cell {
            value: cosine.unwrap_or(f64::NAN),
            label: String::new(),
            title: format!(
                "positions {a} and {b}: cosine {}",
                cosine.map_or("none".to_owned(), |c| locale.fixed(c, 3))
            ),
            mark: Mark::Plain,
            ..Cell::default()
        };
        let mut cells: Vec<((usize, usize), Cell)> =
            (0..shown).map(|i| ((i, i), cell((i * step) as u32, (i * step) as u32, Some(1.0)))).collect();
        rows.rows(0..rows.len(), &mut |row| {
            let (a, b) = (row.pos_a as usize, row.pos_b as usize);
            if a.is_multiple_of(step) && b.is_multiple_of(step) {
                let of = cell(row.pos_a, row.pos_b, row.cosine);
                cells.push(((a / step, b / step), of.clone()));
                cells.push(((b / step, a / step), of));
            }
            Ok(())
        })?;
        cells.sort_by_key(|(at, _)| *at);
        let mean = |at: usize| near.get(at).filter(|(_, n)| *n > 0).map(|(sum, n)| sum / f64::from(*n));
        let said = |at: usize| mean(at).map(|cosine| format!("{} at distance {at}", locale.fixed(cosine, 2)));
        let far = [1, 2, 4, 16, 64, 256].into_iter().filter(|at| *at < n).filter_map(said).collect::<Vec<_>>();
        let item = |i: usize| Item { label: String::new(), number: Some((i * step) as u32) };
        let side = || Side { names: vec!["position".to_owned()], items: (0..shown).map(item).collect() };
        let every = if step > 1 {
            format!("One of {step} positions is shown; the table has all pairs.")
        } else {
            "Every pair of positions is shown.".to_owned()
        };
        emit(View {
            name: "position-cosines".to_owned(),
            title: "How alike learned positions are".to_owned(),
            subtitle: View::subtitle(from, &format!("{} positions", locale.count(n as u64))),
            caption: vec![format!("Mean cosine of two positions: {}.", far.join(", "))],
            legend: vec![every],
            panels: vec![panel(
                "",
                Body::Heat(Heat {
                    rows: side(),
                    columns: side(),
                    above: Side::default(),
                    cells,
                    areas: vec![],
                    colours: Colours::signed("cosine", 1.0),
                    shape: Shape::Square,
                    absent: "not in the table",
                }),
            )],
            more: vec![],
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}

impl Seen for PositionWaveRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        let fourier = rows.iter().filter(|row| row.fourier).count().max(1);
        let mut peaks: Vec<&Self> =
            rows.iter().filter(|row| row.peak && row.share * fourier as f64 > STANDS_OUT).collect();
        peaks.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.step.cmp(&b.step)));
        let named: Vec<String> = peaks.iter().take(NAMED).map(|row| locale.number(row.period as f32)).collect();
        let found = match named.is_empty() {
            true => "No wave stands out.".to_owned(),
            false => {
                format!("Waves that stand out, the strongest first, come again after {} positions.", named.join(", "))
            }
        };
        let turns = |row: &Self| row.frequency / std::f64::consts::TAU;
        let points: Vec<(f64, f64)> = rows.iter().map(|row| (turns(row), row.share)).collect();
        let dots = peaks.iter().take(NAMED).map(|row| Line {
            name: String::new(),
            end: String::new(),
            strong: true,
            points: vec![(turns(row), row.share)],
        });
        let titles = rows.iter().map(|row| {
            let (period, share) = (locale.number(row.period as f32), locale.percent(row.share));
            (turns(row), format!("period {period} positions: {share} of the variation"))
        });
        // Of a fine grid every facts column would be thinner than a pixel.
        let every = (rows.len() / 512).max(1);
        let own = Line { name: String::new(), end: String::new(), strong: true, points: points.clone() };
        emit(View {
            name: "position-waves".to_owned(),
            title: "Waves in learned positions".to_owned(),
            subtitle: View::subtitle(from, &format!("{} positions", locale.count((2 * fourier) as u64))),
            caption: vec![found],
            legend: vec!["Dots are the strongest peaks. The period of a wave is one over its frequency.".to_owned()],
            panels: vec![panel(
                "",
                Body::Lines(Lines {
                    x: Axis::linear("frequency (turns per position)", 0.0, 0.5, 6),
                    y: around("share of the variation between positions", points.iter().map(|(_, y)| *y).chain([0.0])),
                    stairs: false,
                    titles: titles.step_by(every).collect(),
                    lines: [own].into_iter().chain(dots).collect(),
                }),
            )],
            more: vec![],
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}
