//! The table of hooks.

use crate::table;

table! {
    /// One hook of a model.
    HookRow = "hooks" version 1 keyed by hook:
    "The places where a model's activations can be read and edited. One row is one hook name.";
    hook: String, "hook name", "full name, e.g. `blocks.0.attn.hook_z`";
    axes: String, "", "one letter for each axis: t row, q query, k key, h head, g key/value head, e d_head, d d_model, \
        m d_mlp, x expert, c chosen expert, v vocabulary";
    shape: String, "", "the same with this model's sizes, e.g. `t x 128`";
    writable: bool, "", "whether an edit may replace the value";
    meaning: String, "", "what the value is";
}
