//! Says when a text is unlike anything that the built-in model was trained on, since what is found there means nothing.

use super::out::Out;
use crate::analysis::loss::loss;
use crate::session::Session;
use crate::sweep::Budget;
use crate::text::{DEMO, Prompt};

/// Of more prompts than this, the first are looked at.
const LOOKED_AT: usize = 8;

/// Notes that most of the prompts surprise the built-in model more than if it knew nothing and guessed among all tokens alike. Texts like
/// those that it learnt from do not come near: models/demo/README.md has its loss on them.
pub(super) fn note(on: &Session, prompts: &[Prompt], out: &Out) {
    let texts: Vec<Prompt> = prompts.iter().filter(|prompt| prompt.text.is_some()).take(LOOKED_AT).cloned().collect();
    if on.name != DEMO || texts.is_empty() {
        return;
    }
    let guessing = (on.model.spec().unembedding.d_vocab_out as f64).ln();
    let mut unlike = 0;
    // What cannot be run is refused by the run itself.
    let looked = loss(&on.model, &texts, &|_| String::new(), Budget(on.memory_bytes), &(), &mut |_, found| {
        unlike += usize::from(found.is_some_and(|found| found.loss_nats > guessing));
        Ok(())
    });
    if looked.is_err() || 2 * unlike <= texts.len() {
        return;
    }
    let what = if texts.len() == 1 { "this text is" } else { "most of these texts are" };
    out.note(format_args!(
        "{what} unlike all that {DEMO} has learnt, a small English of its own, so do not believe what it says here: on average \
         a token surprises it more than if it guessed blindly. Try \"When Mary and John went to the store, John gave a drink to\", \"The capital of \
         France is\" or \"Once upon a time there was a little girl named Lily.\"; or ask a real model, such as -m gpt2"
    ));
}
