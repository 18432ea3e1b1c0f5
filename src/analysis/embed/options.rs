//! The question with its options, and the words that it is asked of.

use std::cell::LazyCell;

use serde::{Deserialize, Serialize, Serializer};

use super::rows::{EmbedAnalogyRow, EmbedMapRow, EmbedNeighborRow, EmbedNormRow};
use super::view::answered;
use super::{Embeddings, Mapped, Unused, analogy, map, neighbors, norms, stream, streams};
use crate::error::{Error, Result, give, words};
use crate::session::words::option;
use crate::session::{Analysis, Input, Session, Sink};
use crate::sweep::Need;
use crate::table::visible;
use crate::text::Prompt;
use crate::text::ids::ids_of;
use crate::text::tokenizer::token_of_id;

/// Embed: which tokens are near each other, as the model reads them and as it says them?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes embed_neighbors.parquet (see `pellucid tables embed_neighbors`), embed_map.parquet with the plane in which tokens differ most, with \
                        --analogy also embed_analogy.parquet, without words embed_norms.parquet with every token's length and how untrained it looks, and an SVG \
                        for each. Neighbours need no forward pass; those in a --context do."
    )
)]
pub struct Embed {
    /// How many neighbours of each word are shown, and candidates of each analogy
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Embed::default().neighbors, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..)))]
    pub neighbors: usize,
    /// Of a word of several tokens, which one, counted from 0; negative ones count from the end
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", allow_hyphen_values = true))]
    pub piece: Option<isize>,
    /// Three words: the first is to the second as the third is to what? A word is taken with a space before it where that is one token, as
    /// within a text, else as it is; #17 is a token id. May be repeated
    #[cfg_attr(feature = "cli", arg(long, value_name = "WORDS"))]
    pub analogy: Vec<String>,
    /// How many tokens are on the map, at most: those nearest to the words, else the first of the vocabulary; 0 for no map
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Embed::default().map))]
    pub map: usize,
    /// A class and words of it, such as 'names=Mary John Anna', read as those of an analogy: the map is then of these words alone, each class in
    /// its own shape. May be repeated
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME=WORDS"))]
    pub class: Vec<String>,
    /// Seed for random draws
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Embed::default().seed))]
    pub seed: u64,
}

impl Default for Embed {
    fn default() -> Self {
        Self { neighbors: 10, piece: None, analogy: vec![], map: 2000, class: vec![], seed: 0 }
    }
}

/// A word with its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it was given.
    pub text: String,
    /// Its tokens, at least one.
    pub ids: Vec<u32>,
}

/// Words, and the prompt in which what becomes of them is looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Embedded {
    /// The words: of each, its tokens count.
    #[serde(serialize_with = "ids")]
    pub words: Vec<Word>,
    /// The prompt.
    #[serde(serialize_with = "context", skip_serializing_if = "Option::is_none")]
    pub context: Option<Prompt>,
}

fn ids<S: Serializer>(of: &[Word], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(of.iter().map(|word| &word.ids))
}

fn context<S: Serializer>(of: &Option<Prompt>, to: S) -> Result<S::Ok, S::Error> {
    of.as_ref().map(Prompt::ids).serialize(to)
}

impl Embedded {
    /// Words as tokens of a model. A text counts as it is, with its space, as `tokens` shows it: in most vocabularies " Paris" and "Paris" are
    /// two tokens. `#17` is a token id.
    ///
    /// # Errors
    /// When a word is unknown, or the model cannot read it.
    pub fn new<T: AsRef<str>>(on: &Session, texts: &[T], context: Option<Prompt>) -> Result<Self> {
        let word = |text: &T| Ok(Word { text: text.as_ref().to_owned(), ids: read(on, text.as_ref())? });
        Ok(Self { words: texts.iter().map(word).collect::<Result<_>>()?, context })
    }
}

/// The tokens of a word, which the model can read.
fn read(on: &Session, text: &str) -> Result<Vec<u32>> {
    let n = on.model.spec().d_vocab;
    if let Some(id) = token_of_id(text, n) {
        return id.map(|id| vec![id]);
    }
    let Some(tokenizer) = &on.tokenizer else {
        let says = format!("the model has no tokenizer, so `{}` is not a token", visible(text));
        return Err(Error::bad_input(says).hint("give a token id, such as `#17`"));
    };
    let ids = match tokenizer.single_token(text) {
        Ok(id) => vec![id],
        Err(e) => tokenizer.continuation(text).ok().filter(|ids| ids.len() > 1).ok_or(e)?,
    };
    match ids.iter().find(|id| **id as usize >= n) {
        Some(id) => Err(Error::no_such(format!("token {id} is outside the {n} that the model can read"))
            .hint(format!("choose a token below #{n}"))),
        None => Ok(ids),
    }
}

impl Input for Embedded {
    fn len(&self) -> usize {
        self.words.len()
    }

    fn words(&self, _: &Session) -> [Vec<String>; 2] {
        let context = self.context.iter().flat_map(|prompt| {
            let ids = || format!("#{}", prompt.ids().iter().map(u32::to_string).collect::<Vec<_>>().join(","));
            let text = prompt.text.clone().filter(|text| prompt.chat.is_none() && ids_of(text).is_none());
            option("context", text.unwrap_or_else(ids))
        });
        [context.collect(), self.words.iter().map(|word| word.text.clone()).collect()]
    }
}

impl Embed {
    /// The token of each word that is asked for, each once.
    fn tokens(&self, on: &Session, input: &Embedded) -> Result<Vec<u32>> {
        let mut tokens = vec![];
        for word in &input.words {
            let id = match (&word.ids[..], self.piece) {
                ([id], _) => *id,
                (ids, None) => {
                    let hint = words("choose one of them with ") + give("piece") + ", counted from 0";
                    return Err(Error::bad_input(format!(
                        "{}: a word has neighbours as one token",
                        pieces(on, word, ids)
                    ))
                    .hint(hint));
                }
                (ids, Some(piece)) => {
                    let at = if piece < 0 { piece.checked_add(ids.len() as isize) } else { Some(piece) };
                    let id = at.and_then(|at| ids.get(usize::try_from(at).ok()?)).copied();
                    id.ok_or_else(|| {
                        Error::bad_input(format!("{}, and has no piece {piece}", pieces(on, word, ids)))
                            .hint(format!("pieces are counted from 0 to {}, or from the end with -1", ids.len() - 1))
                    })?
                }
            };
            if !tokens.contains(&id) {
                tokens.push(id);
            }
        }
        Ok(tokens)
    }

    /// The three tokens of each analogy.
    fn analogies(&self, on: &Session) -> Result<Vec<[u32; 3]>> {
        let one = |text: &str| within_text(on, text);
        let analogy = |text: &String| {
            let given: Vec<&str> = text.split_whitespace().collect();
            let [a, b, c] = given[..] else {
                return Err(Error::bad_input(format!("the analogy \"{}\" is {} words", visible(text), given.len()))
                    .hint("give three, such as \"Paris France London\""));
            };
            let ids = || Ok([one(a)?, one(b)?, one(c)?]);
            ids().map_err(|e: Error| e.at(format!("the analogy \"{}\"", visible(text))))
        };
        self.analogy.iter().map(analogy).collect()
    }

    /// The classes, and the tokens of each.
    fn classes(&self, on: &Session) -> Result<Vec<(String, Vec<u32>)>> {
        let mut taken: Vec<u32> = vec![];
        let mut class = |text: &String| {
            let Some((name, list)) =
                text.split_once('=').filter(|(name, list)| !name.trim().is_empty() && !list.trim().is_empty())
            else {
                return Err(Error::bad_input(format!("\"{}\" is no class with its words", visible(text)))
                    .hint("write a name and words, such as names=Mary John Anna"));
            };
            let mut ids: Vec<u32> = vec![];
            for word in list.split_whitespace() {
                let id = within_text(on, word).map_err(|e| e.at(format!("the class \"{}\"", visible(name))))?;
                if taken.contains(&id) {
                    return Err(Error::bad_input(format!("\"{}\" is given twice among the classes", visible(word)))
                        .hint("give each word once, in one class"));
                }
                taken.push(id);
                ids.push(id);
            }
            Ok((name.trim().to_owned(), ids))
        };
        self.class.iter().map(&mut class).collect()
    }
}

/// The token of a word as it is within a text, where it has a space before it, or else of the word as it is.
fn within_text(on: &Session, text: &str) -> Result<u32> {
    let alone = |text: &str| {
        let word = Word { text: text.to_owned(), ids: read(on, text)? };
        match word.ids[..] {
            [id] => Ok(id),
            _ => Err(Error::bad_input(pieces(on, &word, &word.ids))
                .hint("choose words of one token, or a token id, such as `#17`")),
        }
    };
    if ids_of(text).is_some() {
        return alone(text);
    }
    alone(&format!(" {text}")).or_else(|e| alone(text).map_err(|_| e))
}

/// What to know of a word that is another token with its space or without.
fn other_form(on: &Session, word: &Word) -> Option<String> {
    let [id] = word.ids[..] else { return None };
    let text = on.tokenizer.as_ref()?.token_text(id);
    let (other, how) = match text.strip_prefix(' ') {
        Some(rest) => (rest.to_owned(), "without a space before it, as where a text begins with it"),
        None => (format!(" {text}"), "with a space before it, as within a text"),
    };
    let others = read(on, &other).ok().filter(|ids| ids.len() == 1 && ids[0] != id)?;
    let (text, other) = (visible(&text), visible(&on.spell(others[0])));
    Some(format!("\"{text}\" is the token #{id}; {how}, \"{other}\" is another, #{}", others[0]))
}

/// A word and its pieces, for an error.
fn pieces(on: &Session, word: &Word, ids: &[u32]) -> String {
    const SHOWN: usize = 8;
    let piece = |(i, id): (usize, &u32)| format!("{i} \"{}\"", visible(&on.spell(*id)));
    let shown: Vec<String> = ids.iter().enumerate().take(SHOWN).map(piece).collect();
    let more = if ids.len() > SHOWN { ", ..." } else { "" };
    format!("\"{}\" is {} tokens: {}{more}", visible(&word.text), ids.len(), shown.join(", "))
}

impl Analysis for Embed {
    const NAME: &'static str = "embed";
    type Tables = (EmbedNeighborRow, EmbedNormRow, EmbedAnalogyRow, EmbedMapRow);
    type On = Session;
    type Input = Embedded;

    fn need(&self, on: &Session, input: &Embedded) -> Result<Need> {
        let tokens = self.tokens(on, input)?;
        self.analogies(on)?;
        self.classes(on)?;
        if let Some(prompt) = &input.context {
            if tokens.is_empty() {
                return Err(Error::bad_input("there is a context, and no word to look for in it").hint("give a word"));
            }
            stream::places(prompt, &tokens, &|id| on.spell(id))?;
        }
        let run = input.context.as_ref().map_or(0, |prompt| stream::need(on.model.spec(), prompt));
        let least = run + Embeddings::need(&on.model, 3);
        let at_once = super::at_once(on.model.spec().d_vocab, on.memory_bytes / 2).min(tokens.len()).max(3);
        Ok(Need { activations: run + Embeddings::need(&on.model, at_once), least, rows: 0 })
    }

    fn run(&self, on: &Session, input: &Embedded, out: &mut Sink<'_>) -> Result<()> {
        let (tokens, analogies) = (self.tokens(on, input)?, self.analogies(on)?);
        let spell = |id: u32| on.spell(id);
        let of = Embeddings::of(&on.model)?;
        let (n, seed) = (self.neighbors, self.seed);
        for said in input.words.iter().filter_map(|word| other_form(on, word)) {
            out.note(said);
        }
        neighbors(&of, &tokens, (n, seed), &spell, on.memory_bytes / 2, &mut |rows| {
            rows.into_iter().try_for_each(|row| out.push(row))
        })?;
        if let Some(prompt) = &input.context {
            streams(&on.model, &of, (prompt, &tokens), (n, seed), &spell, &mut |rows| {
                rows.into_iter().try_for_each(|row| out.push(row))
            })?;
        }
        let unused = LazyCell::new(|| Unused::of(on.tokenizer.as_ref(), of.embed.n));
        // What does not depend on any word is of the whole vocabulary, and takes longer than neighbours do.
        if input.words.is_empty() && analogies.is_empty() && self.class.is_empty() {
            norms(&of, &unused, seed, &spell, &mut |row| out.push(row))?;
            out.say(unused.said());
        }
        if self.map > 0 {
            let mapped = match self.classes(on)? {
                classes if classes.is_empty() => Mapped::chosen(&of, &tokens, self.map, |id| {
                    unused.ids.binary_search(&id).is_ok() || on.tokenizer.as_ref().is_some_and(|t| t.token(id).special)
                })?,
                classes => Mapped::of_classes(&tokens, classes),
            };
            map(&of, &mapped, seed, &spell)?.into_iter().try_for_each(|row| out.push(row))?;
        }
        for asked in analogies {
            analogy(&of, asked, n, &spell, &mut |rows| {
                let locale = out.options.locale;
                answered(&rows, locale).into_iter().for_each(|said| out.say_last(said));
                rows.into_iter().try_for_each(|row| out.push(row))
            })?;
        }
        out.say(super::about(on.model.spec()));
        Ok(())
    }
}
