//! Numbers of the page are not drawn: the page is their figure.

use super::rows::ExplainRow;
use crate::view::Seen;

impl Seen for ExplainRow {
    const DRAWN: bool = false;
}
