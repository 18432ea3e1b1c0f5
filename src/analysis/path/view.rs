//! Path patching as it is seen: as sweeps of patches are, with senders and receivers for places.

use crate::analysis::{PathMeanRow, PathRow};
use crate::view::Drawable;

/// The tables that are drawn.
pub(crate) const DRAWABLE: [Drawable; 2] = [Drawable::of::<PathRow>(), Drawable::of::<PathMeanRow>()];
