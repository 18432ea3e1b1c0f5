//! The house rules that a machine can check: sizes, imports, who may print, pages that have gone stale.

use std::fs;
use std::path::{Path, PathBuf};

use pellucid::arch::family::FAMILIES;

/// A file under `src`.
struct Source {
    /// Its path from `src`, such as `ops/linear.rs`.
    path: String,
    text: String,
}

impl Source {
    /// The folder or file directly under `src` that it belongs to.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Its lines without comments and without its tests, which may look anywhere, each with its number.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.find("#[cfg(test)]\nmod tests").unwrap_or(self.text.len());
        let lines = self.text[..tests].lines().enumerate().map(|(i, line)| (i + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(i, line)| match line.find(" // ") {
            Some(comment) => (i, &line[..comment]),
            None => (i, line),
        })
    }

    /// Where `is_bad` holds, as `src/ops/linear.rs:12`.
    fn wrong(&self, is_bad: impl Fn(&str) -> bool) -> Vec<String> {
        let at = |(i, line): (usize, &str)| format!("src/{}:{i}: {}", self.path, line.trim());
        self.code().filter(|(_, line)| is_bad(line)).map(at).collect()
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `dir` whose name ends in `end`.
pub fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/"),
    };
    files(&src, ".rs").into_iter().map(read).collect()
}

/// Pages for people. Not fixtures, which are data.
fn pages() -> Vec<PathBuf> {
    let top = fs::read_dir(root()).unwrap().map(|e| e.unwrap().path());
    let mut pages: Vec<PathBuf> = top.filter(|p| p.extension().is_some_and(|e| e == "md")).collect();
    for dir in ["docs", "benches"] {
        pages.extend(files(&root().join(dir), ".md"));
    }
    pages
}

pub fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

#[track_caller]
fn none(what: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

/// Invariant: Every file has one purpose and says it at the top; ARCHITECTURE.md is not stale.
#[test]
fn no_file_is_two_things() {
    let long = sources().into_iter().filter(|s| s.text.lines().count() > 500);
    none("over 500 lines", long.map(|s| s.path).collect());
}

/// Invariant: as `no_file_is_two_things`.
#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    let bare = sources().into_iter().filter(|s| !s.text.starts_with("//! "));
    none("without a `//!` line at the top", bare.map(|s| s.path).collect());
}

/// Invariant: Each program in `examples/` has under 60 lines, is named by the page about the library, and is run by `.ci/run`.
#[test]
fn examples_are_short_and_named() {
    let page = read("docs/library.md");
    let wrong = files(&root().join("examples"), ".rs").into_iter().filter(|path| {
        let name = path.file_stem().unwrap().to_string_lossy();
        fs::read_to_string(path).unwrap().lines().count() >= 60 || !page.contains(&format!("`{name}`"))
    });
    none("long, or not in docs/library.md", wrong.map(|path| path.display().to_string()).collect());
    assert!(read(".ci/run").contains("for example in examples/*.rs"));
}

/// Invariant: Nothing below the command line names a flag: errors and notes carry options as data.
#[test]
fn only_the_command_line_names_flags() {
    let is_flag = |line: &str| {
        let after = line.match_indices("--").map(|(i, _)| line[i + 2..].chars().next().unwrap_or(' '));
        (line.contains(" -m ") || after.into_iter().any(|c| c.is_ascii_lowercase())) && !line.contains("`cargo install")
    };
    // What columns mean, and the page of them, is read beside the command that wrote them.
    let is_page = |s: &Source| s.path.ends_with("/rows.rs") || s.path == "analysis/tables/docs.rs";
    let below = sources().into_iter().filter(|s| s.module() != "cli" && !is_page(s));
    let wrong = below.flat_map(|mut source| {
        // What clap is told of a command is the command line's.
        while let Some(at) = source.text.find("#[cfg_attr(") {
            let mut depth = 0;
            let end = source.text[at..].find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                c == ')' && depth == 0
            });
            let told: String = source.text[at..at + end.unwrap()].chars().filter(|c| *c == '\n').collect();
            source.text.replace_range(at..at + end.unwrap(), &told);
        }
        source.wrong(is_flag)
    });
    none("a flag below cli/", wrong.collect());
}

/// What the non-test code of each module may use. Dependencies point one way: a module stands after all that it uses.
const MAY_USE: &[(&str, &[&str])] = &[
    ("visible", &[]),
    ("number", &[]),
    ("glossary", &[]),
    ("error", &["visible"]),
    ("range", &["error"]),
    ("limits", &["error"]),
    ("whole", &["error"]),
    ("guard", &["error", "limits"]),
    ("arch", &["visible", "error"]),
    ("ops", &["error", "arch"]),
    ("hook", &["error", "range", "arch", "ops"]),
    ("table", &["visible", "number", "error", "whole", "guard"]),
    ("text", &["visible", "error", "limits", "whole", "guard", "arch", "table"]),
    ("sample", &["error", "text"]),
    ("view", &["visible", "number", "error", "range", "table", "text"]),
    ("model", &["error", "guard", "arch", "ops", "hook", "text"]),
    ("sweep", &["error", "range", "arch", "ops", "hook", "text", "model"]),
    (
        "session",
        &["number", "error", "range", "limits", "whole", "arch", "ops", "text", "model", "sweep", "table", "view"],
    ),
    ("dataset", &["error", "whole", "table", "session"]),
    (
        "analysis",
        &[
            "visible", "number", "glossary", "error", "range", "limits", "whole", "arch", "ops", "hook", "text",
            "sample", "model", "sweep", "table", "view", "session", "dataset",
        ],
    ),
    ("report", &["visible", "number", "error", "whole", "text", "table", "view", "session", "analysis"]),
    (
        "cli",
        &[
            "visible", "number", "glossary", "error", "range", "limits", "whole", "guard", "arch", "ops", "hook",
            "text", "sample", "model", "sweep", "table", "view", "session", "dataset", "analysis", "report",
        ],
    ),
    ("lib", &["error"]),
    ("main", &["cli", "limits"]),
];

/// Invariant: Dependencies point one way; heavy crates stay behind one door.
#[test]
fn dependencies_point_one_way() {
    for (i, (module, uses)) in MAY_USE.iter().enumerate() {
        let before: Vec<&str> = MAY_USE[..i].iter().map(|(m, _)| *m).collect();
        assert!(uses.iter().all(|u| before.contains(u)), "{module} may use something that stands after it");
    }
    let mut wrong = vec![];
    for source in sources() {
        let module = source.module();
        let Some((_, allowed)) = MAY_USE.iter().find(|(m, _)| *m == module) else {
            wrong.push(format!("src/{module} is new: say in tests/it/house/tidy.rs what it may use"));
            continue;
        };
        // What this test could not read.
        wrong.extend(source.wrong(|line| line.ends_with("crate::{")));
        for (line, code) in source.code() {
            for name in modules_used(code) {
                // `lib.rs` lifts the error types to the top, for everyone.
                let name = if matches!(name, "Error" | "Result") { "error" } else { name };
                let known = MAY_USE.iter().any(|(m, _)| *m == name);
                if known && name != module && !allowed.contains(&name) {
                    wrong.push(format!("src/{}:{line} uses crate::{name}", source.path));
                }
            }
        }
    }
    none("imports against the direction of dependencies", wrong);
}

/// The top-level modules that a line names: after `crate::`, or between braces after it on the same line.
fn modules_used(code: &str) -> Vec<&str> {
    let mut names = vec![];
    for part in ["crate::", "pellucid::"].iter().flat_map(|prefix| code.split(prefix).skip(1)) {
        match part.strip_prefix('{') {
            Some(list) => names.extend(list.split('}').next().unwrap_or(list).split(',').map(first_word)),
            None => names.push(first_word(part)),
        }
    }
    names
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

#[test]
fn nobody_climbs_out_of_a_module_by_super() {
    let mut wrong = vec![];
    for source in sources() {
        // `super` steps that stay inside the top-level folder.
        let inside = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
        wrong.extend(source.wrong(|line| line.contains(&"super::".repeat(inside + 1))));
    }
    none("write `crate::` for another module, so that its direction can be seen", wrong);
}

/// Crates that stay behind one door, and the door.
const DOORS: &[(&str, &[&str])] = &[
    ("polars", &["table/columns.rs"]),
    ("parquet", &["table/", "dataset/"]),
    ("arrow_array", &["table/", "dataset/"]),
    ("arrow_schema", &["table/", "dataset/"]),
    ("plotters", &["view/svg/"]),
    ("plotters_backend", &["view/svg/"]),
    ("colorous", &["view/colour.rs"]),
    ("resvg", &["view/encode/"]),
    ("pdf_writer", &["view/encode/"]),
    ("subsetter", &["view/encode/"]),
    ("ttf_parser", &["view/encode/"]),
    ("png", &["view/encode/"]),
    ("tokenizers", &["text/guarded.rs"]),
    ("memmap2", &["model/files.rs"]),
    ("zip", &["model/torch.rs"]),
    ("gemm", &["ops/"]),
    ("nalgebra", &["ops/algebra/"]),
    ("pulp", &["ops/"]),
    ("libc", &["ops/memory.rs", "limits/", "cli/signals.rs", "session/owned.rs"]),
    ("ureq", &["text/hub/online/client.rs"]),
    ("ring", &["text/hub/online/check.rs"]),
    ("httparse", &["cli/serve/request.rs"]),
    ("percent_encoding", &["cli/serve/request.rs"]),
    ("half", &["ops/", "dataset/"]),
    ("bytemuck", &["ops/", "dataset/", "analysis/neurons/corpus/piece.rs"]),
    ("toml", &["report/", "cli/step.rs"]),
    ("pulldown_cmark", &["report/page/html.rs"]),
    ("sysinfo", &["session/plan.rs", "session/lock.rs"]),
    // Options are declared once, with what the command line makes of them.
    (
        "clap",
        &[
            "cli/", "table/format.rs", "analysis/", "sweep/grid.rs", "sweep/kind.rs", "sweep/options.rs", "sample/",
            "dataset/layout.rs", "text/corpus/mod.rs",
        ],
    ),
    ("indicatif", &["cli/out.rs"]),
    ("anstream", &["cli/out.rs"]),
    ("ctrlc", &["cli/signals.rs"]),
];

/// Invariant: as `dependencies_point_one_way`.
#[test]
fn heavy_crates_stay_behind_one_door() {
    let mut wrong = vec![];
    for source in sources() {
        for (name, doors) in DOORS {
            if !doors.iter().any(|door| source.path.starts_with(door)) {
                let path = format!("{name}::");
                wrong.extend(source.wrong(|line| uses_crate(line, &path)));
            }
        }
    }
    none("used outside its door", wrong);
}

/// Whether `path` (`polars::`) stands in `line` as a path's beginning.
fn uses_crate(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(i, _)| !line[..i].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

/// Invariant: No family is named outside its file: the forward pass asks for properties.
#[test]
fn families_are_named_in_their_own_files_only() {
    // Names of rotary scalings and of a program, not of families.
    let without_scalings =
        |line: &str| line.replace("Llama3", "").replace("llama.cpp", "").replace("Llama 3 scaling", "").to_lowercase();
    let mut wrong = vec![];
    for source in sources().iter().filter(|s| !s.path.starts_with("arch/family/")) {
        // Tokenizers and model ids have such names too; there, only a family's exact name is a decision about families.
        let exact = matches!(source.module(), "text" | "cli");
        wrong.extend(source.wrong(|line| {
            let line = without_scalings(line);
            // Whole words: some names are the beginning of others (`opt` of "option").
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            FAMILIES.iter().any(|f| match exact {
                true => line.contains(&format!("\"{}\"", f.model_type)),
                false => words.contains(&f.model_type),
            })
        }));
        if source.path != "analysis/model/mod.rs" {
            wrong.extend(source.wrong(|line| line.contains("spec.family") || line.contains("spec().family")));
        }
    }
    none("a family's name outside src/arch/family", wrong);
}

/// Invariant: One file prints.
#[test]
fn nothing_is_unfinished_and_only_one_file_prints() {
    let mut wrong = vec![];
    for source in sources() {
        let macros = ["todo!", "unimplemented!", "dbg!", "println!", "print!"];
        wrong.extend(source.wrong(|line| macros.iter().any(|m| line.contains(m))));
        // What is wanting is said where it is found out: memory in the allocator, threads where a library panics.
        if !["cli/out.rs", "cli/signals.rs", "limits/starved.rs"].contains(&source.path.as_str()) {
            let streams = ["io::stdout", "io::stderr", "process::exit"];
            wrong.extend(source.wrong(|line| streams.iter().any(|s| line.contains(s))));
        }
    }
    none("say it through src/cli/out.rs, finish it, or make it an error", wrong);
}

#[test]
fn nothing_knows_the_machine_it_was_written_on() {
    let mut places = files(&root().join("src"), ".rs");
    places.extend(files(&root().join("tests/it"), ".rs"));
    places.extend(files(&root().join("benches"), ""));
    places.extend(files(&root().join("docs"), ""));
    places.extend(files(&root().join(".ci"), ""));
    places.extend(pages());
    // Put together here, so that this file does not hold what it looks for.
    let homes = ["root", "work", "home", "Users"].map(|name| format!("/{name}/"));
    let mut wrong = vec![];
    for place in places {
        let text = String::from_utf8_lossy(&fs::read(&place).unwrap()).into_owned();
        wrong.extend(homes.iter().filter(|h| starts_a_path(&text, h)).map(|h| format!("{}: {h}", place.display())));
    }
    none("absolute paths of some machine", wrong);
}

/// Whether `home` stands in `text` where a path begins, not in the middle of one or of a URL.
fn starts_a_path(text: &str, home: &str) -> bool {
    text.match_indices(home).any(|(i, _)| !text[..i].ends_with(|c: char| c.is_alphanumeric() || "._-~}>".contains(c)))
}

/// What stands between single backticks.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    let outside_blocks = page.split("```").step_by(2);
    outside_blocks.flat_map(|text| text.split('`').skip(1).step_by(2))
}

/// Invariant: as `no_file_is_two_things`.
#[test]
fn the_architecture_page_knows_every_folder_and_only_those() {
    let page = read("ARCHITECTURE.md");
    // What lies deeper says in its `mod.rs` what it is for.
    let top = sources();
    let mut folders: Vec<&str> = top.iter().filter_map(|s| Some(s.path.split_once('/')?.0)).collect();
    folders.dedup();
    let missing = folders.into_iter().map(|f| format!("`src/{f}/`")).filter(|f| !page.contains(f));
    none("ARCHITECTURE.md does not name", missing.collect());
    let gone = quoted(&page).filter(|q| {
        let ours = ["src/", "tests/", "docs/", "benches/", "models/", ".ci/"].iter().any(|top| q.starts_with(top));
        ours && !q.contains(['*', '<', '{']) && !root().join(q).exists()
    });
    none("ARCHITECTURE.md names what does not exist", gone.map(str::to_owned).collect());
    assert!(page.lines().count() <= 120, "ARCHITECTURE.md is one look, and has {} lines", page.lines().count());
}

#[test]
fn the_tests_for_lower_instruction_levels_exist() {
    let list = read(".ci/levels");
    let mut named = 0;
    let mut wrong = vec![];
    for line in list.lines().map(str::trim) {
        let Some((program, name)) = line.split_once('=').filter(|(p, n)| ["lib", "it"].contains(p) && n.contains("::"))
        else {
            continue;
        };
        // `it=model::laws::law_4` is in tests/it/model/laws.rs; `lib=ops::linear::tests::fused` in src/ops/linear.rs or its mod.rs.
        let (place, test) = name.rsplit_once("::").unwrap();
        let path = place.trim_end_matches("::tests").replace("::", "/");
        let folder = if program == "lib" { "src" } else { "tests/it" };
        let files = [format!("{folder}/{path}.rs"), format!("{folder}/{path}/mod.rs")];
        let texts = files.iter().filter_map(|file| fs::read_to_string(root().join(file)).ok());
        named += 1;
        if !texts
            .into_iter()
            .any(|text| text.contains(&format!("fn {test}(")) || text.contains(&format!("fn {test} =")))
        {
            wrong.push(line.to_owned());
        }
    }
    none(".ci/levels names tests that do not exist", wrong);
    assert!(named > 40, "{named}");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut wrong = vec![];
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|t| !t.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let known =
                anchor.is_empty() || fs::read_to_string(&to).is_ok_and(|text| anchors(&text).any(|a| a == anchor));
            if !to.exists() || !known {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    none("broken links", wrong);
}

/// What headings are called in links.
fn anchors(page: &str) -> impl Iterator<Item = String> {
    page.lines().filter(|l| l.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    })
}

#[test]
fn the_changelog_knows_this_version() {
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").contains(&heading), "CHANGELOG.md has no `{heading}`");
}

#[test]
fn the_readme_names_every_command() {
    let readme = read("README.md");
    let cli = pellucid::cli::docs();
    let commands = cli.lines().filter_map(|l| l.strip_prefix("## "));
    none("README.md does not show", commands.filter(|c| !readme.contains(*c)).map(str::to_owned).collect());
}
