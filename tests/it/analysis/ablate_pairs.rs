//! Ablations of many prompts, each measured by its own answer and foil.

use pellucid::Result;
use pellucid::analysis::ablate::{Ablate, Unit};
use pellucid::analysis::patch::{Kind, Metric};
use pellucid::analysis::{PatchMeanRow, PatchRow};
use pellucid::ops::rounding::unit;
use pellucid::session::Session;
use pellucid::table::read_rows;

use crate::bin::Place;

const PAIRS: [(&str, &str, &str); 4] =
    [("Mary", "John", "store"), ("Anna", "Tom", "park"), ("Emma", "Tom", "store"), ("Ben", "Lucy", "school")];

fn text(one: &str, two: &str, place: &str) -> String {
    format!("When {one} and {two} went to the {place}, {two} gave a drink to")
}

fn place() -> Place {
    let place = Place::new();
    let mut pairs = String::from("id,question,corrupt,right,foil,kind\n");
    for (i, (one, two, at)) in PAIRS.into_iter().enumerate() {
        // What is not used need not be a prompt as long.
        pairs += &format!("n{i},\"{}\",Mary, {one}, {two},abba\n", text(one, two, at));
    }
    place.write("pairs.csv", pairs);
    place
}

const NAMES: &str = "clean=question,answer=right";

/// Invariant: Ablations of a file of pairs are those of each prompt by itself with its own answer and foil, and their means those of the rows.
#[test]
fn each_prompt_of_a_file_is_measured_by_its_own_answer() -> Result<()> {
    let place = place();
    let asked =
        ["ablate", "--pairs", "pairs.csv", "--columns", NAMES, "--kind", "zero", "--metric", "logit_diff,log_prob"];
    let done = place.ok(asked.iter().chain(&["--out", "all"]));
    assert!(done.stderr.contains("pairs.csv: the fields `kind`, `corrupt` are not used"), "{}", done.stderr);
    let (rows, _) = read_rows::<PatchRow>(place.path("all/patch.parquet"))?;
    let session = Session::open("demo")?;
    let own = |row: &&PatchRow, i: usize| row.pair as usize == i;
    for (i, (one, two, at)) in PAIRS.into_iter().enumerate() {
        let alone = Ablate {
            unit: Unit::Head,
            kind: Kind::Zero,
            metric: vec![Metric::LogitDiff, Metric::LogProb],
            answer: vec![format!(" {one}")],
            foil: vec![format!(" {two}")],
            ..Ablate::default()
        };
        let (table, _) = session.run(&alone, &[session.prompt(&text(one, two, at))?])?;
        let of_file: Vec<&PatchRow> = rows.iter().filter(|row| own(row, i)).collect();
        assert_eq!(table.rows().len(), of_file.len());
        let drift = crate::bound::drift(
            "demo",
            &session.model,
            &pellucid::model::Batch::one(session.prompt(&text(one, two, at))?.ids()),
        );
        for (alone, row) in table.rows().iter().zip(of_file) {
            assert_eq!(
                (&alone.place, &alone.measured.metric, &row.pair_id),
                (&row.place, &row.measured.metric, &format!("n{i}"))
            );
            let far = f64::from((alone.measured.patched.unwrap() - row.measured.patched.unwrap()).abs());
            assert!(far <= drift.metric(), "{row:?} {alone:?}");
        }
    }
    let (means, _) = read_rows::<PatchMeanRow>(place.path("all/patch_mean.parquet"))?;
    for mean in &means {
        let same = |row: &&PatchRow| {
            let at = |p: &pellucid::table::Place| (p.layer, p.head);
            at(&row.place) == at(&mean.place) && row.measured.metric == mean.measured.metric
        };
        let changes: Vec<f64> = rows
            .iter()
            .filter(same)
            .map(|row| f64::from(row.measured.patched.unwrap()) - f64::from(row.measured.clean))
            .collect();
        let n = changes.len() as f64;
        let average = changes.iter().sum::<f64>() / n;
        let error = (changes.iter().map(|x| (x - average).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        assert_eq!((mean.measured.pairs, changes.len()), (4, 4));
        // Rounded to f32 once; squares that are summed leave 1e-8 of the largest to the root.
        let largest = changes.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        let near = |got: Option<f32>, want: f64| {
            let bound = 2.0 * unit(candle_core::DType::F32) * want.abs() + 1e-8 * largest;
            assert!((f64::from(got.unwrap()) - want).abs() <= bound, "{got:?} {want} {mean:?}");
        };
        near(mean.measured.change, average);
        near(mean.measured.change_se, error);
    }
    // The first of the file, as if there were no others.
    place.ok(asked.iter().chain(&["--limit", "2", "--out", "two"]));
    let (two, _) = read_rows::<PatchRow>(place.path("two/patch.parquet"))?;
    assert_eq!(two.iter().map(|row| row.pair).max(), Some(1));
    let (first, _) = session_rows(&session)?;
    assert_eq!(first.len(), two.len());
    Ok(())
}

/// The library takes pairs as it takes prompts.
fn session_rows(session: &Session) -> Result<(Vec<PatchRow>, Vec<PatchMeanRow>)> {
    let pair = |(one, two, at): &(&str, &str, &str)| {
        session.pair(&format!(" {one}"), &text(one, two, at)).against(&format!(" {two}"), &text(two, one, at))
    };
    let pairs = PAIRS[..2].iter().map(pair).collect::<Result<Vec<_>>>()?;
    let metric = vec![Metric::LogitDiff, Metric::LogProb];
    let (rows, means) = session.run(&Ablate { kind: Kind::Zero, metric, ..Ablate::default() }, &pairs)?;
    Ok((rows.rows().to_vec(), means.rows().to_vec()))
}

/// Invariant: as `each_prompt_of_a_file_is_measured_by_its_own_answer`.
#[test]
fn answers_that_nothing_reads_and_options_that_exclude_each_other_are_said() {
    let place = place();
    let asked = ["ablate", "--pairs", "pairs.csv", "--columns", NAMES, "--out", "run", "--force"];
    let done = place.ok(asked);
    assert!(done.stderr.contains("no metric reads the answers that came with the prompts; --metric logit_diff does"));
    for more in [&["--answer", " Mary"][..], &["--prompts", "pairs.csv"], &["--ids", "1,2"], &["a text"]] {
        place.refused(asked.iter().chain(more), 2, "--pairs");
    }
    place.refused(["ablate", "--columns", NAMES, "a text"], 2, "--pairs <FILE>");
    place.refused(["ablate", "--limit", "1", "a text"], 2, "--pairs <FILE>");
}
