//! The chart of a training run: both losses can be told apart and read, whatever the run did.

use crate::bin::Place;
use crate::view::chart::{check, noise, provenance, save, show};
use crate::view::figures_of;
use pellucid::analysis::TrainingRow;
use pellucid::analysis::seen::render;
use pellucid::error::ErrorKind;
use pellucid::table::Provenance;
use pellucid::view::Figure;
use tempfile::TempDir;

/// A run of `reports`, one every 100 steps: the losses fall fast, then slowly, and lie close together.
fn run(reports: u32) -> Vec<TrainingRow> {
    (1..=reports)
        .map(|i| {
            let done = i as f32 / reports as f32;
            let held_out = 1.55 + 7.0 * (-(i as f32).sqrt() / 1.9).exp() + 0.9 * (1.0 - done) * (1.0 - done);
            TrainingRow {
                step: u64::from(i) * 100,
                tokens: u64::from(i) * 100 * 16_384,
                loss_nats: held_out - 0.04 * done + 0.09 * (noise(i) - 0.5),
                held_out_loss_nats: held_out,
                gradient_norm: 0.4 + noise(i + 7),
                learning_rate: 0.001 * (1.0 - 0.9 * done),
            }
        })
        .collect()
}

fn draw(rows: &[TrainingRow]) -> (Figure, Vec<String>) {
    let mut figures = figures_of(rows, &provenance()).unwrap();
    assert_eq!(figures.len(), 1);
    let figure = figures.remove(0);
    let titles = check(&figure);
    (figure, titles)
}

/// Texts of a figure that are set exactly so.
fn says(figure: &Figure, text: &str) -> usize {
    figure.svg.matches(&format!(">{text}</text>")).count()
}

/// The curves of a figure, without the samples beside the names: whether dashed, and how many points.
fn curves(figure: &Figure) -> Vec<(bool, usize)> {
    let xml = roxmltree::Document::parse(&figure.svg).unwrap();
    let curves = xml.descendants().filter(|n| n.has_attribute("stroke-linejoin"));
    let all = curves.map(|n| {
        let points = n.attribute("points").unwrap();
        assert!(!points.contains("NaN") && !points.contains("inf"), "{points}");
        (n.has_attribute("stroke-dasharray"), points.split(' ').count())
    });
    let mut all: Vec<_> = all.collect();
    all.truncate(all.len() - 2);
    all
}

#[test]
fn a_training_figure_names_its_lines_and_prints_where_they_end() {
    let rows = run(100);
    let (figure, titles) = draw(&rows);
    show(&figure, "training-100");
    assert_eq!(figure.name, "training");
    assert_eq!(curves(&figure), [(true, 100), (false, 100)], "told apart without colour");
    let last = rows.last().unwrap();
    for text in ["training", "held out", "optimizer steps", "cross-entropy (nats, logarithmic)"] {
        assert_eq!(says(&figure, text), 1, "{text}");
    }
    for loss in [last.loss_nats, last.held_out_loss_nats] {
        assert_eq!(says(&figure, &format!("{loss:.3}")), 1, "{loss}");
    }
    // Round numbers on both axes.
    for tick in ["2,000", "4,000", "10,000", "1.5", "2", "5"] {
        assert_eq!(says(&figure, tick), 1, "{tick}");
    }
    assert!(figure.svg.contains(" · 10,000 steps · 163,840,000 tokens</text>"));
    let facts = titles.iter().filter(|t| t.starts_with("step ")).collect::<Vec<_>>();
    assert_eq!(facts.len(), 100);
    assert!(facts[49].starts_with("step 5,000, 81,920,000 tokens: training "), "{}", facts[49]);
    assert!(facts[49].ends_with("learning rate 5.50e-4"), "{}", facts[49]);
}

#[test]
fn names_do_not_overlap_and_stay_beside_the_plot() {
    let heights = |figure: &Figure| {
        let xml = roxmltree::Document::parse(&figure.svg).unwrap();
        let of = |name| xml.descendants().find(|n| n.has_tag_name("text") && n.text() == Some(name)).unwrap();
        ["training", "held out"].map(|name| of(name).attribute("y").unwrap().parse::<f64>().unwrap())
    };
    for (a, b) in [(2.0, 2.0), (1.0, 1.01), (1.01, 1.0), (9.0, 1.0), (9.0, 9.0)] {
        let mut rows = run(30);
        let last = rows.last_mut().unwrap();
        (last.loss_nats, last.held_out_loss_nats) = (a, b);
        let (figure, _) = draw(&rows);
        let [training, held_out] = heights(&figure);
        assert!((training - held_out).abs() >= 35.9, "{a} {b}: {training} {held_out}");
        assert_eq!(training < held_out, a >= b, "the higher line has the higher name");
        assert!(training.min(held_out) > 64.0 && training.max(held_out) < 64.0 + 300.0, "{training} {held_out}");
    }
}

#[test]
fn losses_that_are_no_numbers_break_the_line_only() {
    let mut rows = run(50);
    rows[10].loss_nats = f32::NAN;
    rows[20].held_out_loss_nats = f32::INFINITY;
    rows[22].held_out_loss_nats = f32::NEG_INFINITY;
    (rows[49].loss_nats, rows[49].gradient_norm) = (f32::NAN, f32::INFINITY);
    let (figure, titles) = draw(&rows);
    show(&figure, "training-broken");
    assert_eq!(curves(&figure), [(true, 10), (true, 38), (false, 20), (false, 27)]);
    assert_eq!(figure.svg.matches("<circle").count(), 1, "the one report between two that are broken");
    assert_eq!(says(&figure, "NaN"), 1, "the last training loss is what it is");
    assert!(figure.svg.contains("4 of 50 reports"), "the caption says why");
    assert!(titles.iter().any(|t| t.contains("training NaN nats") && t.contains("gradient norm inf")));

    rows.iter_mut().for_each(|r| (r.loss_nats, r.held_out_loss_nats) = (f32::NAN, f32::INFINITY));
    let (figure, _) = draw(&rows);
    assert_eq!(curves(&figure), []);
    assert_eq!((says(&figure, "NaN"), says(&figure, "inf")), (1, 1));
    show(&figure, "training-nothing");
}

#[test]
fn a_run_of_any_length_is_a_figure() {
    let (figure, titles) = draw(&run(1));
    show(&figure, "training-1");
    assert_eq!((curves(&figure), figure.svg.matches("<circle").count()), (vec![], 2));
    assert!(titles.iter().any(|t| t.starts_with("step 100, ")));
    for reports in [2, 10, 3000, 100_000] {
        let (figure, titles) = draw(&run(reports));
        show(&figure, &format!("training-{reports}"));
        let dashed: Vec<bool> = curves(&figure).iter().map(|c| c.0).collect();
        assert_eq!(dashed, [reports <= 500, false], "the noise of many is a thin line");
        assert!(figure.svg.len() < 100 << 10, "{} bytes of {reports} reports", figure.svg.len());
        let facts = titles.iter().filter(|t| t.starts_with("step ")).count();
        assert_eq!(facts, reports.min(120) as usize);
        assert!(titles.iter().any(|t| t.starts_with(&format!("step {}", figure_step(reports)))), "the last report");
    }
    let e = figures_of::<TrainingRow>(&[], &provenance()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::BadInput);
    assert!(e.message().contains("`training` has no rows to draw") && e.hint_text().is_some(), "{e:?}");
}

/// The last step of [`run`], as figures write it.
fn figure_step(reports: u32) -> String {
    let step = (reports * 100).to_string();
    let (mut out, n) = (String::new(), step.len());
    for (i, digit) in step.chars().enumerate() {
        out.push_str(if i > 0 && (n - i).is_multiple_of(3) { "," } else { "" });
        out.push(digit);
    }
    out
}

#[test]
fn the_axes_suit_the_run() {
    let linear = |rows: &[TrainingRow]| says(&draw(rows).0, "cross-entropy (nats)") == 1;
    let mut rows = run(40);
    assert!(!linear(&rows));
    rows.drain(..20);
    assert!(linear(&rows), "little changes in the second half");
    let (figure, _) = draw(&rows);
    show(&figure, "training-late");
    assert_eq!((says(&figure, "0"), says(&figure, "2,500")), (0, 1), "the run begins at step 2,100");
    // What has no logarithm, what is constant, and what is as large as numbers get.
    for losses in [[0.0, 8.0], [-1.0, 9.0], [2.0, 2.0], [0.0, 0.0], [f32::MIN_POSITIVE, f32::MAX], [f32::MIN, f32::MAX]]
    {
        let mut rows = run(2);
        for (row, loss) in rows.iter_mut().zip(losses) {
            (row.loss_nats, row.held_out_loss_nats) = (loss, loss);
        }
        let (figure, _) = draw(&rows);
        assert_eq!(curves(&figure), [(true, 2), (false, 2)], "{losses:?}");
        show(&figure, &format!("training-{losses:?}"));
    }
    // Steps in disorder or all the same.
    let mut rows = run(10);
    rows.swap(2, 7);
    assert!(draw(&rows).0 == draw(&run(10)).0);
    rows.iter_mut().for_each(|r| r.step = u64::MAX);
    draw(&rows);
    rows.iter_mut().for_each(|r| r.step = 0);
    draw(&rows);
}

#[test]
fn a_training_figure_is_the_same_from_rows_and_from_the_file() {
    let folder = TempDir::new().unwrap();
    let rows = run(60);
    let mut how: Provenance = provenance();
    (how.table, how.table_version) = ("training".into(), 1);
    how.pellucid_version = env!("CARGO_PKG_VERSION").into();
    let table = save(&folder, &rows);
    let file = render(&table).unwrap();
    let place = Place::new();
    place.write("loss.parquet", std::fs::read(table).unwrap());
    assert_eq!(place.ok(["chart", "-q", "loss.parquet"]).stdout, "training.svg\n");
    assert!(place.read("training.svg") == file[0].svg.as_bytes());
    assert!(file == figures_of(&rows, &how).unwrap());
    assert!(file == figures_of(&rows, &how).unwrap());
    how.complete = false;
    assert!(figures_of(&rows, &how).unwrap()[0].svg.contains("incomplete: the run was stopped"));
}
