//! What an export takes does not grow with the corpus.
#![cfg(target_os = "linux")]

use crate::bin::Place;
use crate::session::patch_memory::measured;

/// What a full block takes beyond a hundred documents: a row group of at most 64 MiB, and a run of 2,048 tokens.
const BLOCK: f64 = 100e6;
/// What ten times as many documents may take: nothing, but for what an allocator keeps of what is freed. Their rows are 6 times that.
const MORE: f64 = 32e6;

/// Invariant: An export of 10,000 documents takes the memory of one of 100 and of a block, shuffled or not.
#[test]
fn ten_thousand_documents_take_the_memory_of_a_block() {
    let place = Place::new();
    let sizes = [100, 1_000, 10_000];
    for n in sizes {
        let line = |i: usize| format!("{{\"text\": \"Lily saw {i} dogs in the park.\"}}\n");
        place.write(&format!("{n}.jsonl"), (0..n).map(line).collect::<String>());
    }
    for how in ["none", "documents", "tokens:1024"] {
        let peaks = sizes.map(|n| {
            let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
            let corpus = format!("{n}.jsonl");
            let (most, _) = measured(command.args([
                "export", "-q", "--hooks", "resid_post", "--corpus", &corpus, "--shuffle", how, "--out", "out",
                "--force",
            ]));
            println!("{how}, {n} documents: {:.1} MB", most / 1e6);
            most
        });
        // All rows would be seen if they were held.
        let rows: u64 = serde_json::from_slice::<serde_json::Value>(&place.read("out/manifest.json")).unwrap()["rows"]
            .as_u64()
            .unwrap();
        assert!(rows as f64 * 4.0 * 512.0 > 1.9 * BLOCK, "{rows} rows");
        assert!(peaks[2] - peaks[0] < BLOCK && peaks[2] - peaks[1] < MORE, "{how}: {peaks:?}");
    }
}
