//! Means of attributions over pairs: anybody can make them again from the rows of single pairs.

use std::collections::BTreeMap;

use pellucid::Result;
use pellucid::analysis::{AttributionMeanRow, AttributionRow};
use pellucid::ops::rounding::unit;
use pellucid::table::read_rows;

use crate::bin::Place;

/// Pairs of the demo, of prompts of two lengths.
fn place() -> Place {
    let place = Place::new();
    let mut pairs = String::from("id,clean,corrupt,answer,foil,s2\n");
    for (i, (one, two, begin)) in
        [("Mary", "John", "When"), ("Anna", "Tom", "When"), ("Emma", "Tom", "Then when"), ("Ben", "Lucy", "When")]
            .into_iter()
            .enumerate()
    {
        let text = |giver: &str| format!("{begin} {one} and {two} went to the store; {giver} gave a drink to");
        pairs += &format!("n{i},{},{}, {one}, {two},-5\n", text(two), text(one));
    }
    place.write("pairs.csv", pairs);
    place
}

/// A place without its numbers: the key of a mean, and the values of its pairs.
type Key = (String, [Option<u32>; 7], [Option<String>; 2], bool);

fn key(place: &pellucid::table::Place, all: bool) -> Key {
    let named = place.position_name.is_some();
    let at = |x: Option<u32>| x.filter(|_| !named && !all);
    let numbers =
        [place.layer, place.head, place.kv_head, place.neuron, at(place.pos), at(place.query_pos), at(place.key_pos)];
    let names = [&place.position_name, &place.key_position_name].map(|name| name.clone().filter(|_| !all));
    (place.site.clone(), numbers, names, all)
}

/// Mean and standard error, by the textbook in f64.
fn textbook(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (n > 1.0).then(|| (squares / (n - 1.0) / n).sqrt()))
}

/// One rounding to f32; squares that are summed in f64 leave 1e-8 of the values to the root.
#[track_caller]
fn near(got: Option<f32>, want: Option<f64>, values: &[f64], what: &str) {
    let (Some(got), Some(want)) = (got, want) else { return assert_eq!(got.is_none(), want.is_none(), "{what}") };
    let largest = values.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    // The last is the distance between numbers that are too small to have all digits.
    let bound = 2.0 * unit(candle_core::DType::F32) * want.abs() + 1e-8 * largest + f64::from(f32::from_bits(1));
    assert!((f64::from(got) - want).abs() <= bound, "{what}: {got}, by hand {want}");
}

fn check(place: &Place, out: &str, all_of: impl Fn(&str) -> bool) -> Result<Vec<AttributionMeanRow>> {
    let (rows, _) = read_rows::<AttributionRow>(place.path(&format!("{out}/attribution.parquet")))?;
    let (means, _) = read_rows::<AttributionMeanRow>(place.path(&format!("{out}/attribution_mean.parquet")))?;
    // Of each place and pair: the sum of its estimates, whether it is one row, and a row.
    let mut found = BTreeMap::<Key, BTreeMap<u32, (f64, Vec<&AttributionRow>)>>::new();
    for row in rows.iter().filter(|row| means.iter().any(|mean| mean.place.site == row.place.site)) {
        for all in [false, true].into_iter().filter(|all| !all || all_of(&row.place.site)) {
            let (sum, own) = found.entry(key(&row.place, all)).or_default().entry(row.pair).or_default();
            *sum += f64::from(row.estimate);
            own.push(row);
        }
    }
    assert_eq!(found.len(), means.len(), "{out}: a mean for each place, and for all positions of what adds up");
    for mean in &means {
        let pairs = &found[&key(&mean.place, mean.all_positions)];
        assert_eq!(mean.pairs as usize, pairs.len());
        let each = |f: &dyn Fn(f64, &[&AttributionRow]) -> f64| pairs.values().map(|(sum, own)| f(*sum, own)).collect();
        let estimates: Vec<f64> = each(&|sum, _| sum);
        let strengths: Vec<f64> =
            each(&|sum, own| if mean.all_positions { sum.abs() } else { f64::from(own[0].strength) });
        let recovered: Vec<f64> = each(&|sum, own| {
            let [clean, corrupt] = [own[0].clean, own[0].corrupt].map(f64::from);
            let base = if own[0].direction == "denoise" { corrupt } else { clean };
            match mean.all_positions {
                true => (base + sum - corrupt) / (clean - corrupt),
                false => f64::from(own[0].estimated_recovered.unwrap()),
            }
        });
        let what = format!("{out}: {mean:?}");
        for (values, got, se) in [
            (&estimates, mean.estimate, mean.estimate_se),
            (&strengths, mean.strength, mean.strength_se),
            (&recovered, mean.estimated_recovered.unwrap(), mean.estimated_recovered_se),
        ] {
            let (want, error) = textbook(values);
            near(Some(got), Some(want), values, &what);
            near(se, error, values, &what);
        }
        let ends = |f: fn(&AttributionRow) -> f32| {
            textbook(&pairs.values().map(|p| f64::from(f(p.1[0]))).collect::<Vec<_>>()).0
        };
        near(Some(mean.clean), Some(ends(|r| r.clean)), &[], &what);
        near(Some(mean.corrupt), Some(ends(|r| r.corrupt)), &[], &what);
        let changed = pairs.values().filter(|(_, own)| own.iter().any(|r| r.changed)).count();
        assert_eq!(mean.changed as usize, changed, "{what}");
    }
    Ok(means)
}

/// Invariant: Means of attributions over pairs, of places and of all their positions together, and their standard errors are those of the
/// rows of single pairs, by the textbook in f64.
#[test]
fn means_of_attributions_are_those_of_their_rows() -> Result<()> {
    let place = place();
    let run =
        |out: &str, more: &[&str]| place.ok(["attribute", "--pairs", "pairs.csv", "--out", out].iter().chain(more));
    // Places by number, of prompts of two lengths; the usual sites but the neurons, which say that they are left out.
    let done = run("usual", &[]);
    assert!(done.stderr.contains("means leave out neurons") && done.stderr.contains("--top 0 keeps them all"));
    let means = check(&place, "usual", |_| true)?;
    assert!(means.iter().all(|mean| mean.place.neuron.is_none()) && means.iter().any(|mean| mean.pairs == 1));
    assert!(means.iter().any(|mean| mean.pairs == 4 && mean.estimate != 0.0));
    // From the end, and by name: named positions are not all, so nothing is summed.
    let means = {
        run("end", &["--at", "z,pattern", "--align", "end"]);
        check(&place, "end", |_| true)?
    };
    assert!(means.iter().all(|m| m.all_positions != m.place.position_name.is_some()));
    let means = {
        run("named", &["--at", "z", "--positions", "s2,end", "--direction", "noise"]);
        check(&place, "named", |_| false)?
    };
    assert!(means.iter().all(|m| m.pairs == 4 && m.place.position_name.is_some()));
    // All neurons; and where a pattern was made again, estimates do not add up.
    let done = run("all", &["--at", "mlp.post", "--top", "0", "--direction", "noise"]);
    assert!(!done.stderr.contains("leave out"));
    check(&place, "all", |_| true)?;
    run("fixed", &["--at", "z,q,k", "--qk-fix", "--grad-drop"]);
    check(&place, "fixed", |site| site == "attn.z")?;
    // One pair has no means.
    run("one", &["--limit", "1"]);
    assert!(!place.path("one/attribution_mean.parquet").exists());
    Ok(())
}

/// Invariant: A terminal and one figure say what attributions come to on the mean over pairs, with standard errors.
#[test]
fn means_of_attributions_are_one_figure_and_a_short_table() -> Result<()> {
    let place = place();
    let done = place.ok(["attribute", "--pairs", "pairs.csv", "--out", "run"]);
    assert!(done.stdout.lines().count() < 25, "{}", done.stdout);
    assert!(done.stdout.contains("mean of 4 pairs") && done.stdout.contains(" ± "), "{}", done.stdout);
    let (means, _) = read_rows::<AttributionMeanRow>(place.path("run/attribution_mean.parquet"))?;
    // The strongest of the table is the strongest that is said, and it is no stream.
    let is_part = |m: &&AttributionMeanRow| m.all_positions && m.place.site != "resid_pre";
    let size = |m: &&AttributionMeanRow| m.estimate.abs();
    let strongest = means.iter().filter(is_part).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap();
    let layer = format!("{} layer {}", strongest.place.site, strongest.place.layer.unwrap());
    let said = done.stdout.lines().find(|line| line.starts_with("Strongest, all positions together: ")).unwrap();
    assert!(said.contains(&layer), "{said} {strongest:?}");
    let names: Vec<String> = fs_err::read_dir(place.path("run"))?
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("attribution_mean"))
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let svg = String::from_utf8(place.read("run/attribution_mean.svg")).unwrap();
    for heading in
        ["resid_pre, all positions together", "attn.z, all positions together", "mlp_out, all positions together"]
    {
        assert!(svg.contains(heading), "{heading}");
    }
    // How large errors are, whether or not cells have room for them.
    let errors = means.iter().filter(|m| m.all_positions && m.strength != 0.0);
    let most = errors.filter_map(|m| m.estimated_recovered_se).fold(0.0, f32::max);
    let sentence = format!("Standard errors: {most:.3} at most, ");
    let xml = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<&str> = xml.descendants().filter(|n| n.has_tag_name("text")).filter_map(|n| n.text()).collect();
    assert!(most > 0.01 && texts.join(" ").contains(&sentence), "{sentence}");
    // From the end, positions are the same in all pairs, and the stream is drawn at each.
    place.ok(["attribute", "--pairs", "pairs.csv", "--align", "end", "--out", "run", "--force"]);
    let svg = String::from_utf8(place.read("run/attribution_mean.svg")).unwrap();
    assert!(svg.contains(">resid_pre<") && !svg.contains("resid_pre, all"), "{svg}");
    Ok(())
}
