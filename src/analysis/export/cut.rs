//! Documents become sequences: cut at the context, packed one after another or not, never padded.
//!
//! Packing is that of SAELens's `concat_and_batch_sequences`: a separator stands before each document that does not begin a
//! sequence, unless the document begins with it, and a sequence may begin with BOS. With `eos` the separator stands before the
//! first document too, as sparsify's `chunk_and_tokenize` joins texts.

use std::ops::Range;

use crate::text::Token;

/// How documents become sequences.
#[derive(Clone, Debug, Default)]
pub struct Cutting {
    /// The most tokens of a sequence: at least two.
    pub context: usize,
    /// How documents are packed; without this, each begins a sequence of its own.
    pub pack: Option<Packing>,
    /// The token that every sequence begins with, unless it does already.
    pub bos: Option<Token>,
    /// Whether sequences shorter than the context are dropped.
    pub drop_tail: bool,
    /// How many tokens after one sequence of a document the next begins; right after it where that is not said. Nothing is packed.
    pub stride: Option<usize>,
}

/// What stands between packed documents.
#[derive(Clone, Debug, Default)]
pub struct Packing {
    /// These tokens.
    pub separator: Vec<Token>,
    /// Whether they also stand before a document that begins a sequence.
    pub leading: bool,
}

/// Tokens that run together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// The tokens. Their bytes are those of their document; of what was put between documents, none.
    pub tokens: Vec<Token>,
    /// Which tokens are of which document, in order.
    pub documents: Vec<(usize, Range<usize>)>,
    /// How many of the first tokens an earlier sequence of the document has too: they are read, and are no rows.
    pub again: usize,
}

impl Sequence {
    fn push(&mut self, document: usize, tokens: impl IntoIterator<Item = Token>) {
        let from = self.tokens.len();
        self.tokens.extend(tokens);
        match self.documents.last_mut() {
            Some((last, range)) if *last == document => range.end = self.tokens.len(),
            _ if self.tokens.len() > from => self.documents.push((document, from..self.tokens.len())),
            _ => {}
        }
    }
}

/// Cuts documents that come one after another.
pub struct Cutter<'a> {
    how: &'a Cutting,
    open: Sequence,
}

impl<'a> Cutter<'a> {
    /// Nothing is cut yet.
    pub fn new(how: &'a Cutting) -> Self {
        Self { how, open: Sequence::default() }
    }

    /// Cuts the document with this number, and gives away the sequences that are complete.
    pub fn push(&mut self, document: usize, tokens: &[Token], done: &mut dyn FnMut(Sequence)) {
        match &self.how.pack {
            Some(packing) => self.pack(document, tokens, packing, done),
            None => self.alone(document, tokens, done),
        }
    }

    /// Gives away the last sequence of packed documents.
    pub fn finish(mut self, done: &mut dyn FnMut(Sequence)) {
        let last = std::mem::take(&mut self.open);
        self.end(last, done);
    }

    fn end(&self, sequence: Sequence, done: &mut dyn FnMut(Sequence)) {
        let short = sequence.tokens.len() < self.how.context;
        if sequence.tokens.len() > sequence.again && !(short && self.how.drop_tail) {
            done(sequence);
        }
    }

    /// BOS, where `first` is not BOS already.
    fn bos_before(&self, first: &Token) -> Option<Token> {
        self.how.bos.clone().filter(|bos| bos.id != first.id)
    }

    fn alone(&self, document: usize, tokens: &[Token], done: &mut dyn FnMut(Sequence)) {
        let (mut from, mut read) = (0, 0);
        while read < tokens.len() {
            let mut sequence = Sequence::default();
            sequence.push(document, self.bos_before(&tokens[from]));
            let bos = sequence.tokens.len();
            let to = (from + self.how.context - bos).min(tokens.len());
            sequence.push(document, tokens[from..to].iter().cloned());
            // With a stride, BOS of a later sequence is no token of the document.
            sequence.again = if read > from { bos + read - from } else { 0 };
            self.end(sequence, done);
            (from, read) = (self.how.stride.map_or(to, |stride| (from + stride).min(to)), to);
        }
    }

    fn pack(&mut self, document: usize, tokens: &[Token], packing: &Packing, done: &mut dyn FnMut(Sequence)) {
        let same = |(a, b): (&Token, &Token)| a.id == b.id;
        let n = packing.separator.len();
        let begins_with_it = tokens.len() >= n && packing.separator.iter().zip(tokens).all(same);
        let (mut at, mut begins) = (0, true);
        while at < tokens.len() {
            let opens = self.open.tokens.is_empty();
            let separated = begins && (packing.leading || !opens) && !begins_with_it;
            begins = false;
            let mut before: Vec<Token> = if separated { packing.separator.clone() } else { vec![] };
            if opens && let Some(bos) = self.bos_before(before.first().unwrap_or(&tokens[at])) {
                before.insert(0, bos);
            }
            let room = self.how.context - self.open.tokens.len();
            before.truncate(room);
            let to = tokens.len().min(at + room - before.len());
            self.open.push(document, before);
            self.open.push(document, tokens[at..to].iter().cloned());
            if self.open.tokens.len() == self.how.context {
                let whole = std::mem::take(&mut self.open);
                self.end(whole, done);
            }
            at = to;
        }
    }
}
