//! Shards of an analysis, joined: what one process makes, to the last byte; and what does not belong together is not joined.

use std::collections::BTreeMap;
use std::path::Path;

use pellucid::analysis::{LensRow, PatchMeanRow, PatchRow};
use pellucid::sweep::BLOCK;
use pellucid::table::{Row, TableWriter, read_provenance, read_rows};
use serde_json::{Value, json};

use crate::bin::{Done, Place};

/// Four blocks of pairs and prompts of several lengths, the last of a few.
const ITEMS: usize = 3 * BLOCK + 9;

fn place() -> Place {
    let names = ["Mary", "John", "Sara", "Tom", "Anna", "Ben"];
    let place = Place::new();
    let (mut pairs, mut prompts) = (String::from("id,clean,corrupt,answer,foil\n"), String::new());
    let mut clean = String::from("clean,answer,foil\n");
    for i in 0..ITEMS {
        let (one, two) = (names[i % 6], names[(i + 1 + i / 6 % 5) % 6]);
        let begin = ["When", "Then when", "At the park when", "When"][i % 4];
        let text = |giver: &str| format!("{begin} {one} and {two} went to the store; {giver} gave a drink to");
        pairs += &format!("n{i},{},{}, {one}, {two}\n", text(two), text(one));
        prompts += &format!("{}\n", text(two));
        clean += &format!("{}, {one}, {two}\n", text(two));
    }
    place.write("pairs.csv", pairs);
    place.write("prompts.txt", prompts);
    place.write("clean.csv", clean);
    place
}

const PATCH: &[&str] = &[
    "patch", "--pairs", "pairs.csv", "--at", "resid_post,z", "--over", "layer,pos", "--pos", "-2,-1", "--align", "end",
];

/// Of each analysis what is over all pairs or prompts: means of several metrics, values of a dataset and of the prompts themselves, random
/// draws, several samples of a pair.
const ASKED: [&[&str]; 8] = [
    &[
        "patch", "--pairs", "pairs.csv", "--at", "z", "--over", "layer", "--kind", "mean", "--dataset", "prompts.txt",
        "--metric", "logit_diff,prob,kl_to_clean", "--verify", "7",
    ],
    &[
        "patch", "--pairs", "clean.csv", "--noise", "3", "--noise-at", "1", "--samples", "3", "--at", "resid_pre",
        "--over", "layer",
    ],
    &["path", "--pairs", "pairs.csv", "--over", "layer,head"],
    &["ablate", "--prompts", "prompts.txt", "--unit", "mlp", "--memory", "5MB"],
    &["ablate", "--prompts", "prompts.txt", "--kind", "resample", "--metric", "loss,kl_to_clean"],
    &["attribute", "--pairs", "pairs.csv", "--at", "z,mlp_out", "--align", "end"],
    &["lens", "--prompts", "prompts.txt", "--at", "resid_post", "--pos", "-2,-1", "--top", "2", "--target", " Mary"],
    &["lens", "--prompts", "prompts.txt", "--pos", "-1", "--top", "1", "--memory", "3MB"],
];

fn run(place: &Place, asked: &[&str], more: &[&str]) -> Done {
    place.ok(asked.iter().chain(more))
}

/// Runs shards of `n`, in this order, into the folder `out`.
fn shards(place: &Place, asked: &[&str], out: &str, n: usize, order: &[usize]) {
    for index in order {
        let done = run(place, asked, &["--out", out, "--shard", &format!("{index}/{n}")]);
        assert!(done.stdout.is_empty(), "{}", done.stdout);
        assert!(done.stderr.contains(&format!("part {index}/{n} is done")), "{}", done.stderr);
    }
}

/// The files of a folder, with what differs between two runs taken out of the manifest. Folders of shards are left out.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut bytes = fs_err::read(&path).unwrap();
        if name == "manifest.json" {
            let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
            let fields = manifest.as_object_mut().unwrap();
            ["finished_unix_s", "elapsed_s", "machine"].iter().for_each(|name| assert!(fields.remove(*name).is_some()));
            bytes = manifest.to_string().into_bytes();
        }
        (name, bytes)
    };
    entries.filter(|path| path.is_file()).map(file).collect()
}

#[track_caller]
fn same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>, what: &str) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{what}");
    one.iter().for_each(|(name, bytes)| assert!(other[name] == *bytes, "{what}: {name} differs"));
}

/// What is said but for files and folders.
fn said(done: &Done) -> Vec<String> {
    let lines = done.stderr.lines().filter(|line| !line.starts_with("wrote "));
    lines.chain(done.stdout.lines()).map(str::to_owned).collect()
}

fn whole_and_shards(asked: &[&str], n: usize, order: &[usize]) {
    let place = place();
    // Notes about the input are said by whoever reads it.
    let one = run(&place, asked, &["--out", "whole"]);
    shards(&place, asked, "parts", n, order);
    let all = place.ok(["merge", "parts"]);
    let whole = files(&place.path("whole"));
    assert!(whole.len() > 3, "{:?}", whole.keys());
    same(&whole, &files(&place.path("parts")), &asked.join(" "));
    let own: Vec<String> = said(&one).into_iter().filter(|line| said(&all).contains(line)).collect();
    assert_eq!(own, said(&all), "{asked:?}");
    // The same command finds its results there, and joining once more changes nothing.
    run(&place, asked, &["--out", "parts"]);
    place.ok(["merge", "parts"]);
    same(&whole, &files(&place.path("parts")), &asked.join(" "));
}

macro_rules! joined {
    ($($name:ident: $asked:expr, $n:literal, $order:expr;)*) => {
        $(
            /// Invariant: as `shards_of_every_analysis_are_tested`.
            #[test]
            fn $name() {
                whole_and_shards($asked, $n, &$order);
            }
        )*
        const TESTED: &[&[&str]] = &[$($asked),*];
    };
}

joined! {
    patches_are_joined: PATCH, 3, [2, 0, 1];
    means_of_a_dataset_are_joined: ASKED[0], 2, [0, 1];
    samples_of_noise_are_joined: ASKED[1], 3, [0, 2, 1];
    paths_are_joined: ASKED[2], 3, [1, 2, 0];
    ablations_are_joined: ASKED[3], 3, [1, 0, 2];
    resampled_ablations_are_joined: ASKED[4], 4, [3, 2, 1, 0];
    attributions_are_joined: ASKED[5], 3, [2, 1, 0];
    lenses_are_joined: ASKED[6], 3, [0, 1, 2];
    // More parts than blocks: some are empty.
    empty_shards_are_joined: ASKED[7], 6, [5, 4, 3, 2, 1, 0];
}

/// Invariant: The shards of `lens`, `patch`, `path`, `ablate` and `attribute`, joined, are the bytes that one process writes.
#[test]
fn shards_of_every_analysis_are_tested() {
    let page = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md")).unwrap();
    let sections = page.split("\n## ").skip(1).filter(|section| section.contains("--shard <I/N>"));
    let names = sections.map(|section| section.lines().next().unwrap().trim_matches('`').replace("pellucid ", ""));
    // Of `export`, tests/it/dataset and tests/it/analysis/export.rs; of `neurons`, whose parts are of a corpus,
    // tests/it/analysis/neurons_parts.rs; of `run`, whose parts are steps, tests/it/report.
    let elsewhere = ["export", "neurons", "run"];
    let names: Vec<String> = names.filter(|name| !elsewhere.contains(&name.as_str())).collect();
    assert!(names.len() == 5 && names.iter().all(|name| TESTED.iter().any(|asked| asked[0] == name)), "{names:?}");
}

/// Rows of a shard have the numbers of their pairs in the whole, and the file says which shard it is.
#[test]
fn a_shard_has_the_rows_of_its_blocks_and_says_so() {
    let place = place();
    shards(&place, PATCH, "parts", 3, &[0, 1]);
    let (rows, provenance) = read_rows::<PatchRow>(place.path("parts/shard-0-of-3/patch.parquet")).unwrap();
    assert_eq!((provenance.shard.as_deref(), provenance.complete), (Some("0/3"), true));
    let mut pairs: Vec<u32> = rows.iter().map(|row| row.pair).collect();
    pairs.dedup();
    let own = (0..ITEMS as u32).filter(|pair| (pair / BLOCK as u32).is_multiple_of(3));
    assert_eq!(pairs, own.collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.pair_id == format!("n{}", row.pair)));
    let names: Vec<String> = files(&place.path("parts/shard-0-of-3")).into_keys().collect();
    assert_eq!(names, ["manifest.json", "patch.parquet"]);
    // Of a figure of it, nobody thinks that it is of all.
    place.ok(["chart", "parts/shard-1-of-3/patch.parquet", "--out", "figures", "-q"]);
    let figure = fs_err::read_dir(place.path("figures")).unwrap().map(|e| e.unwrap().path());
    let figure = figure.filter(|path| path.extension().is_some_and(|e| e == "svg")).min().unwrap();
    assert!(fs_err::read_to_string(figure).unwrap().contains("incomplete: part 1/3 of the run"));
}

/// Means over pairs are those of all pairs, summed here in another way: over each place's rows, by Welford's update.
#[test]
fn means_of_joined_shards_are_those_of_all_pairs() {
    let place = place();
    shards(&place, PATCH, "parts", 3, &[0, 1, 2]);
    place.ok(["merge", "parts", "-q"]);
    let (rows, _) = read_rows::<PatchRow>(place.path("parts/patch.parquet")).unwrap();
    let (means, _) = read_rows::<PatchMeanRow>(place.path("parts/patch_mean.parquet")).unwrap();
    let mut all: BTreeMap<String, (f64, f64, f64)> = BTreeMap::new();
    for row in &rows {
        let (n, mean, squares) =
            all.entry(format!("{:?}", (&row.place.site, row.place.layer, &row.place.position_name))).or_default();
        let change = f64::from(row.measured.patched.unwrap()) - f64::from(row.measured.clean);
        *n += 1.0;
        let before = change - *mean;
        *mean += before / *n;
        *squares += before * (change - *mean);
    }
    assert_eq!((means.len(), rows.len()), (all.len(), all.len() * ITEMS));
    for row in &means {
        let place = &row.place;
        let (n, mean, squares) = all[&format!("{:?}", (&place.site, place.layer, &place.position_name))];
        let error = (squares / (n - 1.0) / n).sqrt();
        let (found, its) = (row.measured.change.unwrap(), row.measured.change_se.unwrap());
        // A rounding to f32, and of f64 far less: fewer than 1000 terms of one size.
        assert!((f64::from(found) - mean).abs() <= mean.abs() * f64::from(f32::EPSILON) + 1e-12, "{found} {mean}");
        assert!((f64::from(its) - error).abs() <= error * f64::from(f32::EPSILON) + 1e-12, "{its} {error}");
        assert_eq!(row.measured.pairs, ITEMS as u32);
    }
}

/// Invariant: Shards are joined only if all are there, whole, of one request, one model and one instruction level; what is missing is listed.
#[test]
fn what_does_not_belong_together_is_not_joined() {
    let place = place();
    let lens = ["lens", "-q", "--prompts", "prompts.txt", "--pos", "-1", "--top", "1"];
    let shard = |out: &str, part: &str, more: &[&str]| {
        place.ok(lens.iter().chain(&["--out", out, "--shard", part]).chain(more));
    };
    [0, 1, 2, 4, 5, 6, 10, 11].iter().for_each(|i| shard("parts", &format!("{i}/12"), &[]));
    place.refused(["merge", "parts"], 2, "shards 3,7-9 of 12 are missing");
    [3, 7, 8, 9].iter().for_each(|i| shard("parts", &format!("{i}/12"), &[]));
    // Another request, number of parts or memory has no place beside them.
    let refused = |more: &[&str], says: &str| {
        place.refused(lens.iter().chain(&["--out", "parts"]).chain(more), 2, says);
    };
    refused(&["--shard", "0/12", "--at", "mlp_out"], "holds shards of another request, `pellucid lens");
    refused(&["--shard", "0/12", "--memory", "3MB"], "another request");
    refused(&["--shard", "0/3"], "holds shards of 12 parts, and this is one of 3");
    refused(&["--shard", "12/12"], "no part 12 of 12");
    refused(&["--shard", "slurm"], "SLURM_ARRAY_TASK_ID is not set");
    place.refused(PATCH.iter().chain(&["--shard", "0/3", "--scale", "1", "-q"]), 2, "merge");
    let confirm = ["attribute", "--pairs", "pairs.csv", "--confirm", "3", "--shard", "0/3"];
    place.refused(confirm, 2, "not known in a part");

    // Damaged: a byte of the table, its end, the manifest.
    let table = place.path("parts/shard-2-of-12/logit_lens.parquet");
    let sound = fs_err::read(&table).unwrap();
    let mut altered = sound.clone();
    altered[sound.len() / 2] ^= 1;
    for bytes in [&altered, &sound[..sound.len() - 9]] {
        fs_err::write(&table, bytes).unwrap();
        place.refused(
            ["merge", "parts"],
            2,
            "shard 2 of 12 is missing (parts/shard-2-of-12/logit_lens.parquet is damaged)",
        );
        let status = place.ok(["status", "parts", "--check"]).stdout;
        assert!(status.contains("not complete: 11 of 12 parts") && status.contains("part 2/12: damaged"), "{status}");
    }
    fs_err::write(&table, &sound).unwrap();
    let manifest = place.path("parts/shard-2-of-12/manifest.json");
    let text = fs_err::read(&manifest).unwrap();
    fs_err::write(&manifest, &text[..text.len() / 2]).unwrap();
    place.refused(["merge", "parts"], 2, "shard 2 of 12 is missing (parts/shard-2-of-12/manifest.json is damaged)");
    fs_err::write(&manifest, &text).unwrap();

    // Of another model, another request, another version, other instructions.
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let demo = format!("{}/models/demo/{file}", env!("CARGO_MANIFEST_DIR"));
        place.write(&format!("other/{file}"), fs_err::read(demo).unwrap());
    }
    shard("model", "2/12", &["-m", "./other"]);
    shard("request", "2/12", &["--target", " Mary"]);
    let three = |folder: &str, says: &str| {
        fs_err::rename(place.path("parts/shard-2-of-12"), place.path("kept")).unwrap();
        place.refused(["merge", "parts", folder], 2, "say");
        place.refused(["merge", "parts", folder, "--out", "all"], 2, says);
        fs_err::rename(place.path("kept"), place.path("parts/shard-2-of-12")).unwrap();
    };
    three("model", "the model differs");
    three("request", "the request differs");
    place.refused(["merge", "parts", "--scale", "2"], 2, "no scale");

    let shard = "parts/shard-2-of-12";
    let sound = fs_err::read(&table).unwrap();
    // The version stands in the file as it is, in the keys of its footer.
    let (ours, theirs) = (env!("CARGO_PKG_VERSION").as_bytes(), b"9.9.9");
    let mut other = sound.clone();
    let places: Vec<usize> = (0..other.len() - ours.len()).filter(|i| other[*i..].starts_with(ours)).collect();
    places.iter().for_each(|i| other[*i..][..ours.len()].copy_from_slice(theirs));
    sign(&place, shard, "logit_lens", &other);
    place.refused(["merge", "parts"], 2, "the version differs");
    sign(&place, shard, "logit_lens", &sound);
    forge::<LensRow>(&place, shard, "logit_lens", "scalar");
    place.refused(["merge", "parts"], 2, "only within rounding");
    place.ok(["merge", "parts", "--mixed", "-q"]);
    let levels = read_provenance(place.path("parts/logit_lens.parquet")).unwrap().instructions;
    assert!(levels.split('+').count() == 2 && levels.contains("scalar"), "{levels}");
    assert!(place.ok(["status", "parts"]).stdout.contains("\ncomplete: joined of 12 parts\n"));
    // Results of another request are not replaced.
    place.ok(lens.iter().chain(&["--out", "taken", "--target", " Mary"]));
    place.refused(["merge", "parts", "--mixed", "--out", "taken"], 2, "taken holds the results of another request");
}

/// Writes the table of a shard anew, as if other instructions had computed it.
fn forge<R: Row>(place: &Place, folder: &str, table: &str, instructions: &str) {
    let path = place.path(&format!("{folder}/{table}.parquet"));
    let (rows, provenance) = read_rows::<R>(&path).unwrap();
    let mut writer =
        TableWriter::create(&path, pellucid::table::Provenance { instructions: instructions.into(), ..provenance })
            .unwrap();
    writer.extend(&rows).unwrap();
    writer.finish().unwrap();
    sign(place, folder, table, &fs_err::read(&path).unwrap());
}

/// Puts these bytes in the place of a shard's table, as its manifest says too.
fn sign(place: &Place, folder: &str, table: &str, bytes: &[u8]) {
    place.write(&format!("{folder}/{table}.parquet"), bytes);
    let mut manifest: Value = serde_json::from_slice(&place.read(&format!("{folder}/manifest.json"))).unwrap();
    manifest["shard"]["bytes"] = bytes.len().into();
    manifest["shard"]["blake3"] = blake3::hash(bytes).to_hex().as_str().into();
    place.write(&format!("{folder}/manifest.json"), manifest.to_string());
}

/// What is there of shards, of a killed one too, which goes on to the same bytes.
#[cfg(unix)]
#[test]
fn a_killed_shard_is_seen_and_goes_on() {
    use super::patch_long::{ended, journal, signal, wait_for, waves};
    let place = place();
    let asked = [
        "patch", "--pairs", "pairs.csv", "--at", "mlp.post", "--over", "layer,neuron", "--pos", "-1", "--align", "end",
        "--memory", "4MB",
    ];
    let most = (BLOCK + 2).to_string();
    let limited = [&asked[..], &["--limit", &most]].concat();
    run(&place, &limited, &["--out", "whole"]);
    let part = |index: &'static str| [&limited[..], &["-q", "--out", "parts", "--shard", index]].concat();
    // One command begins a shard, goes on with it, and finds it done.
    let resumed = [part("1/2"), vec!["--resume"]].concat();
    place.ok(&resumed);
    let made = place.read("parts/shard-1-of-2/manifest.json");
    place.ok(&resumed);
    assert!(place.read("parts/shard-1-of-2/manifest.json") == made, "a shard that was done is done again");
    let mut child = place.command(env!("CARGO_BIN_EXE_pellucid"));
    child.args(part("0/2")).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    wait_for(&place, "parts/shard-0-of-2", 5, &mut child);
    let status = |state: &str, at_work: bool| {
        let found: Value = serde_json::from_str(&place.ok(["status", "parts", "--format", "json"]).stdout).unwrap();
        assert_eq!(found["shards"][0], json!({"shard": {"index": 0, "of": 2}, "state": state, "at_work": at_work}));
        assert_eq!((&found["shards"][1]["state"], &found["complete"]), (&json!("complete"), &json!(false)));
    };
    status("incomplete", true);
    signal(&child, "-KILL");
    ended(child);
    let kept = waves(&journal(&place, "parts/shard-0-of-2"));
    status("incomplete", false);
    place.refused(["merge", "parts"], 2, "shard 0 of 2 is missing");
    // Interrupted, what is done is in its table, which nobody takes for the whole.
    let mut child = place.command(env!("CARGO_BIN_EXE_pellucid"));
    child.args(part("0/2")).arg("--resume").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    wait_for(&place, "parts/shard-0-of-2", kept + 5, &mut child);
    signal(&child, "-INT");
    let done = ended(child);
    assert!(done.code == Some(130) && done.stderr.contains("--resume --out parts goes on"), "{}", done.stderr);
    status("incomplete", false);
    place.refused(["merge", "parts"], 2, "shard 0 of 2 is missing");
    place.ok(part("0/2").iter().chain(&["--resume"]));
    status("complete", false);
    place.ok(["merge", "parts"]);
    same(&files(&place.path("whole")), &files(&place.path("parts")), "killed");
}
