//! Answers and foils that make numbers mean something else than they seem to: the wrong form of a word, a clean run that prefers the
//! foil, a clean run no better than the corrupt one.

use pellucid::analysis::{LensRow, PatchRow};
use pellucid::table::read_rows;

use crate::bin::{Place, model};

const CLEAN: &str = "When Mary and John went to the store, John gave a drink to";
const CORRUPT: &str = "When Mary and John went to the store, Mary gave a drink to";
const RUN: [&str; 6] = ["--at", "resid_pre", "--over", "layer", "--out", "run"];

fn pair<'a>(command: &'a str, answer: &'a str, foil: &'a str) -> Vec<&'a str> {
    vec![command, "--clean", CLEAN, "--corrupt", CORRUPT, "--answer", answer, "--foil", foil]
}

/// The notes on stderr.
fn notes(stderr: &str) -> Vec<String> {
    stderr.lines().filter_map(|line| line.strip_prefix("note: ")).map(str::to_owned).collect()
}

/// The probability of a word after a prompt, as the lens of the last layer has it.
fn prob(place: &Place, prompt: &str, word: &str) -> f32 {
    place.ok(["lens", "-q", prompt, "--target", word, "--pos", "-1", "--top", "1", "--out", "lens", "--force"]);
    let (rows, _) = read_rows::<LensRow>(place.path("lens/logit_lens.parquet")).unwrap();
    rows.last().unwrap().target_prob.unwrap()
}

fn shown(p: f32) -> String {
    if p >= 0.001 { format!("{p:.3}") } else { format!("{p:.1e}") }
}

/// Invariant: An answer without its leading space is noted, with the probabilities of both forms.
#[test]
fn a_word_without_its_space_is_noted_with_both_probabilities() {
    let place = Place::new();
    let [plain, spaced] = ["Mary", " Mary"].map(|word| shown(prob(&place, CLEAN, word)));
    let said = place.ok(pair("patch", "Mary", " John").iter().chain(&RUN)).stderr;
    let expected = format!("\"Mary\" has the probability {plain} after the prompt, and \"·Mary\" {spaced}");
    assert!(notes(&said).iter().any(|n| n.starts_with("the answer is") && n.contains(&expected)), "{said}{expected}");
    assert!(said.contains("was it meant with a space before it?"), "{said}");
    assert!(!said.contains("the foil is"), "{said}");
    for command in ["path", "attribute"] {
        let said = place.ok(pair(command, "Mary", "John").iter().chain(&["--out", command])).stderr;
        assert!(said.contains(&expected) && said.contains("the foil is a token with a space"), "{command}: {said}");
    }
    let ablate = ["ablate", CLEAN, "--answer", "Mary", "--foil", " John", "--metric", "logit_diff", "--out", "ablate"];
    let said = place.ok(ablate).stderr;
    assert!(said.contains(&expected), "{said}");
    let said = place.ok(["lens", CLEAN, "--target", "Mary", "--out", "target"]).stderr;
    assert!(said.contains(&expected.replace("answer", "target")) && said.contains("the target is"), "{said}");
    // As it is meant, and where no metric reads answers, there is nothing to say.
    assert!(notes(&place.ok(pair("patch", " Mary", " John").iter().chain(&RUN).chain(&["--force"])).stderr).is_empty());
    let kl = ["--metric", "kl", "--force"];
    assert!(notes(&place.ok(pair("patch", "Mary", "John").iter().chain(&RUN).chain(&kl)).stderr).is_empty());
}

/// Invariant: as `a_word_without_its_space_is_noted_with_both_probabilities`.
#[test]
fn a_space_after_a_prompt_that_ends_in_one_is_noted() {
    let place = Place::new();
    let (clean, corrupt) = (format!("{CLEAN} "), format!("{CORRUPT} "));
    let command = ["patch", "--clean", &clean, "--corrupt", &corrupt, "--foil", "John", "--answer"];
    let said = place.ok(command.iter().chain(&[" Mary"]).chain(&RUN)).stderr;
    let [plain, spaced] = ["Mary", " Mary"].map(|word| shown(prob(&place, &clean, word)));
    let expected = format!("\"·Mary\" has the probability {spaced} after the prompt, and \"Mary\" {plain}");
    assert!(
        said.contains("the answer is a token without the space too") && said.contains(&expected),
        "{said}{expected}"
    );
    let said = place.ok(command.iter().chain(&["Mary"]).chain(&RUN).chain(&["--force"])).stderr;
    assert!(notes(&said).iter().all(|note| !note.contains("space")), "{said}");
}

/// Invariant: as `a_word_without_its_space_is_noted_with_both_probabilities`.
#[test]
fn in_files_words_without_their_space_are_counted() {
    let place = Place::new();
    let row = |answer: &str| format!("\"{CLEAN}\",\"{CORRUPT}\",{answer}, John\n");
    place.write("pairs.csv", format!("clean,corrupt,answer,foil\n{}{}{}", row("Mary"), row(" Mary"), row("Mary")));
    let said = place.ok(["patch", "--pairs", "pairs.csv"].iter().chain(&RUN)).stderr;
    let [plain, spaced] = ["Mary", " Mary"].map(|word| shown(prob(&place, CLEAN, word)));
    let expected = format!("mean probabilities are {plain} as it is given and {spaced} with a space before it");
    assert!(said.contains("note: in 2 of 3 pairs the answer is a token with a space"), "{said}");
    assert!(said.contains(&expected), "{said}{expected}");
    // Ids are words too.
    let ids: Vec<serde_json::Value> =
        serde_json::from_str(&place.ok(["tokens", "--format", "json", "Mary John"]).stdout).unwrap();
    // After the token that begins every text.
    let [mary, john] = [1, 2].map(|i| ids[i]["token_id"].as_u64().unwrap());
    place.write("ids.csv", format!("clean,corrupt,answer_id,foil_id\n\"{CLEAN}\",\"{CORRUPT}\",{mary},{john}\n"));
    let said = place.ok(["patch", "--pairs", "ids.csv", "--force"].iter().chain(&RUN)).stderr;
    assert!(said.contains("the answer is a token with a space"), "{said}");
}

/// Invariant: as `clean_runs_that_prefer_the_foil_are_counted_and_do_not_read_as_success`.
#[test]
fn an_answer_that_is_its_foil_is_refused() {
    let place = Place::new();
    let says = "the answer and the foil are the same token, \"·Mary\" (#";
    for command in ["patch", "path", "attribute"] {
        place.refused(pair(command, " Mary", " Mary"), 2, says);
    }
    place.refused(["ablate", CLEAN, "--answer", " Mary", "--foil", " Mary", "--metric", "logit_diff"], 2, says);
    let mut several = pair("patch", " Mary", " John");
    several.extend(["--answer", " Anna", "--foil", " Anna"]);
    place.refused(&several, 2, "the same token, \"·Anna\" (#");
    let row = |answer: &str| format!("\"{CLEAN}\",\"{CORRUPT}\",{answer}, John\n");
    place.write("pairs.csv", format!("clean,corrupt,answer,foil\n{}{}", row(" Mary"), row(" John")));
    place.refused(
        ["patch", "--pairs", "pairs.csv"],
        2,
        "pairs.csv:3: the answer and the foil are the same token, \"·John\"",
    );
    // Without a tokenizer tokens are their ids.
    let m = model("gpt2");
    let ids = ["patch", "-m", &m, "--clean", "#3,14,15", "--corrupt", "#3,27,15", "--answer", "#7", "--foil", "#7"];
    place.refused(ids, 2, "the same token, #7");
}

/// Invariant: Clean runs that prefer the foil, or are no better than the corrupt run, are counted, and their numbers are never
/// called a recovery.
#[test]
fn clean_runs_that_prefer_the_foil_are_counted_and_do_not_read_as_success() {
    let place = Place::new();
    for command in ["patch", "path", "attribute"] {
        // The other way round: the clean run prefers what is called the foil here, and the corrupt run does not.
        let done = place.ok(pair(command, " John", " Mary").iter().chain(&["--out", command]));
        assert!(done.stderr.contains("note: the clean run prefers the foil to the answer"), "{}", done.stderr);
        let note = "note: by logit_diff, the clean run is no better than the corrupt run";
        assert!(done.stderr.contains(note), "{}", done.stderr);
        assert!(!done.stdout.contains("% recovered"), "{}", done.stdout);
        assert!(done.stdout.contains("no better than the corrupt run"), "{}", done.stdout);
        let figure = match command {
            "patch" => "patch/patch-resid_pre-logit_diff.svg",
            "path" => "path/path-attn.z-logits-logit_diff.svg",
            _ => "attribute/attribution-resid_pre-logit_diff.svg",
        };
        let drawn = String::from_utf8(place.read(figure)).unwrap();
        let xml = roxmltree::Document::parse(&drawn).unwrap();
        let lines: Vec<&str> = xml.descendants().filter(|n| n.has_tag_name("text")).filter_map(|n| n.text()).collect();
        assert!(lines.join(" ").contains("The clean run is no better than the corrupt run"), "{command}: {lines:?}");
        assert!(!drawn.contains("% recovered"), "{command}");
        let right = place.ok(pair(command, " Mary", " John").iter().chain(&["--out", &format!("{command}-right")]));
        assert!(!right.stderr.contains("prefers the foil") && !right.stderr.contains("no better"), "{}", right.stderr);
        assert!(!right.stdout.contains("no better"), "{}", right.stdout);
    }
    let ablate = ["ablate", CLEAN, "--answer", " John", "--foil", " Mary", "--metric", "logit_diff", "--out", "ablate"];
    let done = place.ok(ablate);
    assert!(done.stderr.contains("note: the clean run prefers the foil to the answer"), "{}", done.stderr);
    assert!(!done.stderr.contains("no better"), "there is no corrupt run: {}", done.stderr);

    let row = |answer: &str, foil: &str| format!("\"{CLEAN}\",\"{CORRUPT}\", {answer}, {foil}\n");
    let rows = [row("Mary", "John"), row("John", "Mary"), row("Mary", "Paul"), row("Anna", "Mary")].concat();
    place.write("pairs.csv", format!("clean,corrupt,answer,foil\n{rows}"));
    let done = place.ok(["patch", "--pairs", "pairs.csv", "--metric", "logit_diff,prob"].iter().chain(&RUN));
    let (rows, _) = read_rows::<PatchRow>(place.path("run/patch.parquet")).unwrap();
    let of = |metric: &str, is: &dyn Fn(&PatchRow) -> bool| {
        (0..4).filter(|pair| is(rows.iter().find(|r| r.pair == *pair && r.measured.metric == metric).unwrap())).count()
    };
    let foil = of("logit_diff", &|r| r.measured.clean < 0.0);
    assert!(foil > 0 && foil < 4);
    assert!(done.stderr.contains(&format!("prefers the foil to the answer in {foil} of 4 pairs")), "{}", done.stderr);
    for metric in ["logit_diff", "prob"] {
        let n = of(metric, &|r| r.measured.clean <= r.measured.corrupt.unwrap());
        let note = format!("by {metric}, the clean run is no better than the corrupt run in {n} of 4 pairs");
        assert!(n > 0 && done.stderr.contains(&note), "{}", done.stderr);
    }
}

/// Invariant: Kinds that need no second prompt change the clean run, and the output says so.
#[test]
fn kinds_that_need_no_other_prompt_change_the_clean_run() {
    let place = Place::new();
    let zero = |more: &[&'static str], out: &str| {
        let command = pair("patch", " Mary", " John");
        let done = place.ok(command
            .iter()
            .chain(&["--kind", "zero", "--at", "z", "--over", "layer,head", "--out", out])
            .chain(more));
        (done.stdout, read_rows::<PatchRow>(place.path(&format!("{out}/patch.parquet"))).unwrap().0)
    };
    let (said, rows) = zero(&[], "default");
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("Zero ablation of attn.z") && first.contains("in the clean run"), "{first}");
    let (_, noise) = zero(&["--direction", "noise"], "noise");
    assert_eq!(rows, noise);
    let (said, denoise) = zero(&["--direction", "denoise"], "denoise");
    assert!(said.lines().next().unwrap().contains("in the corrupt run"), "{said}");
    assert_ne!(rows, denoise);
    // It is what `ablate` does to the clean prompt alone.
    let ablate =
        ["ablate", CLEAN, "-q", "--kind", "zero", "--answer", " Mary", "--foil", " John", "--metric", "logit_diff"];
    place.ok(ablate.iter().chain(&["--out", "ablate"]));
    let (alone, _) = read_rows::<PatchRow>(place.path("ablate/patch.parquet")).unwrap();
    let metric =
        |rows: &[PatchRow]| rows.iter().map(|r| (r.place.layer, r.place.head, r.measured.patched)).collect::<Vec<_>>();
    assert_eq!(metric(&rows), metric(&alone));
    // Replacing needs the other prompt, and goes into the corrupt run as ever.
    let said = place.ok(pair("patch", " Mary", " John").iter().chain(&["--out", "replace"])).stdout;
    assert!(said.lines().next().unwrap().contains("clean values into the corrupt run"), "{said}");
    let said = place.ok(pair("path", " Mary", " John").iter().chain(&["--kind", "zero", "--out", "path"])).stdout;
    assert!(said.lines().next().unwrap().contains("in the clean run"), "{said}");
}

/// Invariant: as `kinds_that_need_no_other_prompt_change_the_clean_run`.
#[test]
fn ablations_of_one_sentence_by_its_own_values_say_so() {
    let place = Place::new();
    let done = place.ok(["ablate", CLEAN, "--out", "own"]);
    let first = done.stdout.lines().next().unwrap();
    assert!(first.contains("by the mean over the 15 positions of this prompt itself"), "{first}");
    place.write("other.txt", "Once upon a time there was a cat\n");
    let done = place.ok(["ablate", CLEAN, "--dataset", "other.txt", "--out", "other"]);
    assert!(!done.stdout.contains("this prompt itself"), "{}", done.stdout);
    let done = place.ok(["ablate", CLEAN, CORRUPT, "--out", "two"]);
    assert!(!done.stdout.contains("this prompt itself"), "{}", done.stdout);
    for kind in ["mean-by-position", "resample"] {
        place.refused(["ablate", CLEAN, "--kind", kind], 2, "puts back what was there");
    }
}
