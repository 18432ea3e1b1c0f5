//! Agreement: the verb goes with the subject, and not with the noun that stands between them (Linzen et al. 2016).

use rand::Rng;

use super::words::{ADJECTIVES, INNER_VERBS, NOUNS, PREPOSITIONS, VERBS};
use super::{Random, Split, Task, held_out, of_split, pick, pick_two};

/// Whether subject and attractor never meet in training.
pub fn pair_is_held_out(subject: &str, attractor: &str) -> bool {
    held_out(&["agreement", subject, attractor], 5)
}

/// One sentence: subject, one attractor noun of either number, verb.
pub fn task(random: &mut Random, split: Split) -> Task {
    sentence(random, split, |random| (random.random_bool(0.5), random.random_bool(0.5)))
}

/// One sentence whose attractor is of the other number than its subject: the case that counts.
pub fn misleading(random: &mut Random, split: Split) -> Task {
    sentence(random, split, |random| {
        let several = random.random_bool(0.5);
        (several, !several)
    })
}

/// One sentence; `numbers` says whether subject and attractor are several.
fn sentence(random: &mut Random, split: Split, numbers: impl FnOnce(&mut Random) -> (bool, bool)) -> Task {
    let (subject, attractor) = of_split(split, || {
        let (subject, attractor) = pick_two(random, NOUNS);
        ((subject, attractor), pair_is_held_out(subject.0, attractor.0))
    });
    let (several, attractor_several) = numbers(random);
    let (s, a) = (number(several, *subject), number(attractor_several, *attractor));
    let inner = *pick(random, INNER_VERBS);
    let prompt = match random.random_range(0..6) {
        0 | 1 => format!("The {s} {} the {a}", pick(random, PREPOSITIONS)),
        2 => format!("The {s} that the {a} {}", number(attractor_several, inner)),
        3 => format!("The {s} that {} the {a}", number(several, inner)),
        4 => format!("Today the {s} who {} the {a}", number(several, inner)),
        _ => format!("I think that the {s} {} the {a}", pick(random, PREPOSITIONS)),
    };
    let verb = *pick(random, VERBS);
    // A verb of two words agrees in its first.
    let (right, more) = split_verb(number(several, verb));
    let (wrong, _) = split_verb(number(!several, verb));
    Task {
        prompt,
        answer: format!(" {right}"),
        foils: vec![format!(" {wrong}")],
        rest: format!("{more} {}.", pick(random, ADJECTIVES)),
    }
}

fn number(several: bool, (one, many): (&'static str, &'static str)) -> &'static str {
    if several { many } else { one }
}

/// A verb's first word, and the rest with the space before it.
fn split_verb(verb: &str) -> (&str, &str) {
    verb.split_at(verb.find(' ').unwrap_or(verb.len()))
}
