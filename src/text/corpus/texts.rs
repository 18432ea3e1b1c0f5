//! Plain text: a file, a paragraph or a line is a document.

use std::io::BufRead;

use super::fields::utf8;
use super::source::Source;
use super::{Reading, Records, Text, Txt, Wrong};
use crate::error::Result;
use crate::text::records::At;

struct Texts {
    source: Source,
    txt: Txt,
    reading: Reading,
    line: Vec<u8>,
    ended: bool,
}

pub(super) fn records(source: Source, reading: &Reading) -> Box<dyn Records> {
    Box::new(Texts { source, txt: reading.txt, reading: reading.clone(), line: vec![], ended: false })
}

impl Records for Texts {
    fn next(&mut self) -> Result<Option<Text>, Wrong> {
        match self.txt {
            Txt::Document => self.whole(),
            Txt::Paragraph | Txt::Line => self.lines(),
        }
    }

    fn place(&self) -> u64 {
        self.source.at
    }

    fn seek(&mut self, place: u64) -> Result<()> {
        self.ended = false;
        self.source.seek(place)
    }

    fn field(&self) -> Option<&str> {
        None
    }
}

impl Texts {
    /// The file's text as it is, with its line ends.
    fn whole(&mut self) -> Result<Option<Text>, Wrong> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(None);
        }
        let mut bytes = vec![];
        loop {
            let piece = self.source.peek()?;
            let n = piece.len();
            if n == 0 {
                break;
            }
            bytes.extend_from_slice(piece);
            self.source.consume(n);
            self.reading.check(bytes.len(), None)?;
        }
        // An empty file has no document: so an empty corpus is known.
        if bytes.is_empty() {
            return Ok(None);
        }
        let valid = std::str::from_utf8(&bytes).map_or_else(|e| e.valid_up_to(), str::len);
        let line = 1 + bytes[..valid].iter().filter(|&&b| b == b'\n').count();
        // The line is said only of what is wrong in it.
        let text = utf8(bytes, Some(At::Line(line)))?;
        Ok(Some(Text { at: None, id: None, text }))
    }

    /// Lines up to a blank one, or one line.
    fn lines(&mut self) -> Result<Option<Text>, Wrong> {
        let mut bytes = vec![];
        let mut begins = self.source.line;
        loop {
            let is_line = self.source.next_line(&mut self.line)?;
            let blank = self.line.iter().all(u8::is_ascii_whitespace);
            if !blank {
                if bytes.is_empty() {
                    begins = self.source.line - 1;
                } else {
                    bytes.push(b'\n');
                }
                bytes.extend_from_slice(&self.line);
            }
            let full = !bytes.is_empty() && (blank || self.txt == Txt::Line);
            if is_line && !full {
                // A paragraph without end is not held.
                self.source.check(bytes.len(), Some(At::Line(begins)))?;
                continue;
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let at = Some(At::Line(begins));
            self.reading.check(bytes.len(), at)?;
            return Ok(Some(Text { at, id: None, text: utf8(bytes, at)? }));
        }
    }
}
