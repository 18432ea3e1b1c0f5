//! The laws of the design, over the fixtures of every family.

use std::collections::BTreeMap;

use candle_core::{Device, Var};
use pellucid::Result;
use pellucid::hook::{Cache, Edit};
use pellucid::model::{Batch, Model};

use crate::bin::fixture;
use crate::bound::drift;
use crate::help::fixtures::{FIXTURES, load};
use crate::model::law::{self, A, Case};

/// What `law` says of the committed model of this name.
fn judged<T>(name: &str, law: impl Fn(&Case) -> Result<T>) -> Result<T> {
    let model = load(name);
    let drift = drift(name, &model, &Batch::of([law::A.to_vec(), law::B.to_vec()]));
    law(&Case { name, model: &model, drift: &drift })
}

for_every_model! {
    /// Invariant: Recording changes no bit; writing back what was recorded changes no bit.
    fn law_1_recording_and_writing_back_change_no_bit =
        |name| judged(name, law::recording_and_writing_back_change_no_bit);

    /// Invariant: `attn_out` and `mlp_out` are exactly what is added to the residual stream.
    fn law_2_the_stream_is_the_sum_of_its_writes = |name| judged(name, law::the_stream_is_the_sum_of_its_writes);

    /// Invariant: `mlp.hook_post` is what the output projection reads; `z` is the pattern times the values.
    fn law_3_mlp_post_is_what_the_output_map_reads_and_z_is_pattern_times_v =
        |name| judged(name, law::mlp_post_is_what_the_output_map_reads_and_z_is_pattern_times_v);

    /// Invariant: Pattern rows are probability distributions; no token sees the future.
    fn law_4_patterns_are_distributions_and_nothing_sees_the_future =
        |name| judged(name, law::patterns_are_distributions_and_nothing_sees_the_future);

    /// Invariant: The logit lens at the last residual stream is the model's output.
    fn law_5_the_lens_at_the_end_is_the_model = |name| judged(name, law::the_lens_at_the_end_is_the_model);

    /// Invariant: A prompt gives the same numbers alone, packed with others, and one token at a time.
    fn law_6_alone_packed_and_one_token_at_a_time_are_the_same =
        |name| judged(name, law::alone_packed_and_one_token_at_a_time_are_the_same);

    /// Invariant: A run in two halves gives the whole run.
    fn a_run_in_two_halves_is_the_run = |name| judged(name, law::a_run_in_two_halves_is_the_whole);

    /// Invariant: A hook that would do nothing is an error: no such hook, no row selected, never reached.
    fn law_8_what_does_nothing_is_an_error = |name| judged(name, law::what_does_nothing_is_an_error);

    /// Invariant: Every site can be edited, and the edit reaches what it should and nothing else.
    fn every_site_is_writable = |name| judged(name, law::every_site_can_be_written_to);

    /// Invariant: Every name that is written can be parsed; values have the axes of the table of sites.
    fn law_9_names_parse_and_values_have_the_promised_axes =
        |name| judged(name, law::names_parse_and_values_have_the_promised_axes);

    /// Invariant: The fused kernels agree with plain candle operations at every site.
    fn fused_and_plain_agree = |name| judged(name, law::both_paths_agree);

    /// Invariant: An edit of an expert's neurons, weights or choice of rows changes exactly what it should; writing to rows that the
    /// expert does not compute is refused.
    fn experts_do_what_hooks_make_of_their_choices = |name| {
        let is_mixture = judged(name, law::experts_do_what_hooks_make_of_their_choices);
        is_mixture.map(|is_mixture| assert_eq!(is_mixture, MIXTURES.contains(&name)))
    };
}

/// Those with experts.
const MIXTURES: &[&str] = &["mixtral", "qwen3_moe", "olmoe", "qwen3_moe_mixed", "olmoe_clipped"];

/// Invariant: Hooks run in order: a later one sees what an earlier one changed.
#[test]
fn hooks_see_what_earlier_hooks_changed() -> Result<()> {
    let model = load("gpt2");
    let mut before = Cache::new(model.spec(), "blocks.0.attn.hook_z")?;
    let mut edit = Edit::zero(model.spec(), "blocks.0.attn.hook_z")?;
    let mut after = Cache::new(model.spec(), "blocks.0.attn.hook_z")?;
    model.forward(&Batch::one(A), &mut [&mut before, &mut edit, &mut after])?;
    let size = |c: &Cache| {
        c.get("blocks.0.attn.hook_z").unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
    };
    assert!(size(&before) > 0.01);
    assert_eq!(size(&after), 0.0);
    Ok(())
}

/// Invariant: The gradient of every weight is that of candle's own operations.
#[test]
fn gradients_of_every_weight_are_the_same_on_both_paths() -> Result<()> {
    for name in FIXTURES {
        let config = fs_err::read_to_string(fixture(name).join("config.json"))?;
        let stored = candle_core::safetensors::load(fixture(name).join("model.safetensors"), &Device::Cpu)?;
        let variables: BTreeMap<String, Var> =
            stored.iter().map(|(name, x)| Ok((name.clone(), Var::from_tensor(x)?))).collect::<Result<_>>()?;
        let tensors = variables.iter().map(|(name, x)| (name.clone(), x.as_tensor().clone())).collect();
        let model = Model::from_tensors(&config, &tensors)?;
        let drift = drift(name, &model, &Batch::of([law::A.to_vec(), law::B.to_vec()]));
        let case = Case { name, model: &model, drift: &drift };
        let reached = law::gradients_are_the_same_on_both_paths(&case, &variables)?;
        assert!(reached >= model.spec().n_layers() * 6, "{name}: gradients reach only {reached} tensors");
    }
    Ok(())
}
