//! Indirect objects: two people are named, one of them again as the giver, so the other one receives (Wang et al. 2022,
//! "Interpretability in the Wild").

use rand::Rng;

use super::words::{ADJECTIVES, NAMES, OBJECTS, PLACES};
use super::{Random, Split, Task, article, held_out, of_split, pick, pick_two};

/// `{a}` and `{b}` are the people in the order of their first mention, `{s}` the giver, `{p}` a place, `{o}` an object with
/// its article.
pub const FRAMES: &[&str] = &[
    "When {a} and {b} went to the {p}, {s} gave {o} to",
    "Then, {a} and {b} went to the {p}. {s} gave {o} to",
    "After {a} and {b} went to the {p}, {s} handed {o} to",
    "While {a} and {b} were at the {p}, {s} showed {o} to",
    "{a} and {b} met at the {p}. Later {s} sold {o} to",
    "Yesterday {a} and {b} walked to the {p}, and {s} brought {o} to",
    "{a} and {b} had a long talk at the {p}. Then {s} passed {o} to",
    "In the {p}, {a} sat beside {b}. Soon {s} lent {o} to",
    "The {p} was quiet when {a} and {b} came in. {s} offered {o} to",
    "{a} was with {b} in the {p}, and {s} threw {o} to",
    "Friends {a} and {b} found {o} at the {p}. {s} gave it to",
    "As {a} and {b} left the {p}, {s} promised {o} to",
    "{a} saw {b} at the {p} last week. {s} still owes {o} to",
    "On the way to the {p}, {a} and {b} were laughing, because {s} had given {o} to",
];

/// First mentions apart from each other: `{n}` is the person, `{p}` a place, `{w}` a word for how it is or they are.
const MENTIONS: &[&str] = &[
    "{n} was at the {p}.",
    "{n} came to the {p}.",
    "In the {p} sat {n}.",
    "At the {p} they met {n}.",
    "Early in the morning {n} went to the {p}.",
    "There was also {n}, who looked {w}.",
    "{n} felt {w} that day.",
    "Not far away {n} was waiting.",
    "Nobody had seen {n} for a week.",
    "The one in the {w} coat was {n}.",
    "Near the {p} lived {n}.",
    "A friend of theirs was called {n}.",
];

/// What may stand anywhere.
const ASIDES: &[&str] =
    &["The {p} was {w}.", "It was a {w} day.", "Nobody else was there.", "There was a {w} {o} in the {p}."];

/// `{s}` gives.
const GIVINGS: &[&str] = &[
    "{s} gave {o} to",
    "Then {s} gave {o} to",
    "Later {s} handed {o} to",
    "So {s} brought {o} to",
    "With a smile {s} passed {o} to",
    "In the end {s} sold {o} to",
    "Because of this {s} lent {o} to",
    "After a while {s} showed {o} to",
];

/// Whether two people are never seen together in training.
pub fn pair_is_held_out(a: &str, b: &str) -> bool {
    let (first, second) = if a < b { (a, b) } else { (b, a) };
    held_out(&["ioi", first, second], 6)
}

/// One sentence of a frame; giver first or second, as often.
pub fn task(random: &mut Random, split: Split) -> Task {
    let frame = *pick(random, FRAMES);
    fill(random, split, frame)
}

/// A text that mentions the two in sentences of their own, in which no word but the names tells who there is.
pub fn apart(random: &mut Random, split: Split) -> Task {
    let mut text = vec![];
    for name in ["{a}", "{b}"] {
        if random.random_bool(0.3) {
            text.push((*pick(random, ASIDES)).to_owned());
        }
        text.push(pick(random, MENTIONS).replace("{n}", name));
    }
    if random.random_bool(0.5) {
        text.push((*pick(random, ASIDES)).to_owned());
    }
    text.push((*pick(random, GIVINGS)).to_owned());
    let mut frame = String::new();
    for sentence in text {
        let sentence = fill_in(random, &sentence);
        frame += if frame.is_empty() { "" } else { " " };
        frame += &sentence;
    }
    fill(random, split, &frame)
}

/// A sentence's own place, object and word.
fn fill_in(random: &mut Random, sentence: &str) -> String {
    let object = pick(random, OBJECTS);
    let object =
        if sentence.contains("{w} {o}") { (*object).to_owned() } else { format!("{} {object}", article(object)) };
    let word = pick(random, ADJECTIVES);
    let place = pick(random, PLACES);
    let sentence = sentence.replace("{o}", &object).replace("{p}", place);
    sentence.replace(" a {w}", &format!(" {} {word}", article(word))).replace("{w}", word)
}

/// A frame with two people who may meet in this split, either of whom gives.
fn fill(random: &mut Random, split: Split, frame: &str) -> Task {
    let (a, b) = two_people(random, split);
    let (giver, receiver) = if random.random_bool(0.5) { (a, b) } else { (b, a) };
    asked(&fill_in(random, frame), [a, b], giver, receiver)
}

/// Two people who may meet in this split.
fn two_people(random: &mut Random, split: Split) -> (&'static str, &'static str) {
    of_split(split, || {
        let (a, b) = pick_two(random, NAMES);
        ((a.0, b.0), pair_is_held_out(a.0, b.0))
    })
}

/// The task that a frame is, when its place and object are filled in.
fn asked(frame: &str, named: [&str; 2], giver: &str, receiver: &str) -> Task {
    let prompt = with_people(frame, named, giver);
    Task { prompt, answer: format!(" {receiver}"), foils: vec![format!(" {giver}")], rest: ".".into() }
}

fn with_people(frame: &str, [a, b]: [&str; 2], giver: &str) -> String {
    frame.replace("{a}", a).replace("{b}", b).replace("{s}", giver)
}

/// A frame in one of its two orders.
#[derive(Clone, Debug)]
pub struct InOrder {
    /// The task.
    pub task: Task,
    /// The two people, in the order of their first mention.
    pub named: [&'static str; 2],
    /// The same words about three other people, one of whom gives to nobody who was named: who receives cannot be told (the
    /// ABC prompts of Wang et al.).
    pub others: String,
}

/// One frame with the same people, place and object in both orders: first with the receiver named first, then with the
/// receiver named second.
pub fn in_both_orders(random: &mut Random, split: Split, frame: &str) -> [InOrder; 2] {
    let (a, b) = two_people(random, split);
    let frame = fill_in(random, frame);
    let mut strangers: Vec<&'static str> = vec![];
    while strangers.len() < 3 {
        let (name, _) = *pick(random, NAMES);
        if ![a, b].contains(&name) && !strangers.contains(&name) {
            strangers.push(name);
        }
    }
    let others = with_people(&frame, [strangers[0], strangers[1]], strangers[2]);
    [(b, a), (a, b)].map(|(giver, receiver)| InOrder {
        task: asked(&frame, [a, b], giver, receiver),
        named: [a, b],
        others: others.clone(),
    })
}
