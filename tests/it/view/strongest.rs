//! "The N strongest" is over all that was asked, in figures, in words and in what is measured; never over the first pairs alone.

use crate::view::figures_of;
use pellucid::analysis::AttributionRow;
use pellucid::analysis::seen::render;
use pellucid::table::read_rows;
use pellucid::view::Figure;

use crate::bin::{Done, Place};
use crate::view::attribution::{named, rows as of_one_pair};
use crate::view::chart::{check, noise, provenance, show};
use crate::view::patch::contains;

/// More pairs than have figures. The names of later ones are other words.
fn pairs(place: &Place, n: usize) {
    const NAMES: [&str; 6] = ["Mary", "John", "Anna", "Paul", "Mark", "Sara"];
    const PLACES: [&str; 2] = ["store", "office"];
    let mut file = "clean,corrupt,answer,foil\n".to_owned();
    for i in 0..n {
        let (a, b) = (NAMES[i % 6], NAMES[(i + 1 + i / 6 % 5) % 6]);
        let place = PLACES[i % 2];
        let text = |who: &str| format!("When {a} and {b} went to the {place}, {who} gave a drink to");
        file += &format!("\"{}\",\"{}\", {a}, {b}\n", text(b), text(a));
    }
    place.write("pairs.csv", file);
}

fn run(place: &Place, more: &[&str]) -> (Done, Vec<AttributionRow>) {
    let done = place
        .ok(["attribute", "--pairs", "pairs.csv", "--at", "z,resid_pre", "--out", "run", "--force"].iter().chain(more));
    (done, read_rows(place.path("run/attribution.parquet")).unwrap().0)
}

/// The rows by strength; of equals the first of the table stay first.
fn by_strength(rows: &[AttributionRow]) -> Vec<&AttributionRow> {
    let mut sorted: Vec<&AttributionRow> = rows.iter().collect();
    sorted.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    sorted
}

/// What the dots of the figure say.
fn dots(figure: &Figure) -> Vec<String> {
    let xml = roxmltree::Document::parse(&figure.svg).unwrap();
    let dots = xml.descendants().filter(|n| n.has_tag_name("circle"));
    dots.map(|n| n.first_element_child().unwrap().text().unwrap().to_owned()).collect()
}

/// Invariant: "The N strongest" is taken over all pairs, in what is measured, drawn and said.
#[test]
fn what_is_measured_is_strongest_of_all_pairs() {
    let place = Place::new();
    pairs(&place, 24);
    // So little memory that pairs are estimated in several groups.
    for memory in ["512MB", "16MB"] {
        let (done, rows) = run(&place, &["--confirm", "40", "--memory", memory]);
        assert!(rows.iter().any(|r| r.pair == 23));
        let measured: Vec<&AttributionRow> = rows.iter().filter(|r| r.exact.is_some()).collect();
        assert_eq!(measured.len(), 40, "{memory}");
        let strongest = by_strength(&rows);
        let weakest = strongest[39].strength;
        assert!(measured.iter().all(|r| r.strength >= weakest), "{memory}");
        assert!(rows.iter().filter(|r| r.exact.is_none()).all(|r| r.strength <= weakest), "{memory}");
        // They are of early pairs and of pairs that have no figure of their own.
        assert!(measured.iter().any(|r| r.pair >= 20) && measured.iter().any(|r| r.pair < 20), "{memory}");
        assert!(done.stderr.contains("40 measured: "), "{}", done.stderr);
        let drawn = Figure {
            name: "attribution-measured".into(),
            svg: String::from_utf8(place.read("run/attribution-measured.svg")).unwrap(),
            scale: 1.0,
        };
        show(&drawn, &format!("strongest-{memory}"));
        assert_eq!(dots(&drawn).len(), 40);
        for row in &measured {
            let own = format!("pair {}, {} layer {}", row.pair_id, row.place.site, row.place.layer.unwrap());
            assert!(dots(&drawn).iter().any(|d| d.starts_with(&own)), "{own}");
        }
        let pairs: std::collections::BTreeSet<u32> = measured.iter().map(|r| r.pair).collect();
        assert!(contains(&drawn, &format!("the 40 strongest of all pairs, in {} of them", pairs.len())));
        assert!(render(place.path("run/attribution.parquet")).unwrap().contains(&drawn));
        // The terminal has the strongest means, of all positions together.
        let mut sums: std::collections::BTreeMap<(u32, u32), f64> = Default::default();
        for row in rows.iter().filter(|row| row.place.head.is_some()) {
            *sums.entry((row.place.layer.unwrap(), row.place.head.unwrap())).or_default() += f64::from(row.estimate);
        }
        let ((layer, head), sum) = sums.into_iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).unwrap();
        let lines: Vec<&str> = done.stdout.lines().collect();
        let at = lines.iter().position(|line| line.starts_with("the strongest means")).unwrap();
        assert_eq!(lines[at + 12], "the strongest means of single positions:", "{}", done.stdout);
        let best = format!("  attn.z layer {layer}, head {head}  {:+.2}", sum / 24.0);
        assert!(lines[at + 2].starts_with(&best), "{best}: {}", done.stdout);
    }
}

/// As many pairs as one likes, the strongest in the last.
///
/// Invariant: as `what_is_measured_is_strongest_of_all_pairs`.
#[test]
fn the_scatter_is_of_every_pair() {
    let mut rows = vec![];
    for pair in 0..30u32 {
        rows.extend(of_one_pair(" to").into_iter().enumerate().map(|(i, r)| {
            let estimate = (noise(i as u32) - 0.5) * (1.0 + pair as f32);
            let exact = (pair >= 15 && i % 6 == 0).then_some(estimate * 1.1);
            AttributionRow { pair, pair_id: format!("p{pair}"), estimate, strength: estimate.abs(), exact, ..r }
        }));
    }
    let n = rows.iter().filter(|r| r.exact.is_some()).count();
    let figures = figures_of(&rows, &provenance()).unwrap();
    let figure = named(&figures, "attribution-measured");
    show(figure, "strongest-scatter");
    check(figure);
    let dots = dots(figure);
    assert_eq!(dots.len(), n);
    assert!((15..30).all(|pair| dots.iter().any(|d| d.starts_with(&format!("pair p{pair}, attn.z layer ")))));
    // These were not chosen by strength, and are not called the strongest.
    assert!(contains(figure, &format!("{n} measured, of 15 pairs")) && !contains(figure, "strongest"));
    assert!(contains(
        figure,
        &format!("{n} of {n} estimates have the sign of what was measured. Furthest apart: pair p29, ")
    ));
    // The words beside dots name the pair.
    assert!(figure.svg.contains(", pair p29</text>"), "the farthest from the line says its pair");
}
