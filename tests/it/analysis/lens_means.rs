//! The lens over many prompts, each with words of its own: what is followed after which, and means that anybody can make again.

use pellucid::Result;
use pellucid::analysis::lens::Lens;
use pellucid::analysis::{LensMeanRow, LensRow};
use pellucid::hook::Cache;
use pellucid::model::Batch;
use pellucid::ops::rounding::unit;
use pellucid::session::{Session, Target, Targeted};
use pellucid::table::{Row, read_rows};

use crate::bin::Place;
use crate::bound::drift;

/// Prompts of the demo, with the word that is right after each, and one that is not. One has no foil, and one no target.
const PROMPTS: [(&str, Option<&str>, Option<&str>); 7] = [
    ("When Mary and John went to the store, John gave a drink to", Some(" Mary"), Some(" John")),
    ("When Tom and Anna went to the park, Tom gave a ball to", Some(" Anna"), Some(" Tom")),
    ("At the park Tom and Emma met. Tom gave a drink to", Some(" Emma"), Some(" Tom")),
    ("When Lucy and Ben went to the school, Lucy gave a book to", Some(" Ben"), Some(" Lucy")),
    ("John and Anna went to", None, None),
    ("When Mia and Tom went to the store, Mia gave a drink to", Some(" Tom"), None),
    ("When Tom and Mia went to the store, Mia gave a drink to", Some(" Mia"), Some(" Tom")),
];

fn file(place: &Place, names: [&str; 3]) {
    let line = |(text, target, foil): &(&str, Option<&str>, Option<&str>)| {
        let mut line = serde_json::json!({ names[0]: text });
        target.iter().for_each(|target| line[names[1]] = (*target).into());
        foil.iter().for_each(|foil| line[names[2]] = (*foil).into());
        format!("{line}\n")
    };
    place.write("prompts.jsonl", PROMPTS.iter().map(line).collect::<String>());
}

/// Mean and standard error as a textbook has them: the mean first, then deviations from it. In f64.
fn textbook(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (n > 1.0).then(|| (squares / (n - 1.0) / n).sqrt()))
}

/// One rounding to f32 of a sum in f64. A standard error of values that are nearly the same loses digits, for squares of the values are
/// summed: of 1e-16 of these squares its root is at most 1e-8 of the values.
#[track_caller]
fn near(got: Option<f32>, want: Option<f64>, largest: f64, what: &str) {
    let (Some(got), Some(want)) = (got, want) else { return assert_eq!(got.is_none(), want.is_none(), "{what}") };
    let bound = 2.0 * unit(candle_core::DType::F32) * want.abs() + 1e-8 * largest;
    assert!((f64::from(got) - want).abs() <= bound, "{what}: {got}, by hand {want}");
}

/// Position `asked` of a prompt of `n` tokens.
fn counted(asked: i64, n: usize) -> u32 {
    if asked < 0 { (n as i64 + asked) as u32 } else { asked as u32 }
}

/// Every mean and standard error of `means` again, from the rows of single prompts.
fn check(rows: &[LensRow], means: &[LensMeanRow], lengths: &[usize]) {
    for mean in means {
        let here =
            |r: &&LensRow| r.rank == 1 && r.hook == mean.hook && r.pos == counted(mean.pos, lengths[r.prompt as usize]);
        let own: Vec<&LensRow> = rows.iter().filter(here).filter(|r| r.target.is_some()).collect();
        assert_eq!(mean.prompts as usize, own.len(), "{mean:?}");
        let of = |value: fn(&LensRow) -> Option<f64>| own.iter().filter_map(|r| value(r)).collect::<Vec<f64>>();
        let all = |got: f32, se: Option<f32>, value: fn(&LensRow) -> Option<f64>, what: &str| {
            let values = of(value);
            let ((want, error), largest) = (textbook(&values), values.iter().fold(0.0, |a: f64, b| a.max(b.abs())));
            near(Some(got), Some(want), 0.0, &format!("{what} of {} {}", mean.hook, mean.pos));
            near(se, error, largest, &format!("standard error of {what} of {} {}", mean.hook, mean.pos));
        };
        all(mean.target_prob, mean.target_prob_se, |r| r.target_prob.map(f64::from), "the probability");
        all(mean.target_rank, mean.target_rank_se, |r| r.target_rank.map(f64::from), "the rank");
        let first = |r: &LensRow| Some(if r.target_rank == Some(1) { 1.0 } else { 0.0 });
        all(mean.target_first, mean.target_first_se, first, "the share of first places");
        all(mean.entropy_bits, mean.entropy_bits_se, |r| Some(f64::from(r.entropy_bits)), "the entropy");
        all(mean.kl_to_final_bits, mean.kl_to_final_bits_se, |r| Some(f64::from(r.kl_to_final_bits)), "the divergence");
        let mut ranks = of(|r| r.target_rank.map(f64::from));
        ranks.sort_by(f64::total_cmp);
        let (low, high) = (ranks[(ranks.len() - 1) / 2], ranks[ranks.len() / 2]);
        assert_eq!(f64::from(mean.target_rank_median), (low + high) / 2.0, "{mean:?}");
        // Not the column `logit_diff`, but what it is the difference of.
        let diffs = of(|r| Some(f64::from(r.target_logit?) - f64::from(r.foil_logit?)));
        assert_eq!(mean.foils as usize, diffs.len());
        let (want, error) = textbook(&diffs);
        let logits = of(|r| r.target_logit.map(f64::from)).iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        // Each difference is rounded to f32 once, relative to itself, and so is their mean.
        let bound = logits * 4.0 * unit(candle_core::DType::F32);
        assert!((f64::from(mean.logit_diff.unwrap()) - want).abs() <= bound, "{mean:?} {want}");
        assert!((f64::from(mean.logit_diff_se.unwrap()) - error.unwrap()).abs() <= 2.0 * bound, "{mean:?} {error:?}");
    }
}

/// Invariant: Means of the lens over prompts and their standard errors are those of the rows of single prompts, by the textbook in f64.
#[test]
fn means_of_the_lens_are_those_of_its_rows() -> Result<()> {
    let place = Place::new();
    file(&place, ["text", "target", "foil"]);
    for (out, more, positions) in [
        ("all", &[][..], &[-1][..]),
        ("some", &["--pos", "3,-1,-2", "--at", "resid_mid,resid_post,hook_embed", "--top", "2"], &[3, -1, -2]),
    ] {
        let done = place.ok(["lens", "--prompts", "prompts.jsonl", "--out", out].iter().chain(more));
        assert!(!done.stderr.contains("not used"), "{}", done.stderr);
        let (rows, _) = read_rows::<LensRow>(place.path(&format!("{out}/logit_lens.parquet")))?;
        let (means, _) = read_rows::<LensMeanRow>(place.path(&format!("{out}/logit_lens_mean.parquet")))?;
        let session = Session::open("demo")?;
        let lengths: Vec<usize> =
            PROMPTS.iter().map(|(text, ..)| session.prompt(text).map(|p| p.tokens.len())).collect::<Result<_>>()?;
        let hooks = means.len() / positions.len();
        assert_eq!(
            means.iter().map(|m| m.pos).collect::<Vec<_>>().chunks(hooks).map(|c| c[0]).collect::<Vec<_>>(),
            positions
        );
        check(&rows, &means, &lengths);
        // Each prompt is followed by its own words.
        for row in &rows {
            let (_, target, foil) = PROMPTS[row.prompt as usize];
            assert_eq!((row.target.as_deref(), row.foil.as_deref()), (target, foil), "{row:?}");
        }
        for (means, pos) in means.chunks(hooks).zip(positions) {
            let name = if positions.len() == 1 { String::new() } else { format!("-at{pos}") };
            let svg = String::from_utf8(place.read(&format!("{out}/logit_lens_mean{name}.svg"))).unwrap();
            assert!(svg.contains("mean of 6 prompts, after "), "{svg}");
            assert!(done.stdout.contains("5 of the 6 prompts have a foil"), "{}", done.stdout);
            assert!(means.iter().all(|m| m.prompts == 6 && m.foils == 5));
        }
    }
    Ok(())
}

/// A foil's logit against a forward pass: the last stream's is the model's own, and the foil of one run is the target of another.
///
/// Invariant: as `means_of_the_lens_are_those_of_its_rows`.
#[test]
fn a_foil_has_the_logit_that_it_has_as_a_target() -> Result<()> {
    let session = Session::open("demo")?;
    let (text, target, foil) = (PROMPTS[0].0, session.target(" Mary")?, session.target(" John")?);
    let prompts = [session.prompt(text)?, session.prompt(PROMPTS[1].0)?];
    let run = |target, foil| {
        let targets = vec![Target { target, foil }; 2];
        let input = Targeted::new(&prompts, targets);
        session.run(&Lens { top: Some(1), ..Lens::default() }, input).map(|(rows, _)| rows.rows().to_vec())
    };
    let both = run(Some(target), Some(foil))?;
    let other = run(Some(foil), None)?;
    assert_eq!(both.len(), other.len());
    for (row, other) in both.iter().zip(&other) {
        assert_eq!((row.foil_logit, row.foil_prob), (other.target_logit, other.target_prob), "{row:?}");
        assert_eq!(row.logit_diff, Some(row.target_logit.unwrap() - row.foil_logit.unwrap()));
        assert_eq!((other.foil_id, other.foil_logit, other.logit_diff), (None, None, None));
    }
    let batch = Batch::one(prompts[0].ids());
    let logits = session.model.forward(&batch, &mut [&mut Cache::new(session.model.spec(), "resid_post")?])?;
    let bound = drift("demo lens", &session.model, &batch).logits();
    let last = session.model.spec().n_layers() as u32 - 1;
    let own: Vec<&LensRow> = both.iter().filter(|r| r.prompt == 0 && r.layer == Some(last)).collect();
    assert_eq!(own.len(), prompts[0].tokens.len());
    for row in own {
        let want = logits.get(row.pos as usize)?.get(foil as usize)?.to_scalar::<f32>()?;
        assert!(f64::from((row.foil_logit.unwrap() - want).abs()) <= bound, "{row:?} {want}");
    }
    Ok(())
}

/// Invariant: What a file says of its prompts is used, or it is said that it is not; a word that cannot be followed is an error with its line.
#[test]
fn words_of_a_file_are_used_or_said_not_to_be() -> Result<()> {
    let place = Place::new();
    file(&place, ["question", "label", "wrong"]);
    let lens = ["lens", "--prompts", "prompts.jsonl", "--pos", "-1", "--out", "run", "--force", "--columns"];
    let run = |more: &[&str]| place.ok(lens.iter().chain(more));
    let read = || read_rows::<LensRow>(place.path("run/logit_lens.parquet")).map(|(rows, _)| rows);
    let mean = || place.path("run/logit_lens_mean.parquet").exists();
    let done = run(&["text=question"]);
    assert!(done.stderr.contains("prompts.jsonl: the fields `label`, `wrong` are not used"), "{}", done.stderr);
    assert!(read()?.iter().all(|row| row.target.is_none()) && !mean());
    let done = run(&["text=question,target=label"]);
    assert!(done.stderr.contains("prompts.jsonl: the field `wrong` is not used"), "{}", done.stderr);
    assert!(read()?.iter().all(|row| row.foil.is_none()) && mean());
    // An option stands for all prompts, and says that it does.
    let done = run(&["text=question,target=label,foil=wrong", "--target", " Mary", "--foil", " John"]);
    assert!(done.stderr.contains("--target takes the place of the targets") && done.stderr.contains("--foil takes"));
    assert!(read()?.iter().all(|row| row.target.as_deref() == Some(" Mary") && row.foil.as_deref() == Some(" John")));
    // The first prompts of the file, with their words.
    run(&["text=question,target=label,foil=wrong", "--limit", "2"]);
    assert_eq!(read()?.last().map(|row| (row.prompt, row.target.clone())), Some((1, Some(" Anna".into()))));
    // Who follows nothing says so, with what does.
    let done = place.ok(["loss", "--prompts", "prompts.jsonl", "--columns", "text=question", "--out", "loss"]);
    assert!(done.stderr.contains("`label`, `wrong` are not used\n"), "{}", done.stderr);
    file(&place, ["text", "target", "foil"]);
    let done = place.ok(["loss", "--prompts", "prompts.jsonl", "--out", "loss"]);
    assert!(
        done.stderr.contains("`target`, `foil` are not used; words after each prompt are followed by `pellucid lens`")
    );
    // A text beside the file has no words of its own.
    place.ok(["lens", "--prompts", "prompts.jsonl", "--pos", "-1", "--out", "run", "--force", "Tom met Mary. Tom"]);
    let rows = read()?;
    assert_eq!((rows[0].target.as_deref(), rows.last().unwrap().target.as_deref()), (None, Some(" Mia")));
    let mary = Session::open("demo")?.target(" Mary")?;
    place.write("ids.csv", format!("text,target_id\nMary and John went to the,{mary}\nJohn and Mary,\n"));
    place.ok(["lens", "--prompts", "ids.csv", "--pos", "-1", "--out", "run", "--force"]);
    assert_eq!(read()?[0].target.as_deref(), Some(" Mary"));
    for (line, says) in [
        (r#""target": 17"#, "bad.jsonl:2: `target` is not text: 17"),
        (r#""target": " Mary John""#, "bad.jsonl:2: "),
        (r#""target": " Mary", "target_id": 3"#, "bad.jsonl:2: both `target` and `target_id` are given"),
        (r#""target_id": "x""#, "bad.jsonl:2: `target_id` is not one token id"),
        (r#""target_id": 99999999"#, "bad.jsonl:2: token 99999999 is outside"),
        (r#""target": " Mary", "foil": " Mary""#, "prompt 1: the target and the foil are the same token"),
    ] {
        place.write("bad.jsonl", format!("{{\"text\": \"Mary and\"}}\n{{\"text\": \"Mary and\", {line}}}\n"));
        place.refused(["lens", "--prompts", "bad.jsonl"], 2, says);
    }
    let one_alone = "{\"text\": \"Mary and\", \"target\": \" John\"}\n{\"text\": \"Mary and\", \"foil\": \" Mary\"}\n";
    place.write("bad.jsonl", one_alone);
    place.refused(["lens", "--prompts", "bad.jsonl"], 2, "prompt 1: there is a foil, and no target");
    // Of one prompt there are no means.
    place.ok(["lens", "--target", " Mary", "--foil", " John", "Tom and", "--out", "one"]);
    assert!(place.path("one/logit_lens.parquet").exists() && !place.path("one/logit_lens_mean.parquet").exists());
    place.refused(["lens", "--foil", " Mary", "Tom and"], 2, "there is a foil, and no target");
    place.refused(["lens", "--prompts", "prompts.jsonl", "--columns", "target=nope"], 2, "has no column `nope`");
    place.refused(["lens", "--limit", "2", "Tom and"], 2, "--prompts <FILE>");
    let names = LensMeanRow::TABLE.columns.iter().filter(|column| column.name.ends_with("_se"));
    assert!(names.into_iter().all(|column| column.meaning == "its standard error"));
    Ok(())
}

/// Invariant: `--top K` shows K tokens of each layer on a terminal, not the five of its default.
#[test]
fn a_terminal_shows_as_many_tokens_as_were_asked_for() {
    let place = Place::new();
    for (top, shown) in [(3, 3), (10, 10), (25, 20)] {
        let asked =
            ["lens", "--pos", "-1", "--top", &top.to_string(), "--out", "run", "--force", "Mary and John went to the"];
        let out = place.ok(asked).stdout;
        let heads = |rank: usize| out.split_whitespace().any(|word| word == format!("{rank}."));
        assert!((1..=shown).all(heads) && !heads(shown + 1), "{top}: {out}");
        assert_eq!(out.contains("5 more of each are in the table"), top == 25, "{out}");
    }
}

/// Means say little in a terminal, and what they are of.
///
/// Invariant: as `means_of_the_lens_are_those_of_its_rows`.
#[test]
fn a_terminal_shows_the_means_of_a_sweep() {
    let place = Place::new();
    file(&place, ["text", "target", "foil"]);
    let out = place.ok(["lens", "--prompts", "prompts.jsonl", "--out", "run"]).stdout;
    assert!(out.contains("mean of 6 prompts, after the last position of each"), "{out}");
    assert!(out.contains("The target is the most probable token of most prompts from layer"), "{out}");
    assert!(out.contains(" ± ") && out.lines().count() < 15, "{out}");
}
