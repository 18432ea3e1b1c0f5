//! Variables of the environment that are meant for libraries inside this program, and that its user did not set for it.
//!
//! `POLARS_VERBOSE=1` makes polars talk on stderr, under `-q` too; others change how it reads, or let it end the process at the
//! first error. `CANDLE_*` leaves steps out of a backward pass or chooses kernels. Neither is an option of pellucid, and a
//! result must not depend on it. `RAYON_NUM_THREADS` is left: it says how many threads there are, and no number depends on
//! that. The README says so to users.

use std::env;

/// What the names of such variables begin with.
const OTHERS: [&str; 2] = ["POLARS_", "CANDLE_"];

/// Takes those variables away.
///
/// # Safety
/// No other thread may run yet: another could read the environment meanwhile.
pub(super) unsafe fn forget_what_is_for_libraries() {
    let names = env::vars_os().map(|(name, _)| name);
    let theirs = |name: &std::ffi::OsString| OTHERS.iter().any(|begin| name.to_string_lossy().starts_with(begin));
    for name in names.filter(theirs) {
        // SAFETY: as this function asks.
        unsafe { env::remove_var(name) };
    }
}
