//! Ranges: every option that chooses layers, heads, neurons or positions takes them, and a request has a choice in one form.

use pellucid::cli::{analyses, asked};

use super::options::{least, words};
use crate::bin::{GIVERS, Place};

/// What chooses, by what its values are called; with a range, and the same numbers one by one in another order.
const CHOOSE: &[(&str, &str, &str)] = &[
    ("LAYERS", "0-1", "1,0"),
    ("HEADS", "0-1", "1,0"),
    ("NEURONS", "0-2,2", "2,0-1"),
    ("POSITIONS", "0-1,-1", "-1,1,0"),
    ("LAYER.HEAD", "0-1.1", "1.1,0.1"),
    ("LAYER.NEURON", "0.1-2", "0.2,0.1,0.2"),
];

/// The arguments beside an option, where it needs more than its command does.
fn beside(analysis: &str, id: &str) -> &'static str {
    match (analysis, id) {
        ("patch", "heads") => "~|--at|z|--over|layer,head",
        ("patch", "neurons") => "~|--at|mlp.post|--over|layer,neuron",
        ("patch", "keys") => "~|--at|pattern|--over|layer,key_pos",
        ("patch", "noise_at") => "--clean|Mary and John|--answer| went|--foil| met|--noise|3",
        ("path", "neurons") => "~|--from|mlp.post|--over|layer,neuron",
        ("ablate", "neurons") => "~|--unit|neuron",
        ("neurons", "skip_pos") => "--corpus|@/a.jsonl",
        _ => "~",
    }
}

/// Invariant: Every option that chooses layers, heads, neurons or positions takes ranges, and its request and command do not depend on how a
/// choice is spelled.
#[test]
fn every_choice_takes_ranges_and_has_one_form() {
    let place = Place::new();
    place.write("a.jsonl", "{\"text\": \"Mary went\"}\n".repeat(2));
    let (mut failed, mut n) = (vec![], 0);
    for command in analyses() {
        let analysis = command.get_name();
        for argument in command.get_arguments() {
            let (id, named) = (argument.get_id().as_str(), argument.get_value_names().unwrap_or_default());
            let called = |names: &&(&str, &str, &str)| named.iter().any(|name| name.as_str() == names.0);
            let Some((_, range, numbers)) = CHOOSE.iter().find(called) else { continue };
            // What is counted from 0 has nothing that is counted from the end.
            let allowed = argument.is_allow_hyphen_values_set() || !range.contains("-1");
            let (range, numbers) = match (id, allowed) {
                ("skip_pos", _) => ("0-1", "1,0"),
                _ => (*range, *numbers),
            };
            let of = |value: &str| {
                let option = format!("|--{}={value}", id.replace('_', "-"));
                let words = words(&place, analysis, &format!("{}{option}", beside(analysis, id)));
                asked(&words).map_err(|e| format!("{words:?}: {}", e.message()))
            };
            let plain = asked(&words(&place, analysis, beside(analysis, id))).map(|asked| asked.request).ok();
            n += 1;
            match (of(range), of(numbers)) {
                (Ok(a), Ok(b)) if (&a.request, &a.command) != (&b.request, &b.command) => {
                    failed.push(format!("{analysis} --{id}: {range} is {:?}, {numbers} is {:?}", a.command, b.command));
                }
                (Ok(a), Ok(_)) if Some(&a.request) == plain.as_ref() => {
                    failed.push(format!("{analysis} --{id}: {range} asks for no more than nothing does"));
                }
                (Ok(_), Ok(_)) => {}
                (a, b) => failed.extend([a.err(), b.err()].into_iter().flatten()),
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(n >= 31, "{n}");
    assert!(!least("lens").is_empty());
}

/// Old commands, as files have them, ask for what they asked for: lists of numbers are what they were.
#[test]
fn a_list_of_numbers_is_written_as_it_was() {
    let command = |words: &[&str]| asked(words).unwrap().command.join(" ");
    assert_eq!(command(&["lens", "Mary and John", "--pos", "0-1,-1"]), "pellucid lens --pos 0,1,-1 Mary and John");
    assert_eq!(command(&["lens", "Mary and John", "--pos", "all"]), "pellucid lens Mary and John");
    assert_eq!(command(&["lens", "Mary and John", "--pos", "1--1"]), "pellucid lens --pos 1--1 Mary and John");
    assert_eq!(command(&["attention", "Mary", "--head", "L1H2"]), "pellucid attention --head 1,2 Mary");
    assert_eq!(command(&["attention", "Mary", "--head", "1,2"]), "pellucid attention --head 1,2 Mary");
    let two = ["attention", "Mary", "--head", "1.2", "--head", "0.3"];
    assert_eq!(command(&two), "pellucid attention --head 0.3,1.2 Mary");
    let patch = [&["patch"][..], &GIVERS, &["--layers", "0-2"]].concat();
    assert!(command(&patch).ends_with("--layers 0,1,2"));
}

/// Rows of the lens and of estimates, and their means, are of the layers that are chosen and of what is in none, and they are the rows of the whole.
#[test]
fn layers_of_the_lens_and_of_estimates_are_a_part_of_all() {
    let place = Place::new();
    let pair = |verb: &str| {
        let prompt = |name: &str| format!("Mary and John met. Then {name} {verb} to");
        let (clean, corrupt) = (prompt("John"), prompt("Mary"));
        serde_json::json!({"clean": clean, "corrupt": corrupt, "answer": " Mary", "foil": " John"}).to_string() + "\n"
    };
    place.write("pairs.jsonl", ["spoke", "gave"].map(pair).concat());
    let lens =
        ["lens", "When Mary and John went", "Tom met", "--at", "hook_embed,resid_pre,attn_out", "--target", " to"];
    let attribute = ["attribute", "--pairs", "pairs.jsonl", "--at", "z,resid_pre,mlp.post", "--top", "0"];
    let one = [&["attribute"][..], &GIVERS, &["--qk-fix", "--grad-drop"]].concat();
    for (command, table) in [
        (&lens[..], "logit_lens"),
        (&lens[..], "logit_lens_mean"),
        (&attribute[..], "attribution"),
        (&attribute[..], "attribution_mean"),
        (&one[..], "attribution"),
    ] {
        let rows = |more: &[&str]| {
            let words = [command, &["--out", "-", "--format", "ndjson", "--table", table], more].concat();
            place.ok(words).stdout.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let layer = |row: &str| serde_json::from_str::<serde_json::Value>(row).unwrap()["layer"].as_u64();
        let all = rows(&[]);
        let expected: Vec<String> =
            all.iter().filter(|row| layer(row).is_none_or(|layer| layer < 2)).cloned().collect();
        assert!([Some(0), Some(1)].iter().all(|l| expected.iter().any(|row| layer(row) == *l)), "{table}");
        assert!(expected.len() < all.len(), "{table}");
        assert_eq!(rows(&["--layers", "0-1"]), expected, "{table}");
        place.refused([command, &["--layers", "0-9"]].concat(), 2, "and 4 is not one");
    }
    let none = ["lens", "Tom met", "--at", "blocks.3.hook_resid_post", "--layers", "0"];
    place.refused(none, 2, "no layer that was chosen has `blocks.3.hook_resid_post`");
}

/// The rows of `attention` are those of the layers, heads and positions that are chosen, and they are the rows of the whole.
#[test]
fn attention_of_some_is_a_part_of_all() {
    let place = Place::new();
    let text = ["When Mary and John went to the store", "Mary met John"];
    let rows = |more: &[&str]| {
        let words = [&["attention", "--format", "csv"], &text[..], more].concat();
        place.ok(words).stdout.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let all = rows(&[]);
    let some = rows(&["--layers", "1-2", "--heads", "0,3", "--pos", "1--1"]);
    let wanted = |row: &&String| {
        let cells: Vec<&str> = row.split(',').collect();
        let at = |i: usize| cells[i].parse::<usize>().unwrap();
        (1..=2).contains(&at(2)) && [0, 3].contains(&at(3)) && at(5) >= 1
    };
    let expected: Vec<String> = all.iter().filter(wanted).cloned().collect();
    assert!(!expected.is_empty() && expected.len() < all.len());
    assert_eq!(some, expected);
    // One prompt runs another way, and so it does with what keys carry.
    for parts in [&[][..], &["--parts"]] {
        let of = |more: &[&str]| {
            let words = [&["attention", text[0], "--format", "csv"], more, parts].concat();
            place.ok(words).stdout.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        let expected: Vec<String> = of(&[]).iter().filter(wanted).cloned().collect();
        assert_eq!(of(&["--layers", "1-2", "--heads", "0,3", "--pos", "1--1"]), expected);
    }
    place.ok(["attention", text[0], "--head", "1.0-1", "--head", "L2H3", "--out", "three"]);
    let drawn = |name: &str| place.path(&format!("three/{name}.svg")).exists();
    assert!(["attention-L1H0", "attention-L1H1", "attention-L2H3"].iter().all(|name| drawn(name)));
    assert!(!drawn("attention-L0H0"));
    place.refused(["attention", text[0], "--head", "1.0", "--layers", "2"], 2, "its rows are left out");
    place.refused(["attention", text[0], "--heads", "9"], 2, "layer 0 has 4 heads (0-3), and 9 is not one");
    place.refused(["attention", text[0], "--pos", "0-99"], 2, "and 99 is not one of them");
    place.refused(["lens", text[0], "--pos", "3-1"], 2, "ends before it begins");
}
