//! Neurons on prompts against sums made one by one in f64, and as a person sees them.

use std::collections::BTreeMap;

use candle_core::DType;
use pellucid::Result;
use pellucid::analysis::residual::Residual;
use pellucid::analysis::{NeuronLayerRow, NeuronRow, NeuronVocabRow, Neurons};
use pellucid::arch::spec::{Gain, NormKind};
use pellucid::hook::Cache;
use pellucid::model::weights::{FeedForwardWeights, NeuronWeights};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops::norm::NormWeights;
use pellucid::ops::rounding::gamma;
use pellucid::session::Session;
use pellucid::table::read_rows;
use pellucid::text::{Bos, Prompt, PromptEntry};

use crate::bin::{Place, model};

fn wide(x: &candle_core::Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).and_then(|x| x.flatten_all()?.to_vec1()).unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A norm's linear part, its scale given.
fn through(norm: Option<&NormWeights>, x: &[f64], scale: f64) -> Vec<f64> {
    let Some(norm) = norm else { return x.to_vec() };
    let mean = if norm.kind == NormKind::Layer { x.iter().sum::<f64>() / x.len() as f64 } else { 0.0 };
    let more = if norm.meaning == Gain::OnePlusWeight { 1.0 } else { 0.0 };
    let gain = norm.gain.as_ref().map_or(vec![1.0; x.len()], |g| wide(g).iter().map(|g| g + more).collect());
    x.iter().zip(gain).map(|(x, g)| (x - mean) / scale * g).collect()
}

/// Columns of the unembedding less their mean, in f64: `[v][d]`.
fn centred(model: &Model) -> Vec<Vec<f64>> {
    let weight = model.weights().unembed.weight.tensor().unwrap().t().unwrap();
    let mut columns = weight.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
    let (v, d) = (columns.len(), columns[0].len());
    let mean: Vec<f64> = (0..d).map(|i| columns.iter().map(|c| c[i]).sum::<f64>() / v as f64).collect();
    columns.iter_mut().for_each(|c| c.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean));
    columns
}

fn run(
    session: &Session,
    how: &Neurons,
    prompts: &[Prompt],
) -> Result<(Vec<NeuronRow>, Vec<NeuronLayerRow>, Vec<NeuronVocabRow>)> {
    let (neurons, layers, vocab, ..) = session.run(how, prompts)?;
    Ok((neurons.rows().to_vec(), layers.rows().to_vec(), vocab.rows().to_vec()))
}

fn prompts(session: &Session) -> Result<Vec<Prompt>> {
    let ids: [&[u32]; 2] = [&[3, 1, 4, 1, 5, 2], &[6, 5, 3]];
    session.prompts(&ids.map(|ids| PromptEntry::ids(ids.to_vec())), Bos::Never)
}

/// What a test knows of a bank of neurons.
struct Known {
    output: Vec<Vec<f64>>,
    pre: Vec<f64>,
    gate: Option<Vec<f64>>,
    post: Vec<f64>,
    weight: f64,
}

/// Every neuron of a model, as a naive reading of its hooks has it.
fn laws(name: &str) -> Result<()> {
    let session = Session::open(&model(name))?;
    let (model, spec) = (&session.model, session.model.spec());
    let prompts = prompts(&session)?;
    let all = Neurons { pos: "all".into(), top: usize::MAX, tokens: 4, ..Neurons::default() };
    if spec.blocks.iter().all(|block| block.mlp.is_none()) {
        let refused = session.run(&all, &prompts).unwrap_err();
        assert!(refused.message().contains("no MLP"), "{name}: {refused:?}");
        return Ok(());
    }
    let (found, layers, vocab) = run(&session, &all, &prompts)?;
    let mut cache = Cache::new(spec, "*")?;
    model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &Run::default(), &mut [&mut cache])?;
    let has = |hook: &str| cache.get(hook).is_ok();
    let stored = |hook: &str, row: usize| -> Vec<f64> {
        let x = cache.get(hook).unwrap();
        wide(&x.narrow(0, row, 1).unwrap())
    };
    let columns = centred(model);
    let final_norm = model.weights().final_norm.as_ref();
    let residual = Residual { pos: "all".into(), ..Residual::default() };
    let (strokes, ..) = session.run(&residual, &prompts)?;
    let strokes = strokes.rows();
    let mut row = 0;
    for prompt in &prompts {
        for pos in 0..prompt.tokens.len() {
            let own: Vec<&NeuronRow> =
                found.iter().filter(|r| (r.prompt, r.pos) == (prompt.index, pos as u32)).collect();
            let strongest: Vec<f64> = own.iter().map(|r| r.push.abs()).collect();
            assert!(strongest.is_sorted_by(|a, b| a >= b), "{name}: not the strongest first");
            let by_place: BTreeMap<(u32, Option<u32>, u32), &&NeuronRow> =
                own.iter().map(|r| ((r.layer, r.expert, r.neuron), r)).collect();
            assert_eq!(by_place.len(), own.len(), "{name}: a neuron is there twice");
            let sigma = if final_norm.is_some() { stored("ln_final.hook_scale", row)[0] } else { 1.0 };
            let target = own[0].target_id as usize;
            let mut count = 0;
            for (l, block) in model.weights().blocks.iter().enumerate() {
                let Some(mlp) = &block.mlp else { continue };
                let at = |site: &str| format!("blocks.{l}.{site}");
                let scale = if mlp.ln2_post.is_some() { stored(&at("ln2_post.hook_scale"), row)[0] } else { 1.0 };
                let factor = spec.blocks[l].residual_scale.unwrap_or(1.0);
                let known = |weights: &NeuronWeights, expert: Option<usize>| -> Known {
                    let output =
                        weights.output.weight.tensor().unwrap().to_dtype(DType::F64).unwrap().to_vec2().unwrap();
                    let (pre, gate, post) = match expert {
                        None => ("mlp.hook_pre".into(), "mlp.hook_pre_linear".into(), "mlp.hook_post".into()),
                        Some(e) if weights.linear.is_some() => {
                            let of = |what: &str| format!("mlp.experts.{e}.hook_{what}");
                            (of("gate"), of("pre"), of("post"))
                        }
                        Some(e) => {
                            let of = |what: &str| format!("mlp.experts.{e}.hook_{what}");
                            (of("pre"), String::new(), of("post"))
                        }
                    };
                    let weight = expert.map_or(1.0, |e| {
                        let chosen = cache.get(&at("mlp.hook_expert_indices")).unwrap().narrow(0, row, 1).unwrap();
                        let chosen: Vec<u32> = chosen.flatten_all().unwrap().to_vec1().unwrap();
                        let weights = stored(&at("mlp.hook_chosen_weights"), row);
                        chosen.iter().position(|c| *c as usize == e).map_or(0.0, |i| weights[i])
                    });
                    let seen = |hook: &str| {
                        if has(&at(hook)) && weight != 0.0 {
                            stored(&at(hook), row)
                        } else {
                            vec![0.0; weights.output.weight.dim(0).unwrap()]
                        }
                    };
                    let gate = weights.linear.is_some().then(|| seen(&gate));
                    Known { output, pre: seen(&pre), gate, post: seen(&post), weight }
                };
                let banks: Vec<(Option<usize>, Known)> = match &mlp.inner {
                    FeedForwardWeights::Dense(weights) => vec![(None, known(weights, None))],
                    FeedForwardWeights::Experts(all) => {
                        let each = all.experts.iter().enumerate();
                        each.map(|(e, weights)| (Some(e), known(weights, Some(e)))).collect()
                    }
                };
                let write = stored(&at("hook_mlp_out"), row);
                let (mut share, mut pushed) = (0.0, 0.0);
                for (expert, bank) in &banks {
                    if bank.weight == 0.0 {
                        continue;
                    }
                    for (n, output) in bank.output.iter().enumerate() {
                        let times = bank.weight * bank.post[n] * factor;
                        let own: Vec<f64> =
                            through(mlp.ln2_post.as_ref(), output, scale).iter().map(|x| x * times).collect();
                        let read = through(final_norm, &own, sigma);
                        let got = by_place[&(l as u32, expert.map(|e| e as u32), n as u32)];
                        count += 1;
                        // One sum of products in f32, whose terms are as large as these.
                        let d = own.len() + 8;
                        let size = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>();
                        let spread_out = |a: &[f64], b: &[f64]| size(a, b) + dot(a, a).sqrt() * dot(b, b).sqrt();
                        let near = |got: f64, want: f64, size: f64, what: &str| {
                            let allowed = 4.0 * gamma(d, DType::F32) * size;
                            assert!(
                                (got - want).abs() <= allowed,
                                "{name} {l} {expert:?} {n} {what}: {got} is not {want} within {allowed:e}"
                            );
                        };
                        near(got.push, dot(&read, &columns[target]), spread_out(&read, &columns[target]), "push");
                        let whole = dot(&write, &write);
                        near(got.share_of_mlp, dot(&own, &write) / whole, spread_out(&own, &write) / whole, "share");
                        near(got.write_norm, dot(&own, &own).sqrt(), dot(&own, &own).sqrt(), "length");
                        assert_eq!((got.pre, got.post), (bank.pre[n], bank.post[n]), "{name}");
                        assert_eq!(got.gate, bank.gate.as_ref().map(|gate| gate[n]), "{name}");
                        (share, pushed) = (share + got.share_of_mlp, pushed + got.push);
                    }
                }
                let of_layer =
                    layers.iter().find(|r| (r.prompt, r.pos, r.layer) == (prompt.index, pos as u32, l as u32)).unwrap();
                let stroke = strokes.iter().find(|r| {
                    (r.prompt, r.pos, r.layer, &*r.kind) == (prompt.index, pos as u32, Some(l as u32), "mlp")
                });
                let stroke = stroke.unwrap();
                assert_eq!((stroke.target_id, of_layer.target_id), (target as u32, target as u32), "{name}");
                assert!(
                    (of_layer.push - stroke.push).abs() <= 1e-12 * stroke.push.abs().max(1e-6),
                    "{name}: {of_layer:?} {stroke:?}"
                );
                // What README promises of pushes that come to a stroke.
                assert!(of_layer.gap < 1e-4, "{name}: {of_layer:?}");
                assert!((of_layer.push_neurons - pushed).abs() <= 1e-9 * (1.0 + pushed.abs()), "{name}");
                assert!(
                    (of_layer.shown_share - share).abs() <= 1e-9 && (of_layer.shown_push - pushed).abs() <= 1e-9,
                    "{name}"
                );
                let biased = banks.iter().any(|_| of_layer.push_bias != 0.0);
                let no_bias = match &mlp.inner {
                    FeedForwardWeights::Dense(w) => w.output.bias.is_none(),
                    FeedForwardWeights::Experts(all) => all.experts.iter().all(|w| w.output.bias.is_none()),
                } && mlp.ln2_post.as_ref().is_none_or(|norm| norm.bias.is_none());
                assert!(!no_bias || !biased, "{name}: a bias pushes that is not there");
                assert!(!no_bias || (share - 1.0).abs() < 1e-4, "{name}: all neurons are {share} of their MLP");
            }
            let active = own.iter().filter(|r| r.write_norm != 0.0).count();
            assert!(active <= count && own.len() >= count, "{name}: {} of {count}", own.len());
            row += 1;
        }
    }
    says(name, model, &columns, &vocab)
}

/// Both ends of what each neuron says, against a product in f64.
fn says(name: &str, model: &Model, columns: &[Vec<f64>], vocab: &[NeuronVocabRow]) -> Result<()> {
    let final_norm = model.weights().final_norm.as_ref();
    let of = |r: &NeuronVocabRow| (r.layer, r.expert, r.neuron, r.sign, r.end.clone());
    let mut seen = 0;
    for own in vocab.chunk_by(|a, b| of(a) == of(b)).step_by(7) {
        let row = &own[0];
        let mlp = model.weights().blocks[row.layer as usize].mlp.as_ref().unwrap();
        let weights = match &mlp.inner {
            FeedForwardWeights::Dense(weights) => weights,
            FeedForwardWeights::Experts(all) => &all.experts[row.expert.unwrap() as usize],
        };
        let output = wide(&weights.output.weight.rows(&[row.neuron])?);
        let factor = model.spec().blocks[row.layer as usize].residual_scale.unwrap_or(1.0) * row.sign as f64;
        let write: Vec<f64> = through(mlp.ln2_post.as_ref(), &output, 1.0).iter().map(|x| x * factor).collect();
        let read = through(final_norm, &write, 1.0);
        let mut want: Vec<f64> = columns.iter().map(|column| dot(&read, column)).collect();
        let size = columns.iter().map(|c| dot(c, c).sqrt()).fold(0.0, f64::max) * dot(&read, &read).sqrt();
        let allowed = 4.0 * gamma(read.len() + 8, DType::F32) * size;
        for r in own {
            let want = want[r.token_id as usize];
            assert!((r.value - want).abs() <= allowed, "{name}: {r:?} is not {want} within {allowed:e}");
        }
        want.sort_by(|a, b| if row.end == "promoted" { b.total_cmp(a) } else { a.total_cmp(b) });
        assert_eq!(own.len(), 4.min(want.len()), "{name}");
        for (i, r) in own.iter().enumerate() {
            assert!(r.rank == i as u32 + 1 && (r.value - want[i]).abs() <= allowed, "{name}: {r:?} is not of rank {i}");
        }
        seen += 1;
    }
    assert!(seen > 4, "{name}: nothing was compared");
    Ok(())
}

for_every_model! {
    /// Invariant: The push, length and share of each neuron are those of its own write, and with the bias all pushes come to the stroke of
    /// their MLP, for every model.
    fn neurons_come_to_their_mlp = laws;
}

/// Invariant: The strongest neurons are those of all, whatever the memory; ones that are asked for are there, and layers that are not
/// asked for are not.
#[test]
fn the_strongest_are_those_of_all() -> Result<()> {
    for name in ["gpt2", "gemma2", "mixtral"] {
        let mut session = Session::open(&model(name))?;
        let prompts = prompts(&session)?;
        let of = |session: &Session, how: Neurons| run(session, &how, &prompts);
        let all = of(&session, Neurons { top: usize::MAX, ..Neurons::default() })?.0;
        let some = of(&session, Neurons { top: 3, ..Neurons::default() })?.0;
        let first = |rows: &[NeuronRow]| -> Vec<_> {
            rows.iter().filter(|r| r.rank <= 3).map(|r| (r.prompt, r.layer, r.expert, r.neuron, r.push)).collect()
        };
        assert_eq!(first(&all), first(&some), "{name}");
        let unit = pellucid::analysis::neurons::Unit {
            layer: all[5].layer as usize,
            expert: all[5].expert.map(|e| e as usize),
            neuron: all[5].neuron as usize,
        };
        let named = of(&session, Neurons { neuron: vec![unit.into()], ..Neurons::default() })?.0;
        assert_eq!((named.len(), named[0].rank), (2, 1), "{name}");
        assert_eq!((named[0].push, named[0].post), (all[5].push, all[5].post), "{name}");
        let layer = of(&session, Neurons { layers: Some(vec![1.into()]), ..Neurons::default() })?.0;
        assert!(!layer.is_empty() && layer.iter().all(|r| r.layer == 1), "{name}");
        session.memory_bytes = 1 << 20;
        let small = of(&session, Neurons { top: usize::MAX, ..Neurons::default() })?.0;
        assert_eq!(all, small, "{name}");
    }
    Ok(())
}

/// Invariant: The figure and the terminal show the rows of `neurons`; what cannot be asked is refused with what there is.
#[test]
fn neurons_are_seen_as_they_are_in_the_table() -> Result<()> {
    let place = Place::new();
    let text = "When Mary and John went to the store, John gave a drink to";
    let done = place.ok(["neurons", text, "--target", " Mary", "--out", "one"]);
    let (found, _) = read_rows::<NeuronRow>(place.path("one/neurons.parquet"))?;
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|row| row.target == " Mary" && row.percentile.is_none()));
    let figure = String::from_utf8(place.read("one/neurons.svg")).unwrap();
    let svg = roxmltree::Document::parse(&figure).unwrap();
    let written: Vec<&str> =
        svg.descendants().filter(|node| node.has_tag_name("text")).filter_map(|n| n.text()).collect();
    for row in &found {
        let name = format!("{}.{}", row.layer, row.neuron);
        assert!(written.contains(&name.as_str()), "{name} is not in {written:?}");
        assert!(done.stdout.contains(&name), "{name} is not in {}", done.stdout);
    }
    assert!(done.stdout.contains("Their part of what the MLP adds"), "{}", done.stdout);
    place.ok(["neurons", text, "--pos", "all", "--out", "all"]);
    place.refused(["neurons", text, "--neuron", "9.1"], 2, "there are 4 layers (0-3), and 9 is not one");
    place.refused(["neurons", text, "--neuron", "1.99999"], 2, "neurons (0-");
    place.refused(["neurons", text, "--neuron", "1.0.1"], 2, "has no experts");
    place.refused(["neurons", text, "--layers", "7"], 2, "there are 4 layers (0-3), and 7 is not one");
    place.refused(["neurons", text, "--pos", "1,x"], 2, "\"x\" is no number and no range");
    place.refused(["neurons", text, "--neuron", "x"], 2, "LAYER.NEURON");
    place.refused(["neurons", text, "--target", "Mary and"], 2, "token");
    let attn_only = model("hooked_attn_only");
    place.refused(["neurons", "-m", &attn_only, "--ids", "1,2,3"], 2, "this model has no MLP, and so no neurons");
    Ok(())
}
