//! Says when a text is unlike anything that the built-in model was trained on.

use super::out::Out;
use crate::analysis::loss::unlike::{guessing, is_unlike, surprises};
use crate::session::Session;
use crate::text::{DEMO, Prompt};

/// Of more prompts than this, the first are looked at.
const LOOKED_AT: usize = 8;

/// Notes that most of the prompts are unlike any that the built-in model learnt from.
pub(super) fn note(on: &Session, prompts: &[Prompt], out: &Out) {
    // What cannot be run is refused by the run itself.
    let Ok(texts) = surprises(on, prompts, LOOKED_AT) else { return };
    let vocabulary = on.model.spec().unembedding.d_vocab_out;
    let guessing = guessing(vocabulary);
    let unlike: Vec<f64> = texts.iter().flatten().copied().filter(|nats| is_unlike(*nats, vocabulary)).collect();
    let Some(nats) = unlike.first().filter(|_| 2 * unlike.len() > texts.len()) else { return };
    let what = if texts.len() == 1 { "this text is" } else { "most of these texts are" };
    out.note(format_args!(
        "{what} unlike the small English that {DEMO} was trained on: a token surprises it by {nats:.1} nats, and one guess among all its \
         tokens by {guessing:.1}. Try \"When Mary and John went to the store, John gave a drink to\", \"The capital of France is\" or \"Once \
         upon a time there was a little girl named Lily.\"; or ask a real model, such as -m gpt2"
    ));
}
