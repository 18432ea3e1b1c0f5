//! `patch` and `ablate` as a person runs them: means over pairs, checks at run time, and what is refused.

use pellucid::analysis::seen::render;
use pellucid::analysis::{PatchMeanRow, PatchRow};
use pellucid::model::Batch;
use pellucid::ops::rounding::unit;
use pellucid::session::Session;
use pellucid::table::read_rows;
use pellucid::text::Bos;
use pellucid::view::Figure;

use crate::bin::{Place, model};
use crate::bound::{PATCHES, drift};
use crate::view::chart::show;

const PAIRS: &str = "clean,corrupt,answer,foil
\"When Mary and John went to the store, John gave a drink to\",\"When Mary and John went to the store, Mary gave a drink to\", Mary, John
\"When Anna and Paul went to the office, Paul gave a book to\",\"When Anna and Paul went to the office, Anna gave a book to\", Anna, Paul
\"When Mark and Mary went to the store, Mary gave a letter to\",\"When Mark and Mary went to the store, Mark gave a letter to\", Mark, Mary
";

fn place() -> Place {
    let place = Place::new();
    place.write("pairs.csv", PAIRS);
    place
}

/// The only figure of the folder whose name begins so.
fn figure(place: &Place, folder: &str, name: &str) -> Figure {
    let svg = String::from_utf8(place.read(&format!("{folder}/{name}.svg"))).unwrap();
    Figure { name: name.into(), svg, scale: 1.0 }
}

/// What the figure says where one points at it; of the whole figure first.
pub(crate) fn facts(figure: &Figure) -> Vec<String> {
    let xml = roxmltree::Document::parse(&figure.svg).unwrap();
    let titles = xml.descendants().filter(|n| n.has_tag_name("title"));
    titles.map(|n| n.text().unwrap_or_default().to_owned()).collect()
}

/// Invariant: Means over pairs are the means of the pairs' rows, and so are their figures, error bars included.
#[test]
fn means_over_pairs_have_a_figure_and_are_what_the_terminal_says() {
    let place = place();
    let said = place.ok(["patch", "--pairs", "pairs.csv", "--at", "resid_pre", "--out", "run"]).stdout;
    let (rows, _) = read_rows::<PatchRow>(place.path("run/patch.parquet")).unwrap();
    let (means, provenance) = read_rows::<PatchMeanRow>(place.path("run/patch_mean.parquet")).unwrap();
    assert_eq!((rows.len(), means.len()), (180, 60));
    for mean in &means {
        let own: Vec<&PatchRow> =
            rows.iter().filter(|r| (r.place.layer, r.place.pos) == (mean.place.layer, mean.place.pos)).collect();
        let average = |of: &dyn Fn(&PatchRow) -> f32| own.iter().map(|r| f64::from(of(r))).sum::<f64>() / 3.0;
        let recovered = average(&|r| r.measured.recovered.unwrap());
        let squares = own.iter().map(|r| (f64::from(r.measured.recovered.unwrap()) - recovered).powi(2)).sum::<f64>();
        // The rows' numbers in f64, rounded to f32 once at the end; the differences of the last are here made in f32.
        let near = |got: f32, want: f64, size: f64| {
            assert!((f64::from(got) - want).abs() <= 2.0 * unit(candle_core::DType::F32) * size, "{got} {want}");
        };
        near(mean.measured.recovered.unwrap(), recovered, recovered.abs());
        near(
            mean.measured.recovered_se.unwrap(),
            (squares / 2.0 / 3.0).sqrt(),
            average(&|r| r.measured.recovered.unwrap().abs()),
        );
        near(
            mean.measured.change.unwrap(),
            average(&|r| r.measured.patched.unwrap() - r.measured.clean),
            average(&|r| r.measured.patched.unwrap().abs() + r.measured.clean.abs()),
        );
        // A token that all pairs have is the place's.
        let same = own.iter().all(|r| r.place.token == own[0].place.token);
        assert_eq!(mean.place.token, own[0].place.token.clone().filter(|_| same));
    }
    let drawn = figure(&place, "run", "patch_mean-resid_pre-logit_diff");
    show(&drawn, "patch-mean");
    let titles = facts(&drawn);
    assert_eq!(
        titles[0],
        "Patching resid_pre: mean logit_diff recovered, demo · mean of 3 pairs · clean values into the corrupt run"
    );
    assert!(titles.iter().any(|t| t.starts_with("layer 0, position 10 \"…\": ")), "{titles:?}");
    let top = means.iter().find(|m| (m.place.layer, m.place.pos) == (Some(3), Some(14))).unwrap();
    let share = |x: Option<f32>| f64::from(x.unwrap()) * 100.0;
    let (recovered, se) = (share(top.measured.recovered), share(top.measured.recovered_se));
    // Two significant digits of the error.
    let decimals = if se >= 9.95 { 0 } else { 2 - usize::from(se >= 0.995) };
    let words = format!("{recovered:.0} ± {se:.decimals$} % recovered");
    let title = titles.iter().find(|t| t.starts_with("layer 3, position 14 \"·to\"")).unwrap();
    assert!(title.ends_with(&format!("{words}, mean of 3 pairs")), "{title} {words}");
    assert!(
        said.starts_with(
            "Patching resid_pre: mean logit_diff recovered · demo · mean of 3 pairs · clean values into the corrupt run\nStrongest of 60 patches: "
        ),
        "{said}"
    );
    assert!(said.lines().any(|l| l.starts_with("  layer 3, position 14 \"·to\"") && l.ends_with(&words)), "{said}");
    // The file is all that a figure needs, and each pair has its own.
    let of_pairs = render(place.path("run/patch.parquet")).unwrap();
    assert_eq!(of_pairs.len(), 3);
    assert!(of_pairs.iter().all(|f| figure(&place, "run", &f.name) == *f));
    assert!(render(place.path("run/patch_mean.parquet")).unwrap() == [drawn]);
    place.ok(["chart", "run/patch_mean.parquet", "--out", "again"]);
    assert!(
        crate::view::figures_of::<PatchMeanRow>(&[], &provenance).unwrap_err().message().contains("no rows to draw")
    );
}

/// Invariant: as `means_over_pairs_have_a_figure_and_are_what_the_terminal_says`.
#[test]
fn bars_and_lines_of_means_have_whiskers_as_long_as_their_errors() {
    let place = place();
    for (at, over) in [("mlp_out", "layer"), ("z", "head")] {
        place.ok(["patch", "-q", "--pairs", "pairs.csv", "--at", at, "--over", over, "--out", over]);
        let name = format!("patch_mean-{}-logit_diff", if at == "z" { "attn.z" } else { at });
        let drawn = figure(&place, over, &name);
        show(&drawn, &name);
        let xml = roxmltree::Document::parse(&drawn.svg).unwrap();
        let numbers = |n: roxmltree::Node| -> Vec<f64> {
            n.attribute("points").unwrap().split([' ', ',']).map(|x| x.parse().unwrap()).collect()
        };
        let ink = xml.descendants().filter(|n| n.attribute("stroke") == Some("#1c1c1e")).map(numbers);
        // From (x, y) to (x, y): upright, as a whisker is, and shorter than an axis.
        let upright = ink.filter(|p| p.len() == 4 && p[0] == p[2] && (p[1] - p[3]).abs() < 200.0);
        let whiskers: Vec<[f64; 2]> = upright.map(|p| [(p[1] + p[3]) / 2.0, (p[1] - p[3]).abs()]).collect();
        let (means, _) = read_rows::<PatchMeanRow>(place.path(&format!("{over}/patch_mean.parquet"))).unwrap();
        assert_eq!(whiskers.len(), means.len(), "{at}");
        let of = |i: usize| {
            (f64::from(means[i].measured.recovered.unwrap()), f64::from(means[i].measured.recovered_se.unwrap()))
        };
        // Their middles say how many pixels one is.
        let last = means.len() - 1;
        let scale = ((whiskers[0][0] - whiskers[last][0]) / (of(last).0 - of(0).0)).abs();
        for (i, [middle, length]) in whiskers.iter().enumerate() {
            let (value, error) = of(i);
            // Coordinates have two decimals.
            assert!((length - 2.0 * error * scale).abs() < 0.5, "{at}: {whiskers:?} {means:?}");
            assert!((middle - whiskers[0][0] - (of(0).0 - value) * scale).abs() < 0.5, "{at}: {whiskers:?} {means:?}");
        }
    }
}

/// Invariant: `--verify` draws its sample from all patches, also from those that change nothing.
#[test]
fn as_many_as_asked_are_computed_again_of_all_pairs_and_of_what_changes_nothing() {
    let place = place();
    let verified = |more: &[&str]| {
        let mut command =
            vec!["patch", "--pairs", "pairs.csv", "--at", "resid_pre", "--out", "run", "--force", "--verify"];
        command.extend(more);
        let stderr = place.ok(command).stderr;
        stderr.lines().find(|l| l.contains("computed again")).unwrap_or_default().to_owned()
    };
    assert!(verified(&["7"]).starts_with("7 patches computed again"));
    // All of them: those that change nothing, too.
    let all = verified(&["1000"]);
    assert!(all.starts_with("180 patches computed again"), "{all}");
    let worst: f64 = all.split("difference is ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(worst > 0.0 && worst <= PATCHES, "{all}");
    // What is drawn depends on the seed.
    let few: Vec<String> = (0..6).map(|seed| verified(&["2", "--seed", &seed.to_string()])).collect();
    assert!(few.iter().any(|line| *line != few[0]), "{few:?}");
}

#[test]
fn the_experts_of_a_layer_are_patched_together() {
    let place = Place::new();
    let m = model("mixtral");
    let pair = ["--clean", "#3,14,15,92,65", "--corrupt", "#3,27,15,18,65", "--answer", "#7", "--foil", "#42"];
    let mut command = vec!["patch", "-m", &m, "--at", "blocks.*.mlp.experts.*.hook_post", "--verify", "99"];
    command.extend(pair);
    let done = place.ok([&command[..], &["--over", "layer", "--out", "a"]].concat());
    assert!(done.stderr.contains("2 patches computed again"), "{}", done.stderr);
    let (rows, _) = read_rows::<PatchRow>(place.path("a/patch.parquet")).unwrap();
    assert_eq!(rows.iter().map(|r| r.place.layer).collect::<Vec<_>>(), [Some(0), Some(1)]);
}

/// Invariant: Ablating a file of prompts gives the ablation of each prompt.
#[test]
fn ablations_of_a_corpus_are_those_of_each_prompt() {
    let place = Place::new();
    let prompts = ["The nurse", "When Mary and John went to the store", "Paul lives in"];
    let demo = Session::open("demo").unwrap();
    let ids = prompts.map(|text| {
        let tokens = demo.tokenizer.as_ref().unwrap().encode(text, Bos::default()).unwrap();
        tokens.iter().map(|t| t.id).collect::<Vec<u32>>()
    });
    let rounding = drift("demo", &demo.model, &Batch::of(ids)).metric();
    place.write("corpus.txt", prompts.map(|p| format!("{p}\n")).concat());
    for unit in ["head", "attention", "mlp", "layer", "neuron"] {
        for kind in ["zero", "mean", "resample"] {
            let some = if unit == "neuron" { vec!["--neurons", "0,7"] } else { vec![] };
            let command = ["ablate", "-q", "--unit", unit, "--kind", kind, "--dataset", "corpus.txt"];
            let command = [&command[..], &some].concat();
            // The longest is the only one that is long enough for all, whatever is drawn.
            let longest = format!("{}\n", prompts[1]);
            place.write(
                "corpus.txt",
                if kind == "resample" { longest } else { prompts.map(|p| format!("{p}\n")).concat() },
            );
            let all = [&command[..], &prompts[..], &["--out", "all", "--force"]].concat();
            place.ok(all);
            let (rows, _) = read_rows::<PatchRow>(place.path("all/patch.parquet")).unwrap();
            let mut alone = vec![];
            for (i, prompt) in prompts.iter().enumerate() {
                place.ok([&command[..], &[prompt, "--out", "one", "--force"]].concat());
                let (own, _) = read_rows::<PatchRow>(place.path("one/patch.parquet")).unwrap();
                alone.extend(own.into_iter().map(|r| PatchRow { pair: i as u32, pair_id: i.to_string(), ..r }));
            }
            assert_eq!(rows.len(), alone.len());
            for (a, b) in rows.iter().zip(&alone) {
                assert_eq!(
                    (&a.pair_id, &a.place.site, a.place.layer, a.place.head, &a.measured.metric),
                    (&b.pair_id, &b.place.site, b.place.layer, b.place.head, &b.measured.metric)
                );
                // Another number of rows may take another kernel.
                let far = f64::from((a.measured.patched.unwrap() - b.measured.patched.unwrap()).abs());
                assert!(far <= rounding, "{unit} {kind}: {a:?} {b:?}");
            }
            // A prompt's own values are no other: its resampling changes nothing.
            let own = rows.iter().filter(|r| r.pair == 1 && r.measured.patched != Some(r.measured.clean)).count();
            assert_eq!(own == 0, kind == "resample", "{unit} {kind}");
        }
    }
}

#[test]
fn what_would_do_nothing_or_cannot_be_is_refused() {
    let place = place();
    const ONE: [&str; 9] =
        ["patch", "--clean", "When Mary", "--corrupt", "When John", "--answer", " Mary", "--foil", " John"];
    let refused = |more: &[&str], says: &str| place.refused(ONE.iter().chain(more), 2, says);
    refused(&["--window", "0"], "--window");
    refused(&["--kind", "noise=0"], "noise of 0 deviations is none");
    refused(&["--kind", "noise=-1"], "noise of -1 deviations is none");
    refused(&["--kind", "scale=inf"], "`inf` is not a number");
    refused(&["--kind", "zerro"], "there is no kind of patch `zerro`");
    refused(&["--kind", "mean"], "takes values of a dataset");
    refused(&["--kind", "knock-out", "--at", "attn_scores"], "sees no key at all");
    refused(&["--kind", "knock-out", "--at", "z"], "has no edges to knock out");
    refused(&["--at", "resid_pree"], "no hook `resid_pree`");
    refused(&["--at", "logits", "--over", "pos"], "cannot be patched");
    refused(&["--over", "layer,haed"], "does not go over `haed`");
    refused(&["--over", "layer,head"], "has no heads to go over");
    refused(&["--pos", "7"], "and 7 is not one of them");
    refused(&["--layers", "4"], "there are 4 layers (0-3), and 4 is not one");
    refused(&["--metric", "loos"], "there is no metric `loos`");
    refused(&["--measure-at", "-9"], "and -9 is not one of them");
    refused(&["--resume"], "holds no stopped run");
    refused(&["--memory", "0"], "--memory");
    refused(&["--samples", "3"], "are about --noise");
    refused(&["--subject", "Mary"], "are about --noise");
    let noised: [&str; 7] = ["patch", "--clean", "When Mary", "--answer", " Mary", "--foil", " John"];
    let refused = |more: &[&str], says: &str| place.refused(noised.iter().chain(more), 2, says);
    refused(&["--noise", "3"], "which embeddings get the noise");
    refused(&["--noise", "nan", "--subject", "Mary"], "is none");
    refused(&["--noise", "3", "--subject", "Bob"], "is not in the clean prompt");
    refused(&["--noise", "3", "--noise-at", "9"], "and 9 is not one of them");
    refused(&["--noise", "3", "--subject", "Mary", "--samples", "0"], "--samples");
    refused(&[], "no corrupt prompt to take values of");
    place.refused(["ablate", "a b", "--kind", "replace"], 2, "no corrupt prompt");
    place.refused(["ablate", "a b", "--metric", "logit_diff"], 2, "needs an answer");
    place.refused(["ablate"], 2, "there is no prompt");
}
