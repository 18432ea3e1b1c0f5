//! Does the loaded model obey the laws, on its own weights? And where does it differ from somebody else's run of it?

mod dump;
mod edits;
mod faults;
mod measure;
mod options;
mod parts;
mod reference;
pub mod rows;
mod runs;
mod sites;
mod subject;

use candle_core::DType;

use self::measure::Finding;
use self::subject::Subject;
use super::{Need, Watch};
use crate::analysis::VerifyRow;
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::hook::HookPoint;
use crate::model::Model;
use crate::ops::rounding::unit;
use crate::sweep::row_bytes;
pub use options::{Checked, Verified, Verify};

pub use dump::Dump;
pub use reference::{first_wrong, verify_reference};

/// Checks one law.
type Check = fn(&Subject) -> Result<Finding>;

/// What each law is called and how it is checked, in the order in which a person should read what failed: a law that stands
/// on another comes after it.
const LAWS: &[(&str, Check)] = &[
    ("all logits are finite", parts::logits_are_finite),
    ("recording changes nothing", edits::recording_changes_nothing),
    ("writing back what was read changes nothing", edits::writing_back_changes_nothing),
    ("patching a run with its own values changes nothing", edits::own_values_change_nothing),
    ("an edit that must matter does", edits::zeroing_matters),
    ("the stream is the sum of its writes", parts::the_stream_is_the_sum_of_its_writes),
    ("attn_out is the sum of what the heads write", parts::heads_write_attn_out),
    ("mlp_out is what the neurons write", parts::neurons_write_mlp_out),
    ("z is the pattern times the values", parts::z_is_pattern_times_values),
    ("pattern rows sum to 1", parts::pattern_rows_sum_to_one),
    ("patterns are 0 where the mask hides the key", parts::hidden_keys_have_no_weight),
    ("the lens at the last resid_post is the model", parts::the_lens_at_the_end_is_the_model),
    ("a token changes nothing before it", runs::a_token_changes_nothing_before_it),
    ("packed with others is alone", runs::packed_is_alone),
    ("one token at a time is all at once", runs::one_token_at_a_time_is_all_at_once),
    ("the fused path is the plain path", runs::fused_is_plain),
];

/// Checks every law of the design on `model`, with these prompts (token ids): one row for each law.
///
/// # Errors
/// Whatever a run says, which includes prompts that do not fit the model. A law that fails is not an error but a row.
pub fn verify(model: &Model, prompts: &[Vec<u32>], watch: &dyn Watch) -> Result<Vec<VerifyRow>> {
    if prompts.is_empty() {
        return Err(Error::bad_input("there is no prompt to verify the model on").hint("give at least one prompt"));
    }
    watch.at(0, LAWS.len() + 1)?;
    let subject = Subject::new(model, prompts)?;
    let mut rows = vec![];
    for (i, (law, check)) in LAWS.iter().enumerate() {
        watch.at(i + 1, LAWS.len() + 1)?;
        rows.push(check(&subject)?.row(law));
    }
    watch.at(LAWS.len() + 1, LAWS.len() + 1)?;
    Ok(rows)
}

/// What [`verify`] needs of memory: every value of a run of all prompts at once, whatever the budget, and the largest linear layer
/// in f64 with the sizes of its numbers.
pub fn need(model: &Model, prompts: &[Vec<u32>]) -> Need {
    let spec = model.spec();
    let rows: usize = prompts.iter().map(Vec::len).sum();
    let numbers = |p: &HookPoint| {
        let of = |n: usize| p.shape(spec, n).iter().product::<usize>();
        if p.site.per_sequence() { prompts.iter().map(|p| of(p.len())).sum() } else { of(rows) }
    };
    let recorded: usize = HookPoint::all(spec).iter().map(numbers).sum();
    let widest = spec.blocks.iter().map(|b| {
        let attention = b.attention.inner.n_heads * b.attention.inner.d_head;
        b.mlp.as_ref().map_or(0, |m| m.inner.neurons().d_mlp).max(attention)
    });
    let layer = 2 * size_of::<f64>() * spec.d_model * widest.max().unwrap_or(0);
    // Values of another run of the same prompts beside the recorded ones, and in f64 what is compared.
    let activations = 4 * recorded + rows * row_bytes(spec) + 2 * 4 * rows * spec.unembedding.d_vocab_out + layer;
    Need { activations, least: activations, rows: 0 }
}

/// What [`verify_reference`] needs of memory: the weights in f64, and every value of the dump's prompts in both.
pub fn need_of_reference(model: &Model, prompts: &[Vec<u32>], numbers: usize) -> Need {
    let need = need(model, prompts);
    let activations = 3 * need.activations + numbers * size_of::<f64>();
    Need { activations, least: activations, ..need }
}

/// Prompts to verify a model on, chosen from its vocabulary: the same every time, of different lengths, each with a token
/// twice, and no longer than its context.
pub fn own_prompts(spec: &Spec) -> Vec<Vec<u32>> {
    let longest = spec.n_ctx.unwrap_or(usize::MAX);
    // Steps through the vocabulary by the golden ratio, so that ids lie far apart and none is twice in a row.
    let step = ((spec.d_vocab as f64 * 0.618_033_988_75) as u64).max(1);
    let mut next = 3;
    let mut prompt = |len: usize| -> Vec<u32> {
        let mut ids: Vec<u32> = (0..len.min(longest))
            .map(|_| {
                next += step;
                (next % spec.d_vocab as u64) as u32
            })
            .collect();
        if let [first, .., last] = ids.as_mut_slice() {
            *last = *first;
        }
        ids
    };
    // Few rows, so that no kernel for many is chosen by what the router says.
    [12, 5, 13].map(&mut prompt).into()
}

/// The distance from 1 to the next number of `dtype`.
fn epsilon(dtype: DType) -> f64 {
    2.0 * unit(dtype)
}
