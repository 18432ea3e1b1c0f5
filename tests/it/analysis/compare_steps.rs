//! Checkpoints of training by one pattern: folders, revisions of a repository, and those that are one and the same.

use pellucid::Result;
use pellucid::analysis::CompareModelsRow;
use pellucid::table::read_rows;

use crate::bin::{Place, fixture};
use crate::forge;
use crate::hub::server::{Server, files};

/// A copy of the tiny GPT-2 whose embedding is this many times as large.
fn checkpoint(place: &Place, name: &str, times: f32) {
    forge::copy(place, "gpt2", name);
    forge::weights(place, name, |tensors| {
        let (_, _, data) = tensors.get_mut("transformer.wte.weight").unwrap();
        let scaled = data.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap()) * times);
        *data = scaled.flat_map(f32::to_le_bytes).collect();
    });
}

/// Invariant: A pattern stands for all checkpoints of its name, in the order of their steps; two with the same weights are refused.
#[test]
fn folders_of_checkpoints_are_a_curve() -> Result<()> {
    let place = Place::new();
    for (step, times) in [(1000, 1.5), (20, 1.0), (100, 1.25)] {
        checkpoint(&place, &format!("training/step{step}"), times);
    }
    checkpoint(&place, "training/final", 3.0);
    let done = place.ok(["compare", "-m", "training/step*", "--ids", "3,1,4,1,5", "--ids", "9,2,6", "--out", "run"]);
    let rows = read_rows::<CompareModelsRow>(place.path("run/compare_models.parquet"))?.0;
    let steps: Vec<_> = rows.iter().map(|row| (row.step, &*row.model)).collect();
    assert_eq!(steps, [(Some(20), "step20"), (Some(100), "step100"), (Some(1000), "step1000")]);
    // Each weights hash is printed, and drawn.
    let svg = String::from_utf8(place.read("run/compare_models.svg")).unwrap();
    roxmltree::Document::parse(&svg).unwrap();
    for row in &rows {
        let hash = row.weights_hash.as_deref().unwrap();
        assert!(done.stdout.contains(&hash["blake3:".len()..][..12]), "{}", done.stdout);
        assert!(svg.contains(&hash[..19]) && row.positions == if row.step == Some(20) { 0 } else { 8 });
    }
    assert!(rows[2].kl_bits.unwrap() > rows[1].kl_bits.unwrap() && rows[1].kl_bits.unwrap() > 0.0);
    // Without prompts they are read all the same, to tell them apart.
    let done = place.ok(["compare", "-m", "training/*", "--out", "all"]);
    assert!(done.stdout.contains("have the same architecture"), "{}", done.stdout);
    checkpoint(&place, "training/step300", 1.25);
    place.refused(
        ["compare", "-m", "training/step*", "--out", "again"],
        2,
        "step100 and step300 have the same weights (blake3:",
    );
    // What is no checkpoint may have the weights of one: it is no second point.
    checkpoint(&place, "elsewhere/twin", 1.5);
    place.ok(["compare", "-m", "elsewhere/twin", "-m", "training/step?000", "--ids", "1,2", "--out", "beside"]);
    place.refused(["compare", "-m", "training/epoch*"], 2, "there is no folder that `epoch*` stands for");
    place.refused(["compare", "-m", "nowhere/step*"], 2, "there is no folder nowhere");
    place.refused(["compare", "-m", "training/fin*"], 2, "one model was named, final");
    Ok(())
}

/// Invariant: The revisions that a pattern stands for are the Hub's, or offline those of the cache; branches that serve one file are
/// refused as two points.
#[test]
fn revisions_of_the_hub_are_checkpoints() {
    let (server, place) = (Server::new(), Place::new());
    let commits = ["a", "b", "c"].map(|c| c.repeat(40));
    server.put("org/tiny", &commits[0], files(&fixture("gpt2"), &["config.json", "model.safetensors"]));
    for (branch, commit) in [("step0", &commits[1]), ("step1000", &commits[2])] {
        server.world().repos.get_mut("org/tiny").unwrap().revisions.insert(branch.into(), commit.clone());
    }
    let compare = ["compare", "-m", "org/tiny@step*", "--quiet"];
    let done = server.run(&place, &compare);
    done.is_refusal("one file twice", 2, "org/tiny and org/tiny@step1000 have the same weights (blake3:");
    assert!(server.asked().iter().any(|asked| asked.path == "/api/models/org/tiny/refs"));
    // What was fetched is in the cache, and is found without a network.
    let done = server.run(&place, &[&compare[..], &["--offline"]].concat());
    done.is_refusal("one file twice", 2, "org/tiny and org/tiny@step1000 have the same weights (blake3:");
    assert!(server.asked().is_empty());
    let done = server.run(&place, &["compare", "-m", "org/tiny@epoch*", "--quiet"]);
    done.is_refusal("no such revision", 2, "`org/tiny` has no revision that `epoch*` stands for");
    assert!(done.stderr.contains("there are main, step0, step1000"), "{}", done.stderr);
    let done = server.run(&place, &["compare", "-m", "org/none@step*", "--quiet"]);
    done.is_refusal("no such model", 2, "org/none");
}
