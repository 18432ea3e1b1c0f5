//! What the bench says: words for people, or one JSON object a line.

use serde_json::{Value, json};

use crate::Bench;
use crate::clock::{Ratio, Times};

pub struct Say {
    pub json: bool,
}

impl Say {
    /// One fact, as JSON or in words.
    pub fn fact(&self, json: Value, words: &str) {
        if self.json {
            println!("{json}");
        } else {
            println!("{words}");
        }
    }

    /// What the numbers depend on.
    pub fn machine(&self, bench: &Bench) {
        let threads = rayon::current_num_threads();
        let (name, version) = (bench.shape.name, env!("CARGO_PKG_VERSION"));
        self.fact(
            json!({"case": "machine", "pellucid": version, "threads": threads, "model": name, "folder": bench.folder}),
            &format!("pellucid {version}, {threads} threads, {name}, f32"),
        );
    }

    pub fn times(&self, case: &str, what: &str, tokens: usize, times: &Times) {
        let (median, min, reps) = (times.median(), times.min(), times.len());
        self.fact(
            json!({"case": case, "what": what, "tokens": tokens, "median_s": median, "min_s": min, "reps": reps}),
            &format!("{case:8} {what:28} {tokens:4} tokens   median {median:8.4} s   min {min:8.4} s   of {reps}"),
        );
    }

    pub fn ratio(&self, case: &str, what: &str, tokens: usize, ratio: &Ratio, needed: Option<f64>) {
        let Ratio { paired, of_minima } = ratio;
        let limit = needed.map_or(String::new(), |n| format!("   needed: at most {n}"));
        self.fact(
            json!({
                "case": case, "what": what, "tokens": tokens,
                "paired_ratio": paired, "ratio_of_minima": of_minima, "needed_at_most": needed,
            }),
            &format!("{case:8} {what:28} {tokens:4} tokens   paired {paired:8.3}     minima {of_minima:8.3}{limit}"),
        );
    }
}
