//! Figures of several panels: they go on a page, say nothing twice, have one colour bar for one scale, and explain what a reader would ask.

use std::collections::BTreeMap;

use pellucid::analysis::LensMeanRow;
use pellucid::analysis::seen::views;
use pellucid::table::read_rows;
use pellucid::view::axis::Axis;
use pellucid::view::colour::Colours;
use pellucid::view::kind::{Body, Cell, Heat, Panel, Shape, Side, Steps, View};
use pellucid::view::{Figure, Only, Options, Style, Words};

use crate::bin::Place;
use crate::view::renderers::{every_body, view};

fn side(labels: &[&str]) -> Side {
    Side::new("layer", labels.iter().map(|label| (*label).to_owned()))
}

/// A curve over `n` layers, whose axis is called `name`.
fn curve(name: &str, n: usize) -> Body {
    let labels: Vec<String> = (0..n).map(|i| i.to_string()).collect();
    let points = (0..n).map(|i| Cell { value: i as f64 / n as f64, ..Cell::default() });
    Body::Steps(Steps {
        x: Side::new("layer", labels),
        y: Axis::linear(name, 0.0, 1.0, 5),
        limits: (0.0, 1.0),
        points: points.collect(),
        joined: true,
    })
}

/// A grid of two rows and two columns with these numbers, in order; of less than four, the last places have no cell.
fn grid(numbers: &[(f64, &str)], most: f64) -> Heat {
    let cell = |(i, (value, label)): (usize, &(f64, &str))| {
        ((i / 2, i % 2), Cell { value: *value, label: (*label).into(), ..Cell::default() })
    };
    Heat {
        rows: side(&["0", "1"]),
        columns: side(&["·a", "·b"]),
        above: Side::default(),
        cells: numbers.iter().enumerate().map(cell).collect(),
        areas: vec![],
        colours: Colours::signed("effect", most),
        shape: Shape::Numbers,
        absent: "not measured",
    }
}

fn several(panels: Vec<(&str, Body)>) -> View {
    let mut view = view(every_body().remove(0).1);
    (view.title, view.caption) = ("A title".into(), vec!["What was found.".into()]);
    view.panels = panels.into_iter().map(|(heading, body)| Panel { heading: heading.into(), body }).collect();
    view
}

/// The texts of a figure, and its width and height.
fn drawn(view: &View, width: Option<&str>, title: Words) -> (Vec<String>, f64, f64) {
    let style = Style { width: width.map(|w| w.parse().unwrap()), title, ..Style::default() };
    let svg = Figure::styled(view, &style).unwrap().unwrap().svg;
    let xml = roxmltree::Document::parse(&svg).unwrap();
    let texts = xml.descendants().filter(|n| n.has_tag_name("text")).filter_map(|n| n.text()).map(str::to_owned);
    let size: Vec<f64> =
        xml.root_element().attribute("viewBox").unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
    (texts.collect(), size[2], size[3])
}

/// Invariant: A figure of up to three curves goes on a page of 24 cm at any usual width, and no curve is higher than wide.
#[test]
fn curves_go_on_a_page() {
    for n in 1..=3 {
        for (asked, wide) in [("8cm", 8.0), ("12cm", 12.0), ("17cm", 17.0)] {
            let names = ["probability", "rank", "difference"];
            let view = several(names.into_iter().take(n).map(|name| (name, curve(name, 30))).collect());
            let (_, w, h) = drawn(&view, Some(asked), Words::Own);
            let high = h / w * wide;
            assert!(high <= 24.0 && high <= 2.5 + n as f64 * wide, "{n} at {asked}: {high} cm");
            assert!(high >= 4.0 * n as f64, "{n} at {asked}: {high} cm");
            // Each of several is about 5 cm high at 8 cm.
            assert!(asked != "8cm" || n != 3 || high <= 18.0, "{high} cm");
        }
    }
    // Of many rows each is lower, and a page holds them.
    let rows: Vec<String> = (0..60).map(|i| format!("L{i}")).collect();
    let cells = (0..120).map(|i| ((i / 2, i % 2), Cell { value: 0.5, ..Cell::default() }));
    let heat = Heat { rows: Side::new("layer", rows), cells: cells.collect(), ..grid(&[], 1.0) };
    let (_, w, h) = drawn(&several(vec![("", Body::Heat(heat))]), Some("8cm"), Words::Own);
    assert!(h / w * 8.0 <= 24.0, "{} cm", h / w * 8.0);
}

#[test]
fn headings_that_the_axis_says_go_with_the_title() {
    let heat = || Body::Heat(grid(&[(0.5, ".50"); 4], 1.0));
    let all = several(vec![
        ("Probability over layers", curve("probability", 4)),
        ("Rank over layers", curve("rank", 4)),
        ("Of head 3", curve("share", 4)),
        ("Of head 4", curve("share", 4)),
        ("By layer and position", heat()),
    ]);
    for width in [None, Some("17cm")] {
        let has = |title: Words| {
            let (texts, ..) = drawn(&all, width, title);
            all.panels.iter().map(|panel| texts.contains(&panel.heading)).collect::<Vec<_>>()
        };
        assert_eq!(has(Words::Own), [true; 5]);
        assert_eq!(has(Words::These("Mine".into())), [true; 5]);
        // What tells panels apart stays: axes of one name, and a grid.
        assert_eq!(has(Words::None), [false, false, true, true, true]);
    }
}

#[test]
fn one_scale_has_one_colour_bar() {
    let of = |ends: [f64; 2]| {
        let panels = ends.map(|most| ("A site", Body::Heat(grid(&[(0.1, ".10"); 4], most))));
        let (texts, ..) = drawn(&several(panels.into()), None, Words::Own);
        let bars = texts.iter().filter(|text| *text == "effect").count();
        (bars, texts.join(" ").contains("A panel without a colour bar has that of the panel above."))
    };
    assert_eq!((of([1.0, 1.0]), of([1.0, 2.0])), ((1, true), (2, false)));
}

/// Invariant: What a reader of a grid would ask is in its caption where there is something to ask, and only there.
#[test]
fn captions_explain_what_there_is() {
    let said = |heat: Heat| {
        let (texts, ..) = drawn(&several(vec![("", Body::Heat(heat))]), None, Words::Own);
        let text = texts.join(" ");
        [
            "Grey: not measured.",
            "Dark grey: no finite number.",
            "A cell without a number rounds to 0.",
            "What is cut short ends in ….",
        ]
        .map(|sentence| text.contains(sentence))
    };
    let full = [(0.5, ".50"), (-0.5, "-.50"), (0.25, ".25"), (0.1, ".10")];
    assert_eq!(said(grid(&full, 1.0)), [false; 4]);
    assert_eq!(said(grid(&full[..3], 1.0)), [true, false, false, false]);
    let mut none = full;
    none[2] = (f64::NAN, "");
    assert_eq!(said(grid(&none, 1.0)), [false, true, false, false]);
    none[2] = (0.001, "");
    assert_eq!(said(grid(&none, 1.0)), [false, false, true, false]);
    // Where no cell has a number, one without says nothing.
    assert_eq!(said(grid(&[(0.001, ""); 4], 1.0)), [false; 4]);
    let long = Heat { columns: side(&["a-token-of-very-many-letters", "·b"]), ..grid(&full, 1.0) };
    assert_eq!(said(long), [false, false, false, true]);
    // A token that is … is not one that is cut.
    let own = Heat { columns: side(&["…", "·b"]), ..grid(&full, 1.0) };
    assert_eq!(said(own), [false; 4]);
}

/// Invariant: A grid has all of its numbers or none, and its caption says of them only what is so.
#[test]
fn a_grid_has_all_of_its_numbers_or_none() {
    let sentences = [
        "A cell without a number rounds to 0.",
        "Under a mean stands its standard error.",
        "Numbers have no room in the cells.",
    ];
    let mut seen = [0; 3];
    for columns in 2..60_usize {
        for width in [Some("8cm"), Some("17cm"), None] {
            // Negative numbers are wider, and some errors are wider than both; one number rounds to 0 and has an error that does not.
            let numbers = [(0.01, ".01", "±.01"), (-0.25, "-.25", "±.003"), (0.001, "", "±.05")];
            let cell = |i: usize| {
                let (value, label, below) = numbers[i % 3];
                Cell { value, label: label.into(), below: below.into(), error: Some(0.01), ..Cell::default() }
            };
            let labels = (0..columns).map(|i| i.to_string());
            let cells = (0..2 * columns).map(|i| ((i / columns, i % columns), cell(i))).collect();
            let heat = Heat { columns: Side::new("position", labels), cells, ..grid(&[], 1.0) };
            let (texts, ..) = drawn(&several(vec![("", Body::Heat(heat))]), width, Words::Own);
            let count = |text: &str| texts.iter().filter(|t| *t == text).count();
            let all = |which: usize| (0..2 * columns).filter(|i| i % 3 == which).count();
            let shown = [count(".01"), count("-.25")];
            assert!(shown == [0, 0] || shown == [all(0), all(1)], "{columns} at {width:?}: {shown:?}");
            let (written, errors) = (shown[0] > 0, count("±.05"));
            assert!(errors == 0 || errors == all(2) && written, "{columns} at {width:?}: {errors}");
            let text = texts.join(" ");
            let said = sentences.map(|sentence| text.contains(sentence));
            // With its error under it, a 0 is written.
            let want = [written && errors == 0, errors > 0, !written];
            assert_eq!(said, want, "{columns} at {width:?}");
            (0..3).for_each(|i| seen[i] += usize::from(said[i]));
        }
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}

/// A text and its attributes.
type Written = (String, BTreeMap<String, String>);

/// What a figure has of texts: what they say, their attributes by name.
fn texts(view: &View, width: Option<&str>) -> (Vec<Written>, f64) {
    let style = Style { width: width.map(|w| w.parse().unwrap()), title: Words::None, ..Style::default() };
    let svg = Figure::styled(view, &style).unwrap().unwrap().svg;
    let xml = roxmltree::Document::parse(&svg).unwrap();
    let attributes = |n: roxmltree::Node<'_, '_>| {
        n.attributes().map(|a| (a.name().to_owned(), a.value().to_owned())).collect::<BTreeMap<_, _>>()
    };
    let all = xml.descendants().filter(|n| n.has_tag_name("text"));
    let texts = all.map(|n| (n.text().unwrap_or_default().to_owned(), attributes(n))).collect();
    let size = xml.root_element().attribute("viewBox").unwrap();
    (texts, size.split(' ').nth(2).unwrap().parse().unwrap())
}

/// Invariant: Numbers beside points are on the page, also of the highest and of the last.
#[test]
fn numbers_of_points_are_on_the_page() {
    let mut seen = 0;
    for n in 3..=14_usize {
        for joined in [true, false] {
            for width in [None, Some("8cm"), Some("17cm")] {
                let Body::Steps(mut steps) = curve("probability", n) else { panic!("steps") };
                steps.joined = joined;
                for (i, point) in steps.points.iter_mut().enumerate() {
                    // To the end of the axis, and down again with the last.
                    point.value = if i + 2 == n { 1.0 } else { 0.9 * i as f64 / n as f64 };
                    point.label = format!("{:.2}", point.value);
                }
                let (texts, wide) = texts(&several(vec![("", Body::Steps(steps))]), width);
                for (text, at) in texts.iter().filter(|(_, at)| at["font-size"] == "9" && !at.contains_key("transform"))
                {
                    if text.len() != 4 || !text.contains('.') {
                        continue;
                    }
                    seen += 1;
                    let (x, y): (f64, f64) = (at["x"].parse().unwrap(), at["y"].parse().unwrap());
                    // Digits of DejaVu Sans are 0.636 of their size wide, and 0.73 high.
                    let w = 3.5 * 0.636 * 9.0;
                    let end = match at.get("text-anchor").map(String::as_str) {
                        None => x + w,
                        Some("middle") => x + w / 2.0,
                        Some(_) => x,
                    };
                    assert!(y - 0.73 * 9.0 >= 0.0 && end <= wide, "{n} at {width:?}: {text} at {x}, {y} of {wide}");
                }
            }
        }
    }
    assert!(seen > 200, "{seen}");
}

/// Invariant: The axes of values of one figure have their names in letters of one size.
#[test]
fn names_of_axes_are_as_large_in_all_panels() {
    let names = ["probability", "the rank of the target, of which the first is the best of all"];
    for width in [None, Some("8cm"), Some("17cm")] {
        let view = several(names.iter().map(|name| ("A panel", curve(name, 6))).collect());
        let (texts, _) = texts(&view, width);
        let size = |begin: &str| {
            let is_name = |(text, at): &&(String, BTreeMap<String, String>)| {
                text.starts_with(begin) && at.contains_key("transform")
            };
            texts.iter().find(is_name).unwrap().1["font-size"].parse::<f64>().unwrap()
        };
        let sizes = [size("proba"), size("the rank")];
        assert!(sizes[0] == sizes[1] && sizes[0] < 11.0, "{width:?}: {sizes:?}");
    }
}

/// A folder with a sweep of the lens: two tables, one of means.
fn lens() -> Place {
    let place = Place::new();
    place.write(
        "words.jsonl",
        "{\"text\": \"When Mary and John went to the store, John gave a drink to\", \"target\": \" Mary\", \"foil\": \" John\"}\n\
         {\"text\": \"Once upon a time there was a little\", \"target\": \" girl\"}\n\
         {\"text\": \"Tom and Sara went to the park\", \"target\": \".\"}\n",
    );
    place.ok(["lens", "-q", "--prompts", "words.jsonl", "--pos", "-1", "--out", "lens", "--figures", "none"]);
    place
}

/// Invariant: The panels of means of the lens are of columns of its table, and of ranks the median is drawn.
#[test]
fn a_panel_of_means_is_a_column() {
    let place = lens();
    let file = place.path("lens/logit_lens_mean.parquet");
    let (rows, _) = read_rows::<LensMeanRow>(&file).unwrap();
    let mut want = BTreeMap::new();
    for row in &rows {
        let mut add = |column, x: Option<f32>| want.entry(column).or_insert_with(Vec::new).push(x.map(f64::from));
        add("target_prob", Some(row.target_prob));
        add("target_rank", Some(row.target_rank_median));
        add("logit_diff", row.logit_diff);
    }
    assert!(rows.iter().any(|row| row.target_rank != row.target_rank_median), "else nothing is tested");
    for (column, values) in &want {
        let only = Only { metric: Some((*column).to_owned()), ..Only::default() };
        let mut seen = vec![];
        views(&file, &Options { only, ..Options::default() }, &mut |view| {
            seen.push(view);
            Ok(())
        })
        .unwrap();
        let [one] = &seen[..] else { panic!("{column}: {} views", seen.len()) };
        assert_eq!(one.name, format!("logit_lens_mean-{column}"));
        // The caption says what is drawn.
        let found = ["mean probability", "median rank", "mean logit difference"].map(|what| {
            one.caption[0].contains(&format!("{what} goes"))
                || one.caption[0].contains(&format!("{what} of target and foil goes"))
        });
        assert_eq!(found, ["target_prob", "target_rank", "logit_diff"].map(|of| of == *column), "{:?}", one.caption);
        assert_eq!(one.caption[1].contains("Medians"), *column == "target_rank", "{:?}", one.caption);
        let [Panel { body: Body::Steps(steps), .. }] = &one.panels[..] else { panic!("{column}: {:?}", one.panels) };
        let drawn: Vec<Option<f64>> = steps.points.iter().map(|p| Some(p.value).filter(|x| x.is_finite())).collect();
        assert_eq!(&drawn, values, "{column}");
        let said = place.ok(["chart", "lens/logit_lens_mean.parquet", "--out", "fig", "--metric", column]).stdout;
        assert_eq!(said, format!("fig/logit_lens_mean-{column}.svg\n"));
    }
    let table = ["chart", "lens/logit_lens_mean.parquet", "--out", "fig", "--metric"];
    let no = place.refused(table.into_iter().chain(["rank"]), 2, "no metric `rank`");
    assert!(no.stderr.contains("target_prob, target_rank, logit_diff"), "{}", no.stderr);
    let no = place.refused(table.into_iter().chain(["target_rnk"]), 2, "no metric `target_rnk`");
    assert!(no.stderr.contains("did you mean") && no.stderr.contains("target_rank"), "{}", no.stderr);
}

#[test]
fn every_table_of_a_folder_is_drawn() {
    let place = lens();
    let printed = place.ok(["chart", "lens", "--out", "all", "--width", "17cm"]).stdout;
    let names = ["logit_lens-p0", "logit_lens-p1", "logit_lens-p2", "logit_lens_mean"];
    assert_eq!(printed, names.map(|name| format!("all/{name}.svg\n")).concat());
    for table in ["logit_lens", "logit_lens_mean"] {
        place.ok(["chart", &format!("lens/{table}.parquet"), "--out", "one", "--width", "17cm"]);
    }
    for name in names {
        let file = format!("{name}.svg");
        assert!(place.read(&format!("one/{file}")) == place.read(&format!("all/{file}")), "{name}");
    }
    // Beside the tables, where no place is named.
    assert!(place.ok(["chart", "lens"]).stdout.lines().all(|file| file.starts_with("lens/")));
    // What a table has no use for leaves it out.
    let printed = place.ok(["chart", "lens", "--out", "mean.svg", "--metric", "target_prob"]).stdout;
    assert_eq!(printed, "mean.svg\n");
    let no = place.refused(["chart", "lens", "--out", "x.pdf"], 2, "several tables that can be drawn");
    for table in ["lens/logit_lens.parquet", "lens/logit_lens_mean.parquet"] {
        assert!(no.stderr.contains(table), "{}", no.stderr);
    }
    place.refused(["chart", "lens", "--out", "x", "--head", "0.0"], 2, "show no single head");
    fs_err::create_dir(place.path("empty")).unwrap();
    place.refused(["chart", "empty"], 2, "there is no table in empty");
    fs_err::create_dir(place.path("twice")).unwrap();
    for name in ["a", "b"] {
        place.write(&format!("twice/{name}.parquet"), place.read("lens/logit_lens_mean.parquet"));
    }
    place.refused(["chart", "twice", "--out", "y"], 2, "two tables there have the figure logit_lens_mean.svg");
}

/// Invariant: What … stands for is said in a figure that has it, of labels that are cut and of tokens that pairs do not share.
#[test]
fn dots_are_explained_where_they_are_drawn() {
    let place = Place::new();
    let mut pairs = String::from("clean,corrupt,answer,foil\n");
    for (one, two) in [("Mary", "John"), ("Anna", "Tom")] {
        let text = |giver: &str| format!("When {one} and {two} went to the store; {giver} gave a drink to");
        pairs += &format!("{},{}, {one}, {two}\n", text(two), text(one));
    }
    place.write("pairs.csv", pairs);
    let run = |more: &[&str]| {
        place.ok(more.iter().chain(&["-q", "--pairs", "pairs.csv", "--figures", "none", "--out", "run", "--force"]));
    };
    let mut seen = [0; 2];
    let mut check = |table: &str, width: Option<&str>| {
        let file = place.path(&format!("run/{table}.parquet"));
        views(&file, &Options::default(), &mut |view| {
            let (texts, ..) = drawn(&view, width, Words::None);
            let all = texts.join(" ");
            let others = texts.iter().any(|text| text == "…") || view.caption[0].contains("\"…\"");
            assert_eq!(all.contains("… alone stands for different tokens of the pairs"), others, "{table}: {all}");
            let cut = texts.iter().any(|text| text != "…" && !text.contains(' ') && text.ends_with('…'));
            assert_eq!(all.contains("What is cut short ends in …."), cut, "{table} at {width:?}: {all}");
            seen[0] += usize::from(others);
            seen[1] += usize::from(others && cut);
            Ok(())
        })
        .unwrap();
    };
    run(&["patch", "--over", "layer,pos"]);
    [None, Some("8cm"), Some("17cm")].into_iter().for_each(|width| check("patch_mean", width));
    // The first panel has no positions, and another has.
    run(&["attribute", "--at", "z,mlp_out"]);
    check("attribution_mean", None);
    run(&["attribute", "--at", "z"]);
    check("attribution_mean", None);
    assert!(seen[0] > 3 && seen[1] > 0, "{seen:?}");
}
