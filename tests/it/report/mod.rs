//! Experiment files: what is run, what is used again, and what is refused.

mod committed;
mod expected;
mod killed;
mod refused;

use crate::bin::{Done, Place};

/// Three steps: the third reads what the second wrote, and the first is alone.
pub const EXPERIMENT: &str = r#"
[experiment]
title = "A test"
question = "Does it run?"

[steps.lens]
run = "lens"
texts = ["Mary and John"]
top = 2

[steps.first]
run = "loss"
prompts = "first.txt"

[steps.other]
run = "loss"
prompts = "other.txt"

[steps.both]
run = "compare"
texts = ["${steps.first.table}", "${steps.other.table}"]

[expect]
"the lens has rows" = "steps.lens: rows > 3"
"losses differ" = ["steps.first: rows >= 3", "steps.other: mean of loss_nats > 0"]
"#;

/// A place with the experiment and its prompts.
pub fn place() -> Place {
    let place = Place::new();
    place.write("test.toml", EXPERIMENT);
    place.write("first.txt", "Mary went to the store\nJohn met Mary\n");
    place.write("other.txt", "Mary went to the park\nJohn met Mary\n");
    place
}

/// What became of each step, by name.
#[track_caller]
pub fn states(done: &Done) -> Vec<(String, String)> {
    let json: serde_json::Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}", done.stderr));
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    json["steps"].as_array().unwrap().iter().map(|step| (text(&step["step"]), text(&step["state"]))).collect()
}

/// Runs the file with these arguments too.
#[track_caller]
pub fn run(place: &Place, more: &[&str]) -> Vec<(String, String)> {
    states(&place.ok([&["run", "test.toml", "--format", "json"], more].concat()))
}

/// The steps that were run.
fn ran(states: &[(String, String)]) -> Vec<&str> {
    states.iter().filter(|(_, state)| state == "ran").map(|(step, _)| step.as_str()).collect()
}

/// What is in a place but for times and lock files.
fn results(place: &Place) -> std::collections::BTreeMap<std::path::PathBuf, Option<Vec<u8>>> {
    let mut all = place.contents();
    all.retain(|path, bytes| bytes.is_some() && !path.ends_with("manifest.json"));
    all
}

/// Invariant: An experiment runs what is not there, and nothing again for new times, comments or another order of keys; another prompt runs
/// exactly the steps that depend on it, and the bytes are those of the commands run alone.
#[test]
fn what_has_changed_is_run() {
    let place = place();
    assert_eq!(ran(&run(&place, &[])), ["lens", "first", "other", "both"]);
    let before = results(&place);
    assert_eq!(ran(&run(&place, &[])), Vec::<&str>::new());
    assert!(results(&place) == before, "a second run changed something");

    // Files that are new in name and time, another order, other words beside them.
    place.write("first.txt", place.read("first.txt"));
    let (head, rest) = EXPERIMENT.split_once("[steps.lens]").unwrap();
    let (lens, rest) = rest.split_once("[steps.first]").unwrap();
    let lens = lens.replace("run = \"lens\"\n", "") + "run = \"lens\" # a comment\n";
    place.write("test.toml", format!("# Another order.\n[steps.first]{rest}\n[steps.lens]{lens}{head}"));
    assert_eq!(ran(&run(&place, &[])), Vec::<&str>::new());
    let lock = |place: &Place| String::from_utf8(place.read("runs/test.lock.toml")).unwrap();
    let before = lock(&place);

    place.write("first.txt", "Mary went to the store\nJohn saw Mary\n");
    let why = place.ok(["run", "test.toml", "--why", "both"]).stdout;
    assert!(why.contains("both: needs first first") && why.contains("first: prompt 1 is "), "{why}");
    assert!(!why.contains("prompt 0") && !why.contains("other:"), "{why}");
    assert_eq!(ran(&run(&place, &[])), ["first", "both"]);
    let changed = |before: &str, after: &str| {
        let steps = |text: &str| text.split("\n[steps.").skip(1).map(str::to_owned).collect::<Vec<_>>();
        let name = |step: &String| step[..step.find([']', '.']).unwrap()].to_owned();
        let mut changed: Vec<String> =
            steps(after).iter().zip(&steps(before)).filter(|(a, b)| a != b).map(|(a, _)| name(a)).collect();
        changed.dedup();
        changed
    };
    assert_eq!(changed(&before, &lock(&place)), ["both", "first"]);

    // Another option of one step, without a change of the file.
    let why = place.ok(["run", "test.toml", "--why", "lens", "--set", "steps.lens.top=3"]).stdout;
    assert_eq!(why, "lens: the option top is 3, was 2\n");
    assert_eq!(ran(&run(&place, &["--set", "steps.lens.top=3", "--only", "lens"])), ["lens"]);
    assert_eq!(place.ok(["run", "test.toml", "--why", "other"]).stdout.matches("nothing has changed").count(), 1);

    // What is no longer whole is made again, to the same bytes.
    let other = results(&place);
    let there = other.keys().find(|path| path.ends_with("loss.parquet")).unwrap();
    fs_err::remove_file(there).unwrap();
    assert_eq!(ran(&run(&place, &[])).len(), 1);
    let mut again = results(&place);
    // The lens of the option before last is what the lock file names again.
    let lock_file = place.path("runs/test.lock.toml");
    let mut other = other;
    other.remove(&lock_file);
    again.remove(&lock_file);
    assert!(
        other == again,
        "{:?}",
        other.iter().filter(|(path, bytes)| again.get(*path) != Some(bytes)).map(|(p, _)| p).collect::<Vec<_>>()
    );
}

/// Invariant: Each cell of a matrix has the bytes of its command run alone.
#[test]
fn cells_are_commands() {
    let place = Place::new();
    let text = "When Mary and John went to the store, John gave a drink to";
    place.write(
        "test.toml",
        format!(
            "[experiment]\ntitle = \"t\"\n[matrix]\nat = [\"resid_post\", \"attn_out\", \"mlp_out\"]\ntop = [1, 2]\n\
             [steps.lens]\nrun = \"lens\"\ntexts = [\"{text}\"]\nat = \"${{matrix.at}}\"\ntop = \"${{matrix.top}}\"\n\
             [steps.once]\nrun = \"loss\"\ntexts = [\"{text}\"]\n"
        ),
    );
    let states = run(&place, &[]);
    assert_eq!(states.len(), 7);
    assert_eq!(states[0].0, "lens[at=resid_post,top=1]");
    assert_eq!(states[5].0, "lens[at=mlp_out,top=2]");
    let alone = Place::new();
    for at in ["resid_post", "attn_out", "mlp_out"] {
        for top in ["1", "2"] {
            alone.ok(["lens", text, "--at", at, "--top", top]);
        }
    }
    alone.ok(["loss", text]);
    let runs = |place: &Place| {
        let all = results(place)
            .into_iter()
            .map(|(path, bytes)| (path.strip_prefix(place.path("")).unwrap().to_string_lossy().into_owned(), bytes));
        all.filter(|(path, _)| path.starts_with("runs/") && !path.ends_with(".toml")).collect::<Vec<_>>()
    };
    assert_eq!(runs(&alone).len(), 7 * 2 + 1, "{:?}", runs(&alone).iter().map(|(path, _)| path).collect::<Vec<_>>());
    assert!(runs(&place) == runs(&alone), "cells have other bytes than commands");

    // Parts leave together what one process leaves.
    let shared = Place::new();
    shared.write("test.toml", place.read("test.toml"));
    let parts: Vec<usize> = (0..3).map(|i| ran(&run(&shared, &["--shard", &format!("{i}/3")])).len()).collect();
    assert_eq!(parts, [3, 2, 2]);
    assert!(!shared.path("runs/test.lock.toml").exists() && !shared.path("reports").exists());
    assert_eq!(ran(&run(&shared, &[])), Vec::<&str>::new());
    assert!(runs(&shared) == runs(&alone));

    // Side by side, and without one.
    let zip = |exclude: &str| {
        let file = String::from_utf8(place.read("test.toml")).unwrap();
        let file = file.replace("top = [1, 2]\n", &format!("top = [1, 2, 3]\ncombine = \"zip\"\n{exclude}"));
        place.write("test.toml", file);
        run(&place, &["--dry-run"]).into_iter().map(|(step, state)| format!("{step} {state}")).collect::<Vec<_>>()
    };
    let each = ["lens[at=resid_post,top=1] there", "lens[at=attn_out,top=2] there", "lens[at=mlp_out,top=3] to run"];
    assert_eq!(zip("")[..3], each);
    place.write(
        "test.toml",
        String::from_utf8(place.read("test.toml"))
            .unwrap()
            .replace("top = [1, 2, 3]\ncombine = \"zip\"\n", "top = [1, 2]\n"),
    );
    assert_eq!(zip("exclude = [{ at = \"attn_out\" }]\n"), [each[0], each[2], "once there"]);
}

/// Invariant: A step that fails is told at once; the others go on where that is asked for, and the next run does what is left.
#[test]
fn failures_leave_the_rest() {
    let place = place();
    fs_err::remove_file(place.path("first.txt")).unwrap();
    let stops = place.pellucid(["run", "test.toml", "--format", "json"]);
    assert_eq!(stops.code, Some(2), "{}", stops.stderr);
    assert!(stops.stderr.contains("error: steps.first: ") && stops.stdout.is_empty(), "{}", stops.stderr);
    // What was done before is in the lock file already.
    let lock = String::from_utf8(place.read("runs/test.lock.toml")).unwrap();
    assert!(lock.contains("[steps.lens]") && !lock.contains("[steps.first]"), "{lock}");
    let goes_on = place.pellucid(["run", "test.toml", "--format", "json", "--keep-going"]);
    let word =
        |states: &[(String, String)]| states.iter().map(|(_, state)| state.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(word(&states(&goes_on)), "there failed ran skipped");
    assert!(goes_on.stderr.contains("1 step failed: first, and 1 step needed what failed"), "{}", goes_on.stderr);
    assert_eq!(goes_on.code, Some(2));
    assert!(!place.path("reports").exists());
    place.write("first.txt", "Mary went to the store\nJohn met Mary\n");
    assert_eq!(ran(&run(&place, &[])), ["first", "both"]);
    assert!(place.path("reports/test/report.html").exists());
}

/// Invariant: A report is made of tables and its file alone: the same twice is the same bytes, and nothing in it comes from outside.
#[test]
fn reports_are_made_of_tables() {
    let place = place();
    let file = EXPERIMENT.to_owned()
        + r#"
[report]
template = """
The first token is {{value steps.lens.token where="rank = 1 and layer = 0 and pos = 1"}}, with <b>tags</b>.

{{chart steps.lens}}

{{table steps.lens where="rank = 1" per="layer" columns="layer, prob" by="-prob" rows=2}}
"""
"#;
    place.write("test.toml", &file);
    run(&place, &[]);
    let report = |name: &str| String::from_utf8(place.read(&format!("reports/{name}"))).unwrap();
    let (html, markdown) = (report("test/report.html"), report("test/README.md"));
    run(&place, &["--report", "reports/again"]);
    assert_eq!((report("again/report.html"), report("again/README.md")), (html.clone(), markdown.clone()));
    // No address but names of XML.
    let addresses = html.split("http").skip(1).filter(|rest| !rest.starts_with("://www.w3.org/"));
    assert_eq!(addresses.count(), 0);
    for no in ["<script", "<link", "<b>tags", "src="] {
        assert!(!html.contains(no), "{no}");
    }
    assert!(html.contains("&lt;b&gt;tags") && html.contains("<html lang=\"en\">"));
    // The table has its two rows, greatest first, and says how many are left out.
    let table = markdown.split("logit\\_lens of lens:").nth(1).unwrap();
    let rows: Vec<f64> =
        (table.lines().skip(4).take(2)).map(|row| row.split('|').nth(2).unwrap().trim().parse().unwrap()).collect();
    assert!(rows[0] >= rows[1] && table.contains("... and "), "{table}");
    // Every figure is there, and the commands that made them.
    let figures: Vec<&str> = markdown.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0).collect();
    assert_eq!(figures, ["lens-logit_lens.svg"]);
    assert!(place.path("reports/test/lens-logit_lens.svg").exists());
    assert!(markdown.contains("pellucid lens --top 2 'Mary and John'"), "{markdown}");
    assert!(html.contains("✓ yes") && !html.contains("✗ no"));

    // Another template makes another report, runs nothing, and takes away the figure that it does not show.
    place.write("test.toml", file.replace("{{chart steps.lens}}", ""));
    assert_eq!(ran(&run(&place, &[])), Vec::<&str>::new());
    assert!(!place.path("reports/test/lens-logit_lens.svg").exists());
    // What is somebody else's stays.
    place.write("mine/README.md", "my notes");
    let done = place.pellucid(["run", "test.toml", "--report", "mine", "-q"]);
    assert_eq!((done.code, place.read("mine/README.md")), (Some(2), b"my notes".to_vec()), "{}", done.stderr);
    assert!(!place.path("mine/report.html").exists());
}

/// Invariant: An exported data set is a step: it has the bytes of its command, it is there the next time, and one that is damaged is made again.
#[test]
fn a_data_set_is_a_step() {
    let (place, alone) = (Place::new(), Place::new());
    let texts = "Mary went to the store and John met Mary there\n".repeat(40);
    let file = "[experiment]\ntitle = \"t\"\n[steps.data]\nrun = \"export\"\ncorpus = \"c.txt\"\nhooks = \"blocks.1.hook_resid_post\"\ncontext = 16\n";
    for place in [&place, &alone] {
        place.write("c.txt", &texts);
    }
    place.write("test.toml", file);
    assert_eq!(run(&place, &[]), [("data".to_owned(), "ran".to_owned())]);
    assert_eq!(run(&place, &[]), [("data".to_owned(), "there".to_owned())]);
    alone.ok(["export", "--corpus", "c.txt", "--hooks", "blocks.1.hook_resid_post", "--context", "16"]);
    let runs = |place: &Place| {
        let all = results(place).into_iter();
        let all = all.map(|(path, bytes)| (path.strip_prefix(place.path("")).unwrap().to_owned(), bytes));
        all.filter(|(path, _)| path.starts_with("runs") && !path.ends_with("test.lock.toml")).collect::<Vec<_>>()
    };
    assert!(runs(&place).len() > 2);
    assert!(runs(&place) == runs(&alone), "{:?}", runs(&place).iter().map(|(path, _)| path).collect::<Vec<_>>());
}

/// Invariant: A step's own model and seed come before those of the experiment, which are those of all others.
#[test]
fn a_step_may_have_its_own_model_and_seed() {
    let place = Place::new();
    let own = crate::bin::model("gpt2");
    place.write(
        "test.toml",
        format!(
            "[experiment]\ntitle = \"t\"\nseed = 5\n[steps.a]\nrun = \"generate\"\ntexts = [\"Mary\"]\n\
             [steps.b]\nrun = \"generate\"\ntexts = [\"Mary\"]\nseed = 7\n\
             [steps.c]\nrun = \"generate\"\nids = [\"1,2\"]\nmodel = '{own}'\n"
        ),
    );
    let json: serde_json::Value =
        serde_json::from_str(&place.ok(["run", "test.toml", "--dry-run", "--format", "json"]).stdout).unwrap();
    let said = |step: usize| {
        let words = json["steps"][step]["command"].as_array().unwrap_or_else(|| panic!("{json:#}"));
        words.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    let [a, b, c] = [0, 1, 2].map(said);
    assert!(a.contains("--seed 5") && b.contains("--seed 7") && c.contains("--seed 5"), "{a}\n{b}\n{c}");
    assert!(!a.contains(&own) && c.contains(&own), "{a}\n{c}");
}

/// Invariant: A dry run says what would be run, in order, and writes nothing, also of models that are not on this machine.
#[test]
fn dry_runs_write_nothing() {
    let place = place();
    let before = place.contents();
    let words = |states: Vec<(String, String)>| {
        states.into_iter().map(|(step, state)| format!("{step} {state}")).collect::<Vec<_>>()
    };
    assert_eq!(words(run(&place, &["--dry-run"])), ["lens to run", "first to run", "other to run", "both unknown"]);
    let far = ["--dry-run", "--set", "experiment.model=org/not-here@0123456789012345678901234567890123456789"];
    assert_eq!(words(run(&place, &far)), ["lens unknown", "first unknown", "other unknown", "both unknown"]);
    assert!(place.contents() == before);
    assert_eq!(words(run(&place, &["--only", "other"])), ["other ran"]);
    assert!(!place.path("reports").exists());
    assert_eq!(words(run(&place, &["--dry-run", "--only", "both"])), ["first to run", "other there", "both unknown"]);
}
