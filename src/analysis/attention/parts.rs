//! What each key carries to a query, beside how much the query looks at it.
//!
//! With `a` the probability, `v` the key's value vector and `W` the head's rows of the output map, a key carries `a v W` (Kobayashi et
//! al. 2020). What the keys carry adds up to what the head writes, and as all that follows up to the logits is linear once the
//! scales of norms are held, so do their pushes ([`Model::toward`]).

use std::collections::HashMap;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::hook::Site;
use crate::model::{Batch, Model, Run, Unembed, clamp};
use crate::ops::attention::{Inputs, Scoring, scores};
use crate::ops::rows::Rows;
use crate::ops::{numbers, wide};
use crate::sweep::check_prompts;
use crate::text::Prompt;

/// What is asked of each key beside its probability.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Parts {
    /// The token whose logit is pushed, with its text.
    pub target: Option<(u32, String)>,
    /// The token that it is told from, too.
    pub foil: Option<(u32, String)>,
}

impl Parts {
    /// Of these tokens, each with its text.
    pub fn of(target: Option<(u32, String)>, foil: Option<(u32, String)>) -> Self {
        Self { target, foil }
    }

    /// What a layer's hooks must see for it: these sites, where the model has them.
    pub(super) fn sites(scoring: &Scoring) -> impl Iterator<Item = Site> {
        let read = [Site::V, Site::Z, Site::AttnScores, Site::Pattern, Site::Ln1PostScale, Site::AttnOut];
        let uncapped = [Site::Q, Site::K, Site::QNormed, Site::KNormed, Site::RotQ, Site::RotK];
        read.into_iter().chain(uncapped.into_iter().filter(|_| scoring.cap.is_some()))
    }
}

/// What the pushes of one prompt need: directions of the stream, and for each position what they are divided by.
pub(super) struct Paths {
    /// From the mean logit, and from the foil's.
    along: [Option<Tensor>; 2],
    /// The final norm's scale at each position.
    scales: Vec<f64>,
}

impl Paths {
    /// None where there is no target. Runs the prompt once.
    pub fn of(model: &Model, prompt: &Prompt, parts: &Parts) -> Result<Option<Self>> {
        let Some((target, _)) = parts.target else { return Ok(None) };
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        let out = model.run(&Batch::of([prompt.ids()]), &run, &mut [])?;
        check_prompts(model, std::slice::from_ref(prompt), &out, "")?;
        let scales = match &model.weights().final_norm {
            Some(norm) => numbers(&norm.scale(model.kernels(), &out.resid)?)?.into_iter().map(f64::from).collect(),
            None => vec![1.0; prompt.tokens.len()],
        };
        let along = |foil| Ok::<_, Error>(Some(model.toward(target, foil)?.0));
        let foil = parts.foil.as_ref().map_or(Ok(None), |(foil, _)| along(Some(*foil)))?;
        Ok(Some(Self { along: [along(None)?, foil], scales }))
    }
}

/// What a layer's keys carry to the queries of one prompt.
pub(super) struct Carried<'a> {
    model: &'a Model,
    layer: usize,
    seen: &'a HashMap<Site, Tensor>,
    uncapped: Option<Tensor>,
    /// Directions of what attention writes, and for each position what pushes are divided by.
    along: [Option<Tensor>; 2],
    scales: Vec<f64>,
}

impl<'a> Carried<'a> {
    /// Of what hooks have seen of a layer.
    pub fn of(
        model: &'a Model,
        layer: usize,
        seen: &'a HashMap<Site, Tensor>,
        rows: &Rows,
        paths: Option<&Paths>,
    ) -> Result<Self> {
        let scoring = &model.weights().blocks[layer].scoring;
        let uncapped = scoring.cap.map(|_| uncapped(model, layer, seen, rows)).transpose()?;
        let mut along = [None, None];
        let mut scales = vec![];
        if let Some(paths) = paths {
            for (along, of) in along.iter_mut().zip(&paths.along) {
                *along = of.as_ref().map(|of| model.toward_attention(layer, of)).transpose()?;
            }
            scales.clone_from(&paths.scales);
            if let Some(post) = seen.get(&Site::Ln1PostScale) {
                scales.iter_mut().zip(numbers(post)?).for_each(|(scale, post)| *scale *= f64::from(post));
            }
        }
        Ok(Self { model, layer, seen, uncapped, along, scales })
    }

    fn seen(&self, site: Site) -> Result<&Tensor> {
        let value = self.seen.get(&site);
        value.ok_or_else(|| Error::compute(format!("{} was not seen", site.short())).fault())
    }

    /// What the keys carry in one head.
    pub fn head(&self, head: usize) -> Result<Head> {
        let w = &self.model.weights().blocks[self.layer];
        let e = w.scoring.d_head;
        let of_head = |x: &Tensor, head| wide(&x.narrow(1, head, 1)?.squeeze(1)?);
        let spec = &self.model.spec().blocks[self.layer].attention.inner;
        let v_ke = clamp(spec, of_head(self.seen(Site::V)?, head * w.scoring.n_kv_heads / w.scoring.n_heads)?)?;
        let z_qe = of_head(self.seen(Site::Z)?, head)?;
        let out_ed = wide(&w.o.weight.narrow(0, head * e, e)?.tensor()?)?;
        let result_qd = z_qe.matmul(&out_ed)?;
        // Along the head's write: of all keys at once, without their writes to every position.
        let along_qk = result_qd.matmul(&out_ed.t()?)?.matmul(&v_ke.t()?)?;
        let write_kd = v_ke.matmul(&out_ed)?;
        let lengths = |x: &Tensor| Ok::<_, Error>(x.sqr()?.sum(1)?.sqrt()?.to_vec1::<f64>()?);
        let pushed = |along: &Option<Tensor>| {
            let of = |along: &Tensor| Ok::<_, Error>(write_kd.matmul(&along.unsqueeze(1)?)?.flatten_all()?.to_vec1()?);
            along.as_ref().map(of).transpose()
        };
        let scores_of = |x: &Tensor| numbers(&x.narrow(0, head, 1)?);
        Ok(Head {
            scores: scores_of(self.seen(Site::AttnScores)?)?,
            uncapped: self.uncapped.as_ref().map(scores_of).transpose()?,
            value_norms: lengths(&v_ke)?,
            out_norms: lengths(&write_kd)?,
            along: along_qk.flatten_all()?.to_vec1()?,
            results: lengths(&result_qd)?,
            pushes: [pushed(&self.along[0])?, pushed(&self.along[1])?],
            scales: self.scales.clone(),
        })
    }
}

/// Scores without the cap: of the same queries and keys.
fn uncapped(model: &Model, layer: usize, seen: &HashMap<Site, Tensor>, rows: &Rows) -> Result<Tensor> {
    let scoring = Scoring { cap: None, ..model.weights().blocks[layer].scoring.clone() };
    let spec = &model.spec().blocks[layer].attention.inner;
    let last = |sites: [Site; 3]| {
        let last = sites.iter().find_map(|site| Some((site, seen.get(site)?)));
        let (site, x) = last.ok_or_else(|| Error::compute("queries and keys were not seen").fault())?;
        // They are clamped before they are rotated.
        if matches!(site, Site::RotQ | Site::RotK) { Ok(x.clone()) } else { clamp(spec, x.clone()) }
    };
    let q = last([Site::RotQ, Site::QNormed, Site::Q])?;
    let k = last([Site::RotK, Site::KNormed, Site::K])?;
    let x = Inputs { q: &q, k: &k, v: &k, keys: rows, prefixes: &[] };
    scores(model.kernels(), &scoring, &rows.sequences[0], &x)
}

/// What the keys of one head carry to each query, without the probabilities that all but scores and values are times.
pub(super) struct Head {
    /// `[q, k]`.
    scores: Vec<f32>,
    /// `[q, k]`.
    uncapped: Option<Vec<f32>>,
    /// `[k]`.
    value_norms: Vec<f64>,
    /// `[k]`.
    out_norms: Vec<f64>,
    /// `[q, k]`: times what the head writes.
    along: Vec<f64>,
    /// `[q]`: the length of that.
    results: Vec<f64>,
    /// `[k]`, each, still to be divided by a scale of the query.
    pushes: [Option<Vec<f64>>; 2],
    /// `[q]`.
    scales: Vec<f64>,
}

/// What one key carries to one query.
pub(super) struct Entry {
    pub score: f32,
    pub score_uncapped: Option<f32>,
    pub value_norm: f32,
    pub out_norm: f32,
    pub share: Option<f32>,
    pub push: Option<f32>,
    pub push_foil: Option<f32>,
}

impl Head {
    /// What the key carries to the query, which looks at it with this probability.
    pub fn entry(&self, query: usize, key: usize, prob: f32) -> Entry {
        let (at, prob) = (query * self.value_norms.len() + key, f64::from(prob));
        let squared = self.results[query].powi(2);
        let push = |of: &Option<Vec<f64>>| of.as_ref().map(|of| (prob * of[key] / self.scales[query]) as f32);
        Entry {
            score: self.scores[at],
            score_uncapped: self.uncapped.as_ref().map(|of| of[at]),
            value_norm: self.value_norms[key] as f32,
            out_norm: (prob * self.out_norms[key]) as f32,
            share: (squared > 0.0).then(|| (prob * self.along[at] / squared) as f32),
            push: push(&self.pushes[0]),
            push_foil: push(&self.pushes[1]),
        }
    }
}
