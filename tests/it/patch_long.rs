//! Sweeps that take long: killed or interrupted, they go on to the same bytes; what is left of them cannot be mistaken.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use pellucid::table::{Patch, PatchMean, read_provenance, read_rows};

use crate::bin::{Done, Place};

/// Two pairs and many small waves: about a thousand of them, in several parts.
const SWEEP: [&str; 14] = [
    "patch",
    "-q",
    "--pairs",
    "pairs.csv",
    "--at",
    "mlp.post",
    "--over",
    "layer,neuron,pos",
    "--pos",
    "10,11,14",
    "--memory",
    "4MB",
    "--verify",
    "3",
];

fn place() -> Place {
    let place = Place::new();
    let mary = "\"When Mary and John went to the store, John gave a drink to\"";
    let pair = |first: &str, second: &str| mary.replace("Mary", first).replace("John", second);
    let rows = [("Mary", "John"), ("John", "Mary")].map(|(a, b)| {
        let corrupt = pair(a, b).replace(&format!(", {b} gave"), &format!(", {a} gave"));
        format!("{},{corrupt}, {a}, {b}\n", pair(a, b))
    });
    place.write("pairs.csv", format!("clean,corrupt,answer,foil\n{}", rows.concat()));
    place
}

fn start(place: &Place, more: &[&str]) -> Child {
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    command.args(SWEEP).args(more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The waves that are kept so far, and when each was written.
fn written(place: &Place, folder: &str) -> BTreeMap<PathBuf, SystemTime> {
    let when = |path: &PathBuf| Some(fs_err::metadata(path).ok()?.modified().unwrap());
    parts(place, folder).into_keys().filter_map(|path| Some((path.clone(), when(&path)?))).collect()
}

/// The waves that are kept so far, and what is in them.
fn parts(place: &Place, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs_err::read_dir(place.path(folder).join("parts")).into_iter().flatten().flatten();
    let json = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
    json.filter_map(|path| Some((path.clone(), fs_err::read(path).ok()?))).collect()
}

/// Waits until at least `n` waves are kept.
fn wait_for(place: &Place, folder: &str, n: usize, child: &mut Child) {
    let begun = Instant::now();
    while parts(place, folder).len() < n {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is kept");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, signal: &str) {
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// The results, without the manifest, which has times in it.
fn results(place: &Place, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs_err::read_dir(place.path(folder)).unwrap().map(|e| e.unwrap());
    let files = entries.filter(|e| e.file_type().unwrap().is_file() && e.file_name() != "manifest.json");
    files.map(|e| (e.file_name().to_string_lossy().into_owned(), fs_err::read(e.path()).unwrap())).collect()
}

fn ended(child: Child) -> Done {
    child.wait_with_output().unwrap().into()
}

#[test]
fn killed_and_interrupted_a_sweep_goes_on_to_the_same_bytes() {
    let place = place();
    place.ok(SWEEP.iter().chain(&["--out", "whole"]));
    let whole = results(&place, "whole");
    assert!(whole.len() == 5 && !place.path("whole/parts").exists(), "{:?}", whole.keys());

    let mut child = start(&place, &["--out", "stopped"]);
    wait_for(&place, "stopped", 20, &mut child);
    signal(&child, "-KILL");
    ended(child);
    let kept = written(&place, "stopped");
    assert!(kept.len() >= 20 && !place.path("stopped/patch.parquet").exists());

    // It goes on, and is interrupted: what was kept is not computed again, what is done is in the table.
    let mut child = start(&place, &["--out", "stopped", "--resume"]);
    wait_for(&place, "stopped", kept.len() + 20, &mut child);
    signal(&child, "-INT");
    let done = ended(child);
    assert_eq!(done.code, Some(130), "{}", done.stderr);
    assert!(
        done.stderr.contains("error: interrupted") && done.stderr.contains("--resume --out stopped"),
        "{}",
        done.stderr
    );
    let more = written(&place, "stopped");
    assert!(more.len() >= kept.len() + 20 && kept.iter().all(|(path, when)| more.get(path) == Some(when)));
    let (rows, provenance) = read_rows::<Patch>(place.path("stopped/patch.parquet")).unwrap();
    let (all, _) = read_rows::<Patch>(place.path("whole/patch.parquet")).unwrap();
    assert!(!provenance.complete && rows.len() < all.len() && !rows.is_empty(), "{} of {}", rows.len(), all.len());
    let mut rest = all.iter();
    assert!(rows.iter().all(|row| rest.any(|other| other == row)), "what is done is what it would have been, in order");
    assert!(!read_provenance(place.path("stopped/patch_mean.parquet")).unwrap().complete);

    // A figure of what was done only then, such as that of the strongest head so far.
    let manifest = String::from_utf8(place.read("stopped/manifest.json")).unwrap();
    place.write(
        "stopped/manifest.json",
        manifest.replacen("\"files\": [", "\"files\": [\"so-far.svg\", \"mine.svg\", \"../pairs.csv\", ", 1),
    );
    place.write("stopped/so-far.svg", place.read("whole/patch-mlp.post-logit_diff-p0.svg"));
    // What pellucid did not draw stays, whatever the manifest says.
    place.write("stopped/mine.svg", "<svg/>");
    place.ok(SWEEP.iter().chain(&["--out", "stopped", "--resume"]));
    assert!(place.path("pairs.csv").exists());
    assert_eq!(place.read("stopped/mine.svg"), b"<svg/>");
    fs_err::remove_file(place.path("stopped/mine.svg")).unwrap();
    let resumed = results(&place, "stopped");
    assert_eq!(resumed.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(resumed[name] == *bytes, "{name} differs");
    }
    assert!(!place.path("stopped/parts").exists());
    let (means, _) = read_rows::<PatchMean>(place.path("whole/patch_mean.parquet")).unwrap();
    assert_eq!((means.len() * 2, means[0].pairs), (all.len(), 2));
    place.refused(SWEEP.iter().chain(&["--out", "stopped", "--resume"]), 2, "holds no stopped run");
}

#[test]
fn what_is_left_of_another_sweep_or_damaged_is_refused() {
    let place = place();
    let mut child = start(&place, &["--out", "run"]);
    wait_for(&place, "run", 8, &mut child);
    signal(&child, "-KILL");
    ended(child);
    let again =
        |more: &[&'static str]| SWEEP.into_iter().chain(["--out", "run", "--resume"]).chain(more.to_vec()).collect();
    let other: Vec<&str> = again(&["--measure-at", "12"]);
    place.refused(other, 2, "is a part of another request");
    let other: Vec<&str> = again(&["--limit", "1"]);
    place.refused(other, 2, "is a part of another request");
    let (path, bytes) = parts(&place, "run").into_iter().nth(5).unwrap();
    // Cut short; of another kind; a measurement too few; one twice; one of a patch that is not there.
    let text = String::from_utf8(bytes.clone()).unwrap();
    let first = text.find("{\"pair\"").unwrap();
    let second = first + text[first..].find("},").unwrap() + 2;
    let damaged = [
        text[..text.len() / 2].to_owned(),
        "[]".to_owned(),
        text[..first].to_owned() + &text[second..],
        text[..first].to_owned() + &text[first..second] + &text[first..],
        text.replacen("{\"pair\":", "{\"pair\":9", 1),
    ];
    for wrong in damaged {
        fs_err::write(&path, &wrong).unwrap();
        let command: Vec<&str> = again(&[]);
        let done = place.pellucid(&command);
        done.is_refusal(&wrong[..60.min(wrong.len())], 2, "");
        assert!(!place.path("run/patch.parquet").exists());
    }
    // Taken away, it is computed again.
    fs_err::remove_file(&path).unwrap();
    let command: Vec<&str> = again(&[]);
    place.ok(command);
    place.ok(SWEEP.iter().chain(&["--out", "whole"]));
    assert!(results(&place, "run") == results(&place, "whole"));
}
