//! The committed models, and tests that are made for each of them.

use pellucid::model::Model;

use crate::bin::fixture;

/// Calls the macro `then` with its arguments and the committed models: those of Hugging Face, each family at least once, with what
/// transformers computes for them; choices of these families that those do not make (blocks with and without experts, three of six a
/// token, weights as they are, windows; queries, keys and values clamped after their norm); HookedTransformers of random weights, with
/// what TransformerLens computes for them (`tests/fixtures/make_hooked.py`).
macro_rules! with_models {
    ($then:ident $($argument:tt)*) => {
        $then! { ($($argument)*)
            [gpt2 gpt2_scaled gpt_neo gptj gpt_neox gpt_neox_sequential opt bloom falcon_mqa falcon_gqa llama llama_mha_tied
             llama3_rope llama_linear_rope llama_yarn_rope mistral qwen2 qwen3 gemma gemma2 gemma3_text phi phi3 olmo olmo2
             stablelm starcoder2 gpt_bigcode cohere granite smollm3 mixtral qwen3_moe olmoe]
            [qwen3_moe_mixed olmoe_clipped]
            [hooked_attn_only hooked_shortformer hooked_ln hooked_lnpre hooked_rms hooked_rmspre hooked_rms_post
             hooked_bidirectional hooked_solu_ln hooked_solu_lnpre hooked_alibi]
        }
    };
}

macro_rules! lists {
    (() [$($fixture:ident)*] [$($variant:ident)*] [$($hooked:ident)*]) => {
        /// Models of Hugging Face, each family at least once.
        pub const FIXTURES: &[&str] = &[$(stringify!($fixture)),*];
        /// Committed only, and whole: choices of these families that the fixtures above do not make.
        pub const VARIANTS: &[&str] = &[$(stringify!($variant)),*];
        /// HookedTransformers.
        pub const HOOKED: &[&str] = &[$(stringify!($hooked)),*];
    };
}
with_models! { lists }

macro_rules! tests_of {
    (($check:expr) $([$($model:ident)*])*) => {
        $($(#[test]
        fn $model() -> pellucid::Result<()> {
            ($check)(stringify!($model))
        })*)*
    };
}

/// Makes a test of a function of a model's name for every committed model, so that the name of a failure says both: `fn law = check;`
/// gives the tests `law::gpt2`, `law::llama` and so on, each of which expects that `check("gpt2")` and so on return `Ok`.
macro_rules! for_every_model {
    ($($(#[$about:meta])* fn $law:ident = $check:expr;)*) => {
        $($(#[$about])*
        mod $law {
            use super::*;
            with_models! { tests_of $check }
        })*
    };
}

/// All of them.
pub fn every_model() -> impl Iterator<Item = &'static str> {
    FIXTURES.iter().chain(VARIANTS).chain(HOOKED).copied()
}

/// The committed model of this name.
pub fn load(name: &str) -> Model {
    Model::load(&fixture(name)).unwrap()
}

/// Every folder of a model in `tests/fixtures` is on one of the lists.
#[test]
fn the_lists_are_what_is_there() {
    let folders = std::fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().path());
    let models = folders.filter(|folder| folder.join("model.safetensors").exists());
    let mut there: Vec<_> = models.map(|m| m.file_name().unwrap().to_string_lossy().into_owned()).collect();
    there.sort();
    let mut listed: Vec<_> = every_model().collect();
    listed.sort();
    assert_eq!(there, listed);
}
