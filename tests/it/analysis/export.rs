//! `export` against `cache`, `tokens` and `loss`, cut into shards, stopped and resumed.

use std::collections::BTreeMap;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use candle_core::Device;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pellucid::analysis::loss::LossRow;
use pellucid::analysis::{ExportDocumentRow, ExportStatsRow, TokenRow};
use pellucid::dataset::Shard;
use pellucid::table::read_rows;

use crate::bin::Place;

/// A row of an export.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub doc: u64,
    pub doc_id: String,
    pub seq: u32,
    pub pos: u32,
    pub token_id: u32,
    pub token: String,
    pub bytes: Option<(u32, u32)>,
    pub special: bool,
    pub hooks: BTreeMap<String, Vec<f32>>,
    pub numbers: BTreeMap<String, Option<f32>>,
    pub ids: BTreeMap<String, Option<u32>>,
}

/// The rows of all data files of a folder, in order.
pub fn rows(folder: &Path) -> Vec<Row> {
    let mut names: Vec<_> = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "parquet") && name_of(path).starts_with("data-"));
    names.sort();
    let mut rows = vec![];
    for path in names {
        let file = fs_err::File::open(path).unwrap().into_parts().0;
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            rows.extend(rows_of(&batch.unwrap()));
        }
    }
    rows
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let text = |name: &str| column(name).as_string::<i32>();
    let u32s = |name: &str| column(name).as_primitive::<UInt32Type>();
    let some = |name: &str, i: usize| u32s(name).is_valid(i).then(|| u32s(name).value(i));
    let row = |i: usize| {
        let mut row = Row {
            doc: column("doc").as_primitive::<UInt64Type>().value(i),
            doc_id: text("doc_id").value(i).to_owned(),
            seq: u32s("seq").value(i),
            pos: u32s("pos").value(i),
            token_id: u32s("token_id").value(i),
            token: text("token").value(i).to_owned(),
            bytes: some("byte_start", i).zip(some("byte_end", i)),
            special: column("special").as_boolean().value(i),
            hooks: BTreeMap::new(),
            numbers: BTreeMap::new(),
            ids: BTreeMap::new(),
        };
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()).skip(9) {
            let name = field.name().clone();
            if let Some(list) = column.as_fixed_size_list_opt() {
                row.hooks.insert(name, list.value(i).as_primitive::<Float32Type>().values().to_vec());
            } else if let Some(number) = column.as_primitive_opt::<Float32Type>() {
                row.numbers.insert(name, number.is_valid(i).then(|| number.value(i)));
            } else {
                let id = column.as_primitive::<UInt32Type>();
                row.ids.insert(name, id.is_valid(i).then(|| id.value(i)));
            }
        }
        row
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Documents of many lengths, some of them with letters of several bytes.
pub fn corpus(place: &Place) -> Vec<String> {
    let names = ["Mary", "John", "Anna", "Jürgen", "日本"];
    let text = |i: usize| {
        let line = format!("When {} and {} went to the store, ", names[i % 5], names[(i + 1) % 5]);
        format!("{}they bought {i} apples.", line.repeat(1 + i * 7 % 5))
    };
    let texts: Vec<String> = (0..23).map(text).collect();
    let lines: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(i, text)| serde_json::json!({"id": format!("d{i}"), "text": text}).to_string())
        .collect();
    place.write("corpus.jsonl", lines.join("\n"));
    texts
}

pub const HOOKS: &str = "blocks.*.hook_resid_post,blocks.1.attn.hook_z,ln_final.hook_scale";

pub fn export<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["export", "-q", "--hooks", HOOKS, "--corpus", "corpus.jsonl", "--block", "4"], more].concat()
}

/// Everything in a folder that is no lock, by its name.
pub fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(at: &Path, before: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs_err::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{before}{}", name_of(&path));
            match path.is_dir() {
                true => walk(&path, &format!("{name}/"), found),
                false => _ = found.insert(name, fs_err::read(path).unwrap()),
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, "", &mut found);
    found
}

/// Invariant: An export has what `cache` has at each token, cut where `tokens` cuts, and predicts what `loss` says.
#[test]
fn an_export_has_the_values_tokens_and_losses_of_the_other_commands() {
    let place = Place::new();
    let texts = corpus(&place);
    place.ok(export(&["--columns", "loss,logprob,entropy,top1", "--out", "out"]));
    let found = rows(&place.path("out"));
    place.ok(["cache", "-q", "--prompts", "corpus.jsonl", "--hooks", HOOKS, "--out", "cache"]);
    place.ok(["tokens", "-q", "--prompts", "corpus.jsonl", "--out", "tokens"]);
    place.ok(["loss", "-q", "--prompts", "corpus.jsonl", "--out", "loss"]);
    let tokens = read_rows::<TokenRow>(place.path("tokens/tokens.parquet")).unwrap().0;
    let losses = read_rows::<LossRow>(place.path("loss/loss.parquet")).unwrap().0;
    assert_eq!((found.len(), found.len()), (tokens.len(), losses.len()));
    for (i, (row, token)) in found.iter().zip(&tokens).enumerate() {
        assert_eq!((row.doc, &row.doc_id, row.pos), (u64::from(token.prompt), &token.prompt_id, token.pos));
        assert_eq!((row.token_id, &row.token, row.special), (token.token_id, &token.text, token.special));
        assert_eq!(row.bytes, token.byte_start.zip(token.byte_end));
        if let Some((from, to)) = row.bytes.filter(|_| !row.token.contains('\\')) {
            assert_eq!(&texts[row.doc as usize].as_bytes()[from as usize..to as usize], row.token.as_bytes());
        }
        // What a token says of the next is in `loss` at the next.
        let (loss, next) = (&losses[i], losses.get(i + 1).filter(|next| next.prompt == losses[i].prompt));
        let close = |found: Option<f32>, want: Option<f64>| match (found, want) {
            // Sums of a vocabulary of f32 exponentials in tiles: rounding of logits of size 10 and of their sum.
            (Some(found), Some(want)) => assert!((f64::from(found) - want).abs() < 1e-4, "{i}: {found} {want}"),
            (found, want) => assert_eq!((found, want), (None, None), "{i}"),
        };
        close(row.numbers["loss_nats"], next.and_then(|next| next.loss_nats));
        close(row.numbers["logprob_nats"], loss.loss_nats.map(|nats| -nats));
        if let Some(next) = next {
            close(row.numbers["entropy_bits"], next.entropy_bits);
            assert_eq!(row.ids["top1_id"], next.expected_id);
        }
    }
    let cache = candle_core::safetensors::load(place.path("cache/activations.safetensors"), &Device::Cpu).unwrap();
    let mut compared = 0;
    for name in found[0].hooks.keys() {
        let want = cache[name].flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        for (row, want) in found.iter().zip(&want) {
            let own = &row.hooks[name];
            assert_eq!(own.len(), want.len());
            let size = want.iter().fold(1.0f32, |most, x| most.max(x.abs()));
            // Other packs may sum in another order: far below what another token or layer would make of it.
            assert!(own.iter().zip(want).all(|(a, b)| (a - b).abs() <= 2e-5 * size), "{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, found.len() * found[0].hooks.len());
    // Statistics are those of the values that are there.
    let stats = read_rows::<ExportStatsRow>(place.path("out/export_stats.parquet")).unwrap().0;
    assert_eq!(stats.len(), found[0].hooks.len());
    for row in stats {
        let own: Vec<&Vec<f32>> = found.iter().map(|found| &found.hooks[&row.hook]).collect();
        let all: Vec<f64> = own.iter().flat_map(|v| v.iter().map(|x| f64::from(*x))).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let std = (all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
        let norm = |v: &&Vec<f32>| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let norms = own.iter().map(norm).sum::<f64>() / own.len() as f64;
        assert_eq!((row.rows, row.width as usize), (found.len() as u64, own[0].len()));
        let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() <= 1e-9 * b.abs().max(1.0), "{a:?} {b}");
        close(row.mean, mean);
        close(row.std, std);
        close(row.mean_norm, norms);
        close(row.norm_scale, (own[0].len() as f64).sqrt() / norms);
    }
    let documents = read_rows::<ExportDocumentRow>(place.path("out/export_documents.parquet")).unwrap().0;
    assert_eq!(documents.len(), texts.len());
    for own in documents {
        let n = found.iter().filter(|row| row.doc == own.doc).count() as u64;
        assert_eq!((own.rows, own.tokens, own.block, own.doc_id), (n, n, own.doc / 4, format!("d{}", own.doc)));
    }
}

/// Invariant: An export is the same bytes however many machines make it, whatever memory they have, and wherever they are stopped.
#[test]
fn shards_memory_and_stops_leave_the_same_bytes() {
    let place = Place::new();
    corpus(&place);
    let how = ["--pack", "bos", "--context", "32", "--max-norm-multiple", "3", "--columns", "loss"];
    let with = |more: &[&'static str]| export(&[&how, more].concat());
    place.ok(with(&["--out", "whole"]));
    let whole = contents(&place.path("whole"));
    assert!(whole.len() > 10 && whole.contains_key("manifest.json") && whole.contains_key("data-000005.parquet"));
    place.ok(with(&["--memory", "300MB", "--out", "other"]));
    assert!(contents(&place.path("other")) == whole, "memory changes nothing");
    for shard in ["2/3", "0/3"] {
        place.ok(with(&["--shard", shard, "--out", "parts"]));
    }
    let done = place.pellucid(["merge", "-q", "parts"]);
    done.is_refusal("merge", 2, "shard 1 of 3 is missing");
    let status = place.ok(["status", "parts"]).stdout;
    assert!(status.contains("not complete: 4 of 6 blocks") && status.contains("part 1/3: 0 of 2 blocks"), "{status}");
    place.ok(with(&["--shard", "1/3", "--out", "parts"]));
    let status = place.ok(["status", "parts"]).stdout;
    assert!(
        status.contains("all parts are done: 6 blocks, 23 documents") && status.contains("pellucid merge parts\n"),
        "{status}"
    );
    place.ok(["merge", "-q", "parts"]);
    let parts = contents(&place.path("parts"));
    assert_eq!(parts.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    parts.iter().for_each(|(name, bytes)| assert!(*bytes == whole[name], "{name}"));
    let status = place.ok(["status", "--check", "parts"]).stdout;
    assert!(status.contains("complete: 6 blocks, 23 documents"), "{status}");
    // What a killed run leaves: some blocks, one of them torn, and one without its record.
    fs_err::remove_file(place.path("other/manifest.json")).unwrap();
    fs_err::remove_file(place.path("other/blocks/000004.json")).unwrap();
    let torn = &whole["data-000001.parquet"];
    place.write("other/data-000001.parquet", &torn[..torn.len() / 2]);
    place.refused(with(&["--out", "other"]), 2, "--resume");
    place.ok(with(&["--out", "other", "--resume"]));
    assert!(contents(&place.path("other")) == whole, "resumed");
}

/// Invariant: Parts are one data set, of the same bytes, wherever each machine has the corpus.
#[test]
fn parts_are_the_same_wherever_the_corpus_is() {
    let place = Place::new();
    corpus(&place);
    let text = |of: &str| fs_err::read_to_string(place.path(of)).unwrap();
    let all = text("corpus.jsonl");
    for folder in ["here", "mounted/there"] {
        place.write(&format!("{folder}/corpus.jsonl"), &all);
        (0..6).for_each(|i| _ = place.write(&format!("{folder}/more/{i}.txt"), "Lily went home."));
    }
    let of = |corpus: &[&str], shard: &str, out: &str| {
        let corpus = corpus.iter().flat_map(|path| ["--corpus", path]).collect::<Vec<_>>();
        place
            .ok([&["export", "-q", "--hooks", "z", "--block", "4", "--shard", shard, "--out", out], &corpus[..]]
                .concat());
    };
    let absolute = place.path("here").display().to_string();
    for (name, one, other, said) in [
        ("file", &["corpus.jsonl"][..], &["mounted/there/corpus.jsonl"][..], "--corpus corpus.jsonl --hooks"),
        ("folder", &["here"], &["mounted/there/."], "--corpus 'corpus.jsonl and 6 more files' --hooks"),
        (
            "both",
            &["here/corpus.jsonl", "here/more/1.txt"],
            &[&format!("{absolute}/corpus.jsonl"), "mounted/there/more/1.txt"],
            "--corpus corpus.jsonl --corpus 1.txt --hooks",
        ),
    ] {
        of(one, "0/2", &format!("{name}-0"));
        of(other, "1/2", &format!("{name}-1"));
        place.ok(["merge", "-q", &format!("{name}-0"), &format!("{name}-1"), "--out", name]);
        of(one, "0/1", &format!("{name}-whole"));
        assert!(contents(&place.path(name)) == contents(&place.path(&format!("{name}-whole"))), "{name}");
        assert!(text(&format!("{name}/README.md")).contains(said), "{name}: {}", text(&format!("{name}/README.md")));
        // Gone on with, too.
        of(other, "0/1", &format!("{name}-other"));
        fs_err::remove_file(place.path(&format!("{name}-other/blocks/000001.json"))).unwrap();
        let corpus = one.iter().flat_map(|path| ["--corpus", path]).collect::<Vec<_>>();
        let out = format!("{name}-other");
        place.ok([&["export", "-q", "--hooks", "z", "--block", "4", "--out", &out, "--resume"], &corpus[..]].concat());
        assert!(contents(&place.path(name)) == contents(&place.path(&out)), "{name}");
    }
    // Other texts are another corpus.
    place.write("here/corpus.jsonl", all.replace("Mary", "Lily"));
    of(&["here/corpus.jsonl"], "0/2", "other-0");
    place.pellucid(["merge", "-q", "other-0", "file-1", "--out", "no"]).is_refusal("merge", 2, "the request differs");
}

/// Invariant: Which tokens become rows is decided by what they are and where they stand, the same on every machine.
#[test]
fn tokens_are_left_out_and_drawn_as_asked() {
    let place = Place::new();
    corpus(&place);
    let made = |name: &'static str, more: &[&'static str]| {
        place.ok(export(&[&["--context", "16", "--out", name], more].concat()));
        rows(&place.path(name))
    };
    let all = made("all", &[]);
    let of = |keep: &dyn Fn(&Row) -> bool| all.iter().filter(|row| keep(row)).cloned().collect::<Vec<_>>();
    let plain = made("plain", &["--skip-special", "--skip-pos", "0..2,5"]);
    assert!(plain == of(&|row| !row.special && row.pos >= 2 && row.pos != 5));
    assert!(plain.len() < all.len() - 20);
    // Of sequences that begin with BOS, all but that.
    let begun = made("begun", &["--bos"]);
    let words = made("words", &["--bos", "--skip-special"]);
    let own: Vec<_> = begun.iter().filter(|row| !row.special).cloned().collect();
    assert!(words == own && own.len() < begun.len());
    let norm = |v: &Vec<f32>| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let limits: BTreeMap<&String, f64> = all[0]
        .hooks
        .keys()
        .map(|name| {
            let mut norms: Vec<f64> = all.iter().map(|row| norm(&row.hooks[name])).collect();
            norms.sort_by(f64::total_cmp);
            let n = norms.len();
            (name, 1.3 * if n % 2 == 1 { norms[n / 2] } else { (norms[n / 2 - 1] + norms[n / 2]) / 2.0 })
        })
        .collect();
    let within = of(&|row| limits.iter().all(|(name, limit)| norm(&row.hooks[*name]) <= *limit));
    assert!(within.len() < all.len() && within.len() > all.len() / 3, "{} of {}", within.len(), all.len());
    assert!(made("within", &["--max-norm-multiple", "1.3"]) == within);
    let drawn = made("drawn", &["--sample", "0.25", "--seed", "3"]);
    assert!(drawn.iter().all(|row| all.contains(row)));
    // Of n draws with probability p, six standard deviations.
    let (n, most) = (all.len() as f64, 6.0 * (all.len() as f64 * 0.25 * 0.75).sqrt());
    assert!((drawn.len() as f64 - n / 4.0).abs() < most, "{} of {n}", drawn.len());
    assert!(made("again", &["--sample", "0.25", "--seed", "4"]) != drawn);
    // Sequences that overlap have each token once, and more before it.
    let strided = made("strided", &["--stride", "4"]);
    let key = |row: &Row| (row.doc, row.bytes, row.token_id);
    assert_eq!(strided.iter().map(key).collect::<Vec<_>>(), all.iter().map(key).collect::<Vec<_>>());
    assert!(strided.iter().zip(&all).all(|(a, b)| a.pos >= b.pos) && strided.iter().any(|row| row.pos == 15));
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let place = Place::new();
    corpus(&place);
    place.write("empty.jsonl", "");
    place.write("bad.jsonl", "{\"text\": \"Mary went\"}\nnot JSON\n{\"text\": \"John met Mary\"}\n");
    let of = |hooks, corpus, more: &[&'static str]| {
        [&["export", "-q", "--hooks", hooks, "--corpus", corpus, "--out", "out"], more].concat()
    };
    place.refused(of("pattern", "corpus.jsonl", &[]), 2, "attention");
    place.refused(of("nothing", "corpus.jsonl", &[]), 2, "nothing");
    place.refused(of("z", "corpus.jsonl", &["--context", "100000"]), 2, "is longer than the model's");
    place.refused(of("z", "corpus.jsonl", &["--store", "bf16"]), 2, "--as safetensors");
    place.refused(of("z", "corpus.jsonl", &["--shard", "4/4"]), 2, "no part 4 of 4");
    place.refused(of("z", "corpus.jsonl", &["--shard", "slurm"]), 2, "SLURM_ARRAY_TASK_ID is not set");
    place.refused(of("z", "corpus.jsonl", &["--text", "txet"]), 2, "text");
    place.refused(of("z", "corpus.jsonl", &["--sample", "2"]), 2, "no share");
    place.refused(of("z", "corpus.jsonl", &["--sample", "0"]), 2, "no share");
    place.refused(of("z", "corpus.jsonl", &["--max-norm-multiple", "0"]), 2, "leaves nothing");
    place.refused(of("z", "corpus.jsonl", &["--stride", "9", "--context", "8"]), 2, "stride of 9");
    place.refused(of("z", "corpus.jsonl", &["--stride", "2", "--pack", "bos"]), 2, "no stride");
    place.refused(of("z", "empty.jsonl", &[]), 2, "empty");
    place.refused(of("z", "bad.jsonl", &[]), 2, "bad.jsonl:2");
    place.ok(of("z", "bad.jsonl", &["--on-error", "skip"]));
    let manifest: serde_json::Value = serde_json::from_slice(&place.read("out/manifest.json")).unwrap();
    assert_eq!((&manifest["notes"]["skipped"], &manifest["documents"]), (&1.into(), &2.into()));
    place.refused(of("resid_post", "bad.jsonl", &["--on-error", "skip"]), 2, "another request");
    place.refused(["status", "nowhere"], 2, "no data set");
    place.refused(["merge", "nowhere"], 2, "no data set");
}

#[test]
fn a_task_of_a_job_array_is_its_shard() {
    let of = |set: &[(&str, &str)]| {
        let set: BTreeMap<String, String> =
            set.iter().map(|(name, value)| (format!("SLURM_ARRAY_TASK_{name}"), (*value).to_owned())).collect();
        Shard::of_slurm(&|name| set.get(name).cloned())
    };
    let array = |id, count, min, max| [("ID", id), ("COUNT", count), ("MIN", min), ("MAX", max)];
    assert_eq!(of(&array("3", "16", "0", "15")), Ok(Shard { index: 3, of: 16 }));
    assert_eq!(of(&array("3", "16", "1", "16")), Ok(Shard { index: 2, of: 16 }));
    let stepped = [&array("7", "4", "1", "10")[..], &[("STEP", "3")]].concat();
    assert_eq!(of(&stepped), Ok(Shard { index: 2, of: 4 }));
    // The missing ones of another array have other numbers.
    assert!(of(&array("7", "4", "3", "9")).is_err_and(|why| why.contains("gaps")));
    assert!(of(&array("3", "16", "0", "15")[..1]).is_err_and(|why| why.contains("COUNT is not set")));
    assert!(of(&[]).is_err_and(|why| why.contains("ID is not set")));
}
