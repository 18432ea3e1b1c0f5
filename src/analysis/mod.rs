//! Analyses: one folder, one question, one type with its options, its tables and how they are seen.
//!
//! [`analyses!`] lists them all. From that line come commands, folders, figures and documentation.

pub mod ablate;
pub mod attention;
pub mod attribute;
pub mod cache;
pub mod compare;
pub mod cost;
pub mod embed;
pub mod explain;
pub mod export;
pub mod generate;
pub mod heads;
pub mod hooks;
pub mod lens;
pub mod loss;
pub mod model;
pub mod neurons;
pub mod next;
pub mod patch;
pub mod path;
pub mod position;
pub mod residual;
pub mod seen;
mod sums;
pub mod tables;
pub mod tokens;
pub mod training;
pub mod verify;

use crate::session::{Analysis, Tables};
use crate::table::TableInfo;
use crate::view::viewed::{AnyTable, Of};

pub use crate::sweep::{Need, Watch};
pub use attention::attention;
pub use attention::rows::AttentionRow;
pub use attribute::rows::{AttributionMeanRow, AttributionRow};
pub use cache::save_activations;
pub use compare::{
    CompareBytesRow, CompareColumnsRow, CompareModelsRow, CompareParametersRow, ComparePositionsRow, CompareRunsRow,
    CompareSpecRow,
};
pub use cost::{CostMeasuredRow, CostRow, CostTotalRow};
pub use embed::{EmbedAnalogyRow, EmbedMapRow, EmbedNeighborRow, EmbedNormRow};
pub use export::{Export, ExportDocumentRow, ExportStatsRow};
pub use hooks::HookRow;
pub use lens::rows::{LensMeanRow, LensRow};
pub use lens::{Decoding, Lens, lens};
pub use model::ModelRow;
pub use neurons::{
    NeuronCardRow, NeuronExampleRow, NeuronLayerRow, NeuronRow, NeuronStatsRow, NeuronVocabRow, Neurons,
};
pub use patch::rows::{PatchMeanRow, PatchRow};
pub use path::rows::{PathMeanRow, PathRow};
pub use position::PositionDecayRow;
pub use tables::docs;
pub use tables::{ColumnRow, TermRow};
pub use tokens::{TokenCountRow, TokenLetterRow, TokenMergeRow, TokenRow, tokens};
pub use training::TrainingRow;
pub use verify::rows::{ReferenceRow, VerifyRow};

/// Every analysis, in the order of the documentation: whoever adds one adds its line here.
macro_rules! analyses {
    ($each:ident) => {
        $each![
            $crate::analysis::lens::Lens,
            $crate::analysis::loss::Loss,
            $crate::analysis::residual::Residual,
            $crate::analysis::neurons::Neurons,
            $crate::analysis::next::Next,
            $crate::analysis::generate::Generate,
            $crate::analysis::position::Position,
            $crate::analysis::attention::Attention,
            $crate::analysis::heads::Heads,
            $crate::analysis::patch::Patch,
            $crate::analysis::path::Path,
            $crate::analysis::ablate::Ablate,
            $crate::analysis::attribute::Attribute,
            $crate::analysis::tokens::Tokens,
            $crate::analysis::embed::Embed,
            $crate::analysis::cost::Cost,
            $crate::analysis::compare::Compare,
            $crate::analysis::explain::Explain,
            $crate::analysis::cache::Cache,
            $crate::analysis::export::Export,
            $crate::analysis::hooks::Hooks,
            $crate::analysis::model::Model,
            $crate::analysis::verify::Verify,
        ]
    };
}
pub(crate) use analyses;

macro_rules! tables_of {
    ($($analysis:ty),* $(,)?) => {
        &[$(<<$analysis as Analysis>::Tables as Tables>::ALL,)* &[&Of::<TrainingRow>::TABLE, &Of::<ColumnRow>::TABLE, &Of::<TermRow>::TABLE]]
    };
}

/// Every table that this version can write, in the order of the documentation.
pub fn any_tables() -> Vec<&'static dyn AnyTable> {
    const TABLES: &[&[&dyn AnyTable]] = analyses!(tables_of);
    let mut tables: Vec<&'static dyn AnyTable> = vec![];
    for table in TABLES.iter().copied().flatten() {
        // Two analyses may write one table.
        if tables.iter().all(|known| known.info().name != table.info().name) {
            tables.push(*table);
        }
    }
    tables
}

/// What every table that this version can write means, in the order of the documentation.
pub fn tables() -> impl Iterator<Item = &'static TableInfo> {
    any_tables().into_iter().map(AnyTable::info)
}
