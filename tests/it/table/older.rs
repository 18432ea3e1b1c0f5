//! Tables that version 1 wrote, read and drawn by this one: the files in `tests/fixtures/version1` are of pellucid 0.1.0 at its
//! commit 7356bd8, and say neither what was done nor whether it changed anything.

use std::path::PathBuf;

use pellucid::analysis::seen::render;
use pellucid::analysis::{
    AttentionRow, AttributionRow, LensRow, PatchMeanRow, PatchRow, PathMeanRow, PathRow, TokenRow,
};
use pellucid::table::{Row, read_rows};

use crate::bin::{Place, fixture};

fn file(name: &str) -> PathBuf {
    fixture("version1").join(name)
}

fn rows<R: Row>(name: &str) -> Vec<R> {
    let (rows, how) = read_rows::<R>(file(name)).unwrap();
    assert!(how.table_version == 1 && R::TABLE.version > 1, "{name}");
    assert!(!rows.is_empty());
    rows
}

/// Invariant: Tables of an older version can be read and drawn, and it is documented what they do not say.
#[test]
fn rows_of_version_1_say_what_their_command_did() {
    // patch --pairs --at resid_pre --over layer,pos --layers 0,3 --pos 5,10,-1 --window 2 --direction noise --metric logit_diff,rank
    let patches = rows::<PatchRow>("patch.parquet");
    assert_eq!(patches.len(), 2 * 2 * 3 * 2);
    for row in &patches {
        let done = (row.done.kind.as_str(), row.done.direction.as_deref(), row.around.window, row.around.noise);
        assert_eq!(done, ("replace", Some("noise"), 2, None));
        // What was inferred from equal metrics still is: position 5 is the same token in both prompts, and 10 is not.
        let moved = row.measured.patched != Some(row.measured.clean);
        assert_eq!((row.outcome.changed, row.outcome.reached), (moved, moved), "{row:?}");
        assert_eq!(
            moved && row.place.layer == Some(0),
            row.place.pos == Some(10) && row.place.layer == Some(0),
            "{row:?}"
        );
        assert!(row.measured.patched.is_some() && row.outcome.not_finite.is_none());
    }
    for row in rows::<PatchMeanRow>("patch_mean.parquet") {
        assert_eq!(
            (row.done.kind.as_str(), row.done.direction.as_deref(), row.around.window),
            ("replace", Some("noise"), 2)
        );
        let pairs = if row.measured.patched == Some(row.measured.clean) { 0 } else { 2 };
        assert_eq!(
            (row.measured.pairs, row.outcome.changed, row.outcome.reached, row.outcome.not_finite),
            (2, pairs, pairs, 0),
            "{row:?}"
        );
        assert!(row.measured.change.is_some());
    }
    // patch --noise 3 --noise-at 1 --at mlp_out --over layer
    for row in rows::<PatchRow>("traced.parquet") {
        assert_eq!(
            (row.done.kind.as_str(), row.done.direction.as_deref(), row.around.noise),
            ("replace", Some("denoise"), Some(3.0))
        );
        assert_eq!(
            (row.outcome.changed, row.around.noise_at.as_deref()),
            (row.measured.patched != row.measured.corrupt, None)
        );
    }
    // ablate --unit mlp
    for row in rows::<PatchRow>("ablated.parquet") {
        assert_eq!((row.done.kind.as_str(), row.done.direction.as_deref(), row.outcome.changed), ("mean", None, true));
    }
    // path --pairs --from z --over layer --kind zero --to logits
    for row in rows::<PathRow>("path.parquet") {
        assert_eq!((row.done.kind.as_str(), row.done.direction.as_deref()), ("zero", Some("denoise")));
        assert_eq!(row.outcome.changed, row.measured.patched != row.measured.corrupt);
    }
    for row in rows::<PathMeanRow>("path_mean.parquet") {
        assert_eq!(
            (row.done.kind.as_str(), row.done.direction.as_deref(), row.measured.pairs),
            ("zero", Some("denoise"), 2)
        );
    }
    // attribute --pairs --at attn_out --direction noise --confirm 3
    let estimates = rows::<AttributionRow>("attribution.parquet");
    for row in &estimates {
        assert_eq!((row.kind.as_str(), row.direction.as_str()), ("replace", "noise"));
        assert_eq!(row.changed, row.estimate != 0.0);
    }
    assert_eq!(estimates.iter().filter(|r| r.exact.is_some()).count(), 6);
    // attention "Mary had"
    for row in rows::<AttentionRow>("attention.parquet") {
        assert_eq!((row.first_key, row.last_key), (row.key_pos, row.key_pos));
    }
}

/// Version 2 of attention, of pellucid 0.1.0 at its commit 525d764: nothing is known of what keys carried.
///
/// Invariant: as `rows_of_version_1_say_what_their_command_did`.
#[test]
fn attention_of_version_2_is_read_and_drawn() {
    let file = fixture("version2").join("attention.parquet");
    let (rows, how) = read_rows::<AttentionRow>(&file).unwrap();
    assert_eq!((how.table_version, AttentionRow::TABLE.version), (2, 3));
    for row in &rows {
        assert_eq!((row.first_key, row.last_key), (0, row.query_pos));
        assert_eq!((row.score, row.out_norm, row.share, row.push, &row.target), (None, None, None, None, &None));
    }
    let names: Vec<String> = render(&file).unwrap().into_iter().map(|figure| figure.name).collect();
    assert!(names.len() == 2 && names[1] == "attention", "{names:?}");
}

/// Invariant: as `rows_of_version_1_say_what_their_command_did`.
#[test]
fn tables_of_version_1_are_drawn() {
    let place = Place::new();
    let all = ["patch", "patch_mean", "traced", "ablated", "path", "path_mean", "attribution", "attention"];
    for name in all {
        let file = file(&format!("{name}.parquet"));
        let drawn = render(&file).unwrap();
        place.ok(["chart", &file.display().to_string(), "--out", name]);
        for figure in drawn {
            assert_eq!(place.read(&format!("{name}/{}.svg", figure.name)), figure.svg.as_bytes());
        }
    }
}

/// Version 2 of tokens, of pellucid 0.1.0 at its commit 78aae05: nothing is known of chats.
///
/// Invariant: as `rows_of_version_1_say_what_their_command_did`.
#[test]
fn tokens_of_version_2_are_read_and_drawn() {
    let file = fixture("version2").join("tokens.parquet");
    let (rows, how) = read_rows::<TokenRow>(&file).unwrap();
    assert_eq!((how.table_version, TokenRow::TABLE.version), (2, 3));
    assert!(rows.len() > 2 && rows.iter().all(|row| row.part.is_none() && row.group.is_some()));
    assert_eq!(render(&file).unwrap().len(), 1);
}

/// Version 1 of the lens, of pellucid 0.1.0 at its commit acc697d: there is no foil.
///
/// Invariant: as `rows_of_version_1_say_what_their_command_did`.
#[test]
fn lenses_of_version_1_are_read_and_drawn() {
    // lens "Mary and John went to the" --pos -1 --top 2 --target " store"
    let lenses = rows::<LensRow>("logit_lens.parquet");
    assert_eq!(lenses.len(), 4 * 2);
    for row in &lenses {
        assert_eq!((row.target.as_deref(), row.target_rank.is_some()), (Some(" store"), true));
        assert_eq!(
            (&row.foil, row.foil_id, row.foil_logit, row.foil_prob, row.logit_diff),
            (&None, None, None, None, None)
        );
    }
    assert_eq!(render(file("logit_lens.parquet")).unwrap().len(), 1);
}
