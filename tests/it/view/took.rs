//! What the last position took, as it is seen: every mark is a number of the table's rows.

use std::collections::BTreeMap;

use pellucid::analysis::AttentionRow;
use pellucid::analysis::seen::views;
use pellucid::table::{Provenance, TableWriter, read_rows};
use pellucid::view::kind::{Body, Cell, Mark, Shape};
use pellucid::view::{Options, View};

use crate::bin::Place;

const TEXT: &str = "When Mary and John went to the store, John gave a drink to";

fn seen(place: &Place, file: &str) -> Vec<View> {
    let mut all = vec![];
    views(place.path(file), &Options::default(), &mut |view| {
        all.push(view);
        Ok(())
    })
    .unwrap();
    all
}

fn cells(body: &Body) -> Vec<&Cell> {
    match body {
        Body::Steps(steps) => steps.points.iter().collect(),
        Body::Text(text) => text.tokens.iter().collect(),
        _ => vec![],
    }
}

/// The rows of the last position, by head.
fn last(rows: &[AttentionRow]) -> BTreeMap<(u32, u32), Vec<&AttentionRow>> {
    let last = rows.iter().map(|row| row.query_pos).max().unwrap();
    let mut heads: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.query_pos == last) {
        heads.entry((row.layer, row.head)).or_default().push(row);
    }
    heads
}

/// For each key what it was looked at, carried and pushed, means of shares and sums of pushes over these heads.
fn taken<'a>(heads: impl Iterator<Item = &'a Vec<&'a AttentionRow>>, keys: usize) -> [Vec<f64>; 3] {
    let mut taken = [vec![0.0; keys], vec![0.0; keys], vec![0.0; keys]];
    let mut n = 0.0;
    for head in heads {
        n += 1.0;
        let all: f64 = head.iter().map(|row| f64::from(row.out_norm.unwrap())).sum();
        for row in head {
            let key = row.key_pos as usize;
            taken[0][key] += f64::from(row.prob);
            taken[1][key] += f64::from(row.out_norm.unwrap()) / all;
            taken[2][key] += f64::from(row.push.unwrap());
        }
    }
    taken[..2].iter_mut().flatten().for_each(|x| *x /= n);
    taken
}

/// Invariant: Bars, coloured text and strips of attention are sums and means of rows of its table.
#[test]
fn what_is_drawn_of_the_last_position_is_in_the_table() {
    let place = Place::new();
    let done = place.ok(["attention", TEXT, "--target", " Mary", "--foil", " John", "--out", "run"]);
    for said in ["looks most at ", "It took most from ", "\"·Mary\" was pushed most by "] {
        assert!(done.stdout.contains(said), "{said}: {}", done.stdout);
    }
    let (rows, _) = read_rows::<AttentionRow>(place.path("run/attention.parquet")).unwrap();
    let heads = last(&rows);
    let keys = rows.iter().map(|row| row.key_pos).max().unwrap() as usize + 1;
    let views = seen(&place, "run/attention.parquet");
    let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(names[1..], ["attention-parts", "attention"]);
    let near = |cells: Vec<&Cell>, want: &[f64], what: &str| {
        assert_eq!(cells.len(), keys, "{what}");
        cells
            .iter()
            .zip(want)
            .for_each(|(cell, x)| assert!((cell.value - x).abs() < 1e-5, "{what}: {} {x}", cell.value));
    };
    let together = taken(heads.values(), keys);
    for (panel, want) in views[1].panels.iter().zip(&together) {
        near(cells(&panel.body), want, &panel.heading);
    }
    assert_eq!(views[1].panels.len(), 3);
    // The head that is drawn large has its square, and bars of its own.
    let of = views[0].title.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect::<Vec<u32>>();
    let own = taken([&heads[&(of[0], of[1])]].into_iter(), keys);
    assert!(matches!(&views[0].panels[0].body, Body::Heat(heat) if heat.shape == Shape::Square));
    for (panel, want) in views[0].panels[1..].iter().zip(&own) {
        near(cells(&panel.body), want, &panel.heading);
    }
    assert_eq!(views[0].panels.len(), 4);
    // All heads: the text by what was carried and pushed, strips, tiles.
    let [carried, pushed, strips, tiles] = &views[2].panels[..] else { panic!("{:?}", views[2].panels.len()) };
    near(cells(&carried.body), &together[1], "text carried");
    near(cells(&pushed.body), &together[2], "text pushed");
    assert!(matches!(tiles.body, Body::Tiles(_)));
    let Body::Heat(heat) = &strips.body else { panic!("no strips") };
    assert_eq!((heat.rows.items.len(), heat.columns.items.len()), (heads.len(), keys));
    let mut strong = 0;
    for (row, ((layer, head), own)) in heads.iter().enumerate() {
        assert_eq!(heat.rows.items[row].label, format!("L{layer}H{head}"));
        for entry in own {
            let cell =
                heat.cells.iter().find(|(at, _)| *at == (row, entry.key_pos as usize)).map(|(_, cell)| cell.value);
            // What is weaker is drawn as 0.
            assert_eq!(
                cell,
                (entry.prob >= 0.03125).then_some(f64::from(entry.prob)),
                "L{layer}H{head} {}",
                entry.key_pos
            );
            strong += usize::from(cell.is_some());
        }
    }
    assert!(strong > heads.len(), "{strong}");
}

/// Beyond 64 tokens there is no square: one head is its text, and strips have the tokens that are looked at most.
#[test]
fn a_long_prompt_has_no_square() {
    let place = Place::new();
    let ids: Vec<String> = (0..90).map(|i| (i * 7 % 97).to_string()).collect();
    for (more, to) in [(&[][..], "plain"), (&["--parts"][..], "parts")] {
        let args = ["attention", "--ids", &ids.join(","), "-q", "--out", to];
        place.ok(args.iter().chain(more));
        let views = seen(&place, &format!("{to}/attention.parquet"));
        let mut strips = 0;
        for panel in views.iter().flat_map(|view| &view.panels) {
            if let Body::Heat(heat) = &panel.body {
                assert!(heat.shape == Shape::Strips && heat.columns.items.len() == 64, "{to}");
                strips += 1;
            }
        }
        assert_eq!(strips, 1, "{to}");
        let texts = |view: &View| view.panels.iter().filter(|panel| matches!(panel.body, Body::Text(_))).count();
        let want: &[usize] = if more.is_empty() { &[1, 1] } else { &[2, 2, 1] };
        assert_eq!(views.iter().map(texts).collect::<Vec<_>>(), want, "{to}");
    }
}

/// Invariant: A token that is looked at much and carries little is called a sink, and marked.
#[test]
fn a_sink_is_called_one() {
    let place = Place::new();
    let row = |head: u32, key_pos: u32, prob: f32, out_norm: f32| AttentionRow {
        prompt_id: "0".into(),
        head,
        query_pos: 2,
        query_token: " c".into(),
        key_pos,
        key_token: ["<s>", " b", " c"][key_pos as usize].into(),
        prob,
        last_key: 2,
        score: Some(0.0),
        value_norm: Some(1.0),
        out_norm: Some(out_norm),
        share: Some(0.0),
        ..AttentionRow::default()
    };
    // The first is looked at by four fifths and carries a tenth; the second is looked at by a tenth.
    let heads = |first: f32| {
        [0, 1].map(|head| [row(head, 0, 0.8, first), row(head, 1, 0.1, 0.5), row(head, 2, 0.1, 0.4)]).concat()
    };
    // In one of two heads only.
    let mut one = heads(0.1);
    one[3].out_norm = Some(5.0);
    let mut writer = TableWriter::create(place.path("one.parquet"), Provenance::default()).unwrap();
    writer.extend(&one).unwrap();
    writer.finish().unwrap();
    let caption = seen(&place, "one.parquet")[1].caption.join(" ");
    assert!(caption.contains("\"<s>\" at 0 is a sink in 1 of 2 heads: looked at much, carrying little."), "{caption}");
    for (name, first, sinks) in [("sink.parquet", 0.1, 1), ("none.parquet", 0.9, 0)] {
        let mut writer = TableWriter::create(place.path(name), Provenance::default()).unwrap();
        writer.extend(&heads(first)).unwrap();
        writer.finish().unwrap();
        let views = seen(&place, name);
        let caption = views[1].caption.join(" ");
        assert_eq!(caption.matches("is a sink").count(), sinks, "{caption}");
        assert!(
            sinks == 0 || caption.contains("\"<s>\" at 0 is a sink: 80 % of the looking, 10 % of what is carried."),
            "{caption}"
        );
        for view in &views {
            for panel in &view.panels {
                for (key, cell) in cells(&panel.body).into_iter().enumerate() {
                    let is = sinks == 1 && key == 0;
                    assert_eq!((cell.mark == Mark::Hit, cell.title.ends_with("a sink")), (is, is), "{}", view.name);
                }
                if let Body::Steps(steps) = &panel.body {
                    assert_eq!(steps.x.items[0].label.contains("(sink)"), sinks == 1);
                }
            }
        }
    }
}

#[test]
fn tokens_that_cannot_be_pushed_are_refused() {
    let place = Place::new();
    for (args, said) in [
        (&["--foil", " John"][..], "there is a foil, and no target"),
        (&["--target", " Mary", "--foil", " Mary"], "the same token"),
        (&["--target", " Mary and"], "token"),
    ] {
        let done = place.pellucid(["attention", TEXT, "--out", "run"].iter().chain(args));
        assert!(done.code == Some(2) && done.stderr.contains(said), "{args:?}: {:?} {}", done.code, done.stderr);
        assert!(!place.path("run").exists(), "{args:?}");
    }
}
