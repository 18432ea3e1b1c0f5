//! Commands among other programs: what is on stdout can be read, the folder is known, nothing is left behind that was not asked for, and
//! there are as many figures as were asked for.

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::Value;

use crate::bin::{Done, GIVERS, Place};
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

/// The rows of a parquet file as its own crate reads them: names of columns, and of each row its values.
fn rows_of(place: &Place, file: &str) -> (Vec<String>, Vec<Vec<Field>>) {
    let reader = SerializedFileReader::new(fs_err::File::open(place.path(file)).unwrap().into_parts().0).unwrap();
    let rows: Vec<Row> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let names = rows[0].get_column_iter().map(|(name, _)| name.clone()).collect();
    (names, rows.iter().map(|row| row.get_column_iter().map(|(_, value)| value.clone()).collect()).collect())
}

/// That CSV has these rows. No value of them has a comma.
fn is_csv_of(csv: &str, (names, rows): &(Vec<String>, Vec<Vec<Field>>)) {
    let mut lines = csv.lines();
    assert_eq!(lines.next().unwrap().split(',').collect::<Vec<_>>(), *names);
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().zip(rows) {
        assert_eq!(line.len(), row.len(), "{line:?}");
        for (cell, value) in line.iter().zip(row) {
            match value {
                Field::Null => assert_eq!(*cell, "", "{line:?}"),
                Field::Float(x) => assert_eq!(cell.parse::<f32>().unwrap(), *x, "{line:?}"),
                Field::Double(x) => assert_eq!(cell.parse::<f64>().unwrap(), *x, "{line:?}"),
                Field::Str(text) => assert_eq!(cell, text, "{line:?}"),
                Field::Bool(x) => assert_eq!(*cell, x.to_string(), "{line:?}"),
                other => assert_eq!(*cell, other.to_string(), "{line:?}"),
            }
        }
    }
}

/// Invariant: `--table` prints the table that it names, row for row what its file has, and changes no result; `pellucid merge` has it too.
#[test]
fn a_table_is_printed_by_its_name() {
    let place = Place::new();
    let pair = |verb: &str| {
        let prompt = |name: &str| format!("Mary and John met. Then {name} {verb} to");
        let (clean, corrupt) = (prompt("John"), prompt("Mary"));
        serde_json::json!({"clean": clean, "corrupt": corrupt, "answer": " Mary", "foil": " John"}).to_string() + "\n"
    };
    place.write("pairs.jsonl", ["spoke", "went", "gave"].map(pair).concat());
    let patch = ["patch", "--pairs", "pairs.jsonl", "--at", "resid_pre", "--over", "layer,pos"];
    let run = |more: &[&str]| place.ok(patch.iter().chain(more));
    for table in ["patch", "patch_mean"] {
        let printed = run(&["--out", "whole", "--format", "csv", "--table", table]).stdout;
        is_csv_of(&printed, &rows_of(&place, &format!("whole/{table}.parquet")));
        assert_eq!(run(&["--out", "-", "--format", "csv", "--table", table]).stdout, printed, "{table}");
        let json = json(&run(&["--out", "whole", "--format", "json", "--table", table]).stdout, table);
        assert_eq!(json.as_array().unwrap().len(), printed.lines().count() - 1, "{table}");
    }
    // As words too: what a terminal shows by itself are means.
    let words = |more: &[&str]| run(&[&["--out", "whole"], more].concat()).stdout;
    assert_eq!(words(&["--table", "patch_mean"]), words(&[]));
    let effects = words(&["--table", "patch"]);
    assert!(effects.contains("demo · pair 0 ·") && effects != words(&[]), "{effects}");
    // One request, one folder.
    let request = |more: &[&str]| run(&[&["-q", "--print-folder"], more].concat()).stdout;
    let folder = request(&[]);
    run(&["--table", "patch"]);
    assert_eq!(place.path(folder.trim_end()), place.only_run());
    // Joined shards.
    for shard in ["0/2", "1/2"] {
        run(&["--out", "parts", "--shard", shard]);
    }
    place.refused(["merge", "parts", "--table", "patch_meen"], 2, "patch_mean");
    let merged = place.ok(["merge", "parts", "--format", "csv", "--table", "patch_mean"]).stdout;
    is_csv_of(&merged, &rows_of(&place, "whole/patch_mean.parquet"));
    // Known before anything runs.
    let refused = |more: &[&str], says: &str| {
        place.refused(patch.iter().chain(&["--out", "none"]).chain(more), 2, says);
    };
    refused(&["--table", "patch_meen"], "patch_mean");
    refused(&["--table", "logit_lens"], "possible values: patch, patch_mean");
    refused(&["--table", "patch_mean", "--print-folder"], "leave out --print-folder, or --table");
    refused(&["--table", "patch_mean", "--shard", "0/2"], "give --table to `pellucid merge`");
    place.refused(["attention", "Mary", "--table", "attention"], 2, "--table");
}

/// What the program prints, as bytes.
fn bytes(place: &Place, args: &[&str]) -> Vec<u8> {
    let done = place.command(env!("CARGO_BIN_EXE_pellucid")).args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// What it makes of these bytes on stdin.
fn piped(place: &Place, args: &[&str], stdin: &[u8]) -> Done {
    place.write("stdin", stdin);
    let stdin = std::fs::File::open(place.path("stdin")).unwrap();
    place.command(env!("CARGO_BIN_EXE_pellucid")).args(args).stdin(stdin).output().unwrap().into()
}

/// Invariant: `--format parquet` prints the bytes of a table's file, and `pellucid chart -` draws them.
#[test]
fn a_table_goes_through_a_pipe_as_its_file() {
    let place = Place::new();
    let parquet = ["-q", "--format", "parquet"];
    let two = ["residual", "Mary and John", "Tom and Sara"];
    place.ok(two.iter().chain(&["-q", "--out", "two"]));
    for out in ["-", "two"] {
        for (table, more) in [("residual", &[][..]), ("residual_mean", &["--table", "residual_mean"])] {
            let printed = bytes(&place, &[&two[..], &parquet, &["--out", out], more].concat());
            assert!(printed == place.read(&format!("two/{table}.parquet")), "{table}, --out {out}");
        }
    }
    // Of results that lie in memory there is no file.
    place.write("hooks.parquet", bytes(&place, &[&["hooks"][..], &parquet].concat()));
    let lines = place.ok(["hooks", "--format", "ndjson"]).stdout;
    assert_eq!(rows_of(&place, "hooks.parquet").1.len(), lines.lines().count());
    place.ok(["lens", "-q", "Mary and John", "--out", "lens"]);
    let lens = bytes(&place, &[&["lens", "Mary and John", "--out", "-"][..], &parquet].concat());
    let drawn = piped(&place, &["chart", "-", "--out", "-"], &lens);
    assert_eq!(drawn.code, Some(0), "{}", drawn.stderr);
    assert!(drawn.stdout.as_bytes() == place.read("lens/logit_lens.svg"));
    // What is no table is called by no name that nobody gave.
    let csv = place.ok(["lens", "Mary and John", "--out", "-", "--format", "csv"]).stdout;
    let reads = "--format parquet";
    for (stdin, says, hint) in [
        (csv.as_bytes(), "stdin is not a parquet file", reads),
        (&b""[..], "stdin is empty", reads),
        (&lens[..lens.len() / 2], "the parquet file stdin is cut short", "again"),
        (&[0, 255, 7][..], "stdin is not a parquet file", "a table that pellucid wrote"),
    ] {
        let done = piped(&place, &["chart", "-", "--out", "-"], stdin);
        done.is_refusal(says, 2, says);
        assert!(done.stderr.contains(hint), "{}", done.stderr);
    }
}

/// Invariant: `--format parquet` is refused before anything runs where nothing could read it, or no table is printed.
#[test]
fn a_table_is_printed_as_its_file_where_that_can_be() {
    let place = Place::new();
    let refused = |args: &[&str], says: &str| {
        place.refused(args.iter().chain(&["--format", "parquet"]), 2, says);
    };
    let none: &[&[&str]] =
        &[&["cache", "Mary", "--hooks", "z"], &["chart", "none"], &["run", "none.toml"], &["glossary"], &["tables"]];
    for args in none {
        refused(args, &format!("`pellucid {}` prints none", args[0]));
    }
    refused(&["lens", "Mary", "--print-folder"], "leave out --print-folder, or --format parquet");
    let patch = [&["patch"][..], &GIVERS, &["--over", "layer", "--shard", "0/2"]].concat();
    refused(&patch, "give --format parquet to `pellucid merge`");
    // The other end of a terminal is one.
    let Ok(terminal) = std::fs::File::options().read(true).write(true).open("/dev/ptmx") else { return };
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    command.args(["lens", "Mary", "--format", "parquet"]).stdout(terminal);
    let done: Done = command.output().unwrap().into();
    done.is_refusal("a terminal", 2, "stdout is a terminal");
    assert!(!place.path("runs").exists());
}

/// Invariant: A table that was asked for by `--table` and not made is said when all others are written.
#[test]
fn a_table_that_was_not_made_is_said() {
    let place = Place::new();
    let done = place.pellucid(["lens", "Mary and John", "--table", "logit_lens_mean", "--format", "csv"]);
    assert_eq!((done.code, &*done.stdout), (Some(2), ""), "{}", done.stderr);
    let lines: Vec<&str> = done.stderr.lines().collect();
    let [.., wrote, error, hint] = &lines[..] else { panic!("{}", done.stderr) };
    assert!(wrote.starts_with("wrote runs/lens-"), "{}", done.stderr);
    assert!(error.starts_with("error: this run has made no table logit_lens_mean"), "{}", done.stderr);
    assert!(hint.starts_with("hint: there is logit_lens;"), "{}", done.stderr);
    let run = place.only_run();
    for name in ["logit_lens.parquet", "logit_lens.svg", "manifest.json"] {
        assert!(run.join(name).is_file(), "{name}");
    }
    // With a second prompt and a target it is there.
    let two =
        ["lens", "Mary and John", "Tom and Sara", "--target", " went", "--table", "logit_lens_mean", "--format", "csv"];
    let printed = place.ok(two.iter().chain(&["--out", "two"])).stdout;
    is_csv_of(&printed, &rows_of(&place, "two/logit_lens_mean.parquet"));
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
