//! Figures and words of patching sweeps: every patch says its facts, nothing is taken for something, at every size.

use crate::view::figures_of;
use std::path::Path;

use crate::bin::{GIVERS, Place};
use crate::view::chart::{check, noise, provenance, save, show};
use pellucid::analysis::PatchRow;
use pellucid::analysis::seen::{render, render_with};
use pellucid::table::read_rows;
use pellucid::table::{self, Around, Done, Measured, Outcome};
use pellucid::view::{Figure, Options, diverging};
use tempfile::TempDir;

const WORDS: [&str; 6] = ["When", " Mary", " and", " John", " went", " to"];
const HOSTILE: [&str; 6] =
    ["<script>alert(1)</script>", "\"]]>&amp;", "\n\u{1b}[2J", "\u{202e}evil", "東京", "\u{0301}"];

/// A sweep over these axes, first the slowest. Of the positions the first third changes nothing.
pub(crate) fn sweep(over: &[(&str, u32)]) -> Vec<PatchRow> {
    sweep_of(over, &WORDS)
}

fn sweep_of(over: &[(&str, u32)], words: &[&str]) -> Vec<PatchRow> {
    let count: u32 = over.iter().map(|(_, n)| n).product();
    let word = |i: u32| words[i as usize % words.len()].to_owned();
    let row = |i: u32| {
        let mut row = bare();
        let (mut rest, mut still) = (i, false);
        for (axis, n) in over.iter().rev() {
            let at = rest % n;
            rest /= n;
            match *axis {
                "layer" => row.place.layer = Some(at),
                "head" => (row.place.head, row.place.kv_head) = (Some(at), Some(at / 2)),
                "kv_head" => row.place.kv_head = Some(at),
                "neuron" => row.place.neuron = Some(at * 3),
                "pos" => (row.place.pos, row.place.token, still) = (Some(at), Some(word(at)), at < n / 3),
                "query_pos" => (row.place.query_pos, row.place.token) = (Some(at), Some(word(at))),
                "key_pos" => {
                    (row.place.key_pos, row.place.key_token) = (Some(at), Some(word(at)));
                    still = row.place.query_pos.unwrap_or(rest % n) < at;
                }
                _ => panic!("{axis}"),
            }
        }
        let share = if still { 0.0 } else { (noise(i) - 0.4).powi(3) + 0.001 };
        set(&mut row, share);
        row
    };
    (0..count).map(row).collect()
}

pub(crate) fn bare() -> PatchRow {
    PatchRow {
        pair: 0,
        pair_id: "0".into(),
        place: table::Place {
            site: "attn.z".into(),
            layer: None,
            head: None,
            kv_head: None,
            neuron: None,
            pos: None,
            query_pos: None,
            key_pos: None,
            position_name: None,
            key_position_name: None,
            token: None,
            key_token: None,
        },
        measured: Measured {
            metric: "logit_diff".into(),
            clean: 4.0,
            corrupt: Some(-6.0),
            patched: Some(-6.0),
            recovered: Some(0.0),
        },
        done: Done { kind: "replace".into(), direction: Some("denoise".into()), at_once: None },
        around: Around { window: 1, noise: None, noise_at: None, noise_tokens: None },
        sample: None,
        outcome: Outcome { changed: false, reached: false, not_finite: None },
    }
}

/// Makes a patch recover `share`.
pub(crate) fn set(row: &mut PatchRow, share: f32) {
    (row.measured.patched, row.measured.recovered) = (Some(-6.0 + 10.0 * share), Some(share));
    (row.outcome.changed, row.outcome.reached) = (share != 0.0, share != 0.0);
}

pub(crate) fn draw(rows: &[PatchRow]) -> Vec<(Figure, Vec<String>)> {
    let figures = figures_of(rows, &provenance()).unwrap();
    figures.into_iter().map(|f| (f.clone(), check(&f))).collect()
}

fn one(rows: &[PatchRow]) -> (Figure, Vec<String>) {
    let mut figures = draw(rows);
    assert_eq!(figures.len(), 1);
    figures.remove(0)
}

/// Texts of a figure that are set exactly so.
pub(crate) fn says(figure: &Figure, text: &str) -> usize {
    figure.svg.matches(&format!(">{text}</text>")).count()
}

pub(crate) fn contains(figure: &Figure, words: &str) -> bool {
    // Captions are broken into lines.
    let texts: Vec<&str> = figure.svg.split("</text>").filter_map(|t| t.rsplit('>').next()).collect();
    texts.join(" ").contains(words)
}

/// The colour of the mark that says `title`.
pub(crate) fn fill(figure: &Figure, title: &str) -> (u8, u8, u8) {
    let xml = roxmltree::Document::parse(&figure.svg).unwrap();
    let mark = xml.descendants().find(|n| n.has_tag_name("title") && n.text() == Some(title)).unwrap();
    let fill = mark.parent().unwrap().attribute("fill").unwrap();
    let part = |i: usize| u8::from_str_radix(&fill[i..i + 2], 16).unwrap();
    (part(1), part(3), part(5))
}

/// Invariant: The figure of a sweep shows every patch, and 0 in it means that the patch has no effect, whichever run was patched.
#[test]
fn a_heat_map_says_every_patch() {
    let mut rows = sweep(&[("layer", 4), ("pos", 6)]);
    set(&mut rows[3 * 6 + 5], 0.77);
    set(&mut rows[2 * 6 + 4], -0.5);
    let (figure, titles) = one(&rows);
    show(&figure, "patch-map");
    assert_eq!(figure.name, "patch-attn.z-logit_diff");
    assert_eq!(
        titles[0],
        "Patching attn.z: logit_diff recovered, org/model-with-a-name@01234567 · pair 0 · clean values into the corrupt run"
    );
    assert_eq!(titles.iter().filter(|t| t.starts_with("layer ")).count(), 24);
    let strong = "layer 3, position 5 \"·to\": logit_diff 1.70 (clean 4, corrupt -6), 77 % recovered";
    let against = "layer 2, position 4 \"·went\": logit_diff -11 (clean 4, corrupt -6), -50 % recovered";
    assert!(titles.iter().any(|t| t == strong) && titles.iter().any(|t| t == against), "{titles:#?}");
    let ((r, _, b), (r2, _, b2)) = (fill(&figure, strong), fill(&figure, against));
    assert!(r > b + 50 && b2 > r2 + 50, "up is red, down is blue");
    assert_eq!((says(&figure, ".77"), says(&figure, "-.50")), (1, 1));
    // The scale is the same both ways, and named.
    assert_eq!((says(&figure, "0.5"), says(&figure, "-0.5")), (1, 1));
    assert!(contains(&figure, "0 as the corrupt run (-6), which was patched; 1 as the clean run (4)"));
    // What changes nothing is paper, with a dash.
    let nothing: Vec<&String> = titles.iter().filter(|t| t.ends_with("; this patch changes nothing")).collect();
    assert_eq!(nothing.len(), 4 * 2);
    assert!(nothing.iter().all(|t| fill(&figure, t) == (255, 255, 255)));
    assert_eq!(figure.svg.matches("stroke=\"#b0b0b0\"").count(), 8);
    assert!(contains(&figure, "A dash: the patch changes nothing"));
    // Layers go up, as in the logit lens.
    let height = |title: &str| {
        let xml = roxmltree::Document::parse(&figure.svg).unwrap();
        let mark = xml.descendants().find(|n| n.has_tag_name("title") && n.text().unwrap().starts_with(title)).unwrap();
        mark.parent().unwrap().attribute("y").unwrap().parse::<f64>().unwrap()
    };
    assert!(height("layer 3, position 0") < height("layer 0, position 0"));
    for label in ["·Mary", "·to", "layer", "position and its token"] {
        assert_eq!(says(&figure, label), 1, "{label}");
    }
}

#[test]
fn the_axes_of_a_sweep_choose_its_figure() {
    let names = |rows: &[PatchRow]| draw(rows).into_iter().map(|(f, _)| f.name).collect::<Vec<_>>();
    let plain = "patch-attn.z-logit_diff";
    for (over, axes) in [
        (&[("layer", 3)][..], &["layer"][..]),
        (&[("pos", 5)], &["position and its token"]),
        (&[("head", 4)], &["head"]),
        (&[("kv_head", 4)], &["key/value head"]),
        (&[("neuron", 9)], &["neuron"]),
        (&[("layer", 9), ("head", 4)], &["layer", "head"]),
        (&[("layer", 9), ("kv_head", 4)], &["layer", "head"]),
        (&[("layer", 2), ("neuron", 70)], &["layer (L), neuron (N)"]),
        (&[("layer", 2), ("head", 4), ("pos", 5)], &["layer (L), head (H)", "position and its token"]),
        (&[("query_pos", 5), ("key_pos", 5)], &["query position", "key position and its token"]),
    ] {
        let rows = sweep(over);
        assert_eq!(names(&rows), [plain], "{over:?}");
        let (figure, titles) = one(&rows);
        let kv = over[over.len() - 1].0 == "kv_head";
        for axis in axes {
            let axis = if kv && *axis == "head" { "key/value head" } else { axis };
            assert_eq!(says(&figure, axis), 1, "{over:?}: {axis}");
        }
        let facts = titles.iter().filter(|t| t.contains(" recovered")).count();
        let shown = rows.len().min(if over.len() == 2 && over[1].1 == 70 { 60 } else { usize::MAX });
        assert_eq!(facts, shown + 1, "{over:?}: each patch, and the figure itself");
        show(&figure, &format!("patch-{}", over.iter().map(|o| o.0).collect::<Vec<_>>().join("-")));
    }
    // A layer that all patches share is no axis but part of the title.
    let mut rows = sweep(&[("head", 4)]);
    rows.iter_mut().for_each(|r| r.place.layer = Some(7));
    assert!(one(&rows).1[0].starts_with("Patching attn.z of layer 7: "));
    assert_eq!(names(&[bare()]), Vec::<String>::new(), "one patch has no axis");
    let folder = TempDir::new().unwrap();
    let e = render(save(&folder, &[bare()])).unwrap_err();
    assert!(e.message().contains("stands alone") && e.hint_text().unwrap().contains("sweep"), "{e:?}");
    let e = figures_of::<PatchRow>(&[], &provenance()).unwrap_err();
    assert!(e.message().contains("no rows to draw"), "{e:?}");
}

#[test]
fn patterns_are_tiles_and_the_strongest_is_large() {
    let mut rows = sweep(&[("layer", 3), ("head", 4), ("query_pos", 7), ("key_pos", 7)]);
    let strongest = rows.iter().position(|r| {
        (r.place.layer, r.place.head, r.place.query_pos, r.place.key_pos) == (Some(2), Some(1), Some(6), Some(3))
    });
    set(&mut rows[strongest.unwrap()], -1.0);
    let figures = draw(&rows);
    let names: Vec<&str> = figures.iter().map(|(f, _)| f.name.as_str()).collect();
    assert_eq!(names, ["patch-attn.z-logit_diff", "patch-attn.z-logit_diff-L2H1"]);
    let (tiles, titles) = &figures[0];
    show(tiles, "patch-tiles");
    assert_eq!(titles.iter().filter(|t| t.contains(": 28 of 49 patches change something")).count(), 12);
    let place = "layer 2, head 1, query position 6 \"When\", key position 3 \"·John\"";
    assert!(
        titles.iter().any(|t| t.starts_with("L2H1: ") && t.contains(&format!("strongest: {place}"))),
        "{titles:#?}"
    );
    // It alone has full colour.
    let full = diverging(-1.0, 1.0);
    assert_eq!(tiles.svg.matches(&format!("<path d=\"M3 6h1v1h-1z\" fill=\"{full}\"/>")).count(), 1);
    assert_eq!(tiles.svg.matches(&format!("fill=\"{full}\"")).count(), 1, "not even the end of the bar");
    let (large, titles) = &figures[1];
    show(large, "patch-large");
    assert!(titles[0].starts_with("Patching attn.z of layer 2, head 1: "), "{}", titles[0]);
    assert_eq!(titles.iter().filter(|t| t.starts_with("layer 2, head 1")).count(), 49);
}

/// Invariant: as `a_heat_map_says_every_patch`.
#[test]
fn what_is_drawn_is_zero_where_nothing_is_done() {
    // Of a clean run that was patched, what it loses.
    let mut rows = sweep(&[("layer", 2), ("pos", 6)]);
    for row in &mut rows {
        let share = row.measured.recovered.unwrap();
        (row.measured.patched, row.measured.recovered) = (Some(4.0 + 10.0 * share), Some(1.0 + share));
        row.done.direction = Some("noise".into());
    }
    let figure = figures_of(&rows, &provenance()).unwrap().remove(0);
    show(&figure, "patch-noise");
    assert!(contains(&figure, "0 as the clean run (4), which was patched; -1 as the corrupt run (-6)"));
    assert_eq!(figure.svg.matches("stroke=\"#b0b0b0\"").count(), 2 * 2, "dashes where it is as the clean run");
    assert!(figure.svg.contains(" lost</title>"));
    // What the engine saw counts, and not that the metric is the same: ranks and saturated probabilities often are.
    rows.iter_mut().for_each(|row| (row.outcome.changed, row.outcome.reached) = (true, true));
    assert_eq!(one(&rows).0.svg.matches("stroke=\"#b0b0b0\"").count(), 0);
    rows.iter_mut().for_each(|row| row.outcome.reached = row.measured.patched != Some(4.0));
    // Without a corrupt run there is only the clean one to compare with.
    for row in &mut rows {
        (row.measured.corrupt, row.measured.recovered, row.done.direction) = (None, None, None);
    }
    let (figure, titles) = one(&rows);
    assert!(titles[0].starts_with("Patching attn.z: change of logit_diff, "), "{}", titles[0]);
    assert!(contains(&figure, "logit_diff of the patched run minus that of the clean run (4)"));
    assert_eq!(figure.svg.matches("stroke=\"#b0b0b0\"").count(), 2 * 2);
    rows[3].measured.patched = Some(5.25);
    assert!(one(&rows).1.iter().any(|t| t.ends_with("logit_diff 5.25 (clean 4), +1.25 from clean")));
}

#[test]
fn of_many_rows_the_strongest_are_shown() {
    let mut rows = sweep(&[("layer", 12), ("head", 12), ("pos", 15)]);
    rows.iter_mut().for_each(|r| set(r, r.measured.recovered.unwrap() * 0.1));
    let strong =
        rows.iter().position(|r| (r.place.layer, r.place.head, r.place.pos) == (Some(0), Some(3), Some(14))).unwrap();
    set(&mut rows[strong], 0.6);
    let (figure, titles) = one(&rows);
    show(&figure, "patch-12x12x15");
    assert_eq!(titles.iter().filter(|t| t.starts_with("layer ")).count(), 60 * 15);
    assert!(titles.iter().any(|t| t.starts_with("layer 0, head 3, position 14")));
    assert_eq!((says(&figure, "L0H3"), says(&figure, ".60")), (1, 1));
    assert!(contains(&figure, "Of 144 rows, the 60 with the strongest effects are shown"));

    let mut rows = sweep(&[("neuron", 3072)]);
    rows.iter_mut().for_each(|r| set(r, r.measured.recovered.unwrap() * 0.1));
    set(&mut rows[1000], -0.8);
    let (figure, titles) = one(&rows);
    show(&figure, "patch-3072");
    assert_eq!(titles.iter().filter(|t| t.starts_with("neuron ")).count(), 60);
    assert!(titles.iter().any(|t| t.starts_with("neuron 3000: ")) && contains(&figure, "Of 3072, the 60"));
}

/// Invariant: as `hostile_tokens_are_shown_not_obeyed`.
#[test]
fn hostile_words_are_shown_not_obeyed() {
    for over in [&[("layer", 2), ("pos", 6)][..], &[("pos", 6)], &[("layer", 2), ("query_pos", 6), ("key_pos", 6)]] {
        let mut rows = sweep_of(over, &HOSTILE);
        for row in &mut rows {
            (row.place.site, row.measured.metric) = ("../<b>\u{202e}".into(), "a/b\u{0}&".into());
            row.pair_id = "\u{1b}[31m<i>".into();
        }
        for (figure, titles) in draw(&rows) {
            assert!(figure.name.starts_with("patch-.._") && !figure.name.contains(['/', '<', '\0']), "{}", figure.name);
            assert!(!figure.svg.contains("<script") && !figure.svg.contains("<b>") && !figure.svg.contains("<i>"));
            let all = titles.join("\n");
            assert!(
                all.contains("../<b>\\u{202e}") && all.contains("a/b\\u{0}&") && all.contains("\\u{1b}[31m<i>"),
                "{all}"
            );
            let tokens = ["<script>alert(1)</script>", "\"]]>&amp;", "↵\\u{1b}[2J", "\\u{202e}evil"];
            assert!(over.len() == 3 || tokens.iter().all(|t| all.contains(t)), "{all}");
        }
    }
    // Names that would be one file's.
    let mut rows = sweep(&[("layer", 2), ("pos", 3)]);
    let other =
        rows.clone().into_iter().map(|r| PatchRow { place: table::Place { site: "attn?z".into(), ..r.place }, ..r });
    rows.extend(other);
    rows.iter_mut().for_each(|r| r.place.site = r.place.site.replace('.', "!"));
    let names: Vec<String> = draw(&rows).into_iter().map(|(f, _)| f.name).collect();
    assert_eq!(names, ["patch-attn_z-logit_diff", "patch-attn_z-logit_diff~1"]);
}

#[test]
fn values_that_are_no_numbers_are_said() {
    for over in [
        &[("layer", 3), ("pos", 9)][..],
        &[("pos", 27)],
        &[("neuron", 27)],
        &[("layer", 3), ("query_pos", 3), ("key_pos", 3)],
    ] {
        let mut rows = sweep(over);
        for i in [11, 13, 15] {
            (rows[i].measured.patched, rows[i].measured.recovered) = (None, None);
            rows[i].outcome.not_finite = Some(format!("blocks.{i}.hook_mlp_out at position 3"));
        }
        let figures = draw(&rows);
        let (figure, titles) = &figures[0];
        show(figure, &format!("patch-odd-{}", over.len()));
        assert!(contains(figure, "3 of 27 patches have a value that is not a finite number"), "{over:?}");
        let facts = titles.join("\n");
        assert!(
            over.len() == 3
                || [11, 13, 15]
                    .iter()
                    .all(|i| facts.contains(&format!("not finite (blocks.{i}.hook_mlp_out at position 3)")))
        );
        if over.len() == 2 {
            assert!(figure.svg.contains("fill=\"#b0b0b0\"") && says(figure, "NaN") == 3);
        }
        if over[0] == ("pos", 27) {
            let xml = roxmltree::Document::parse(&figure.svg).unwrap();
            let curves = xml.descendants().filter(|n| n.has_attribute("stroke-linejoin"));
            let points: Vec<usize> = curves.map(|n| n.attribute("points").unwrap().split(' ').count()).collect();
            assert_eq!(points, [11, 11], "from 0 to 10 and from 16 to 26; between, single points");
        }
        rows.iter_mut().for_each(|r| {
            (r.measured.patched, r.measured.recovered, r.outcome.not_finite) = (None, None, Some("logits".into()))
        });
        draw(&rows);
    }
}

#[test]
fn figures_stay_small_and_whole_at_every_size() {
    for over in [
        &[("layer", 1), ("pos", 2)][..],
        &[("layer", 48), ("pos", 200)],
        &[("layer", 12), ("pos", 2000)],
        &[("pos", 1000)],
        &[("layer", 48), ("head", 32)],
        &[("head", 32), ("pos", 200)],
        &[("layer", 12), ("neuron", 3072)],
        &[("query_pos", 200), ("key_pos", 200)],
        &[("layer", 12), ("head", 12), ("query_pos", 12), ("key_pos", 12)],
        &[("layer", 6), ("query_pos", 150), ("key_pos", 150)],
    ] {
        let figures = draw(&sweep(over));
        assert!(!figures.is_empty());
        for (figure, _) in figures {
            let sizes: Vec<String> = over.iter().map(|o| o.1.to_string()).collect();
            show(&figure, &format!("{}-{}", figure.name, sizes.join("x")));
            let cells: u32 = over.iter().rev().take(2).map(|o| o.1).product();
            let map = over.len() == 2 && over[1].0 != "neuron" || figure.name.contains("-L");
            let many = map && cells > 12_000;
            assert_eq!(contains(&figure, "White: the patch changes nothing"), many, "{over:?}");
            assert!(figure.svg.len() < 5 << 20, "{} bytes: {over:?}", figure.svg.len());
        }
    }
    let huge: Vec<PatchRow> = sweep(&[("layer", 3), ("pos", 4)])
        .into_iter()
        .enumerate()
        .map(|(i, r)| PatchRow {
            measured: Measured { recovered: Some([f32::MAX, f32::MIN, f32::MIN_POSITIVE, 0.0][i % 4]), ..r.measured },
            ..r
        })
        .collect();
    draw(&huge);
    draw(&huge[..4]);
}

/// Invariant: as `the_same_rows_give_the_same_bytes`.
#[test]
fn a_figure_is_the_same_from_rows_and_from_the_file() {
    let folder = TempDir::new().unwrap();
    let mut rows = sweep_of(&[("layer", 3), ("pos", 6)], &HOSTILE);
    rows.extend(sweep(&[("layer", 2), ("head", 2), ("query_pos", 6), ("key_pos", 6)]));
    (rows[5].measured.patched, rows[5].measured.recovered, rows[5].outcome.not_finite) =
        (None, None, Some("logits at position 5".into()));
    let second = rows.clone().into_iter().map(|r| PatchRow {
        pair: 1,
        pair_id: "b".into(),
        measured: Measured { metric: "prob".into(), ..r.measured },
        ..r
    });
    rows.extend(second.collect::<Vec<_>>());
    rows.iter_mut().skip(18).for_each(|r| {
        r.place.site = if r.place.query_pos.is_some() { "attn.pattern".into() } else { r.place.site.clone() }
    });
    let mut how = provenance();
    (how.table, how.table_version) = ("patch".into(), 3);
    how.pellucid_version = env!("CARGO_PKG_VERSION").into();
    let file = save(&folder, &rows);
    let drawn = figures_of(&rows, &how).unwrap();
    assert!(render(&file).unwrap() == drawn);
    let names: Vec<&str> = drawn.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names.len(), 6);
    assert_eq!((names[0], names[3]), ("patch-attn.z-logit_diff-p0", "patch-attn.z-prob-p1"));
    let first = render_with(&file, &Options { max_prompts: 1, ..Options::default() }).unwrap();
    assert_eq!(first.iter().map(|f| f.name.as_str()).collect::<Vec<_>>()[0], "patch-attn.z-logit_diff-p0");
    assert_eq!(first.len(), 3);
}

/// What the program says and the table that it wrote.
fn run(place: &Place, more: &[&str]) -> (String, Vec<PatchRow>) {
    let command = ["patch", "--out", "a", "--force"];
    let done = place.ok(command.iter().chain(&GIVERS).chain(more));
    (done.stdout, read_rows(place.path("a/patch.parquet")).unwrap().0)
}

#[test]
fn the_terminal_has_the_grid_and_the_strongest_in_words() {
    let place = Place::new();
    let (words, rows) = run(&place, &[]);
    let lines: Vec<&str> = words.lines().collect();
    let (clean, corrupt) = (rows[0].measured.clean, rows[0].measured.corrupt.unwrap());
    assert_eq!(
        lines[0],
        "Patching resid_pre: logit_diff recovered · demo · pair 0 · clean values into the corrupt run"
    );
    assert!(lines[1].starts_with("Strongest of 60 patches: layer 0, position "), "{}", lines[1]);
    let runs = format!("0 as the corrupt run ({corrupt:.2}), which was patched; 1 as the clean run ({clean:.2}).");
    assert_eq!(lines[2], format!("logit_diff recovered: {runs}"));
    for (i, layer) in (0..4).rev().enumerate() {
        let cell = |r: &PatchRow| match r.measured.recovered.unwrap() {
            _ if !r.outcome.reached => "-".to_owned(),
            share => format!("{share:.2}").replace("-0.00", "0.00"),
        };
        let of_layer: Vec<String> = rows.iter().filter(|r| r.place.layer == Some(layer)).map(cell).collect();
        assert_eq!(of_layer.len(), 15);
        let found: Vec<&str> = lines[3 + i].split_whitespace().collect();
        assert_eq!(found, [&["layer".into(), layer.to_string()][..], &of_layer].concat());
    }
    assert!(lines[7].starts_with("token ") && lines[7].ends_with("·drink    ·to"), "{}", lines[7]);
    let mut sorted = rows.clone();
    sorted.retain(|r| r.outcome.reached);
    sorted.sort_by(|a, b| b.measured.recovered.unwrap().abs().total_cmp(&a.measured.recovered.unwrap().abs()));
    assert!(lines[8].starts_with("position ") && lines[8].ends_with("13     14"), "{}", lines[8]);
    assert_eq!(lines[9..11], ["- where nothing changes", "the 10 strongest of 60 patches:"]);
    assert_eq!(lines[11].split_whitespace().collect::<Vec<_>>(), ["patch", "logit_diff", "effect"]);
    for (line, row) in lines[12..22].iter().zip(&sorted) {
        let token = row.place.token.as_deref().unwrap().replace(' ', "·");
        let (layer, pos) = (row.place.layer.unwrap(), row.place.pos.unwrap());
        assert!(line.starts_with(&format!("  layer {layer}, position {pos} \"{token}\"")), "{line}");
        let patched = row.measured.patched.unwrap();
        let digits = if patched.abs() < 1.0 { 3 } else { 2 };
        assert!(line.contains(&format!("  {patched:.digits$}  ")), "{line}: {patched}");
        assert!(line.ends_with(" % recovered"), "{line}");
    }
    assert_eq!(lines.len(), 22);

    let svg = place.read("a/patch-resid_pre-logit_diff.svg");
    let again = place.ok(["chart", "a/patch.parquet", "--out", "b"]);
    assert_eq!(again.stdout.trim(), Path::new("b").join("patch-resid_pre-logit_diff.svg").display().to_string());
    assert!(place.read("b/patch-resid_pre-logit_diff.svg") == svg);
}

#[test]
fn the_terminal_says_what_the_clean_run_lost() {
    let place = Place::new();
    let (words, rows) =
        run(&place, &["--direction", "noise", "--at", "z", "--over", "layer,head", "--metric", "logit_diff,prob"]);
    let worst = rows
        .iter()
        .filter(|r| r.measured.metric == "logit_diff")
        .min_by(|a, b| a.measured.recovered.unwrap().total_cmp(&b.measured.recovered.unwrap()));
    let worst = worst.unwrap();
    let lost = 100.0 * (1.0 - worst.measured.recovered.unwrap());
    let line = words.lines().find(|l| l.starts_with("  layer ")).unwrap();
    let place = format!("  layer {}, head {}  ", worst.place.layer.unwrap(), worst.place.head.unwrap());
    assert!(line.starts_with(&place) && line.ends_with(&format!("  {lost:.0} % lost")), "{line}");
    let second = "\n\nPatching attn.z: prob recovered−1 · demo · pair 0 · corrupt values into the clean run\nStrongest of 16 patches: ";
    assert!(words.contains(second), "{words}");
    assert!(words.contains("\nprob recovered−1: 0 as the clean run ("), "{words}");
    assert!(words.contains(&format!("{:>6.2}", -lost / 100.0)), "{words}");
}
