//! Every kind of view goes through every renderer: text is data, tables have heads, and nothing is said by colour alone.

use std::sync::Arc;

use crate::view::chart::{check, provenance};
use pellucid::number::Locale;
use pellucid::view::axis::Axis;
use pellucid::view::colour::Colours;
use pellucid::view::html::html;
use pellucid::view::kind::{
    Arcs, Board, Body, Branch, Cell, Dot, Entry, Heat, Item, Line, Lines, Link, Mark, Panel, Scatter, Shape, Side,
    Steps, Table, TableRow, Text, Tile, Tiles, Tree, View,
};
use pellucid::view::markdown::markdown;
use pellucid::view::{Figure, svg, terminal};

/// What a token may be, as views have it: already visible.
const HOSTILE: &str = "</td><script>alert(1)</script>|*_`&\"'";

fn cell(value: f64, label: &str, below: &str) -> Cell {
    Cell { value, label: label.into(), below: below.into(), title: format!("{HOSTILE}: {value}"), ..Cell::default() }
}

fn side(name: &str, labels: &[&str]) -> Side {
    let item = |(i, label): (usize, &&str)| Item { label: (*label).into(), number: Some(i as u32 + 7) };
    Side { names: vec![name.into()], items: labels.iter().enumerate().map(item).collect() }
}

fn words() -> Text {
    let tokens = [("Once", 8.25), ("·upon", 0.125), (HOSTILE, 14.5), ("↵", f64::NAN), ("·a", 4.0)];
    let written = |v: f64| if v.is_nan() { String::new() } else { format!("{v}") };
    Text {
        colours: Colours::rising("surprise (bits)", 16.0),
        tokens: tokens.map(|(token, v)| cell(v, token, &written(v))).to_vec(),
    }
}

fn heat(shape: Shape) -> Heat {
    let mut cells = vec![
        ((0, 0), cell(0.75, HOSTILE, "0.75")),
        ((0, 1), cell(-0.5, "b", "-0.5")),
        ((1, 0), cell(0.0, "c", "0")),
        ((1, 1), cell(9.0, "d", "9")),
    ];
    cells[2].1.mark = Mark::Nothing;
    cells[1].1.mark = Mark::Hit;
    Heat {
        rows: side("layer", &["1", HOSTILE]),
        columns: side("position", &[HOSTILE, "·b"]),
        above: Side::default(),
        cells,
        areas: vec![],
        colours: Colours::signed("effect", 1.0),
        shape,
        absent: "not measured",
    }
}

pub(crate) fn every_body() -> Vec<(&'static str, Body)> {
    let axis = |name: &str| Axis::linear(name, -1.0, 1.0, 5);
    let steps = Steps {
        x: side("head", &["1", HOSTILE]),
        y: axis(HOSTILE),
        limits: (-1.0, 1.0),
        points: vec![cell(0.5, ".50", ""), Cell { error: Some(0.25), ..cell(-0.75, "-.75", "") }],
        joined: false,
    };
    let line = |name: &str, strong| Line {
        name: name.into(),
        end: "0.5".into(),
        strong,
        points: vec![(0.0, -0.5), (1.0, 0.5)],
    };
    let tile =
        Tile { at: (0, 0), name: HOSTILE.into(), title: HOSTILE.into(), cells: vec![Some(0.5), None, Some(2.0), None] };
    let dot = |i: usize, x| Dot { x, y: x / 2.0, kind: Some(i), strong: i == 0, title: HOSTILE.into() };
    let entry = |label: &str, value: f64, out| Entry {
        label: label.into(),
        bars: vec![(value, value.to_string()), (if out { 0.0 } else { 1.0 }, "1".into())],
        note: if out { "cut by top-p".into() } else { String::new() },
        title: format!("{HOSTILE}: {value}"),
        out,
        others: false,
    };
    let link =
        |from, to, value: f64| Link { from, to, value, label: value.to_string(), title: format!("{HOSTILE}: {value}") };
    let branch = |text: &str, depth, weight| Branch {
        depth,
        weight,
        text: text.into(),
        note: "1 of them".into(),
        title: format!("{HOSTILE}: {weight}"),
    };
    let row = |label: &str, depth| TableRow {
        depth,
        label: label.into(),
        cells: vec![cell(0.75, HOSTILE, "0.75"), Cell::said("no value")],
    };
    vec![
        ("tokens", Body::Heat(heat(Shape::Tokens))),
        ("numbers", Body::Heat(heat(Shape::Numbers))),
        ("square", Body::Heat(heat(Shape::Square))),
        ("line", Body::Steps(Steps { joined: true, ..steps.clone() })),
        ("bars", Body::Steps(steps)),
        (
            "lines",
            Body::Lines(Lines {
                x: axis("step"),
                y: axis(HOSTILE),
                stairs: true,
                lines: vec![line("weak", false), line(HOSTILE, true)],
                titles: vec![(0.0, HOSTILE.into())],
            }),
        ),
        (
            "scatter",
            Body::Scatter(Scatter {
                x: axis("estimated"),
                y: axis("measured"),
                diagonal: false,
                kinds: vec![HOSTILE.into(), "places".into(), "names".into(), "others".into()],
                dots: (0..4).map(|i| dot(i, 0.25 * i as f64)).collect(),
                words: vec![(0, HOSTILE.into())],
            }),
        ),
        (
            "tiles",
            Body::Tiles(Tiles { size: (2, 2), steps: 4, colours: Colours::signed("effect", 1.0), tiles: vec![tile] }),
        ),
        ("text", Body::Text(words())),
        (
            "board",
            Body::Board(Board {
                name: "candidate".into(),
                bars: vec!["probability".into(), HOSTILE.into()],
                entries: vec![entry(HOSTILE, 0.75, false), entry("·b", 0.125, true)],
                ends: Some((0, "the pool ends: 1 candidate".into())),
            }),
        ),
        (
            "branches",
            Body::Tree(Tree {
                total: 2.0,
                branches: vec![branch("Once", 0, 2.0), branch(HOSTILE, 1, 1.0), branch("·upon·a·time", 1, 1.0)],
            }),
        ),
        (
            "arcs",
            Body::Arcs(Arcs {
                places: side("head", &["0.0", HOSTILE, "2.1"]),
                value: HOSTILE.into(),
                arcs: vec![link(0, 2, 0.5), link(1, 2, 0.25)],
            }),
        ),
        (
            "tree",
            Body::Table(Table {
                columns: vec!["place".into(), HOSTILE.into(), "said".into()],
                rows: vec![row("root", 0), row(HOSTILE, 1)],
                colours: Some(Colours::probability("probability")),
            }),
        ),
    ]
}

pub(crate) fn view(body: Body) -> View {
    View {
        name: "sample".into(),
        title: format!("A title {HOSTILE}"),
        subtitle: "demo · prompt 0".into(),
        caption: vec![format!("What was found: {HOSTILE}.")],
        legend: vec!["What marks mean.".into()],
        panels: vec![Panel { heading: String::new(), body }],
        more: vec![],
        provenance: Arc::new(provenance()),
        locale: Locale::EN,
    }
}

#[test]
fn every_kind_of_view_is_a_figure_and_its_text_is_data() {
    for (name, body) in every_body() {
        let view = view(body);
        let figure = Figure { name: name.into(), svg: svg::svg(&view).unwrap(), scale: 1.0 };
        assert!(!check(&figure).is_empty(), "{name}");
        assert!(!figure.svg.contains("<script"), "{name}");
        let page = html(&view).unwrap();
        let xml = roxmltree::Document::parse(&page).unwrap_or_else(|e| panic!("{name}: {e}\n{page}"));
        let root = xml.root_element();
        assert!(root.has_tag_name("figure"), "{name}");
        let children: Vec<&str> = root.children().filter(|n| n.is_element()).map(|n| n.tag_name().name()).collect();
        // The picture, what was found, and the same as a table, in this order.
        assert_eq!(children[1..], ["figcaption", "details"], "{name}");
        let caption: String = root
            .descendants()
            .find(|n| n.has_tag_name("figcaption"))
            .unwrap()
            .descendants()
            .filter_map(|n| n.text())
            .collect();
        assert!(
            caption.contains(&format!("What was found: {HOSTILE}.")) && caption.contains("What marks mean."),
            "{name}: {caption}"
        );
        for node in root.descendants().filter(|n| n.is_element()) {
            assert!(!["script", "style", "link", "iframe"].contains(&node.tag_name().name()), "{name}");
            assert!(node.attributes().all(|a| a.name() != "id" && !a.name().starts_with("on")), "{name}");
            if node.has_tag_name("th") {
                assert!(node.attribute("scope").is_some_and(|s| ["col", "row"].contains(&s)), "{name}");
            }
            // What has a colour says in words what it is.
            if node.attribute("style").is_some_and(|s| s.contains("background")) {
                assert!(node.descendants().any(|n| n.text().is_some_and(|t| !t.trim().is_empty())), "{name}");
            }
        }
        let rows = |part: &str| root.descendants().filter(|n| n.has_tag_name(part)).count();
        assert!(rows("th") >= 3 && rows("td") >= 1 && rows("caption") == 1, "{name}: {page}");
        let said = markdown(&view);
        assert!(!said.contains("<script") && said.contains("&lt;script&gt;"), "{name}: {said}");
        // Its table has as many cells in each line.
        let lines: Vec<usize> =
            said.lines().filter(|l| l.starts_with('|')).map(|l| l.replace("\\|", "").matches('|').count()).collect();
        assert!(lines.len() >= 3 && lines.iter().all(|n| *n == lines[0]), "{name}: {said}");
        let words = terminal::text(&view, 80);
        assert!(words.contains("What was found: ") && !words.contains('\t'), "{name}: {words}");
    }
}

/// Without the codes that style it.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn text_is_coloured_and_says_its_values() {
    let view = view(Body::Text(words()));
    let said = terminal::text(&view, 60);
    // A background for each token that has a value, and letters that can be read on it.
    assert_eq!(said.matches("\u{1b}[48;5;").count() + said.matches("\u{1b}[38;5;").count(), 4 * 2, "{said:?}");
    let lines: Vec<String> = plain(&said).lines().skip(2).map(str::to_owned).collect();
    let rows: Vec<Vec<&str>> = lines.iter().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [vec!["Once", "·upon", HOSTILE, "↵"], vec!["8.25", "0.125", "14.5"], vec!["·a"], vec!["4"]],
        "{lines:?}"
    );
    // A value begins where its token does.
    let at = |line: &str, what: &str| {
        line.chars().count() - line.split_once(what).unwrap().1.chars().count() - what.chars().count()
    };
    assert_eq!(at(&lines[0], "·upon"), at(&lines[1], "0.125"));
    // Where the terminal is narrow, the text goes on below.
    assert!(terminal::text(&view, 20).lines().count() > said.lines().count());

    let figure = Figure { name: "text".into(), svg: svg::svg(&view).unwrap(), scale: 1.0 };
    let titles = check(&figure);
    assert_eq!(titles.iter().filter(|t| t.starts_with(HOSTILE)).count(), 5, "{titles:?}");
    let most = Colours::rising("", 16.0).of(14.5);
    assert!(figure.svg.contains(&format!("fill=\"{most}\"")));
    for token in ["Once", "·upon", "8.25", "0.125", "14.5", "(bits)"] {
        assert!(figure.svg.contains(&format!(">{token}</text>")), "{token}");
    }
}

#[test]
fn a_grid_on_a_terminal_is_what_the_figure_shows() {
    let said = plain(&terminal::text(&view(Body::Heat(heat(Shape::Numbers))), 100));
    let lines: Vec<Vec<&str>> = said.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[2], ["7", "1", "0.75", "-0.50"], "{said}");
    assert_eq!(lines[3][lines[3].len() - 2..], ["-", "9.00"], "{said}");
    assert_eq!(lines[5], ["position", "7", "8"], "{said}");
    assert_eq!(lines[6], ["-", "where", "nothing", "changes"], "{said}");
}

#[test]
fn numbers_are_written_as_the_language_writes_them() {
    let mut german = view(Body::Heat(heat(Shape::Numbers)));
    german.locale = Locale::DE;
    let page = html(&german).unwrap();
    assert!(page.contains(">0,750") && page.contains(">-0,500") && !page.contains(">0.750"), "{page}");
    // The colour bar too.
    assert!(svg::svg(&german).unwrap().contains(">-0,5</text>"));
    assert!(markdown(&german).contains("| 0,750 |"));
    assert!(terminal::text(&german, 100).contains("0,75"));
}

/// What every renderer makes of every kind of view. A change is looked at and accepted as CONTRIBUTING.md says.
#[test]
fn every_kind_of_view_looks_as_it_did() {
    for (name, body) in every_body() {
        let view = view(body);
        insta::assert_snapshot!(format!("{name}.svg"), svg::svg(&view).unwrap());
        // The page's picture is the same, and what else it has is words.
        let page = html(&view).unwrap();
        let words = &page[page.find("<figcaption").unwrap()..];
        let said = [&plain(&terminal::text(&view, 80)), &markdown(&view), words];
        insta::assert_snapshot!(name, said.map(|said| said.trim_end()).join("\n\n"));
    }
}
