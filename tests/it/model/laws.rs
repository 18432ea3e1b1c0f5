//! The laws of the design, over the fixtures of every family.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Var};
use pellucid::Result;
use pellucid::hook::{Cache, Edit};
use pellucid::model::{Batch, Model};

use crate::bound::drift;
use crate::hook::hooked::HOOKED;
use crate::model::law::{self, A, Case};
use crate::model::parity::{FIXTURES, VARIANTS};

fn models() -> impl Iterator<Item = (&'static str, Model)> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let names = FIXTURES.iter().chain(VARIANTS).chain(HOOKED);
    names.map(move |name| (*name, Model::load(&own.join(name)).unwrap()))
}

/// What `law` says of each model.
fn judged<T>(law: impl Fn(&Case) -> Result<T>) -> Result<Vec<T>> {
    let judge = |(name, model): (&str, Model)| {
        law(&Case { name, model: &model, drift: &drift(name, &model, &Batch::of([law::A.to_vec(), law::B.to_vec()])) })
    };
    models().map(judge).collect()
}

/// Invariant: Recording changes no bit; writing back what was recorded changes no bit.
#[test]
fn law_1_recording_and_writing_back_change_no_bit() -> Result<()> {
    judged(law::recording_and_writing_back_change_no_bit).map(drop)
}

/// Invariant: `attn_out` and `mlp_out` are exactly what is added to the residual stream.
#[test]
fn law_2_the_stream_is_the_sum_of_its_writes() -> Result<()> {
    judged(law::the_stream_is_the_sum_of_its_writes).map(drop)
}

/// Invariant: `mlp.hook_post` is what the output projection reads; `z` is the pattern times the values.
#[test]
fn law_3_mlp_post_is_what_the_output_map_reads_and_z_is_pattern_times_v() -> Result<()> {
    judged(law::mlp_post_is_what_the_output_map_reads_and_z_is_pattern_times_v).map(drop)
}

/// Invariant: Pattern rows are probability distributions; no token sees the future.
#[test]
fn law_4_patterns_are_distributions_and_nothing_sees_the_future() -> Result<()> {
    judged(law::patterns_are_distributions_and_nothing_sees_the_future).map(drop)
}

/// Invariant: The logit lens at the last residual stream is the model's output.
#[test]
fn law_5_the_lens_at_the_end_is_the_model() -> Result<()> {
    judged(law::the_lens_at_the_end_is_the_model).map(drop)
}

/// Invariant: A prompt gives the same numbers alone, packed with others, and one token at a time.
#[test]
fn law_6_alone_packed_and_one_token_at_a_time_are_the_same() -> Result<()> {
    judged(law::alone_packed_and_one_token_at_a_time_are_the_same).map(drop)
}

/// Invariant: A run in two halves gives the whole run.
#[test]
fn a_run_in_two_halves_is_the_run() -> Result<()> {
    judged(law::a_run_in_two_halves_is_the_whole).map(drop)
}

/// Invariant: A hook that would do nothing is an error: no such hook, no row selected, never reached.
#[test]
fn law_8_what_does_nothing_is_an_error() -> Result<()> {
    judged(law::what_does_nothing_is_an_error).map(drop)
}

/// Invariant: Every site can be edited, and the edit reaches what it should and nothing else.
#[test]
fn every_site_is_writable() -> Result<()> {
    judged(law::every_site_can_be_written_to).map(drop)
}

/// Invariant: Every name that is written can be parsed; values have the axes of the table of sites.
#[test]
fn law_9_names_parse_and_values_have_the_promised_axes() -> Result<()> {
    judged(law::names_parse_and_values_have_the_promised_axes).map(drop)
}

/// Invariant: The fused kernels agree with plain candle operations at every site.
#[test]
fn fused_and_plain_agree() -> Result<()> {
    judged(law::both_paths_agree).map(drop)
}

/// Invariant: An edit of an expert's neurons, weights or choice of rows changes exactly what it should; writing to rows that the
/// expert does not compute is refused.
#[test]
fn experts_do_what_hooks_make_of_their_choices() -> Result<()> {
    let mixtures = judged(law::experts_do_what_hooks_make_of_their_choices)?;
    assert_eq!(mixtures.iter().filter(|is_one| **is_one).count(), 5);
    Ok(())
}

/// Invariant: Hooks run in order: a later one sees what an earlier one changed.
#[test]
fn hooks_see_what_earlier_hooks_changed() -> Result<()> {
    let (_, model) = models().next().unwrap();
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
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in FIXTURES {
        let config = fs_err::read_to_string(own.join(name).join("config.json"))?;
        let stored = candle_core::safetensors::load(own.join(name).join("model.safetensors"), &Device::Cpu)?;
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
