//! A change carried out by tensor operations: each number by hand, and its gradient.

use candle_core::{Device, Tensor, Var};
use pellucid::Result;
use pellucid::hook::{Change, Changed, Hook, HookPoint, How, Site};
use pellucid::ops::numbers;
use pellucid::ops::rows::Rows;

const N: usize = 3;
const HEADS: usize = 2;
const WIDTH: usize = 4;

/// Neighbouring numbers differ, and none is a round one.
fn values(seed: f32) -> Vec<f32> {
    (0..N * HEADS * WIDTH).map(|i| (i as f32 * 0.37 + seed).sin() * 3.0).collect()
}

#[test]
fn each_number_and_its_gradient_is_what_was_asked_for() -> Result<()> {
    let (old, source, weights) = (values(0.1), values(2.3), values(4.7));
    let shape = (N, HEADS, WIDTH);
    let tensor = |x: &[f32]| Tensor::from_vec(x.to_vec(), shape, &Device::Cpu);
    let hows = [How::Put(tensor(&source)?), How::Add(tensor(&source)?), How::Fill(0.5), How::Scale(-1.5)];
    for how in hows {
        // Head 1 at positions 0 and 2; one number of each head at all positions.
        for (positions, head, neuron) in
            [(Some(vec![0, 2]), Some(1), None), (None, None, None), (Some(vec![1]), None, None)]
        {
            let point = HookPoint::block(0, Site::Z);
            let change = Change { positions: positions.clone(), head, neuron, ..Change::new(point, how.clone()) };
            let x = Var::from_tensor(&tensor(&old)?)?;
            let rows = Rows::pack([(0, N)]);
            let y = Changed(vec![&change]).on(point, &rows, x.as_tensor().clone())?;
            let gradients = (&y * tensor(&weights)?)?.sum_all()?.backward()?;
            let gradient = match gradients.get(&x) {
                Some(gradient) => numbers(gradient)?,
                None => vec![0.0; old.len()],
            };
            for (i, y) in numbers(&y)?.into_iter().enumerate() {
                let (pos, h) = (i / (HEADS * WIDTH), i / WIDTH % HEADS);
                let chosen = positions.as_ref().is_none_or(|p| p.contains(&pos)) && head.is_none_or(|head| head == h);
                let (want, slope) = match &how {
                    _ if !chosen => (old[i], 1.0),
                    How::Put(_) => (source[i], 0.0),
                    How::Add(_) => (old[i] + source[i], 1.0),
                    How::Fill(x) => (*x, 0.0),
                    How::Scale(x) => (old[i] * x, *x),
                };
                // One operation in f32, which has one result.
                assert_eq!((y, gradient[i]), (want, weights[i] * slope), "{how:?} {positions:?} {head:?} at {i}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_hidden_key_stays_hidden_and_a_mean_of_more_positions_is_cut() -> Result<()> {
    let point = HookPoint::block(0, Site::AttnScores);
    let hidden = f32::NEG_INFINITY;
    let scores = Tensor::new(&[[[1.0f32, hidden], [2.0, 3.0]]], &Device::Cpu)?;
    let rows = Rows::pack([(0, 2)]);
    let filled = Change::new(point, How::Fill(7.0));
    let y = Changed(vec![&filled]).on(point, &rows, scores)?;
    assert_eq!(numbers(&y)?, [7.0, hidden, 7.0, 7.0]);

    let point = HookPoint::block(0, Site::ResidPre);
    let mean = Change {
        positions: Some(vec![1]),
        ..Change::new(point, How::Put(Tensor::new(&[[5f32], [6.0], [7.0]], &Device::Cpu)?))
    };
    let y = Changed(vec![&mean]).on(point, &rows, Tensor::new(&[[1f32], [2.0]], &Device::Cpu)?)?;
    assert_eq!(numbers(&y)?, [1.0, 6.0]);
    Ok(())
}
