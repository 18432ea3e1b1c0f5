//! What a Hub refuses, or sends broken: each its own sentence, hint and exit code, and nothing that looks whole left behind.

use std::net::TcpListener;

use crate::bin::{Done, Place, fixture};
use crate::hub::fetch::{COMMIT, repo, tiny, weights};
use crate::hub::server::{Fault, SIGNATURE, Server, etag, files, sha256};

const SECRET: &str = "hf_aVerySecretToken";

/// Runs `lens -m name` where nothing is cached; it must be refused with `says` and `hint`, and must leave no model.
#[track_caller]
fn refused(server: &Server, name: &str, token: Option<&str>, code: i32, says: &str, hint: &str) -> Done {
    let place = Place::new();
    let mut command = server.command(&place, &["lens", "--quiet", "--ids", "3", "-m", name]);
    token.map(|token| command.env("HF_TOKEN", token));
    let done = Done::from(command.output().unwrap());
    done.is_refusal(name, code, says);
    assert!(done.stderr.contains(&format!("hint: {hint}")), "{}", done.stderr);
    for secret in [SECRET, SIGNATURE] {
        assert!(!done.stderr.contains(secret), "{}", done.stderr);
    }
    assert!(!repo(&place).join("refs/main").exists(), "it was never there");
    done
}

#[test]
fn what_the_hub_does_not_have_is_a_bad_request() {
    let server = tiny();
    server.world().tokens.insert(SECRET.into(), true);
    let missing = "there is no model `org/none` on 127.0.0.1";
    refused(
        &server,
        "org/none",
        None,
        2,
        missing,
        "check the name; for a private model, set HF_TOKEN or run: hf auth login",
    );
    refused(&server, "org/none", Some(SECRET), 2, missing, "check the name, and whether the token may read it");
    refused(&server, "dmeo", None, 2, "there is no model `dmeo`", "did you mean demo?");
    let says = "`org/tiny` has no revision `v9` on 127.0.0.1";
    refused(&server, "org/tiny@v9", None, 2, says, "its branches and tags are at http://127.0.0.1");
}

/// Invariant: as `the_token_is_told_to_the_hub_and_to_nobody_else`.
#[test]
fn who_may_not_read_it_is_told_what_to_do() {
    let server = tiny();
    server.world().tokens.insert(SECRET.into(), false);
    server.world().repos.get_mut("org/tiny").unwrap().gated = true;
    let ask = format!("ask for access at {}/org/tiny", server.endpoint);
    refused(&server, "org/tiny", None, 1, "`org/tiny` is gated: ", &format!("{ask}, then set HF_TOKEN"));
    refused(&server, "org/tiny", Some(SECRET), 1, "is gated, and the token from HF_TOKEN has no access", &ask);
    let wrong = "does not accept the token from HF_TOKEN";
    refused(&server, "org/tiny", Some("hf_wrong"), 1, wrong, "make another at ");
    server.fault("/api/", Fault::Echo, 1);
    refused(
        &server,
        "org/tiny",
        Some(SECRET),
        1,
        "does not give out `org/tiny`: what is Bearer [token]?",
        "check on its page",
    );
    server.asked();
    let odd = "the token from HF_TOKEN is not one";
    refused(&server, "org/tiny", Some("hf_aVerySecretToken two"), 2, odd, "a token looks like");
    assert!(server.asked().is_empty());
}

#[test]
fn a_server_that_stays_unwell_is_given_up() {
    let server = tiny();
    server.fault("/api/", Fault::Status(500), usize::MAX);
    refused(&server, "org/tiny", None, 1, "is not well: it answered 500", "try again in a few minutes");
    assert_eq!(server.asked().len(), 5);
    let server = tiny();
    server.fault("/api/", Fault::Status(429), usize::MAX);
    refused(&server, "org/tiny", None, 1, "too many requests", "wait a few minutes");
}

#[test]
fn a_connection_that_only_breaks_is_given_up_and_what_came_is_kept() {
    let (server, place) = (tiny(), Place::new());
    server.fault(&sha256(&weights()), Fault::Drop(100), 1);
    server.fault(&sha256(&weights()), Fault::Drop(0), usize::MAX);
    let done = server.run(&place, &["lens", "--quiet", "--ids", "3", "-m", "org/tiny"]);
    done.is_refusal("broken", 1, "cannot get `org/tiny` from 127.0.0.1");
    assert!(done.stderr.contains("the connection broke"), "{}", done.stderr);
    let part = repo(&place).join("blobs").join(format!("{}.incomplete", sha256(&weights())));
    assert_eq!(fs_err::read(part).unwrap(), &weights()[..100]);
}

#[test]
fn where_there_is_no_way_it_says_so_at_once() {
    // A port that nobody listens on.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::new();
    let run = |endpoint: &str| -> Done {
        let mut command = tiny().command(&place, &["hooks", "-m", "org/tiny"]);
        command.env("HF_ENDPOINT", endpoint).output().unwrap().into()
    };
    let done = run(&format!("http://{closed}"));
    done.is_refusal("refused", 1, &format!("cannot get `org/tiny` from {closed}: "));
    assert!(done.stderr.contains("hint: check the network"), "{}", done.stderr);
    run("http://no-such-host.invalid").is_refusal("dns", 1, "cannot get `org/tiny` from no-such-host.invalid: ");
    run("huggingface.co").is_refusal("no scheme", 2, "HF_ENDPOINT is not an address that begins with https://");
    let done = run("https://me:hf_aVerySecretToken@example.org");
    done.is_refusal("user", 2, "HF_ENDPOINT has a user in it");
    assert!(!done.stderr.contains(SECRET), "{}", done.stderr);
}

#[test]
fn certificates_that_cannot_be_read_are_named() {
    let place = Place::new();
    for (file, says) in
        [("none.pem", "it cannot be read"), (&*place.write("empty.pem", "no"), "there is no certificate in it")]
    {
        let mut command = tiny().command(&place, &["hooks", "-m", "org/tiny"]);
        command.env("SSL_CERT_FILE", file);
        Done::from(command.output().unwrap()).is_refusal(file, 2, says);
    }
}

#[test]
fn who_is_no_hub_is_found_out() {
    let server = tiny();
    server.fault("/api/", Fault::Portal, usize::MAX);
    refused(&server, "org/tiny", None, 1, "does not answer as a Hub does", "check HF_ENDPOINT");
}

/// Invariant: as `a_dropped_connection_goes_on_from_where_it_broke`.
#[test]
fn a_body_that_is_not_what_it_should_be_is_thrown_away() {
    for name in ["config.json", "model.safetensors"] {
        let (server, place) = (tiny(), Place::new());
        let bytes = fs_err::read(fixture("gpt2").join(name)).unwrap();
        let etag = etag(name, &bytes);
        let part = if name == "config.json" { "/cached/" } else { &*etag };
        server.fault(part, Fault::Flip, usize::MAX);
        let done = server.run(&place, &["lens", "--quiet", "--ids", "3", "-m", "org/tiny"]);
        done.is_refusal(name, 1, &format!("{name} did not arrive as the Hub has it"));
        assert!(done.stderr.contains(&etag) && done.stderr.contains("hint: try again"), "{}", done.stderr);
        for left in [format!("blobs/{etag}"), format!("blobs/{etag}.incomplete"), format!("snapshots/{COMMIT}/{name}")]
        {
            assert!(!repo(&place).join(&left).exists(), "{left}");
        }
    }
}

#[test]
fn models_without_weights_that_are_read_are_refused_before_anything_is_fetched() {
    let server = Server::new();
    let one = |name: &'static str| (name, b"x".to_vec());
    let config = || files(&fixture("gpt2"), &["config.json"]);
    server.put(
        "gguf",
        COMMIT,
        [one("README.md"), one("a.Q4.gguf"), one("a.Q5.gguf"), one("a.Q6.gguf"), one("a.Q8.gguf"), one("b.gguf")],
    );
    server.put("flax", COMMIT, [config(), vec![one("flax_model.msgpack")]].concat());
    server.put("none", COMMIT, config());
    server.put("adapter", COMMIT, [one("adapter_config.json"), one("adapter_model.safetensors")]);
    server.put("parts", COMMIT, [config(), vec![one("model-00001-of-00002.safetensors")]].concat());
    let packed = vec![one("model.safetensors"), one("quantize_config.json")];
    server.put("packed", COMMIT, [config(), packed].concat());
    server.put("bare", COMMIT, [one("model.safetensors")]);
    server.put("two", COMMIT, [config(), vec![one("a.pth"), one("b.pth")]].concat());
    let odd = br#"{"model_type": "no-such-type"}"#.to_vec();
    server.put("odd", COMMIT, [("config.json", odd), one("model.safetensors")]);
    let reads = "it reads model.safetensors, pytorch_model.bin";
    for (name, says, hint) in [
        (
            "gguf",
            "`gguf` has its weights in GGUF (a.Q4.gguf), which is not read",
            "take the model in Hugging Face's format",
        ),
        (
            "flax",
            "`flax` has its weights for Flax only (flax_model.msgpack)",
            "let transformers 4 make safetensors of it",
        ),
        ("adapter", "`adapter` is an adapter (LoRA), and no model by itself", "add it to its model with peft"),
        (
            "parts",
            "`parts` has not all of its 2 shards: model-00002-of-00002.safetensors is missing",
            "fetch model-00002",
        ),
        (
            "packed",
            "`packed` has quantized weights (quantize_config.json says how)",
            "take the model that it was made of",
        ),
        ("none", "has no weights that pellucid reads: no weights at all", reads),
        ("bare", "`bare` has no config.json, only model.safetensors", "a model that can be read says in config.json"),
        ("two", "`two` has a.pth and b.pth, and only one file of weights is read", "download the one that is meant"),
        ("odd", "no-such-type", ""),
    ] {
        refused(&server, name, None, 1, says, hint);
        let asked = server.asked();
        assert!(asked.iter().all(|a| !a.store), "{name}: {asked:?}");
    }
}
