//! Every command that writes files, as a small request and as another one, and what it writes when nobody disturbs it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bin::{Done, Place};

const CLEAN: &str = "When Mary and John went to the store, John gave a drink to";
const CORRUPT: &str = "When Mary and John went to the store, Mary gave a drink to";
/// For the other request.
const SHORT: [&str; 2] = ["When Mary and John met, John spoke to", "When Mary and John met, Mary spoke to"];

/// The commands, by what `Writer::args` knows.
pub const ALL: [&str; 22] = [
    "lens", "residual", "loss", "next", "generate", "embed", "attention", "cache", "tokens", "cost", "compare",
    "verify", "chart", "patch", "path", "ablate", "attribute", "export", "heads", "position", "neurons", "explain",
];

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A command that writes, in a place of its own.
pub struct Writer {
    pub name: &'static str,
    pub place: Place,
    /// What is in the folder when it is done, but the manifest, which has times in it.
    pub whole: Files,
    /// The same of the other request.
    pub other: Files,
    /// How long the whole took.
    pub took: Duration,
}

impl Writer {
    /// The command, and what it needs, before it has run.
    pub fn unrun(name: &'static str) -> Self {
        let writer = Self { name, place: Place::new(), whole: Files::new(), other: Files::new(), took: Duration::ZERO };
        if name == "chart" {
            // Of two tables, so that one's figures are not the other's.
            for (text, to) in [(CLEAN, "table"), (SHORT[0], "other-table")] {
                writer.place.ok(["attention", text, "-q", "--out", to]);
            }
        }
        if matches!(name, "export" | "neurons") {
            // Blocks of two documents.
            let line =
                |i: usize| format!("{{\"text\": \"{}\"}}\n", [CLEAN, CORRUPT, SHORT[0]][i % 3].repeat(1 + i % 4));
            writer.place.write("corpus.jsonl", (0..24).map(line).collect::<String>());
        }
        writer
    }

    pub fn new(name: &'static str) -> Self {
        let mut writer = Self::unrun(name);
        for other in [true, false] {
            let begun = Instant::now();
            let done: Done = writer.command(other, "whole", &["--force"]).output().unwrap().into();
            assert_eq!(done.code, Some(0), "{name}: {}", done.stderr);
            writer.took = begun.elapsed();
            let files = results(&writer.place.path("whole"));
            assert!(!files.is_empty(), "{name} writes nothing");
            if other { writer.other = files } else { writer.whole = files }
        }
        assert!(writer.whole.iter().any(|(name, bytes)| writer.other.get(name) != Some(bytes)), "{name}");
        fs_err::remove_dir_all(writer.place.path("whole")).unwrap();
        writer
    }

    /// Whether it keeps what is done of a run that is stopped.
    pub fn is_sweep(&self) -> bool {
        matches!(self.name, "patch" | "path" | "ablate")
    }

    /// The request, or the `other` one, with its results in the folder `out`.
    pub fn args(&self, other: bool, out: &str) -> Vec<String> {
        let [clean, corrupt] = if other { SHORT } else { [CLEAN, CORRUPT] };
        let pair = ["--clean", clean, "--corrupt", corrupt, "--answer", " Mary", "--foil", " John"];
        let table = if other { "other-table/attention.parquet" } else { "table/attention.parquet" };
        let models = ["gpt2", "llama"].map(crate::bin::model);
        let rest: Vec<&str> = match self.name {
            "lens" => vec![clean, "--top", "3"],
            "attention" | "loss" | "next" | "generate" | "residual" => vec![clean],
            "position" if other => vec![clean, "--swap", "Mary,met"],
            "position" => vec![clean, "--swap", "Mary,went"],
            "cache" => vec![clean, "--hooks", "resid_post,z,pattern"],
            "tokens" => vec![clean],
            "explain" => vec![clean, "--traces", "2", "--tokens", "4"],
            "embed" if other => vec![" Mary", "--map", "0"],
            "embed" => vec![" Mary", "--context", clean],
            "cost" if other => vec!["--context", "8"],
            "cost" => vec!["--context", "8,64"],
            "compare" => {
                let ids = if other { "3,5,7" } else { "3,1,4,1,5" };
                vec!["-m", &models[0], "-m", &models[1], "--ids", ids]
            }
            "heads" if other => vec!["--texts", "3", "--tokens", " Mary"],
            "heads" => vec!["--texts", "4", "--tokens", " Mary, John"],
            "verify" if other => vec!["demo", "--ids", "3,5,7"],
            "verify" => vec!["demo"],
            "chart" => vec![table],
            // Several waves.
            "patch" => {
                [&pair[..], &["--at", "mlp.post", "--over", "layer,neuron", "--pos", "-1", "--memory", "3MB"]].concat()
            }
            "path" => {
                [&pair[..], &["--from", "z", "--over", "layer,head", "--to", "logits", "--memory", "3MB"]].concat()
            }
            "ablate" => vec![clean, "--kind", "zero", "--metric", "logit_diff", "--answer", " Mary", "--foil", " John"],
            "export" => {
                let context = if other { "16" } else { "32" };
                vec!["--hooks", "resid_post,z", "--corpus", "corpus.jsonl", "--block", "2", "--context", context]
            }
            "neurons" => vec![clean, "--corpus", "corpus.jsonl", "--layers", "1", "--examples", "3", "--neuronpedia"],
            "attribute" => [&pair[..], &["--confirm", "5"]].concat(),
            other => panic!("what does {other} write?"),
        };
        let all = [&[self.name, "-q"], &rest[..], &["--out", out]].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    /// The same as a command.
    pub fn command(&self, other: bool, out: &str, more: &[&str]) -> Command {
        let mut command = self.place.command(env!("CARGO_BIN_EXE_pellucid"));
        command.args(self.args(other, out)).args(more).stdin(Stdio::null());
        command
    }

    /// Puts files of strangers into the folder `out`, with names that a careless program would take for its own.
    pub fn strangers(&self, out: &str) -> Files {
        let names = [
            "notes.txt",
            "mine.svg",
            "mine.parquet",
            ".pellucid-mine.tmp",
            ".pellucid-folder.tmp/inside.json",
            "parts/000000-000000.json",
            "parts/mine.json",
        ];
        let files = names.map(|name| (name.to_owned(), format!("{name} is mine\n").into_bytes()));
        for (name, bytes) in &files {
            self.place.write(&format!("{out}/{name}"), bytes);
        }
        files.into()
    }

    /// What must hold of the folder `out` at any time: strangers' files are as they were, and every other file is whole, of the
    /// request or, where the other was there before, of that; or it is one that says by its name that it is no result.
    pub fn check_any_time(&self, out: &str, strangers: &Files, before: &Files, what: &str) {
        let there = files(&self.place.path(out));
        check_strangers(&there, strangers, what);
        for (name, bytes) in there.iter().filter(|(name, _)| !strangers.contains_key(*name)) {
            let temporary = name.split('/').any(|part| part.starts_with(".pellucid-"));
            if temporary || name == "parts.journal" || name == "manifest.json" {
                continue;
            }
            let known = [&self.whole, before].into_iter().any(|files| files.get(name) == Some(bytes));
            assert!(known, "{what}: {name} is not whole: {} bytes", bytes.len());
        }
    }

    /// What must hold when a run is done: the bytes of a run that nobody disturbed, strangers' files as they were, and nothing else.
    pub fn check_done(&self, out: &str, strangers: &Files, what: &str) {
        let mut there = files(&self.place.path(out));
        check_strangers(&there, strangers, what);
        there.retain(|name, _| !strangers.contains_key(name) && name != "manifest.json");
        let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&there), names(&self.whole), "{what}");
        for (name, bytes) in &self.whole {
            assert!(there[name] == *bytes, "{what}: {name} has other bytes");
        }
    }

    /// Whether a run that was stopped kept something in the folder `out` that the next can go on from.
    pub fn kept(&self, out: &str) -> bool {
        ["parts.journal", "blocks"].iter().any(|name| self.place.path(out).join(name).exists())
    }

    /// Runs it as whoever was disturbed would: going on where the run before stopped, if it says that it did.
    pub fn next(&self, out: &str, resume: bool, force: bool) -> Command {
        let mut more = vec![];
        if self.name == "export" {
            // What is kept of this request must be gone on from, or taken away; what is there of the other one, taken away.
            let request = std::fs::read(self.place.path(out).join("request.json"));
            let ours = request.is_ok_and(|request| request == self.whole["request.json"]);
            more.push(if force && !ours { "--force" } else { "--resume" });
        } else {
            more.extend((resume && self.kept(out)).then_some("--resume"));
            more.extend(force.then_some("--force"));
        }
        self.command(false, out, &more)
    }
}

fn check_strangers(there: &Files, strangers: &Files, what: &str) {
    for (name, bytes) in strangers {
        assert!(there.get(name) == Some(bytes), "{what}: {name}, a stranger's, is not what it was");
    }
}

/// All files of a folder, those of folders in it too.
pub fn files(folder: &Path) -> Files {
    fn walk(top: &Path, folder: &Path, found: &mut Files) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => walk(top, &path, found),
                false => {
                    let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
                    found.insert(name, fs_err::read(&path).unwrap());
                }
            }
        }
    }
    let mut found = Files::new();
    walk(folder, folder, &mut found);
    found
}

/// The same without the manifest.
fn results(folder: &Path) -> Files {
    let mut files = files(folder);
    files.remove("manifest.json");
    files
}
