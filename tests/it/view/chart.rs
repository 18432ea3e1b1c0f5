//! Charts: whatever the tokens are, a figure is well-formed, self-contained, says its facts, and is the same twice.
//!
//! With `PELLUCID_FIGURES=folder` the sample figures are written there, to be looked at.

use crate::view::{attention, figures_of};
use pellucid::analysis::seen::{render, render_with};
use pellucid::analysis::{AttentionRow, HookRow, LensRow};
use pellucid::error::ErrorKind;
use pellucid::table::{Provenance, Row, TableWriter};
use pellucid::view::{Figure, Options};
use std::path::PathBuf;
use tempfile::TempDir;

const WORDS: [&str; 12] =
    ["Once", " upon", " a", " time", ",", " there", " was", " a", " little", " girl", " named", " Lily"];

const HOSTILE: [&str; 10] = [
    "<script>alert(1)</script>", "\"", "&amp;", "\n\n", "👩\u{200d}🚀", "\u{202e}evil", "]]>", "\u{0}\u{1b}[2J",
    "東京タワー", "\u{0301}\u{feff}",
];

/// Numbers that look random and are the same everywhere.
pub(crate) fn noise(seed: u32) -> f32 {
    let x = seed.wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519);
    (x >> 8) as f32 / (1 << 24) as f32
}

pub(crate) fn provenance() -> Provenance {
    Provenance {
        model: "org/model-with-a-name".into(),
        revision: Some("0123456789abcdef".into()),
        weights_hash: "blake3:00".into(),
        spec: serde_json::json!({"layers": 2}),
        dtype: "f32".into(),
        device: "cpu".into(),
        command: vec!["pellucid".into(), "lens".into(), "<&\u{202e}\u{1}\u{9b}".into()],
        complete: true,
        ..Provenance::default()
    }
}

fn lens(words: &[&str], positions: u32, layers: u32, sites: &[&str], top: u32, target: bool) -> Vec<LensRow> {
    let word = |i: u32| words[i as usize % words.len()].to_owned();
    let mut rows = Vec::new();
    for layer in 0..layers {
        for site in sites {
            for pos in 0..positions {
                for rank in 1..=top {
                    let sure = (layer as f32 + 1.0) / layers as f32;
                    let right = noise(layer * 977 + pos * 31) < sure * 0.8;
                    let prob = (sure * noise(pos * 7 + layer) * 1.1).min(0.999) / (rank * rank) as f32;
                    let guess = if right && rank == 1 { pos + 1 } else { pos * 5 + layer * 3 + rank };
                    rows.push(LensRow {
                        prompt: 0,
                        prompt_id: "0".into(),
                        hook: format!("blocks.{layer}.hook_{site}"),
                        layer: Some(layer),
                        pos,
                        input_token: word(pos),
                        input_token_id: pos % words.len() as u32,
                        next_token: (pos + 1 < positions).then(|| word(pos + 1)),
                        next_token_id: (pos + 1 < positions).then_some((pos + 1) % words.len() as u32),
                        rank,
                        token: word(guess),
                        token_id: guess % words.len() as u32,
                        logit: 10.0 / rank as f32,
                        prob,
                        entropy_bits: 8.0 * (1.0 - sure),
                        kl_to_final_bits: 4.0 * (1.0 - sure),
                        target: target.then(|| " Lily".into()),
                        target_id: target.then_some(11),
                        target_rank: target.then_some(1 + (40.0 * (1.0 - sure)) as u32),
                        target_logit: target.then_some(3.0),
                        target_prob: target.then_some(0.7 * sure * sure),
                        foil: None,
                        foil_id: None,
                        foil_logit: None,
                        foil_prob: None,
                        logit_diff: None,
                    });
                }
            }
        }
    }
    rows
}

fn attends(words: &[&str], positions: u32, layers: u32, heads: u32) -> Vec<AttentionRow> {
    let word = |i: u32| words[i as usize % words.len()].to_owned();
    let mut rows = Vec::new();
    for (layer, head) in (0..layers).flat_map(|l| (0..heads).map(move |h| (l, h))) {
        for query in 0..positions {
            let weight = |key: u32| match (layer + head) % 4 {
                0 if key == 0 => 20.0,
                1 if key + 1 == query => 30.0,
                2 if key == query => 10.0,
                _ => noise(layer * 7 + head * 131 + query * 977 + key * 31).powi(6) * 5.0 + 0.02,
            };
            let sum: f32 = (0..=query).map(weight).sum();
            for key in 0..=query {
                rows.push(AttentionRow {
                    prompt: 0,
                    prompt_id: "0".into(),
                    layer,
                    head,
                    kv_head: head,
                    query_pos: query,
                    key_pos: key,
                    query_token: word(query),
                    key_token: word(key),
                    prob: weight(key) / sum,
                    first_key: 0,
                    last_key: query,
                    ..AttentionRow::default()
                });
            }
        }
    }
    rows
}

pub(crate) fn save<R: Row>(folder: &TempDir, rows: &[R]) -> PathBuf {
    let mut writer = TableWriter::create(folder.path().join("t.parquet"), provenance()).unwrap();
    writer.extend(rows).unwrap();
    writer.finish().unwrap()
}

/// The titles of a figure, its own first. Fails unless the figure keeps the rules that all figures keep.
pub(crate) fn check(figure: &Figure) -> Vec<String> {
    let svg = &figure.svg;
    let xml = roxmltree::Document::parse(svg).unwrap_or_else(|e| panic!("{}: {e}", figure.name));
    let root = xml.root_element();
    for node in root.descendants().filter(|n| n.is_element()) {
        let tag = node.tag_name().name();
        let known = ["svg", "title", "desc", "rect", "circle", "polyline", "path", "text", "g"];
        assert!(known.contains(&tag), "{}: <{tag}>", figure.name);
        for a in node.attributes() {
            assert!(!["id", "class", "style", "href"].contains(&a.name()), "{}: {}", figure.name, a.name());
            assert!(!a.name().starts_with("on") && !a.value().contains("url("), "{}: {}", figure.name, a.name());
            let shown = a.value();
            assert!(!shown.contains("NaN") && !shown.contains("inf"), "{}: {a:?}", figure.name);
            let number = ["x", "y", "width", "height", "r", "cx", "cy", "font-size"].contains(&a.name());
            assert!(!number || a.value().parse::<f64>().is_ok_and(|v| v.is_finite()), "{}: {a:?}", figure.name);
            assert!(a.name() != "width" || !a.value().starts_with('-'), "{}: {a:?}", figure.name);
        }
        // Nothing begins outside the figure.
        if matches!(tag, "text" | "rect" | "circle") && node.parent() == Some(root) {
            let at =
                |a: [&str; 2]| a.iter().find_map(|a| node.attribute(*a)).map_or(0.0, |v| v.parse::<f64>().unwrap());
            let size = |a: &str| root.attribute(a).unwrap().parse::<f64>().unwrap();
            assert!((0.0..=size("width")).contains(&at(["x", "cx"])), "{}: {node:?}", figure.name);
            assert!((0.0..=size("height")).contains(&at(["y", "cy"])), "{}: {node:?}", figure.name);
        }
    }
    assert!(!svg.contains(['\u{202e}', '\u{1b}', '\u{0}', '\u{feff}']), "{}", figure.name);
    let desc = root.children().find(|n| n.has_tag_name("desc")).and_then(|n| n.text()).unwrap();
    let how: Provenance = serde_json::from_str(desc).unwrap();
    assert_eq!((how.model, how.command), (provenance().model, provenance().command));
    xml.descendants().filter(|n| n.has_tag_name("title")).filter_map(|n| n.text()).map(str::to_owned).collect()
}

#[test]
fn a_lens_figure_says_every_cell() {
    let rows = lens(&WORDS, 12, 6, &["resid_post"], 3, true);
    let figures = figures_of(&rows, &provenance()).unwrap();
    assert_eq!(figures.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["logit_lens"]);
    let titles = check(&figures[0]);
    let cells = titles.iter().filter(|t| t.starts_with("layer ")).count();
    assert_eq!(cells, 12 * 6);
    let place = titles.iter().find(|t| t.starts_with("layer 3, position 8 \"·little\": 1. \"")).unwrap();
    assert!(place.contains(" 2. \"") && place.contains("followed by \"·girl\"") && place.contains("bits"), "{place}");
    let target = titles.iter().filter(|t| t.contains(": target \"·Lily\", rank ")).count();
    assert_eq!(target, 6, "a point of the line for each layer");
}

#[test]
fn sites_of_one_layer_are_separate_rows() {
    let rows = lens(&WORDS, 4, 3, &["resid_mid", "resid_post"], 1, false);
    let figure = &figures_of(&rows, &provenance()).unwrap()[0];
    let titles = check(figure);
    assert_eq!(titles.iter().filter(|t| t.starts_with("blocks.")).count(), 3 * 2 * 4);
    let at = |label: &str| figure.svg.find(&format!(">{label}</text>")).unwrap_or_else(|| panic!("{label}"));
    assert!(at("1 resid_mid") < at("0 resid_post") && at("0 resid_post") < at("0 resid_mid"));
    assert!(!figure.svg.contains("Target"));
}

#[test]
fn a_right_guess_is_outlined() {
    let mut rows = lens(&WORDS, 5, 2, &["resid_post"], 1, false);
    for row in &mut rows {
        row.token_id = if row.pos == 1 && row.layer == Some(1) { 2 } else { 99 };
    }
    let svg = figures_of(&rows, &provenance()).unwrap().remove(0).svg;
    assert_eq!(svg.matches("fill=\"none\" stroke=\"#").count(), 1 + svg.matches("<polyline").count());
}

#[test]
fn an_attention_figure_says_every_cell() {
    let rows = attends(&WORDS, 12, 2, 3);
    let figures = attention(&rows, &provenance(), Some((1, 2))).unwrap();
    assert_eq!(figures.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["attention-L1H2", "attention"]);
    let titles = check(&figures[0]);
    assert_eq!(titles.iter().filter(|t| t.starts_with("query ")).count(), 12 * 13 / 2);
    assert!(titles.iter().any(|t| t.starts_with("query 8 \"·little\" → key 6 \"·was\": 0.57")), "{titles:?}");
    let titles = check(&figures[1]);
    assert_eq!(titles.iter().filter(|t| t.contains("on the token before")).count(), 6);
}

#[test]
fn the_telling_head_looks_elsewhere() {
    // Heads with (layer + head) % 4 == 1 look at the token before, 0 at the first, 2 at themselves, 3 anywhere.
    let rows = attends(&WORDS, 12, 1, 4);
    assert_eq!(attention(&rows, &provenance(), None).unwrap()[0].name, "attention-L0H3");
    let e = attention(&rows, &provenance(), Some((4, 1))).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NoSuch);
    assert_eq!(e.hint_text(), Some("it has layers 0 and heads 0 to 3"));
}

/// Invariant: Text from models and users is data in every output format.
#[test]
fn hostile_tokens_are_shown_not_obeyed() {
    let mut figures = figures_of(&lens(&HOSTILE, 10, 3, &["resid_post"], 2, true), &provenance()).unwrap();
    figures.extend(attention(&attends(&HOSTILE, 10, 2, 2), &provenance(), None).unwrap());
    for figure in &figures {
        let titles = check(figure).join("\n");
        assert!(!figure.svg.contains("<script"), "{}", figure.name);
        for shown in ["<script>alert(1)</script>", "\"\"\"", "&amp;", "\\u{202e}evil"] {
            assert!(figure.name == "attention" || titles.contains(shown), "{}: {shown}", figure.name);
        }
    }
    assert!(check(&figures[0]).iter().any(|t| t.contains("\"↵↵\"") && t.contains("\"👩\u{200d}🚀\"")));
    assert!(check(&figures[0]).iter().any(|t| t.contains("\\u{0}\\u{1b}[2J")));
}

/// Invariant: as `the_same_rows_give_the_same_bytes`.
#[test]
fn a_figure_is_the_same_from_rows_and_from_the_file() {
    let folder = TempDir::new().unwrap();
    let rows = lens(&HOSTILE, 10, 3, &["resid_post"], 2, true);
    let file = render(save(&folder, &rows)).unwrap();
    let mut how = provenance();
    (how.table, how.table_version) = ("logit_lens".into(), LensRow::TABLE.version);
    how.pellucid_version = env!("CARGO_PKG_VERSION").into();
    assert!(file == figures_of(&rows, &how).unwrap());

    let rows = attends(&HOSTILE, 10, 2, 2);
    (how.table, how.table_version) = ("attention".into(), AttentionRow::TABLE.version);
    let file = save(&folder, &rows);
    assert!(render(&file).unwrap() == attention(&rows, &how, None).unwrap());
    let one = render_with(&file, &Options { heads: vec![(1, 0)], ..Options::default() }).unwrap();
    assert_eq!(one[0].name, "attention-L1H0");
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let folder = TempDir::new().unwrap();
    let none: [HookRow; 0] = [];
    let e = render(save(&folder, &none)).unwrap_err();
    assert!(e.message().contains("no chart of the table `hooks`") && e.message().contains("`logit_lens`"), "{e:?}");
    let none: [LensRow; 0] = [];
    let e = render(save(&folder, &none)).unwrap_err();
    assert!(e.message().contains("no rows to draw") && e.hint_text().is_some(), "{e:?}");
}

#[test]
fn each_prompt_has_its_figure() {
    let mut rows = lens(&WORDS, 3, 2, &["resid_post"], 1, false);
    for prompt in 1..4 {
        let more = lens(&WORDS, 3, 2, &["resid_post"], 1, false);
        rows.extend(more.into_iter().map(|r| LensRow { prompt, ..r }));
    }
    let names = |figures: Vec<Figure>| figures.into_iter().map(|f| f.name).collect::<Vec<_>>();
    assert_eq!(
        names(figures_of(&rows, &provenance()).unwrap()),
        ["logit_lens-p0", "logit_lens-p1", "logit_lens-p2", "logit_lens-p3"]
    );
    let folder = TempDir::new().unwrap();
    let two = render_with(save(&folder, &rows), &Options { max_prompts: 2, ..Options::default() }).unwrap();
    assert_eq!(names(two), ["logit_lens-p0", "logit_lens-p1"]);
}

#[test]
fn values_that_are_no_numbers_are_drawn_grey() {
    let mut rows = lens(&WORDS, 3, 2, &["resid_post"], 1, true);
    rows[0].prob = f32::NAN;
    rows[2].target_prob = Some(f32::NAN);
    let figure = figures_of(&rows, &provenance()).unwrap().remove(0);
    assert!(check(&figure).iter().any(|t| t.contains("NaN")));
    assert!(figure.svg.contains("fill=\"#b0b0b0\""));
    assert_eq!(figure.svg.matches("<circle").count(), 1, "the target has a number in one layer of two");
    let mut rows = attends(&WORDS, 3, 1, 2);
    rows[1].prob = f32::NAN;
    attention(&rows, &provenance(), None).unwrap().iter().for_each(|f| drop(check(f)));
}

#[test]
fn figures_stay_small_and_whole_at_every_size() {
    for (positions, layers) in [(1, 2), (2, 2), (12, 12), (40, 24), (128, 48)] {
        for figure in figures_of(&lens(&WORDS, positions, layers, &["resid_post"], 1, true), &provenance()).unwrap() {
            check(&figure);
            show(&figure, &format!("lens-{positions}x{layers}"));
            assert!(figure.svg.len() < 6 << 20, "{} bytes", figure.svg.len());
        }
    }
    for (positions, layers, heads) in [(1, 1, 2), (2, 2, 2), (12, 4, 4), (20, 12, 12), (100, 12, 12), (300, 2, 2)] {
        for figure in attention(&attends(&WORDS, positions, layers, heads), &provenance(), None).unwrap() {
            check(&figure);
            show(&figure, &format!("{}-{positions}x{layers}x{heads}", figure.name));
            assert!(figure.svg.len() < 3 << 20, "{} bytes at {positions}", figure.svg.len());
        }
    }
    for (i, figure) in figures_of(&lens(&HOSTILE, 10, 3, &["resid_mid", "resid_post"], 2, true), &provenance())
        .unwrap()
        .iter()
        .chain(&attention(&attends(&HOSTILE, 10, 2, 2), &provenance(), None).unwrap())
        .enumerate()
    {
        show(figure, &format!("hostile-{i}"));
    }
}

pub(crate) fn show(figure: &Figure, name: &str) {
    if let Some(folder) = std::env::var_os("PELLUCID_FIGURES") {
        std::fs::write(PathBuf::from(folder).join(format!("{name}.svg")), &figure.svg).unwrap();
    }
}
