//! How much the pages of a parquet file are when they are unpacked, as their headers say it, without unpacking any. A page of a few
//! bytes can stand for gigabytes, and the reader believes each header.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use super::thrift::{I32, STRUCT, Thrift, damaged};

/// What pages hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all pages.
    pub bytes: u64,
    /// Values in them, each as often as it occurs.
    pub values: u64,
    /// Bytes of the largest page.
    pub largest: u64,
}

/// What the pages at `range` of a file hold when they are unpacked.
///
/// # Errors
/// The file cannot be read, or what is there is no page.
pub(super) fn unpacked(file: &mut (impl Read + Seek), range: Range<u64>) -> io::Result<Unpacked> {
    let mut all = Unpacked::default();
    let mut file = io::BufReader::new(file);
    let mut at = file.seek(SeekFrom::Start(range.start))?;
    while at < range.end {
        let mut header = Thrift::new((&mut file).take(range.end - at));
        let page = page(&mut header)?;
        all.bytes = all.bytes.saturating_add(page.unpacked);
        all.values = all.values.saturating_add(page.values);
        all.largest = all.largest.max(page.unpacked);
        let header = header.read;
        file.seek_relative(i64::try_from(page.packed).map_err(|_| damaged())?)?;
        at += header + page.packed;
    }
    Ok(all)
}

/// What a page's header says.
#[derive(Default)]
struct Page {
    unpacked: u64,
    packed: u64,
    values: u64,
}

/// Reads a page's header.
fn page(header: &mut Thrift<impl Read>) -> io::Result<Page> {
    let mut page = Page::default();
    let size = |n: i64| u64::try_from(n).map_err(|_| damaged());
    let mut field = 0;
    while let Some((kind, id)) = header.field(&mut field)? {
        match (id, kind) {
            (2, I32) => page.unpacked = size(header.integer()?)?,
            (3, I32) => page.packed = size(header.integer()?)?,
            // Data pages of both versions. The values of a dictionary are counted where they are used.
            (5 | 8, STRUCT) => {
                let mut inner = 0;
                while let Some((kind, id)) = header.field(&mut inner)? {
                    match (id, kind) {
                        (1, I32) => page.values = size(header.integer()?)?,
                        _ => header.skip(kind)?,
                    }
                }
            }
            _ => header.skip(kind)?,
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_pages_passed_over() {
        // A dictionary of 3 values in 4 bytes, then a page of 300 values: 1,000 bytes in 2, with statistics.
        let dictionary = [0x15, 4, 0x15, 24, 0x15, 8, 0x4c, 0x15, 6, 0x15, 0, 0, 0, 1, 2, 3, 4];
        let statistics = [0x1c, 0x18, 2, 9, 9, 0x16, 0, 0];
        let data = [
            &[0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 4, 0x2c, 0x15, 0xd8, 4, 0x15, 0, 0x15, 0, 0x15, 0][..],
            &statistics,
            &[0, 0, 7, 7],
        ];
        let file = [&[9; 5], &dictionary[..], &data.concat(), &data.concat()].concat();
        let all = unpacked(&mut io::Cursor::new(&file), 5..file.len() as u64).unwrap();
        assert_eq!(all, Unpacked { bytes: 12 + 2 * 1000, values: 600, largest: 1000 });
        assert!(unpacked(&mut io::Cursor::new([0xff; 40]), 0..40).is_err());
    }
}
