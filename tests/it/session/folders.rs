//! Folders with results: whose they are, what a second request does to them, and that nobody else's files are touched.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::bin::{Place, model};

const CLEAN: &str = "When Mary and John went to the store, John gave a drink to";
const CORRUPT: &str = "When Mary and John went to the store, Mary gave a drink to";

/// Every command that writes a folder, and another request of it; the results' first name.
pub fn commands(m: &str) -> Vec<(&'static str, Vec<String>, Vec<String>)> {
    let words = |line: &str| line.split(' ').map(|w| w.replace("MODEL", m)).collect::<Vec<String>>();
    let pair = "--clean #3,14,15,92,65 --corrupt #3,27,15,92,65 --answer #7 --foil #42";
    let two = |name, first: String, more: &str| (name, words(&first), words(&format!("{first} {more}")));
    vec![
        two("logit_lens", "lens -m MODEL --ids 1,2,3".into(), "--top 2"),
        two("attention", "attention -m MODEL --ids 1,2,3".into(), "--ids 5,6"),
        two("activations", "cache -m MODEL --ids 1,2,3 --hooks *".into(), "--ids 5,6"),
        two("patch", format!("patch -m MODEL {pair}"), "--measure-at 3"),
        two("path", format!("path -m MODEL {pair}"), "--to 1.q"),
        two("patch", "ablate -m MODEL --ids 1,2,3 --ids 4,5,6".into(), "--unit mlp"),
        two("attribution", format!("attribute -m MODEL {pair}"), "--top 3"),
        two("verify", "verify -m MODEL --ids 1,2,3".into(), "--ids 7,8"),
    ]
}

fn out<'a>(command: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    command.iter().map(String::as_str).chain(["-q", "--out", "run"]).chain(more.iter().copied()).collect()
}

/// The files of the folder, without the manifest, which has times in it.
fn files(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = place.contents().into_iter().filter_map(|(path, bytes)| Some((path, bytes?)));
    all.filter(|(path, _)| path.starts_with(place.path("run")) && !path.ends_with("manifest.json")).collect()
}

/// Invariant: A folder with another request's results is refused; `--force` replaces all of them, and the bytes are those of a
/// new folder.
#[test]
fn another_requests_folder_is_refused_and_force_leaves_nothing_of_it() {
    let m = model("gpt2");
    for (name, first, second) in commands(&m) {
        let place = Place::new();
        place.ok(out(&second, &[]));
        let wanted = files(&place);
        let place = Place::new();
        place.ok(out(&first, &[]));
        let before = files(&place);
        let done = place.refused(out(&second, &[]), 2, "run holds the results of another request, `pellucid ");
        assert!(done.stderr.contains(first[0].as_str()) && done.stderr.contains("--force"), "{}", done.stderr);
        // The same request is at home there, and gives the same bytes.
        place.ok(out(&first, &[]));
        assert!(files(&place) == before, "{name}");
        // `--force` is no part of the request, nor of what results say of themselves.
        place.ok(out(&first, &["--force"]));
        assert!(files(&place) == before, "{name}");
        place.ok(out(&second, &["--force"]));
        let after: BTreeMap<_, _> =
            files(&place).into_iter().map(|(path, b)| (path.file_name().unwrap().to_owned(), b)).collect();
        let wanted: BTreeMap<_, _> = wanted.into_iter().map(|(p, b)| (p.file_name().unwrap().to_owned(), b)).collect();
        assert_eq!(after.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{name}");
        assert!(after == wanted, "{name}: other bytes than in a folder of its own");
    }
}

/// Invariant: as `another_requests_folder_is_refused_and_force_leaves_nothing_of_it`.
#[test]
fn figures_that_the_new_request_does_not_have_go_with_the_old_one() {
    let place = Place::new();
    let pair = ["--clean", CLEAN, "--corrupt", CORRUPT, "--answer", " Mary", "--foil", " John", "-q", "--out", "run"];
    place.ok(["patch", "--at", "z,mlp_out", "--over", "layer"].iter().chain(&pair));
    let names = || -> Vec<String> {
        files(&place).keys().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names().len(), 3, "{:?}", names());
    let other: Vec<&str> = ["patch", "--at", "attn_out", "--over", "layer"].into_iter().chain(pair).collect();
    place.refused(&other, 2, "another request");
    place.ok(other.iter().chain(&["--force"]));
    assert_eq!(names(), ["patch-attn_out-logit_diff.svg", "patch.parquet"]);
}

/// Invariant: as `strangers_files_are_never_touched`.
#[test]
fn a_run_that_fails_leaves_the_old_results_as_they_were() {
    let m = model("gpt2");
    let place = Place::new();
    place.ok(["lens", "-q", "-m", &m, "--ids", "1,2,3", "--out", "run"]);
    // Found out while it runs, after the folder is taken.
    place.refused(["lens", "-m", &m, "--ids", "1,2", "--top", "0", "--out", "run", "--force"], 2, "not 0");
}

/// Files of somebody else under every name that a run may write or clear.
///
/// Invariant: Files of others are never touched, and a failing run leaves the old results as they were.
#[test]
fn strangers_files_are_never_touched() {
    let m = model("gpt2");
    for (name, first, second) in commands(&m) {
        for file in ["NAME.parquet", "NAME.svg", "NAME-mine.svg", "NAME.safetensors", "manifest.json"] {
            let file = file.replace("NAME", name);
            // Names that this command has no use for are nobody's concern.
            let written = match &*file {
                "activations.safetensors" | "manifest.json" => true,
                f => name != "activations" && !f.ends_with(".safetensors"),
            };
            for bytes in ["mine", "{\"files\": [\"mine.txt\"]}", "<svg><desc>{}</desc></svg>"] {
                let place = Place::new();
                place.write("mine.txt", "mine");
                place.write("run/mine.txt", "mine");
                place.write(&format!("run/{file}"), bytes);
                for more in [&[][..], &["--force"]] {
                    if written {
                        place.refused(out(&first, more), 2, &file);
                    } else {
                        place.ok(out(&first, more));
                        assert_eq!(place.read(&format!("run/{file}")), bytes.as_bytes());
                        assert_eq!(place.read("run/mine.txt"), b"mine");
                    }
                }
            }
        }
        // In place of a result, and listed by a manifest that somebody edited.
        let place = Place::new();
        place.write("mine.parquet", "mine");
        place.ok(out(&first, &[]));
        place.write("run/mine.parquet", "mine");
        let manifest = String::from_utf8(place.read("run/manifest.json")).unwrap();
        let listed = "\"files\": [\"mine.parquet\", \"../mine.parquet\", \"/mine\", \"..\", \"\", \"run\", ";
        place.write("run/manifest.json", manifest.replacen("\"files\": [", listed, 1));
        place.ok(out(&second, &["--force"]));
        assert_eq!((place.read("mine.parquet"), place.read("run/mine.parquet")), (b"mine".to_vec(), b"mine".to_vec()));
    }
}

#[test]
fn results_without_a_manifest_are_replaced_only_with_force() {
    let m = model("gpt2");
    let place = Place::new();
    let command = ["lens", "-q", "-m", &m, "--ids", "1,2,3", "--out", "run"];
    place.ok(command);
    fs_err::remove_file(place.path("run/manifest.json")).unwrap();
    let done = place.refused(command, 2, "no manifest there says that this request wrote it");
    assert!(done.stderr.contains("--force"), "{}", done.stderr);
    place.ok(command.iter().chain(&["--force"]));
    place.ok(command);
}

/// A link is not followed: neither to be read as ours nor to be written through.
///
/// Invariant: as `strangers_files_are_never_touched`.
#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let m = model("gpt2");
    let place = Place::new();
    let command = ["lens", "-q", "-m", &m, "--ids", "1,2,3", "--out"];
    place.ok(command.iter().chain(&["elsewhere"]));
    let table = place.read("elsewhere/logit_lens.parquet");
    place.write("run/notes", "mine");
    std::os::unix::fs::symlink(place.path("elsewhere/logit_lens.parquet"), place.path("run/logit_lens.parquet"))
        .unwrap();
    place.refused(command.iter().chain(&["run", "--force"]), 2, "logit_lens.parquet");
    assert!(place.read("elsewhere/logit_lens.parquet") == table);
}

#[test]
fn chart_replaces_only_figures_of_its_table() {
    let m = model("gpt2");
    let place = Place::new();
    let lens = |ids: &str, out: &str| {
        place.ok(["lens", "-q", "-m", &m, "--ids", ids, "--out", out]);
    };
    lens("1,2,3", "a");
    lens("4,5,6", "b");
    let figure = place.read("a/logit_lens.svg");
    // Beside its table and elsewhere, again and again.
    place.ok(["chart", "a/logit_lens.parquet"]);
    place.ok(["chart", "a/logit_lens.parquet", "--out", "figures"]);
    place.ok(["chart", "a/logit_lens.parquet", "--out", "figures"]);
    assert!(place.read("figures/logit_lens.svg") == figure);
    place.refused(["chart", "b/logit_lens.parquet", "--out", "figures"], 2, "is a figure of another table");
    place.ok(["chart", "b/logit_lens.parquet", "--out", "figures", "--force"]);
    assert!(place.read("figures/logit_lens.svg") == place.read("b/logit_lens.svg"));
    place.write("figures/logit_lens.svg", "<svg><desc>mine</desc></svg>");
    for more in [&[][..], &["--force"]] {
        let command = ["chart", "b/logit_lens.parquet", "--out", "figures"];
        place.refused(command.iter().chain(more), 2, "not drawn by pellucid");
    }
}
