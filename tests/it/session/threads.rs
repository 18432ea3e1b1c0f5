//! One model for many threads.

use std::thread;

use pellucid::error::Error;
use pellucid::hook::Cache;
use pellucid::model::{Batch, Model, Prefix};
use pellucid::session::Session;
use pellucid::text::{ModelSource, Tokenizer};

/// Compiles for what threads can share.
fn shared<T: Send + Sync>() {}

#[test]
fn models_and_sessions_are_send_and_sync() {
    shared::<Model>();
    shared::<Session>();
    shared::<ModelSource>();
    shared::<Tokenizer>();
    shared::<Batch>();
    shared::<Prefix>();
    shared::<Cache>();
    shared::<Error>();
}

#[test]
fn threads_that_share_a_session_get_the_same_bits() {
    let session = Session::open("demo").unwrap();
    let logits = |ids: &[u32]| {
        let logits = session.model.forward(&Batch::one(ids.to_vec()), &mut []).unwrap();
        logits.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let prompts: Vec<Vec<u32>> = (1..9).map(|n| (0..4 * n).map(|i| (i * 37 + n) % 2048).collect()).collect();
    let alone: Vec<_> = prompts.iter().map(|ids| logits(ids)).collect();
    let together: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = prompts.iter().map(|ids| scope.spawn(|| logits(ids))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}
