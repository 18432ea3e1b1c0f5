//! Says what a text may not be meant as: words without quotation marks; and unlike anything that the built-in model was trained on.

use super::out::Out;
use crate::analysis::loss::unlike::{is_unlike, surprises};
use crate::session::Session;
use crate::text::{DEMO, Prompt};

/// Of more prompts than this, the first are looked at.
const LOOKED_AT: usize = 8;

/// Notes that most of the prompts are unlike any that the built-in model learnt from.
pub(super) fn note(on: &Session, prompts: &[Prompt], out: &Out) {
    // What cannot be run is refused by the run itself.
    let Ok(texts) = surprises(on, prompts, LOOKED_AT) else { return };
    let vocabulary = on.model.spec().unembedding.d_vocab_out;
    let unlike = texts.iter().flatten().filter(|nats| is_unlike(**nats, vocabulary)).count();
    if 2 * unlike <= texts.len() {
        return;
    }
    let what = if texts.len() == 1 { "this text is" } else { "most of these texts are" };
    out.note(format_args!(
        "{what} unlike all that {DEMO} has learnt, a small English of its own, so do not believe what it says here: on average \
         a token surprises it more than if it guessed blindly. Try \"When Mary and John went to the store, John gave a drink to\", \"The capital of \
         France is\" or \"Once upon a time there was a little girl named Lily.\"; or ask a real model, such as -m gpt2"
    ));
}

/// Notes that several words were given, each as a prompt of its own.
pub(super) fn unquoted(texts: &[String], out: &Out) {
    let is_word = |text: &String| text.bytes().all(|b| b.is_ascii_graphic());
    if texts.len() > 2 && texts.iter().all(is_word) {
        let n = texts.len();
        out.note(format_args!(
            "{n} words are {n} prompts of one word each: put quotation marks around a text of several words"
        ));
    }
}
