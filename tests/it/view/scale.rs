//! How far the colours and axes of patching figures go: small effects look small, figures of one request can be compared, and what is
//! cut off is said.

use crate::view::figures_of;
use pellucid::analysis::seen::{render, render_with};
use pellucid::analysis::{PatchMeanRow, PatchRow};
use pellucid::table::Measured;
use pellucid::table::read_rows;
use pellucid::view::{Figure, Options, diverging};
use tempfile::TempDir;

use crate::bin::{GIVERS, Place};
use crate::view::chart::{check, provenance, save, show};
use crate::view::patch::{contains, fill, says, set, sweep};

/// A heat map in which the strongest effect recovers `share`.
fn map(share: f32) -> Vec<PatchRow> {
    let mut rows = sweep(&[("layer", 4), ("pos", 6)]);
    rows.iter_mut().for_each(|row| set(row, row.measured.recovered.unwrap().signum() * share.abs() / 10.0));
    set(&mut rows[3 * 6 + 5], share);
    rows
}

fn one(rows: &[PatchRow], scale: Option<f64>) -> Figure {
    let folder = TempDir::new().unwrap();
    let mut figures = render_with(save(&folder, rows), &Options { scale, ..Options::default() }).unwrap();
    assert_eq!(figures.len(), 1);
    check(&figures[0]);
    figures.remove(0)
}

/// The colour of the strongest effect.
fn colour(figure: &Figure, title: &str) -> (u8, u8, u8) {
    let facts = check(figure);
    let facts = facts.iter().find(|t| t.starts_with(title)).unwrap_or_else(|| panic!("no {title}: {facts:#?}"));
    fill(figure, facts)
}

fn rgb(share: f64, most: f64) -> (u8, u8, u8) {
    let colour = diverging(share, most);
    (colour.0, colour.1, colour.2)
}

/// Invariant: Small shares look small, all figures of a table share one scale, values beyond a chosen scale are marked, and
/// choosing a scale does not change the request.
#[test]
fn small_shares_look_small() {
    let place = "layer 3, position 5";
    let (small, large) = (one(&map(0.00875), None), one(&map(0.55), None));
    show(&small, "scale-small");
    assert_eq!(colour(&small, place), rgb(0.00875, 0.1));
    assert_eq!(colour(&large, place), rgb(0.55, 1.0));
    assert!(contains(&small, "Colours from −0.1 to 0.1.") && contains(&large, "Colours from −1 to 1."));
    let bar = |figure: &Figure| [says(figure, "0.1"), says(figure, "0.5")];
    assert_eq!((bar(&small), bar(&large)), ([1, 0], [0, 1]), "the bar has round numbers");
    // A change has no natural size: it fits, and the range is said.
    let mut rows = map(0.00875);
    for row in &mut rows {
        (row.measured.corrupt, row.measured.recovered, row.done.direction) = (None, None, None);
        row.measured.patched = row.measured.patched.map(|patched| patched + 10.0);
    }
    let change = one(&rows, None);
    assert!(contains(&change, "Colours from −0.088 to 0.088."));
    assert_eq!(colour(&change, place), rgb(0.0875, 0.088));
    // Axes, too.
    for over in [("pos", 12), ("head", 12)] {
        let mut rows = sweep(&[over]);
        rows.iter_mut().enumerate().for_each(|(i, row)| set(row, i as f32 * 0.0005));
        let figure = one(&rows, None);
        assert_eq!((says(&figure, "0.1"), says(&figure, "0.004")), (1, 0), "{over:?}");
    }
}

/// Invariant: as `small_shares_look_small`.
#[test]
fn figures_of_one_table_share_a_scale() {
    let pair = |pair: u32, share: f32, metric: &str| {
        let rows = map(share).into_iter();
        rows.map(move |r| PatchRow {
            pair,
            pair_id: pair.to_string(),
            measured: Measured { metric: metric.into(), ..r.measured },
            ..r
        })
        .collect::<Vec<_>>()
    };
    let rows = [pair(0, 0.04, "logit_diff"), pair(0, 0.3, "prob"), pair(1, 0.15, "logit")].concat();
    let figures = figures_of(&rows, &provenance()).unwrap();
    assert_eq!(figures.len(), 3);
    for (figure, share) in figures.iter().zip([0.04, 0.3, 0.15]) {
        assert!(contains(figure, "Colours from −0.5 to 0.5."), "{}", figure.name);
        assert_eq!(colour(figure, "layer 3, position 5"), rgb(share, 0.5));
    }
    // Changes of two metrics are of one quantity if both are logits, else of two.
    let changes = |mut rows: Vec<PatchRow>| {
        for row in &mut rows {
            row.measured.patched = row.measured.patched.map(|patched| patched + 10.0);
            (row.measured.corrupt, row.measured.recovered, row.done.direction) = (None, None, None);
        }
        rows
    };
    let figures = figures_of(&changes(rows), &provenance()).unwrap();
    assert!(contains(&figures[0], "Colours from −1.5 to 1.5.") && contains(&figures[2], "Colours from −1.5 to 1.5."));
    assert!(contains(&figures[1], "Colours from −3 to 3."), "{}", figures[1].svg);
    // A pair whose runs hardly differ does not make all others white.
    let wild = [pair(0, 0.7, "logit_diff"), pair(1, 300.0, "logit_diff")].concat();
    let figures = figures_of(&wild, &provenance()).unwrap();
    assert_eq!(colour(&figures[0], "layer 3, position 5"), rgb(0.7, 2.0));
    assert!(
        contains(&figures[1], "Colours from −2 to 2; 24 effects beyond are marked by a corner."),
        "{}",
        figures[1].svg
    );
}

/// Invariant: The first position of a prompt does not make all others look like nothing; it is marked as beyond the scale.
#[test]
fn the_first_position_does_not_set_the_scale() {
    let changes = |strong: (usize, f32), others: f32| {
        let mut rows = sweep(&[("layer", 4), ("pos", 6)]);
        for row in &mut rows {
            let at = row.place.pos.unwrap() as usize;
            let change = if at == strong.0 { strong.1 } else { others };
            (row.measured.corrupt, row.measured.recovered, row.done.direction) = (None, None, None);
            row.measured.patched = Some(row.measured.clean + change);
            (row.outcome.changed, row.outcome.reached) = (true, true);
        }
        rows
    };
    let sink = one(&changes((0, 5.0), 0.25), None);
    show(&sink, "scale-first");
    let words = "Colours from −0.25 to 0.25; 4 effects beyond, at the first position, are marked by a corner.";
    assert!(contains(&sink, words), "{}", sink.svg);
    assert_eq!(sink.svg.matches("<path").count(), 4, "a corner in each layer");
    // Another position may be what was looked for, and sets it; so does a first one that is not far beyond, or beside which all is
    // rounding.
    for (strong, others, most) in [((3, 5.0), 0.25, "5"), ((0, 0.75), 0.25, "0.75"), ((0, 5.0), 0.001, "5")] {
        let figure = one(&changes(strong, others), None);
        assert!(contains(&figure, &format!("Colours from −{most} to {most}.")), "{strong:?}: {}", figure.svg);
    }
    // A share of 1 is all that there is, whatever others are.
    let mut rows = map(0.1);
    rows.iter_mut().filter(|row| row.place.pos == Some(0)).for_each(|row| set(row, 1.0));
    assert!(contains(&one(&rows, None), "Colours from −1 to 1."));
}

/// Invariant: as `small_shares_look_small`.
#[test]
fn what_lies_beyond_a_chosen_scale_is_marked() {
    let rows = map(0.8);
    let figure = one(&rows, Some(0.25));
    show(&figure, "scale-clipped");
    assert!(contains(&figure, "Colours from −0.25 to 0.25; 1 effect beyond is marked by a corner."));
    assert_eq!(figure.svg.matches("<path").count(), 1, "one corner");
    let titles = check(&figure);
    let beyond: Vec<&String> = titles.iter().filter(|t| t.contains("beyond the scale")).collect();
    assert!(
        matches!(beyond[..], [t] if t.starts_with("layer 3, position 5") && t.contains("80 % recovered")),
        "{beyond:?}"
    );
    assert_eq!(colour(&figure, "layer 3, position 5"), rgb(0.25, 0.25));
    assert_eq!(says(&figure, ".80"), 1, "the number is what it is");
    assert_eq!(one(&rows, None).svg.matches("<path").count(), 0);
    // Bars and lines end at the edge of the plot, with an arrow.
    for over in [("pos", 12), ("head", 12)] {
        let mut rows = sweep(&[over]);
        rows.iter_mut().enumerate().for_each(|(i, row)| set(row, i as f32 * 0.05 - 0.1));
        let figure = one(&rows, Some(0.25));
        show(&figure, &format!("scale-clipped-{}", over.0));
        assert!(contains(
            &figure,
            "The axis goes from −0.25 to 0.25; 4 effects beyond are cut off there, with an arrow."
        ));
        assert_eq!(figure.svg.matches("<path").count(), 4, "{over:?}");
        assert!(says(&figure, ".45") == 1 && contains(&one(&rows, None), "Strongest of 12"));
        assert_eq!(one(&rows, None).svg.matches("<path").count(), 0);
    }
    // Tiles have no numbers; their cells have a core.
    let mut rows = sweep(&[("layer", 2), ("head", 2), ("query_pos", 6), ("key_pos", 6)]);
    rows.iter_mut().filter(|r| r.outcome.changed).for_each(|row| set(row, 0.1));
    let strong = rows.iter().position(|r| {
        (r.place.layer, r.place.head, r.place.query_pos, r.place.key_pos) == (Some(1), Some(0), Some(5), Some(2))
    });
    set(&mut rows[strong.unwrap()], 0.9);
    let folder = TempDir::new().unwrap();
    let figures = render_with(save(&folder, &rows), &Options { scale: Some(0.2), ..Options::default() }).unwrap();
    show(&figures[0], "scale-clipped-tiles");
    assert_eq!(figures[0].svg.matches("<path d=\"M2.33 5.33h.34v.34h-.34z\" fill=\"#ffffff\"").count(), 1);
    assert!(contains(&figures[0], "1 effect beyond is marked by a white core."));
}

/// The figures in a folder.
pub(crate) fn figures(place: &Place, folder: &str) -> Vec<Figure> {
    let mut found: Vec<Figure> = (fs_err::read_dir(place.path(folder)).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|e| e == "svg"))
        .map(|file| Figure {
            name: file.file_stem().unwrap().to_string_lossy().into_owned(),
            svg: fs_err::read_to_string(&file).unwrap(),
            scale: 1.0,
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The same request, the same folder, the same table: only the figures differ.
///
/// Invariant: as `small_shares_look_small`.
#[test]
fn a_scale_is_no_part_of_the_request() {
    let place = Place::new();
    let patch = |more: &[&str]| place.ok(["patch"].iter().chain(&GIVERS).chain(&["--at", "resid_pre"]).chain(more));
    patch(&[]);
    let folder = place.only_run();
    let name = |file: &str| folder.join(file);
    let table = fs_err::read(name("patch.parquet")).unwrap();
    let drawn = || Figure {
        name: "patch-resid_pre-logit_diff".into(),
        svg: fs_err::read_to_string(name("patch-resid_pre-logit_diff.svg")).unwrap(),
        scale: 1.0,
    };
    let fitted = drawn();
    patch(&["--scale", "0.3"]);
    assert_eq!(place.only_run(), folder);
    assert!(fs_err::read(name("patch.parquet")).unwrap() == table, "a display option changed the table");
    let chosen = drawn();
    assert!(contains(&chosen, "Colours from −0.3 to 0.3") && chosen.svg.contains(", beyond the scale"));
    assert!(contains(&fitted, "Colours from −1 to 1") && !fitted.svg.contains("beyond the scale"));
    // From the file: as it was by itself, and the same when asked.
    let file = name("patch.parquet").display().to_string();
    place.ok(["chart", &file, "--out", "again", "--scale=0.3"]);
    assert!(place.read("again/patch-resid_pre-logit_diff.svg") == chosen.svg.as_bytes());
    place.ok(["chart", &file, "--out", "again", "--scale", "auto"]);
    assert!(place.read("again/patch-resid_pre-logit_diff.svg") == fitted.svg.as_bytes());
    // Every command that draws such figures takes it.
    for command in [
        [&["path"][..], &GIVERS].concat(),
        [&["attribute", "--at", "z"][..], &GIVERS].concat(),
        vec!["ablate", GIVERS[1], "--kind", "zero"],
    ] {
        place.ok(command.iter().chain(&["-q", "--out", command[0], "--scale", "0.125"]));
        let figures = figures(&place, command[0]);
        assert!(!figures.is_empty(), "{command:?}");
        assert!(figures.iter().all(|f| contains(f, "Colours from −0.125 to 0.125")), "{command:?}");
    }
    let refused = |scale: &str| {
        let scale = format!("--scale={scale}");
        place.refused(["patch"].iter().chain(&GIVERS).chain(&[scale.as_str()]), 2, "--scale")
    };
    ["0", "-1", "nan", "inf", "1e-40", "wide"].iter().for_each(|scale| drop(refused(scale)));
}

#[test]
fn options_without_a_use_are_refused() {
    let place = Place::new();
    place.ok(["lens", "-q", "When Mary and John", "--out", "lens"]);
    place.refused(["chart", "lens/logit_lens.parquet", "--scale", "1"], 2, "have no scale to choose");
    place.refused(["chart", "lens/logit_lens.parquet", "--head", "1.1"], 2, "show no single head");
    place.ok(["chart", "lens/logit_lens.parquet", "--scale", "auto", "--out", "again"]);
}

/// In the cells of means stand their standard errors.
#[test]
fn heat_maps_of_means_show_their_errors() {
    let place = Place::new();
    let names = [("Mary", "John"), ("Anna", "Paul"), ("Mark", "Mary")];
    let pair = |(a, b): (&str, &str)| {
        format!(
            "\"When {a} and {b} went to the store, {b} gave a drink to\",\"When {a} and {b} went to the store, {a} gave a drink to\", {a}, {b}\n"
        )
    };
    place.write("pairs.csv", format!("clean,corrupt,answer,foil\n{}", names.map(pair).concat()));
    let said = place.ok(["patch", "--pairs", "pairs.csv", "--at", "resid_pre", "--out", "run"]).stdout;
    let (means, how) = read_rows::<PatchMeanRow>(place.path("run/patch_mean.parquet")).unwrap();
    let figure = figures_of(&means, &how).unwrap().remove(0);
    assert!(place.read("run/patch_mean-resid_pre-logit_diff.svg") == figure.svg.as_bytes());
    show(&figure, "mean-errors");
    let shown: Vec<&PatchMeanRow> = means.iter().filter(|m| m.outcome.changed > 0 && m.outcome.reached > 0).collect();
    let mut errors: Vec<f32> = shown.iter().map(|m| m.measured.recovered_se.unwrap()).collect();
    // A mean and an error that both round to 0 are not written.
    let written = shown
        .iter()
        .filter(|m| m.measured.recovered.unwrap().abs() >= 0.005 || m.measured.recovered_se.unwrap() >= 0.005);
    // Two decimals, as of the effects; of an error that these would hide, one digit.
    let cell = |m: &&PatchMeanRow| {
        let se = m.measured.recovered_se.unwrap();
        let text = match se {
            0.0 => return "±0".to_owned(),
            0.005.. => format!("{se:.2}"),
            0.001.. => format!("{se:.3}"),
            _ => format!("{se:.0e}"),
        };
        format!("±{}", text.strip_prefix('0').unwrap_or(&text))
    };
    let cells: Vec<String> = written.map(cell).collect();
    assert!(!cells.is_empty());
    for cell in &cells {
        assert_eq!(says(&figure, cell), cells.iter().filter(|c| *c == cell).count(), "{cell}");
    }
    errors.sort_by(f32::total_cmp);
    let most = errors.last().unwrap();
    let sentence = format!("Standard errors: {most:.3} at most, ");
    assert!(contains(&figure, &sentence) && said.contains(&sentence), "{sentence}: {said}");
    assert!(contains(&figure, "Under a mean stands its standard error."));
    assert!(render(place.path("run/patch_mean.parquet")).unwrap() == [figure]);
}
