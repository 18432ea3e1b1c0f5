//! The last step: what blocks kept becomes tables and a page beside them.

use super::readme;
use super::rows::{ExportDocumentRow, ExportStatsRow};
use super::stats::Sums;
use crate::dataset::{Layout, Whole};
use crate::error::{Error, Result};
use crate::session::Sink;
use crate::table::TableWriter;

/// Writes the side tables, the page and the manifest of a data set of which all blocks are there. What is known of each hook goes to
/// `out` too.
///
/// # Errors
/// A record is damaged; the folder cannot be written.
pub fn finish(mut whole: Whole, out: &mut Sink<'_>) -> Result<()> {
    let (layout, provenance) = (whole.layout().clone(), whole.provenance());
    let path = whole.file("export_documents.parquet");
    let mut documents = TableWriter::<ExportDocumentRow>::create(&path, provenance.clone())?;
    let mut sums = vec![Sums::default(); layout.hooks.len()];
    for record in whole.records() {
        let record = record?;
        for own in record.documents {
            documents.push(&ExportDocumentRow {
                doc: own.index,
                doc_id: own.id,
                block: record.block,
                tokens: own.tokens,
                sequences: own.sequences,
                rows: own.rows,
            })?;
        }
        let own: Vec<Sums> = serde_json::from_value(record.sums).map_err(|e| Error::compute(e.to_string()).fault())?;
        sums.iter_mut().zip(&own).for_each(|(all, own)| all.add(own));
    }
    documents.finish()?;
    let path = whole.file("export_stats.parquet");
    let mut stats = TableWriter::<ExportStatsRow>::create(&path, provenance)?;
    for row in rows(&layout, &sums) {
        stats.push(&row)?;
        out.push(row)?;
    }
    stats.finish()?;
    let page = readme::page(&whole);
    whole.page("README.md", &page)?;
    let made = whole.finish()?;
    out.say(format_args!(
        "wrote {}: {} rows of {} documents, {} tokens; its README.md says how to open it",
        made.folder.display(),
        made.rows,
        made.documents,
        made.tokens
    ));
    Ok(())
}

/// What is known of each hook; of numbers of experts, nothing.
fn rows(layout: &Layout, sums: &[Sums]) -> Vec<ExportStatsRow> {
    let row = |(hook, sums): (&crate::dataset::HookColumn, &Sums)| {
        let some = |x: f64| Some(x).filter(|x| sums.rows > 0 && x.is_finite());
        let (median, error) = sums.median_norm();
        ExportStatsRow {
            hook: hook.name.clone(),
            width: hook.width() as u32,
            rows: sums.rows,
            mean_norm: some(sums.mean_norm()),
            median_norm: some(median),
            median_norm_error: some(error),
            max_abs: (sums.rows > 0).then_some(sums.max_abs),
            mean: some(sums.mean()),
            std: some(sums.std()),
            excess_kurtosis: some(sums.excess_kurtosis()),
            norm_scale: some((hook.width() as f64).sqrt() / sums.mean_norm()),
        }
    };
    layout.hooks.iter().zip(sums).filter(|(hook, _)| !hook.index).map(row).collect()
}
