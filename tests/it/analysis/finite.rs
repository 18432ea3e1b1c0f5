//! A value that is NaN or infinite is no result: every command and function that meets one says where it began, and a sweep in which
//! some patches overflow says so in their rows.

use std::cell::RefCell;

use candle_core::{Device, Tensor};
use pellucid::analysis::patch::{
    Direction, Grid, Keep, Kind, Measured, Metric, Over, PatchOptions, Patching, Summary, patch,
};
use pellucid::analysis::{PatchMeanRow, PatchRow, PathRow};
use pellucid::error::Result;
use pellucid::hook::{Edit, NotFinite};
use pellucid::model::{Batch, Model};
use pellucid::table::read_rows;
use pellucid::text::{Bos, Pair, PromptEntry, build_prompts};

use crate::bin::{Place, fixture};
use crate::forge;

/// Multiplies some numbers of a tensor of the copy at `name`.
fn scale(place: &Place, name: &str, tensor: &str, which: impl Fn(usize) -> bool, by: f32) {
    forge::weights(place, name, |tensors| {
        let (_, _, data) = tensors.get_mut(tensor).unwrap();
        for (_, bytes) in data.chunks_exact_mut(4).enumerate().filter(|(i, _)| which(*i)) {
            let value = f32::from_le_bytes(bytes.try_into().unwrap()) * by;
            assert!(value.is_finite());
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    });
}

const CLEAN: &str = "#3,14,15,9";
const CORRUPT: &str = "#3,26,15,9";

/// Every command that runs a model, on a prompt or pair.
fn commands() -> Vec<Vec<&'static str>> {
    let pair = ["--clean", CLEAN, "--corrupt", CORRUPT, "--answer", "#5", "--foil", "#6"];
    let of_pair = |command: &[&'static str]| [command, &pair].concat();
    vec![
        vec!["lens", "--ids", "3,14,15,9"],
        vec!["attention", "--ids", "3,14,15,9"],
        vec!["cache", "--ids", "3,14,15,9", "--hooks", "resid_post,logits,attn_scores"],
        vec!["ablate", "--ids", "3,14,15,9", "--kind", "zero"],
        of_pair(&["patch"]),
        of_pair(&["patch", "--metric", "rank,kl,prob,loss", "--direction", "noise"]),
        of_pair(&["path"]),
        of_pair(&["attribute"]),
    ]
}

/// Invariant: NaN and infinity are not results: every command names prompt, hook and position; a sweep has a row that says so,
/// and means leave it out.
#[test]
fn a_model_whose_numbers_overflow_is_refused_by_every_command() {
    let place = Place::new();
    // What the MLP of the last block writes is infinite.
    forge::copy(&place, "gpt2", "infinite");
    scale(&place, "infinite", "transformer.h.1.mlp.c_fc.weight", |_| true, 1e20);
    scale(&place, "infinite", "transformer.h.1.mlp.c_proj.weight", |_| true, 1e30);
    // What the first block's attention writes is finite, but its square is not: a norm would make 0 of it.
    forge::copy(&place, "gpt2", "squares");
    scale(&place, "squares", "transformer.h.0.attn.c_proj.weight", |_| true, 1e25);
    for (model, hook) in [("infinite", "blocks.1.hook_mlp_out"), ("squares", "blocks.0.ln2.hook_scale")] {
        for command in commands() {
            let mut args = command.clone();
            args.extend(["-m", model, "--out", "run"]);
            let done = place.pellucid(&args);
            assert_eq!(done.code, Some(1), "{model} {command:?}: {}", done.stderr);
            let says = format!("is not finite: {hook} at position 0 is ");
            assert!(done.stderr.contains(&says), "{model} {command:?}: {}", done.stderr);
            assert!(done.stderr.contains("hint: "), "{}", done.stderr);
            let who = if command.contains(&"--clean") { "pair \"0\"" } else { "\"0\"" };
            assert!(done.stderr.contains(who), "{model} {command:?}: {}", done.stderr);
            let left = fs_err::read_dir(place.path("run")).into_iter().flatten().flatten();
            let left: Vec<_> = left.map(|e| e.file_name()).filter(|n| n != "manifest.json").collect();
            assert!(left.is_empty(), "{command:?} left {left:?}");
        }
        assert_eq!(place.pellucid(["verify", model]).code, Some(1));
    }
}

#[test]
fn logits_that_overflow_alone_are_refused_by_what_reads_them() {
    let place = Place::new();
    // An unembedding that only the logits of token 5 go through: embeddings are tied, and no prompt has it.
    forge::copy(&place, "gpt2", "logits");
    scale(&place, "logits", "transformer.wte.weight", |i| i / 16 == 5, 1e37);
    scale(&place, "logits", "transformer.ln_f.weight", |_| true, 1e5);
    for command in commands().into_iter().filter(|c| !matches!(c[0], "attention")) {
        let mut args = command.clone();
        args.extend(["-m", "logits", "--out", "run"]);
        let done = place.pellucid(&args);
        assert_eq!(done.code, Some(1), "{command:?}: {}", done.stderr);
        assert!(done.stderr.contains("its logits are NaN or infinite"), "{command:?}: {}", done.stderr);
    }
    place.ok(["attention", "-m", "logits", "--ids", "3,14,15,9", "--out", "fine"]);
}

/// Invariant: as `a_model_whose_numbers_overflow_is_refused_by_every_command`.
#[test]
fn a_gradient_that_overflows_names_where_the_backward_pass_lost_it() {
    let place = Place::new();
    // All that writes to the stream is small, so that the final norm divides by 3e-3. The logit of token 5 is finite, a small number
    // times 3e36; its slope is 3e36 divided by the norm's scale.
    forge::copy(&place, "gpt2", "steep");
    for tensor in ["wte", "wpe"] {
        scale(&place, "steep", &format!("transformer.{tensor}.weight"), |i| tensor == "wpe" || i / 16 != 5, 1e-3);
    }
    for layer in 0..2 {
        for tensor in ["attn.c_proj", "mlp.c_proj"] {
            for part in ["weight", "bias"] {
                scale(&place, "steep", &format!("transformer.h.{layer}.{tensor}.{part}"), |_| true, 1e-3);
            }
        }
    }
    scale(&place, "steep", "transformer.wte.weight", |i| i / 16 == 5, 1.5e38);
    let pair = ["--clean", CLEAN, "--corrupt", CORRUPT, "--answer", "#5", "--metric", "logit", "-m", "steep"];
    place.ok(["patch", "--out", "fine"].iter().chain(&pair));
    let done = place.pellucid(["attribute", "--out", "run"].iter().chain(&pair));
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let says = "the backward pass of pair \"0\", from logit, is not finite: blocks.1.hook_mlp_out at position ";
    assert!(done.stderr.contains(says), "{}", done.stderr);
}

#[test]
fn a_dataset_that_overflows_is_refused_by_its_prompt() {
    let place = Place::new();
    forge::copy(&place, "gpt2", "token");
    // Only a prompt that has token 7 overflows.
    scale(&place, "token", "transformer.wte.weight", |i| i / 16 == 7, 1e25);
    place.write("fine.jsonl", "{\"ids\": [1, 2, 3, 4]}\n");
    place.write("bad.jsonl", "{\"ids\": [1, 2, 3, 4]}\n{\"id\": \"seven\", \"ids\": [1, 2, 7, 4]}\n");
    for kind in ["mean", "mean-by-position"] {
        let run = |dataset: &str| {
            let args =
                ["ablate", "-m", "token", "--ids", "3,14,15,9", "--kind", kind, "--dataset", dataset, "--metric"];
            place.pellucid(args.iter().chain(&["kl", "--out", "run", "--force"]))
        };
        // The logits of token 7 are finite for every other prompt.
        assert_eq!(run("fine.jsonl").code, Some(0), "{}", run("fine.jsonl").stderr);
        let done = run("bad.jsonl");
        assert_eq!(done.code, Some(1), "{}", done.stderr);
        let says = "the run of prompt \"seven\" of the dataset is not finite: blocks.0.ln1.hook_scale at position 2 is infinite";
        assert!(done.stderr.contains(says), "{}", done.stderr);
    }
}

#[test]
fn vectors_and_factors_that_are_no_numbers_are_refused() {
    let place = Place::new();
    let vector = |name: &str, numbers: &[f32]| {
        let data = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        let raw = (safetensors::Dtype::F32, vec![numbers.len()], data);
        place.write(name, forge::serialized(&[("v".to_owned(), raw)].into()));
    };
    let mut numbers = vec![0.5f32; 128];
    numbers[3] = f32::NAN;
    vector("nan.safetensors", &numbers);
    numbers[3] = 3e38;
    vector("large.safetensors", &numbers);
    let refused = |kind: &str, more: &[&str], says: &str| {
        let args = ["patch", "--clean", "Mary had a ball", "--answer", " Mary", "--metric", "logit", "--kind", kind];
        place.refused(args.iter().chain(more), 2, says);
    };
    refused("add=1", &["--vector", "nan.safetensors"], "number 3 of the vector in nan.safetensors is NaN");
    refused("add=2", &["--vector", "large.safetensors"], "what is added has numbers that are NaN or infinite");
    refused("scale=1e39", &[], "the factor is not a finite f32");
    // In the library, too, where nobody parsed them.
    let model = Model::load(&fixture("gpt2")).unwrap();
    let tensor = Tensor::new(&[f32::NAN; 16], &Device::Cpu).unwrap();
    for kind in [Kind::Scale(f32::INFINITY), Kind::Noise(f64::NAN), Kind::Add(1.0)] {
        let mut options = PatchOptions { vector: Some(tensor.clone()), ..options("resid_pre") };
        options.how.kind = kind;
        assert!(run(&model, &options, &mut ()).is_err());
    }
    let spec = model.spec();
    assert!(Edit::add(spec, "resid_pre", tensor.clone()).is_err());
    assert!(Edit::set(spec, "resid_pre", tensor).is_err());
    assert!(Edit::scale(spec, "resid_pre", f64::NAN).is_err());
    // A score may be minus infinity: that is how a key is hidden.
    let hidden = Tensor::new(f32::NEG_INFINITY, &Device::Cpu).unwrap();
    assert!(Edit::set(spec, "attn_scores", hidden.clone()).is_ok() && Edit::set(spec, "pattern", hidden).is_err());
}

#[test]
fn an_edit_that_makes_no_number_says_where() -> Result<()> {
    let model = Model::load(&fixture("gpt2"))?;
    let batch = Batch::of([vec![1, 2, 3], vec![4, 5, 6]]);
    let mut edit = Edit::scale(model.spec(), "blocks.1.hook_resid_pre", 1e45)?.positions([1]).sequences([1]);
    let e = model.forward(&batch, &mut [&mut edit]).unwrap_err();
    assert!(
        e.message().contains("blocks.1.hook_resid_pre at position 1") && e.message().contains("sequence 1"),
        "{e:?}"
    );
    // What is not finite in a pack is named by its sequence and position, whatever the value's axes are.
    let rows = batch.rows();
    let mut numbers = vec![0f32; 6 * 4];
    numbers[4 * 4 + 2] = f32::NEG_INFINITY;
    let value = Tensor::from_vec(numbers, (6, 4), &Device::Cpu)?;
    let point = pellucid::hook::HookPoint::parse(model.spec(), "blocks.0.hook_mlp_out")?;
    let found = NotFinite::first_in(point, &rows, &value)?.unwrap();
    assert_eq!((found.sequence, found.position), (1, 1));
    Ok(())
}

fn options(at: &str) -> PatchOptions {
    PatchOptions {
        grid: Grid { at: at.into(), over: vec![Over::Layer, Over::Pos], ..Grid::default() },
        how: Patching {
            direction: Some(Direction::Denoise),
            metric: vec![Metric::LogitDiff, Metric::Rank, Metric::KlToClean],
            measure_at: 2,
            verify: 5,
            ..Patching::default()
        },
        ..PatchOptions::default()
    }
}

fn pairs() -> Vec<Pair> {
    let all = [[[3u32, 14, 15, 9, 2], [3, 26, 15, 9, 2]], [[8, 14, 15, 9, 2], [8, 31, 15, 9, 2]]];
    let pair = |(i, of): (usize, &[[u32; 5]; 2])| {
        let entries = of.map(PromptEntry::ids);
        let mut prompts = build_prompts(&entries, None, 97, None, Bos::default()).unwrap().into_iter();
        let (clean, corrupt) = (prompts.next().unwrap(), prompts.next());
        Pair::new(i as u32, i.to_string(), clean, corrupt, vec![5], vec![6]).unwrap()
    };
    all.iter().enumerate().map(pair).collect()
}

fn run(model: &Model, options: &PatchOptions, keep: &mut dyn Keep) -> Result<(Vec<PatchRow>, Summary)> {
    let mut rows = vec![];
    let summary = patch(model, &pairs(), options, keep, &(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, summary))
}

/// Keeps waves as the program does: as JSON.
#[derive(Default)]
struct Kept(RefCell<Vec<((usize, usize), String)>>);

impl Keep for Kept {
    fn kept(&mut self, group: usize, wave: usize) -> Result<Option<Vec<Measured>>> {
        let kept = self.0.borrow();
        let known = kept.iter().find(|(at, _)| *at == (group, wave));
        Ok(known.map(|(_, json)| serde_json::from_str(json).unwrap()))
    }

    fn keep(&mut self, group: usize, wave: usize, measured: &[Measured]) -> Result<()> {
        self.0.borrow_mut().push(((group, wave), serde_json::to_string(measured).unwrap()));
        Ok(())
    }
}

/// Invariant: as `a_model_whose_numbers_overflow_is_refused_by_every_command`.
#[test]
fn a_patch_that_overflows_has_a_row_that_says_where() -> Result<()> {
    let model = Model::load(&fixture("gpt2"))?;
    for at in ["resid_pre", "z", "mlp.post"] {
        let mut options = options(at);
        options.how.kind = Kind::Scale(3e38);
        let mut kept = Kept::default();
        let (rows, summary) = run(&model, &options, &mut kept)?;
        assert_eq!(rows.len(), 2 * 2 * 5 * 3);
        for row in &rows {
            // What comes after the measured position cannot reach it, and is as finite as before; nor can what the last block
            // writes at another position.
            let read_on = at == "resid_pre" || row.place.layer == Some(0);
            let reaches = row.place.pos == Some(2) || read_on && row.place.pos.unwrap() < 2;
            assert!(row.outcome.changed, "{row:?}");
            assert_eq!(
                (row.outcome.reached, row.measured.patched.is_none(), row.measured.recovered.is_none()),
                (reaches, reaches, reaches),
                "{row:?}"
            );
            match &row.outcome.not_finite {
                Some(place) => {
                    let layer = format!("blocks.{}.", row.place.layer.unwrap());
                    let known = place.starts_with(&layer) || place.starts_with("ln_final");
                    let known = known || place.starts_with(&format!("blocks.{}.", row.place.layer.unwrap() + 1));
                    // How large the value was says how far it gets: into the stream, or only into the squares of a norm.
                    assert!(known, "{place} {row:?}");
                    assert!(place.ends_with(&format!(" at position {}", row.place.pos.unwrap())), "{place} {row:?}");
                }
                None => assert!(!reaches && row.measured.patched == row.measured.corrupt, "{row:?}"),
            }
        }
        let lost = if at == "resid_pre" { 3 + 3 } else { 3 + 1 };
        assert_eq!((summary.not_finite, summary.patches), (2 * lost, 2 * 2 * 5));
        // What was computed again is not finite either. What does not reach the measured position may be, and then it is the
        // run as it was by another path: the rounding of f32 in a divergence of 1e-3.
        assert_eq!(summary.verified, 5);
        assert!(summary.worst_difference < 1e-3, "{at}: {}", summary.worst_difference);
        // What is kept of a sweep that was stopped says the same.
        assert_eq!(run(&model, &options, &mut kept)?.0, rows);
    }
    Ok(())
}

/// Invariant: as `a_model_whose_numbers_overflow_is_refused_by_every_command`.
#[test]
fn the_program_counts_what_is_not_finite_and_means_leave_it_out() {
    let place = Place::new();
    let line = |clean: &str, corrupt: &str| {
        format!("{{\"clean\": \"{clean}\", \"corrupt\": \"{corrupt}\", \"answer\": \" Mary\", \"foil\": \" John\"}}\n")
    };
    let john = "When Mary and John went to the store, John gave a drink to";
    let mary = "When Mary and John went to the store, Mary gave a drink to";
    place.write("pairs.jsonl", line(john, mary) + &line(mary, john));
    let args = ["patch", "--pairs", "pairs.jsonl", "--kind", "scale=1e38", "--over", "layer,pos", "--measure-at", "10"];
    let done = place.ok(args.iter().chain(&["--out", "run"]));
    let n = 2 * 4 * 11;
    assert!(done.stderr.contains(&format!("{n} of 120 patches are not finite")), "{}", done.stderr);
    let (rows, _) = read_rows::<PatchRow>(place.path("run/patch.parquet")).unwrap();
    assert_eq!(rows.iter().filter(|r| r.outcome.not_finite.is_some()).count(), n);
    let (means, _) = read_rows::<PatchMeanRow>(place.path("run/patch_mean.parquet")).unwrap();
    for mean in means {
        let lost = mean.place.pos.unwrap() <= 10;
        assert_eq!((mean.outcome.not_finite, mean.measured.pairs), if lost { (2, 0) } else { (0, 2) }, "{mean:?}");
        assert_eq!(
            (mean.measured.patched.is_none(), mean.measured.change.is_none(), mean.measured.recovered.is_none()),
            (lost, lost, lost)
        );
    }
    // It is drawn, and said.
    assert!(done.stdout.contains("of 60 patches overflow"), "{}", done.stdout);
    place.ok(["chart", "run/patch.parquet", "--out", "figures"]);
    // Paths, too.
    let pair =
        ["path", "--clean", john, "--corrupt", mary, "--answer", " Mary", "--foil", " John", "--kind", "scale=1e38"];
    let done =
        place.ok(pair.iter().chain(&["--from", "z", "--over", "layer,head", "--to", "logits,3.q", "--out", "paths"]));
    let (rows, _) = read_rows::<PathRow>(place.path("paths/path.parquet")).unwrap();
    let lost: Vec<&PathRow> = rows.iter().filter(|r| r.measured.patched.is_none()).collect();
    assert!(
        !lost.is_empty()
            && lost
                .iter()
                .all(|r| r.outcome.not_finite.is_some() && r.measured.recovered.is_none() && r.outcome.reached)
    );
    assert!(done.stderr.contains(&format!("{} of {} paths are not finite", lost.len(), rows.len())), "{}", done.stderr);
}
