//! Several runs at once, with one folder: whoever says that it is done has all its results there, whole.
//!
//! `PELLUCID_TRIALS=200` tries as many random offsets; without it there are 20.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::bin::{Done, Place, model};
use crate::session::folders::commands;
use crate::session::patch_long::{self, SWEEP, ended, names, results, signal, wait_for};

fn trials() -> usize {
    std::env::var("PELLUCID_TRIALS").map_or(20, |n| n.parse().unwrap())
}

fn start(place: &Place, args: &[String]) -> Child {
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn with(args: &[String], more: &[&str]) -> Vec<String> {
    args.iter().cloned().chain(more.iter().map(|word| word.to_string())).collect()
}

/// A request, what it leaves when nobody disturbs it, and how long that takes.
struct Alone {
    args: Vec<String>,
    left: BTreeMap<String, Vec<u8>>,
    took: Duration,
}

impl Alone {
    fn of(args: Vec<String>) -> Self {
        let place = Place::new();
        let begun = Instant::now();
        place.ok(with(&args, &["--out", "run"]));
        Self { left: results(&place, "run"), took: begun.elapsed(), args }
    }
}

/// Every command twice: the same request, or two requests.
fn requests() -> Vec<[Alone; 2]> {
    let mut all: Vec<[Alone; 2]> = (commands(&model("gpt2")).into_iter())
        .map(|(_, first, second)| [first, second].map(|args| Alone::of(with(&args, &["-q"]))))
        .collect();
    let tokens = |text: &str| Alone::of(["tokens", "-q", text].map(str::to_owned).to_vec());
    all.push([tokens("When Mary"), tokens("and John")]);
    all
}

/// One of `n`, at random.
fn chosen(random: &mut ChaCha8Rng, n: usize) -> usize {
    random.random_range(0..n)
}

/// Starts two runs, the second a random time after the first; stops the second if that is asked for. How they ended.
fn two(place: &Place, random: &mut ChaCha8Rng, first: &Alone, args: [Vec<String>; 2], stop: Option<&str>) -> [Done; 2] {
    let [a, b] = args;
    let a = start(place, &a);
    std::thread::sleep(first.took.mul_f64(random.random_range(0.0..1.2)));
    let b = start(place, &b);
    if let Some(stop) = stop {
        std::thread::sleep(first.took.mul_f64(random.random_range(0.0..1.5)));
        // It may have ended.
        let id = b.id().to_string();
        let _ = std::process::Command::new("kill").args([stop, &id]).stderr(Stdio::null()).status();
    }
    [ended(a), ended(b)]
}

/// Whatever two runs do to one another: both done, one refused, one stopped; what was said to be done is there.
///
/// Invariant: Runs that share a folder take turns: when a run says that it is done, its results are there, whole, whatever
/// another run does meanwhile (200 random offsets with `PELLUCID_TRIALS=200`).
#[test]
fn what_a_run_said_was_done_is_there() {
    let requests = requests();
    let mut seen = BTreeMap::<String, usize>::new();
    for trial in 0..trials() {
        let mut random = ChaCha8Rng::seed_from_u64(trial as u64);
        let pair = &requests[trial % requests.len()];
        let (place, what) = (Place::new(), &pair[0].args);
        let out = |alone: &Alone| with(&alone.args, &["--out", "run"]);
        let kind = chosen(&mut random, 5);
        let stop = [None, None, None, Some(["-INT", "-TERM"][chosen(&mut random, 2)]), Some("-KILL")][kind];
        let (second, [a, b]) = match kind {
            // In the folder that both have by themselves; `tokens` has none.
            0 if what[0] != "tokens" => {
                let args = [pair[0].args.clone(), pair[0].args.clone()];
                let done = two(&place, &mut random, &pair[0], args, None);
                std::fs::rename(place.only_run(), place.path("run")).unwrap();
                (&pair[0], done)
            }
            // Another request, which is refused once the first is done.
            1 => (&pair[1], two(&place, &mut random, &pair[0], [out(&pair[0]), out(&pair[1])], None)),
            _ => (&pair[0], two(&place, &mut random, &pair[0], [out(&pair[0]), out(&pair[0])], stop)),
        };
        let said = format!("trial {trial}: {what:?} {kind}\n{:?} {}\n{:?} {}", a.code, a.stderr, b.code, b.stderr);
        *seen.entry(format!("{kind}: {:?} {:?}", a.code, b.code)).or_default() += 1;
        let left = match kind {
            1 => {
                let codes = [a.code, b.code];
                assert!(codes == [Some(0), Some(2)] || codes == [Some(2), Some(0)], "{said}");
                let refused = if a.code == Some(2) { &a } else { &b };
                assert!(refused.stderr.contains("another request"), "{said}");
                if a.code == Some(0) { &pair[0].left } else { &second.left }
            }
            3 | 4 => {
                // The one that was let alone is done; the other may have been, too.
                assert_eq!(a.code, Some(0), "{said}");
                assert!([Some(0), Some(130), Some(143), None].contains(&b.code), "{said}");
                &pair[0].left
            }
            _ => {
                assert_eq!([a.code, b.code], [Some(0); 2], "{said}");
                &pair[0].left
            }
        };
        let there = results(&place, "run");
        let differ: Vec<_> = left.iter().filter(|(name, bytes)| there.get(*name) != Some(bytes)).collect();
        assert!(differ.is_empty(), "{said}\nlost: {:?}", differ.iter().map(|(name, _)| name).collect::<Vec<_>>());
        if b.code.is_some() {
            // Nor is there anything that does not belong there. A killed run leaves what the next one clears.
            let more =
                names(&place, "run").into_iter().filter(|name| name != "manifest.json" && name != "parts.journal");
            assert_eq!(more.collect::<Vec<_>>(), left.keys().cloned().collect::<Vec<_>>(), "{said}");
        }
        place.ok(with(if a.code == Some(0) { &pair[0].args } else { &second.args }, &["--out", "run"]));
        let more = names(&place, "run").into_iter().filter(|name| name != "manifest.json");
        assert_eq!(more.collect::<Vec<_>>(), left.keys().cloned().collect::<Vec<_>>(), "{said}");
    }
    println!("{} trials, none lost: {seen:#?}", trials());
}

/// Invariant: as `what_a_run_said_was_done_is_there`.
#[test]
fn two_charts_do_not_replace_one_another() {
    let m = model("gpt2");
    let place = Place::new();
    for (ids, out) in [("1,2,3", "a"), ("4,5,6", "b")] {
        place.ok(["lens", "-q", "-m", &m, "--ids", ids, "--out", out]);
    }
    let chart =
        |from: &str| ["chart", "-q", &format!("{from}/logit_lens.parquet"), "--out", "figures"].map(str::to_owned);
    for trial in 0..trials() {
        let [a, b] = [start(&place, &chart("a")), start(&place, &chart(if trial % 2 == 0 { "b" } else { "a" }))];
        let [a, b] = [ended(a), ended(b)];
        let left = place.read("figures/logit_lens.svg");
        assert_eq!(names(&place, "figures"), ["logit_lens.svg"]);
        let codes = [a.code, b.code];
        match trial % 2 {
            0 => {
                assert!(codes == [Some(0), Some(2)] || codes == [Some(2), Some(0)], "{} {}", a.stderr, b.stderr);
                assert!(left == place.read(if a.code == Some(0) { "a/logit_lens.svg" } else { "b/logit_lens.svg" }));
            }
            _ => assert!(codes == [Some(0); 2] && left == place.read("a/logit_lens.svg"), "{} {}", a.stderr, b.stderr),
        }
        fs_err::remove_dir_all(place.path("figures")).unwrap();
    }
}

/// Invariant: as `what_a_run_said_was_done_is_there`.
#[test]
fn eight_at_once_take_turns() {
    let (_, args, _) = commands(&model("gpt2")).swap_remove(3);
    assert_eq!(args[0], "patch");
    let alone = Alone::of(with(&args, &["-q"]));
    for _ in 0..trials().div_ceil(10) {
        let place = Place::new();
        // No folder is named: all have the same by their request.
        let children: Vec<Child> = (0..8).map(|_| start(&place, &with(&args, &["--wait", "600"]))).collect();
        for child in children {
            let done = ended(child);
            assert_eq!(done.code, Some(0), "{}", done.stderr);
        }
        std::fs::rename(place.only_run(), place.path("run")).unwrap();
        assert!(results(&place, "run") == alone.left);
    }
}

/// Invariant: as `what_a_run_said_was_done_is_there`.
#[test]
fn four_that_resume_at_once_end_with_the_same_bytes() {
    let place = patch_long::place();
    place.ok(SWEEP.iter().chain(&["--out", "whole"]));
    let mut child = patch_long::start(&place, &["--out", "stopped"]);
    wait_for(&place, "stopped", 40, &mut child);
    signal(&child, "-KILL");
    ended(child);
    let children: Vec<Child> =
        (0..4).map(|_| patch_long::start(&place, &["--out", "stopped", "--resume", "--wait", "600"])).collect();
    for child in children {
        let done = ended(child);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    assert!(results(&place, "stopped") == results(&place, "whole"));
    assert_eq!(names(&place, "stopped").len(), names(&place, "whole").len());
}

/// A run that is at work, and does not go on until it is told to.
fn held(place: &Place) -> Child {
    let mut child = patch_long::start(place, &["--out", "run"]);
    wait_for(place, "run", 2, &mut child);
    signal(&child, "-STOP");
    child
}

/// Invariant: A run that finds its folder in use says by whom, waits as long as `--wait` allows, and can be stopped; the time to
/// wait does not change the request.
#[test]
fn who_finds_another_at_work_says_who_that_is_and_waits_as_long_as_it_may() {
    let place = patch_long::place();
    let first = held(&place);
    let lens = ["lens", "When Mary", "--out", "run"].map(str::to_owned);
    // What nobody else's is has changed.
    let before = place.contents();
    let done: Done = ended(start(&place, &with(&lens, &["--wait", "0"])));
    done.is_refusal("lens --wait 0", 1, &format!("another run is at work in run: process {} on ", first.id()));
    assert!(
        done.stderr.contains("`pellucid patch ")
            && done.stderr.contains(" --pairs pairs.csv ")
            && done.stderr.contains("--out"),
        "{}",
        done.stderr
    );
    let begun = Instant::now();
    let done = ended(start(&place, &with(&lens, &["--wait", "1"])));
    assert!(begun.elapsed() >= Duration::from_secs(1) && done.code == Some(1), "{}", done.stderr);
    let waiting = format!("waiting up to 1 s for another run in run: process {} on ", first.id());
    assert!(done.stderr.starts_with(&waiting) && done.stderr.lines().count() == 3, "{}", done.stderr);
    let done = ended(start(&place, &with(&lens, &["--wait", "1", "-q"])));
    done.is_refusal("lens -q", 1, "another run is at work in run");
    // So does a figure that would go there.
    place.ok(["lens", "-q", "When Mary", "--out", "other"]);
    let chart = ["chart", "other/logit_lens.parquet", "--out", "run", "--wait", "0"].map(str::to_owned);
    ended(start(&place, &chart)).is_refusal("chart", 1, "another run is at work in run");
    fs_err::remove_dir_all(place.path("other")).unwrap();
    assert!(place.contents() == before);
    // Whoever waits can be stopped.
    for (name, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let waits = start(&place, &lens);
        std::thread::sleep(Duration::from_millis(1500));
        signal(&waits, name);
        let done = ended(waits);
        assert_eq!(done.code, Some(code), "{}", done.stderr);
        assert!(done.stderr.contains("; nothing was written"), "{}", done.stderr);
    }
    assert!(place.contents() == before);
    // And goes on when the other is done.
    let waits = patch_long::start(&place, &["--out", "run", "--wait", "600"]);
    std::thread::sleep(Duration::from_millis(300));
    signal(&first, "-CONT");
    assert_eq!([ended(first).code, ended(waits).code], [Some(0), Some(0)]);
    assert_eq!(names(&place, "run").into_iter().filter(|name| name.starts_with('.')).count(), 0);
}

/// A run that is stopped leaves what another completed there.
///
/// Invariant: A run that is stopped does not replace complete results.
#[test]
fn a_stopped_run_does_not_replace_complete_results() {
    let place = patch_long::place();
    place.ok(SWEEP.iter().chain(&["--out", "run"]));
    let whole = results(&place, "run");
    let manifest = place.read("run/manifest.json");
    for more in [&[][..], &["--force", "--measure-at", "12"]] {
        let args: Vec<&str> = ["--out", "run"].into_iter().chain(more.iter().copied()).collect();
        let mut child = patch_long::start(&place, &args);
        wait_for(&place, "run", 5, &mut child);
        signal(&child, "-TERM");
        let done = ended(child);
        assert_eq!(done.code, Some(143), "{}", done.stderr);
        assert!(done.stderr.contains("so are the complete results that were there"), "{}", done.stderr);
        let mut there = results(&place, "run");
        assert!(there.remove("parts.journal").is_some());
        assert!(there == whole && place.read("run/manifest.json") == manifest);
        if more.is_empty() {
            fs_err::remove_file(place.path("run/parts.journal")).unwrap();
        }
    }
    // It goes on all the same.
    place.ok(SWEEP.iter().chain(&["--out", "run", "--force", "--measure-at", "12", "--resume"]));
    place.ok(SWEEP.iter().chain(&["--out", "other", "--measure-at", "12"]));
    assert!(results(&place, "run") == results(&place, "other"));
}

/// Invariant: as `who_finds_another_at_work_says_who_that_is_and_waits_as_long_as_it_may`.
#[test]
fn how_long_one_waits_is_no_part_of_the_request() {
    let m = model("gpt2");
    let place = Place::new();
    let lens = ["lens", "-q", "-m", &m, "--ids", "1,2,3"];
    place.ok(lens);
    let run = place.only_run();
    let table = fs_err::read(run.join("logit_lens.parquet")).unwrap();
    for more in [&["--wait", "5"][..], &["--wait=0"]] {
        place.ok(lens.iter().chain(more));
        assert!(place.only_run() == run && fs_err::read(run.join("logit_lens.parquet")).unwrap() == table, "{more:?}");
    }
}
