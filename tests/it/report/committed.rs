//! The reports that are committed: those of the built-in model are remade and compared.

use std::path::Path;

use crate::bin::Place;
use crate::house::tidy::root;

/// Parts of a text that are numbers, and what is between them. Digits of hashes and names are words.
fn parts(text: &str) -> Vec<(String, Option<f64>)> {
    let mut parts = vec![];
    for word in text.split_whitespace() {
        let trimmed = word.trim_matches(|c: char| "|(),.;:*%`".contains(c));
        let plain = trimmed.replace(',', "");
        match plain.parse::<f64>() {
            // What rounding can change has decimals; whole numbers are ranks, counts and positions.
            Ok(x) if plain.contains('.') => parts.push((word.replace(trimmed, ""), Some(x))),
            _ => parts.push((word.to_owned(), None)),
        }
    }
    parts
}

/// What differs between two reports but for rounding of what is printed with three or four digits.
fn differs(a: &str, b: &str) -> Option<String> {
    let (a, b) = (parts(a), parts(b));
    if a.len() != b.len() {
        return Some(format!("{} words against {}", a.len(), b.len()));
    }
    let near = |x: f64, y: f64| (x - y).abs() <= 2e-3 * x.abs().max(y.abs()).max(1.0);
    let same = |a: &(String, Option<f64>), b: &(String, Option<f64>)| match (a, b) {
        ((before, Some(x)), (after, Some(y))) => before == after && near(*x, *y),
        (a, b) => a == b,
    };
    let at = a.iter().zip(&b).position(|(a, b)| !same(a, b))?;
    Some(format!("`{}` {:?} against `{}` {:?}", a[at].0, a[at].1, b[at].0, b[at].1))
}

/// Invariant: The committed reports of the built-in model are what their experiments write: words, order, tokens and ranks the same, and
/// numbers within rounding.
#[test]
fn reports_can_be_made_again() {
    let place = Place::new();
    // As they are made: in the top folder.
    let experiments = place.path("experiments");
    copy(&root().join("experiments"), &experiments);
    let mut made = 0;
    for entry in std::fs::read_dir(root().join("reports")).into_iter().flatten() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let committed = fs_err::read_to_string(folder.join("README.md")).unwrap();
        // Of other models the weights may not be here: a documented command remakes their reports.
        let models = committed.lines().filter(|line| line.starts_with("- Model "));
        if !models.clone().all(|line| line.starts_with("- Model demo,")) {
            continue;
        }
        let done = place.pellucid(["run", &format!("experiments/{name}.toml"), "-q"]);
        assert_eq!(done.code, Some(0), "{name}: {}", done.stderr);
        let again = String::from_utf8(place.read(&format!("reports/{name}/README.md"))).unwrap();
        assert_eq!(
            differs(&committed, &again),
            None,
            "{name}: make it again with reports/make, and look at what changed"
        );
        for figure in committed.split("](").skip(1).filter_map(|rest| rest.split_once(".svg)")).map(|(stem, _)| stem) {
            assert!(folder.join(format!("{figure}.svg")).is_file(), "{name}: {figure} is not committed");
        }
        assert!(folder.join("report.html").is_file(), "{name}");
        made += 1;
    }
    println!("{made} reports made again");
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).into_iter().flatten() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs_err::copy(&path, &to).unwrap()),
        }
    }
}

#[test]
fn rounding_is_no_difference() {
    assert_eq!(differs("a 0.1234 | 12 b", "a 0.1235 | 12 b"), None);
    for other in ["a 0.2 | 12 b", "a 0.1234 | 13 b", "a 0.1234 | 12 c", "a 0.1234 | 12", "a -0.1234 | 12 b"] {
        assert!(differs("a 0.1234 | 12 b", other).is_some(), "{other}");
    }
}
