//! What a Hub is not trusted with: a token on a line that others can read, and a disk that it could fill.

use crate::bin::{Done, Place, fixture};
use crate::hub::fetch::{COMMIT, repo, tiny, weights};
use crate::hub::server::{Fault, Server, files, sha256};

const SECRET: &str = "hf_aVerySecretToken";
const LENS: [&str; 8] = ["lens", "--ids", "3,1,4", "--format", "csv", "--quiet", "-m", "org/tiny"];

/// This machine under an address that pellucid does not know to be it: as another machine would be.
///
/// Invariant: A token travels unencrypted only to this machine; a download of unknown size stops at a limit.
#[cfg(target_os = "linux")]
#[test]
fn a_token_goes_unencrypted_to_this_machine_alone() {
    let server = Server::on("127.0.0.2");
    server.world().tokens.insert(SECRET.into(), true);
    server.put("org/tiny", COMMIT, files(&fixture("gpt2"), &["config.json", "model.safetensors"]));
    let run = |place: &Place, more: &[&str], token: Option<&str>| -> Done {
        let mut command = server.command(place, &[&LENS[..], more].concat());
        token.map(|token| command.env("HF_TOKEN", token));
        command.output().unwrap().into()
    };
    let done = run(&Place::new(), &[], Some(SECRET));
    done.is_refusal("http", 2, "could read the token from HF_TOKEN");
    assert!(done.stderr.contains("--insecure") && !done.stderr.contains(SECRET), "{}", done.stderr);
    assert!(server.asked().is_empty(), "it was not even asked");

    // Without a token there is nothing to read; and whoever says so sends it.
    assert_eq!(run(&Place::new(), &[], None).code, Some(0));
    assert!(server.asked().iter().all(|asked| asked.authorization.is_none()));
    assert_eq!(run(&Place::new(), &["--insecure"], Some(SECRET)).code, Some(0));
    let asked = server.asked();
    assert!(asked.iter().any(|asked| asked.authorization.is_some()));
    assert!(asked.iter().all(|asked| !asked.store || asked.authorization.is_none()), "a store needs no token");
}

#[test]
fn a_file_of_no_known_size_is_fetched_to_its_end() {
    let (server, place) = (tiny(), Place::new());
    for part in ["config.json", "model.safetensors", &sha256(&weights())] {
        server.fault(part, Fault::Unsized, usize::MAX);
    }
    server.ok(&place, &LENS);
    assert_eq!(fs_err::read(repo(&place).join("blobs").join(sha256(&weights()))).unwrap(), weights());
}

/// Invariant: as `a_token_goes_unencrypted_to_this_machine_alone`.
#[test]
fn a_file_without_end_is_left_at_the_limit() {
    for (name, parts) in [
        ("config.json", vec!["config.json".to_owned()]),
        ("model.safetensors", vec!["model.safetensors".into(), sha256(&weights())]),
    ] {
        let (server, place) = (tiny(), Place::new());
        for part in &parts {
            server.fault(part, Fault::Endless, usize::MAX);
        }
        let done = server.run(&place, &[&LENS[..], &["--fetch-limit", "3MB"]].concat());
        done.is_refusal(
            name,
            1,
            &format!("{name} has no end: the Hub does not say how large it is, and 0.003 GB have come"),
        );
        assert!(done.stderr.contains("--fetch-limit"), "{}", done.stderr);
        let left: u64 = place.contents().values().flatten().map(|bytes| bytes.len() as u64).sum();
        assert!(left < 1_000_000, "{left} bytes are left");
    }
}

/// Invariant: as `a_token_goes_unencrypted_to_this_machine_alone`.
#[test]
fn the_index_of_shards_says_how_large_they_can_be() {
    let (server, place) = (Server::new(), Place::new());
    let index = format!(
        r#"{{"metadata": {{"total_size": {}}}, "weight_map": {{"a": "model-00001-of-00001.safetensors"}}}}"#,
        weights().len()
    );
    let mut all = files(&fixture("gpt2"), &["config.json"]);
    all.push(("model.safetensors.index.json", index.into_bytes()));
    all.push(("model-00001-of-00001.safetensors", weights()));
    server.put("org/tiny", COMMIT, all);
    server.fault("model-00001", Fault::Endless, usize::MAX);
    server.fault(&sha256(&weights()), Fault::Endless, usize::MAX);
    let done = server.run(&place, &LENS);
    // The numbers and 16 MB for a header.
    done.is_refusal(
        "shard",
        1,
        "model-00001-of-00001.safetensors has no end: the Hub does not say how large it is, and 0.016 GB",
    );
}
