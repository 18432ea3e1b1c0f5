//! Commands among other programs: what is on stdout can be read, the folder is known, nothing is left behind that was not asked for, and
//! there are as many figures as were asked for.

use serde_json::Value;

use crate::bin::{GIVERS, Place};
use crate::faults::writers::{ALL, Writer};

/// The commands whose results are files alone.
const FILES: [&str; 2] = ["cache", "chart"];
fn json(text: &str, what: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{what}: {e}\n{}", &text[..text.len().min(400)]))
}

/// Invariant: `--format json` is one JSON document of every command that has results, and `ndjson` a document in each line.
#[test]
fn every_command_writes_the_format_that_was_asked_for() {
    for name in ALL {
        let writer = Writer::unrun(name);
        let of = |format: &str| {
            writer.place.ok(writer.args(false, format).iter().map(String::as_str).chain(["--format", format])).stdout
        };
        let rows = json(&of("json"), name);
        let rows = rows.as_array().unwrap_or_else(|| panic!("{name}: {rows}"));
        assert!(!rows.is_empty() && rows.iter().all(Value::is_object), "{name}");
        let lines = of("ndjson");
        assert_eq!(lines.lines().map(|line| json(line, name)).collect::<Vec<_>>().len(), rows.len(), "{name}");
        if FILES.contains(&name) {
            for row in rows {
                assert!(writer.place.path(row["file"].as_str().unwrap()).is_file(), "{name}: {row}");
            }
        }
    }
    let place = Place::new();
    for args in [&["hooks"][..], &["model"], &["tables"]] {
        assert!(json(&place.ok(args.iter().chain(&["--format", "json"])).stdout, args[0]).is_array(), "{args:?}");
    }
}

/// Invariant: `--out -` writes nothing: what is on stdout is what it would be with a folder.
#[test]
fn a_command_that_is_told_to_write_nothing_writes_nothing() {
    for name in ALL {
        let writer = Writer::unrun(name);
        let before = writer.place.contents();
        let args = writer.args(false, "-");
        match name {
            // Their results are files.
            "cache" | "explain" | "export" | "neurons" => {
                writer.place.refused(&args, 2, "folder");
            }
            "chart" => {
                writer.place.refused(&args, 2, "several figures");
            }
            _ => {
                let done = writer.place.ok(&args);
                assert!(writer.place.contents() == before, "{name} leaves {:?}", writer.place.contents().keys());
                let json = |out: &str| {
                    let args = writer.args(false, out);
                    writer.place.ok(args.iter().map(String::as_str).chain(["--format", "ndjson"])).stdout
                };
                assert_eq!(json("-"), json("folder"), "{name}");
                if name != "tokens" {
                    assert_eq!(done.stdout, writer.place.ok(writer.args(false, "folder")).stdout, "{name}");
                }
            }
        }
    }
    let place = Place::new();
    let lens = |more: &[&str], says: &str| {
        place.refused(["lens", "Mary and John", "--out", "-"].iter().chain(more), 2, says);
    };
    lens(&["--print-folder"], "--print-folder");
    let patch = |more: &[&str], says: &str| {
        place.refused(["patch", "--over", "layer", "--out", "-"].iter().chain(&GIVERS).chain(more), 2, says);
    };
    patch(&["--resume"], "--out -");
    patch(&["--shard", "1/2"], "--out -");
}

/// Invariant: `-q --print-folder` prints the folder of the results, and nothing else.
#[test]
fn a_script_learns_the_folder() {
    for name in ALL.into_iter().filter(|name| *name != "chart") {
        let writer = Writer::unrun(name);
        let mut args = writer.args(false, "out");
        args.push("--print-folder".to_owned());
        assert_eq!(writer.place.ok(&args).stdout, "out\n", "{name}");
        assert!(writer.place.path("out").is_dir(), "{name}");
        // The same request again, as a program reads it.
        args.extend(["--format".to_owned(), "json".to_owned(), "--force".to_owned()]);
        let said = writer.place.ok(&args);
        assert_eq!(json(&said.stdout, name)[0]["folder"], "out", "{name}");
        assert_eq!(said.stderr, "", "{name}");
    }
    let place = Place::new();
    let printed = place.ok(["lens", "-q", "--print-folder", "Mary and John"]).stdout;
    assert_eq!(place.path(printed.trim_end()), place.only_run());
    place.refused(["tokens", "Mary", "--print-folder"], 2, "no folder is written");
}

/// What the folder `run` has of figures.
fn figures(place: &Place, run: &str) -> Vec<String> {
    let mut names: Vec<String> = (fs_err::read_dir(place.path(run)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".svg"))
        .collect();
    names.sort();
    names
}

/// Invariant: As many figures are drawn as were asked for, under names that do not depend on that, and it is said of how many prompts.
#[test]
fn figures_are_those_that_were_asked_for() {
    let place = Place::new();
    place.write("p.csv", format!("ids\n{}", "1 2 3\n1 2 4\n".repeat(12)));
    let m = crate::bin::model("gpt2");
    let run = |which: Option<&str>, out: &str| {
        let how: Vec<&str> = which.into_iter().flat_map(|which| ["--figures", which]).collect();
        place.ok(["lens", "-m", &m, "--prompts", "p.csv", "--out", out].iter().chain(&how)).stderr
    };
    let said = run(None, "by-itself");
    assert!(said.contains("figures of 20 of 24 prompts, --figures all draws them all"), "{said}");
    assert_eq!(figures(&place, "by-itself").len(), 20);
    let said = run(Some("all"), "all");
    assert!(said.contains("figures of 24 of 24 prompts\n"), "{said}");
    let all = figures(&place, "all");
    assert_eq!(all.len(), 24);
    let said = run(Some("first"), "first");
    assert!(said.contains("figures of 1 of 24 prompts"), "{said}");
    assert_eq!(figures(&place, "first"), ["logit_lens-p0.svg"]);
    assert_eq!(place.read("first/logit_lens-p0.svg"), place.read("all/logit_lens-p0.svg"));
    assert_eq!(place.read("first/logit_lens.parquet"), place.read("all/logit_lens.parquet"));
    let said = run(Some("none"), "none");
    assert!(said.contains("figures of 0 of 24 prompts"), "{said}");
    assert!(figures(&place, "none").is_empty());
    run(Some("3"), "three");
    assert_eq!(figures(&place, "three").len(), 3);
    for which in ["0", "-1", "some", "1.5"] {
        place.refused(
            ["lens", "-m", &m, "--prompts", "p.csv", "--out", "x", &format!("--figures={which}")],
            2,
            "choice of figures",
        );
    }
    // Whoever asks for fewer does not ask for the others to go; whoever asks for other results does.
    let before: Vec<Vec<u8>> = all.iter().map(|name| place.read(&format!("all/{name}"))).collect();
    for which in ["none", "first"] {
        run(Some(which), "all");
        assert_eq!(figures(&place, "all"), all, "{which}");
    }
    let after: Vec<Vec<u8>> = all.iter().map(|name| place.read(&format!("all/{name}"))).collect();
    assert!(before == after);
    run(Some("first"), "other");
    run(Some("none"), "other");
    assert_eq!(figures(&place, "other").len(), 1);
    place.ok(["lens", "-m", &m, "--ids", "1,2", "--out", "other", "--force", "--figures", "none"]);
    assert!(figures(&place, "other").is_empty());
    // The others, later.
    let said = place.ok(["chart", "none/logit_lens.parquet", "--figures", "all", "--out", "later"]);
    assert!(
        said.stderr.contains("figures of 24 of 24 prompts\n") && said.stdout.lines().count() == 24,
        "{}",
        said.stderr
    );
    assert_eq!(figures(&place, "later"), all);
    // One figure has nothing to say, and what a terminal shows does not depend on the files.
    assert!(!place.ok(["lens", "-m", &m, "--ids", "1,2", "--out", "one"]).stderr.contains("figures of"));
    let shown = |which: &str| {
        place.ok(["lens", "-q", "-m", &m, "--prompts", "p.csv", "--out", "all", "--force", "--figures", which]).stdout
    };
    assert_eq!(shown("none"), shown("all"));
}

/// Invariant: as `figures_are_those_that_were_asked_for`.
#[test]
fn figures_of_sweeps_and_words_are_counted_too() {
    let place = Place::new();
    let pair = "Mary and John|John and Mary| went| met\n";
    let csv: String = pair.repeat(3).replace('|', ",");
    place.write("pairs.csv", format!("clean,corrupt,answer,foil\n{csv}"));
    let patch = ["patch", "--pairs", "pairs.csv", "--at", "resid_pre", "--over", "layer,pos", "--out", "sweep"];
    let said = place.ok(patch.iter().chain(&["--figures", "first"])).stderr;
    assert!(said.contains("figures of 1 of 3 pairs, --figures all draws them all"), "{said}");
    assert_eq!(figures(&place, "sweep").iter().filter(|name| name.starts_with("patch-")).count(), 1);
    assert!(figures(&place, "sweep").iter().any(|name| name.starts_with("patch_mean")), "the mean is drawn too");
    let words = ["embed", " Mary", " John", " gave", "--out", "words", "--figures", "2"];
    let said = place.ok(words).stderr;
    assert!(said.contains("figures of 2 of 3 entries"), "{said}");
}
