//! Tables of any rows at all, written as pellucid writes them, and drawn. The first byte says which table, all others are cells.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::analysis::{
    AttentionRow, AttributionRow, LensRow, PatchMeanRow, PatchRow, PathMeanRow, PathRow, TrainingRow,
};
use pellucid::table::{Cell, ColumnInfo, ColumnType, Provenance, Row, TableWriter};
use pellucid_fuzz::{Folder, check, ensure};

const WORDS: [&str; 24] = [
    "", "demo", "resid_pre", "attn_out", "z", "pattern", "mlp_post", "k", "patch", "zero", "noise", "logit_diff", "kl",
    "probability", " Anna", "\u{0}\u{1b}[31m", "\u{202e}abc", "\u{1F600}", "head", "neuron", "stream", "clean", "mean",
    "2.1.q,logits",
];
const NUMBERS: [f64; 12] =
    [0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, f64::MAX, f64::MIN];

/// Cells out of bytes: small numbers most often, so that rows meet each other.
struct Cells<'a>(&'a [u8]);

impl Cells<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    fn number(&mut self) -> f64 {
        match self.byte() {
            at @ 0..12 => NUMBERS[at as usize],
            at @ 12..240 => f64::from(at) / 240.0,
            _ => f64::from_bits(u64::from_le_bytes(std::array::from_fn(|_| self.byte()))),
        }
    }

    fn count(&mut self) -> u32 {
        match self.byte() {
            small @ 0..=250 => u32::from(small % 5),
            251 => u32::MAX,
            252 => 1 << 31,
            large => u32::from(large) << 8 | u32::from(self.byte()),
        }
    }

    fn cell(&mut self, column: &ColumnInfo) -> Cell<'static> {
        if column.nullable && self.byte().is_multiple_of(4) {
            return Cell::Null;
        }
        match column.kind {
            ColumnType::U32 => Cell::U32(self.count()),
            ColumnType::U64 => Cell::U64(self.count().into()),
            ColumnType::I64 => Cell::I64(i64::from(self.count()) - i64::from(self.byte() % 3)),
            ColumnType::F32 => Cell::F32(self.number() as f32),
            ColumnType::F64 => Cell::F64(self.number()),
            ColumnType::Bool => Cell::Bool(self.byte() & 1 == 1),
            ColumnType::Str => Cell::Str(WORDS[self.byte() as usize % WORDS.len()]),
        }
    }
}

fn draw<R: Row>(bytes: &[u8]) {
    let mut cells = Cells(bytes);
    let mut rows: Vec<R> = vec![];
    while !cells.0.is_empty() && rows.len() < 64 {
        let mut columns = R::TABLE.columns.iter();
        let row = R::build(&mut || columns.next().map_or(Cell::Null, |column| cells.cell(column)));
        rows.push(row.expect("each cell is of its column's type"));
    }
    let folder = Folder::with(&[]);
    let path = folder.file("t.parquet");
    let how = Provenance { model: "demo".to_owned(), dtype: "f32".to_owned(), complete: true, ..Provenance::default() };
    let written = check(|| {
        let mut writer = TableWriter::<R>::create(&path, how)?;
        writer.extend(&rows)?;
        writer.finish()
    });
    written.expect("rows of any content are written");
    for figure in check(|| pellucid::analysis::seen::render(&path)).into_iter().flatten() {
        let nowhere = ["=\"NaN", "=\"inf", "=\"-inf", "NaN,", ",NaN", "(NaN", ",inf", ",-inf"];
        let mut tags = figure.svg.split('<').filter_map(|tag| tag.split_once('>').map(|(tag, _)| tag));
        ensure(!tags.any(|tag| nowhere.iter().any(|n| tag.contains(n))), "something is drawn at no number");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    match which % 8 {
        0 => draw::<LensRow>(bytes),
        1 => draw::<AttentionRow>(bytes),
        2 => draw::<PatchRow>(bytes),
        3 => draw::<PatchMeanRow>(bytes),
        4 => draw::<PathRow>(bytes),
        5 => draw::<PathMeanRow>(bytes),
        6 => draw::<AttributionRow>(bytes),
        _ => draw::<TrainingRow>(bytes),
    }
});
