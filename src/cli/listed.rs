//! Options whose values have names: help lists them, and shells complete them; what can be written beside names is read as ever.

use std::ffi::OsStr;
use std::sync::LazyLock;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

use crate::hook::site::{SITES, Scope};
use crate::sweep::{Kind, Metric, Over};

/// Reads a value by `parse`, and knows names of such values.
#[derive(Clone)]
struct Listed<P> {
    parse: P,
    names: fn() -> Vec<&'static str>,
}

/// A parser of values by `parse`, of which these are the names.
fn listed<P>(parse: P, names: fn() -> Vec<&'static str>) -> Listed<P> {
    Listed { parse, names }
}

/// Short names of the hooks of a block.
static NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| SITES.iter().filter(|site| site.scope == Scope::Block).map(|site| site.site.short()).collect());

/// Text that is a pattern of hooks: short names of those of a block are listed.
fn hooks() -> Listed<clap::builder::StringValueParser> {
    listed(clap::builder::StringValueParser::new(), || NAMES.iter().map(String::as_str).collect())
}

/// The same command, whose options that take names list them.
pub(super) fn with_names(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_id().as_str() {
        "kind" => arg.value_parser(listed(Kind::parse, Kind::names)),
        "metric" => arg.value_parser(listed(Metric::parse, Metric::names)),
        "over" => arg.value_parser(listed(Over::parse, Over::names)),
        // There are many, and help says the most usual.
        "at" => arg.value_parser(hooks()).hide_possible_values(true),
        _ => arg,
    })
}

impl<P: TypedValueParser> TypedValueParser for Listed<P> {
    type Value = P::Value;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Self::Value, Error> {
        self.parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.names)().into_iter().map(PossibleValue::new)))
    }
}
