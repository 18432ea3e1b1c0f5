//! How much an export will be, from the first documents: for the bar, and for the disk.

use std::path::Path;

use super::FIRST;
use super::options::Asked;
use crate::dataset::{Form, Layout, Shard};
use crate::error::{Error, Result, bytes};
use crate::limits::free_bytes;
use crate::text::corpus::Corpus;
use crate::text::{Bos, Tokenizer};

/// What parquet leaves of numbers, about at least. Of a dense stream only exponents compress, to 0.84; neurons that are mostly zero compress
/// well, and to refuse a disk that would do is worse than to fill one: what is finished stays.
const LEFT: f64 = 0.25;

/// How much there will be, about.
pub(super) struct Plan {
    /// Tokens of the documents of this shard.
    pub tokens: u64,
    /// Rows of it.
    rows: f64,
}

impl Plan {
    /// Of a corpus, by its first documents.
    ///
    /// # Errors
    /// There is no document, or one that cannot be read.
    pub fn of(corpus: &Corpus, tokenizer: &Tokenizer, asked: &Asked, shard: Shard) -> Result<Self> {
        let (mut documents, mut read, mut tokens, mut kept) = (corpus.documents(), 0, 0u64, 0u64);
        for document in documents.by_ref().take(FIRST) {
            let document = document?;
            read += 1;
            let own = tokenizer.encode(&document.text, Bos::AsTokenizer).map_err(|e| e.at(&document.id))?;
            tokens += own.len() as u64;
            let keeps = |(i, token): &(usize, &crate::text::Token)| {
                !asked.choosing.skips((i % asked.cutting.context) as u32, token.special)
            };
            kept += own.iter().enumerate().filter(keeps).count() as u64;
        }
        if read == 0 {
            return Err(Error::bad_input("there is no document in the corpus").hint("give files with texts in them"));
        }
        let all = if read < FIRST { 1.0 } else { corpus.bytes() as f64 / documents.position().max(1) as f64 };
        let part = all.max(1.0) / shard.of as f64;
        let share = asked.choosing.sample.unwrap_or(1.0);
        Ok(Self { tokens: (tokens as f64 * part) as u64, rows: kept as f64 * part * share })
    }

    /// Refuses what the disk cannot hold.
    ///
    /// # Errors
    /// When it is more than what is free, however well it compresses.
    pub fn check_disk(&self, folder: &Path, layout: &Layout) -> Result<()> {
        let whole = self.rows * layout.row_bytes() as f64;
        let least = if layout.form == Form::Parquet { whole * LEFT } else { whole };
        match free_bytes(folder) {
            Some(free) if least > free as f64 => Err(Error::bad_input(format!(
                "this needs about {} on the disk of {}, which has {} free",
                bytes(whole as usize),
                folder.display(),
                bytes(free as usize)
            ))
            .hint("name fewer hooks, draw a share of the tokens, store f16, or give a folder on another disk")),
            _ => Ok(()),
        }
    }
}
