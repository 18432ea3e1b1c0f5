//! What is written is what was given, in the encodings that other programs read, however it was given.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::ParquetMetaData;
use pellucid::dataset::{Dtype, Form, HookColumn, Layout, Rows, Values};

use super::made::{How, document, index, joined, layout, names, number, tokens_of};

fn read(path: &Path) -> (ParquetMetaData, Vec<RecordBatch>) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let metadata = reader.metadata().as_ref().clone();
    (metadata, reader.build().unwrap().map(|batch| batch.unwrap()).collect())
}

/// Each row of a data set, checked against what its document and position say that it is.
fn check(folder: &Path, how: &How) -> u64 {
    let mut expected = (0..how.documents).flat_map(|doc| (0..tokens_of(doc)).map(move |token| (doc, token)));
    let mut rows = 0;
    for name in names(folder).into_iter().filter(|name| name.ends_with(".parquet")) {
        for batch in read(&folder.join(name)).1 {
            let u32s = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<UInt32Type>();
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>();
            let docs = batch.column_by_name("doc").unwrap().as_primitive::<UInt64Type>();
            for row in 0..batch.num_rows() {
                let (doc, token) = expected.next().expect("no more rows than were given");
                rows += 1;
                assert_eq!((docs.value(row), u32s("token_id").value(row)), (doc, doc as u32 * 1000 + token));
                assert_eq!(text("doc_id").value(row), format!("file.jsonl:{doc}"));
                assert_eq!(text("token").value(row), format!(" w{}", token % 11));
                assert_eq!(u32s("pos").value(row), token % 32);
                let (start, end) = (u32s("byte_start"), u32s("byte_end"));
                assert_eq!((start.is_null(row), end.is_null(row)), (token == 0, token == 0));
                if token > 0 {
                    assert_eq!((start.value(row), end.value(row)), (token * 3, token * 3 + 3));
                }
                assert_eq!(batch.column_by_name("special").unwrap().as_boolean().value(row), token == 0);
                let loss = batch.column_by_name("loss_nats").unwrap().as_primitive::<Float32Type>();
                assert_eq!((loss.is_null(row), u32s("top1").is_null(row)), (token == 0, token == 0));
                if token > 0 {
                    assert_eq!(
                        (loss.value(row), u32s("top1").value(row)),
                        (number(doc, token, 77, 0).abs(), token + 1)
                    );
                }
                for (h, hook) in how.layout.hooks.iter().enumerate() {
                    let list = batch.column_by_name(&hook.name).unwrap().as_fixed_size_list();
                    assert_eq!((list.null_count(), list.value_length() as usize), (0, hook.width()));
                    let list = list.value(row);
                    for at in 0..hook.width() {
                        match how.layout.dtype {
                            _ if hook.index => {
                                assert_eq!(list.as_primitive::<UInt32Type>().value(at), index(doc, token, at));
                            }
                            Dtype::F16 => {
                                let value = list.as_primitive::<Float16Type>().value(at);
                                assert_eq!(value, half::f16::from_f32(number(doc, token, h, at)));
                            }
                            _ => {
                                let value = list.as_primitive::<Float32Type>().value(at);
                                assert_eq!(value.to_bits(), number(doc, token, h, at).to_bits());
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(expected.next(), None, "every row that was given");
    rows
}

/// Invariant: What an export's files hold is what was computed, to the last bit, in f16 rounded to the nearest.
#[test]
fn every_value_is_where_it_belongs() {
    for dtype in [Dtype::F32, Dtype::F16] {
        let folder = tempfile::tempdir().unwrap();
        let how = How::new(layout(&[64, 1], dtype, Form::Parquet));
        how.write(folder.path()).unwrap();
        assert!(check(folder.path(), &how) > 300);
    }
}

#[test]
fn columns_are_stored_as_other_programs_read_them() {
    for (dtype, wanted) in [(Dtype::F32, Encoding::BYTE_STREAM_SPLIT), (Dtype::F16, Encoding::PLAIN)] {
        let folder = tempfile::tempdir().unwrap();
        let how = How::new(layout(&[64], dtype, Form::Parquet));
        how.write(folder.path()).unwrap();
        let (metadata, batches) = read(&folder.path().join("data-000000.parquet"));
        let group = metadata.row_group(0);
        for hook in &how.layout.hooks {
            let path = [&*hook.name, "list", "element"];
            let column =
                group.columns().iter().find(|c| c.column_path().parts() == path).expect("a path of three parts");
            let encodings: Vec<Encoding> = column.encodings().collect();
            let wanted = if hook.index { Encoding::PLAIN } else { wanted };
            assert!(encodings.contains(&wanted) && !encodings.contains(&Encoding::RLE_DICTIONARY), "{encodings:?}");
            assert!(column.statistics().is_none() && column.dictionary_page_offset().is_none());
            assert!(matches!(column.compression(), Compression::ZSTD(_)));
            let field = batches[0].schema().field_with_name(&hook.name).unwrap().clone();
            assert!(!field.is_nullable());
            assert_eq!(field.metadata()["axes"], hook.axes);
            assert_eq!(field.metadata()["shape"], serde_json::json!(hook.shape).to_string());
        }
        let made = pellucid::table::read_provenance(folder.path().join("data-000000.parquet")).unwrap();
        assert_eq!((&*made.table, &*made.model, &*made.instructions), ("export", "a model", "avx2"));
    }
}

/// Invariant: An export's bytes do not depend on which rows were computed together.
#[test]
fn bytes_do_not_depend_on_what_comes_together() {
    // Rows so wide that 84 of them are a row group, and 10 of them are encoded together.
    let mut how = How { documents: 6, ..How::new(layout(&[200_000], Dtype::F32, Form::Parquet)) };
    let bytes = |how: &How| {
        let folder = tempfile::tempdir().unwrap();
        how.write(folder.path()).unwrap();
        let groups: Vec<i64> = names(folder.path())
            .into_iter()
            .filter(|name| name.ends_with(".parquet"))
            .flat_map(|name| {
                let (metadata, _) = read(&folder.path().join(name));
                metadata.row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>()
            })
            .collect();
        let hash = |(name, bytes): (String, Vec<u8>)| (name, blake3::hash(&bytes));
        (groups, super::made::files(folder.path()).into_iter().map(hash).collect::<Vec<_>>())
    };
    let (groups, one) = bytes(&how);
    // Each is longer than 64 MiB by less than a sequence. Block 0 has documents of 5, 42 and 79 tokens, in sequences of up to 32.
    assert_eq!(groups[..2], [5 + 42 + 64, 15]);
    how.together = 3;
    assert!(bytes(&how) == (groups, one));
    // Rows that come shuffled: each ends with the first window that makes it long enough, or, of longer ones, at its length.
    for (window, first) in [(13, 91), (42, 84), (500, 83)] {
        let mut how = How { together: 1, ..how.clone() };
        how.layout.window = Some(window);
        let (groups, one) = bytes(&how);
        assert_eq!(groups[..2], [first, 126 - first], "{window}");
        how.together = 3;
        assert!(bytes(&how) == (groups, one), "{window}");
    }

    // Narrow rows in pages of 1 MB, which are cut where a piece ends: whatever comes together, pieces are the same.
    let how = How::new(layout(&[500], Dtype::F32, Form::Parquet));
    let block = |together: usize| {
        let folder = tempfile::tempdir().unwrap();
        let mut dataset = how.open(folder.path()).unwrap();
        let mut writer = dataset.block(0).unwrap();
        let mut seq = 0;
        let rows: Vec<Rows> = (0..120).map(|doc| document(&how.layout, doc, &mut seq)).collect();
        for some in rows.chunks(together) {
            writer.push(some.iter().cloned().reduce(joined).unwrap()).unwrap();
        }
        writer.finish(vec![], serde_json::json!(null)).unwrap();
        std::fs::read(folder.path().join("data-000000.parquet")).unwrap()
    };
    let one = block(1);
    assert!(one.len() > 4 << 20, "{} bytes are few pages", one.len());
    assert!(block(7) == one);
    assert!(block(120) == one);
}

/// Invariant: No file of an export is longer than 512 MiB, and its row groups end with a sequence.
#[test]
fn a_block_that_is_too_long_goes_on_in_another_file() {
    // Sequences of two rows of 4 MB, of numbers that no codec shortens much; 16 rows are 64 MiB.
    const WIDTH: usize = 1 << 20;
    const ROWS: u32 = 150;
    for (form, most) in [(Form::Parquet, 1), (Form::Safetensors, 0)] {
        let hook = HookColumn { name: "logits".into(), axes: "t v".into(), shape: vec![WIDTH], index: false };
        let folder = tempfile::tempdir().unwrap();
        let how =
            How::new(Layout { hooks: vec![hook], scalars: vec![], dtype: Dtype::F32, form, clip: false, window: None });
        let mut dataset = how.open(folder.path()).unwrap();
        let mut writer = dataset.block(0).unwrap();
        let mut noise = 1_u64;
        for row in 0..ROWS {
            let values = (0..WIDTH).map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                f32::from_bits((noise >> 32) as u32)
            });
            let rows = Rows {
                doc: vec![0],
                doc_id: vec!["a".into()],
                seq: vec![row / 2],
                pos: vec![row % 2],
                token_id: vec![row],
                token: vec!["a".into()],
                byte_start: vec![None],
                byte_end: vec![None],
                special: vec![false],
                hooks: vec![Values::F32(values.collect())],
                scalars: vec![],
            };
            writer.push(rows).unwrap();
        }
        writer.finish(vec![], serde_json::json!(null)).unwrap();
        let ending = if form == Form::Parquet { "parquet" } else { "safetensors" };
        let files = [format!("data-000000.{ending}"), format!("data-000000-1.{ending}")].map(|f| folder.path().join(f));
        let sizes = files.each_ref().map(|file| file.metadata().unwrap().len());
        assert!(sizes[0] <= 512 << 20 && sizes[0] > 380 << 20 && sizes[1] > 64 << 20, "{sizes:?}");
        if most == 1 {
            let mut ids = vec![];
            for file in &files {
                let (metadata, _) = (ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap(), ());
                let groups = metadata.metadata().row_groups().iter().map(|g| g.num_rows()).collect::<Vec<_>>();
                assert!(groups.iter().all(|rows| *rows == 16 || *rows == 150 % 16), "{groups:?}");
                let mask = parquet::arrow::ProjectionMask::columns(metadata.parquet_schema(), ["token_id"]);
                for batch in metadata.with_projection(mask).build().unwrap() {
                    ids.extend(batch.unwrap().column(0).as_primitive::<UInt32Type>().values().to_vec());
                }
            }
            assert!(ids == (0..ROWS).collect::<Vec<_>>());
        }
        drop(dataset);
        assert_eq!(names(folder.path()).len(), 4, "{:?}", names(folder.path()));
        // What was written is what the record says, to the last byte.
        let again = how.resume().open(folder.path()).unwrap();
        assert!(!again.wants(0) && again.wants(1));
    }
}
