//! The tables of laws and references.

use crate::table;

table! {
    /// One law, checked on a model.
    VerifyRow = "verify" version 1 keyed by law:
    "Whether a loaded model obeys the laws that everything else relies on, checked on its own weights. One row is one law, \
     with the comparison that came nearest to failing it, or failed it worst.";
    law: String, "", "what must hold";
    verdict: String, "", "`ok`, `failed`, or `not applicable`";
    difference: Option<f64>, "", "the worst difference found, in the unit of the hook's values; infinite where a value is not a \
        number; for an edit that must matter, the smallest change; for finiteness, how many values are not";
    allowed: Option<f64>, "", "the tolerance there; 0 where every bit must be the same, null where a change is demanded";
    hook: Option<String>, "hook name", "where that was; null where nothing differed";
    layer: Option<u32>, "index", "the block of the hook, counted from 0; null for a hook outside the blocks";
    compared: u64, "comparisons", "how many values, rows or edits were compared";
    reason: Option<String>, "", "where the tolerance comes from, or why the law is not applicable";
}

table! {
    /// One site of a run, beside a reference.
    ReferenceRow = "verify_reference" version 1 keyed by hook:
    "How a run differs from a reference run by another program, site by site in the order of the forward pass, with a run in \
     f64 as the judge of what is rounding. One row is one hook. Differences are the largest over all tokens and dimensions.";
    hook: String, "hook name", "the site";
    layer: Option<u32>, "index", "the block of the hook, counted from 0; null for a hook outside the blocks";
    reference: String, "", "what the reference calls this value";
    magnitude: f64, "", "the largest value there, in f64";
    difference: f64, "", "between this run and the reference";
    reference_to_f64: f64, "", "between the reference and this model's run in f64";
    ours_to_f64: f64, "", "between this run and the same in f64: how far rounding goes";
    allowed: f64, "", "how far the reference may lie from f64: 8 times as far as this run, in units of its precision, and 4 \
        epsilon of the magnitude";
    verdict: String, "", "`equal` where no value differs, `rounding` where that explains the difference, `wrong` otherwise";
}
