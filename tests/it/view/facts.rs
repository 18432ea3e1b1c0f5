//! Figures and words name what was done: the kind, the run, noise and its samples, windows, prompts or pairs. All of it comes from the
//! columns of the rows, and none from the command in the provenance.

use pellucid::analysis::seen::render;
use pellucid::analysis::{
    AttentionRow, AttributionMeanRow, AttributionRow, LensMeanRow, LensRow, PatchMeanRow, PatchRow, PathMeanRow,
    PathRow,
};
use pellucid::table::{Provenance, Row, TableWriter, read_provenance, read_rows};
use pellucid::view::Figure;

use crate::analysis::patch_cli::facts;
use crate::bin::{GIVERS, Place};
use crate::view::chart::show;
use crate::view::patch::contains;
use crate::view::scale::figures;

const CLEAN: &str = GIVERS[1];
const ALONE: [&str; 6] = ["--clean", CLEAN, "--answer", " Mary", "--foil", " John"];

/// Everything that a figure says, captions and titles, in one line.
fn words(figure: &Figure) -> String {
    let xml = roxmltree::Document::parse(&figure.svg).unwrap();
    let all = xml.descendants().filter(|n| n.has_tag_name("text") || n.has_tag_name("title"));
    all.filter_map(|n| n.text()).collect::<Vec<_>>().join(" ")
}

/// The same without its `<desc>`, in which the provenance is.
fn drawn(svg: &str) -> String {
    let (before, rest) = svg.split_once("<desc>").unwrap();
    format!("{before}{}", rest.split_once("</desc>").unwrap().1)
}

/// Writes the table at `path` again as if another command had made it.
fn forge<R: Row>(path: &std::path::Path, to: &std::path::Path) {
    let (rows, how) = read_rows::<R>(path).unwrap();
    let command = ["pellucid", "ablate", "--kind", "scale=7", "--direction", "noise", "--noise", "9", "--window", "8"];
    let how = Provenance { command: command.map(str::to_owned).to_vec(), ..how };
    let mut table = TableWriter::create(to, how).unwrap();
    table.extend(&rows).unwrap();
    table.finish().unwrap();
}

/// Invariant: Figures and words read what was done from the rows alone: another command in the provenance draws the same picture;
/// ablations are labelled by prompt, noise by sample.
#[test]
fn no_figure_reads_the_command() {
    let place = Place::new();
    place.write("other.txt", "Once upon a time there was a little girl named Lily and she had a dog\n");
    let pair = |one: &str, two: &str| {
        let text = |giver: &str| format!("When {one} and {two} went to the store; {giver} gave a drink to");
        format!("{},{}, {one}, {two}\n", text(two), text(one))
    };
    place.write("pairs.csv", format!("clean,corrupt,answer,foil\n{}{}", pair("Mary", "John"), pair("Anna", "Tom")));
    let traced = ["--noise", "3", "--subject", "Mary", "--samples", "2", "--window", "2", "--over", "layer,pos"];
    let runs: [(&str, Vec<&str>); 13] = [
        ("patch", [&GIVERS[..], &["--at", "z", "--over", "layer,head"]].concat()),
        ("patch", [&GIVERS[..], &["--direction", "noise", "--at", "mlp_out", "--over", "layer"]].concat()),
        ("patch", [&GIVERS[..], &["--kind", "zero", "--direction", "noise", "--over", "pos"]].concat()),
        ("patch", [&GIVERS[..], &["--at", "pattern", "--over", "layer,head,query_pos,key_pos"]].concat()),
        ("patch", [&ALONE[..], &["--at", "mlp_out"], &traced].concat()),
        ("path", [&GIVERS[..], &["--direction", "noise", "--to", "logits,3.q"]].concat()),
        ("ablate", vec![CLEAN, "The nurse said that", "--kind", "mean", "--dataset", "other.txt"]),
        ("ablate", vec![CLEAN, "--kind", "zero", "--unit", "layer"]),
        ("attribute", [&GIVERS[..], &["--direction", "noise", "--confirm", "5"]].concat()),
        ("lens", vec![CLEAN, "--target", " Mary", "--at", "attn_out"]),
        ("lens", vec![CLEAN, "The nurse said that", "--target", " Mary", "--foil", " John"]),
        ("attribute", vec!["--pairs", "pairs.csv", "--direction", "noise", "--at", "z,mlp_out"]),
        ("attention", vec![CLEAN, "--min-prob", "0.01"]),
    ];
    for (i, (command, options)) in runs.iter().enumerate() {
        let out = i.to_string();
        place.ok([&[*command, "-q", "--out", &out][..], &options[..]].concat());
        let tables: Vec<_> = (fs_err::read_dir(place.path(&out)).unwrap())
            .map(|file| file.unwrap().path())
            .filter(|file| file.extension().is_some_and(|e| e == "parquet"))
            .collect();
        assert!(!tables.is_empty());
        for path in tables {
            let forged = place.path("forged.parquet");
            match read_provenance(&path).unwrap().table.as_str() {
                "patch" => forge::<PatchRow>(&path, &forged),
                "patch_mean" => forge::<PatchMeanRow>(&path, &forged),
                "path" => forge::<PathRow>(&path, &forged),
                "path_mean" => forge::<PathMeanRow>(&path, &forged),
                "logit_lens" => forge::<LensRow>(&path, &forged),
                "logit_lens_mean" => forge::<LensMeanRow>(&path, &forged),
                "attribution_mean" => forge::<AttributionMeanRow>(&path, &forged),
                "attention" => forge::<AttentionRow>(&path, &forged),
                _ => forge::<AttributionRow>(&path, &forged),
            }
            let (own, other) = (render(&path).unwrap(), render(&forged).unwrap());
            assert_eq!(own.len(), other.len());
            for (own, other) in own.iter().zip(&other) {
                assert_ne!(own.svg, other.svg, "the description has the command");
                assert_eq!(own.name, other.name);
                assert!(drawn(&own.svg) == drawn(&other.svg), "{command} {options:?}: {}", own.name);
                // What was drawn with the table is what is drawn from it.
                let file = place.read(&format!("{out}/{}.svg", own.name));
                assert!(file == own.svg.as_bytes(), "{command} {options:?}: {}", own.name);
            }
        }
    }
}

/// Invariant: as `no_figure_reads_the_command`.
#[test]
fn ablations_are_called_so_and_are_of_prompts() {
    let place = Place::new();
    let said = place.ok(["ablate", CLEAN, "The nurse said that", "--kind", "zero", "--out", "zero"]).stdout;
    assert!(
        said.starts_with("Zero ablation of attn.z: mean change of loss_nats · demo · mean of 2 prompts\nStrongest of 16 ablations: layer "),
        "{said}"
    );
    let all = figures(&place, "zero");
    assert_eq!(all.len(), 3);
    for figure in &all {
        show(figure, &format!("facts-{}", figure.name));
        let words = words(figure);
        assert!(facts(figure)[0].starts_with("Zero ablation of attn.z: "), "{words}");
        assert!(contains(figure, "of the ablated run minus that of the clean run"), "{words}");
        // There is one prompt in each run: no pair, and nothing is patched.
        for wrong in ["pair", "Patching", "patched", "corrupt"] {
            assert!(!words.contains(wrong), "{}: {wrong} in {words}", figure.name);
        }
        assert!(words.contains("prompt"), "{words}");
    }
    let mean = all.iter().find(|f| f.name.starts_with("patch_mean")).unwrap();
    assert!(contains(mean, "Means, with standard errors over prompts") && contains(mean, "mean of 2 prompts"));
    assert!(!said.contains("pair"), "{said}");
    for (kind, title) in
        [("mean", "Mean ablation of attn.z: "), ("mean-by-position", "Mean ablation (by position) of attn.z: ")]
    {
        place.ok(["ablate", "-q", CLEAN, "The nurse said that", "--kind", kind, "--out", kind]);
        assert!(facts(&figures(&place, kind)[0])[0].starts_with(title));
    }
    // Of pairs, in the run that is said.
    let zero = |direction: &str| {
        place.ok([
            &["patch", "-q", "--kind", "zero", "--at", "z", "--over", "layer,head", "--direction", direction][..],
            &GIVERS[..],
            &["--out", direction],
        ]
        .concat());
        facts(&figures(&place, direction)[0])[0].clone()
    };
    assert!(zero("noise").ends_with("· pair 0 · in the clean run"));
    assert!(zero("denoise").ends_with("· pair 0 · in the corrupt run"));
}

#[test]
fn the_direction_is_named() {
    let place = Place::new();
    let head = |direction: &str| {
        let said =
            place.ok([&["patch", "--direction", direction][..], &GIVERS[..], &["--out", direction]].concat()).stdout;
        (facts(&figures(&place, direction)[0])[0].clone(), said.lines().next().unwrap().to_owned())
    };
    let (title, said) = head("denoise");
    assert!(title.ends_with("demo · pair 0 · clean values into the corrupt run"), "{title}");
    assert_eq!(said, "Patching resid_pre: logit_diff recovered · demo · pair 0 · clean values into the corrupt run");
    let (title, said) = head("noise");
    assert!(title.ends_with("demo · pair 0 · corrupt values into the clean run"), "{title}");
    assert_eq!(said, "Patching resid_pre: logit_diff recovered−1 · demo · pair 0 · corrupt values into the clean run");
}

/// Invariant: as `no_figure_reads_the_command`.
#[test]
fn samples_of_noise_are_samples_of_one_prompt() {
    let place = Place::new();
    let traced =
        ["--noise", "3", "--subject", "Mary", "--samples", "4", "--window", "2", "--at", "mlp_out", "--over", "layer"];
    let said = place.ok([&["patch", "--out", "run"][..], &ALONE[..], &traced].concat()).stdout;
    let (rows, _) = read_rows::<PatchRow>(place.path("run/patch.parquet")).unwrap();
    let (means, _) = read_rows::<PatchMeanRow>(place.path("run/patch_mean.parquet")).unwrap();
    assert_eq!((rows.len(), means.len()), (16, 4));
    for (i, row) in rows.iter().enumerate() {
        assert_eq!((row.pair, row.pair_id.as_str(), row.sample), (0, "0", Some(i as u32 / 4)));
        assert_eq!(
            (row.around.noise, row.around.noise_at.as_deref(), row.around.noise_tokens.as_deref()),
            (Some(3.0), Some("2"), Some(" Mary"))
        );
        assert_eq!(row.around.window, 2);
    }
    // Other noise each time, so another corrupt run.
    let mut corrupt: Vec<f32> = rows.iter().map(|r| r.measured.corrupt.unwrap()).collect();
    corrupt.dedup();
    assert_eq!(corrupt.len(), 4, "{corrupt:?}");
    for mean in &means {
        assert_eq!((mean.measured.pairs, mean.samples), (1, Some(4)));
        assert_eq!((mean.around.noise_at.as_deref(), mean.around.noise_tokens.as_deref()), (Some("2"), Some(" Mary")));
        let own: Vec<f64> = rows
            .iter()
            .filter(|r| r.place.layer == mean.place.layer)
            .map(|r| f64::from(r.measured.recovered.unwrap()))
            .collect();
        let (average, error) = textbook(&own);
        assert!((f64::from(mean.measured.recovered.unwrap()) - average).abs() < 1e-6, "{mean:?} {own:?}");
        assert!((f64::from(mean.measured.recovered_se.unwrap()) - error).abs() < 1e-6, "{mean:?} {own:?}");
    }
    let all = figures(&place, "run");
    let names: Vec<&str> = all.iter().map(|f| f.name.as_str()).collect();
    let of_sample = |s: u32| format!("patch-mlp_out-logit_diff-s{s}");
    assert_eq!(names[..4], [of_sample(0), of_sample(1), of_sample(2), of_sample(3)]);
    assert_eq!(names[4..], ["patch_mean-mlp_out-logit_diff"]);
    for figure in &all {
        show(figure, &format!("facts-{}", figure.name));
        let words = words(figure);
        assert!(!words.contains("pair") && !words.contains("corrupt"), "{words}");
        assert!(facts(figure)[0].starts_with("Causal tracing of mlp_out in windows of 2 layers: "), "{words}");
        assert!(words.contains("clean values into the noised run · noise of 3 deviations on \"·Mary\""), "{words}");
        assert!(words.contains("noise of 3 deviations on the embedding of position 2, \"·Mary\"."), "{words}");
        assert!(contains(figure, "layer (middle of 2)") && words.contains("2 layers around 3: "), "{words}");
    }
    assert!(contains(&all[2], "prompt 0, noise sample 2") && contains(&all[4], "mean of 4 noise samples"));
    assert!(contains(&all[4], "with standard errors over noise samples."));
    let first = "Causal tracing of mlp_out in windows of 2 layers: mean logit_diff recovered · demo · mean of 4 noise samples · clean values into the noised run";
    assert!(said.starts_with(first) && !said.contains("pair"), "{said}");
}

/// Standard errors are over prompts, not over samples: ten samples of one prompt are not ten prompts.
///
/// Invariant: as `no_figure_reads_the_command`.
#[test]
fn means_are_over_samples_first_and_then_over_prompts() {
    let place = Place::new();
    let prompts = [
        "When Mary and John went to the store, John gave a drink to",
        "When Mary and Paul went to the office, Paul gave a book to",
    ];
    let pair = |(prompt, foil): (&str, &str)| format!("\"{prompt}\", Mary, {foil}\n");
    place
        .write("pairs.csv", format!("clean,answer,foil\n{}{}", pair((prompts[0], "John")), pair((prompts[1], "Paul"))));
    let traced = ["--noise", "3", "--subject", "Mary", "--samples", "3", "--at", "resid_pre", "--over", "layer"];
    let said = place.ok([&["patch", "--pairs", "pairs.csv", "--out", "run"][..], &traced].concat()).stdout;
    let (rows, _) = read_rows::<PatchRow>(place.path("run/patch.parquet")).unwrap();
    let (means, _) = read_rows::<PatchMeanRow>(place.path("run/patch_mean.parquet")).unwrap();
    assert_eq!((rows.len(), means.len()), (24, 4));
    for mean in &means {
        assert_eq!((mean.measured.pairs, mean.samples), (2, Some(3)));
        let of_prompt = |pair: u32| {
            let own = rows
                .iter()
                .filter(|r| r.place.layer == mean.place.layer && r.pair == pair)
                .map(|r| f64::from(r.measured.recovered.unwrap()));
            textbook(&own.collect::<Vec<_>>()).0
        };
        let (average, error) = textbook(&[of_prompt(0), of_prompt(1)]);
        assert!((f64::from(mean.measured.recovered.unwrap()) - average).abs() < 1e-6, "{mean:?}");
        assert!((f64::from(mean.measured.recovered_se.unwrap()) - error).abs() < 1e-6, "{mean:?}");
    }
    assert!(said.contains(" · demo · mean of 2 prompts, 3 noise samples each · "), "{said}");
    let names: Vec<String> = figures(&place, "run").into_iter().map(|f| f.name).collect();
    assert!(names.iter().any(|n| n == "patch-resid_pre-logit_diff-p1-s2"), "{names:?}");
}

/// Mean, and its standard error: the sample's deviation over the root of its size.
fn textbook(of: &[f64]) -> (f64, f64) {
    let n = of.len() as f64;
    let mean = of.iter().sum::<f64>() / n;
    (mean, (of.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt())
}
