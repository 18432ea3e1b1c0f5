//! Who receives: what every head and MLP does about the two names, in either order.
//!
//! A head that always looks at one place in the order of mention is right half of the time, and a mean over both orders
//! cannot tell it from one that finds the receiver. So every number here is of one order, and beside where a head looks
//! stands what that does: by the direct path to the logits, and by what is lost without the head.

use anyhow::{Context, Result};
use candle_core::Tensor;
use pellucid::hook::{Cache, Hook, HookPoint, Site};
use pellucid::model::{Batch, Model, Output, Run, Unembed};
use pellucid::session::Session;

use super::grammar::{Random, Split, ioi, words};
use super::silence::{How, Means, Part, Silence, points};
use super::skills::{ids, token};
use super::statistics::Mean;

/// Questions in one pack.
const PACK: usize = 70;

/// One number for each order: the receiver is named first, the receiver is named second.
pub type ByOrder<T> = [T; 2];

/// The orders in words.
pub const ORDERS: ByOrder<&str> = ["receiver named first", "receiver named second"];

/// A prompt that ends before the receiver.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Those of the same words about three other people.
    pub others: Vec<u32>,
    /// Where the two are named first.
    pub named: [usize; 2],
    /// Where the giver is named again.
    pub again: usize,
    /// Which of the two receives.
    pub order: usize,
    /// The receiver's name.
    pub receiver: u32,
    /// The giver's.
    pub giver: u32,
}

impl Question {
    fn of(loaded: &Session, order: usize, asked: &ioi::InOrder) -> Result<Self> {
        let (prompt, others) = (ids(loaded, &asked.task.prompt)?, ids(loaded, &asked.others)?);
        anyhow::ensure!(
            prompt.len() == others.len(),
            "a name is not one token: {}, {}",
            asked.task.prompt,
            asked.others
        );
        // At the beginning of a text a name has no space before it.
        let places = |name: &str| -> Result<Vec<usize>> {
            let spelled: Vec<u32> =
                [format!(" {name}"), name.to_owned()].iter().filter_map(|name| loaded.target(name).ok()).collect();
            Ok((0..prompt.len()).filter(|i| spelled.contains(&prompt[*i])).collect())
        };
        let [first, second] = [places(asked.named[0])?, places(asked.named[1])?];
        let again = *[&second, &first][order].last().context("the giver is not named")?;
        anyhow::ensure!([first.len(), second.len()] == [[1, 2], [2, 1]][order], "{}", asked.task.prompt);
        Ok(Self {
            named: [first[0], second[0]],
            again,
            order,
            receiver: token(loaded, &asked.task.answer)? as u32,
            giver: token(loaded, &asked.task.foils[0])? as u32,
            ids: prompt,
            others,
        })
    }
}

/// Every frame `times` times, each in both orders.
pub fn questions(loaded: &Session, random: &mut Random, times: usize) -> Result<Vec<Question>> {
    let frames = (0..times).flat_map(|_| ioi::FRAMES);
    let pairs = frames.map(|frame| ioi::in_both_orders(random, Split::HeldOut, frame)).collect::<Vec<_>>();
    let both = pairs.iter().flat_map(|pair| pair.iter().enumerate());
    both.map(|(order, asked)| Question::of(loaded, order, asked)).collect()
}

/// What the logits after a prompt say of the two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// Logit of the receiver minus that of the giver.
    pub difference: f64,
    /// Probability of the receiver among all tokens.
    pub prob: f64,
    /// Logit of the receiver minus the mean of all names.
    pub receiver: f64,
    /// The same of the giver.
    pub giver: f64,
    /// Whether the receiver is the most probable token.
    pub first: bool,
    /// Whether the two most probable tokens are the two.
    pub both: bool,
}

/// What one head or MLP does.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub part: Part,
    /// Mean attention from the last position to the first name, the second, and the giver named again; of heads.
    pub looks: Option<ByOrder<[Mean; 3]>>,
    /// What its write at the last position adds to the logit difference on the direct path to the logits, against what it
    /// writes where three other people are in the same words (path patching; Wang et al. 2022).
    pub direct: ByOrder<Mean>,
    /// The same for the logit of the receiver, against the mean of all names.
    pub receiver: ByOrder<Mean>,
    /// The same for that of the giver.
    pub giver: ByOrder<Mean>,
    /// The logit difference that is lost when it is silenced: by zero, and by its mean.
    pub lost: [ByOrder<Mean>; 2],
}

/// A hook for each pack of questions that is part of the model in every run: a head that was planted.
pub type Plant<'a> = &'a dyn Fn(&[Question]) -> Box<dyn Hook>;

/// Questions, and the model's runs on them.
pub struct Names<'a> {
    loaded: &'a Session,
    packs: Vec<Pack>,
    names: Vec<u32>,
    plant: Option<Plant<'a>>,
    means: Means,
}

struct Pack {
    questions: Vec<Question>,
    /// The row of each question's last position.
    ends: Vec<u32>,
    /// The run as it is.
    run: Recorded,
    /// That with the other people.
    others: Recorded,
}

struct Recorded {
    cache: Cache,
    /// The last stream at the last positions, `[questions, d]`.
    resid_nd: Tensor,
}

impl<'a> Names<'a> {
    /// Runs the questions, with what was planted.
    pub fn of(loaded: &'a Session, questions: &[Question], plant: Option<Plant<'a>>) -> Result<Self> {
        let names = words::NAMES.iter().map(|(name, _)| Ok(token(loaded, &format!(" {name}"))? as u32));
        let names = names.collect::<Result<Vec<_>>>()?;
        let mut all = Self { loaded, packs: vec![], names, plant, means: Means::default() };
        for questions in questions.chunks(PACK) {
            let ends = questions.iter().scan(0, |end, q| {
                *end += q.ids.len() as u32;
                Some(*end - 1)
            });
            let ends: Vec<u32> = ends.collect();
            let run = all.recorded(questions, &ends, |q| &q.ids)?;
            let others = all.recorded(questions, &ends, |q| &q.others)?;
            all.means.add(&loaded.model, &run.cache)?;
            all.packs.push(Pack { questions: questions.to_vec(), ends, run, others });
        }
        Ok(all)
    }

    fn model(&self) -> &'a Model {
        &self.loaded.model
    }

    fn recorded(&self, questions: &[Question], ends: &[u32], of: impl Fn(&Question) -> &Vec<u32>) -> Result<Recorded> {
        let blocks = 0..self.model().spec().n_layers();
        let sites = [Site::ResidPre, Site::ResidPost, Site::Pattern, Site::Result];
        let kept = blocks.flat_map(|l| sites.map(|site| HookPoint::block(l, site)));
        let mut cache = Cache::of(kept.chain(points(self.model())));
        let batch = Batch::of(questions.iter().map(|q| of(q).clone()));
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        let out = self.run(questions, &batch, &run, &mut cache)?;
        Ok(Recorded { cache, resid_nd: rows(&out.resid, ends)? })
    }

    fn run(&self, questions: &[Question], batch: &Batch, run: &Run, hook: &mut dyn Hook) -> Result<Output> {
        Ok(match self.plant {
            Some(plant) => self.model().run(batch, run, &mut [&mut *plant(questions), hook])?,
            None => self.model().run(batch, run, &mut [hook])?,
        })
    }

    /// What streams `[questions, d]` of a pack say when they are decoded.
    fn said(&self, pack: &Pack, resid_nd: &Tensor) -> Result<Vec<Said>> {
        let logits = self.model().decode(resid_nd)?.to_vec2::<f32>()?;
        let said = pack.questions.iter().zip(logits).map(|(q, logits)| {
            let logit = |id: u32| f64::from(logits[id as usize]);
            let (receiver, giver) = (logit(q.receiver), logit(q.giver));
            let of_names = self.names.iter().map(|id| logit(*id)).sum::<f64>() / self.names.len() as f64;
            let above = |least: f64| logits.iter().filter(|l| f64::from(**l) > least).count();
            let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let all: f64 = logits.iter().map(|l| f64::from(l - top).exp()).sum();
            Said {
                difference: receiver - giver,
                prob: (receiver - f64::from(top)).exp() / all,
                receiver: receiver - of_names,
                giver: giver - of_names,
                first: above(receiver) == 0,
                both: above(receiver.min(giver)) == 1,
            }
        });
        Ok(said.collect())
    }

    /// What the model says, question by question.
    pub fn whole(&self) -> Result<Vec<Said>> {
        self.each(|pack| self.said(pack, &pack.run.resid_nd))
    }

    /// What the logit lens says after block `layer`.
    pub fn after_block(&self, layer: usize) -> Result<Vec<Said>> {
        let name = HookPoint::block(layer, Site::ResidPost).to_string();
        self.each(|pack| self.said(pack, &rows(pack.run.cache.get(&name)?, &pack.ends)?))
    }

    /// What the model says when these parts are silenced.
    pub fn without(&self, parts: &[Part], how: How) -> Result<Vec<Said>> {
        self.each(|pack| {
            let mut silence = Silence::of(self.model(), parts, how, &self.means)?;
            // Below the first of them the run is the one that was kept.
            let layer = silence.begins_at();
            let resid = pack.run.cache.get(&HookPoint::block(layer, Site::ResidPre).to_string())?.clone();
            let run = Run { from: Some((layer, resid)), unembed: Unembed::Nothing, ..Run::default() };
            let batch = Batch::of(pack.questions.iter().map(|q| q.ids.clone()));
            let out = self.run(&pack.questions, &batch, &run, &mut silence)?;
            self.said(pack, &rows(&out.resid, &pack.ends)?)
        })
    }

    /// What the model says when what one part writes at the last position is, on the direct path to the logits, what it writes
    /// about other people.
    pub fn with_a_stranger_on_the_direct_path(&self, part: Part) -> Result<Vec<Said>> {
        self.each(|pack| {
            let write = |run: &Recorded| -> Result<Tensor> {
                let site = if part.head.is_some() { Site::Result } else { Site::MlpOut };
                let at_end = rows(run.cache.get(&HookPoint::block(part.layer, site).to_string())?, &pack.ends)?;
                Ok(part.head.map_or(Ok(at_end.clone()), |head| at_end.narrow(1, head, 1)?.squeeze(1))?)
            };
            let resid_nd = ((&pack.run.resid_nd - write(&pack.run)?)? + write(&pack.others)?)?;
            self.said(pack, &resid_nd)
        })
    }

    /// Mean attention from the last position to the first name, the second, and the giver named again.
    fn looks(&self, layer: usize, head: usize) -> Result<ByOrder<[Mean; 3]>> {
        let name = HookPoint::block(layer, Site::Pattern).to_string();
        let looks: Vec<[f64; 3]> = self.each(|pack| {
            let each = pack.questions.iter().enumerate().map(|(i, q)| {
                let last = pack.run.cache.sequence(&name, i)?.get(head)?.get(q.ids.len() - 1)?.to_vec1::<f32>()?;
                Ok([q.named[0], q.named[1], q.again].map(|at| f64::from(last[at])))
            });
            each.collect()
        })?;
        let [a, b, c] = [0, 1, 2].map(|at| self.by_order(&looks, |x| x[at]));
        Ok([0, 1].map(|order| [a[order], b[order], c[order]]))
    }

    fn each<T>(&self, of: impl Fn(&Pack) -> Result<Vec<T>>) -> Result<Vec<T>> {
        Ok(self.packs.iter().map(of).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn of_order<T>(&self, order: usize, values: &[T], of: impl Fn(&T) -> f64) -> Vec<f64> {
        let questions = self.packs.iter().flat_map(|pack| &pack.questions);
        questions.zip(values).filter(|(q, _)| q.order == order).map(|(_, value)| of(value)).collect()
    }

    /// The mean of a number of each question, order by order.
    pub fn by_order<T>(&self, values: &[T], of: impl Fn(&T) -> f64) -> ByOrder<Mean> {
        [0, 1].map(|order| Mean::of(&self.of_order(order, values, &of)))
    }

    /// The share of questions of which something is true, order by order.
    pub fn share(&self, values: &[Said], of: impl Fn(&Said) -> bool) -> ByOrder<Mean> {
        [0, 1].map(|order| {
            let yes = self.of_order(order, values, |said| f64::from(u8::from(of(said))));
            Mean::share(&yes.iter().map(|yes| *yes > 0.0).collect::<Vec<_>>())
        })
    }

    /// What every head and MLP does.
    pub fn parts(&self) -> Result<Vec<Found>> {
        let whole = self.whole()?;
        let lost = |changed: &[Said], of: fn(&Said) -> f64| {
            let lost: Vec<f64> = whole.iter().zip(changed).map(|(whole, changed)| of(whole) - of(changed)).collect();
            self.by_order(&lost, |x| *x)
        };
        let found = Part::all(self.model()).into_iter().map(|part| {
            let direct = self.with_a_stranger_on_the_direct_path(part)?;
            let [zero, mean] = [self.without(&[part], How::Zero)?, self.without(&[part], How::Mean)?];
            Ok(Found {
                part,
                looks: part.head.map(|head| self.looks(part.layer, head)).transpose()?,
                direct: lost(&direct, |said| said.difference),
                receiver: lost(&direct, |said| said.receiver),
                giver: lost(&direct, |said| said.giver),
                lost: [lost(&zero, |said| said.difference), lost(&mean, |said| said.difference)],
            })
        });
        found.collect()
    }
}

/// Some rows of `x [t, ..]`.
fn rows(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    Ok(x.index_select(&Tensor::new(rows, x.device())?, 0)?)
}
