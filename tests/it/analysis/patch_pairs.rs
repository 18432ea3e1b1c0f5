//! Files of pairs as people have them, and what is said of those that cannot be used.

use std::collections::HashMap;

use pellucid::Result;
use pellucid::analysis::{PatchMeanRow, PatchRow};
use pellucid::model::{Batch, Model};
use pellucid::ops::rounding::unit;
use pellucid::table::read_rows;
use serde_json::json;

use crate::bin::{Place, model};
use crate::bound::Drifts;
use crate::forge;

/// Every layout of the `eap-ig` files, with the names that its columns have.
///
/// Invariant: as `text_and_ids_from_every_kind_of_file_are_the_same_pairs`.
#[test]
fn the_pairs_of_eap_ig_load_with_a_mapping() -> Result<()> {
    let files = shared_or_skip!("prompts/eap-ig");
    let place = Place::new();
    // How far apart two runs of each model may be in a metric.
    let mut rounding = HashMap::new();
    for (name, folder, vocab) in [("gpt2", "gpt2", 50257), ("pythia", "neox-20b", 50277)] {
        let tokenizer = shared_or_skip!("tokenizers").join(folder).join("tokenizer.json");
        forge::vocabulary(&place, name, vocab);
        fs_err::copy(tokenizer, place.path(&format!("{name}/tokenizer.json"))).unwrap();
        let ids: Vec<u32> = (0..20).map(|i| i * 2477 + 100).collect();
        rounding.insert(name, Drifts::of(&Model::load(&place.path(name))?, &Batch::one(ids))?.metric());
    }
    const IDX: &str = "answer_id=correct_idx,foil_id=incorrect_idx";
    const COUNTRIES: &str = "answer_id=country_idx,foil_id=corrupted_country_idx";
    // The columns called correct_idx of greater-than hold a year's last two digits, which are a token's text.
    let layouts = [
        ("ioi/gpt2.csv", "gpt2", IDX, "logit_diff", 1000),
        ("ioi/pythia.csv", "pythia", IDX, "logit_diff", 1000),
        ("gender-bias/gpt2.csv", "gpt2", "answer_id=clean_answer_idx,foil_id=corrupted_answer_idx", "logit_diff", 986),
        ("hypernymy-comma/gpt2.csv", "gpt2", "answer_id=answers_idx,foil_id=corrupted_answers_idx", "logit_diff", 198),
        ("fact-retrieval-comma/gpt2.csv", "gpt2", COUNTRIES, "logit_diff", 190),
        ("fact-retrieval-comma/pythia.csv", "pythia", COUNTRIES, "logit_diff", 189),
        ("greater-than/gpt2.csv", "gpt2", "answer=correct_idx", "logit", 1000),
        ("greater-than-price/gpt2.csv", "gpt2", "answer=correct_idx", "logit", 1000),
        ("greater-than-sequence/gpt2.csv", "gpt2", "answer=correct_idx", "logit", 825),
        ("greater_than_data.csv", "gpt2", "answer=label", "logit", 1000),
        ("sva/gpt2.csv", "gpt2", "id=group", "kl", 60),
        ("sva/pythia.csv", "pythia", "id=group", "kl", 60),
    ];
    for (file, name, columns, metric, pairs) in layouts {
        let path = files.join(file).display().to_string();
        let columns = format!("corrupt=corrupted,{columns}");
        let mut command = vec!["patch", "-q", "-m", name, "--pairs", &path, "--columns", &columns, "--metric", metric];
        command.extend(["--at", "resid_pre", "--over", "layer", "--layers", "1", "--out", "run", "--force"]);
        let limit = pairs.to_string();
        if metric == "kl" {
            command.extend(["--limit", &limit]);
        }
        place.ok(command);
        let (rows, _) = read_rows::<PatchRow>(place.path("run/patch.parquet"))?;
        assert_eq!(rows.len(), pairs, "{file}");
        // The whole stream of the other prompt is that prompt.
        for row in &rows {
            let far = f64::from((row.measured.patched.unwrap() - row.measured.clean).abs());
            assert!(far <= rounding[name], "{file} {row:?}");
        }
        let (means, _) = read_rows::<PatchMeanRow>(place.path("run/patch_mean.parquet"))?;
        let [mean] = &means[..] else { panic!("{means:?}") };
        // As a spreadsheet would have it.
        let values: Vec<f64> = rows.iter().map(|r| f64::from(r.measured.patched.unwrap())).collect();
        let n = values.len() as f64;
        let average = values.iter().sum::<f64>() / n;
        let error = (values.iter().map(|v| (v - average).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        assert_eq!(mean.measured.pairs as usize, pairs);
        // Sums in f64, whose result is rounded to f32 once.
        let near = |got: f32, want: f64| {
            assert!(
                (f64::from(got) - want).abs() <= 2.0 * unit(candle_core::DType::F32) * want.abs(),
                "{file}: {got} {want}"
            )
        };
        near(mean.measured.patched.unwrap(), average);
        near(mean.measured.patched_se.unwrap(), error);
    }
    // Ids of a tokenizer that is not the model's.
    let llama = files.join("ioi_llama.csv").display().to_string();
    let columns = format!("corrupt=corrupted,{IDX}");
    let command = ["patch", "-m", "gpt2", "--pairs", &llama, "--columns", &columns, "--at", "resid_pre"];
    let done = place.pellucid(command);
    // Prompts of GPT-2 need not align where Llama's do; either is said with the line.
    done.is_refusal("ioi_llama", 2, "ioi_llama.csv:");
    Ok(())
}

/// Invariant: A file of pairs gives the same pairs in every format; an error in one is reported with its line.
#[test]
fn text_and_ids_from_every_kind_of_file_are_the_same_pairs() -> Result<()> {
    let place = Place::new();
    let run = |file: &str, more: &[&str]| {
        let mut command = vec!["patch", "-q", "--pairs", file, "--at", "resid_pre", "--out", "run", "--force"];
        command.extend(more);
        place.ok(command);
        read_rows::<PatchRow>(place.path("run/patch.parquet")).map(|(rows, _)| rows)
    };
    place.write("text.csv", "id,clean,corrupt,answer,foil\na,When Mary and John,When John and John, Mary, John\n");
    let text = run("text.csv", &[])?;
    assert_eq!(text[0].pair_id, "a");
    let tokens = |text: &str| -> Vec<u32> {
        let said = place.ok(["tokens", "--format", "json", text]).stdout;
        let rows: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
        rows.iter().map(|r| r["token_id"].as_u64().unwrap() as u32).collect()
    };
    let (clean, corrupt) = (tokens("When Mary and John"), tokens("When John and John"));
    let (mary, john) = (clean[2], clean[4]);
    let joined = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let (c, d) = (joined(&clean), joined(&corrupt));
    place.write("ids.csv", format!("id,clean_ids,corrupt_ids,answer_id,foil_id\na,{c},\"[{d}]\",{mary},[{john}]\n"));
    let line = json!({"id": "a", "clean": clean, "corrupt": corrupt, "answer_id": mary, "foil_id": [john], "more": 1});
    place.write("ids.jsonl", format!("{line}\n\n"));
    let line = json!({"name": "a", "x": "When Mary and John", "corrupt": "When John and John", "answer": " Mary", "foil": " John"});
    place.write("text.jsonl", format!("{line}\n"));
    for (file, more) in
        [("ids.csv", vec![]), ("ids.jsonl", vec![]), ("text.jsonl", vec!["--columns", "clean=x,id=name"])]
    {
        assert_eq!(run(file, &more)?, text, "{file}");
    }
    Ok(())
}

/// Invariant: as `text_and_ids_from_every_kind_of_file_are_the_same_pairs`.
#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let place = Place::new();
    let m = model("gpt2");
    let refused = |name: &str, content: &str, more: &[&str], says: &str| {
        place.write(name, content);
        let mut command = vec!["patch", "-m", m.as_str(), "--pairs", name, "--at", "resid_pre"];
        command.extend(more);
        place.refused(command, 2, says)
    };
    let csv = "clean_ids,corrupt_ids,answer_id,foil_id\n1 2,1 3,4,5\n";
    refused("a.csv", &format!("{csv}1 2,1 3,4\n"), &[], "a.csv:3: this row has 3 columns, but the header has 4");
    refused("a.csv", &format!("{csv}1 2,1 x,4,5\n"), &[], "a.csv:3: `x` is not a token id");
    refused("a.csv", &format!("{csv}1 2,1 3,4,999\n"), &[], "a.csv:3: token 999 is outside the 97");
    refused("a.csv", &format!("{csv}1 2,1 999,4,5\n"), &[], "a.csv:3: ");
    refused("a.csv", &format!("{csv}1 2,,4,5\n"), &[], "a.csv:3: there is nothing in `corrupt` or `corrupt_ids`");
    refused("a.csv", &format!("{csv}\n1 2,1 3,,5\n"), &[], "a.csv:4: there is nothing in `answer` or `answer_id`");
    refused(
        "a.csv",
        &format!("{csv}1 2 3,1 3,4,5\n"),
        &[],
        "a.csv:3: the prompts of pair \"1\" do not align: 3 tokens against 2",
    );
    refused("a.csv", &format!("{csv}1 2,1 2,4,5\n"), &[], "a.csv:3: the two prompts of pair \"1\" are the same tokens");
    refused("a.csv", "clean_ids,corrupt_ids\n", &[], "a.csv has no pairs");
    refused("a.csv", "clean,clean_ids\nx,1\n", &[], "a.csv:2: both `clean` and `clean_ids` are given");
    refused("a.csv", "a,b\n1,2\n", &[], "a.csv has no column `clean`; it has `a`, `b`");
    refused("a.csv", "text,corrupted\nx,y\n", &[], "a.csv has no column `clean`; it has `text`, `corrupted`");
    let done = refused("a.csv", csv, &["--columns", "corrupt=corupt_ids"], "no column `corupt_ids`");
    assert!(done.stderr.contains("did you mean `corrupt_ids`?"), "{}", done.stderr);
    let done = refused("a.csv", csv, &["--columns", "corupt=corrupt_ids"], "pairs have no column `corupt`");
    assert!(done.stderr.contains("did you mean `corrupt`?"), "{}", done.stderr);
    refused("a.csv", csv, &["--columns", "foil=x,foil=y"], "--columns says twice");
    refused("a.csv", csv, &["--columns", "foil"], "write NAME=COLUMN");
    refused("a.csv", csv, &["--limit", "0"], "--limit");
    refused("a.csv", csv, &["--clean", "x"], "cannot be used with");
    let line = "{\"clean\": [1, 2], \"corrupt\": [1, 3], \"answer_id\": 4, \"foil_id\": 5}\n";
    refused("a.jsonl", &format!("{line}{{\"clean\": 1.5}}\n"), &[], "a.jsonl:2: `clean` is neither text nor token ids");
    refused("a.jsonl", &format!("{line}[]\n"), &[], "a.jsonl:2: this is not an object");
    refused("a.jsonl", &format!("{line}\n{{"), &[], "a.jsonl:3: this is not JSON");
    refused("a.jsonl", &line.replace("clean", "klean"), &[], "no column `clean`; it has `klean`, `corrupt`");
    refused("a.jsonl", &line.replace("foil_id", "foil"), &[], "a.jsonl:1: `foil` holds numbers, and words are wanted");
    refused("a.parquet", "PAR1", &[], "a.parquet");
    refused("a.txt", "x", &[], "not a kind of file that pairs are read from");
    refused("a.csv", "clean_ids,answer_id,foil_id\n1 2,4,5\n", &[], "no corrupt prompt to take values of");
    refused("a.csv", "clean_ids,corrupt_ids\n1 2,1 3\n", &[], "needs an answer");
    place.write("bytes.csv", b"clean\n\xff\n");
    place.refused(["patch", "-m", m.as_str(), "--pairs", "bytes.csv"], 2, "bytes.csv:2: this line is not UTF-8");
    place.refused(["patch", "-m", m.as_str(), "--pairs", "none.csv"], 2, "there is no file none.csv");
}
