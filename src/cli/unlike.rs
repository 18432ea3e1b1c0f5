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
    let (mut unlike, mut first) = (0, None);
    // What cannot be run is refused by the run itself.
    let looked = loss(&on.model, &texts, &|_| String::new(), Budget(on.memory_bytes), &(), &mut |_, found| {
        if let Some(nats) = found.map(|found| found.loss_nats).filter(|nats| *nats > guessing) {
            unlike += 1;
            first.get_or_insert(nats);
        }
        Ok(())
    });
    let Some(nats) = first.filter(|_| looked.is_ok() && 2 * unlike > texts.len()) else { return };
    let what = if texts.len() == 1 { "this text is" } else { "most of these texts are" };
    out.note(format_args!(
        "{what} unlike the small English that {DEMO} was trained on: a token surprises it by {nats:.1} nats, and one guess among all its \
         tokens by {guessing:.1}. Try \"When Mary and John went to the store, John gave a drink to\", \"The capital of France is\" or \"Once \
         upon a time there was a little girl named Lily.\"; or ask a real model, such as -m gpt2"
    ));
}
