//! The laws of the design, over random models: every combination of what a `Spec` can say, families that nobody has built
//! among them.

use std::collections::BTreeMap;

use pellucid::Result;
use pellucid::arch::spec::*;
use pellucid::model::{Batch, Model};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::bound::Drifts;
use crate::model::law::{self, A, B, Case};
use crate::specs::{Sample, for_random, samples};

/// How many models each law is held against.
const CASES: u32 = 64;

fn judge<T>(model: &Model, law: impl Fn(&Case) -> Result<T>) -> Result<T> {
    let drift = Drifts::of(model, &Batch::of([A.to_vec(), B.to_vec()]))?;
    law(&Case { name: "random", model, drift: &drift })
}

fn every<T>(law: impl Fn(&Case) -> Result<T>) {
    for_random(CASES, samples(), |sample| judge(&sample.model(), &law).map(drop));
}

#[test]
fn law_1_recording_and_writing_back_change_no_bit() {
    every(law::recording_and_writing_back_change_no_bit);
}

#[test]
fn law_2_the_stream_is_the_sum_of_its_writes() {
    every(law::the_stream_is_the_sum_of_its_writes);
}

#[test]
fn law_3_mlp_post_is_what_the_output_map_reads_and_z_is_pattern_times_v() {
    every(law::mlp_post_is_what_the_output_map_reads_and_z_is_pattern_times_v);
}

#[test]
fn law_4_patterns_are_distributions_and_nothing_sees_the_future() {
    every(law::patterns_are_distributions_and_nothing_sees_the_future);
}

#[test]
fn law_5_the_lens_at_the_end_is_the_model() {
    every(law::the_lens_at_the_end_is_the_model);
}

#[test]
fn law_6_alone_packed_and_one_token_at_a_time_are_the_same() {
    every(law::alone_packed_and_one_token_at_a_time_are_the_same);
}

#[test]
fn a_run_in_two_halves_is_the_run() {
    every(law::a_run_in_two_halves_is_the_whole);
}

#[test]
fn law_8_what_does_nothing_is_an_error() {
    every(law::what_does_nothing_is_an_error);
}

#[test]
fn every_site_is_writable() {
    every(law::every_site_can_be_written_to);
}

#[test]
fn law_9_names_parse_and_values_have_the_promised_axes() {
    every(law::names_parse_and_values_have_the_promised_axes);
}

#[test]
fn fused_and_plain_agree() {
    every(law::both_paths_agree);
}

#[test]
fn experts_do_what_hooks_make_of_their_choices() {
    let mixed = |s: &Sample| {
        let mixed = |b: &Block| b.mlp.as_ref().is_some_and(|m| m.inner.experts().is_some());
        s.spec.blocks.iter().any(mixed)
    };
    for_random(CASES, samples().prop_filter("no experts", mixed), |sample| {
        let is_one = judge(&sample.model(), law::experts_do_what_hooks_make_of_their_choices)?;
        assert!(is_one);
        Ok(())
    });
}

#[test]
fn gradients_of_every_weight_are_the_same_on_both_paths() {
    for_random(CASES, samples(), |sample| {
        let (model, variables) = sample.variable_model();
        let reached = judge(&model, |case| law::gradients_are_the_same_on_both_paths(case, &variables))?;
        // Queries, keys, values and outputs of each block, the embedding.
        assert!(reached > 4 * model.spec().n_layers(), "gradients reach only {reached} tensors");
        Ok(())
    });
}

/// What is never drawn is never tested.
///
/// Invariant: The laws hold for random models of every kind that a `Spec` can describe (all tests of this file).
#[test]
fn random_models_are_of_every_kind() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..CASES {
        let spec = samples().new_tree(&mut runner).unwrap().current().spec;
        let mut see = |what: String| *seen.entry(what).or_default() += 1;
        let norm =
            |norm: &Option<Norm>| norm.map_or("none".into(), |n| format!("{:?} {:?} {}", n.kind, n.gain, n.bias));
        let positions = spec.embedding.positions.map(|p| (p.offset, p.added_to));
        see(format!("learned positions {positions:?}"));
        see(format!("embedding norm {}", spec.embedding.norm.is_some()));
        see(format!("final norm {}", norm(&spec.final_norm)));
        let u = &spec.unembedding;
        see(format!("unembedding tied {} bias {}", u.tied, u.bias));
        see(format!("as many logits as tokens {}", u.d_vocab_out == spec.d_vocab));
        see(format!("logits capped {} scaled {}", u.cap.is_some(), u.scale.is_some()));
        for block in &spec.blocks {
            see(format!("{:?}", block.arrangement));
            see(format!("residual factor {}", block.residual_scale.is_some()));
            see(format!("norm before attention {}", norm(&block.attention.pre_norm)));
            see(format!("norm after attention {}", block.attention.post_norm.is_some()));
            let a = &block.attention.inner;
            see(format!("biases of queries {} of the output {}", a.qkv_bias, a.out_bias));
            see(format!("one key for all {}, for each {}", a.n_kv_heads == 1, a.n_kv_heads == a.n_heads));
            see(format!("query norm {:?}", a.qk_norm.map(|qk| qk.per_head)));
            see(format!("clamped {}, capped {}", a.clip_qkv.is_some(), a.cap.is_some()));
            see(match &a.position {
                Position::Rotary(r) => format!("rotary {:?} of all {}", r.pairing, r.dims == a.d_head),
                other => format!("{other:?}"),
            });
            if let Position::Rotary(Rotary { scaling, .. }) = &a.position {
                see(format!("rotary scaling {}", format!("{scaling:?}").split(' ').next().unwrap()));
            }
            see(format!("mask {}", format!("{:?}", a.mask).split('(').next().unwrap()));
            let Some(mlp) = &block.mlp else {
                see("no MLP".into());
                continue;
            };
            see(format!("norm before MLP {} after {}", mlp.pre_norm.is_some(), mlp.post_norm.is_some()));
            let m = mlp.inner.neurons();
            see(format!("{:?} gated {}", m.activation, m.gated));
            see(format!("MLP bias {} after the gate {}", m.bias, m.post_bias));
            see(format!("norm on neurons {}", m.norm.is_some()));
            see(match mlp.inner.experts() {
                Some(e) => format!("experts renormalized {} all {}", e.renormalized, e.per_row == e.n_experts),
                None => "no experts".into(),
            });
        }
    }
    let rare: Vec<_> = seen.iter().filter(|(_, n)| **n < 2).collect();
    assert!(rare.is_empty(), "drawn once only: {rare:?}");
    // As many as there are of each, all together.
    assert_eq!(seen.len(), 103, "{seen:#?}");
}
