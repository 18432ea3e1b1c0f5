//! `docs/invariants.md`: what always holds, from the comments of the tests that hold it. `/// Invariant: SENTENCE` stands at a test; at
//! each further test of the same sentence stands ``/// Invariant: as `NAME` ``, with the name of the first.

use std::collections::HashSet;
use std::fmt::Write;

use super::docs::committed;
use super::tidy::{files, read, root};

/// The folders of `tests/it` in the order of the floors, which is that of the page.
const FLOORS: &[&str] = &[
    "arch", "ops", "hook", "model", "sweep", "text", "table", "view", "session", "dataset", "analysis", "report",
    "cli", "hub", "demo", "hostile", "faults", "house", "help",
];

/// What a comment at a test says.
struct Said {
    floor: String,
    /// What `cargo test` calls the test, and its last part.
    path: String,
    name: String,
    text: String,
}

/// Every such comment in tests of the library (below `src`) and of the program (below `tests/it`).
fn said() -> Vec<Said> {
    let mut all = vec![];
    for (folder, inside) in [("tests/it", ""), ("src", "::tests")] {
        for file in files(&root().join(folder), ".rs") {
            let path = file.strip_prefix(root().join(folder)).unwrap().to_string_lossy().replace('\\', "/");
            let module = path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
            let source = std::fs::read_to_string(&file).unwrap();
            let mut lines = source.lines().map(str::trim);
            while let Some(line) = lines.next() {
                let Some(begin) = line.strip_prefix("/// Invariant: ") else { continue };
                let mut text = begin.to_owned();
                let mut next = lines.next().unwrap();
                while let Some(more) = next.strip_prefix("/// ") {
                    text = format!("{text} {more}");
                    next = lines.next().unwrap();
                }
                let mut is_test = false;
                while next.starts_with("#[") {
                    is_test |= next == "#[test]";
                    next = lines.next().unwrap();
                }
                // `for_every_model!` makes tests of `fn law = check;`.
                is_test |= next.contains(" =");
                let name = next.strip_prefix("fn ").and_then(|rest| rest.split(['(', ' ']).next()).unwrap_or_default();
                assert!(is_test && !name.is_empty(), "{path}: no test follows on the comment \"{text}\", but: {next}");
                let floor = match (folder, path.split('/').next().unwrap()) {
                    ("src", floor) if !FLOORS.contains(&floor) => "house",
                    (_, floor) => floor,
                };
                let path = format!("{module}{inside}::{name}");
                all.push(Said { floor: floor.to_owned(), path, name: name.to_owned(), text });
            }
        }
    }
    all
}

/// Invariant: as `dependencies_point_one_way`.
#[test]
fn every_invariant_stands_at_a_test_that_holds_it() {
    let said = said();
    let (further, first): (Vec<&Said>, Vec<&Said>) = said.iter().partition(|s| s.text.starts_with("as `"));
    let mut names = HashSet::new();
    for s in &first {
        assert!(names.insert(s.name.as_str()), "two invariants stand at tests called {}: rename one", s.name);
        assert!(s.text.ends_with('.') && !s.text.contains('|'), "{}: {}", s.path, s.text);
    }
    let of = |s: &Said| s.text.trim_start_matches("as `").trim_end_matches("`.").to_owned();
    for s in &further {
        assert!(names.contains(of(s).as_str()), "{} holds the invariant of {}, which is none", s.path, of(s));
    }
    assert!(first.len() > 100, "only {}", first.len());

    let mut page = String::from(
        "# Invariants\n\n\
         What always holds, and the tests that would fail if it did not. Each sentence stands in the comment of the first test beside \
         it (`/// Invariant: ...`), from which this page is generated: `cargo test --release NAME` runs the test.\n",
    );
    for floor in FLOORS {
        let rows: Vec<_> = first.iter().filter(|s| s.floor == *floor).collect();
        if rows.is_empty() {
            continue;
        }
        let module = read(&format!("tests/it/{floor}/mod.rs"));
        let about: Vec<&str> = module.lines().map_while(|line| line.strip_prefix("//! ")).collect();
        let _ = write!(page, "\n## {floor}\n\n{}\n\n| invariant | tests |\n|---|---|\n", about.join(" "));
        for s in rows {
            let tests: Vec<&str> = further.iter().filter(|f| of(f) == s.name).map(|f| f.path.as_str()).collect();
            let tests = [&[s.path.as_str()], tests.as_slice()].concat().join("`, `");
            let _ = writeln!(page, "| {} | `{tests}` |", s.text.trim_end_matches('.'));
        }
    }
    committed("invariants.md", &page);
}
