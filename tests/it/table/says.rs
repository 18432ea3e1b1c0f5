//! What rows say beside their numbers: whether anything was changed, which keys can be seen, and which prompts a file of
//! activations is of.

use crate::view::attention;
use std::collections::HashMap;

use pellucid::analysis::seen::render;
use pellucid::analysis::{AttentionRow, PatchMeanRow, PatchRow};
use pellucid::table::read_rows;
use safetensors::SafeTensors;

use crate::analysis::patch_cli::facts;
use crate::bin::{Place, model};
use crate::forge;

const JOHN: &str = "When Mary and John went to the store, John gave a drink to";
const MARY: &str = "When Mary and John went to the store, Mary gave a drink to";

/// The tensors of a file of activations, in f32.
fn tensors(bytes: &[u8]) -> HashMap<String, (Vec<usize>, Vec<f32>)> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let numbers = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.tensors().into_iter().map(|(name, t)| (name, (t.shape().to_vec(), numbers(t.data())))).collect()
}

/// Ranks and saturated probabilities stay the same though the value is another: what the row says is what the values are, which
/// `cache` records apart from any sweep.
///
/// Invariant: A row of a sweep says what was done, and whether the patched value changed bit for bit, which no metric shows.
#[test]
fn changed_is_whether_the_value_is_another_bit_for_bit() {
    let place = Place::new();
    place.ok(["cache", JOHN, MARY, "--hooks", "resid_pre", "--out", "acts"]);
    let acts = tensors(&place.read("acts/activations.safetensors"));
    let pair = ["--clean", JOHN, "--corrupt", MARY, "--answer", " Mary", "--foil", " John"];
    for (direction, base) in [("denoise", MARY), ("noise", JOHN)] {
        let more = ["--metric", "rank,logit_diff", "--direction", direction, "--out", direction];
        let done = place.ok(["patch"].iter().chain(&pair).chain(&more));
        let (rows, _) = read_rows::<PatchRow>(place.path(&format!("{direction}/patch.parquet"))).unwrap();
        let (mut same, mut still) = (0, 0);
        for row in &rows {
            let (shape, values) = &acts[&format!("blocks.{}.hook_resid_pre", row.place.layer.unwrap())];
            let (n, d, pos) = (shape[0] / 2, shape[1], row.place.pos.unwrap() as usize);
            let at = |prompt: usize| values[(prompt * n + pos) * d..][..d].iter().map(|v| v.to_bits());
            let changed = at(0).ne(at(1));
            assert_eq!((row.outcome.changed, row.outcome.reached), (changed, changed), "{base} {row:?}");
            let before = if direction == "denoise" { row.measured.corrupt } else { Some(row.measured.clean) };
            same += usize::from(changed && row.measured.patched == before);
            still += usize::from(!changed);
        }
        // The very case: ranks that stay as they are where the value does not.
        assert!(same > 5 && still > 20, "{same} {still}");
        for figure in render(place.path(&format!("{direction}/patch.parquet"))).unwrap() {
            let facts = facts(&figure);
            let nothing = facts.iter().filter(|fact| fact.ends_with("changes nothing")).count();
            assert_eq!(nothing, still / 2, "{direction} {}", figure.name);
        }
        assert!(done.stderr.contains(&format!("{} of 60 patches change nothing", still / 2)), "{}", done.stderr);
    }
    // A later position can be another value and still not reach what is measured before it.
    let done = place.ok(["patch"].iter().chain(&pair).chain(&["--measure-at", "10", "--out", "before"]));
    let (rows, _) = read_rows::<PatchRow>(place.path("before/patch.parquet")).unwrap();
    let later: Vec<&PatchRow> = rows.iter().filter(|r| r.place.pos.unwrap() > 10 && r.place.layer != Some(0)).collect();
    assert!(
        !later.is_empty()
            && later
                .iter()
                .all(|r| r.outcome.changed && !r.outcome.reached && r.measured.patched == r.measured.corrupt)
    );
    assert!(done.stdout.contains(" - "), "{}", done.stdout);
}

/// Invariant: as `changed_is_whether_the_value_is_another_bit_for_bit`.
#[test]
fn rows_say_what_was_done() {
    let place = Place::new();
    let pair = ["--clean", JOHN, "--corrupt", MARY, "--answer", " Mary", "--foil", " John"];
    let said = |more: &[&str], input: &[&str]| {
        place.ok(["patch", "--out", "run", "--force", "--over", "layer"].iter().chain(input).chain(more));
        let row = read_rows::<PatchRow>(place.path("run/patch.parquet")).unwrap().0.remove(0);
        (row.done.kind, row.done.direction, row.around.window, row.around.noise, row.around.noise_at)
    };
    let expected = |kind: &str, direction: Option<&str>, window, noise, at: Option<&str>| {
        (kind.to_owned(), direction.map(str::to_owned), window, noise, at.map(str::to_owned))
    };
    assert_eq!(said(&[], &pair), expected("replace", Some("denoise"), 1, None, None));
    assert_eq!(said(&["--kind", "noise=1.50"], &pair), expected("noise=1.5", Some("noise"), 1, None, None));
    assert_eq!(said(&["--kind", "scale=1e3"], &pair), expected("scale=1e3", Some("noise"), 1, None, None));
    let more = ["--direction", "noise", "--window", "3", "--at", "mlp_out"];
    assert_eq!(said(&more, &pair), expected("replace", Some("noise"), 3, None, None));
    let alone = ["--clean", JOHN, "--answer", " Mary", "--foil", " John"];
    assert_eq!(said(&["--kind", "zero"], &alone), expected("zero", None, 1, None, None));
    let traced = ["--noise", "3", "--subject", "Mary and", "--at", "mlp_out"];
    assert_eq!(said(&traced, &alone), expected("replace", Some("denoise"), 1, Some(3.0), Some("2,3")));
    place.write("p.txt", format!("{JOHN}\n{MARY}\n"));
    place.ok(["ablate", "--prompts", "p.txt", "--unit", "mlp", "--out", "ablated"]);
    let (means, _) = read_rows::<PatchMeanRow>(place.path("ablated/patch_mean.parquet")).unwrap();
    let mean = &means[0];
    assert_eq!((mean.done.kind.as_str(), mean.done.direction.as_deref(), mean.measured.pairs), ("mean", None, 2));
    assert_eq!((mean.outcome.changed, mean.outcome.reached, mean.outcome.not_finite), (2, 2, 0));
}

/// Scores that are far apart make probabilities that are 0 in f32. They are seen, and have rows; what the mask hides has none.
///
/// Invariant: Every key that a query can see has a row, even with probability 0, and no other key has one.
#[test]
fn every_key_that_is_seen_has_a_row_though_its_probability_be_0() {
    let place = Place::new();
    for (name, window) in [("gpt2", usize::MAX), ("mistral", 5)] {
        forge::copy(&place, name, name);
        // Queries and keys a few hundred times as large: softmax underflows.
        forge::weights(&place, name, |tensors| {
            for (tensor, (_, _, data)) in tensors.iter_mut() {
                if ["c_attn.weight", "q_proj.weight", "k_proj.weight"].iter().any(|end| tensor.ends_with(end)) {
                    for b in data.chunks_exact_mut(4) {
                        let x = f32::from_le_bytes((&*b).try_into().unwrap()) * 300.0;
                        b.copy_from_slice(&x.to_le_bytes());
                    }
                }
            }
        });
        let ids = (0..9).map(|i| (i * 11 % 97).to_string()).collect::<Vec<_>>().join(",");
        let args = ["attention", "-m", name, "--ids", &ids];
        place.ok(args.iter().chain(&["--out", "all", "--force"]));
        let (rows, provenance) = read_rows::<AttentionRow>(place.path("all/attention.parquet")).unwrap();
        place.ok(["cache", "-m", name, "--ids", &ids, "--hooks", "attn_scores", "--out", "acts", "--force"]);
        let acts = tensors(&place.read("acts/activations.safetensors"));
        let first = |q: usize| (q + 1).saturating_sub(window);
        let seen: usize = (0..9).map(|q| q + 1 - first(q)).sum();
        assert_eq!(rows.len(), 2 * 4 * seen, "{name}");
        let mut zeros = 0;
        for row in &rows {
            let (q, k) = (row.query_pos as usize, row.key_pos as usize);
            assert_eq!((row.first_key as usize, row.last_key as usize), (first(q), q), "{name} {row:?}");
            // The softmax of the recorded scores, in f64.
            let (_, scores) = &acts[&format!("blocks.{}.attn.hook_attn_scores", row.layer)];
            let own = &scores[(row.head as usize * 9 + q) * 9..][..9];
            let top = own.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weight = |s: f32| f64::from(s - top).exp();
            let want = weight(own[k]) / own.iter().map(|s| weight(*s)).sum::<f64>();
            // f32 has seven digits, and scores of a few hundred have rounding of 1e-5 in their exponent.
            assert!((f64::from(row.prob) - want).abs() < 1e-4, "{name} {row:?} {want}");
            zeros += usize::from(row.prob == 0.0);
        }
        assert!(zeros > 20, "{name}: {zeros}");
        // What is seen is drawn as 0, and what is hidden stays paper: every row of the triangle, and nothing beyond.
        let figures = attention(&rows, &provenance, Some((0, 0))).unwrap();
        let triangle: String =
            (0..9).map(|q| format!("M{} {q}h{}v1h-{}z", first(q), q + 1 - first(q), q + 1 - first(q))).collect();
        assert!(figures[0].svg.contains(&triangle), "{name}: {triangle}");
        assert!(!figures[0].svg.contains("not in the table"));
        // Where small ones are left out on request, they are still told from what is hidden.
        place.ok(args.iter().chain(&["--min-prob", "0.01", "--out", "some", "--force"]));
        let (some, provenance) = read_rows::<AttentionRow>(place.path("some/attention.parquet")).unwrap();
        assert!(some.len() < rows.len() && some.iter().all(|r| r.prob >= 0.01));
        let figures = attention(&some, &provenance, Some((0, 0))).unwrap();
        let text = figures[0].svg.replace('\n', " ");
        assert!(text.contains("that can be seen"), "{name}");
        let of_head = |rows: &[AttentionRow]| rows.iter().filter(|r| (r.layer, r.head) == (0, 0)).count();
        if some.iter().map(|r| r.key_pos).collect::<std::collections::BTreeSet<_>>().len() == 9 {
            assert!(figures[0].svg.contains(&triangle), "{name}");
            assert!(text.contains(&format!("{} key", of_head(&rows) - of_head(&some))), "{name}");
        }
    }
}

#[test]
fn a_file_of_activations_says_what_it_is_and_which_prompts_it_has() {
    let place = Place::new();
    place.write("p.jsonl", "{\"id\": \"first\", \"ids\": [3, 1, 4]}\n{\"id\": \"zwei\\u2028\", \"ids\": [1, 5]}\n");
    place.ok(["cache", "-m", &model("gpt2"), "--prompts", "p.jsonl", "--hooks", "hook_embed", "--out", "run"]);
    let bytes = place.read("run/activations.safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let how: serde_json::Value = serde_json::from_str(&metadata["pellucid"]).unwrap();
    assert_eq!((how["table"].as_str(), how["table_version"].as_u64()), (Some("activations"), Some(1)));
    assert_eq!(how["pellucid_version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
    let prompts: Vec<String> = serde_json::from_str(&metadata["prompts"]).unwrap();
    assert_eq!(prompts, ["first", "zwei\u{2028}"]);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let whole = |name: &str| -> Vec<u32> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    assert_eq!(whole("rows"), [0, 0, 0, 1, 0, 2, 1, 0, 1, 1]);
    assert_eq!(whole("input_ids"), [3, 1, 4, 1, 5]);
    // The page that says so is beside the tables'.
    assert!(pellucid::analysis::docs().contains("## `activations` (version 1)"));
}

#[test]
fn ranges_past_the_end_are_errors() {
    let place = Place::new();
    let (gpt2, mixtral) = (model("gpt2"), model("mixtral"));
    let refused = |m: &str, hooks: &str, says: &str| {
        for args in [["hooks", "-m", m, hooks].to_vec(), ["cache", "-m", m, "--ids", "1,2", "--hooks", hooks].to_vec()]
        {
            place.refused(&args, 2, says);
        }
    };
    refused(
        &gpt2,
        "blocks.1-9.hook_resid_post",
        "there are 2 layers (0-1), and 1-9 in `blocks.1-9.hook_resid_post` ends at 9",
    );
    refused(&gpt2, "resid_pre,blocks.0-2.attn.*", "there are 2 layers (0-1), and 0-2");
    refused(&gpt2, "blocks.1-0.hook_resid_post", "ends before it begins");
    refused(&mixtral, "experts.0-99.post", "there are 4 experts (0-3), and 0-99 in `experts.0-99.post` ends at 99");
    refused(&mixtral, "blocks.0-1.mlp.experts.2-4.hook_post", "there are 4 experts");
    let pair = ["--clean", "#1,2,3", "--corrupt", "#1,4,3", "--answer", "#5", "--foil", "#6", "-m", &gpt2];
    for at in [["patch", "--at"], ["attribute", "--at"]] {
        place.refused(at.iter().chain(&["blocks.0-2.hook_resid_pre"]).chain(&pair), 2, "there are 2 layers (0-1)");
    }
    place.refused(["path", "--to", "0-2.q"].iter().chain(&pair), 2, "there are 2 layers (0-1), and 0-2 is not one");
    place.ok(["hooks", "-m", &gpt2, "blocks.0-1.hook_resid_post"]);
    place.ok(["hooks", "-m", &mixtral, "blocks.0-1.mlp.experts.0-3.hook_post"]);
}
