//! Who else used the machine while something was timed: a number measured beside a compiler is not one to publish.

use serde_json::json;

use crate::say::Say;

/// Above this share of the machine's time the numbers are called disturbed. A quiet machine's own housekeeping stays
/// below it.
const DISTURBED_PERCENT: f64 = 2.0;

/// CPU time so far, in clock ticks.
#[derive(Clone, Copy)]
struct Ticks {
    /// That all CPUs had.
    all: u64,
    /// That they were busy with anything; what the host of a virtual machine took (steal) is with it.
    busy: u64,
    /// That this process had.
    own: u64,
}

/// Watches from when it is made. Sees nothing where there is no `/proc`.
pub struct Watch(Option<Ticks>);

impl Watch {
    pub fn start() -> Self {
        Self(ticks())
    }

    /// Says how much of the machine this process and the others used since.
    pub fn say(self, say: &Say, case: &str) {
        let (Some(from), Some(to)) = (self.0, ticks()) else { return };
        // Ticks of the two files are not counted at the same instant.
        let all = (to.all - from.all).max(1) as f64;
        let own = (to.own - from.own) as f64;
        let others = ((to.busy - from.busy) as f64 - own).max(0.0);
        let [own, others] = [own, others].map(|x| 100.0 * x / all);
        let disturbed = others > DISTURBED_PERCENT;
        let verdict = if disturbed { "   DISTURBED: these times are of a machine that did other things" } else { "" };
        say.fact(
            json!({"case": case, "own_cpu_percent": own, "others_cpu_percent": others, "disturbed": disturbed}),
            &format!("{case:8} of all CPUs' time this took {own:.1} %, others {others:.1} %{verdict}"),
        );
    }
}

fn ticks() -> Option<Ticks> {
    let stat = fs_err::read_to_string("/proc/stat").ok()?;
    // cpu user nice system idle iowait irq softirq steal ..; guests are counted in user already.
    let fields: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).take(8).map_while(|x| x.parse().ok()).collect();
    let all: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4)?;
    let own = fs_err::read_to_string("/proc/self/stat").ok()?;
    // The name, in brackets, may hold spaces; user and system time are the 12th and 13th field after it.
    let own: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
    let own = own.get(11)?.parse::<u64>().ok()? + own.get(12)?.parse::<u64>().ok()?;
    Some(Ticks { all, busy: all - idle, own })
}
