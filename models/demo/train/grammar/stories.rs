//! Short tales about nothing in particular, so that the text reads as language: articles, pronouns, tenses, quotations.

use rand::Rng;

use super::words::{ADJECTIVES, NAMES, NOUNS, OBJECTS, PLACES};
use super::{Random, article, pick, pick_two, sentence_case};

const SIZES: &[&str] = &["little", "small", "young", "kind", "clever", "shy", "brave", "funny"];
const FEELINGS: &[&str] = &["happy", "sad", "tired", "hungry", "proud", "afraid", "angry", "glad"];
const WEATHERS: &[&str] = &["sunny", "rainy", "cold", "warm", "windy", "foggy"];
const ANIMALS: &[&str] = &["dog", "cat", "bird", "horse", "rabbit", "duck", "fox", "mouse"];
const FOODS: &[&str] = &["bread", "soup", "cheese", "rice", "apples", "honey", "fish", "pie"];
const DAYS: &[&str] = &["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const RELATIVES: &[&str] = &["mother", "father", "sister", "brother", "grandmother", "uncle"];

/// The person that a tale is about.
struct Hero {
    name: &'static str,
    he: &'static str,
}

impl Hero {
    fn his(&self) -> &'static str {
        if self.he == "she" { "her" } else { "his" }
    }
    fn him(&self) -> &'static str {
        if self.he == "she" { "her" } else { "him" }
    }
    fn child(&self) -> &'static str {
        if self.he == "she" { "girl" } else { "boy" }
    }
}

/// One tale of a few sentences.
pub fn document(random: &mut Random) -> String {
    let (hero, friend) = pick_two(random, NAMES);
    let (hero, friend) = (Hero { name: hero.0, he: hero.1 }, Hero { name: friend.0, he: friend.1 });
    let mut text = opening(random, &hero);
    for _ in 0..random.random_range(2..=4) {
        text += " ";
        text += &sentence_case(&sentence(random, &hero, &friend));
    }
    if random.random_bool(0.5) {
        text += " ";
        text += &ending(random, &hero);
    }
    text
}

fn opening(random: &mut Random, hero: &Hero) -> String {
    let (name, he, his, child) = (hero.name, hero.he, hero.his(), hero.child());
    match random.random_range(0..7) {
        0 | 1 => format!("Once upon a time there was a {} {child} named {name}.", pick(random, SIZES)),
        2 => format!("One day {name} went to the {} with {his} {}.", pick(random, PLACES), pick(random, RELATIVES)),
        3 => format!("On {} it was {} outside, so {name} stayed at home.", pick(random, DAYS), pick(random, WEATHERS)),
        4 => format!("{name} was a {} {child} who lived near the {}.", pick(random, SIZES), pick(random, PLACES)),
        5 => format!("It was a {} day and {name} was {}.", pick(random, WEATHERS), pick(random, FEELINGS)),
        _ => {
            let animal = pick(random, ANIMALS);
            format!("{name} had {} {animal} and {he} loved it very much.", article(animal))
        }
    }
}

fn sentence(random: &mut Random, hero: &Hero, friend: &Hero) -> String {
    let (he, his, him, other) = (hero.he, hero.his(), hero.him(), friend.name);
    let (object, place, food) = (*pick(random, OBJECTS), *pick(random, PLACES), *pick(random, FOODS));
    let an_object = format!("{} {object}", article(object));
    match random.random_range(0..16) {
        0 => format!("{he} liked to play in the {place} with {his} friend {other}."),
        1 => format!("{he} found {an_object} on the way to the {place}."),
        2 => format!("\"I want {an_object},\" said {other}."),
        3 => format!("\"Do you like {food}?\" asked {other}."),
        4 => format!("{his} {} gave {him} some {food}.", pick(random, RELATIVES)),
        5 => format!("{other} looked for the {object} but could not find it."),
        6 => format!("they went to the {place} and saw a {} {}.", pick(random, ADJECTIVES), pick(random, NOUNS).0),
        7 => format!("{other} was {} and wanted to go home.", pick(random, FEELINGS)),
        8 => format!("there were many {} at the {place}.", pick(random, NOUNS).1),
        9 => format!(
            "the {} were {} and the {} was {}.",
            pick(random, NOUNS).1,
            pick(random, ADJECTIVES),
            pick(random, NOUNS).0,
            pick(random, ADJECTIVES)
        ),
        10 => format!("every {} {he} ate {food} with {other}.", pick(random, DAYS)),
        11 => format!("{he} put the {object} in a box (it was {}).", pick(random, ADJECTIVES)),
        12 => format!("\"Thank you,\" {he} said to {his} {}.", pick(random, RELATIVES)),
        13 => format!("then it was {}, and {he} was {}.", pick(random, WEATHERS), pick(random, FEELINGS)),
        14 => format!("{he} had never seen such a {} {} before.", pick(random, ADJECTIVES), pick(random, ANIMALS)),
        _ => format!("{other} and {he} ran to the {place} to look for the {}.", pick(random, ANIMALS)),
    }
}

fn ending(random: &mut Random, hero: &Hero) -> String {
    match random.random_range(0..4) {
        0 => format!("At night {} went to bed and was {}.", hero.he, pick(random, FEELINGS)),
        1 => "They were friends for ever.".to_owned(),
        2 => format!("In the end {} was {}.", hero.name, pick(random, FEELINGS)),
        _ => format!("And so {} went home.", hero.name),
    }
}
