//! The text that the built-in model learned from: what it must contain, and what it must never.

use std::collections::HashSet;

use crate::train::corpus::{random, train_tokenizer};
use crate::train::grammar::{Split, Task, agreement, brackets, document, facts, greater_than, ioi, words};

const DOCUMENTS: usize = 60_000;

fn documents() -> Vec<String> {
    let mut random = random(7, 0);
    (0..DOCUMENTS).map(|_| document(&mut random, Split::Train)).collect()
}

/// Looked for in the text itself, and not asked of the code that keeps them out.
///
/// Invariant: The questions asked of the built-in model were never in its training text.
#[test]
fn what_is_held_out_is_never_trained_on() {
    let documents = documents();
    // People, in the frames that name them side by side.
    let together: HashSet<(String, String)> = (documents.iter())
        .flat_map(|text| {
            let words: Vec<&str> = text.split([' ', ',', '.']).collect();
            let pairs = words.windows(3).filter(|w| w[1] == "and");
            pairs.map(|w| (w[0].to_owned(), w[2].to_owned())).collect::<Vec<_>>()
        })
        .collect();
    let (mut met, mut held) = (0, 0);
    for (i, (a, _)) in words::NAMES.iter().enumerate() {
        for (b, _) in &words::NAMES[i + 1..] {
            let seen = [(a, b), (b, a)].iter().any(|(a, b)| together.contains(&((*a).to_string(), (*b).to_string())));
            assert!(!(seen && ioi::pair_is_held_out(a, b)), "{a} and {b} met in training");
            met += usize::from(seen);
            held += usize::from(ioi::pair_is_held_out(a, b));
        }
    }
    assert!(met > 1500 && held > 300, "{met} pairs met, {held} are held out");

    // Facts whose phrasing names nobody else.
    let text = documents.join("\n");
    let (mut said, mut held) = (0, 0);
    for kind in facts::KINDS {
        for (subject, answer) in kind.facts {
            for phrasing in kind.phrasings.iter().filter(|p| !["{n}", "{t}", " a"].iter().any(|x| p.contains(x))) {
                let sentence = format!("{} {answer}.", phrasing.replace("{s}", subject));
                let is_held = facts::is_held_out(subject, phrasing);
                assert!(!(is_held && text.contains(&sentence)), "in training: {sentence}");
                said += usize::from(!is_held && text.contains(&sentence));
                held += usize::from(is_held);
            }
        }
    }
    assert!(said > 100 && held > 50, "{said} facts were said, {held} are held out");

    // Years.
    for century in words::CENTURIES {
        for year in greater_than::BEGINNINGS {
            let beginning = format!("from {century} {year:02} to");
            let is_held = greater_than::year_is_held_out(*century, year);
            assert!(!(is_held && text.contains(&beginning)), "in training: {beginning}");
        }
    }

    // Subjects and their attractors, directly beside each other's preposition; words before brackets.
    for (subject, _) in words::NOUNS {
        for (attractor, _) in words::NOUNS {
            let phrase = format!("The {subject} near the {attractor} ");
            let is_held = agreement::pair_is_held_out(subject, attractor);
            assert!(!(is_held && text.contains(&phrase)), "in training: {phrase}");
        }
        for (open, _) in words::BRACKETS {
            let phrase = format!("{subject} {open} ");
            let is_held = brackets::opening_is_held_out(subject, open);
            assert!(!(is_held && text.contains(&phrase)), "in training: {phrase}");
        }
    }
}

#[test]
fn questions_use_only_what_is_held_out() {
    let mut random = random(8, 0);
    for _ in 0..500 {
        let task = ioi::task(&mut random, Split::HeldOut);
        let (a, b) = (task.answer.trim(), task.foils[0].trim());
        assert!(ioi::pair_is_held_out(a, b), "{}", task.prompt);
        // Named once who receives, twice who gives.
        assert_eq!((count(&task.prompt, a), count(&task.prompt, b)), (1, 2), "{}", task.prompt);
        let (task, year) = greater_than::with_year(&mut random, Split::HeldOut);
        assert!(task.prompt.contains(&greater_than::written(year)));
        assert!(task.answer > greater_than::written(year) && task.foils.iter().all(|foil| *foil < task.answer));
    }
}

/// The receiver is named first as often as second, in training as in questions, in frames as in sentences apart: no place in the
/// order of mention tells who receives. And the two orders of one question differ in the giver alone.
#[test]
fn either_order_of_the_names_is_as_likely() {
    const N: usize = 4000;
    let mut random = random(10, 0);
    for (what, task) in [("a frame", ioi::task as fn(&mut _, _) -> _), ("sentences apart", ioi::apart)] {
        for split in [Split::Train, Split::HeldOut] {
            let first = (0..N).filter(|_| {
                let task: Task = task(&mut random, split);
                let at = |name: &str| task.prompt.find(name.trim()).unwrap();
                at(&task.answer) < at(&task.foils[0])
            });
            // Four standard errors of a fair coin.
            let share = first.count() as f64 / N as f64;
            assert!((share - 0.5).abs() < 4.0 * 0.5 / (N as f64).sqrt(), "{what}, {split:?}: {share}");
        }
    }
    for frame in ioi::FRAMES {
        let [first, second] = ioi::in_both_orders(&mut random, Split::HeldOut, frame);
        let [a, b] = first.named;
        assert!(ioi::pair_is_held_out(a, b) && second.named == [a, b]);
        assert_eq!((first.task.answer.trim(), second.task.answer.trim()), (a, b));
        assert_eq!((first.task.foils[0].trim(), second.task.foils[0].trim()), (b, a));
        let (one, other): (Vec<&str>, Vec<&str>) =
            (first.task.prompt.split(' ').collect(), second.task.prompt.split(' ').collect());
        let differ: Vec<(&str, &str)> = one.into_iter().zip(other).filter(|(x, y)| x != y).collect();
        assert_eq!(differ, [(b, a)]);
        assert!(count(&first.others, a) + count(&first.others, b) == 0, "{}", first.others);
    }
}

fn count(text: &str, word: &str) -> usize {
    text.split(|c: char| !c.is_alphabetic()).filter(|w| *w == word).count()
}

#[test]
fn brackets_are_balanced_and_the_answer_closes_the_innermost() {
    let mut random = random(9, 0);
    let mut deepest = 0;
    for _ in 0..500 {
        let (task, depth) = brackets::task(&mut random, Split::HeldOut);
        let mut open = vec![];
        let mut at_answer = 0;
        let before = task.prompt.split(' ').count();
        for (i, word) in format!("{}{}{}", task.prompt, task.answer, task.rest).split(' ').enumerate() {
            if let Some((_, close)) = words::BRACKETS.iter().find(|(o, _)| *o == word) {
                open.push(*close);
            } else if words::BRACKETS.iter().any(|(_, close)| *close == word) {
                if i == before {
                    at_answer = open.len();
                }
                assert_eq!(open.pop(), Some(word), "{}", task.prompt);
            }
        }
        assert!(open.is_empty());
        assert_eq!(at_answer, depth);
        deepest = deepest.max(depth);
    }
    assert_eq!(deepest, brackets::DEEPEST);
}

/// Names, places and common words are one piece each, with the space before them; a word that the text does not have is
/// several. And the same seed gives the same tokenizer.
#[test]
fn words_of_the_text_are_one_token_and_others_are_several() -> anyhow::Result<()> {
    let tokenizer = train_tokenizer(1)?;
    let pieces = |text: &str| tokenizer.encode(text, false).unwrap().len();
    let names = words::NAMES.iter().map(|n| n.0);
    let facts = facts::KINDS.iter().flat_map(|kind| kind.facts).flat_map(|fact| [fact.0, fact.1]);
    for word in names.chain(facts).chain(words::PLACES.iter().copied()).chain(words::OBJECTS.iter().copied()) {
        assert_eq!(pieces(&format!(" {word}")), 1, "{word}");
    }
    for year in greater_than::YEARS {
        assert_eq!(pieces(&greater_than::written(year)), 1, "{year}");
    }
    assert!(pieces(" strawberry") > 1);
    let text = "Strawberries: 17 €, naïve \u{1F353}\n";
    assert_eq!(tokenizer.decode(tokenizer.encode(text, false).unwrap().get_ids(), false).unwrap(), text);
    let again = train_tokenizer(1)?;
    assert_eq!(tokenizer.to_string(false).unwrap(), again.to_string(false).unwrap());
    Ok(())
}
