//! The built-in model: there without any file, whole, and no other than the one in `models/demo`.

use std::path::PathBuf;

use pellucid::error::{Error, Result};
use pellucid::model::{Batch, Model};
use pellucid::session::Session;
use pellucid::text::{File, Files, ModelSource};

use crate::bin::{Done, Place};

const NAMES: [&str; 4] = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo")
}

/// Runs the program where nothing is: no home, no cache, and no network that a proxy could lead to.
#[track_caller]
fn in_nowhere(place: &Place, args: &[&str]) -> Done {
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    for name in ["HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"] {
        command.env(name, place.path("nowhere"));
    }
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let done = Done::from(command.args(args).output().unwrap());
    assert_eq!(done.code, Some(0), "{args:?}\n{}", done.stderr);
    done
}

/// Invariant: The first command needs no file, no home folder and no network.
#[test]
fn the_first_command_needs_no_model_no_home_and_no_network() {
    let place = Place::new();
    let csv = ["--format", "csv", "--pos", "-1", "--top", "1"];
    let lens = |model: &[&str]| in_nowhere(&place, &[&["lens", "Once upon a time"], &csv[..], model].concat()).stdout;
    let rows = lens(&[]);
    let layers = Model::read_spec(&ModelSource::resolve("demo").unwrap()).unwrap().1.n_layers();
    assert_eq!(rows.lines().count(), 1 + layers, "a heading, and the best token of each layer:\n{rows}");
    assert!(rows.contains("hook_resid_post"), "{rows}");
    // The default is `demo` and nothing else, so it is the same run.
    assert_eq!(lens(&["-m", "demo"]), rows);
    place.only_run();

    // A folder of that name is not asked, not even a broken one.
    place.write("demo/config.json", "{");
    assert_eq!(lens(&["-m", "demo"]), rows);
    place.refused(["lens", "-m", "./demo", "text"], 1, "config.json cannot be parsed");

    let facts = in_nowhere(&place, &["model", "--format", "csv"]).stdout;
    assert!(facts.contains("model,demo\n") && facts.contains("folder,built in\n"), "{facts}");
    assert!(facts.contains("\"model.safetensors, "), "{facts}");
    assert!(in_nowhere(&place, &["tokens", "strawberry"]).stdout.contains("10 characters are "));
    assert!(in_nowhere(&place, &["hooks", "blocks.0.attn.*"]).stdout.contains("blocks.0.attn.hook_pattern"));
    let talk = in_nowhere(&place, &["lens", "-v", "text"]).stderr;
    assert!(talk.starts_with("loaded demo (built in): ") && talk.contains(", with a tokenizer\n"), "{talk}");
}

/// Invariant: The built-in model is the one in `models/demo`, and is loaded and checked like any folder.
#[test]
fn what_is_built_in_is_what_the_repository_has() -> Result<()> {
    let built_in = ModelSource::resolve("demo")?;
    assert_eq!(built_in.files.names(), NAMES);
    for name in NAMES {
        let same = built_in.files.read(name)? == Some(fs_err::read(folder().join(name))?);
        assert!(same, "{name} in the program is not the one in models/demo");
    }
    let weights = fs_err::read(folder().join("model.safetensors"))?;
    let loaded = Session::from_source(built_in, &[])?;
    assert_eq!(loaded.weights_hash, format!("blake3:{}", blake3::hash(&weights).to_hex()));

    // Loading refuses a tensor too many and one too few. Here, the numbers: each of the file is one of the model.
    let stored = safetensors::SafeTensors::deserialize(&weights).unwrap();
    let numbers: usize = stored.tensors().iter().map(|(_, t)| t.shape().iter().product::<usize>()).sum();
    assert_eq!(loaded.model.spec().n_params(), numbers);
    let vocabulary = loaded.tokenizer.as_ref().map(|t| t.vocab_size());
    assert_eq!(vocabulary, Some(loaded.model.spec().d_vocab));
    Ok(())
}

/// Invariant: as `what_is_built_in_is_what_the_repository_has`.
#[test]
fn the_built_in_model_gives_the_bits_of_its_folder() -> Result<()> {
    let (built_in, on_disk) = (Session::open("demo")?, Session::open(&folder().display().to_string())?);
    assert_eq!((&built_in.source.id, &built_in.weights_hash), (&on_disk.source.id, &on_disk.weights_hash));
    let bits = |loaded: &Session| -> Result<Vec<u32>> {
        let batch = Batch::one([0, 40, 41, 42, 43, 400, 500, 600]);
        let logits = loaded.model.forward(&batch, &mut [])?.flatten_all()?.to_vec1::<f32>()?;
        assert!(logits.iter().all(|x| x.is_finite()));
        Ok(logits.into_iter().map(f32::to_bits).collect())
    };
    assert!(bits(&built_in)? == bits(&on_disk)?, "the same files give other logits");
    Ok(())
}

/// The demo's files with one of them changed, once in a folder and once as if they had been built in so.
fn changed(name: &str, change: impl Fn(&mut Vec<u8>)) -> Result<[(tempfile::TempDir, ModelSource); 2]> {
    let mut entries: Vec<(&'static str, &'static [u8])> = vec![];
    let dir = tempfile::tempdir()?;
    for of in NAMES {
        let mut bytes = fs_err::read(folder().join(of))?;
        if of == name {
            change(&mut bytes);
        }
        fs_err::write(dir.path().join(of), &bytes)?;
        // The program's own bytes live until it ends, and so do these.
        entries.push((of, Box::leak(bytes.into_boxed_slice())));
    }
    let files = Files::BuiltIn(Box::leak(entries.into_boxed_slice()));
    let built_in = ModelSource { id: "demo".into(), revision: None, files, accepted: Default::default() };
    let on_disk = ModelSource::folder(dir.path())?;
    Ok([(dir, on_disk), (tempfile::tempdir()?, built_in)])
}

/// Invariant: as `what_is_built_in_is_what_the_repository_has`.
#[test]
fn a_damaged_built_in_file_is_refused_as_in_any_folder() -> Result<()> {
    for name in NAMES {
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 3);
        let [(dir, on_disk), (_, built_in)] = changed(name, cut)?;
        let refusal = |source| -> Error { Session::from_source(source, &[]).err().expect(name) };
        let (disk, program) = (refusal(on_disk), refusal(built_in));
        let path = dir.path().join(name).display().to_string();
        assert!(disk.message().contains(name), "{disk}");
        assert_eq!(disk.message().replace(&path, &format!("{name} (built in)")), program.message());
        assert_eq!((disk.kind(), disk.hint_text()), (program.kind(), program.hint_text()), "{name}");
    }
    Ok(())
}

#[test]
fn another_bit_in_a_weight_is_another_hash() -> Result<()> {
    let demo = Session::open("demo")?.weights_hash;
    // The lowest bit of the last number: the model still loads.
    let flip = |bytes: &mut Vec<u8>| {
        let low = bytes.len() - 2;
        bytes[low] ^= 1;
    };
    let [(_dir, on_disk), (_, built_in)] = changed("model.safetensors", flip)?;
    let (disk, program) = (Session::from_source(on_disk, &[])?, Session::from_source(built_in, &[])?);
    assert_eq!(disk.weights_hash, program.weights_hash);
    assert_ne!(disk.weights_hash, demo);
    Ok(())
}

#[test]
fn a_file_says_where_it_is() -> Result<()> {
    let shown =
        |source: &ModelSource| -> Result<Vec<String>> { Ok(source.weights()?.iter().map(File::to_string).collect()) };
    assert_eq!(shown(&ModelSource::resolve("demo")?)?, ["model.safetensors (built in)"]);
    let path = folder().join("model.safetensors").display().to_string();
    assert_eq!(shown(&ModelSource::folder(&folder())?)?, [path]);
    Ok(())
}
