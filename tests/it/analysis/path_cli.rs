//! `pellucid path` as a person runs it: tables, figures, words, and what is refused; on the built-in model.

use crate::view::figures_of;
use pellucid::analysis::path::rows::{Receiver, Sender};
use pellucid::analysis::seen::render_with;
use pellucid::analysis::{PathMeanRow, PathRow};
use pellucid::ops::rounding::unit;
use pellucid::table::{self, Measured, Outcome};
use pellucid::table::{Provenance, read_rows};
use pellucid::view::{Figure, Options};

use crate::analysis::patch_cli::facts;
use crate::bin::{Done, GIVERS, Place};
use crate::bound::PATCHES;
use crate::view::chart::{check, provenance, show};

fn run(place: &Place, more: &[&str]) -> Done {
    let command = ["path", "--out", "run", "--force"];
    place.ok(command.iter().chain(&GIVERS).chain(more))
}

fn rows(place: &Place) -> (Vec<PathRow>, Provenance) {
    read_rows::<PathRow>(place.path("run/path.parquet")).unwrap()
}

/// Where names are brought to the last position, and who says them: what the card of the model and its logit lens tell.
#[test]
fn the_heads_that_say_the_name_are_found() {
    let place = Place::new();
    let done = run(&place, &["--verify", "16"]);
    let (direct, _) = rows(&place);
    assert_eq!(direct.len(), 16);
    let of = |rows: &[PathRow], l: u32| -> f32 {
        rows.iter()
            .filter(|r| r.from.sender_layer == Some(l))
            .map(|r| r.measured.recovered.unwrap().abs())
            .fold(0.0, f32::max)
    };
    // The first blocks say nothing, the last ones do.
    assert!(of(&direct, 0) < 0.02 && of(&direct, 1) < 0.02, "{direct:?}");
    assert!(of(&direct, 2) > 0.2 && of(&direct, 3) > 0.1, "{direct:?}");
    assert!(
        direct.iter().all(|r| r.to.receiver == "logits" && r.to.receiver_layer.is_none() && r.to.through.is_none())
    );
    assert!(
        done.stdout.contains(
            "Path patching attn.z → logits: logit_diff recovered · demo · pair 0 · clean values into the corrupt run\n"
        ),
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains("layer 2     0.28"), "{}", done.stdout);
    let said = "16 paths computed again, each by forward passes of its own: the largest difference is ";
    let worst = done.stderr.split(said).nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(worst.is_some_and(|worst| worst <= PATCHES), "{}", done.stderr);
    // What the strongest of them reads of the heads before, through values.
    let strongest =
        direct.iter().max_by(|a, b| a.measured.recovered.unwrap().total_cmp(&b.measured.recovered.unwrap())).unwrap();
    let to = format!("{}.{}.v", strongest.from.sender_layer.unwrap(), strongest.from.sender_head.unwrap());
    let said = run(&place, &["--to", &to, "--layers", "0,1", "--over", "layer,head", "--through", "mlps"]).stdout;
    let (rows, _) = rows(&place);
    assert!(
        rows.iter().any(|r| r.measured.recovered.unwrap() > 0.05)
            && rows.iter().all(|r| r.to.through.as_deref() == Some("mlps"))
    );
    assert!(said.contains("Path patching attn.z → v of layer "), "{said}");
}

/// Invariant: A figure of paths shows every path and is the same from rows and from the file.
#[test]
fn a_figure_is_the_same_from_the_file_and_says_every_path() {
    let place = Place::new();
    let done =
        run(&place, &["--to", "q,3.v,mlp", "--layers", "0,1", "--metric", "logit_diff,prob", "--direction", "noise"]);
    let (rows, provenance) = rows(&place);
    // To the queries of 1, 2 and 3, to values of 3, to all MLPs; two metrics.
    let heads = [4 * 12 + 4 * 8, 8 * 4, 4 * 4 + 4 * 3];
    assert_eq!(rows.len(), 2 * heads.iter().sum::<usize>());
    let redrawn = render_with(place.path("run/path.parquet"), &Options::default()).unwrap();
    assert_eq!(redrawn, figures_of(&rows, &provenance).unwrap());
    assert_eq!(redrawn.len(), 6);
    for figure in &redrawn {
        assert_eq!(place.read(&format!("run/{}.svg", figure.name)), figure.svg.as_bytes(), "{}", figure.name);
    }
    let named = |name: &str| redrawn.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no {name}"));
    let map = named("path-attn.z-q-logit_diff");
    show(map, "path-map");
    let titles = facts(map);
    assert_eq!(
        titles[0],
        "Path patching attn.z → q: logit_diff recovered−1, demo · pair 0 · corrupt values into the clean run"
    );
    let first = "layer 0, head 0 → layer 1, head 0: logit_diff ";
    let cells = titles.iter().filter(|t| t.contains(" → layer ")).count();
    assert!(titles.iter().any(|t| t.starts_with(first)) && cells == heads[0], "{titles:#?}");
    for words in ["Grey: no path.", "Between sender and receiver everything is frozen."] {
        assert!(texts(map).contains(words), "{words}");
    }
    for label in ["sender: layer (L), head (H)", "receiver: layer (L), head (H)", "L3H3", "L0H2"] {
        assert!(map.svg.contains(&format!(">{label}</text>")), "{label}");
    }
    // One layer of receivers is no axis.
    assert_eq!(
        facts(named("path-attn.z-v-prob"))[0],
        "Path patching attn.z → v of layer 3: prob recovered−1, demo · pair 0 · corrupt values into the clean run"
    );
    assert!(
        done.stdout.contains("Path patching attn.z → mlp: prob recovered−1 · demo · pair 0 ")
            && done.stdout.contains("\nprob recovered−1: 0 as the clean run ("),
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains(" lost") && done.stdout.contains(", head 3 → layer 3"), "{}", done.stdout);
}

/// The words of a figure; captions are broken into lines.
fn texts(figure: &Figure) -> String {
    figure.svg.split("</text>").filter_map(|t| t.rsplit('>').next()).collect::<Vec<_>>().join(" ")
}

#[test]
fn receivers_that_read_together_are_one_row() {
    let place = Place::new();
    let to = "2.0.q,2.3.q,3.mlp";
    run(
        &place,
        &["--to", to, "--together", "--from", "attn_out", "--over", "layer,pos", "--layers", "0,1", "--format", "json"],
    );
    let (rows, _) = rows(&place);
    assert_eq!(rows.len(), 2 * 15);
    for row in &rows {
        assert_eq!(
            (row.to.receiver.as_str(), row.to.receiver_layer, row.to.receiver_head),
            ("2.0.q+2.3.q+3.mlp", None, None)
        );
        assert_eq!(row.from.token.is_some(), row.from.pos.is_some());
    }
    let figure = String::from_utf8(place.read("run/path-attn_out-2.0.q_2.3.q_3.mlp-logit_diff.svg")).unwrap();
    assert!(figure.contains("Path patching attn_out → 2.0.q+2.3.q+3.mlp: logit_diff recovered"));
}

#[test]
fn pairs_have_means_over_them() {
    let place = Place::new();
    let pair = |a: &str, b: &str| {
        let clean = GIVERS[1].replace("Mary", "X").replace("John", b).replace('X', a);
        let corrupt = clean.replace(&format!(", {b} gave"), &format!(", {a} gave"));
        format!("\"{clean}\",\"{corrupt}\", {a}, {b}\n")
    };
    let file = format!("clean,corrupt,answer,foil\n{}{}", pair("Mary", "John"), pair("Anna", "Paul"));
    place.write("pairs.csv", file);
    let over = ["--from", "mlp_out", "--over", "layer", "--to", "3.q,logits"];
    let done = place.ok(["path", "--pairs", "pairs.csv", "--out", "run"].iter().chain(&over));
    let (rows, _) = rows(&place);
    let (means, provenance) = read_rows::<PathMeanRow>(place.path("run/path_mean.parquet")).unwrap();
    // Three layers to the four heads of the last, four to the logits.
    assert_eq!((rows.len(), means.len()), (2 * 16, 16));
    for mean in &means {
        let place = |r: &PathRow| (r.from.sender_layer, r.to.receiver.clone(), r.to.receiver_layer, r.to.receiver_head);
        let same = |r: &&PathRow| {
            place(r)
                == (mean.from.sender_layer, mean.to.receiver.clone(), mean.to.receiver_layer, mean.to.receiver_head)
        };
        let own: Vec<f32> = rows.iter().filter(same).map(|r| r.measured.recovered.unwrap()).collect();
        assert_eq!(own.len(), 2);
        // Made in f64 there and in f32 here, of two numbers: a sum, rounded, and their mean, rounded once more.
        let allowed = 2.0 * unit(candle_core::DType::F32) * f64::from(own[0].abs() + own[1].abs());
        let near = |got: Option<f32>, want: f32| f64::from((got.unwrap() - want).abs()) <= allowed;
        assert!(near(mean.measured.recovered, (own[0] + own[1]) / 2.0), "{mean:?} {own:?}");
        assert!(near(mean.measured.recovered_se, (own[0] - own[1]).abs() / 2.0), "{mean:?} {own:?}");
    }
    assert_eq!(figures_of(&means, &provenance).unwrap().len(), 2);
    assert!(place.path("run/path_mean-mlp_out-logits-logit_diff.svg").exists());
    assert!(
        done.stdout.contains("Path patching mlp_out → logits: mean logit_diff recovered · demo · mean of 2 pairs"),
        "{}",
        done.stdout
    );
}

/// As large as GPT-2 small: every head to the queries of every later one.
#[test]
fn large_maps_show_the_strongest() {
    let mut rows = vec![];
    for (l, h) in (0..12).flat_map(|l| (0..12).map(move |h| (l, h))) {
        for (to_l, to_h) in (l + 1..12).flat_map(|l| (0..12).map(move |h| (l, h))) {
            let strong = (l, h, to_l, to_h) == (8, 6, 9, 9);
            let share = if strong { 0.4 } else { ((l * 31 + h * 17 + to_l * 7 + to_h) % 97) as f32 / 3000.0 };
            rows.push(PathRow {
                from: Sender { sender_layer: Some(l), sender_head: Some(h), ..bare().from },
                to: Receiver {
                    receiver_layer: Some(to_l),
                    receiver_head: Some(to_h),
                    receiver_kv_head: Some(to_h),
                    ..bare().to
                },
                measured: Measured { patched: Some(-6.0 + 10.0 * share), recovered: Some(share), ..bare().measured },
                ..bare()
            });
        }
    }
    let figures = figures_of(&rows, &provenance()).unwrap();
    let [figure] = &figures[..] else { panic!("{} figures", figures.len()) };
    show(figure, "path-large");
    let titles = check(figure);
    assert!(titles.iter().any(|t| t.starts_with("layer 8, head 6 → layer 9, head 9: ")));
    assert!(texts(figure).contains("Of 132 rows, the 60 with the strongest effects are shown."));
    assert!(figure.svg.len() < 3_000_000, "{}", figure.svg.len());
}

fn bare() -> PathRow {
    PathRow {
        pair: 0,
        pair_id: "0".into(),
        from: Sender {
            sender: "attn.z".into(),
            sender_layer: None,
            sender_head: None,
            sender_neuron: None,
            pos: None,
            position_name: None,
            token: None,
        },
        to: Receiver {
            receiver: "q".into(),
            receiver_layer: None,
            receiver_head: None,
            receiver_kv_head: None,
            through: None,
        },
        measured: Measured {
            metric: "logit_diff".into(),
            clean: 4.0,
            corrupt: Some(-6.0),
            patched: Some(-6.0),
            recovered: Some(0.0),
        },
        done: table::Done { kind: "replace".into(), direction: Some("denoise".into()), at_once: None },
        outcome: Outcome { changed: true, reached: true, not_finite: None },
    }
}

#[test]
fn hostile_words_are_shown_not_obeyed() {
    let hostile = "<script>alert(1)</script>\u{1b}[2J\u{202e}";
    let row = |pos: u32| PathRow {
        from: Sender { sender: hostile.into(), token: Some(hostile.into()), pos: Some(pos), ..bare().from },
        to: Receiver { receiver: format!("{hostile}{hostile}"), through: Some(hostile.into()), ..bare().to },
        pair_id: hostile.into(),
        ..bare()
    };
    for figure in figures_of(&[row(0), row(1)], &provenance()).unwrap() {
        check(&figure);
        assert!(!figure.svg.contains("<script>"));
    }
}

#[test]
fn what_has_no_path_or_no_meaning_is_refused() {
    let place = Place::new();
    let refused = |more: &[&str], says: &str| {
        place.refused(["path"].iter().chain(&GIVERS).chain(more), 2, says);
    };
    refused(&["--to", "0.1.q"], "no path leads to `0.1.q`");
    refused(&["--to", "2.1.p"], "there is no receiver `2.1.p`");
    refused(&["--to", "mlps"], "did you mean `mlp`?");
    refused(&["--from", "resid_pre", "--over", "layer"], "not a part of what is written to the stream");
    refused(&["--from", "mlp_out"], "has no heads to go over");
    refused(&["--layers", "3", "--to", "1.q"], "no path leads to `1.q`");
    refused(&["--kind", "knock-out"], "has no edges to knock out");
    refused(&["--to", "1.q,logits", "--together"], "what the logits read is the end");
    refused(&["--pos", "15"], "15 is not one of them");
}
