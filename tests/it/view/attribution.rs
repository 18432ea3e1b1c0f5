//! Figures of attribution patching: estimates are called so, and lie where their numbers say beside what was measured.

use crate::view::chart::{check, noise, provenance, save, show};
use crate::view::figures_of;
use crate::view::patch::contains;
use pellucid::analysis::AttributionRow;
use pellucid::analysis::seen::render;
use pellucid::table::Place;
use pellucid::view::Figure;
use tempfile::TempDir;

/// Heads at positions, every fifth measured: first as estimated, then farther and farther off.
pub(crate) fn rows(token: &str) -> Vec<AttributionRow> {
    let row = |i: u32| {
        let estimate = if i.is_multiple_of(7) { 0.0 } else { 8.0 * (noise(i) - 0.5) };
        let exact = i.is_multiple_of(5).then(|| estimate + i as f32 / 10.0);
        AttributionRow {
            pair: 0,
            pair_id: "0".into(),
            place: Place {
                site: "attn.z".into(),
                layer: Some(i / 16),
                head: Some(i / 4 % 4),
                kv_head: Some(i / 4 % 4),
                neuron: None,
                pos: Some(i % 4),
                query_pos: None,
                key_pos: None,
                position_name: None,
                key_position_name: None,
                token: Some(token.into()),
                key_token: None,
            },
            metric: "logit_diff".into(),
            clean: 4.0,
            corrupt: -6.0,
            estimate,
            estimated_recovered: Some(estimate / 10.0),
            strength: estimate.abs(),
            exact,
            exact_recovered: exact.map(|e| e / 10.0),
            kind: "replace".into(),
            direction: "denoise".into(),
            changed: estimate != 0.0,
            not_finite: None,
        }
    };
    (0..48).map(row).collect()
}

pub(crate) fn named<'a>(figures: &'a [Figure], name: &str) -> &'a Figure {
    figures.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// Invariant: Estimates are drawn as estimates, next to the values that were measured.
#[test]
fn estimates_are_drawn_as_patches_are_and_called_estimates() {
    let figures = figures_of(&rows(" to"), &provenance()).unwrap();
    assert_eq!(figures.len(), 2);
    let map = named(&figures, "attribution-attn.z-logit_diff");
    show(map, "attribution-map");
    let titles = check(map);
    assert!(titles[0].starts_with("Attribution of attn.z: logit_diff recovered,"), "{}", titles[0]);
    assert_eq!(titles.iter().filter(|t| t.ends_with("recovered, estimated")).count(), 48);
    let row = &rows(" to")[13];
    let says =
        format!("layer 0, head 3, position 1 \"·to\": logit_diff {:.2} (clean 4, corrupt -6)", row.estimate - 6.0);
    assert!(titles.iter().any(|t| t.starts_with(&says)), "{says} in {titles:#?}");
    assert!(contains(map, "nothing was patched") && contains(map, "no change, to first order"));
    assert!(!contains(map, "to the last bit") && !contains(map, "which was patched"));
}

/// Of a clean run that would be patched, the same estimate is what would be lost.
#[test]
fn estimates_of_the_clean_run_start_from_it() {
    let rows: Vec<AttributionRow> = rows(" to")
        .into_iter()
        .map(|r| AttributionRow { estimated_recovered: Some(1.0 + r.estimate / 10.0), exact: None, ..r })
        .map(|r| AttributionRow { direction: "noise".into(), ..r })
        .collect();
    let figures = figures_of(&rows, &provenance()).unwrap();
    assert_eq!(figures.len(), 1, "nothing was measured");
    let patched = format!("{:.2}", 4.0 + rows[13].estimate);
    let says = format!("layer 0, head 3, position 1 &quot;·to&quot;: logit_diff {patched} (clean 4, corrupt -6)");
    assert!(figures[0].svg.contains(&says), "{says}");
}

/// Invariant: as `estimates_are_drawn_as_patches_are_and_called_estimates`.
#[test]
fn what_was_measured_lies_where_its_numbers_say() {
    let rows = rows(" to");
    let figures = figures_of(&rows, &provenance()).unwrap();
    let figure = named(&figures, "attribution-measured");
    show(figure, "attribution-measured");
    check(figure);
    let xml = roxmltree::Document::parse(&figure.svg).unwrap();
    let number = |n: &roxmltree::Node, name: &str| n.attribute(name).unwrap().parse::<f64>().unwrap();
    let dots: Vec<(f64, f64, String)> = (xml.descendants().filter(|n| n.has_tag_name("circle")))
        .map(|n| (number(&n, "cx"), number(&n, "cy"), n.first_element_child().unwrap().text().unwrap().to_owned()))
        .collect();
    let measured: Vec<&AttributionRow> = rows.iter().filter(|r| r.exact.is_some()).collect();
    assert_eq!(dots.len(), measured.len());
    // Pixels are linear in both numbers, and the same length of either is as long: two dots give the scale.
    let line = xml.descendants().find(|n| n.has_tag_name("polyline") && n.attribute("stroke") == Some("#b0b0b0"));
    let ends: Vec<Vec<f64>> = (line.unwrap().attribute("points").unwrap().split(' '))
        .map(|p| p.split(',').map(|x| x.parse().unwrap()).collect())
        .collect();
    let scale = (dots[5].0 - dots[3].0) / f64::from(measured[5].estimate - measured[3].estimate);
    for ((x, y, says), row) in dots.iter().zip(&measured) {
        let (estimate, exact) = (f64::from(row.estimate), f64::from(row.exact.unwrap()));
        let across = dots[3].0 + scale * (estimate - f64::from(measured[3].estimate));
        // How far it lies above the line at its place is how much more was measured than estimated.
        let share = (x - ends[0][0]) / (ends[1][0] - ends[0][0]);
        let above = ends[0][1] + share * (ends[1][1] - ends[0][1]) - y;
        // Pixels are written with two decimals, plots begin on whole ones.
        assert!(
            (x - across).abs() < 0.1 && (above - scale * (exact - estimate)).abs() < 1.0,
            "{says}: {x} {y} {above}"
        );
        assert!(says.contains("estimated") && says.contains("measured"), "{says}");
    }
    assert!(figure.svg.contains("attn.z L2H3P1"), "the farthest from the line has a name");
}

#[test]
fn a_figure_is_the_same_from_rows_and_from_the_file_whatever_the_words() {
    let folder = TempDir::new().unwrap();
    let rows = rows("<script>alert(1)</script>\u{202e}");
    let mut how = provenance();
    (how.table, how.table_version) = ("attribution".into(), 2);
    how.pellucid_version = env!("CARGO_PKG_VERSION").into();
    let drawn = figures_of(&rows, &how).unwrap();
    assert!(render(save(&folder, &rows)).unwrap() == drawn);
    drawn.iter().for_each(|figure| assert!(!check(figure).is_empty() && !figure.svg.contains("<script")));
    assert!(figures_of::<AttributionRow>(&[], &how).is_err());
}
