//! The side tables of a data set: what is known of each hook, and of each document.

use crate::table;
use crate::view::Seen;

table! {
    /// One hook, and what its exported values are like.
    ExportStatsRow = "export_stats" version 1:
    "What the exported values of each hook are like. One row is one hook; its numbers are of the rows that are in the data set, before \
     they are rounded to 16 bits. Sums are in f64, kept for each block of documents and added in the order of the blocks.";
    hook: String, "", "the hook's name, which is its column's";
    width: u32, "numbers", "how many numbers a row has of it";
    rows: u64, "rows", "how many rows there are";
    mean_norm: Option<f64>, "L2", "mean norm of a row; null where there is no row, as are all that follow";
    median_norm: Option<f64>, "L2", "median norm of a row, from a histogram of 128 bins for each doubling";
    median_norm_error: Option<f64>, "L2", "how far the median may be off: half the width of its bin";
    max_abs: Option<f32>, "activation", "largest size of a number";
    mean: Option<f64>, "activation", "mean of all numbers";
    std: Option<f64>, "activation", "their standard deviation";
    excess_kurtosis: Option<f64>, "", "their fourth central moment over the square of the second, less 3: 0 of a normal distribution; null where all numbers are the same";
    norm_scale: Option<f64>, "1/L2", "what numbers are multiplied by so that the mean norm is the root of the width, as dictionaries are trained";
}

table! {
    /// One document, and what became of it.
    ExportDocumentRow = "export_documents" version 1:
    "The documents of a data set. One row is one document that was read, whether rows of it are there or not.";
    doc: u64, "index", "its number in the corpus, counted from 0";
    doc_id: String, "", "its id, as given; else its file and line or row";
    block: u64, "index", "the block of documents that it is in, whose number the data files have";
    tokens: u64, "tokens", "how many tokens it has, with what the tokenizer puts around it";
    sequences: u64, "sequences", "in how many sequences they ran";
    rows: u64, "rows", "how many rows of it are in the data set";
}

impl Seen for ExportStatsRow {
    const DRAWN: bool = false;
}

impl Seen for ExportDocumentRow {
    const DRAWN: bool = false;
}
