//! Files of older versions of a table: what their columns do not say, from the command that made them.
//!
//! Version 1 of the tables of patched runs had neither what was done nor whether it changed anything. The first is in the
//! command; the second was inferred from equal metrics, and for those files still is.

use super::parts::{Around, Done, Measured, MeasuredMean, Outcome, OutcomeMean};
use super::provenance::Provenance;

const NOT_RECORDED: &str = "not recorded";

/// What the command did to the values of a run.
pub(crate) fn done(how: &Provenance, has_corrupt: bool) -> (Done, Around) {
    let command = &how.command;
    let of_itself = if command.get(1).is_some_and(|c| c == "ablate") { "mean" } else { "replace" };
    let direction = said(command, "direction").unwrap_or("denoise");
    let done = Done {
        kind: said(command, "kind").unwrap_or(of_itself).to_owned(),
        direction: has_corrupt.then(|| direction.to_owned()),
        at_once: None,
    };
    let around = Around {
        window: said(command, "window").and_then(|n| n.parse().ok()).unwrap_or(1),
        noise: said(command, "noise").and_then(|n| n.parse().ok()),
        ..Around::default()
    };
    (done, around)
}

/// Whether anything changed, from the metrics; those that are not finite become null.
pub(crate) fn outcome(of: &mut Measured, done: &Done) -> Outcome {
    let changed = moved(of.patched, done, of.clean, of.corrupt);
    let not_finite = only_finite(&mut of.patched, &mut of.recovered);
    Outcome { changed, reached: changed, not_finite }
}

/// The same of means.
pub(crate) fn outcome_mean(of: &mut MeasuredMean, done: &Done) -> OutcomeMean {
    let changed = if moved(of.patched, done, of.clean, of.corrupt) { of.pairs } else { 0 };
    if only_finite(&mut of.patched, &mut of.recovered).is_some() {
        of.change = None;
    }
    OutcomeMean { changed, reached: changed, not_finite: 0 }
}

/// Whether the patched run's metric is another than that of the run that was patched.
fn moved(patched: Option<f32>, done: &Done, clean: f32, corrupt: Option<f32>) -> bool {
    patched != if done.direction.as_deref() == Some("denoise") { corrupt } else { Some(clean) }
}

/// Makes a metric that is not finite null, and says where it was lost.
pub(crate) fn only_finite(patched: &mut Option<f32>, recovered: &mut Option<f32>) -> Option<String> {
    *recovered = recovered.filter(|x| x.is_finite());
    let lost = patched.is_some_and(|x| !x.is_finite());
    if lost {
        (*patched, *recovered) = (None, None);
    }
    lost.then(|| NOT_RECORDED.to_owned())
}

/// The value of an option, as `--name value` or `--name=value`.
fn said<'a>(command: &'a [String], name: &str) -> Option<&'a str> {
    let after = command
        .iter()
        .zip(command.iter().skip(1))
        .find(|(a, _)| a.strip_prefix("--") == Some(name))
        .map(|(_, value)| value.as_str());
    after.or_else(|| command.iter().find_map(|a| a.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('=')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_says_what_was_done() {
        let of = |line: &str, has_corrupt| {
            let command: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let (done, around) = done(&Provenance { command, ..Provenance::default() }, has_corrupt);
            (done.kind, done.direction.unwrap_or_default(), around.window, around.noise)
        };
        let did = |kind: &str, direction: &str, window, noise| (kind.to_owned(), direction.to_owned(), window, noise);
        assert_eq!(of("pellucid patch --at z", true), did("replace", "denoise", 1, None));
        assert_eq!(of("pellucid patch --kind noise=2 --direction noise", true), did("noise=2", "noise", 1, None));
        assert_eq!(of("pellucid patch --direction=noise --window=3", true), did("replace", "noise", 3, None));
        assert_eq!(of("pellucid patch --noise 3 --at noise", true), did("replace", "denoise", 1, Some(3.0)));
        assert_eq!(of("pellucid ablate x", false), did("mean", "", 1, None));
        assert_eq!(of("pellucid ablate x --kind=zero", false), did("zero", "", 1, None));
    }
}
