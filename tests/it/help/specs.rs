//! Random models: any `Spec` that can be said, with random weights of sizes that keep activations near one.

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Tensor, Var};
use pellucid::Result;
use pellucid::arch::Spec;
use pellucid::arch::spec::*;
use pellucid::arch::weights::{BlockSlot, Part, Slot, slots};
use pellucid::model::{Model, Weights};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

/// What a model is, and what its weights are made of.
#[derive(Clone, Debug)]
pub struct Sample {
    pub spec: Spec,
    pub seed: u64,
}

/// Values of a slot, in the order of its canonical shape.
pub type Values = HashMap<Slot, (Vec<usize>, Vec<f32>)>;

impl Sample {
    /// Random numbers for every slot: maps that keep sizes, gains about one, biases that matter.
    pub fn values(&self) -> Values {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(self.seed);
        let mut draw = |slot: Slot, shape: Vec<usize>| {
            let (mean, deviation) = match (slot, shape.as_slice()) {
                (Slot::Embed | Slot::Positions, _) => (0.0, 0.8),
                (_, [ins, _]) => (0.0, 0.8 * (*ins as f32).powf(-0.5)),
                (slot, _) if self.is_plain_gain(slot) => (1.0, 0.2),
                _ => (0.0, 0.3),
            };
            let n = shape.iter().product();
            let normal = StandardNormal.sample_iter(&mut rng).take(n);
            (slot, (shape, normal.map(|x: f32| mean + deviation * x).collect()))
        };
        slots(&self.spec).into_iter().map(|(slot, shape)| draw(slot, shape)).collect()
    }

    /// Whether this is the weight of a norm that multiplies by it and not by one more.
    fn is_plain_gain(&self, slot: Slot) -> bool {
        let attention = |l: usize| &self.spec.blocks[l].attention;
        let mlp = |l: usize| self.spec.blocks[l].mlp.as_ref().unwrap();
        let norm = match slot {
            Slot::EmbedNorm(Part::Weight) => self.spec.embedding.norm,
            Slot::FinalNorm(Part::Weight) => self.spec.final_norm,
            Slot::Block(l, BlockSlot::Ln1(Part::Weight)) => attention(l).pre_norm,
            Slot::Block(l, BlockSlot::Ln1Post(Part::Weight)) => attention(l).post_norm,
            Slot::Block(l, BlockSlot::Ln2(Part::Weight)) => mlp(l).pre_norm,
            Slot::Block(l, BlockSlot::Ln2Post(Part::Weight)) => mlp(l).post_norm,
            Slot::Block(l, BlockSlot::MlpNorm(Part::Weight)) => mlp(l).inner.neurons().norm,
            Slot::Block(l, BlockSlot::QNorm(Part::Weight) | BlockSlot::KNorm(Part::Weight)) => {
                attention(l).inner.qk_norm.map(|qk| qk.norm)
            }
            _ => None,
        };
        norm.is_some_and(|norm| norm.gain == Gain::Weight)
    }

    pub fn model(&self) -> Model {
        self.build(|_, x| x)
    }

    /// The model as a function of variables, and these by the names of their slots.
    pub fn variable_model(&self) -> (Model, BTreeMap<String, Var>) {
        let mut variables = BTreeMap::new();
        let model = self.build(|slot, x| {
            let variable = Var::from_tensor(&x).unwrap();
            let x = variable.as_tensor().clone();
            variables.insert(format!("{slot:?}"), variable);
            x
        });
        (model, variables)
    }

    fn build(&self, mut keep: impl FnMut(Slot, Tensor) -> Tensor) -> Model {
        let (mut tensors, mut stored) = (HashMap::new(), self.values());
        for (i, (slot, _)) in slots(&self.spec).into_iter().enumerate() {
            let (shape, values) = stored.remove(&slot).unwrap();
            let x = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
            let table = matches!(slot, Slot::Embed | Slot::Positions);
            // Maps are stored either way around, those of experts as every family stores them: the other way, the number of
            // rows that go through an expert would pick the kernel and with it the last bits.
            let expert = matches!(slot, Slot::Block(_, BlockSlot::Expert(..)));
            let turned = x.rank() == 2 && !table && (expert || (i as u64).wrapping_add(self.seed).is_multiple_of(2));
            let x = match turned {
                true => keep(slot, x.t().unwrap().contiguous().unwrap()).t().unwrap(),
                false => keep(slot, x),
            };
            tensors.insert(slot, x);
        }
        let weights = Weights::assemble(&self.spec, |slot| tensors.get(&slot).cloned().map(Into::into)).unwrap();
        Model::new(self.spec.clone(), weights).unwrap()
    }
}

/// What every model must obey: `cases` of them, always the same unless `PROPTEST_CASES` and `PROPTEST_RNG_SEED` say
/// otherwise. A failure is shrunk, and its message is the smallest model that fails.
pub fn for_random<S: Strategy>(cases: u32, strategy: S, law: impl Fn(S::Value) -> Result<()>) {
    let mut config = ProptestConfig { failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(4);
    }
    let judge = |value| law(value).map_err(|e| TestCaseError::fail(e.to_string()));
    match TestRunner::new(config).run(&strategy, judge) {
        Ok(()) => {}
        Err(TestError::Fail(why, value)) => panic!("{why}\nsmallest model that fails:\n{value:#?}"),
        Err(error) => panic!("{error}"),
    }
}

/// Sequences of one to twelve tokens, as many as three.
pub fn prompts() -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(prop::collection::vec(0..97u32, 1..=12), 1..=3)
}

/// Contexts of the models below: as long as the laws' longest prompt, or as `prompts`'.
const N_CTX: usize = 14;

pub fn samples() -> impl Strategy<Value = Sample> {
    let sizes = (6..=20usize, 97..=101usize, any::<u64>());
    let ends = (embedding(), weighted(0.8, norm()), unembedding());
    (sizes, ends, prop::collection::vec(block(), 1..=3)).prop_map(|((d_model, d_vocab, seed), ends, blocks)| {
        let (embedding, final_norm, mut unembedding) = ends;
        if unembedding.tied {
            unembedding.d_vocab_out = d_vocab;
        }
        let family = String::from("random");
        let n_ctx = embedding.positions.map(|_| N_CTX);
        let spec =
            Spec { family, d_model, d_vocab, n_ctx, embedding, blocks, final_norm, unembedding, processed: vec![] };
        Sample { spec, seed }
    })
}

fn norm() -> impl Strategy<Value = Norm> {
    let kind = select(vec![NormKind::Layer, NormKind::Rms]);
    let gain = select(vec![Gain::None, Gain::Weight, Gain::OnePlusWeight]);
    (kind, gain, any::<bool>(), select(vec![1e-5, 1e-6, 1e-2])).prop_map(|(kind, gain, bias, eps)| Norm {
        kind,
        eps,
        gain,
        bias,
    })
}

fn embedding() -> impl Strategy<Value = Embedding> {
    let learned = (select(vec![0, 2usize]), select(vec![AddedTo::Stream, AddedTo::QueriesAndKeys]));
    let learned = learned.prop_map(|(offset, added_to)| LearnedPositions { rows: N_CTX + offset, offset, added_to });
    (weighted(0.3, select(vec![0.5, 2.0])), weighted(0.5, learned), weighted(0.25, norm()))
        .prop_map(|(scale, positions, norm)| Embedding { scale, positions, norm })
}

fn unembedding() -> impl Strategy<Value = Unembedding> {
    (97..=104usize, any::<bool>(), any::<bool>(), weighted(0.3, select(vec![0.25, 3.0])), weighted(0.3, Just(6.0)))
        .prop_map(|(d_vocab_out, tied, bias, scale, cap)| Unembedding { d_vocab_out, tied, bias, scale, cap })
}

fn block() -> impl Strategy<Value = Block> {
    let arrangement = select(vec![Arrangement::Sequential, Arrangement::Parallel, Arrangement::ParallelSharedNorm]);
    let mlp = weighted(0.85, sublayer(feed_forward()));
    (arrangement, sublayer(attention()), mlp, weighted(0.25, select(vec![0.22, 1.5]))).prop_map(
        |(arrangement, attention, mut mlp, residual_scale)| {
            let arrangement = if mlp.is_some() { arrangement } else { Arrangement::Sequential };
            if let (Some(mlp), Arrangement::ParallelSharedNorm) = (&mut mlp, arrangement) {
                mlp.pre_norm = None;
            }
            Block { arrangement, attention, mlp, residual_scale }
        },
    )
}

fn sublayer<T: Clone + std::fmt::Debug>(inner: impl Strategy<Value = T>) -> impl Strategy<Value = Sublayer<T>> {
    (weighted(0.7, norm()), inner, weighted(0.25, norm())).prop_map(|(pre_norm, inner, post_norm)| Sublayer {
        pre_norm,
        inner,
        post_norm,
    })
}

fn attention() -> impl Strategy<Value = Attention> {
    // Heads of two dimensions have layer norms that are a sign, which rounding can turn.
    let heads = (1..=3usize, 1..=3usize, select(vec![4, 6, 8, 10usize]));
    let biases = (any::<bool>(), any::<bool>());
    let qk_norm = weighted(0.3, (norm(), any::<bool>()).prop_map(|(norm, per_head)| QkNorm { norm, per_head }));
    let mask = prop_oneof![
        2 => Just(Mask::Causal),
        2 => (1..=6usize).prop_map(Mask::Window),
        1 => Just(Mask::Bidirectional),
    ];
    let scores = (select(vec![0.5, 1.0, 0.25]), weighted(0.25, Just(3.0)));
    (heads, biases, qk_norm, weighted(0.2, Just(0.7)), position(), scores, mask).prop_map(
        |((kv, group, d_head), (qkv_bias, out_bias), qk_norm, clip_qkv, mut position, (scale, cap), mask)| {
            if let Position::Rotary(rotary) = &mut position {
                rotary.dims = rotary.dims.min(d_head);
            }
            let (n_heads, n_kv_heads) = (kv * group, kv);
            Attention { n_heads, n_kv_heads, d_head, qkv_bias, out_bias, qk_norm, clip_qkv, position, scale, cap, mask }
        },
    )
}

fn position() -> impl Strategy<Value = Position> {
    let scaling = prop_oneof![
        4 => Just(RopeScaling::None),
        1 => Just(RopeScaling::Linear { factor: 4.0 }),
        1 => Just(RopeScaling::Llama3 { factor: 8.0, low_freq: 1.0, high_freq: 4.0, original_ctx: 64.0 }),
        1 => any::<bool>().prop_map(|truncate| RopeScaling::Yarn {
            factor: 4.0,
            beta_fast: 8.0,
            beta_slow: 1.0,
            original_ctx: 64.0,
            attention_factor: 1.1,
            truncate,
        }),
    ];
    let pairing = select(vec![Pairing::Halves, Pairing::Adjacent]);
    let dims = select(vec![2, 4, 6, 10usize]);
    let rotary = (dims, pairing, select(vec![10_000.0, 100.0]), scaling)
        .prop_map(|(dims, pairing, theta, scaling)| Rotary { dims, pairing, theta, scaling });
    prop_oneof![
        2 => Just(Position::None),
        3 => rotary.prop_map(Position::Rotary),
        1 => Just(Position::Alibi),
    ]
}

fn feed_forward() -> impl Strategy<Value = FeedForward> {
    let experts = (2..=5usize, 1..=5usize, any::<bool>(), mlp()).prop_map(|(n_experts, per_row, renormalized, mlp)| {
        // What an expert cannot have.
        let expert = Mlp { post_bias: false, norm: None, ..mlp };
        FeedForward::Experts(Experts { n_experts, per_row: per_row.min(n_experts), renormalized, expert })
    });
    prop_oneof![3 => mlp().prop_map(FeedForward::Dense), 1 => experts]
}

fn mlp() -> impl Strategy<Value = Mlp> {
    let activation = [Activation::Relu, Activation::GeluErf, Activation::GeluTanh, Activation::Silu, Activation::Solu];
    let activation = select(activation.to_vec());
    // Biases of every map, or one after the gate in place of them, or none.
    (8..=24usize, activation, any::<bool>(), 0..=2usize, weighted(0.2, norm())).prop_map(
        |(d_mlp, activation, gated, biases, norm)| Mlp {
            d_mlp,
            activation,
            gated,
            bias: biases == 1,
            post_bias: biases == 2,
            norm,
        },
    )
}
