//! Facts: a country's capital, a person's profession, a thing's colour, each said in several ways. Every fact is trained
//! on, but not in every way of saying it.

use rand::Rng;

use super::words::{CAPITALS, COLOURS, NAMES, PROFESSIONS};
use super::{Random, Split, Task, article, held_out, of_split, pick, pick_two};

/// One kind of fact.
pub struct Kind {
    /// What it is called in the results.
    pub name: &'static str,
    /// Subject and answer.
    pub facts: &'static [(&'static str, &'static str)],
    /// `{s}` is the subject, `{t}` another one that is only mentioned, `{n}` and `{m}` are first names; the answer follows.
    pub phrasings: &'static [&'static str],
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "capital",
        facts: CAPITALS,
        phrasings: &[
            "The capital of {s} is",
            "The capital city of {s} is called",
            "In {s} the capital is",
            "Everyone in {s} has been to the capital,",
            "{n} lives in {s} and works in its capital,",
            "From {t} {n} went on to {s}. There {n} visited the capital,",
            "The map of {s} shows the capital,",
            "The king of {s} lives in the capital,",
            "{n} lives in {s} and {m} in {t}. The capital of the country of {n} is",
            "{m} lives in {t} and {n} in {s}. The capital of the country of {n} is",
            "{n} comes from {s}. {m} comes from {t}. The capital where {n} was born is",
            "{m} comes from {t}. {n} comes from {s}. The capital where {n} was born is",
            "Here are {n} from {s} and {m} from {t}. The home of {n} has the capital",
            "Here are {m} from {t} and {n} from {s}. The home of {n} has the capital",
        ],
    },
    Kind {
        name: "profession",
        facts: PROFESSIONS,
        phrasings: &[
            "{n} {s} works as a",
            "Mr {s} earns money as a",
            "By profession {s} is a",
            "The work of {s} is that of a",
            "{s} became a",
            "Not like {t}, old {s} is a",
            "We all know {s}, who is a",
            "When {n} was ill, {s} came, the",
        ],
    },
    Kind {
        name: "colour",
        facts: COLOURS,
        phrasings: &[
            "The colour of the {s} is",
            "The {s} is",
            "{n} painted the {s} in its own colour,",
            "Look at the {s}, how",
            "As everyone knows, the {s} is",
            "The {t} and the {s} are not alike: the {s} is",
            "What colour does the {s} have? It is",
            "Nothing but the {s} is so",
        ],
    },
];

/// Whether a fact is never said in this way in training.
pub fn is_held_out(subject: &str, phrasing: &str) -> bool {
    held_out(&["fact", subject, phrasing], 5)
}

impl Kind {
    /// The phrasings that name the subject, but not as their first word: without a space before it a name is spelled in
    /// other tokens, and that these are the same name is learned only where they were trained on.
    pub fn direct(&self) -> impl Iterator<Item = &'static str> {
        self.phrasings.iter().copied().filter(|phrasing| !phrasing.contains("{m}") && !phrasing.starts_with("{s}"))
    }

    /// The phrasings that name the subject through a person: two steps lead to the answer.
    pub fn roundabout(&self) -> impl Iterator<Item = &'static str> {
        self.phrasings.iter().copied().filter(|phrasing| phrasing.contains("{m}"))
    }
}

/// One fact of a kind.
pub fn task(random: &mut Random, kind: &Kind, split: Split) -> Task {
    phrased(random, kind, split, kind.phrasings)
}

/// One fact of a kind in one of these phrasings.
pub fn phrased(random: &mut Random, kind: &Kind, split: Split, phrasings: &[&'static str]) -> Task {
    let ((subject, answer), phrasing) = of_split(split, || {
        let (fact, phrasing) = (*pick(random, kind.facts), *pick(random, phrasings));
        ((fact, phrasing), is_held_out(fact.0, phrasing))
    });
    let other = loop {
        let (subject_too, _) = *pick(random, kind.facts);
        if subject_too != subject {
            break subject_too;
        }
    };
    let (n, m) = pick_two(random, NAMES);
    let prompt = phrasing.replace("{s}", subject).replace("{t}", other).replace("{n}", n.0).replace("{m}", m.0);
    let foils = (kind.facts.iter()).map(|fact| fact.1).filter(|&a| a != answer).map(|a| format!(" {a}")).collect();
    Task { prompt: fix_article(&prompt, answer), answer: format!(" {answer}"), foils, rest: ".".into() }
}

/// A text of one fact, or of two with one between them.
pub fn document(random: &mut Random, split: Split) -> String {
    let mut text = String::new();
    for i in 0..random.random_range(1..=3) {
        let kind = pick(random, KINDS);
        let sentence =
            if random.random_bool(0.15) { backwards(random, kind) } else { task(random, kind, split).text() };
        text += if i == 0 { "" } else { " " };
        text += &sentence;
    }
    text
}

/// The answer first: says the same and cannot be guessed.
fn backwards(random: &mut Random, kind: &Kind) -> String {
    let (fact, _) = pick_two(random, kind.facts);
    let (subject, answer) = *fact;
    match kind.name {
        "capital" => format!("{answer} is the capital of {subject}."),
        "profession" => format!("The {answer} is called {subject}."),
        _ => format!("What is {answer}? The {subject} is."),
    }
}

/// `as a` becomes `as an` before a vowel.
fn fix_article(prompt: &str, answer: &str) -> String {
    match prompt.strip_suffix(" a") {
        Some(before) => format!("{before} {}", article(answer)),
        None => prompt.to_owned(),
    }
}
