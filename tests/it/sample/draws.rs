//! Draws: as often as probabilities say, and the same whatever else is drawn.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as TheirSampling};
use pellucid::sample::{Chain, Context, Pool, Step, Ties, uniform};

const N: u64 = 20_000;

fn logits() -> Vec<f32> {
    (0..12).map(|i| ((i * 7 + 3) % 11) as f32 / 3.0).collect()
}

fn chain(steps: &[Step]) -> Chain {
    Chain { steps: steps.to_vec(), ties: Ties::Lower }
}

/// How far counts are from what is expected, as chi squared; and how many have an expectation.
fn chi_squared(counts: &[u64], expected: &[f64]) -> (f64, usize) {
    let n = counts.iter().sum::<u64>() as f64;
    let of = |(count, p): (&u64, &f64)| (*count as f64 - n * p).powi(2) / (n * p);
    assert!(counts.iter().zip(expected).all(|(count, p)| *p > 0.0 || *count == 0), "a token was drawn that was cut");
    let used: Vec<_> = counts.iter().zip(expected).filter(|(_, p)| **p > 0.0).collect();
    (used.iter().copied().map(of).sum(), used.len())
}

/// The value that chi squared of `degrees` exceeds once in a thousand times (Wilson and Hilferty 1931).
fn limit(degrees: usize) -> f64 {
    let k = degrees as f64;
    k * (1.0 - 2.0 / (9.0 * k) + 3.09 * (2.0 / (9.0 * k)).sqrt()).powi(3)
}

fn chains() -> Vec<Chain> {
    vec![
        Chain::default(),
        chain(&[Step::Temperature(0.7)]),
        chain(&[Step::TopK(5)]),
        chain(&[Step::Temperature(1.4), Step::TopP(0.8)]),
        chain(&[Step::MinP(0.2), Step::Typical(0.9)]),
    ]
}

#[test]
fn tokens_are_drawn_as_often_as_their_probability_says() {
    for chain in chains() {
        let logits = logits();
        let mut pool = Pool::to_draw(&logits, &chain, Context::default()).unwrap();
        let mut counts = vec![0; 12];
        for trace in 0..N {
            counts[pool.draw(uniform(1, trace, 0)).id as usize] += 1;
        }
        let (chi, n) = chi_squared(&counts, &pool.sampled());
        assert!(chi < limit(n - 1), "{chain}: {chi} for {n} tokens");
    }
}

#[test]
fn steps_of_a_trace_are_drawn_independently() {
    // Of two steps that followed each other's draw, pairs would not be as frequent as products.
    let mut pool = Pool::of(&[0.0, 1.0, 0.5], &Chain::default(), Context::default()).unwrap();
    let (mut counts, mut expected) = (vec![0; 9], vec![0.0; 9]);
    for step in 0..N {
        let mut at = |step| pool.draw(uniform(3, 0, step)).id as usize;
        counts[at(2 * step) * 3 + at(2 * step + 1)] += 1;
    }
    let sampled = pool.sampled();
    (0..9).for_each(|i| expected[i] = sampled[i / 3] * sampled[i % 3]);
    let (chi, n) = chi_squared(&counts, &expected);
    assert!(chi < limit(n - 1), "{chi}");
}

#[test]
fn a_draw_depends_on_seed_trace_and_step_alone() {
    let first = uniform(7, 3, 5);
    assert_eq!(first, uniform(7, 3, 5));
    assert!([uniform(8, 3, 5), uniform(7, 4, 5), uniform(7, 3, 6)].iter().all(|other| *other != first));
    assert!((0..1000).all(|step| (0.0..1.0).contains(&uniform(0, 0, step))));
}

#[test]
fn a_draw_at_the_end_of_a_share_is_said_to_be_close() {
    let mut pool = Pool::of(&[0.0, 0.0], &Chain::default(), Context::default()).unwrap();
    let mut at = |x| {
        let drawn = pool.draw(x);
        (drawn.id, drawn.close)
    };
    assert_eq!([at(0.0), at(0.25), at(0.4999999), at(0.5), at(0.75), at(0.9999999)].map(|d| d.0), [0, 0, 0, 1, 1, 1]);
    assert_eq!(
        [at(0.0), at(0.25), at(0.4999999), at(0.5), at(0.75), at(0.9999999)].map(|d| d.1),
        [false, false, true, true, false, false]
    );
}

/// candle-transformers draws from the same pools, for the samplers that it has.
#[test]
fn candle_draws_from_the_same_pools() {
    let (k, p, temperature) = (5, 0.7, 1.3);
    let cases = [
        (TheirSampling::All { temperature }, vec![Step::Temperature(temperature)]),
        (TheirSampling::TopK { k, temperature }, vec![Step::Temperature(temperature), Step::TopK(k)]),
        (TheirSampling::TopP { p, temperature }, vec![Step::Temperature(temperature), Step::TopP(p)]),
        (
            TheirSampling::TopKThenTopP { k, p, temperature },
            vec![Step::Temperature(temperature), Step::TopK(k), Step::TopP(p)],
        ),
    ];
    let tensor = Tensor::new(logits(), &Device::Cpu).unwrap();
    for (theirs, steps) in cases {
        // After top-k candle does not divide by what is left, so that its p is of the whole distribution.
        let whole = matches!(theirs, TheirSampling::TopKThenTopP { .. });
        let logits = logits();
        let pool = Pool::of(&logits, &chain(&steps), Context::default()).unwrap();
        let mut processor = LogitsProcessor::from_sampling(1, theirs.clone());
        let mut counts = vec![0; 12];
        for _ in 0..N {
            counts[processor.sample(&tensor).unwrap() as usize] += 1;
        }
        if whole {
            assert!(pool.kept().iter().all(|id| counts[*id as usize] > 0), "{theirs:?} lacks one of ours");
            continue;
        }
        let (chi, n) = chi_squared(&counts, &pool.sampled());
        assert!(chi < limit(n - 1), "{theirs:?}: {chi} for {n} tokens");
    }
    let mut processor = LogitsProcessor::from_sampling(1, TheirSampling::ArgMax);
    let logits = logits();
    let greedy = Pool::of(&logits, &Chain::greedy(), Context::default()).unwrap();
    assert_eq!(greedy.kept(), [processor.sample(&tensor).unwrap()]);
}
