//! Patch: a sweep of activation patching, as rows, as a picture and as a file. `cargo run --release --example patch`

use pellucid::analysis::patch::{Grid, Over, Patch};
use pellucid::session::Session;
use pellucid::view::terminal;

fn main() -> pellucid::Result<()> {
    let session = Session::open("demo")?;
    let pair = session
        .pair(" Mary", "When Mary and John went to the store, John gave a drink to")
        .against(" John", "When Mary and John went to the store, Mary gave a drink to")?;

    // Each head of the run that says John gets the values that it has where Mary is right.
    let heads = Patch { grid: Grid::of("z", &[Over::Layer, Over::Head]), ..Patch::default() };
    let (table, _means) = session.run(&heads, &[pair])?;

    let effect = |recovered: Option<f32>| recovered.unwrap_or(0.0).abs();
    let mut rows: Vec<_> = table.rows().iter().collect();
    rows.sort_by(|a, b| effect(b.measured.recovered).total_cmp(&effect(a.measured.recovered)));
    for row in rows.iter().take(3) {
        let (layer, head) = (row.place.layer.unwrap_or(0), row.place.head.unwrap_or(0));
        println!("head {head} of layer {layer} recovers {:+.2}", row.measured.recovered.unwrap_or(f32::NAN));
    }
    for view in table.views()? {
        println!("{}", terminal::text(&view, 100));
    }

    // For pandas, polars, DuckDB: the same bytes as those of `pellucid patch --at z --over layer,head`.
    let file = std::env::temp_dir().join("pellucid-patch.parquet");
    table.write(&file)?;
    println!("{} rows, {} columns, in {}", table.rows().len(), table.record_batch()?.num_columns(), file.display());
    Ok(())
}
