//! Options whose values have names: help lists them, and shells complete them; what can be written beside names is read as ever.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

use crate::hook::site::{SITES, Scope};

/// Reads a value by `parse`, and knows names of such values.
#[derive(Clone)]
pub struct Listed<P> {
    parse: P,
    names: fn() -> Vec<String>,
}

/// A parser of values by `parse`, of which these are the names.
pub fn listed<P>(parse: P, names: fn() -> Vec<String>) -> Listed<P> {
    Listed { parse, names }
}

/// Text that is a pattern of hooks: short names of those of a block are listed.
pub fn hooks() -> Listed<clap::builder::StringValueParser> {
    let names = || SITES.iter().filter(|site| site.scope == Scope::Block).map(|site| site.site.short()).collect();
    listed(clap::builder::StringValueParser::new(), names)
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
