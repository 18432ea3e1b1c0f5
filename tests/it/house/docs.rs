//! Pages under `docs/` that are made from the code: what is committed is what the code says now.
//! `PELLUCID_BLESS=1 cargo test --release --test it` writes them.

use std::fmt::Write;
use std::path::Path;

use pellucid::analysis::hooks;
use pellucid::hook::site::Axis;

#[track_caller]
pub(crate) fn committed(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("PELLUCID_BLESS").is_some() {
        std::fs::write(&path, now).unwrap();
    }
    let was = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(was == now, "docs/{name} is stale: run this test with PELLUCID_BLESS=1 and look at the difference");
}

/// Invariant: Pages generated from the code say what the code says.
#[test]
fn the_page_of_commands_is_what_help_says() {
    committed("cli.md", &pellucid::cli::docs());
}

/// Invariant: as `the_page_of_commands_is_what_help_says`.
#[test]
fn the_page_of_hooks_is_the_table_of_sites() {
    committed("hooks.md", &hooks());
}

/// Invariant: as `the_page_of_commands_is_what_help_says`.
#[test]
fn the_page_of_the_glossary_is_its_terms() {
    committed("glossary.md", &pellucid::analysis::tables::glossary());
}

/// Each axis with the name of its size.
const AXES: &[(Axis, &str)] = &[
    (Axis::T, "row: one token of one prompt; all prompts' rows lie after one another, and none is padding"),
    (Axis::One, "a single number"),
    (Axis::H, "query head"),
    (Axis::G, "key/value head; several query heads may share one"),
    (Axis::E, "dimension of a head (d_head)"),
    (Axis::D, "dimension of the residual stream (d_model)"),
    (Axis::M, "neuron (d_mlp)"),
    (Axis::X, "expert"),
    (Axis::C, "one of the experts that a row goes through, largest weight first"),
    (Axis::V, "token of the vocabulary"),
    (Axis::Q, "query position within one prompt"),
    (Axis::K, "key position within one prompt"),
];

fn hooks() -> String {
    let mut page = String::from(
        "# Hooks\n\n\
         Every value of the forward pass that can be recorded and edited, in the order in which it is made. The names \
         are TransformerLens's. `{l}` is a layer and `{e}` an expert, counted from 0. `pellucid hooks -m MODEL` lists those of one model, with \
         its sizes. This page is generated from `src/hook/site.rs`.\n\n\
         | hook | axes | meaning |\n|---|---|---|\n",
    );
    for hook in hooks::hooks(None) {
        let _ = writeln!(page, "| `{}` | {} | {} |", hook.hook, hook.axes, hook.meaning.replace('|', "\\|"));
    }
    page.push_str(
        "\nA model has the hooks that its architecture has: `hook_pos_embed` where positions are learned, `hook_rot_q` and \
         `hook_rot_k` where they are rotated, `mlp.hook_pre_linear` where the MLP is gated, `hook_resid_mid` where \
         attention and MLP follow one another, `ln1`, `ln2` and `ln_final` where there is such a norm, \
         `ln1_post` and `ln2_post` where one stands after the sublayer (OLMo 2, Gemma 2), `attn.q_norm` and `attn.k_norm` where \
         there is one on queries and keys. To name a hook that the model does not have is an error.\n\n\
         A norm has up to three hooks, in this order: `hook_scale`, what it divides by; `hook_normalized`, the stream divided by \
         that; `hook_out`, the same with gain and bias, which is what reads on. An edit of one of them goes through what is left \
         of the norm: what is put at `hook_normalized` is still multiplied by the gain. A query that is put at `hook_q` still goes \
         through `q_norm` and the rotation.\n\n\
         ## What names meant before\n\n\
         Files say which version of the names they use (`hook_names` in their metadata; this is version 2). In version 1, which \
         files without that number have, `hook_normalized` was what `hook_out` is now, gain and bias included, and `hook_q` and \
         `hook_k` were what `attn.q_norm.hook_out` and `attn.k_norm.hook_out` are now, in models with norms on queries and keys; \
         in models with a clamp (OLMo), queries, keys and values were those after it. A table of version 1 with such a name is not \
         read. TransformerLens changed too: until 2.18 its layer norms had gain and bias in `hook_normalized`, since 3.0 they \
         have not; its RMS norms never had. OLMo 2's norms after sublayers are `ln1` and `ln2` there.\n\n\
         ## Experts and prompts\n\n\
         Where a block has experts, the hooks of the router and of each expert stand in the place of `mlp.hook_pre`, \
         `mlp.hook_pre_linear` and `mlp.hook_post`. An expert computes only the rows that go through it. Its values have all \
         rows nevertheless, so that they can be stored and compared like any others: the rest are zero, an edit passes them \
         over, and one that selects no other is an error. `mlp.experts.{e}.hook_gate` is what a dense MLP calls \
         `mlp.hook_pre`, and `mlp.experts.{e}.hook_pre` its `mlp.hook_pre_linear`: so TransformerLens names them. \
         `mlp.hook_router_logits` and `mlp.hook_chosen_weights` are names of ours. Numbers written to \
         `mlp.hook_expert_indices` send rows to other experts, each with its own weight of `mlp.hook_expert_weights`.\n\n\
         `hook_attn_scores` and `hook_pattern` are made once for each prompt, all others once for all rows. \
         `hook_result` is computed only if something wants it.\n\n\
         ## Axes\n\n| letter | axis |\n|---|---|\n",
    );
    for (axis, meaning) in AXES {
        let _ = writeln!(page, "| {} | {meaning} |", axis.letter());
    }
    page.push_str(
        "\n## Patterns\n\n\
         Where hooks are asked for, a comma-separated list of names and patterns will do:\n\n\
         | pattern | means |\n|---|---|\n\
         | `blocks.3.attn.hook_z` | one hook |\n\
         | `blocks.*.hook_resid_post` | that hook in every layer |\n\
         | `blocks.4-8.attn.hook_z` | in layers 4 to 8, both included |\n\
         | `blocks.1.attn.*` | all hooks of one part of one layer |\n\
         | `resid_pre`, `z`, `mlp.post` | short forms: the name without `hook_`, in every layer |\n\
         | `experts.*.post`, `experts.0-7.post`, `experts.3.post` | of every expert, of these, of one, in every layer |\n\
         | `*` | everything |\n",
    );
    page
}

#[test]
fn every_axis_letter_of_the_page_of_hooks_is_explained() {
    for hook in hooks::hooks(None) {
        for letter in hook.axes.split(' ') {
            assert!(AXES.iter().any(|(axis, _)| axis.letter() == letter), "{letter} of {} is not explained", hook.hook);
        }
    }
}
