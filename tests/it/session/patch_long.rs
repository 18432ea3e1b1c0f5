//! Sweeps that take long: killed or interrupted, they go on to the same bytes; what is left of them cannot be mistaken.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pellucid::analysis::{PatchMeanRow, PatchRow};
use pellucid::table::{read_provenance, read_rows};

use crate::bin::{Done, Place};

/// Two pairs and many small waves: about a thousand of them, in several parts.
pub const SWEEP: [&str; 14] = [
    "patch", "-q", "--pairs", "pairs.csv", "--at", "mlp.post", "--over", "layer,neuron,pos", "--pos", "10,11,14",
    "--memory", "4MB", "--verify", "3",
];

pub fn place() -> Place {
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

pub fn start(place: &Place, more: &[&str]) -> Child {
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    command.args(SWEEP).args(more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The journal of the waves that are kept so far, as far as its last whole line.
pub fn journal(place: &Place, folder: &str) -> String {
    let bytes = fs_err::read(place.path(folder).join("parts.journal")).unwrap_or_default();
    let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

/// How many waves a journal has.
pub fn waves(journal: &str) -> usize {
    journal.lines().count().saturating_sub(1)
}

/// Waits until at least `n` waves are kept.
pub fn wait_for(place: &Place, folder: &str, n: usize, child: &mut Child) {
    let begun = Instant::now();
    while waves(&journal(place, folder)) < n {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is kept");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn signal(child: &Child, signal: &str) {
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// The results, without the manifest, which has times in it.
pub fn results(place: &Place, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs_err::read_dir(place.path(folder)).unwrap().map(|e| e.unwrap());
    let files = entries.filter(|e| e.file_type().unwrap().is_file() && e.file_name() != "manifest.json");
    files.map(|e| (e.file_name().to_string_lossy().into_owned(), fs_err::read(e.path()).unwrap())).collect()
}

/// What lies in the folder, hidden or not.
pub fn names(place: &Place, folder: &str) -> Vec<String> {
    let entries = fs_err::read_dir(place.path(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub fn ended(child: Child) -> Done {
    child.wait_with_output().unwrap().into()
}

/// Invariant: A sweep that was killed or interrupted resumes to the same bytes without computing a finished wave again; leftovers
/// of another request, or damaged ones, are refused.
#[test]
fn killed_and_interrupted_a_sweep_goes_on_to_the_same_bytes() {
    let place = place();
    place.ok(SWEEP.iter().chain(&["--out", "whole"]));
    let whole = results(&place, "whole");
    assert_eq!(whole.len(), 5, "{:?}", whole.keys());

    let mut child = start(&place, &["--out", "stopped"]);
    wait_for(&place, "stopped", 20, &mut child);
    signal(&child, "-KILL");
    ended(child);
    let kept = journal(&place, "stopped");
    assert!(waves(&kept) >= 20 && !place.path("stopped/patch.parquet").exists());

    // It goes on, and is interrupted: what was kept is not computed again, what is done is in the table.
    let mut child = start(&place, &["--out", "stopped", "--resume"]);
    wait_for(&place, "stopped", waves(&kept) + 20, &mut child);
    signal(&child, "-INT");
    let done = ended(child);
    assert_eq!(done.code, Some(130), "{}", done.stderr);
    assert!(
        done.stderr.contains("error: interrupted") && done.stderr.contains("--resume --out stopped"),
        "{}",
        done.stderr
    );
    let more = journal(&place, "stopped");
    assert!(waves(&more) >= waves(&kept) + 20 && more.starts_with(&kept));
    // What the killed run left is gone.
    assert_eq!(names(&place, "stopped").into_iter().filter(|name| name.starts_with('.')).count(), 0);
    let (rows, provenance) = read_rows::<PatchRow>(place.path("stopped/patch.parquet")).unwrap();
    let (all, _) = read_rows::<PatchRow>(place.path("whole/patch.parquet")).unwrap();
    assert!(!provenance.complete && rows.len() < all.len() && !rows.is_empty(), "{} of {}", rows.len(), all.len());
    let mut rest = all.iter();
    assert!(rows.iter().all(|row| rest.any(|other| other == row)), "what is done is what it would have been, in order");
    assert!(!read_provenance(place.path("stopped/patch_mean.parquet")).unwrap().complete);

    // A figure of what was done only then, such as that of the strongest head so far.
    let manifest = String::from_utf8(place.read("stopped/manifest.json")).unwrap();
    place.write(
        "stopped/manifest.json",
        manifest.replacen(
            "\"files\": [",
            "\"files\": [\"so-far.svg\", \"mine.svg\", \"other.svg\", \"../pairs.csv\", ",
            1,
        ),
    );
    let figure = place.read("whole/patch-mlp.post-logit_diff-p0.svg");
    place.write("stopped/so-far.svg", &figure);
    // What pellucid did not draw stays, whatever the manifest says, and so does what another command drew.
    place.write("stopped/mine.svg", "<svg/>");
    let other = String::from_utf8(figure).unwrap().replacen("pairs.csv", "other.csv", 1);
    place.write("stopped/other.svg", &other);
    place.ok(SWEEP.iter().chain(&["--out", "stopped", "--resume"]));
    assert!(place.path("pairs.csv").exists());
    assert_eq!(place.read("stopped/mine.svg"), b"<svg/>");
    assert!(place.read("stopped/other.svg") == other.as_bytes());
    for name in ["mine", "other"] {
        fs_err::remove_file(place.path(&format!("stopped/{name}.svg"))).unwrap();
    }
    let resumed = results(&place, "stopped");
    assert_eq!(resumed.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(resumed[name] == *bytes, "{name} differs");
    }
    let (means, _) = read_rows::<PatchMeanRow>(place.path("whole/patch_mean.parquet")).unwrap();
    assert_eq!((means.len() * 2, means[0].measured.pairs), (all.len(), 2));
    place.refused(SWEEP.iter().chain(&["--out", "stopped", "--resume"]), 2, "holds no stopped run");
}

/// A line of a journal as its writer would have written it: the format is documented in `src/run/parts.rs`.
fn line(request: &str, number: u64, json: &str) -> String {
    let hashed = [request.as_bytes(), &number.to_le_bytes(), json.as_bytes()].concat();
    format!("{} {json}\n", blake3::hash(&hashed).to_hex())
}

/// A sweep that was killed after some waves, whose temporaries are cleared: its journal.
fn stopped(place: &Place) -> String {
    let mut child = start(place, &["--out", "run"]);
    wait_for(place, "run", 8, &mut child);
    signal(&child, "-KILL");
    ended(child);
    let done = place.pellucid(SWEEP.iter().chain(&["--out", "run"]).chain(&["--measure-at", "12"]));
    done.is_refusal("another", 2, "has the parts of another request");
    assert_eq!(names(place, "run"), ["parts.journal"]);
    journal(place, "run")
}

fn again<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SWEEP.into_iter().chain(["--out", "run", "--resume"]).chain(more.iter().copied()).collect()
}

/// Invariant: as `killed_and_interrupted_a_sweep_goes_on_to_the_same_bytes`.
#[test]
fn what_is_left_of_another_sweep_or_damaged_is_refused() {
    let place = place();
    let kept = stopped(&place);
    place.refused(again(&["--measure-at", "12"]), 2, "has the parts of another request");
    place.refused(again(&["--limit", "1"]), 2, "has the parts of another request");
    let lines: Vec<&str> = kept.split_inclusive('\n').collect();
    let request = lines[0].trim_end().rsplit(' ').next().unwrap();
    let json = lines[5].trim_end().split_once(' ').unwrap().1;
    // It is what this test takes it for.
    assert_eq!(line(request, 5, json), lines[5]);
    let with = |five: &str| lines.iter().enumerate().map(|(i, l)| if i == 5 { five } else { l }).collect::<String>();
    let first = json.find("{\"pair\"").unwrap();
    let second = first + json[first..].find("},").unwrap() + 2;
    let number = json.find("\"values\":[").unwrap() + "\"values\":[".len();
    let digit = number + json[number..].find(|c: char| c.is_ascii_digit()).unwrap();
    let other_digit = if json.as_bytes()[digit] == b'7' { "8" } else { "7" };
    let changed = json[..digit].to_owned() + other_digit + &json[digit + 1..];
    let journals = [
        // A number that is another; a line cut short, taken out, twice, of another journal, and in another's place.
        with(&lines[5].replace(json, &changed)),
        with(&lines[5][..lines[5].len() / 2]),
        with(""),
        with(&lines[5].repeat(2)),
        with(&line(&"0".repeat(64), 5, json)),
        with(lines[6]),
        // The last line as well, as long as it is whole.
        kept.clone() + &line(request, 1, json),
    ];
    for wrong in journals {
        place.write("run/parts.journal", &wrong);
        place.refused(again(&[]), 2, "of the stopped run is not what was written there");
    }
    // Well made, and not what this sweep measures: a measurement too few; one twice; one of a patch that is not there; no wave.
    let forged = [
        json[..first].to_owned() + &json[second..],
        json[..first].to_owned() + &json[first..second] + &json[first..],
        json.replacen("{\"pair\":", "{\"pair\":9", 1),
        "[]".to_owned(),
    ];
    for json in forged {
        place.write("run/parts.journal", with(&line(request, 5, &json)));
        place.pellucid(again(&[])).is_refusal(&json[..60.min(json.len())], 2, "stopped run");
        assert!(!place.path("run/patch.parquet").exists());
    }
    // Neither what is no journal, nor one whose first line is not whole.
    for wrong in ["", "mine", "pellucid parts 1", &lines[0][..40], &lines[0][..lines[0].len() - 1]] {
        place.write("run/parts.journal", wrong);
        for more in [&[][..], &["--force"]] {
            place.refused(again(more), 2, "holds parts.journal, which is damaged or no file of pellucid's");
            let anew: Vec<&str> = again(more).into_iter().filter(|word| *word != "--resume").collect();
            place.refused(anew, 2, "holds parts.journal, which is damaged or no file of pellucid's");
        }
    }
    // A last line that a killed run did not finish is computed again, and so is what was taken off the end.
    let torn = [kept.clone() + &lines[5][..lines[5].len() - 1], kept.clone() + "7", lines[..4].concat()];
    place.ok(SWEEP.iter().chain(&["--out", "whole"]));
    for torn in torn {
        place.write("run/parts.journal", torn);
        place.ok(again(&[]));
        assert!(results(&place, "run") == results(&place, "whole"));
    }
}
