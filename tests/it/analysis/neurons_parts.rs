//! A corpus read in parts: by several processes, or again after it was stopped.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use pellucid::Result;
use pellucid::analysis::{NeuronExampleRow, NeuronStatsRow};
use pellucid::table::read_rows;

use super::neurons_corpus::{everything, explained, jsonl, texts};
use crate::bin::Place;

/// Of which a corpus of three parts or more is made: a part has 16,384 tokens.
const DOCUMENTS: usize = 3200;
/// Two neurons that are neighbours, which are kept together, and two that are not. The texts have more than 20 different tokens.
const HOW: [&str; 11] = [
    "neurons", "--corpus", "c.jsonl", "--neuron", "1.7,1.8,1.300,2.9", "--examples", "5", "--draws", "300",
    "--frequent", "20",
];

/// The results in a folder, whose manifest says when it was made.
fn results(place: &Place, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let names = fs_err::read_dir(place.path(folder)).unwrap().map(|e| e.unwrap());
    let files = names.filter(|e| e.path().is_file() && e.file_name() != "manifest.json");
    files.map(|e| (e.file_name().into_string().unwrap(), fs_err::read(e.path()).unwrap())).collect()
}

fn pieces(place: &Place, folder: &str) -> Vec<String> {
    let entries = fs_err::read_dir(place.path(&format!("{folder}/pieces"))).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".safetensors"));
    names.sort();
    names
}

/// Invariant: Features over a corpus that several processes share, or that is read in two goes, have the bytes of one run, and the means
/// and deviations of all tokens.
#[test]
fn parts_of_a_corpus_come_to_the_whole() -> Result<()> {
    let (place, texts) = (Place::new(), texts(DOCUMENTS, 7));
    place.write("c.jsonl", jsonl(&texts));
    let run = |more: &[&str]| place.ok([&HOW[..], more].concat());
    run(&["--out", "whole"]);
    let whole = results(&place, "whole");
    assert!(whole.len() == 8 && pieces(&place, "whole").is_empty(), "{:?}", whole.keys());
    // What no run of this program has summed.
    let (stats, _) = read_rows::<NeuronStatsRow>(place.path("whole/neuron_stats.parquet"))?;
    let (examples, _) = read_rows::<NeuronExampleRow>(place.path("whole/neuron_examples.parquet"))?;
    for (hook, neurons) in [("blocks.1.mlp.hook_post", &[7, 8, 300][..]), ("blocks.2.mlp.hook_post", &[9])] {
        let all = everything(&texts, hook, 1024, false)?;
        for neuron in neurons {
            let of = || all.iter().map(|seen| f64::from(seen.values[*neuron]));
            let row = stats.iter().find(|r| (&*r.feature.hook, r.feature.neuron) == (hook, *neuron as u32)).unwrap();
            let (n, mean) = (all.len() as f64, of().sum::<f64>() / all.len() as f64);
            let std = (of().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            assert_eq!(row.numbers.tokens_seen, all.len() as u64);
            // Runs are packed otherwise, and their kernels round otherwise: as `exported` of the tests of corpora has it.
            assert!((row.numbers.mean - mean).abs() < 1e-5 && (row.numbers.std - std).abs() < 1e-5, "{row:?}");
            let least = of().fold(f64::INFINITY, f64::min);
            let most = of().fold(f64::NEG_INFINITY, f64::max);
            assert!(
                (f64::from(row.numbers.min) - least).abs() < 1e-4 && (f64::from(row.numbers.max) - most).abs() < 1e-4
            );
            let positive = of().filter(|x| *x > 0.0).count() as f64 / n;
            assert!((row.numbers.frac_positive - positive).abs() < 1e-3, "{row:?}");
            // A regression on 20 tokens.
            let r2 = explained(&all, *neuron, 20);
            assert!((row.token_only_r2.unwrap() - r2).abs() < 1e-4, "{row:?}: {r2}");
            assert!((row.quantile_error - (40f64.ln() / 600.0).sqrt()).abs() < 1e-12, "{row:?}");
            // The first of its examples is the largest of all, wherever the corpus was cut.
            let own = |e: &&NeuronExampleRow| (&*e.feature.hook, e.feature.neuron) == (hook, *neuron as u32);
            let top = examples.iter().filter(own).find(|e| e.kind == "top").unwrap();
            assert!((f64::from(top.value) - most).abs() < 1e-4, "{top:?}");
            let at = all.iter().find(|seen| seen.is_at(top.doc, top.pos)).unwrap();
            assert!((at.values[*neuron] - top.value).abs() < 1e-4, "{top:?}");
        }
    }
    // Two processes, and one that comes back to what is done.
    run(&["--shard", "1/2", "--out", "shared"]);
    let done = place.refused(["merge", "shared"], 2, "shard 0 of 2 is missing");
    assert!(done.stderr.contains("run what is missing"), "{}", done.stderr);
    run(&["--shard", "0/2", "--out", "shared"]);
    let parts = ["shared/shard-0-of-2", "shared/shard-1-of-2"].map(|shard| pieces(&place, shard).len());
    assert!(parts.iter().sum::<usize>() >= 3 && parts[0] - parts[1] <= 1, "{parts:?}");
    assert!(run(&["--shard", "0/2", "--resume", "--out", "shared"]).stderr.contains("part 0/2 is done"));
    assert!(place.ok(["status", "shared"]).stdout.contains("all parts are done: 2 parts"));
    place.ok(["merge", "shared"]);
    assert!(results(&place, "shared") == whole, "joined shards are not the whole");
    assert!(place.ok(["status", "shared"]).stdout.contains("complete: joined of 2 parts"));
    // A corpus that has changed since is another request.
    place.write("c.jsonl", jsonl(&texts[1..]));
    place.refused(["merge", "shared", "--out", "elsewhere"], 2, "was made of another model or input");
    place.write("c.jsonl", jsonl(&texts));
    // A piece that is damaged is made again, and one of a shard is asked for.
    let piece = place.path("shared/shard-1-of-2/pieces").join(&pieces(&place, "shared/shard-1-of-2")[0]);
    let mut bytes = fs_err::read(&piece).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&piece, bytes).unwrap();
    place.refused(["merge", "shared", "--out", "elsewhere"], 2, "shard 1 of 2 is missing (");
    run(&["--shard", "1/2", "--resume", "--out", "shared"]);
    place.ok(["merge", "shared"]);
    assert!(results(&place, "shared") == whole);
    place.refused(["neurons", "Mary", "--shard", "0/2"], 2, "parts are of a corpus");
    Ok(())
}

/// Invariant: Stopped while it reads a corpus, `neurons` goes on after the last part, to the bytes of a run that nobody stopped; a part that
/// is not as it was written is read again.
#[cfg(unix)]
#[test]
fn a_stopped_corpus_goes_on_after_its_last_part() {
    let place = Place::new();
    place.write("c.jsonl", jsonl(&texts(DOCUMENTS, 8)));
    place.ok([&HOW[..], &["--out", "whole"]].concat());
    let whole = results(&place, "whole");
    let stopped = |place: &Place| {
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        let mut child = command.args(HOW).args(["--out", "out"]).stderr(Stdio::null()).spawn().unwrap();
        while pieces(place, "out").is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        // SAFETY: it only sends a signal.
        assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
        child.wait().unwrap().code() == Some(130)
    };
    for damaged in [false, true] {
        // A machine may be busy elsewhere between the first part and the signal.
        assert!((0..5).any(|_| {
            _ = std::fs::remove_dir_all(place.path("out"));
            stopped(&place)
        }));
        let kept = pieces(&place, "out");
        assert!(!kept.is_empty() && results(&place, "out").is_empty(), "{kept:?}");
        place.refused([&HOW[..], &["--out", "out", "--seed", "1"]].concat(), 2, "another request");
        if damaged {
            let piece = place.path("out/pieces").join(&kept[0]);
            let bytes = fs_err::read(&piece).unwrap();
            fs_err::write(&piece, &bytes[..bytes.len() / 2]).unwrap();
        }
        place.ok([&HOW[..], &["--resume", "--out", "out"]].concat());
        assert!(results(&place, "out") == whole);
        assert!(!place.path("out/pieces").exists());
    }
    place.refused([&HOW[..], &["--resume", "--out", "out"]].concat(), 2, "holds no stopped run");
}

/// What is kept of a corpus.
///
/// Invariant: as `what_a_command_says_that_it_needs_is_what_it_takes`.
#[cfg(target_os = "linux")]
#[test]
fn what_is_kept_of_a_corpus_takes_what_is_planned() {
    use crate::session::patch_memory::measured;
    use crate::session::plan_memory::{BESIDE, FACTOR, planned};

    let place = Place::new();
    place.write("c.jsonl", jsonl(&texts(1000, 9)));
    let run = |draws: &str| {
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        let how = ["neurons", "-v", "--corpus", "c.jsonl", "--draws", draws, "--examples", "1", "--cards", "1"];
        let (most, said) = measured(command.args(how).args(["--out", draws]));
        (planned(&said), most)
    };
    // Of 2,048 neurons 4 bytes for each draw: 164 MB.
    let ((nothing, least), (plan, most)) = (run("10"), run("20000"));
    let (plan, taken) = (plan - nothing, most - least);
    assert!(plan > 150e6, "{plan}");
    assert!(taken <= plan * FACTOR + BESIDE && plan <= taken * FACTOR + BESIDE, "{plan} planned, {taken} taken");
}
