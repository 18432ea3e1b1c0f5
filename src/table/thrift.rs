//! Thrift's compact protocol, in which the footer and the pages of a parquet file say what they hold: as much of it as it takes to pass
//! over values, <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use std::io::{self, Read};

/// How deep structs and lists lie in one another: in a footer about six levels.
const DEEPEST: usize = 32;

/// The kinds of values that somebody looks at.
pub(super) const I32: u8 = 5;
pub(super) const STRUCT: u8 = 12;

/// What is left to be read, and how much was.
pub(super) struct Thrift<R> {
    from: R,
    pub read: u64,
}

pub(super) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what it says of itself is damaged")
}

impl<R: Read> Thrift<R> {
    pub fn new(from: R) -> Self {
        Self { from, read: 0 }
    }

    /// The kind and the number of the next field, `last` being the one before; none at the end of a struct.
    pub fn field(&mut self, last: &mut i64) -> io::Result<Option<(u8, i64)>> {
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

    /// Passes over a field of this kind.
    ///
    /// # Errors
    /// When it does not end here, or is of no kind.
    pub fn skip(&mut self, kind: u8) -> io::Result<()> {
        self.skip_in(kind, DEEPEST)
    }

    fn skip_in(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        let deeper = depth.checked_sub(1).ok_or_else(damaged)?;
        match kind {
            // True or false, which the kind already says.
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
                    self.element(byte & 15, deeper)?;
                }
            }
            11 => {
                let n = self.varint()?;
                let kinds = if n == 0 { 0 } else { self.byte()? };
                for _ in 0..n {
                    self.element(kinds >> 4, deeper)?;
                    self.element(kinds & 15, deeper)?;
                }
            }
            STRUCT => {
                let mut last = 0;
                while let Some((kind, _)) = self.field(&mut last)? {
                    self.skip_in(kind, deeper)?;
                }
            }
            _ => return Err(damaged()),
        }
        Ok(())
    }

    /// In a list or map, each truth takes a byte of its own.
    fn element(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        self.skip_in(if matches!(kind, 1 | 2) { 3 } else { kind }, depth)
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

    /// A number with a sign.
    pub fn integer(&mut self) -> io::Result<i64> {
        let n = self.varint()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }
}

/// Whether every list, text and struct of a footer ends inside it. Readers make room for as many columns, pages and pairs as a list
/// says that it has, before they look for the first one, and a damaged byte there asks for 60 GB.
pub(super) fn is_whole(footer: &[u8]) -> bool {
    Thrift::new(footer).skip(STRUCT).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_claims_more_than_it_holds_is_not_whole() {
        // A number, a truth, a text of 2 bytes, a list of 2 structs (empty, and with a double), a map of 1 byte to 1 truth.
        let map = [0x1b, 1, 0x31, 7, 1];
        let double = [0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let whole = [&[0x15, 0x02, 0x11, 0x18, 2, 9, 9, 0x19, 0x2c, 0][..], &double, &map, &[0]].concat();
        assert!(is_whole(&whole));
        // Every shorter one is cut.
        for end in 0..whole.len() {
            assert!(!is_whole(&whole[..end]), "{end}");
        }
        // A list of one more, a text of one more, a kind that there is none of, lists in lists without end.
        for (at, byte) in [(8, 0x3c), (4, 60), (2, 0x1e)] {
            let mut other = whole.clone();
            other[at] = byte;
            assert!(!is_whole(&other), "{at}");
        }
        assert!(!is_whole(&[0x19].repeat(1_000_000)));
    }
}
