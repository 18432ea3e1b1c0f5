//! Configurations that people have: `config.json` files of widely used models, key for key, at small sizes, each with a random
//! model that transformers built from it. And configurations of sizes alone, where everything else is a default.
//! `tests/fixtures/make_configs.py` makes them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candle_core::{DType, Device, Tensor};
use pellucid::Result;
use pellucid::arch::family::read_config;
use pellucid::arch::keys::TABLE;
use pellucid::model::{Batch, Model};
use serde_json::{Map, Value};

use crate::bin::{Place, fixture};
use crate::reference::close;

/// Models that transformers runs and no `Spec` can say, and what is said of them.
const REFUSED: [(&str, &str); 2] = [
    ("falcon-rw-1b", "`alibi` is true, and pellucid computes this model only with false"),
    ("phi-3.5-longrope", "does not know the rotary scaling `longrope`"),
];

struct Models {
    configs: BTreeMap<String, Map<String, Value>>,
    tensors: HashMap<String, Tensor>,
}

impl Models {
    fn open() -> Self {
        let path = fixture("config/models.safetensors");
        let bytes = fs_err::read(&path).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let configs = serde_json::from_str(&header.metadata().as_ref().unwrap()["configs"]).unwrap();
        Self { configs, tensors: candle_core::safetensors::load(&path, &Device::Cpu).unwrap() }
    }

    /// The tensors of one model under the names that its files have.
    fn of(&self, name: &str) -> HashMap<String, Tensor> {
        let own = self.tensors.iter().filter_map(|(key, x)| {
            Some((key.strip_prefix(&format!("{name}/"))?.to_owned(), x.clone())).filter(|(key, _)| key != "logits")
        });
        own.collect()
    }

    fn ids(&self) -> Vec<u32> {
        self.tensors["ids"].to_dtype(DType::U32).unwrap().to_vec1().unwrap()
    }
}

/// `config.json` files as they are published.
fn widely_used() -> BTreeMap<String, Map<String, Value>> {
    let text = fs_err::read_to_string(fixture("config/widely_used.json")).unwrap();
    let files: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let mut configs = BTreeMap::new();
    for (name, file) in files {
        assert!(file["source"].as_str().is_some_and(|s| !s.is_empty()), "{name} has no source");
        configs.insert(name, file["config"].as_object().unwrap().clone());
    }
    configs
}

/// In f64 nothing but the order of sums is left. Streams and logits here are below 100, sums at most 40 long: 1e-12 is some
/// hundred roundings of 2^-53 at that size. Two activations are polynomials whose constants transformers has cut short: BLOOM's
/// sqrt(2 / pi) at eight digits, and `gelu_fast`'s at ten, which is 5e-9 and 1e-10 after two layers.
fn allowed(config: &Map<String, Value>) -> f64 {
    match (config.get("model_type").and_then(Value::as_str), config.get("hidden_act").and_then(Value::as_str)) {
        (Some("bloom"), _) => 5e-8,
        (_, Some("gelu_fast")) => 1e-9,
        _ => 1e-12,
    }
}

/// Invariant: Published configurations of widely used models give transformers' logits in f64.
#[test]
fn configurations_that_people_have_give_transformers_logits() -> Result<()> {
    let models = Models::open();
    let (mut ran, mut families) = (0, BTreeSet::new());
    for (name, config) in &models.configs {
        let text = Value::Object(config.clone()).to_string();
        if let Some((_, says)) = REFUSED.iter().find(|(refused, _)| refused == name) {
            let error = read_config(&text).err().unwrap_or_else(|| panic!("{name} is read"));
            assert!(error.message().contains(says), "{name}: {error}");
            continue;
        }
        let model = Model::from_tensors(&text, &models.of(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        families.insert(model.spec().family.clone());
        let logits = model.to_dtype(DType::F64)?.forward(&Batch::one(models.ids()), &mut [])?;
        close(&format!("{name} logits"), &logits, &models.tensors[&format!("{name}/logits")], allowed(config));
        ran += 1;
    }
    assert_eq!(families.len(), TABLE.families.len());
    assert!(ran >= 60 + families.len(), "{ran}");
    Ok(())
}

/// The small ones are the published ones but for their sizes; and the published ones are read too.
#[test]
fn every_key_of_a_published_file_is_in_the_small_one() {
    let small = Models::open().configs;
    let files = widely_used();
    assert!(files.len() >= 60, "{}", files.len());
    for (name, config) in &files {
        let keys = |c: &Map<String, Value>| c.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(config), keys(&small[name]), "{name}");
        let same = |key: &&String| small[name][key.as_str()] == config[key.as_str()];
        assert!(config.keys().filter(same).count() * 2 > config.len(), "{name} is another model");
        let read = read_config(&Value::Object(config.clone()).to_string());
        let refused = REFUSED.iter().any(|(refused, _)| refused == name);
        assert_eq!(read.is_err(), refused, "{name}: {:?}", read.err());
    }
}

/// The reference data's configurations, as they lie there.
#[test]
fn the_reference_configurations_are_read() -> Result<()> {
    let dir = shared_or_skip!("configs");
    let mut read = 0;
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let result = read_config(&fs_err::read_to_string(&path)?);
        let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
        match (result, refused) {
            (Ok(_), None) => read += 1,
            (Err(e), Some((_, says))) => assert!(e.message().contains(says), "{name}: {e}"),
            (result, _) => panic!("{name}: {:?}", result.err()),
        }
    }
    assert!(read >= 22, "{read}");
    Ok(())
}

/// One of them from the command line, as a folder.
#[test]
fn a_published_configuration_runs_as_it_is() -> Result<()> {
    let models = Models::open();
    let place = Place::new();
    place.write("m/config.json", Value::Object(models.configs["smollm2-135m"].clone()).to_string());
    candle_core::safetensors::save(&models.of("smollm2-135m"), place.path("m/model.safetensors"))?;
    let done = place.ok(["lens", "-m", "m", "--ids", "1,2,3", "--at", "blocks.0.hook_resid_pre"]);
    assert!(!done.stderr.contains("warning"), "{}", done.stderr);
    Ok(())
}
