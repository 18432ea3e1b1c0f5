//! What is to be found inside the model: heads that do what heads of large models do, and answers that come up on the way.
//!
//! Where a head looks is not yet what it does. Whatever has a name here is named for both: a head or group is silenced, or its
//! path to the logits is patched, and what is lost has to be what its name says; and where a prompt has two orders, it has to
//! be so in both.

use anyhow::{Context, Result};
use pellucid::hook::Cache;
use pellucid::model::Batch;
use pellucid::session::Session;

use super::corpus::{random, streams};
use super::grammar::{Random, Split, facts};
use super::names::{ByOrder, Found, Names, ORDERS, questions};
use super::repetition::{self, all_of};
use super::roles::{Role, role};
use super::silence::{How, Part};
use super::skills::{Bound, Measured, ids, token};
use super::statistics::Mean;

/// Questions in each order: every frame so many times.
const TIMES: usize = 10;

/// What is inside.
pub struct Mechanisms {
    /// Each with a number that can be checked.
    pub measured: Vec<Measured>,
    /// What every head and MLP does about the two names, in either order, and what it is called.
    pub names: Vec<(Found, Option<Role>)>,
    /// Questions in each order.
    pub questions: usize,
}

/// Every mechanism.
pub fn measure(loaded: &Session, seed: u64) -> Result<Mechanisms> {
    let mut questions_random = random(seed, streams::ORDERS);
    let questions = questions(loaded, &mut questions_random, TIMES)?;
    let names = Names::of(loaded, &questions, None)?;
    let whole = names.by_order(&names.whole()?, |said| said.difference);
    let parts: Vec<(Found, Option<Role>)> =
        names.parts()?.into_iter().map(|found| (found.clone(), role(&found, &whole))).collect();
    let mut random = random(seed, streams::QUESTIONS);
    let mut measured = repetition::measure(loaded, &mut random)?;
    measured.extend(who_receives(&names, &parts)?);
    measured.push(answer_comes_up(loaded, &mut random)?);
    Ok(Mechanisms { measured, names: parts, questions: questions.len() / 2 })
}

/// The heads of a role.
pub fn of_role(parts: &[(Found, Option<Role>)], role: Role) -> Vec<Part> {
    parts.iter().filter(|(_, found)| *found == Some(role)).map(|(found, _)| found.part).collect()
}

/// One measure in both orders.
fn in_both(name: &str, how: &str, values: ByOrder<Mean>, bounds: ByOrder<Bound>) -> [Measured; 2] {
    [0, 1]
        .map(|order| Measured::new(&format!("{name}, {}", ORDERS[order]), how.to_owned(), values[order], bounds[order]))
}

/// How it is told who receives, each number in both orders.
fn who_receives(names: &Names, parts: &[(Found, Option<Role>)]) -> Result<Vec<Measured>> {
    let silenced = |parts: &[Part]| match parts {
        [] => names.whole(),
        _ => names.without(parts, How::Mean),
    };
    let places = [0, 1].map(|place| of_role(parts, Role::Place(place)));
    let against = of_role(parts, Role::AgainstTheGiver);
    let mut measured = vec![];
    measured.extend(in_both(
        "who receives",
        "logit of the receiver minus that of the giver",
        names.by_order(&names.whole()?, |said| said.difference),
        [Bound::AtLeast(4.0); 2],
    ));
    measured.extend(in_both(
        "both names come up",
        "they are the logit lens's two first guesses after block 1",
        names.share(&names.after_block(1)?, |said| said.both),
        [Bound::AtLeast(0.8); 2],
    ));
    for (place, word) in ["first", "second"].into_iter().enumerate() {
        // They speak for whoever is named there: without them the other one wins, whether that is right or wrong.
        let mut bounds = [Bound::AtLeast(0.9); 2];
        bounds[place] = Bound::Under(0.25);
        measured.extend(in_both(
            &format!("heads of the {word} name silenced"),
            &format!("receiver beats giver without {}; mean ablation", all_of(&places[place])),
            names.share(&silenced(&places[place])?, |said| said.difference > 0.0),
            bounds,
        ));
    }
    measured.extend(in_both(
        "heads of both names silenced",
        &format!("probability of the receiver without {}; mean ablation", all_of(&places.concat())),
        names.by_order(&silenced(&places.concat())?, |said| said.prob),
        [Bound::Under(0.1); 2],
    ));
    measured.extend(in_both(
        "the receiver comes up",
        "first guess of the logit lens after block 2",
        names.share(&names.after_block(2)?, |said| said.first),
        [Bound::AtLeast(0.8); 2],
    ));
    measured.extend(in_both(
        "heads against the giver silenced",
        &format!("logit of the receiver minus that of the giver without {}; mean ablation", all_of(&against)),
        names.by_order(&silenced(&against)?, |said| said.difference),
        [Bound::Under(3.0); 2],
    ));
    let (head, most) = looks_most_at_the_receiver(parts).context("the model has no heads")?;
    measured.push(Measured::new(
        "name mover head",
        format!("mean attention from the last position to the receiver, in the order in which that is less; the most of any head ({head})"),
        most,
        Bound::Nothing("nothing: the model does without"),
    ));
    Ok(measured)
}

/// The head that looks most at the receiver in the order in which it does so less.
fn looks_most_at_the_receiver(parts: &[(Found, Option<Role>)]) -> Option<(Part, Mean)> {
    let less = |found: &Found| {
        let looks = found.looks?;
        // In order 0 the receiver is at place 0, in order 1 at place 1.
        let [first, second] = [looks[0][0], looks[1][1]];
        Some((found.part, if first.mean < second.mean { first } else { second }))
    };
    parts.iter().filter_map(|(found, _)| less(found)).max_by(|a, b| a.1.mean.total_cmp(&b.1.mean))
}

/// How often the capital becomes the logit lens's first guess in a stream after the first block's and before the last: after
/// a sublayer of a later block, but not only at the output.
fn answer_comes_up(loaded: &Session, random: &mut Random) -> Result<Measured> {
    const PROMPTS: usize = 300;
    let model = &loaded.model;
    let kind = &facts::KINDS[0];
    let phrasings: Vec<&str> = kind.direct().collect();
    let last = model.spec().n_layers() - 1;
    let mut between = vec![];
    for _ in 0..PROMPTS {
        let task = facts::phrased(random, kind, Split::HeldOut, &phrasings);
        let (ids, answer) = (ids(loaded, &task.prompt)?, token(loaded, &task.answer)?);
        let mut cache = Cache::new(model.spec(), "resid_mid,resid_post")?;
        model.forward(&Batch::one(ids.as_slice()), &mut [&mut cache])?;
        // In order: after attention and after the MLP of each block.
        let mut first = vec![];
        for stream in (0..=last).flat_map(|l| ["mid", "post"].map(|at| format!("blocks.{l}.hook_resid_{at}"))) {
            let resid_td = cache.get(&stream)?.narrow(0, ids.len() - 1, 1)?;
            let logits = model.decode(&resid_td)?.get(0)?.to_vec1::<f32>()?;
            first.push(logits.iter().all(|&other| other <= logits[answer]));
        }
        let (early, rest) = first.split_at(2);
        let (output, inside) = rest.split_last().context("the model has one block")?;
        between.push(*output && !early.contains(&true) && inside.contains(&true));
    }
    let how = format!(
        "capital is the logit lens's first guess in a stream between the first block and the output, and not before; \
         {PROMPTS} prompts"
    );
    Ok(Measured::new("answer comes up", how, Mean::share(&between), Bound::AtLeast(0.5)))
}
