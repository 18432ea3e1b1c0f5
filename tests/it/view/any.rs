//! Charts of whatever a file may hold: every drawable table, with numbers that are none, infinite, huge, all the same or missing,
//! is drawn or refused in words. None panics, and no figure has a place that is no number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pellucid::analysis::heads::{HeadPairRow, HeadRow};
use pellucid::analysis::seen::render_with;
use pellucid::analysis::{
    AttentionRow, AttributionMeanRow, AttributionRow, LensMeanRow, LensRow, PatchMeanRow, PatchRow, PathMeanRow,
    PathRow, TrainingRow,
};
use pellucid::table::{Cell, ColumnType, Provenance, Row, read_rows};
use pellucid::view::{Figure, Options};

use crate::bin::Place;

/// Tables that the program wrote, one of each kind that can be drawn.
struct Tables {
    _place: Place,
    files: Vec<PathBuf>,
}

const PAIRS: &str = r#"{"clean": "Mary gave it to John", "corrupt": "Tom gave it to John", "answer": " Mary", "foil": " Tom"}
{"clean": "John gave it to Mary", "corrupt": "Tom gave it to Mary", "answer": " John", "foil": " Tom"}
"#;

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let place = Place::new();
        place.write("pairs.jsonl", PAIRS);
        let pairs = ["--pairs", "pairs.jsonl"];
        place.ok(["lens", "Mary gave it to John", "--top", "2", "-q", "--out", "lens"]);
        let followed = ["--target", " Mary", "--foil", " John", "--pos", "-1", "-q", "--out", "means"];
        place.ok([&["lens", "Mary gave it to John", "John gave it to Mary"], &followed[..]].concat());
        place.ok(["attention", "Mary gave it", "-q", "--out", "attention"]);
        let grids = [("maps", "layer,pos", "resid_pre"), ("heads", "layer,head", "z"), ("bars", "layer", "mlp_out")];
        for (out, over, at) in grids {
            place.ok([&["patch", "-q", "--out", out, "--over", over, "--at", at], &pairs[..]].concat());
        }
        place.ok([&["path", "-q", "--out", "path", "--from", "z", "--to", "logits"], &pairs[..]].concat());
        place.ok([&["attribute", "-q", "--out", "attribute", "--at", "z", "--confirm", "3"], &pairs[..]].concat());
        place.ok(["heads", "-q", "--texts", "2", "--find", "heads,pairs", "--out", "atlas"]);
        let files = walk(&place.path(""));
        Tables { _place: place, files }
    })
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p] }).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "parquet"));
    found.sort();
    found
}

/// What becomes of a number: one of these in place of each, or of some.
const FLOATS: [f64; 13] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    1.0,
    -7.25,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    1e38,
    -3e-45,
];
const WHOLE: [i64; 5] = [0, 1, 3, u32::MAX as i64, i64::MAX];

/// One way to spoil a table.
#[derive(Clone, Copy, Debug)]
enum Spoilt {
    /// Every number of every column is this.
    All(f64),
    /// Every number of one column is this.
    Column(usize, f64),
    /// Every whole number of one column is this.
    Whole(usize, i64),
    /// One column is null, where it may be.
    Null(usize),
    /// Every column is null that may be.
    AllNull,
    /// Every number is this, and the only layer and head are the fourth.
    Elsewhere(f64),
    /// Numbers drawn from all of these.
    Mixed(u32),
    /// One row, its numbers as they are or this.
    OneRow(Option<f64>),
    /// No rows.
    NoRow,
}

fn number(kind: ColumnType, x: f64) -> Option<Cell<'static>> {
    match kind {
        ColumnType::F32 => Some(Cell::F32(x as f32)),
        ColumnType::F64 => Some(Cell::F64(x)),
        _ => None,
    }
}

fn whole(kind: ColumnType, n: i64) -> Option<Cell<'static>> {
    match kind {
        ColumnType::U32 => Some(Cell::U32(n as u32)),
        ColumnType::U64 => Some(Cell::U64(n as u64)),
        ColumnType::I64 => Some(Cell::I64(n)),
        _ => None,
    }
}

impl Spoilt {
    fn rows<R: Row>(self, rows: &[R]) -> Vec<R> {
        let n = match self {
            Spoilt::NoRow => 0,
            Spoilt::OneRow(_) => 1,
            _ => rows.len(),
        };
        rows[..n.min(rows.len())].iter().enumerate().map(|(i, row)| self.row(i as u32, row)).collect()
    }

    fn row<R: Row>(self, i: u32, row: &R) -> R {
        let cells: Vec<Cell> = (R::TABLE.columns.iter().zip(row.cells()).enumerate())
            .map(|(c, (info, cell))| {
                // A number that is there stays there: a null one may become a number, too.
                let other = match self {
                    Spoilt::All(x) | Spoilt::OneRow(Some(x)) => number(info.kind, x),
                    Spoilt::Elsewhere(_) if matches!(info.name, "layer" | "head") => whole(info.kind, 3),
                    Spoilt::Elsewhere(x) => number(info.kind, x),
                    Spoilt::Column(column, x) if column == c => number(info.kind, x),
                    Spoilt::Whole(column, n) if column == c => whole(info.kind, n),
                    Spoilt::Null(column) if column == c && info.nullable => Some(Cell::Null),
                    Spoilt::AllNull if info.nullable => Some(Cell::Null),
                    Spoilt::Mixed(seed) => {
                        let drawn = (crate::view::chart::noise(seed * 7919 + i * 131 + c as u32) * 64.0) as usize;
                        FLOATS.get(drawn).and_then(|x| number(info.kind, *x))
                    }
                    _ => None,
                };
                other.unwrap_or(cell)
            })
            .collect();
        let mut cells = cells.into_iter();
        R::build(&mut || cells.next().unwrap()).unwrap()
    }
}

fn ways<R: Row>() -> Vec<Spoilt> {
    let columns = R::TABLE.columns;
    let of = |wanted: fn(ColumnType) -> bool| (0..columns.len()).filter(move |c| wanted(columns[*c].kind));
    let mut all: Vec<Spoilt> = FLOATS.into_iter().map(Spoilt::All).collect();
    all.extend(
        of(|k| matches!(k, ColumnType::F32 | ColumnType::F64)).flat_map(|c| FLOATS.map(|x| Spoilt::Column(c, x))),
    );
    all.extend(
        of(|k| matches!(k, ColumnType::U32 | ColumnType::U64 | ColumnType::I64))
            .flat_map(|c| WHOLE.map(|n| Spoilt::Whole(c, n))),
    );
    all.extend((0..columns.len()).filter(|c| columns[*c].nullable).map(Spoilt::Null));
    all.extend(FLOATS.map(|x| Spoilt::OneRow(Some(x))));
    all.extend(FLOATS.map(Spoilt::Elsewhere));
    all.extend((0..24).map(Spoilt::Mixed));
    all.extend([Spoilt::AllNull, Spoilt::OneRow(None), Spoilt::NoRow]);
    all
}

type Draw<R> = fn(&[R], &Provenance) -> pellucid::Result<Vec<Figure>>;

/// Draws `rows`, spoilt in every way, and says how many figures there were.
fn draws<R: Row>(rows: &[R], provenance: &Provenance, draw: Draw<R>) -> usize {
    let mut figures = 0;
    for way in ways::<R>() {
        let spoilt = way.rows(rows);
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| draw(&spoilt, provenance)));
        let table = R::TABLE.name;
        let Ok(outcome) = outcome else { panic!("{table}, {way:?}: it panicked") };
        // A number that is too large for a loop would be seen here.
        assert!(began.elapsed() < Duration::from_secs(20), "{table}, {way:?}: {:?}", began.elapsed());
        match outcome {
            Ok(drawn) => {
                figures += drawn.len();
                drawn.iter().for_each(|figure| places_are_numbers(table, way, figure));
            }
            Err(e) => assert!(!e.hint_text().unwrap_or_default().is_empty(), "{table}, {way:?}: {e:?}"),
        }
    }
    figures
}

fn places_are_numbers(table: &str, way: Spoilt, figure: &Figure) {
    let xml = roxmltree::Document::parse(&figure.svg).unwrap_or_else(|e| panic!("{table}, {way:?}: {e}"));
    for node in xml.descendants() {
        for place in node.attributes().filter(|a| !matches!(a.name(), "aria-label" | "font-family" | "xmlns")) {
            let wrong = ["NaN", "inf", "e+", "E+"].iter().any(|no| place.value().contains(no));
            assert!(!wrong, "{table}, {way:?}: {} is {:?}", place.name(), place.value());
            // Beyond this, viewers lose the figure. It is a thousand times the width of any.
            let far = place.value().split([' ', ',']).filter_map(|n| n.parse::<f64>().ok()).any(|n| n.abs() > 1e7);
            assert!(!far, "{table}, {way:?}: {} is {:?}", place.name(), place.value());
        }
    }
}

fn of<R: Row>(name: &str, draw: Draw<R>) {
    let files = tables().files.iter().filter(|f| f.file_stem().is_some_and(|stem| stem == name));
    let mut figures = 0;
    for file in files {
        let (rows, provenance) = read_rows::<R>(file).unwrap();
        assert!(!rows.is_empty());
        figures += draws(&rows, &provenance, draw);
    }
    assert!(figures > 20, "{name}: {figures} figures are no test");
}

#[test]
fn any_logit_lens_is_drawn_or_refused() {
    of::<LensRow>("logit_lens", crate::view::figures_of);
    of::<LensMeanRow>("logit_lens_mean", crate::view::figures_of);
}

/// Invariant: Any numbers in a drawable table are drawn or refused, and no figure has a coordinate that is not a number.
#[test]
fn any_attention_is_drawn_or_refused() {
    of::<AttentionRow>("attention", crate::view::figures_of);
}

#[test]
fn any_patch_is_drawn_or_refused() {
    of::<PatchRow>("patch", crate::view::figures_of);
    of::<PatchMeanRow>("patch_mean", crate::view::figures_of);
}

#[test]
fn any_path_is_drawn_or_refused() {
    of::<PathRow>("path", crate::view::figures_of);
    of::<PathMeanRow>("path_mean", crate::view::figures_of);
}

#[test]
fn any_attribution_is_drawn_or_refused() {
    of::<AttributionRow>("attribution", crate::view::figures_of);
    of::<AttributionMeanRow>("attribution_mean", crate::view::figures_of);
}

#[test]
fn any_heads_are_drawn_or_refused() {
    of::<HeadRow>("heads", crate::view::figures_of);
    of::<HeadPairRow>("head_pairs", crate::view::figures_of);
}

#[test]
fn any_training_is_drawn_or_refused() {
    let row = |i: u64| TrainingRow {
        step: i * 100,
        tokens: i * 1000,
        loss_nats: 5.0 / (i + 1) as f32,
        held_out_loss_nats: 6.0 / (i + 1) as f32,
        gradient_norm: 1.0,
        learning_rate: 1e-3,
    };
    let rows: Vec<TrainingRow> = (1..30).map(row).collect();
    assert!(draws(&rows, &crate::view::chart::provenance(), crate::view::figures_of) > 20);
}

#[test]
fn any_scale_that_is_asked_for_is_drawn_or_refused() {
    for file in &tables().files {
        for scale in FLOATS {
            let options = Options { scale: Some(scale), ..Options::default() };
            let outcome = catch_unwind(AssertUnwindSafe(|| render_with(file, &options)));
            let outcome = outcome.unwrap_or_else(|_| panic!("{}, {scale}", file.display()));
            match outcome {
                Ok(figures) => {
                    assert!(scale.is_finite() && scale > 0.0, "{scale} was taken");
                    let way = Spoilt::OneRow(Some(scale));
                    figures.iter().for_each(|figure| places_are_numbers(&file.display().to_string(), way, figure));
                }
                Err(e) => assert!(!e.hint_text().unwrap_or_default().is_empty(), "{e:?}"),
            }
        }
    }
}
