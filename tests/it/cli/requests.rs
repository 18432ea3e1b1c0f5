//! Which options name the folder of results.

use std::collections::BTreeSet;

use crate::bin::Place;

const PAIR: [&str; 8] =
    ["--clean", "Mary and John", "--corrupt", "John and Mary", "--answer", " went", "--foil", " met"];

/// The name of the folder that a command leaves.
fn folder(base: &[&str], more: &[&str]) -> String {
    let place = Place::new();
    place.ok([base, more].concat());
    place.only_run().file_name().unwrap().to_string_lossy().into_owned()
}

/// Arguments that are added to a command, one after another.
type Added<'a> = &'a [&'a [&'a str]];

/// Invariant: What decides the results names their folder, whatever it is; what decides nothing, and a default that is said, does not.
#[test]
fn what_decides_the_results_names_their_folder() {
    let lens = ["lens", "Mary and John"];
    let patch = [&["patch"], &PAIR[..]].concat();
    let ablate = ["ablate", "Mary and John", "--kind", "zero"];
    let cases: [(&[&str], Added<'_>, Added<'_>); 3] = [
        (
            &lens,
            &[
                &["--memory", "300MB"],
                &["--top", "2"],
                &["--at", "mlp_out"],
                &["--pos", "-1"],
                &["--target", " went"],
                &["another"],
                &["--process", "fold-ln"],
                &["--dtype", "f16"],
            ],
            &[&["--at", "resid_post"], &["--format", "csv"], &["--memory", "512MB"], &["--wait", "5"], &["--force"]],
        ),
        (
            &patch,
            &[
                &["--memory", "300MB"],
                &["--at", "z"],
                &["--over", "layer"],
                &["--layers", "1"],
                &["--direction", "noise"],
                &["--kind", "zero"],
                &["--metric", "prob"],
                &["--measure-at", "1"],
                &["--seed", "3"],
                &["--align", "end"],
                &["--window", "2"],
                &["--together"],
            ],
            &[&["--verify", "2"], &["--scale", "1"], &["--over", "layer,pos"], &["--kind", "replace"]],
        ),
        (
            &ablate,
            &[&["--unit", "mlp"], &["--heads", "1"], &["--metric", "kl_to_clean"]],
            &[&["--verify", "1"], &["--unit", "head"]],
        ),
    ];
    for (base, deciding, others) in cases {
        let own = folder(base, &[]);
        let names: BTreeSet<String> = deciding.iter().map(|more| folder(base, more)).chain([own.clone()]).collect();
        assert_eq!(names.len(), deciding.len() + 1, "{base:?}: two requests have one folder");
        for more in others {
            assert_eq!(folder(base, more), own, "{base:?} {more:?}");
        }
    }
}
