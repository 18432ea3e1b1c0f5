//! The bytes of a file of the corpus: counted, unpacked, and read in bounded pieces.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Reading, Wrong};
use crate::error::{Error, Result, Said, bytes as in_bytes, said};
use crate::text::records::At;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    Gzip,
    Zstd,
}

impl Packed {
    /// By what a file's name ends in.
    pub fn named(end: &str) -> Option<Self> {
        match end.to_ascii_lowercase().as_str() {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Bytes that are read at once.
const PIECE: usize = 1 << 17;
/// The same where one document is read: few are longer.
const SHORT: usize = 1 << 14;

/// The unpacked bytes of a file.
pub(super) struct Source {
    inner: Box<dyn BufRead + Send>,
    path: PathBuf,
    packed: Option<Packed>,
    /// Bytes that a record has at most.
    most: usize,
    /// The line that comes next, from 1.
    pub line: usize,
    /// How many unpacked bytes were read.
    pub at: u64,
    read: Arc<AtomicU64>,
}

/// A file that counts what is read of it.
struct Counted(File, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buf)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// For readers that know no files: [`Source::failed`] says what an error of theirs means.
impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.inner.consume(n);
        self.at += n as u64;
    }
}

impl Source {
    /// Opens a file. A byte order mark at its beginning is passed over.
    pub fn open(path: &Path, packed: Option<Packed>, reading: &Reading, read: &Arc<AtomicU64>) -> Result<Self> {
        let open = || -> io::Result<Box<dyn BufRead + Send>> {
            let file = BufReader::with_capacity(PIECE, Counted(File::open(path)?, read.clone()));
            Ok(match packed {
                None => Box::new(file),
                Some(Packed::Gzip) => {
                    Box::new(BufReader::with_capacity(PIECE, flate2::bufread::MultiGzDecoder::new(file)))
                }
                Some(Packed::Zstd) => Box::new(BufReader::with_capacity(PIECE, zstd::Decoder::with_buffer(file)?)),
            })
        };
        let inner = open().map_err(|e| Error::cannot_read(path, e))?;
        let most = reading.bounds.bytes / 16;
        let mut source = Self { inner, path: path.to_owned(), packed, most, line: 1, at: 0, read: read.clone() };
        if source.peek()?.starts_with(b"\xef\xbb\xbf") {
            source.consume(3);
        }
        Ok(source)
    }

    /// Goes to a byte of a file that is not packed. In which line that is, is not known.
    pub fn seek(&mut self, at: u64) -> Result<()> {
        let open = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(at))?;
            Ok(BufReader::with_capacity(SHORT, Counted(file, self.read.clone())))
        };
        self.inner = Box::new(open().map_err(|e| Error::cannot_read(&self.path, e))?);
        self.at = at;
        Ok(())
    }

    /// The next bytes; none at the end.
    pub fn peek(&mut self) -> Result<&[u8]> {
        // Asked twice, because what is borrowed cannot be returned from one arm alone.
        if let Err(e) = self.inner.fill_buf().map(|_| ()) {
            return Err(self.failed(e));
        }
        self.inner.fill_buf().map_err(Error::from)
    }

    /// Reads the next line into `line`, without its end; false at the end of the file. `self.line` is then the line after it.
    pub fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Wrong> {
        line.clear();
        let most = self.most;
        let n = (&mut self.inner).take(most as u64 + 1).read_until(b'\n', line).map_err(|e| self.failed(e))?;
        if n == 0 {
            return Ok(false);
        }
        self.at += n as u64;
        self.line += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if line.len() > most {
            self.at += self.inner.skip_until(b'\n').map_err(|e| self.failed(e))? as u64;
            return Err(self.too_long(Some(At::Line(self.line - 1))));
        }
        Ok(true)
    }

    /// Refuses a record of `n` bytes that begins at `at` if it is too long.
    pub fn check(&self, n: usize, at: Option<At>) -> Result<(), Wrong> {
        if n <= self.most { Ok(()) } else { Err(self.too_long(at)) }
    }

    pub fn too_long(&self, at: Option<At>) -> Wrong {
        let what = format!("this is longer than the {} that are read of one document", in_bytes(self.most));
        Wrong::Document { at, what, hint: longer() }
    }

    /// The error of a file that is not what it should be in the line that comes next.
    pub fn wrong(&self, what: impl std::fmt::Display, hint: impl Into<Said>) -> Wrong {
        Error::bad_input(format!("{}:{}: {what}", self.shown(), self.line)).hint(hint).into()
    }

    /// Bytes that a record has at most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// What messages call the file.
    pub fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// The error of a file that cannot be read.
    pub fn failed(&self, e: io::Error) -> Error {
        let (shown, packed) = (
            self.path.display(),
            match self.packed {
                Some(Packed::Gzip) => "gzip",
                Some(Packed::Zstd) => "zstd",
                None => return Error::cannot_read(&self.path, e),
            },
        );
        match e.kind() {
            // What the system says of the file itself.
            _ if e.raw_os_error().is_some() => Error::cannot_read(&self.path, e),
            ErrorKind::UnexpectedEof => Error::bad_input(format!("{shown} is cut short: its {packed} data ends early"))
                .hint("copy or pack it again"),
            _ => Error::bad_input(format!("{shown} is not sound {packed} data: {e}")).hint("copy or pack it again"),
        }
    }
}

/// What to do about a document that is too long.
pub(super) fn longer() -> Said {
    said("cut it into several documents, or raise that with {input_bytes=SIZE}")
}
