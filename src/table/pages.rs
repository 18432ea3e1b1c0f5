//! How much the pages of a parquet file are when they are unpacked, as their headers say it, without unpacking any. A page of a few
//! bytes can stand for gigabytes, and the reader believes each header.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// What pages hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all pages.
    pub bytes: u64,
    /// Values in them, each as often as it occurs.
    pub values: u64,
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
        let mut header = Header { from: (&mut file).take(range.end - at), read: 0 };
        let page = header.page()?;
        all.bytes = all.bytes.saturating_add(page.unpacked);
        all.values = all.values.saturating_add(page.values);
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

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a page's header is damaged")
}

/// A page's header in Thrift's compact protocol.
struct Header<R> {
    from: R,
    read: u64,
}

/// How deep values of a header lie in one another; statistics are the deepest.
const DEEPEST: usize = 8;

impl<R: Read> Header<R> {
    fn page(&mut self) -> io::Result<Page> {
        let mut page = Page::default();
        let size = |n: i64| u64::try_from(n).map_err(|_| damaged());
        let mut field = 0;
        while let Some((kind, id)) = self.field(&mut field)? {
            match (id, kind) {
                (2, 5) => page.unpacked = size(self.integer()?)?,
                (3, 5) => page.packed = size(self.integer()?)?,
                // Data pages of both versions. The values of a dictionary are counted where they are used.
                (5 | 8, 12) => {
                    let mut inner = 0;
                    while let Some((kind, id)) = self.field(&mut inner)? {
                        match (id, kind) {
                            (1, 5) => page.values = size(self.integer()?)?,
                            _ => self.skip(kind, DEEPEST)?,
                        }
                    }
                }
                _ => self.skip(kind, DEEPEST)?,
            }
        }
        Ok(page)
    }

    /// The kind and the number of the next field; none at the end of a struct.
    fn field(&mut self, last: &mut i64) -> io::Result<Option<(u8, i64)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        *last = match byte >> 4 {
            0 => self.integer()?,
            delta => last.saturating_add(delta.into()),
        };
        Ok(Some((byte & 15, *last)))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        let deeper = depth.checked_sub(1).ok_or_else(damaged)?;
        match kind {
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.integer()?),
            7 => self.pass(8)?,
            8 => {
                let n = self.varint()?;
                self.pass(n)?;
            }
            9 | 10 => {
                let byte = self.byte()?;
                let n = if byte >> 4 == 15 { self.varint()? } else { (byte >> 4).into() };
                for _ in 0..n {
                    // In a list, each truth takes a byte of its own.
                    self.skip(if byte & 15 <= 2 { 3 } else { byte & 15 }, deeper)?;
                }
            }
            12 => {
                let mut last = 0;
                while let Some((kind, _)) = self.field(&mut last)? {
                    self.skip(kind, deeper)?;
                }
            }
            _ => return Err(damaged()),
        }
        Ok(())
    }

    fn pass(&mut self, n: u64) -> io::Result<()> {
        let passed = io::copy(&mut (&mut self.from).take(n), &mut io::sink())?;
        self.read += passed;
        if passed == n { Ok(()) } else { Err(damaged()) }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.from.read_exact(&mut byte)?;
        self.read += 1;
        Ok(byte[0])
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(damaged())
    }

    fn integer(&mut self) -> io::Result<i64> {
        let n = self.varint()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }
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
        assert_eq!(all, Unpacked { bytes: 12 + 2 * 1000, values: 600 });
        assert!(unpacked(&mut io::Cursor::new([0xff; 40]), 0..40).is_err());
    }
}
