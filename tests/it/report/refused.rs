//! Experiment files that cannot be: one sentence, one hint, and nothing written.

use super::{EXPERIMENT, place};
use crate::bin::Place;

#[test]
fn what_cannot_be_is_said() {
    let with = |old: &str, new: &str| {
        assert!(EXPERIMENT.contains(old), "{old}");
        EXPERIMENT.replacen(old, new, 1)
    };
    let and = |more: &str| format!("{EXPERIMENT}\n{more}\n");
    let matrix = |axes: &str| {
        format!(
            "[experiment]\ntitle = \"t\"\n[matrix]\n{axes}\n[steps.lens]\nrun = \"lens\"\ntexts = [\"Mary\"]\n\
             at = \"${{matrix.at}}\"\ntop = \"${{matrix.top}}\"\n"
        )
    };
    let report = |template: &str| and(&format!("[report]\ntemplate = '''\n{template}\n'''"));
    let expect = |claim: &str| EXPERIMENT.replacen("steps.lens: rows > 3", claim, 1);
    let many = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let cases: Vec<(String, &str, &str)> = vec![
        ("not toml".into(), "line 1: this is not TOML", ""),
        (and("[sttps]\na = 1"), "the file has no table `sttps`", "`steps`"),
        (with("question", "questoin"), "`[experiment]` has no key `questoin`", "`question`"),
        (with("title = \"A test\"", ""), "`[experiment]` has no title", ""),
        (with("title = \"A test\"", "title = 3"), "`experiment.title` is a number, and should be text", ""),
        (with("run = \"lens\"", "run = \"lense\""), "steps.lens: there is no command `lense`", "`lens`"),
        (with("run = \"lens\"", "run = \"hooks\""), "`hooks` leaves no results", ""),
        (with("run = \"lens\"\n", ""), "the step `lens` does not say what it runs", ""),
        (with("top = 2", "topp = 2"), "steps.lens: `lens` has no option `topp`", "`top`"),
        (with("top = 2", "top = \"many\""), "steps.lens: ", ""),
        (with("top = 2", "top = { a = 1 }"), "`top` is a table", ""),
        (with("top = 2", "out = \"x\""), "`out` is no option of a step", ""),
        (
            with("lens\"\ntexts = [\"Mary and John\"]\ntop = 2", "explain\"\ntexts = [\"Mary\"]\nserve = true"),
            "`serve` is no option of a step",
            "",
        ),
        (with("top = 2", "no_bos = 1"), "`no_bos` is a number, and should be true or false", ""),
        (with("top = 2", "no-bos = true\nno_bos = true"), "given twice", ""),
        (with("steps.first.table}", "steps.frist.table}"), "steps.both: there is no step `frist`", "`first`"),
        (with("steps.first.table}", "steps.first.losses}"), "the step `first` has no `losses`", "`loss`"),
        (with("steps.first.table}", "steps.first}"), "does not say which result", ""),
        (with("steps.first.table}", "env.PELLUCID_NOT_SET}"), "`${env.PELLUCID_NOT_SET}` is not set", ""),
        (
            with("\"first.txt\"", "\"${steps.both.table}\""),
            "need each other in a circle: first needs both needs first",
            "",
        ),
        (with("\"first.txt\"", "\"${steps.first.table}\""), "in a circle: first needs first", ""),
        (with("\"first.txt\"", "\"${matrix.x}\""), "the matrix has no axis `x`", ""),
        (with("\"first.txt\"", "\"${firsts}\""), "refers to nothing", ""),
        (with("\"first.txt\"", "\"${\""), "without its }", ""),
        (matrix(&format!("at = [\"z\"]\ntop = [{}]", many(10_000))), "the matrix has 10000 cells", "--yes"),
        (matrix("at = [\"z\"]\ntop = [1, 1]"), "`matrix.top` has 1 twice", ""),
        (matrix("at = []\ntop = [1]"), "`matrix.at` has no values", ""),
        (matrix("at = [\"z\"]\ntop = [1]\nx = [1]"), "no step names `${matrix.x}`", ""),
        (matrix("at = [\"z\"]\ntop = [1, 2]\ncombine = \"zip\""), "side by side they need as many", ""),
        (matrix("at = [\"z\"]\ntop = [1]\nexclude = [{ att = \"z\" }]"), "the matrix has no axis `att`", "`at`"),
        (matrix("at = [\"z\"]\ntop = [1]\nexclude = [{ at = \"q\" }]"), "names at = q, which there is not", ""),
        (matrix("at = [\"z\"]\ntop = [1]\nexclude = [{ at = \"z\" }]"), "all cells of the matrix are excluded", ""),
        (report("{{chart steps.lense}}"), "report.template: there is no step `lense`", "`lens`"),
        (report("{{chart steps.lens.lenses}}"), "the step `lens` has no table `lenses`", ""),
        (report("{{chrt steps.lens}}"), "begins with `chrt`", "`chart`"),
        (report("a {{chart steps.lens}}"), "stands in a line of text", ""),
        (report("{{value steps.lens}}"), "does not say which column", ""),
        (report("{{value steps.lens.probb}}"), "the table has no column `probb`", "`prob`"),
        (report("{{table steps.lens where=\"rnk = 1\"}}"), "the table has no column `rnk`", "`rank`"),
        (report("{{table steps.lens row=1}}"), "there is no `row=` there", "`rows`"),
        (report("{{table steps.lens"), "has no `}}`", ""),
        (expect("steps.lense: rows > 3"), "there is no step `lense`", "`lens`"),
        (expect("steps.lens: rows > many"), "where a number should be", ""),
        (expect("steps.lens: mean of tokens > 3"), "the table has no column `tokens`", "`token`"),
        (expect("steps.lens: mean of token > 3"), "the column `token` has no numbers", ""),
        (expect("steps.lens where rank = first: rows > 3"), "which has numbers", ""),
        (expect("steps.lens: head 1.0 in top 3 by prob"), "the table has no column `head`", ""),
        (expect("steps.lens: rank = 1 in top 3 of prob"), "has `of` where `by` should be", ""),
        (expect("steps.lens: any token = 'x"), "a quote that is not closed", ""),
        (expect("lens: rows > 3"), "`lens` is no result of a step", ""),
        (expect("steps.lens: rows > 3 and more"), "where the end should be", ""),
    ];
    let place = place();
    let mut wrong = vec![];
    for (file, says, hint) in cases {
        place.write("test.toml", &file);
        let before = place.contents();
        let done = place.pellucid(["run", "test.toml"]);
        let lines: Vec<&str> = done.stderr.lines().collect();
        let form = matches!(lines[..], [e, h] if e.starts_with("error: test.toml: ") && h.starts_with("hint: "));
        if done.code != Some(2)
            || !form
            || !lines[0].contains(says)
            || !lines[1].contains(hint)
            || place.contents() != before
        {
            wrong.push(format!("{says}: {:?}: {}", done.code, done.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_asked_for_must_be_there() {
    let place = place();
    place.refused(["run", "no.toml"], 2, "no.toml");
    place.refused(["run", "test.toml", "--only", "lense"], 2, "`lens`");
    place.refused(["run", "test.toml", "--why", "lens[at=z]"], 2, "there is no cell `lens[at=z]`");
    place.refused(["run", "test.toml", "--set", "steps.lense.top=3"], 2, "`lens`");
    place.refused(["run", "test.toml", "--set", "steps.lens.topp=3"], 2, "`top`");
    place.refused(["run", "test.toml", "--set", "top"], 2, "sets no value");
    let empty = Place::new();
    empty.write("test.toml", "[experiment]\ntitle = \"t\"\n");
    empty.refused(["run", "test.toml"], 2, "there is no step");
}
