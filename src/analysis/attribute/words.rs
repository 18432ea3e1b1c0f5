//! The strongest estimates in words.

use std::io::{self, Write};

use crate::analysis::AttributionRow;
use crate::analysis::patch::view::words::is_no_better;
use crate::table::visible;

/// Estimates that are said in words.
const STRONGEST: usize = 10;

/// The strongest estimates of all pairs.
#[derive(Default)]
pub(super) struct SaidStrongest {
    /// The strongest first; of equals the first of the table.
    rows: Vec<AttributionRow>,
    /// How many there are in all that are not 0.
    of: usize,
}

impl SaidStrongest {
    pub fn take(&mut self, row: &AttributionRow) {
        if row.strength > 0.0 {
            self.of += 1;
            let at = self.rows.partition_point(|r| r.strength >= row.strength);
            if at < STRONGEST {
                self.rows.insert(at, row.clone());
                self.rows.truncate(STRONGEST);
            }
        }
    }

    pub fn write(&self, n_pairs: usize, w: &mut dyn Write) -> io::Result<()> {
        let Some(first) = self.rows.first() else {
            return writeln!(w, "to first order, no value makes a difference");
        };
        let shown = self.rows.len();
        match n_pairs {
            1 => writeln!(
                w,
                "{}: clean {:.4}, corrupt {:.4}; the {shown} strongest of {} estimates that are not 0:",
                first.metric, first.clean, first.corrupt, self.of
            )?,
            n => writeln!(
                w,
                "{}: the {shown} strongest of {} estimates of all {n} pairs that are not 0:",
                first.metric, self.of
            )?,
        }
        let reversed = n_pairs == 1 && is_no_better(&first.metric, first.clean, first.corrupt);
        if reversed {
            writeln!(
                w,
                "the clean run is no better than the corrupt run: shares are of the way to it, and no success"
            )?;
        }
        let named = |r: &AttributionRow| match n_pairs {
            1 => place(r),
            _ => format!("pair {} {}", visible(&r.pair_id), place(r)),
        };
        let width = self.rows.iter().map(|r| named(r).chars().count()).max().unwrap_or(0);
        for r in &self.rows {
            write!(w, "  {:width$}  {:+.4}", named(r), r.estimate)?;
            if r.strength != r.estimate.abs() {
                write!(w, "  strength {:.4}", r.strength)?;
            }
            if let Some(recovered) = r.estimated_recovered {
                let word = if reversed { "way to clean" } else { "recovered" };
                write!(w, "  {word} {recovered:.3}")?;
            }
            if let Some(exact) = r.exact {
                write!(w, "  exactly {exact:+.4}")?;
            }
            writeln!(w)?;
        }
        Ok(())
    }
}

/// `layer 2 attn.z head 3 at 5 (John)`.
pub(super) fn place(AttributionRow { place: r, .. }: &AttributionRow) -> String {
    let layer = r.layer.map_or(String::new(), |l| format!("layer {l} "));
    let head = match (r.head, r.kv_head) {
        (Some(h), _) => format!(" head {h}"),
        (None, Some(g)) => format!(" key/value head {g}"),
        _ => String::new(),
    };
    let neuron = r.neuron.map_or(String::new(), |i| format!(" neuron {i}"));
    let token = |t: &Option<String>| t.as_deref().map_or(String::new(), |t| format!(" ({})", visible(t)));
    let name = |name: &Option<String>| name.as_deref().map_or(String::new(), |n| format!("{}, position ", visible(n)));
    let own = name(&r.position_name);
    let at = r.pos.or(r.query_pos).map_or(String::new(), |p| format!(" at {own}{p}{}", token(&r.token)));
    let own = name(&r.key_position_name);
    let key = r.key_pos.map_or(String::new(), |p| format!(" to {own}{p}{}", token(&r.key_token)));
    format!("{layer}{}{head}{neuron}{at}{key}", r.site)
}
