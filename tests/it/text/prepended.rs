//! Texts with a BOS before them, which TransformerLens puts unless it is told not to, and GPT-2's tokenizer does not.

use pellucid::Result;
use pellucid::analysis::PatchRow;
use pellucid::hook::Cache;
use pellucid::model::Batch;
use pellucid::session::Session;
use pellucid::table::read_rows;
use pellucid::text::{Bos, PromptEntry};
use serde_json::Value;

use crate::bin::{Place, fixture, model};
use crate::bound::drift;

fn theirs() -> Value {
    serde_json::from_slice(&fs_err::read(fixture("bos/theirs.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Invariant: With `--bos` the tokens and numbers of a text are TransformerLens's own, of a model whose tokenizer puts no BOS; with
/// `--no-bos`, and without either, those of its `prepend_bos=False`.
#[test]
fn one_option_gives_transformer_lenss_numbers() -> Result<()> {
    let (theirs, place) = (theirs(), Place::new());
    let session = Session::open(&model("bos/hooked"))?;
    let [clean, corrupt] = ["clean", "corrupt"].map(|name| theirs[name].as_str().unwrap());
    let cases = [
        ("bos", Bos::Always, &["--bos"][..]),
        ("no_bos", Bos::Never, &["--no-bos"]),
        ("no_bos", Bos::AsTokenizer, &[]),
    ];
    for (name, bos, options) in cases {
        let own = &theirs[name];
        let prompt = session.prompts(&[PromptEntry::text(clean)], bos)?.remove(0);
        let ids: Vec<f64> = prompt.ids().into_iter().map(f64::from).collect();
        assert_eq!(ids, numbers(&own["tokens"]), "{name}");
        // Both runs are in f32, each as far from what it should be as rounding takes it.
        let rounding = drift("bos/hooked", &session.model, &Batch::one(prompt.ids()));
        let logits =
            session.model.forward(&Batch::one(prompt.ids()), &mut [&mut Cache::new(session.model.spec(), "z")?])?;
        let last = logits.get(ids.len() - 1)?.to_vec1::<f32>()?;
        for (got, want) in last.iter().zip(numbers(&own["logits"])) {
            assert!((f64::from(*got) - want).abs() <= rounding.logits(), "{name}: {got} {want}");
        }
        let [answer, foil] = ["answer", "foil"].map(|word| format!("#{}", own[word]));
        let m = model("bos/hooked");
        let command = [
            "patch", "-m", &m, "--clean", clean, "--corrupt", corrupt, "--answer", &answer, "--foil", &foil, "--at",
            "resid_pre", "--over", "layer,pos", "--out", "run", "--force",
        ];
        place.ok(command.iter().chain(options));
        let (rows, _) = read_rows::<PatchRow>(place.path("run/patch.parquet"))?;
        let patched = own["resid_pre"].as_array().unwrap();
        assert_eq!(rows.len(), patched.len() * ids.len());
        let spread = own["clean"].as_f64().unwrap() - own["corrupt"].as_f64().unwrap();
        for row in &rows {
            let [layer, pos] = [row.place.layer, row.place.pos].map(|x| x.unwrap() as usize);
            let want = numbers(&patched[layer])[pos];
            let far = (f64::from(row.measured.patched.unwrap()) - want).abs();
            assert!(far <= rounding.patched(spread.abs()) + rounding.metric(), "{name} {row:?} {want}");
            let ends = [Some(row.measured.clean), row.measured.corrupt].map(|x| f64::from(x.unwrap()));
            for (got, want) in ends.into_iter().zip(["clean", "corrupt"].map(|end| own[end].as_f64().unwrap())) {
                assert!((got - want).abs() <= rounding.metric(), "{name}: {got} {want}");
            }
        }
        // More than rounding could hide.
        assert!(spread.abs() > 20.0 * rounding.metric(), "{spread}");
    }
    let differ = (theirs["bos"]["clean"].as_f64().unwrap() - theirs["no_bos"]["clean"].as_f64().unwrap()).abs();
    assert!(differ > 0.5, "BOS makes a difference to this model: {differ}");
    Ok(())
}

/// Invariant: as `one_option_gives_transformer_lenss_numbers`.
#[test]
fn readers_of_transformer_lens_are_told_of_bos() {
    for page in ["README.md", "docs/patching.md", "docs/from-transformerlens.md", "docs/models.md"] {
        let text = fs_err::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let told = |line: &&str| line.contains("`--bos`") && line.contains("TransformerLens");
        assert!(text.split("\n\n").any(|part| told(&part)), "{page} does not say it");
    }
    let place = Place::new();
    let done = place.ok(["model", "-m", &model("bos/hooked")]);
    assert!(done.stderr.contains("puts no BOS before a text, and TransformerLens puts <|endoftext|>: --bos does too"));
    assert!(done.stdout.contains("<|endoftext|>, which the tokenizer does not put before a text"), "{}", done.stdout);
    let demo = place.ok(["model"]);
    assert!(
        demo.stdout.contains("<|endoftext|>, which the tokenizer puts before a text") && !demo.stderr.contains("--bos")
    );
}
