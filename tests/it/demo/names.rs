//! Who receives, in the built-in model: what a head is called has to be true in both orders of the names, and of what it does.

use anyhow::Result;
use candle_core::Tensor;
use pellucid::analysis::patch::{Direction, Grid, Kind, Only, Over, PatchOptions, Patching, patch};
use pellucid::analysis::path::{Reading, path};
use pellucid::hook::{Hook, HookPoint, Site};
use pellucid::ops::rows::Rows;
use pellucid::session::Session;
use pellucid::text::{Bos, Pair, Prompt, PromptEntry, build_prompts};

use crate::train::card::Card;
use crate::train::corpus::{random, streams};
use crate::train::mechanisms::Mechanisms;
use crate::train::names::{Found, Names, Question, questions};
use crate::train::roles::{Role, role};
use crate::train::silence::{How, Part};
use crate::train::skills::{Bound, Measured};
use crate::train::statistics::Mean;

fn demo() -> Session {
    Session::open("demo").unwrap()
}

fn asked(loaded: &Session, times: usize) -> Vec<Question> {
    questions(loaded, &mut random(5, streams::ORDERS), times).unwrap()
}

/// What every part does, and what it is called.
fn roles(names: &Names) -> Result<Vec<(Found, Option<Role>)>> {
    let whole = names.by_order(&names.whole()?, |said| said.difference);
    Ok(names.parts()?.into_iter().map(|found| (found.clone(), role(&found, &whole))).collect())
}

fn of(found: &[(Found, Option<Role>)], head: (usize, usize)) -> &(Found, Option<Role>) {
    found.iter().find(|(found, _)| found.part == Part::head(head.0, head.1)).unwrap()
}

/// Mean attention to the receiver, in each order.
fn to_the_receiver(found: &Found) -> [f64; 2] {
    let looks = found.looks.unwrap();
    [looks[0][0].mean, looks[1][1].mean]
}

/// Heads that look at one place whoever gives have, on average over both orders, half of their attention on the receiver: more
/// than what once was enough to be called a name mover.
///
/// Invariant: The name given to a head of the built-in model is true in both orders of the names, for its direct effect and when
/// it is ablated; a head that reads a fixed position is not called a name mover.
#[test]
fn heads_of_a_fixed_place_are_not_called_name_movers() -> Result<()> {
    let loaded = demo();
    let names = Names::of(&loaded, &asked(&loaded, 10), None)?;
    let found = roles(&names)?;
    for (head, place) in [((1, 0), 1), ((1, 1), 0), ((1, 2), 0), ((1, 3), 1)] {
        let (head, role) = of(&found, head);
        let looks = to_the_receiver(head);
        assert!((looks[0] + looks[1]) / 2.0 > 0.4, "{head:?}");
        assert!(looks[place] > 0.8 && looks[1 - place] < 0.1, "{head:?}");
        assert_eq!(*role, Some(Role::Place(place)), "{head:?}");
        // It speaks for the giver as much as for the receiver: without it, one order gains what the other loses.
        for effect in [head.direct, head.lost[0], head.lost[1]] {
            assert!(effect[place].mean > 2.0 && effect[1 - place].mean < -2.0, "{head:?}");
        }
    }
    let called = |role| -> Vec<String> {
        found.iter().filter(|(_, found)| *found == Some(role)).map(|(found, _)| found.part.to_string()).collect()
    };
    assert_eq!(called(Role::AgainstTheGiver), ["2.0", "2.3"]);
    assert_eq!(called(Role::NameMover), [""; 0]);
    Ok(())
}

/// Where a planted head looks from the last position.
type Looks = fn(&Question) -> usize;

/// A head that looks at one place from the last position of every sequence.
struct Planted {
    point: HookPoint,
    head: usize,
    keys: Vec<usize>,
}

impl Hook for Planted {
    fn wants(&self, at: HookPoint) -> bool {
        at == self.point
    }

    fn on(&mut self, _: HookPoint, rows: &Rows, x: Tensor) -> pellucid::Result<Tensor> {
        let (dims, mut pattern_hqk) = (x.dims().to_vec(), x.to_vec3::<f32>()?);
        let last = pattern_hqk[self.head].last_mut().unwrap();
        last.fill(0.0);
        last[self.keys[rows.sequences[0].index]] = 1.0;
        Ok(Tensor::from_vec(pattern_hqk.into_iter().flatten().flatten().collect(), dims, x.device())?)
    }
}

/// What the head is called, and how much it looks at the receiver, when it looks there.
fn planted(loaded: &Session, (layer, head): (usize, usize), looks: Looks) -> Result<(Option<Role>, [f64; 2])> {
    let plant = move |questions: &[Question]| -> Box<dyn Hook> {
        let keys = questions.iter().map(looks).collect();
        Box::new(Planted { point: HookPoint::block(layer, Site::Pattern), head, keys })
    };
    let names = Names::of(loaded, &asked(loaded, 8), Some(&plant))?;
    let (found, role) = of(&roles(&names)?, (layer, head)).clone();
    Ok((role, to_the_receiver(&found)))
}

/// Invariant: as `heads_of_a_fixed_place_are_not_called_name_movers`.
#[test]
fn a_planted_head_is_called_what_it_is() -> Result<()> {
    let loaded = demo();
    let second: Looks = |q| q.named[1];
    let receiver: Looks = |q| q.named[q.order];
    let giver: Looks = |q| q.named[1 - q.order];
    // Head 1.1 copies the name it looks at. At the second name, or at the giver, it moves no receiver.
    assert_eq!(planted(&loaded, (1, 1), second)?, (Some(Role::Place(1)), [0.0, 1.0]));
    assert_eq!(planted(&loaded, (1, 1), giver)?, (None, [0.0, 0.0]));
    // At the receiver it does, whoever that is.
    assert_eq!(planted(&loaded, (1, 1), receiver)?, (Some(Role::NameMover), [1.0, 1.0]));
    // Head 3.1 may look at the receiver as much as it likes: what it writes says nothing of names.
    assert_eq!(planted(&loaded, (3, 1), receiver)?, (None, [1.0, 1.0]));
    Ok(())
}

/// What the card calls direct effects and ablations is what `pellucid path` and `pellucid ablate` compute, which are themselves
/// compared with whole forward passes.
///
/// Invariant: The effects on its card are those of `path` and `ablate`; every line and number of the card is checked.
#[test]
fn direct_effects_are_those_of_path_and_losses_those_of_ablate() -> Result<()> {
    let loaded = demo();
    let (model, questions) = (&loaded.model, asked(&loaded, 1));
    let prompt = |ids: &[u32]| -> Result<Prompt> {
        let spec = model.spec();
        Ok(build_prompts(&[PromptEntry::ids(ids)], None, spec.d_vocab, spec.n_ctx, Bos::default())?.remove(0))
    };
    let pairs = questions.iter().enumerate().map(|(i, q)| {
        let (clean, others) = (prompt(&q.ids)?, Some(prompt(&q.others)?));
        Ok(Pair::new(i as u32, i.to_string(), clean, others, vec![q.receiver], vec![q.giver])?)
    });
    let pairs = pairs.collect::<Result<Vec<Pair>>>()?;
    let dataset: Vec<Prompt> = pairs.iter().map(|pair| pair.clean.clone()).collect();
    let names = Names::of(&loaded, &questions, None)?;
    let options = |at: &str, kind: Kind, positions: Option<Vec<isize>>| {
        let over = if at == "z" { vec![Over::Layer, Over::Head] } else { vec![Over::Layer] };
        let only = Only { pos: positions.map(pellucid::range::numbers), ..Only::default() };
        let grid = Grid { at: at.into(), over, only, ..Grid::default() };
        let how = Patching { kind, direction: Some(Direction::Noise), ..Patching::default() };
        PatchOptions { grid, how, dataset: dataset.clone(), ..PatchOptions::default() }
    };
    let part =
        |layer: Option<u32>, head: Option<u32>| Part { layer: layer.unwrap() as usize, head: head.map(|h| h as usize) };
    let mut compared = 0;
    let mut compare = |part: Part, pair: u32, theirs: f32, ours: f64| {
        // Logits of 30 in f32, the sums of four blocks added in another order: 1e-5 of their size.
        assert!((f64::from(theirs) - ours).abs() < 3e-4, "{part} of {pair}: {theirs} and {ours}");
        compared += 1;
    };
    for at in ["z", "mlp_out"] {
        let sweep = options(at, Kind::Replace, Some(vec![-1]));
        let mut rows = vec![];
        path(model, &pairs, &sweep, &Reading::default(), &mut (), &(), &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        for row in rows {
            let part = part(row.from.sender_layer, row.from.sender_head);
            let ours = names.with_a_stranger_on_the_direct_path(part)?[row.pair as usize].difference;
            compare(part, row.pair, row.measured.patched.unwrap(), ours);
        }
        for (how, kind) in [(How::Zero, Kind::Zero), (How::Mean, Kind::Mean { by_position: false })] {
            let mut rows = vec![];
            patch(model, &pairs, &options(at, kind, None), &mut (), &(), &mut |row| {
                rows.push(row);
                Ok(())
            })?;
            for row in rows {
                let part = part(row.place.layer, row.place.head);
                compare(
                    part,
                    row.pair,
                    row.measured.patched.unwrap(),
                    names.without(&[part], how)?[row.pair as usize].difference,
                );
            }
        }
    }
    assert_eq!(compared, questions.len() * 20 * 3);
    Ok(())
}

fn card(measured: Measured, found: Vec<(Found, Option<Role>)>) -> Card {
    Card {
        seed: 1,
        steps: 10,
        tokens: 1000,
        parameters: 1_071_872,
        d_vocab: 2048,
        held_out_loss: 1.5,
        corpus: "blake3:00ff".into(),
        weights: "blake3:11ee".into(),
        tokenizer: "blake3:22dd".into(),
        skills: vec![],
        mechanisms: Mechanisms { measured: vec![measured], names: found, questions: 28 },
    }
}

/// The check of the card sees every number, word and bound of it.
///
/// Invariant: as `direct_effects_are_those_of_path_and_losses_those_of_ablate`.
#[test]
fn a_card_that_is_not_true_is_found_out() -> Result<()> {
    let loaded = demo();
    let found = roles(&Names::of(&loaded, &asked(&loaded, 2), None)?)?;
    let value = Mean { mean: 0.9, error: 0.01, answer: 0.0 };
    let measured = Measured::new("a head", "attention", value, Bound::AtLeast(0.85));
    let is = card(measured.clone(), found.clone());
    let said = is.markdown();
    assert_eq!(is.differences(&said), [""; 0]);
    // Within rounding, and a digit that is not.
    assert_eq!(is.differences(&said.replace("0.900 ± 0.010", "0.903 ± 0.010")), [""; 0]);
    let wrong = |changed: String| {
        assert_ne!(changed, said);
        let wrong = is.differences(&changed);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        wrong[0].clone()
    };
    assert!(wrong(said.replace("0.900 ± 0.010", "0.910 ± 0.010")).contains("0.910"));
    wrong(said.replace("at least 0.85", "at least 0.95"));
    // A head that is said to be something else; an effect with the other sign.
    let row = said.lines().find(|line| line.starts_with("| 1.3 |")).unwrap();
    assert!(row.ends_with("| second name |"), "{row}");
    wrong(said.replace(row, &row.replace("second name", "name mover")));
    wrong(said.replace(row, &row.replacen('+', "-", 1)));
    wrong(said.replace("No head is a name mover", "Head 1.3 is a name mover"));
    let wrong_hash = is.differences(&said.replace("blake3:11ee", "blake3:11ef"));
    assert!(wrong_hash.iter().any(|wrong| wrong.contains("hash")), "{wrong_hash:?}");
    // Right on these questions, and not by two standard errors.
    for (mean, bound) in [(0.86, Bound::AtLeast(0.85)), (0.84, Bound::Under(0.85))] {
        let value = Mean { mean, ..value };
        let is = card(Measured { value, bound, ..measured.clone() }, found.clone());
        let wrong = is.differences(&is.markdown());
        assert!(wrong.len() == 1 && wrong[0].contains("is not enough"), "{wrong:?}");
    }
    Ok(())
}
