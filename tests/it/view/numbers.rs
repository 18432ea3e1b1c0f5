//! Numbers as people read them, by language.

use pellucid::view::Locale;

const EN: Locale = Locale::EN;

#[test]
fn amounts_have_the_unit_that_suits_them() {
    let bytes = [0.0, 900.0, 1023.9, 307_200.0, 36_864.0, 5_368_709_120.0].map(|x| EN.amount(x, "B"));
    assert_eq!(bytes, ["0 B", "900 B", "1 KiB", "300 KiB", "36 KiB", "5 GiB"]);
    let operations = [999.4, 999.6, 246_915_072.0, 1.234e12].map(|x| Locale::DE.amount(x, "FLOP"));
    assert_eq!(operations, ["999 FLOP", "1 kFLOP", "247 MFLOP", "1,23 TFLOP"]);
    assert_eq!([2.5, 0.0125, 3.1e-6].map(|x| EN.seconds(x)), ["2.5 s", "12.5 ms", "3.1 µs"]);
}

#[test]
fn numbers_are_short_and_never_nothing() {
    assert_eq!(
        [5.414, -7.0, 1253.0, 0.0234, 3.8e-4, -0.0, f32::NAN, 2e30].map(|x| EN.number(x)),
        ["5.41", "-7", "1253", "0.023", "3.80e-4", "0", "NaN", "2.00e30"]
    );
    assert_eq!(
        [0.7712, -0.028, 0.0, 4.5e-4, 1e-6].map(|x| EN.percent(x)),
        ["77 %", "-2.8 %", "0 %", "0.04 %", "1.0e-4 %"]
    );
    assert_eq!(
        [1.48249, 0.0, 0.0004, 2e30, f32::NAN, f32::INFINITY].map(|x| EN.loss(x)),
        ["1.482", "0", "4.00e-4", "2.00e30", "NaN", "inf"]
    );
    assert_eq!([0.00054, 1.25].map(|x| EN.any(x)), ["5.40e-4", "1.250"]);
    assert_eq!(
        [0.25, 0.0, 0.0002, 12_000.0, -1.5, 2e30].map(|y| EN.tick(y)),
        ["0.25", "0", "2e-4", "12000", "-1.5", "2e30"]
    );
    assert_eq!([999, 1000, 1_234_567].map(|n| EN.count(n)), ["999", "1,000", "1,234,567"]);
    assert_eq!([0.5, 0.0004, 0.0].map(|p| EN.probability(p)), ["0.500", "4.0e-4", "0"]);
    assert_eq!(
        [0.424, 0.999, 0.001, 0.0, f32::NAN].map(|p| EN.short_probability(p)),
        [".42", "1.0", "<.01", ".00", "NaN"]
    );
    assert_eq!([1.0, 0.25, 1e-7].map(|x| EN.trimmed(x)), ["1", "0.25", "1.00e-7"]);
}

#[test]
fn numbers_in_cells_are_short() {
    let cells = [(0.7712, 1.0), (-0.7712, 1.0), (1.0, 1.0), (0.004, 1.0), (-0.004, 1.0), (0.004, 0.05)];
    assert_eq!(cells.map(|(x, most)| EN.in_cell(x, most)), [".77", "-.77", "1.00", "", "", ".004"]);
    let cells = [(-13.26, 20.0), (200.4, 300.0), (10.0, 20.0), (f64::NAN, 1.0)];
    assert_eq!(cells.map(|(x, most)| EN.in_cell(x, most)), ["-13.3", "200", "10.0", "NaN"]);
    let columns = [(0.7712, 1.0), (-0.001, 1.0), (0.004, 0.05), (12_345.0, 2.0)];
    assert_eq!(columns.map(|(x, most)| EN.in_column(x, most)), ["0.77", "0.00", "0.004", "1e4"]);
}

#[test]
fn other_languages_have_other_signs() {
    let (de, fr) = (Locale::DE, Locale::FR);
    assert_eq!(
        (de.number(5.414), de.percent(0.028), de.in_cell(-0.7712, 1.0)),
        ("5,41".into(), "2,8 %".into(), "-,77".into())
    );
    assert_eq!((de.count(1_234_567), fr.count(1_234_567)), ("1.234.567".into(), "1\u{202f}234\u{202f}567".into()));
    assert_eq!((de.tick(0.25), de.trimmed(0.5), fr.loss(1.48249)), ("0,25".into(), "0,5".into(), "1,482".into()));
}
