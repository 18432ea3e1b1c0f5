//! Several models by one name: checkpoints of training, as folders beside each other or as revisions of a repository.
//!
//! In the last part of a folder's name, or in the revision of a Hugging Face id, `*` stands for any text and `?` for one character.

use std::path::Path;

use super::files::names_in;
use super::hub::{Fetching, Hub};
use super::source::{expand_home, is_hub_id, looks_like_a_path};
use crate::error::{Error, Result};

/// A checkpoint that a pattern stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the model.
    pub name: String,
    /// The number in it, of the steps of training.
    pub step: Option<u64>,
}

/// The whole name of what a pattern stands for.
type Whole<'a> = Box<dyn Fn(&str) -> String + 'a>;

/// The models that `name` stands for, by the number in their names; none where it is no pattern.
///
/// # Errors
/// When there are none, with those that there are; when the Hub cannot be asked.
pub fn checkpoints(name: &str, hub: &Hub, told: &dyn Fetching) -> Result<Option<Vec<Checkpoint>>> {
    if !is_pattern(name) {
        return Ok(None);
    }
    let (id, revision) = name.split_once('@').unwrap_or((name, ""));
    let of_hub = !revision.is_empty() && is_hub_id(id) && !looks_like_a_path(name) && !Path::new(id).is_dir();
    let (pattern, there, whole): (String, Vec<String>, Whole<'_>) = match of_hub {
        true => (revision.to_owned(), hub.revisions(id, told)?, Box::new(move |found| format!("{id}@{found}"))),
        false => {
            let path = expand_home(name);
            let last = path.file_name().map(|last| last.to_string_lossy().into_owned()).unwrap_or_default();
            let parent = path.parent().map(Path::to_path_buf).unwrap_or_default();
            if is_pattern(&parent.to_string_lossy()) {
                return Err(Error::bad_input(format!("`{name}` has a pattern before its last part"))
                    .hint("write * or ? in the name of the folders alone, such as training/step*"));
            }
            let here = if parent.as_os_str().is_empty() { Path::new(".") } else { &*parent };
            if !here.is_dir() {
                return Err(Error::no_such(format!("there is no folder {}", here.display()))
                    .hint("give the folder that holds the checkpoints"));
            }
            let there = names_in(here, Path::is_dir);
            (last, there, Box::new(move |found| parent.join(found).display().to_string()))
        }
    };
    let mut found: Vec<Checkpoint> = (there.iter())
        .filter(|other| matches(&pattern, other))
        .map(|other| Checkpoint { name: whole(other), step: number(&pattern, other) })
        .collect();
    if found.is_empty() {
        let has = match there.len() {
            0 => "there are none at all".to_owned(),
            n => format!(
                "there are {}{}",
                shown(&there),
                if n > SHOWN { format!(" and {} more", n - SHOWN) } else { String::new() }
            ),
        };
        let what = if of_hub { format!("`{id}` has no revision") } else { "there is no folder".to_owned() };
        return Err(Error::no_such(format!("{what} that `{pattern}` stands for")).hint(has));
    }
    found.sort_by(|a, b| (a.step.is_none(), a.step, &a.name).cmp(&(b.step.is_none(), b.step, &b.name)));
    Ok(Some(found))
}

/// Names that an error lists.
const SHOWN: usize = 6;

fn shown(names: &[String]) -> String {
    names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ")
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether `pattern`, in which `*` stands for any text and `?` for one character, stands for `name`.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last star, and where what it stands for ends.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, end)) => {
                    star = Some((at, end + 1));
                    (p, n) = (at + 1, end + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The first number in the part of a name that does not stand in the pattern itself.
fn number(pattern: &str, name: &str) -> Option<u64> {
    let literal = pattern.find(['*', '?']).unwrap_or(0);
    let rest = name.get(literal..).unwrap_or(name);
    let from = rest.find(|c: char| c.is_ascii_digit())?;
    let digits: String = rest[from..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names() {
        for (pattern, name) in
            [("step*", "step0"), ("step*", "step"), ("*", ""), ("s?ep1*", "step143000"), ("a*b*c", "aXbYbZc")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("step*", "main"), ("step?", "step10"), ("a*b", "abc"), ("", "x"), ("x?", "x")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert_eq!(number("step*", "step1000-tokens4B"), Some(1000));
        assert_eq!(number("pythia-70m-*", "pythia-70m-step512"), Some(512));
        assert_eq!((number("*", "main"), number("*", "v2-7")), (None, Some(2)));
        // More than any number of steps.
        assert_eq!(number("s*", "s99999999999999999999999"), None);
    }

    #[test]
    fn folders_are_sorted_by_their_number() -> Result<()> {
        let place = tempfile::tempdir()?;
        for name in ["step10", "step9", "step100", "other", "steps"] {
            fs_err::create_dir(place.path().join(name))?;
        }
        fs_err::write(place.path().join("step7"), "a file")?;
        let hub = Hub::at(place.path(), "http://127.0.0.1:9").offline(true);
        let of = |name: &str| checkpoints(&place.path().join(name).display().to_string(), &hub, &());
        let found = of("step*")?.unwrap_or_default();
        let steps: Vec<_> = found.iter().map(|checkpoint| checkpoint.step).collect();
        assert_eq!(steps, [Some(9), Some(10), Some(100), None]);
        assert!(found[0].name.ends_with("step9"), "{found:?}");
        assert_eq!(of("step9")?, None);
        let error = of("epoch*").unwrap_err();
        assert_eq!(error.hint_text(), Some("there are other, step10, step100, step9, steps"));
        assert!(of("*/step1").unwrap_err().message().contains("before its last part"));
        Ok(())
    }
}
