//! A Hub cache that others wrote, or began to write: used in place, completed from the same commit, never spoiled.

use std::path::Path;

use pellucid::Result;
use pellucid::error::ErrorKind;
use pellucid::text::{Hub, ModelSource, Tokenizer, Want};

use crate::bin::{Place, fixture};
use crate::hub::fetch::{COMMIT, repo, tiny, weights};
use crate::hub::server::{Server, etag, files, sha256};

const LATER: &str = "11c5a3d5811f50298f278a704980280950aedb10";

/// Writes files into a snapshot as Python does.
fn python_wrote(repo: &Path, commit: &str, files: &[(&str, Vec<u8>)]) {
    for folder in ["blobs", "refs", &format!("snapshots/{commit}")] {
        fs_err::create_dir_all(repo.join(folder)).unwrap();
    }
    fs_err::write(repo.join("refs/main"), commit).unwrap();
    for (name, bytes) in files {
        let etag = etag(name, bytes);
        fs_err::write(repo.join("blobs").join(&etag), bytes).unwrap();
        let pointer = repo.join("snapshots").join(commit).join(name);
        #[cfg(unix)]
        std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), pointer).unwrap();
        #[cfg(not(unix))]
        fs_err::write(pointer, bytes).unwrap();
    }
}

/// The demo's files, which have a tokenizer.
fn words(names: &[&'static str]) -> Vec<(&'static str, Vec<u8>)> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo"), names)
}

/// Invariant: as `a_model_is_fetched_once_and_lies_as_huggingface_hub_lays_it`.
#[test]
fn what_python_fetched_is_used_in_place_even_when_the_branch_has_moved() {
    let (server, place) = (Server::new(), Place::new());
    let all = words(&["config.json", "model.safetensors", "tokenizer.json"]);
    server.put("words", LATER, all.clone());
    python_wrote(&place.path("hf/hub/models--words"), COMMIT, &all);
    let before = place.contents();
    let done = server.ok(&place, &["model", "-m", "words", "--format", "csv"]);
    assert!(done.stdout.contains(&format!("revision,{COMMIT}\n")), "{}", done.stdout);
    server.ok(&place, &["tokens", "-m", "words", "Mary"]);
    server.ok(&place, &["model", "-m", &format!("words@{COMMIT}")]);
    assert!(server.asked().is_empty());
    assert!(place.contents() == before, "nothing was written");
}

#[test]
fn what_python_left_out_comes_from_the_commit_that_is_there() -> Result<()> {
    let (server, place) = (Server::new(), Place::new());
    let mut all = words(&["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]);
    all.insert(1, ("pytorch_model.bin", b"weights".to_vec()));
    server.put("words", LATER, all.clone());
    server.world().repos.get_mut("words").unwrap().revisions.insert("old".into(), COMMIT.into());
    let cache = place.path("hub");
    // Python's AutoModel alone, before there were safetensors.
    python_wrote(&cache.join("models--words"), COMMIT, &all[..2]);
    let hub = Hub::at(&cache, &server.endpoint);
    // Without a network it is used as it is.
    let alone = ModelSource::resolve_with("words", Want::All, &hub.clone().offline(true), &())?;
    assert!(Tokenizer::from_files(&alone.files)?.is_none());
    let nobody = Hub::at(&cache, "http://127.0.0.1:9");
    assert_eq!(ModelSource::resolve_with("words", Want::All, &nobody, &())?, alone);

    let source = ModelSource::resolve_with("words", Want::All, &hub, &())?;
    assert_eq!(source.revision.as_deref(), Some(COMMIT));
    assert!(Tokenizer::from_files(&source.files)?.is_some());
    let asked = server.asked();
    assert_eq!(asked[0].path, format!("/api/models/words/revision/{COMMIT}"));
    assert!(asked.iter().all(|a| !a.store), "the weights are there: {asked:?}");
    assert_eq!(fs_err::read_to_string(cache.join("models--words/refs/main"))?, COMMIT);
    Ok(())
}

#[test]
fn a_model_without_a_tokenizer_is_asked_for_one_once() {
    let (server, place) = (tiny(), Place::new());
    let small = files(&fixture("gpt2"), &["config.json", "model.safetensors"]);
    python_wrote(&repo(&place), COMMIT, &small);
    server.ok(&place, &["lens", "--ids", "3", "-m", "org/tiny"]);
    assert_eq!(server.asked().len(), 1);
    server.ok(&place, &["lens", "--ids", "3", "-m", "org/tiny"]);
    assert!(server.asked().is_empty());
    // The mark is Python's.
    assert!(repo(&place).join(".no_exist").join(COMMIT).join("tokenizer.json").is_file());
}

#[test]
#[cfg(unix)]
fn links_to_blobs_that_are_gone_are_made_good() {
    let (server, place) = (tiny(), Place::new());
    let lens = ["lens", "--ids", "3", "-m", "org/tiny"];
    server.ok(&place, &lens);
    fs_err::remove_file(repo(&place).join("blobs").join(sha256(&weights()))).unwrap();
    server.asked();
    server.ok(&place, &lens);
    assert_eq!(server.asked().iter().filter(|a| a.store).count(), 1);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let (server, place) = (tiny(), Place::new());
    place.write("hf", "a file");
    let done = server.run(&place, &["hooks", "--quiet", "-m", "org/tiny"]);
    done.is_refusal("a file in the way", 1, "cannot write ");
    assert!(done.stderr.contains("set HF_HOME to another"), "{}", done.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named() {
    let (server, place) = (tiny(), Place::new());
    fs_err::create_dir_all(repo(&place).join("blobs")).unwrap();
    let part = repo(&place).join("blobs").join(format!("{}.incomplete", sha256(&weights())));
    std::os::unix::fs::symlink("/dev/full", part).unwrap();
    let done = server.run(&place, &["lens", "--quiet", "--ids", "3", "-m", "org/tiny"]);
    done.is_refusal("a full disk", 1, "No space left");
    assert!(done.stderr.contains("hint: free some disk space"), "{}", done.stderr);
}

/// Invariant: as `a_model_is_fetched_once_and_lies_as_huggingface_hub_lays_it`.
#[test]
fn offline_nobody_is_asked() {
    let (server, place) = (tiny(), Place::new());
    let args = ["lens", "--ids", "3", "-m", "org/tiny"];
    let offline = [&args[..], &["--offline"]].concat();
    let done = server.run(&place, &offline);
    done.is_refusal("offline", 2, "there is no model `org/tiny`: neither a folder ");
    assert!(done.stderr.contains("hint: leave out --offline or unset HF_HUB_OFFLINE"), "{}", done.stderr);
    for (name, value, code) in
        [("HF_HUB_OFFLINE", "yes", 2), ("TRANSFORMERS_OFFLINE", "1", 2), ("HF_HUB_OFFLINE", "0", 0)]
    {
        let elsewhere = Place::new();
        let output = server.command(&elsewhere, &args).env(name, value).output().unwrap();
        assert_eq!((output.status.code(), server.asked().is_empty()), (Some(code), code == 2), "{name}={value}");
    }
    // A part of a model is not a model.
    server.ok(&place, &["hooks", "-m", "org/tiny"]);
    server.asked();
    server.run(&place, &offline).is_refusal("offline", 1, "has no weights");
    server.ok(&place, &args);
    server.asked();
    server.ok(&place, &offline);
    assert!(server.asked().is_empty());
}

#[test]
fn a_hub_that_may_not_be_asked_stays_so() {
    let hub = Hub::at("nowhere", "http://127.0.0.1:9").offline(true).offline(false);
    let error = ModelSource::resolve_with("org/tiny", Want::All, &hub, &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuch);
}
