//! Shuffled exports: what comes out is what an export in the corpus's order has, in another order that everybody can compute.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pellucid::analysis::export::shuffle::Permutation;
use pellucid::analysis::{ExportDocumentRow, ExportStatsRow};
use pellucid::table::read_rows;

use super::export::{HOOKS, Row, contents, corpus, export, rows};
use crate::bin::Place;

/// Invariant: An order of a shuffled export has each number once, and another one for another seed, block or window.
#[test]
fn an_order_has_each_number_once() {
    for n in [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 4095, 4096, 4097, 65_535, 65_536, 65_537] {
        for seed in 0..3 {
            let order = Permutation::new(n, seed, &[]);
            let mut seen = vec![false; n as usize];
            for at in 0..n {
                let number = order.at(at) as usize;
                assert!(!std::mem::replace(&mut seen[number], true), "{n}, seed {seed}: {number} twice");
            }
        }
    }
    // Of numbers so many that no table could be held, those that come first are different and below the end.
    for n in [(1 << 62) + 1, u64::MAX] {
        let order = Permutation::new(n, 7, &[]);
        let first: BTreeSet<u64> = (0..1000).map(|at| order.at(at)).collect();
        assert!(first.len() == 1000 && first.iter().all(|number| *number < n));
        assert!(first.iter().any(|number| *number > n / 2) && first.iter().any(|number| *number < n / 2));
    }
    let order = |seed, what: &[u64]| {
        let order = Permutation::new(50, seed, what);
        (0..50).map(|at| order.at(at)).collect::<Vec<_>>()
    };
    let all =
        [order(0, &[]), order(1, &[]), order(0, &[0, 0]), order(0, &[0, 1]), order(0, &[1, 0]), order(1, &[0, 0])];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 6);
    assert_eq!(order(5, &[2, 3]), order(5, &[2, 3]));
}

/// Pearson's statistic of counts that should be equal, in standard deviations from its mean.
fn chi_squared(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    let sum: f64 = counts.iter().map(|n| (*n as f64 - expected).powi(2) / expected).sum();
    let free = counts.len() as f64 - 1.0;
    (sum - free) / (2.0 * free).sqrt()
}

/// Invariant: Every order of few documents is as likely as another, over seeds.
#[test]
fn all_orders_are_as_likely() {
    // All orders, of as many numbers as that can be counted for; seeds are fixed, so that this cannot fail by chance.
    for n in [2u64, 3, 4, 5] {
        let mut counts: BTreeMap<Vec<u64>, u64> = BTreeMap::new();
        let orders: u64 = (1..=n).product();
        for seed in 0..200 * orders {
            let order = Permutation::new(n, seed, &[]);
            *counts.entry((0..n).map(|at| order.at(at)).collect()).or_default() += 1;
        }
        assert_eq!(counts.len() as u64, orders, "every order occurs");
        let off = chi_squared(&counts.into_values().collect::<Vec<_>>());
        println!("{n} numbers: {off:.2}");
        assert!(off < 4.0, "{n}: {off}");
    }
    // What stands at each place, and what comes behind it, of more.
    for n in [7u64, 16, 20] {
        let (mut places, mut next) = (vec![0; (n * n) as usize], vec![0; n as usize]);
        for seed in 0..20_000 {
            let order = Permutation::new(n, seed, &[]);
            for at in 0..n {
                places[(at * n + order.at(at)) as usize] += 1;
            }
            next[((order.at(1) + n - order.at(0)) % n) as usize] += 1;
        }
        assert_eq!(next.remove(0), 0);
        let off = [chi_squared(&places), chi_squared(&next)];
        println!("{n} numbers: {off:.2?}");
        assert!(off.iter().all(|off| *off < 4.0), "{n}: {off:?}");
    }
}

/// Which token of the corpus a row is.
fn key(row: &Row) -> (u64, Option<(u32, u32)>, u32, u32) {
    (row.doc, row.bytes, row.token_id, row.pos)
}

/// How documents come: `n` of them shuffled.
fn order(n: u64, seed: u64) -> Vec<u64> {
    let order = Permutation::new(n, seed, &[]);
    (0..n).map(|at| order.at(at)).collect()
}

fn documents(folder: &Path) -> Vec<ExportDocumentRow> {
    read_rows::<ExportDocumentRow>(folder.join("export_documents.parquet")).unwrap().0
}

/// Invariant: Shuffled documents are those of the corpus, each whole, in an order that the seed alone decides.
#[test]
fn shuffled_documents_are_those_of_the_corpus() {
    let place = Place::new();
    corpus(&place);
    let of = |name: &'static str, more: &[&'static str]| {
        place.ok([
            &["export", "-q", "--hooks", HOOKS, "--corpus", "corpus.jsonl", "--context", "16", "--out", name],
            more,
        ]
        .concat());
        rows(&place.path(name))
    };
    let plain = of("plain", &["--block", "4"]);
    for (name, how, seed) in [
        ("one", &["--shuffle", "documents", "--block", "4"][..], 0),
        ("two", &["--shuffle", "documents", "--seed", "5", "--block", "3"], 5),
    ] {
        let shuffled = of(name, how);
        let (order, block) = (order(23, seed), if seed == 0 { 4 } else { 3 });
        assert!(order != (0..23).collect::<Vec<_>>());
        // A naive shuffle: documents are taken one by one, each with its rows as they are.
        let naive: Vec<&Row> = order.iter().flat_map(|doc| plain.iter().filter(move |row| row.doc == *doc)).collect();
        assert_eq!(shuffled.iter().map(key).collect::<Vec<_>>(), naive.iter().map(|row| key(row)).collect::<Vec<_>>());
        for (row, want) in shuffled.iter().zip(naive) {
            assert_eq!((&row.doc_id, &row.token, row.special), (&want.doc_id, &want.token, want.special));
            for (own, want) in row.hooks.values().flatten().zip(want.hooks.values().flatten()) {
                // Other documents ran together with it: sums may round otherwise.
                assert!((own - want).abs() <= 2e-5 * want.abs().max(1.0), "{own} {want}");
            }
        }
        let (table, tokens) = (documents(&place.path(name)), documents(&place.path("plain")));
        assert_eq!(table.iter().map(|own| own.doc).collect::<Vec<_>>(), order, "in the order of the rows");
        for (at, own) in table.iter().enumerate() {
            let plain = &tokens[own.doc as usize];
            assert_eq!((own.block, &own.doc_id, own.tokens), (at as u64 / block, &plain.doc_id, plain.tokens));
            assert_eq!((own.rows, own.sequences), (plain.rows, plain.sequences));
        }
        // Sequences are counted in each block of the order.
        let mut before = None;
        for row in &shuffled {
            let at = (order.iter().position(|doc| *doc == row.doc).unwrap() as u64 / block, row.seq);
            assert!(
                before <= Some(at) && (before.is_some_and(|(own, _)| own == at.0) || at.1 == 0),
                "{before:?} {at:?}"
            );
            before = Some(at);
        }
    }
    let stats = |name: &str| read_rows::<ExportStatsRow>(place.path(name).join("export_stats.parquet")).unwrap().0;
    for (a, b) in stats("one").iter().zip(stats("plain")) {
        assert_eq!((&a.hook, a.rows), (&b.hook, b.rows));
        assert!((a.mean_norm.unwrap() - b.mean_norm.unwrap()).abs() < 1e-5 * b.mean_norm.unwrap());
    }
    let page = String::from_utf8(place.read("two/README.md")).unwrap();
    assert!(
        page.contains("--shuffle documents --seed 5") && page.contains("documents are shuffled (seed 5)"),
        "{page}"
    );
}

/// Invariant: Rows are shuffled inside of windows, each of which has the rows that it has in the corpus's order.
#[test]
fn shuffled_tokens_stay_in_their_window() {
    let place = Place::new();
    // Blocks of several runs, so that windows go on from one to the next.
    let texts = corpus(&place);
    let line = |i: usize| serde_json::json!({"text": texts[i % texts.len()]}).to_string() + "\n";
    place.write("corpus.jsonl", (0..115).map(line).collect::<String>());
    let columns = ["--columns", "loss,top1", "--context", "16"];
    let of = |name: &'static str, more: &[&'static str]| {
        let how = ["export", "-q", "--hooks", HOOKS, "--corpus", "corpus.jsonl", "--block", "50", "--out", name];
        place.ok([&how[..], &columns, more].concat());
        place.path(name)
    };
    let plain = rows(&of("plain", &[]));
    assert!(plain.iter().filter(|row| row.doc < 50).count() > 2048 + 37, "more than run together");
    // Of the block, or less: the last of each is shorter.
    for (name, window, seed) in [("a", 37, "0"), ("b", 100_000, "0"), ("c", 37, "1")] {
        let how: &[&str] = if window == 37 { &["--shuffle", "tokens:37"] } else { &["--shuffle", "tokens:100000"] };
        let how = [how, &["--seed", seed]].concat();
        let shuffled = rows(&of(name, &how));
        let mut naive = vec![];
        for block in 0..3 {
            let own: Vec<&Row> = plain.iter().filter(|row| row.doc / 50 == block).collect();
            for (i, some) in own.chunks(window).enumerate() {
                let order = Permutation::new(some.len() as u64, seed.parse().unwrap(), &[block, i as u64]);
                naive.extend((0..some.len()).map(|at| some[order.at(at as u64) as usize].clone()));
            }
        }
        assert!(shuffled == naive, "{name}");
        let moved = shuffled.iter().zip(&plain).filter(|(a, b)| a != b).count();
        assert!(moved > plain.len() * 9 / 10, "{name}: {moved} of {}", plain.len());
    }
    assert!(rows(&place.path("a")) != rows(&place.path("c")), "another seed, another order");
    // What is not in the order of the rows is as it was: documents, statistics.
    for table in ["export_documents.parquet", "export_stats.parquet"] {
        let read = |name: &str| match table {
            "export_stats.parquet" => {
                format!("{:?}", read_rows::<ExportStatsRow>(place.path(name).join(table)).unwrap().0)
            }
            _ => format!("{:?}", documents(&place.path(name))),
        };
        assert_eq!(read("a"), read("plain"));
    }
    let page = String::from_utf8(place.read("c/README.md")).unwrap();
    assert!(page.contains("shuffled inside of windows of 37 rows (seed 1)"), "{page}");
    // Tensors have the same order.
    let tensors = of("tensors", &["--shuffle", "tokens:37", "--as", "safetensors"]);
    let mut keys = vec![];
    for block in 0..3 {
        let path = tensors.join(format!("data-{block:06}.safetensors"));
        let bytes = fs_err::read(path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let four = |name: &str| file.tensor(name).unwrap().data().to_vec();
        let numbers = |bytes: Vec<u8>| {
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
        };
        let (ids, values) = (numbers(four("token_id")), numbers(four("ln_final.hook_scale")));
        keys.extend(ids.into_iter().zip(values));
    }
    let want =
        rows(&place.path("a")).into_iter().map(|row| (row.token_id, row.hooks["ln_final.hook_scale"][0].to_bits()));
    assert_eq!(keys, want.collect::<Vec<_>>());
}

/// Invariant: A shuffled export is the same bytes however many machines make it, whatever memory they have, and wherever they are stopped.
#[test]
fn shuffled_parts_are_the_same_bytes() {
    let place = Place::new();
    corpus(&place);
    for shuffle in ["documents", "tokens:50"] {
        let how = ["--shuffle", shuffle, "--seed", "3", "--pack", "bos", "--context", "32", "--sample", "0.8"];
        let with = |more: &[&'static str]| -> Vec<String> {
            export(&[&how, more].concat()).into_iter().map(str::to_owned).collect()
        };
        place.ok(with(&["--out", "whole", "--force"]));
        let whole = contents(&place.path("whole"));
        assert!(whole.contains_key("data-000005.parquet"));
        place.ok(with(&["--memory", "300MB", "--out", "other", "--force"]));
        assert!(contents(&place.path("other")) == whole, "{shuffle}: memory changes nothing");
        for shard in ["2/3", "0/3", "1/3"] {
            place.ok(with(&["--shard", shard, "--out", "parts"]));
        }
        place.ok(["merge", "-q", "parts"]);
        assert!(contents(&place.path("parts")) == whole, "{shuffle}: parts");
        fs_err::remove_dir_all(place.path("parts")).unwrap();
        // Killed while it works: a block is there, and not all.
        let mut child = place.command(env!("CARGO_BIN_EXE_pellucid")).args(with(&["--out", "killed"])).spawn().unwrap();
        while !place.path("killed/blocks/000000.json").exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended without a block");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        place.ok(with(&["--out", "killed", "--resume"]));
        assert!(contents(&place.path("killed")) == whole, "{shuffle}: killed and resumed");
        fs_err::remove_dir_all(place.path("killed")).unwrap();
        place.ok(export(&[&how[..2], &["--seed", "4"], &how[4..], &["--out", "other", "--force"]].concat()));
        assert!(contents(&place.path("other")) != whole, "{shuffle}: another seed");
    }
}

/// What is left out is what an export in the corpus's order leaves out: the median is that of the first documents of the corpus.
#[test]
fn limits_are_those_of_the_corpus_as_it_is() {
    let place = Place::new();
    let text = |i: usize| format!("{} {i} times", ["Mary ran", "When John went to the store", "Lily"][i / 40]);
    place.write("corpus.jsonl", (0..110).map(|i| format!("{{\"text\": \"{}\"}}\nno\n", text(i))).collect::<String>());
    let of = |name: &'static str, more: &[&'static str]| {
        let how = ["--max-norm-multiple", "1.3", "--on-error", "skip", "--out", name];
        place.ok(export(&[&how, more].concat()));
        let mut keys: Vec<_> = rows(&place.path(name)).iter().map(key).collect();
        keys.sort_unstable();
        let manifest: serde_json::Value =
            serde_json::from_slice(&place.read(&format!("{name}/manifest.json"))).unwrap();
        (keys, manifest["notes"].clone())
    };
    let (plain, notes) = of("plain", &[]);
    assert!(plain.len() > 100);
    assert_eq!(notes["skipped"], 110);
    for how in [["--shuffle", "documents"], ["--shuffle", "tokens:64"]] {
        assert_eq!(of(how[1].split(':').next().unwrap(), &how), (plain.clone(), notes.clone()), "{how:?}");
    }
}

#[test]
fn what_cannot_be_shuffled_is_refused() {
    let place = Place::new();
    corpus(&place);
    let of = |corpus: &'static str, how: &'static str| {
        ["export", "-q", "--hooks", "z", "--corpus", corpus, "--out", "out", "--shuffle", how]
    };
    for wrong in ["tokens", "tokens:", "tokens:1", "tokens:x", "rows", ""] {
        place.refused(of("corpus.jsonl", wrong), 2, "write none, documents, or tokens:");
    }
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &place.read("corpus.jsonl")).unwrap();
    place.write("packed.jsonl.gz", packed.finish().unwrap());
    place.refused(of("packed.jsonl.gz", "documents"), 2, "packed.jsonl.gz is packed");
    place.refused(of("packed.jsonl.gz", "documents"), 2, "--shuffle tokens:65536");
    assert!(!place.path("out").exists(), "no folder is left");
    // Tokens are shuffled as they come.
    place.ok(of("packed.jsonl.gz", "tokens:65536"));
    // A window that memory cannot hold, and what it can.
    let large = |window: String, more: &[&str]| {
        let how = ["export", "-q", "--hooks", "z", "--corpus", "corpus.jsonl", "--out", "large", "--shuffle"];
        place.pellucid(how.iter().copied().chain([&*format!("tokens:{window}")]).chain(more.iter().copied()))
    };
    let refused = large("100000000000".into(), &[]);
    refused.is_refusal("large", 2, "a window of 100000000000 rows takes ");
    let (_, fits) = refused.stderr.split_once("--shuffle tokens:").unwrap();
    let fits: u64 = fits.split_whitespace().next().unwrap().parse().unwrap();
    large((fits + 1).to_string(), &[]).is_refusal("large", 2, "rows takes ");
    assert_eq!(large(fits.to_string(), &[]).code, Some(0));
    large("1000".into(), &["--memory", "2MB"]).is_refusal("large", 2, "of memory are not enough for that and a run");
}

/// A pipe has no beginning to go back to.
#[cfg(unix)]
#[test]
fn a_pipe_is_refused() {
    let place = Place::new();
    let made = std::process::Command::new("mkfifo").arg(place.path("pipe.jsonl")).status().unwrap();
    assert!(made.success());
    let how = ["export", "-q", "--hooks", "z", "--corpus", "pipe.jsonl", "--out", "out", "--shuffle", "documents"];
    place.pellucid(how).is_refusal("export", 2, "pipe.jsonl is not a file");
    assert!(!place.path("out").exists());
}
