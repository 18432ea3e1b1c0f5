//! Where a model's files are: folders, the Hub cache, and what is said when they are not there.

use std::path::{Path, PathBuf};

use pellucid::error::{Error, ErrorKind, Result};
use pellucid::text::{Files, Hub, ModelSource, Want};

const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

/// Writes empty `files` below `root`, with the folders that they need.
fn touch(root: &Path, files: &[&str]) -> Result<()> {
    for file in files {
        let path = root.join(file);
        fs_err::create_dir_all(path.parent().unwrap_or(root))?;
        fs_err::write(path, "{}")?;
    }
    Ok(())
}

/// A Hub cache with gpt2 at one commit.
fn cache(root: &Path) -> Result<PathBuf> {
    let snapshot = format!("models--gpt2/snapshots/{COMMIT}");
    touch(root, &[&format!("{snapshot}/config.json"), &format!("{snapshot}/model.safetensors")])?;
    touch(root, &["models--gpt2/refs/main", "models--gpt2/refs/refs/pr/1"])?;
    fs_err::write(root.join("models--gpt2/refs/main"), COMMIT)?;
    fs_err::write(root.join("models--gpt2/refs/refs/pr/1"), COMMIT)?;
    Ok(root.to_owned())
}

/// The model of this name, with the Hub cache at `cache` and without a network.
pub fn offline(name: &str, cache: &Path) -> Result<ModelSource> {
    let hub = Hub::at(cache, "https://huggingface.co").offline(true);
    ModelSource::resolve_with(name, Want::All, &hub, &())
}

fn fails(name: &str, cache: &Path) -> Error {
    offline(name, cache).expect_err("this name must not resolve")
}

fn hint(error: &Error) -> &str {
    error.hint_text().expect("every error here has a hint")
}

#[test]
fn a_folder_is_a_model_by_its_name() -> Result<()> {
    let root = tempfile::tempdir()?;
    touch(root.path(), &["tiny/config.json", "tiny/model.safetensors"])?;
    let dir = root.path().join("tiny");
    let source = ModelSource::resolve(&dir.display().to_string())?;
    assert_eq!(
        source,
        ModelSource {
            id: "tiny".into(),
            revision: None,
            files: Files::Folder(dir.clone()),
            accepted: Default::default()
        }
    );
    let weights: Vec<String> = source.weights()?.iter().map(|file| file.to_string()).collect();
    assert_eq!((source.config()?, weights), ("{}".into(), vec![dir.join("model.safetensors").display().to_string()]));
    let dotted = ModelSource::resolve(&format!("{}/.", dir.display()))?;
    assert_eq!(dotted.id, "tiny");
    Ok(())
}

#[test]
fn a_hub_id_is_found_in_the_cache_by_branch_commit_and_pull_request() -> Result<()> {
    let root = tempfile::tempdir()?;
    let cache = cache(root.path())?;
    for name in ["gpt2", "gpt2@main", &format!("gpt2@{COMMIT}"), "gpt2@refs/pr/1"] {
        let source = offline(name, &cache)?;
        assert_eq!((&source.id[..], source.revision.as_deref()), ("gpt2", Some(COMMIT)), "{name}");
        assert_eq!(source.files, Files::Folder(cache.join("models--gpt2/snapshots").join(COMMIT)));
    }
    let snapshot = "models--org--name/snapshots/abc";
    touch(&cache, &[&format!("{snapshot}/config.json"), &format!("{snapshot}/model.safetensors")])?;
    assert_eq!(offline("org/name@abc", &cache)?.id, "org/name");
    Ok(())
}

#[test]
fn a_model_that_is_nowhere_says_where_it_was_looked_for() -> Result<()> {
    let root = tempfile::tempdir()?;
    let cache = cache(root.path())?;
    let error = fails("org/nothing-like-it", &cache);
    assert_eq!(error.kind(), ErrorKind::NoSuch);
    assert!(error.message().contains(&cache.display().to_string()), "{error}");
    assert!(error.message().contains("org/nothing-like-it"), "{error}");
    assert_eq!(hint(&error), "leave out `offline` or unset HF_HUB_OFFLINE, and it is fetched; or give a folder");

    assert!(hint(&fails("gtp2", &cache)).starts_with("did you mean gpt2?"));
    touch(&cache, &["models--openai-community--gpt2-large/refs/main"])?;
    assert!(hint(&fails("gpt2-large", &cache)).starts_with("did you mean openai-community/gpt2-large?"));

    let error = fails("gpt2@v9", &cache);
    assert!(error.message().ends_with("has `gpt2`, but not its revision `v9`"), "{error}");
    assert!(hint(&error).contains("gpt2@main") && hint(&error).contains("`offline`"), "{error:?}");
    Ok(())
}

#[test]
fn a_mistyped_folder_gets_the_nearest_one() -> Result<()> {
    let root = tempfile::tempdir()?;
    touch(root.path(), &["stories260k/config.json"])?;
    let error = fails(&root.path().join("storys260k").display().to_string(), root.path());
    assert_eq!(hint(&error), format!("did you mean {}?", root.path().join("stories260k").display()));

    let error = fails(&root.path().display().to_string(), root.path());
    assert!(error.message().ends_with("has no config.json, so it is not a model folder"), "{error}");
    assert_eq!(hint(&error), format!("did you mean {}?", root.path().join("stories260k").display()));

    let file = root.path().join("stories260k/config.json");
    let error = fails(&file.display().to_string(), root.path());
    assert!(error.message().ends_with("is a file, but a model is a folder"), "{error}");
    assert!(hint(&error).ends_with("stories260k"));
    Ok(())
}

#[test]
fn demo_is_built_in_wherever_it_is_asked_for() -> Result<()> {
    let root = tempfile::tempdir()?;
    let cache = cache(root.path())?;
    touch(&cache, &["models--demo/refs/main", "demo/config.json"])?;
    let demo = offline("demo", &cache)?;
    assert_eq!((&demo.id[..], &demo.revision, demo.files.to_string()), ("demo", &None, "built in".into()));
    let folder = offline(&root.path().join("demo").display().to_string(), &cache)?;
    assert_eq!((&folder.id[..], folder.config()?), ("demo", "{}".into()));

    let error = fails("demo@v2", &cache);
    assert_eq!(error.to_string(), "the model `demo` is built in, and has no revision `v2`");
    assert_eq!((error.kind(), hint(&error)), (ErrorKind::NoSuch, "write demo alone"));
    assert!(hint(&fails("dmeo", &cache)).starts_with("did you mean demo?"));
    Ok(())
}

/// Invariant: No model name leads outside the cache, and no shard outside its folder.
#[test]
fn names_do_not_leave_the_cache() -> Result<()> {
    let root = tempfile::tempdir()?;
    let cache = cache(&root.path().join("hub"))?;
    touch(root.path(), &["secret/config.json", "hub/models--gpt2/refs/evil"])?;
    fs_err::write(cache.join("models--gpt2/refs/evil"), "../../../secret")?;
    for name in ["gpt2@../../secret", "gpt2@", "org/..", "a b", "", "gpt2@/etc", "gpt2@evil"] {
        let error = fails(name, &cache);
        assert!(matches!(error.kind(), ErrorKind::BadInput | ErrorKind::NoSuch), "{name}: {error}");
    }
    Ok(())
}

#[test]
fn an_unfinished_download_is_named() -> Result<()> {
    let root = tempfile::tempdir()?;
    touch(root.path(), &["models--a--b/snapshots/abc/model.safetensors"])?;
    let error = fails("a/b@abc", root.path());
    assert!(error.message().ends_with("has no config.json"), "{error}");
    assert!(hint(&error).starts_with("its download was not finished; leave out `offline`"));
    Ok(())
}

/// What comes of a folder whose index of shards is `index`.
fn sharded(index: &str) -> Result<Vec<String>> {
    let root = tempfile::tempdir()?;
    touch(root.path(), &["config.json", "a.safetensors", "b.safetensors"])?;
    fs_err::write(root.path().join("model.safetensors.index.json"), index)?;
    let source = ModelSource::resolve(&root.path().display().to_string())?;
    Ok(source.weights()?.iter().map(|file| file.name().to_owned()).collect())
}

#[test]
fn shards_are_each_file_of_the_index_once() -> Result<()> {
    let index = r#"{"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}"#;
    assert_eq!(sharded(index)?, ["a.safetensors", "b.safetensors"]);
    Ok(())
}

/// Invariant: as `names_do_not_leave_the_cache`.
#[test]
fn an_index_cannot_reach_outside_its_folder() {
    for name in ["../a.safetensors", "/etc/passwd", "x/a.safetensors", "..", "", r"..\\a", "./a.safetensors"] {
        let error = sharded(&format!(r#"{{"weight_map": {{"x": "{name}"}}}}"#)).expect_err(name);
        assert!(error.message().contains("puts `x` into"), "{error}");
    }
    for (index, says) in [
        (r#"{"weight_map": {"x": 3}}"#, "not a file name"),
        (r#"{"weight_map": {"x": "c.safetensors"}}"#, "names c.safetensors, which is missing"),
        (r#"{"weight_map": {}}"#, "names no shards"),
        ("{}", "has no \"weight_map\""),
        ("{", "is not valid JSON"),
    ] {
        let error = sharded(index).expect_err(index);
        assert!(error.message().contains(says), "{error}");
    }
}

#[test]
fn missing_weights_are_explained() -> Result<()> {
    let root = tempfile::tempdir()?;
    touch(root.path(), &["config.json"])?;
    let source = ModelSource::resolve(&root.path().display().to_string())?;
    assert!(source.weights().expect_err("no weights").message().contains("has no model.safetensors"));
    // What torch.save wrote comes after safetensors, and what Hugging Face names before what anybody does.
    let found = || -> Result<Vec<String>> { Ok(source.weights()?.iter().map(|file| file.name().to_owned()).collect()) };
    touch(root.path(), &["optimizer.pt", "rng_state.pth", "model.pt"])?;
    assert_eq!(found()?, ["model.pt"]);
    touch(root.path(), &["other.pth"])?;
    assert!(found().unwrap_err().message().contains("model.pt and other.pth"));
    touch(root.path(), &["pytorch_model.bin"])?;
    assert_eq!(found()?, ["pytorch_model.bin"]);
    touch(root.path(), &["model.safetensors"])?;
    assert_eq!(found()?, ["model.safetensors"]);
    Ok(())
}
