//! Words after each prompt that a file says, in every analysis that takes a target: each prompt has its own, as it has where it is asked about
//! alone.

use serde_json::Value;

use crate::bin::Place;

/// Prompts of the demo, of which one is longer, each with the word after it and one to compare it with.
const PROMPTS: [[&str; 3]; 2] = [
    ["When Mary and John met, John spoke to", " Mary", " John"],
    ["When Tom and Anna went to the park, Tom gave a ball to", " Anna", " Tom"],
];

/// The commands that take words after prompts, what more is asked of them, and whether they take a foil.
const COMMANDS: [(&str, &[&str], bool); 4] = [
    ("lens", &["--top", "1"], true),
    ("residual", &["--pos", "0,-1"], true),
    ("neurons", &["--top", "5"], false),
    ("attention", &[], true),
];

fn file(place: &Place) {
    let line = |[text, target, foil]: &[&str; 3]| {
        serde_json::json!({ "text": text, "target": target, "foil": foil }).to_string() + "\n"
    };
    place.write("words.jsonl", PROMPTS.iter().map(line).collect::<String>());
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether two rows say the same, numbers as far as f32 tells them in one run and another.
fn alike(a: &Value, b: &Value) -> bool {
    let (a, b) = (a.as_object().unwrap(), b.as_object().unwrap());
    a.len() == b.len()
        && a.iter().all(|(name, a)| match (a.as_f64(), b[name].as_f64()) {
            (Some(x), Some(y)) => (x - y).abs() <= 1e-4 * x.abs().max(1.0),
            _ => *a == b[name],
        })
}

/// Invariant: Prompts of a file with their own target and foil have the rows of single runs with `--target` and `--foil`, in `lens`,
/// `residual`, `neurons` and `attention`.
#[test]
fn each_prompt_of_a_file_has_its_own_words() {
    let place = Place::new();
    file(&place);
    for (command, more, compares) in COMMANDS {
        let run = |args: &[&str]| {
            let done = place.ok([&[command, "--out", "-", "--format", "ndjson"], more, args].concat());
            (rows(&done.stdout), done.stderr)
        };
        let (together, said) = run(&["--prompts", "words.jsonl"]);
        assert_eq!(said.contains("`foil` is not used; foils after each prompt are looked at by"), !compares, "{said}");
        let mut alone = vec![];
        for (i, [text, target, foil]) in PROMPTS.iter().enumerate() {
            let foil: &[&str] = if compares { &["--foil", foil] } else { &[] };
            let (mut own, _) = run(&[&["--target", target], foil, &[text]].concat());
            for row in &mut own {
                (row["prompt"], row["prompt_id"]) = (i.into(), i.to_string().into());
                assert_eq!(row["target"], *target, "{command}");
            }
            alone.extend(own);
        }
        assert_eq!(together.len(), alone.len(), "{command}");
        for (row, alone) in together.iter().zip(&alone) {
            assert!(alike(row, alone), "{command}: {row} {alone}");
        }
        // An option stands for all prompts, and says so.
        let (rows, said) = run(&["--prompts", "words.jsonl", "--target", " Lucy"]);
        assert!(said.contains("--target takes the place of the targets that prompts of the file have"), "{said}");
        assert!(rows.iter().all(|row| row["target"] == " Lucy"), "{command}");
        if compares {
            assert_eq!(rows.last().unwrap()["foil"], PROMPTS[1][2], "{command}");
            let same = [command, "--prompts", "words.jsonl", "--target", " Tom", "--out", "x"];
            place.refused(same, 2, "prompt 1: the target and the foil are the same token");
        }
    }
}

/// Invariant: as `each_prompt_of_a_file_has_its_own_words`.
#[test]
fn words_of_some_prompts_are_theirs_alone() {
    let place = Place::new();
    place.write("words.jsonl", "{\"text\": \"Mary and John\", \"target\": \" went\"}\n{\"text\": \"Tom and Anna\"}\n");
    let run = |args: &[&str]| {
        rows(&place.ok([args, &["--prompts", "words.jsonl", "--out", "-", "--format", "ndjson"]].concat()).stdout)
    };
    let of = |rows: &[Value], prompt: u32, name: &str| -> Vec<Value> {
        rows.iter().filter(|row| row["prompt"] == prompt).map(|row| row[name].clone()).collect()
    };
    let looks = run(&["attention"]);
    assert!(of(&looks, 0, "push").iter().all(Value::is_number) && of(&looks, 1, "push").iter().all(Value::is_null));
    assert!(of(&looks, 1, "target").iter().all(Value::is_null) && of(&looks, 1, "share").iter().any(Value::is_number));
    // Where none is asked about, the most probable token is.
    let strokes = run(&["residual"]);
    let by_itself = rows(&place.ok(["residual", "Tom and Anna", "--out", "-", "--format", "ndjson"]).stdout);
    assert_eq!(of(&strokes, 1, "target"), of(&by_itself, 0, "target"));
    assert!(of(&strokes, 0, "target").iter().all(|target| target == " went"));
    // Of which means over all prompts there are no more than all have.
    let foils =
        "{\"text\": \"Mary and John\", \"target\": \" went\", \"foil\": \" met\"}\n{\"text\": \"Tom and Anna\"}\n";
    place.write("foils.jsonl", foils);
    let table =
        ["residual", "--prompts", "foils.jsonl", "--out", "-", "--table", "residual_mean", "--format", "ndjson"];
    assert!(rows(&place.ok(table).stdout).iter().all(|row| row["push_foil"].is_null() && row["push"].is_number()));
    // A foil alone is compared with the most probable token, where there may be none else.
    place.write("alone.jsonl", "{\"text\": \"Mary and John\", \"foil\": \" met\"}\n");
    place.ok(["residual", "--prompts", "alone.jsonl", "--out", "-"]);
    // Where it is compared with a target alone, a file without any, such as one of pairs, has nothing to follow.
    let alone = place.ok(["attention", "--prompts", "alone.jsonl", "--out", "-", "--format", "ndjson"]);
    assert!(alone.stderr.contains("foils of the file are not followed"), "{}", alone.stderr);
    assert!(rows(&alone.stdout).iter().all(|row| row["foil"].is_null() && row["share"].is_null()));
    let given = ["attention", "--prompts", "alone.jsonl", "--foil", " met", "--out", "x"];
    place.refused(given, 2, "no target that it could be compared with");
    let several = ["residual", "--prompts", "foils.jsonl", "--target", " Mary.", "--out", "x"];
    place.refused(several, 2, "the target is 2 tokens, and a foil is compared with one");
}

/// A field that holds several tokens, such as all that are wrong, is not followed, which is said: the rows are those of a file without it.
#[test]
fn several_tokens_in_one_place_are_not_followed() {
    let place = Place::new();
    let text = r#""text": "The capital of France is""#;
    place.write("several.jsonl", format!("{{{text}, \"foil_id\": [1, 2, 3]}}\n"));
    place.write("none.jsonl", format!("{{{text}}}\n"));
    for command in ["residual", "lens", "attention"] {
        let run = |file: &str| place.ok([command, "--prompts", file, "--out", "-", "--format", "csv"]);
        let (several, none) = (run("several.jsonl"), run("none.jsonl"));
        assert_eq!(several.stdout, none.stdout, "{command}");
        let said = "where `foil_id` has several tokens, none of them is followed";
        assert!(several.stderr.contains(said) && !none.stderr.contains(said), "{command}: {}", several.stderr);
    }
}
