//! Models fetched from a Hub: only what is needed, resumed where it broke off, checked, and never fetched twice.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pellucid::Result;
use pellucid::error::ErrorKind;
use pellucid::hook::Cache;
use pellucid::model::{Batch, Model};
use pellucid::text::{Fetching, Hub, ModelSource, Want};

use crate::bin::{Done, Place, fixture, model};
use crate::hub::server::{Asked, Fault, SIGNATURE, Server, etag, files, sha256};

pub const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";
const LATER: &str = "11c5a3d5811f50298f278a704980280950aedb10";
const LENS: [&str; 8] = ["lens", "--ids", "3,1,4", "--format", "csv", "--quiet", "-m", "org/tiny"];

/// A Hub with a small model, and much beside it that nobody reads.
pub fn tiny() -> Server {
    let server = Server::new();
    let mut all = files(&fixture("gpt2"), &["config.json", "model.safetensors"]);
    let beside =
        ["README.md", "pytorch_model.bin", "tf_model.h5", "generation_config.json", "onnx/model.onnx", "training.pt"];
    all.extend(beside.map(|name| (name, b"not read".to_vec())));
    server.put("org/tiny", COMMIT, all);
    server
}

pub fn weights() -> Vec<u8> {
    fs_err::read(fixture("gpt2").join("model.safetensors")).unwrap()
}

/// The folder of `org/tiny` in the cache.
pub fn repo(place: &Place) -> PathBuf {
    place.path("hf/hub/models--org--tiny")
}

/// The unfinished file of its weights.
fn part(place: &Place) -> PathBuf {
    repo(place).join("blobs").join(format!("{}.incomplete", sha256(&weights())))
}

/// What was asked, without where and by whom.
fn paths(asked: &[Asked]) -> Vec<String> {
    asked.iter().map(|a| format!("{} {}", a.method, a.path.split('?').next().unwrap())).collect()
}

/// What the store of large files was asked for: where each request began.
fn ranges(asked: &[Asked]) -> Vec<Option<&str>> {
    asked.iter().filter(|a| a.store).map(|a| a.range.as_deref()).collect()
}

/// Invariant: The Hub is asked only for what is missing; what is in the cache needs no network, whoever fetched it.
#[test]
fn a_model_is_fetched_once_and_lies_as_huggingface_hub_lays_it() -> Result<()> {
    let (server, place) = (tiny(), Place::new());
    let first = server.ok(&place, &LENS);
    let file = |name: &str| format!("/org/tiny/resolve/{COMMIT}/{name}");
    let api = |revision: &str| format!("GET /api/models/org/tiny/revision/{revision}");
    let asked = server.asked();
    let store = format!("GET /{}", sha256(&weights()));
    // The configuration comes first: a model that cannot be run costs nothing more.
    let config = ["HEAD", "HEAD", "GET", "GET"].into_iter().zip(["", "/cached", "", "/cached"]);
    let mut expected = vec![api("main")];
    expected.extend(config.map(|(method, place)| format!("{method} {place}{}", file("config.json"))));
    expected.push(api(COMMIT));
    let generation = ["HEAD", "HEAD", "GET", "GET"].into_iter().zip(["", "/cached", "", "/cached"]);
    let generation = generation.map(|(method, place)| format!("{method} {place}{}", file("generation_config.json")));
    let generation: Vec<String> = generation.collect();
    expected.extend_from_slice(&generation[..2]);
    expected.push(format!("HEAD {}", file("model.safetensors")));
    expected.extend_from_slice(&generation[2..]);
    expected.push(format!("GET {}", file("model.safetensors")));
    expected.push(store);
    assert_eq!(paths(&asked), expected);

    let repo = repo(&place);
    assert_eq!(fs_err::read_to_string(repo.join("refs/main"))?, COMMIT);
    for name in ["config.json", "model.safetensors"] {
        let bytes = fs_err::read(fixture("gpt2").join(name))?;
        let link = fs_err::read_link(repo.join("snapshots").join(COMMIT).join(name))?;
        assert_eq!(link, Path::new("../../blobs").join(etag(name, &bytes)));
        assert_eq!(fs_err::read(repo.join("snapshots").join(COMMIT).join(name))?, bytes);
    }
    let in_folder = |path: &str| fs_err::read_dir(repo.join(path)).unwrap().count();
    assert_eq!((in_folder("blobs"), in_folder(&format!("snapshots/{COMMIT}"))), (3, 3));

    // The same numbers as from a folder, and from which commit they are.
    let folder =
        place.ok(["lens", "--ids", "3,1,4", "--format", "csv", "--quiet", "--out", "folder", "-m", &model("gpt2")]);
    assert_eq!(first.stdout, folder.stdout);
    let facts = server.ok(&place, &["model", "-m", "org/tiny", "--format", "csv"]).stdout;
    assert!(facts.contains("model,org/tiny\n") && facts.contains(&format!("revision,{COMMIT}\n")), "{facts}");

    // From here on nobody is asked, whatever happens there.
    server.world().repos.clear();
    for name in ["org/tiny", "org/tiny@main", &format!("org/tiny@{COMMIT}")] {
        server.ok(&place, &["lens", "--ids", "3,1,4", "-m", name]);
    }
    assert_eq!(paths(&server.asked()), Vec::<String>::new());
    Ok(())
}

#[test]
fn the_library_fetches_as_the_program_does() -> Result<()> {
    let (server, place) = (tiny(), Place::new());
    let hub = Hub::at(place.path("hub"), format!("{}/", server.endpoint));
    let source = ModelSource::resolve_with("org/tiny", Want::All, &hub, &())?;
    assert_eq!((&source.id[..], source.revision.as_deref()), ("org/tiny", Some(COMMIT)));
    let run = |model: Model| -> Result<Vec<f32>> {
        let mut cache = Cache::new(model.spec(), "logits")?;
        model.forward(&Batch::one([3, 1, 4]), &mut [&mut cache])?;
        Ok(cache.get("logits")?.flatten_all()?.to_vec1()?)
    };
    assert_eq!(run(Model::from_source(&source)?)?, run(Model::load(&fixture("gpt2"))?)?);
    // Without a network, from what is there.
    let again = crate::text::source::offline("org/tiny", &place.path("hub"))?;
    assert_eq!(again, source);
    Ok(())
}

#[test]
fn a_branch_a_tag_and_a_commit_are_what_the_hub_says() {
    let (server, place) = (tiny(), Place::new());
    let revisions =
        [("step3000", LATER), ("refs/pr/1", COMMIT)].map(|(name, commit)| (name.to_owned(), commit.to_owned()));
    server.world().repos.get_mut("org/tiny").unwrap().revisions.extend(revisions);
    for (name, commit, says) in [
        ("step3000", LATER, Some("step3000")),
        ("refs/pr/1", COMMIT, Some("refs%2Fpr%2F1")),
        (LATER, LATER, None),
        ("main", COMMIT, Some("main")),
    ] {
        let done = server.ok(&place, &["model", "--format", "csv", "-m", &format!("org/tiny@{name}")]);
        assert!(done.stdout.contains(&format!("revision,{commit}\n")), "{name}: {}", done.stdout);
        let asked = paths(&server.asked());
        match says {
            Some(says) => assert_eq!(asked[0], format!("GET /api/models/org/tiny/revision/{says}")),
            None => assert!(asked.is_empty(), "{asked:?}"),
        }
        let remembered = fs_err::read_to_string(repo(&place).join("refs").join(name));
        assert_eq!(remembered.ok().as_deref(), says.map(|_| commit), "{name}");
        // The same bytes at another commit are the same blob.
        let fetched = asked.iter().filter(|path| path.ends_with(&sha256(&weights()))).count();
        assert_eq!(fetched, usize::from(name == "step3000"), "{asked:?}");
    }
}

/// Invariant: as `a_model_is_fetched_once_and_lies_as_huggingface_hub_lays_it`.
#[test]
fn a_command_fetches_what_it_reads() {
    let server = Server::new();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let mut all = files(&demo, &["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    all.extend([("vocab.json", b"{}".to_vec()), ("merges.txt", vec![]), ("special_tokens_map.json", b"{}".to_vec())]);
    all.push(("chat_template.jinja", b"{% for m in messages %}They said: {{ m.content }}{% endfor %}".to_vec()));
    server.put("words", COMMIT, all);
    let place = Place::new();
    let mut known: Vec<String> = vec![];
    for (args, more) in [
        (vec!["hooks", "-m", "words"], vec!["config.json"]),
        (
            vec!["tokens", "-m", "words", "Mary"],
            vec!["chat_template.jinja", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"],
        ),
        (vec!["tokens", "-m", "words", "--chat", "Mary"], vec![]),
        (vec!["lens", "-m", "words", "Mary"], vec!["model.safetensors"]),
        (vec!["lens", "-m", "words", "Mary"], vec![]),
    ] {
        let done = server.ok(&place, &args);
        assert_eq!(done.stderr.contains("fetching words from 127.0.0.1"), !more.is_empty(), "{}", done.stderr);
        known.extend(more.iter().map(|name| (*name).to_owned()));
        known.sort();
        let snapshot = place.path("hf/hub/models--words/snapshots").join(COMMIT);
        let mut here: Vec<_> =
            fs_err::read_dir(snapshot).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        here.sort();
        assert_eq!(here, known, "{args:?}");
    }
    let shown = server.ok(&place, &["tokens", "-m", "words", "Mary", "--format", "csv"]).stdout;
    let chat = server.ok(&place, &["tokens", "-m", "words", "--chat", "Mary", "--format", "csv"]).stdout;
    assert!(chat.contains(",template\n") && chat.contains("user\n"), "{chat}");
    // The same rows, but for the model's name.
    assert_eq!(shown.replace(",words,", ",demo,"), place.ok(["tokens", "Mary", "--format", "csv"]).stdout);
}

#[test]
fn safetensors_come_before_bin_and_an_index_before_its_shards() {
    let torch = fixture("torch");
    let shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
    let bin = || files(&torch, &["config.json", "pytorch_model.bin.index.json", shards[0], shards[1]]);
    let index =
        br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#;
    let mut both = bin();
    both.push(("model.safetensors.index.json", index.to_vec()));
    both.extend(["model-1.safetensors", "model-2.safetensors", "model-3.safetensors"].map(|name| (name, name.into())));
    let (server, place) = (Server::new(), Place::new());
    server.put("bin", COMMIT, bin());
    server.put("both", COMMIT, both);
    let hub = Hub::at(place.path("hub"), &server.endpoint);
    for (name, expected) in [("bin", &shards[..]), ("both", &["model-1.safetensors", "model-2.safetensors"])] {
        let source = ModelSource::resolve_with(name, Want::All, &hub, &()).unwrap();
        let weights = source.weights().unwrap();
        assert_eq!(weights.iter().map(|file| file.name()).collect::<Vec<_>>(), expected);
        let got: Vec<_> = server.asked().into_iter().filter(|a| a.store).collect();
        assert_eq!(got.len(), 2, "{got:?}");
    }
    assert_eq!(server.ok(&place, &["model", "-m", "bin", "--format", "csv"]).stdout.matches("\nweights,").count(), 2);
}

#[test]
fn a_model_that_has_another_name_now_is_found_under_the_old_one() {
    let (server, place) = (tiny(), Place::new());
    let moved = |server: &Server| {
        let mut world = server.world();
        let tiny = world.repos["org/tiny"].clone();
        world.repos.insert("tiny".into(), crate::hub::server::Repo { moved_to: Some("org/tiny".into()), ..tiny });
    };
    moved(&server);
    server.ok(&place, &["lens", "--ids", "3", "-m", "tiny"]);
    // As Python has it: under the name that was asked for.
    assert!(place.path("hf/hub/models--tiny/refs/main").is_file());
}

/// Invariant: A download resumes where it broke off, and gets its name only when it is complete and its checksum is right.
#[test]
fn a_dropped_connection_goes_on_from_where_it_broke() {
    let (server, place) = (tiny(), Place::new());
    server.fault(&sha256(&weights()), Fault::Drop(10_000), 2);
    server.ok(&place, &LENS);
    assert_eq!(ranges(&server.asked()), [None, Some("bytes=10000-"), Some("bytes=20000-")]);
    assert_eq!(fs_err::read(repo(&place).join("snapshots").join(COMMIT).join("model.safetensors")).unwrap(), weights());
    assert!(!part(&place).exists());
}

/// Invariant: as `a_dropped_connection_goes_on_from_where_it_broke`.
#[test]
fn a_later_run_goes_on_where_an_earlier_one_was_cut_off() {
    let wrong: Vec<u8> = weights()[..5000].iter().map(|b| b ^ 1).collect();
    let long = [weights(), b"more".to_vec()].concat();
    type Case<'a> = (&'a str, &'a [u8], &'a [Option<&'a str>]);
    let cases: [Case; 5] = [
        ("a half", &weights()[..5000], &[Some("bytes=5000-")]),
        ("all of it", &weights(), &[]),
        ("another file's half", &wrong, &[Some("bytes=5000-"), None]),
        ("too much", &long, &[None]),
        ("nothing", b"", &[None]),
    ];
    for (what, bytes, asked) in cases {
        let (server, place) = (tiny(), Place::new());
        fs_err::create_dir_all(repo(&place).join("blobs")).unwrap();
        fs_err::write(part(&place), bytes).unwrap();
        server.ok(&place, &LENS);
        assert_eq!(ranges(&server.asked()), asked, "{what}");
        assert_eq!(fs_err::read(repo(&place).join("blobs").join(sha256(&weights()))).unwrap(), weights(), "{what}");
        assert!(!part(&place).exists(), "{what}");
    }
}

#[test]
fn a_server_that_knows_no_ranges_sends_all_again() {
    let (server, place) = (tiny(), Place::new());
    fs_err::create_dir_all(repo(&place).join("blobs")).unwrap();
    fs_err::write(part(&place), &weights()[..5000]).unwrap();
    server.fault(&sha256(&weights()), Fault::NoRange, 1);
    server.ok(&place, &LENS);
    assert_eq!(ranges(&server.asked()), [Some("bytes=5000-")]);
    assert_eq!(fs_err::read(repo(&place).join("blobs").join(sha256(&weights()))).unwrap(), weights());
}

#[test]
fn a_server_that_is_unwell_for_a_moment_is_asked_again() {
    let (server, place) = (tiny(), Place::new());
    for part in ["/api/models/", "resolve", &sha256(&weights())] {
        server.fault(part, Fault::Status(503), 1);
    }
    server.ok(&place, &LENS);
}

/// Invariant: The token goes to the Hub alone, and appears in no message and no file.
#[test]
fn the_token_is_told_to_the_hub_and_to_nobody_else() {
    let secret = "hf_aVerySecretToken";
    let place = Place::new();
    place.write("token-file", format!("{secret}\n"));
    place.write("home/token", secret);
    for (name, value) in [
        ("HF_TOKEN", secret.to_owned()),
        ("HF_TOKEN_PATH", place.path("token-file").display().to_string()),
        ("HF_HOME", place.path("home").display().to_string()),
    ] {
        let server = tiny();
        server.world().tokens.insert(secret.into(), true);
        server.world().repos.get_mut("org/tiny").unwrap().gated = true;
        let cache = place.path(name);
        let mut command = server.command(&place, &["lens", "--verbose", "--ids", "3", "-m", "org/tiny", "--out"]);
        command.arg(place.path(&format!("out-{name}"))).env("HF_HUB_CACHE", &cache).env(name, value);
        let done = Done::from(command.output().unwrap());
        assert_eq!(done.code, Some(0), "{name}: {}", done.stderr);
        let (store, hub): (Vec<_>, Vec<_>) = server.asked().into_iter().partition(|a| a.store);
        assert_eq!(store.len(), 1);
        assert_eq!(store[0].authorization, None, "the store's address is all the right that it needs");
        for asked in hub {
            assert_eq!(asked.authorization.as_deref(), Some(&*format!("Bearer {secret}")), "{name}: {asked:?}");
        }
        assert!(!format!("{}{}", done.stdout, done.stderr).contains(secret), "{}", done.stderr);
    }
    // Nor does it stand in any result, log or file of the cache, and neither does the store's signature.
    for (path, bytes) in place.contents() {
        let given = path.ends_with("token-file") || path.ends_with("home/token");
        let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        assert!(given || !text.contains(secret), "{}", path.display());
        assert!(!text.contains(SIGNATURE), "{}", path.display());
    }
}

/// Invariant: as `a_dropped_connection_goes_on_from_where_it_broke`.
#[test]
fn two_at_once_fetch_it_once() {
    let (server, place) = (tiny(), Place::new());
    let children: Vec<Child> = (0..4)
        .map(|i| {
            let mut command = server.command(&place, &LENS);
            command.arg("--out").arg(place.path(&format!("out{i}"))).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let done: Vec<Done> = children.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect();
    for one in &done {
        assert_eq!((one.code, &one.stdout), (Some(0), &done[0].stdout), "{}", one.stderr);
    }
    assert_eq!(ranges(&server.asked()), [None]);
    assert!(!part(&place).exists());
}

/// Invariant: as `a_dropped_connection_goes_on_from_where_it_broke`.
#[test]
#[cfg(unix)]
fn ctrl_c_leaves_what_can_be_resumed() {
    let (server, place) = (tiny(), Place::new());
    server.fault(&sha256(&weights()), Fault::Stall(7000), 1);
    let mut command = server.command(&place, &LENS);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while fs_err::metadata(part(&place)).map_or(0, |m| m.len()) < 7000 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing came");
        std::thread::sleep(Duration::from_millis(10));
    }
    let stopped = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let done = Done::from(child.wait_with_output().unwrap());
    // Far from the seconds that the server would have kept silent.
    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
    done.is_refusal("ctrl-c", 130, "interrupted; what was fetched is kept");
    let blobs: Vec<_> = fs_err::read_dir(repo(&place).join("blobs")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(blobs.len(), 3, "config.json, generation_config.json, and the beginning of the weights: {blobs:?}");
    assert_eq!(fs_err::read(part(&place)).unwrap(), &weights()[..7000]);
    server.asked();
    server.ok(&place, &LENS);
    assert_eq!(ranges(&server.asked()), [Some("bytes=7000-")]);
}

#[test]
fn progress_is_told_and_can_stop_it() {
    struct Stops(std::cell::RefCell<Vec<(u64, u64)>>, u64);
    impl Fetching for Stops {
        fn at(&self, done: u64, total: u64) -> Result<()> {
            self.0.borrow_mut().push((done, total));
            let stop = || pellucid::Error::of_kind(ErrorKind::Interrupted, "enough").hint("go on");
            if total > 0 && done >= self.1 { Err(stop()) } else { Ok(()) }
        }
    }
    let (server, place) = (tiny(), Place::new());
    let hub = Hub::at(place.path("hub"), &server.endpoint);
    let told = Stops(Default::default(), 20_000);
    let error = ModelSource::resolve_with("org/tiny", Want::All, &hub, &told).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Interrupted, "enough"));
    let blobs = place.path("hub/models--org--tiny/blobs");
    assert!(
        !blobs.join(sha256(&weights())).exists() && blobs.join(format!("{}.incomplete", sha256(&weights()))).exists()
    );
    let told = Stops(Default::default(), u64::MAX);
    ModelSource::resolve_with("org/tiny", Want::All, &hub, &told).unwrap();
    let steps = told.0.into_inner();
    assert!(steps.is_sorted(), "it goes forwards: {steps:?}");
    let (done, total) = *steps.last().unwrap();
    // config.json was there from the first time.
    assert_eq!((done, total), (weights().len() as u64, weights().len() as u64));
}
