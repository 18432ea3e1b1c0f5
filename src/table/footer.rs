//! Does a parquet file's footer hold what it claims? Its readers make room for as many columns, pages and pairs as a list says
//! that it has, before they look for the first one, and a damaged byte there asks for 60 GB.
//!
//! The footer is a struct in Thrift's compact protocol, <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// How deep structs and lists lie in each other: a footer's in about six levels.
const DEEPEST: u32 = 32;

/// Whether every list, text and struct of `footer` ends inside it.
pub(super) fn is_whole(footer: &[u8]) -> bool {
    Thrift(footer).structure(DEEPEST).is_some()
}

/// What is left to be read.
struct Thrift<'a>(&'a [u8]);

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    /// A number of up to ten bytes of seven bits.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Fields until the one of no type: each is its type, and how far its number is from the last one's, or that number itself.
    fn structure(&mut self, depth: u32) -> Option<()> {
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            if head >> 4 == 0 {
                self.varint()?;
            }
            match head & 0xF {
                // True or false, which the type already says.
                1 | 2 => {}
                kind => self.value(kind, depth)?,
            }
        }
    }

    fn value(&mut self, kind: u8, depth: u32) -> Option<()> {
        let inside = || depth.checked_sub(1);
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let length = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                let inside = inside()?;
                (0..length).try_for_each(|_| self.value(head & 0xF, inside))
            }
            11 => {
                let length = self.varint()?;
                let kinds = if length == 0 { 0 } else { self.byte()? };
                let inside = inside()?;
                (0..length).try_for_each(|_| {
                    self.value(kinds >> 4, inside)?;
                    self.value(kinds & 0xF, inside)
                })
            }
            12 => self.structure(inside()?),
            13 => self.skip(16),
            _ => None,
        }
    }
}
