//! All integration tests in one program: one link, and one place to look.

#[macro_use]
mod shared;

/// The program that made the built-in model.
#[path = "../../models/demo/train/mod.rs"]
#[allow(dead_code)] // Its own program uses all of it.
mod train;

mod answers;
mod attribute;
mod bin;
mod bound;
mod bridge;
mod chart;
mod chart_attribution;
mod chart_facts;
mod chart_patch;
mod chart_scale;
mod chart_strongest;
mod chart_training;
mod cli;
mod cli_numbers;
mod cli_output;
mod cli_refused;
mod cli_text;
mod config;
mod config_accept;
mod config_docs;
mod config_models;
mod demo;
mod demo_grammar;
mod demo_names;
mod demo_training;
mod docs;
mod dtypes;
mod finite;
mod folders;
mod forge;
mod hooked;
mod hostile;
mod hub;
mod hub_cache;
mod hub_refused;
mod hub_server;
mod law;
mod laws;
mod levels;
mod modules;
mod naive;
mod names;
mod older;
mod oracle;
mod parity;
mod patch;
mod patch_cli;
mod patch_exact;
mod patch_long;
mod patch_memory;
mod patch_pairs;
mod patch_query_head;
mod path;
mod path_cli;
mod plan_memory;
mod positions;
mod process;
mod prompt_inputs;
mod random_specs;
mod recognised;
mod reference;
mod rounding;
mod row_says;
mod smollm2;
mod specs;
mod stored;
mod sweep;
mod table;
mod text_prompt_files;
mod text_source;
mod text_tokenizer_cases;
mod text_tokenizer_files;
mod text_tokenizer_matrix;
mod text_tokenizer_models;
mod tidy;
mod torch;
mod verify;
