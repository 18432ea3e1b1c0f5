//! The table of a training run, which no command makes: the program that trains the built-in model writes it, and `chart` draws it.

pub(super) mod view;

use crate::table;

table! {
    /// One report of a training run.
    TrainingRow = "training" version 1 keyed by step:
    "How a model learned. One row is one report of a training run, in order.";
    step: u64, "steps", "optimizer steps done";
    tokens: u64, "tokens", "predictions trained on so far";
    loss_nats: f32, "nats", "mean cross-entropy of the batches since the last report, each before its own step";
    held_out_loss_nats: f32, "nats", "mean cross-entropy of a fixed batch that is never trained on, after this step";
    gradient_norm: f32, "", "length of the gradient of all weights in the last step, before clipping";
    learning_rate: f32, "", "learning rate of the last step";
}
