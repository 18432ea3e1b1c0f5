//! Whether a text is unlike anything that the built-in model was trained on, since what is found there means nothing.

use super::loss;
use crate::error::Result;
use crate::session::Session;
use crate::sweep::{Budget, Need};
use crate::text::{DEMO, Prompt};

/// The mean surprise, in nats, of a guess among all tokens alike.
pub fn guessing(vocabulary: usize) -> f64 {
    (vocabulary as f64).ln()
}

/// Whether a text with this mean surprise is unlike any that the built-in model learnt from: it surprises the model more than if that knew
/// nothing and guessed. Texts like those that it learnt from do not come near: models/demo/README.md has its loss on them.
pub fn is_unlike(nats: f64, vocabulary: usize) -> bool {
    nats > guessing(vocabulary)
}

/// What [`surprises`] needs of memory.
pub fn need(on: &Session, prompts: &[Prompt]) -> Need {
    match on.name == DEMO {
        true => super::need(&on.model, prompts, Budget(on.memory_bytes)),
        false => Need::default(),
    }
}

/// The mean surprise, in nats, of the first texts among some prompts, `most` of them; none of a text of one token. Nothing where the model is not
/// the built-in one: of others it is not known what they learnt from.
///
/// # Errors
/// As [`loss`].
pub fn surprises(on: &Session, prompts: &[Prompt], most: usize) -> Result<Vec<Option<f64>>> {
    let (mut found, of_demo) = (vec![], on.name == DEMO);
    let texts: Vec<Prompt> =
        prompts.iter().filter(|prompt| of_demo && prompt.text.is_some()).take(most).cloned().collect();
    if !texts.is_empty() {
        loss(&on.model, &texts, &|_| String::new(), Budget(on.memory_bytes), &(), &mut |_, whole| {
            found.push(whole.map(|whole| whole.loss_nats));
            Ok(())
        })?;
    }
    Ok(found)
}
