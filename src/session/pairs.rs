//! Pairs of prompts from files of every kind that is read.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::Session;
use super::records::{Input, Unused};
use crate::error::{Error, Result, give_as, said, words};
use crate::table::visible;
use crate::text::bounds::split;
use crate::text::ids::{ids_of, literal, parse_ids};
use crate::text::pair::same_answer_and_foil;
use crate::text::positions::{At, position_at, position_in};
use crate::text::prompt_file::{Columns, check_columns, some_of};
use crate::text::records::{Records, field, fields_in};
use crate::text::{Around, Bos, Named, NamedPosition, Pair, Prompt, PromptEntry, PromptInput};

/// The columns of a file of pairs. Prompts are text in `clean` and `corrupt`, or token ids in `clean_ids` and `corrupt_ids`;
/// answers and foils are text in `answer` and `foil`, or token ids in `answer_id` and `foil_id`. Several ids stand in a list, or
/// with spaces or commas between them.
pub const COLUMNS: [&str; 9] =
    ["id", "clean", "corrupt", "answer", "foil", "answer_id", "foil_id", "clean_ids", "corrupt_ids"];

/// What a pair has in one of two columns.
const EITHER: [[&str; 2]; 4] =
    [["clean", "clean_ids"], ["corrupt", "corrupt_ids"], ["answer", "answer_id"], ["foil", "foil_id"]];

/// One cell of a file.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Text(String),
    Ids(Vec<u32>),
}

/// One pair as it stands in a file, and where.
#[derive(Clone, Debug)]
pub struct PairEntry {
    place: String,
    cells: BTreeMap<String, Cell>,
}

/// A column of ours, and what the file calls it.
type Wanted = (String, String);

/// What stands before the name of a named position where it is a column of ours.
const NAMED: &str = "position ";

/// `who@2` as a template, `{who}@2`: the second time that the words of that column are there.
fn in_template(column: &str) -> String {
    match column.rsplit_once('@') {
        Some((words, n)) if n.parse::<isize>().is_ok() && !words.contains('{') => format!("{{{words}}}@{n}"),
        _ => column.to_owned(),
    }
}

/// Whether whole numbers in a column are no token ids.
fn is_no_ids(ours: &str) -> bool {
    ours == "id" || ours.starts_with(NAMED)
}

impl PairEntry {
    /// The error with the place of the pair before it.
    fn placed(&self, error: Error) -> Error {
        error.at(&self.place)
    }
}

impl PairFile {
    /// The same without the corrupt prompts, for what needs none: they count as not used.
    pub fn alone(mut self, names: &Columns) -> Self {
        for ours in EITHER[1] {
            let had = self.entries.iter_mut().filter_map(|entry| entry.cells.remove(ours)).count();
            if had > 0 {
                let theirs = names.iter().find(|(o, _)| o == ours).map_or(ours, |(_, theirs)| theirs.as_str());
                self.unused.names.push(theirs.to_owned());
            }
        }
        self
    }
}

/// A pair whose prompts have different lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misaligned {
    /// Its index among all pairs.
    pub index: usize,
    /// The file and line that it is in.
    pub place: String,
    /// How many tokens its clean and its corrupt prompt have.
    pub lengths: [usize; 2],
}

/// A file as it was read.
struct Read {
    entries: Vec<PairEntry>,
    /// What it calls its columns.
    names: Vec<String>,
    /// Those that nothing is made of.
    unused: Unused,
}

/// What a file has of pairs.
#[derive(Clone, Debug)]
pub struct PairFile {
    /// The pairs.
    pub entries: Vec<PairEntry>,
    /// Its columns that nothing is made of.
    pub unused: Unused,
}

/// The pairs of a `.csv`, `.tsv`, `.jsonl`, `.json` or `.parquet` file. `names` says how the file calls a column, where it calls
/// it otherwise: `corrupt=corrupted`. Columns that named `positions` are in are read as well.
///
/// # Errors
/// Each names the file and the line or row: what cannot be read, has no clean prompt, lacks what other pairs have, or holds
/// what is neither text nor token ids.
pub fn from_input(input: &Input, names: &Columns, positions: &[NamedPosition]) -> Result<PairFile> {
    check_columns(names, &COLUMNS, "pairs")?;
    let theirs = |ours: &str| names.iter().find(|(o, _)| o == ours).map_or(ours, |(_, theirs)| theirs).to_owned();
    let mut wanted: Vec<Wanted> = COLUMNS.iter().map(|ours| ((*ours).to_owned(), theirs(ours))).collect();
    wanted.extend(positions.iter().filter_map(|named| match &named.at {
        At::Column(column) => Some((format!("{NAMED}{}", named.name), in_template(column))),
        At::Number(_) => None,
    }));
    let Read { entries, names: has, unused } = from_records(input, &wanted)?;
    let shown = shown(input.path);
    if entries.is_empty() {
        return Err(Error::bad_input(format!("{shown} has no pairs"))
            .hint("put one on each line, under a line with the columns' names"));
    }
    // A name that was said must be there: what is overlooked would change what is measured.
    let clean = EITHER[0].iter().all(|ours| !has.contains(&theirs(ours))).then(|| theirs("clean"));
    let of_positions = &wanted[COLUMNS.len()..];
    let absent = names.iter().chain(of_positions).map(|(_, theirs)| theirs).find(|theirs| !has.contains(theirs));
    if let Some(missing) = absent.or(clean.as_ref()) {
        let is_position = of_positions.iter().any(|(_, theirs)| theirs == missing);
        // Of a text that is made of fields, the one that is not there.
        let missing = fields_in(missing).find(|part| !has.iter().any(|name| name == part)).unwrap_or(missing);
        let names = some_of(has.iter().map(String::as_str));
        let e = Error::bad_input(format!("{shown} has no column `{missing}`; it has {names}"));
        let hint = match is_position {
            true => words(
                "with a file, a position is in a column: a number or words of the clean prompt; of words that are there twice, `who@2` is the \
                 second time that those in the column `who` are",
            ),
            false => said("say how the file calls its columns: {columns=clean=prompt,corrupt=corrupted}"),
        };
        return Err(e.nearest_or(missing, has.iter().map(String::as_str), hint));
    }
    for (ours, theirs) in wanted.iter().skip(COLUMNS.len()) {
        if let Some(e) = entries.iter().find(|e| !e.cells.contains_key(ours)) {
            return Err(Error::bad_input(format!("{}: there is nothing in `{theirs}`", e.place))
                .hint("fill it in, or take the pair out"));
        }
    }
    for either in EITHER {
        let has_it = |e: &PairEntry| either.iter().filter(|ours| e.cells.contains_key(**ours)).count();
        let needed = either[0] == "clean" || entries.iter().any(|e| has_it(e) > 0);
        let (ours, ids) = (theirs(either[0]), theirs(either[1]));
        for e in &entries {
            let wrong = match has_it(e) {
                0 if needed => Error::bad_input(format!("{}: there is nothing in `{ours}` or `{ids}`", e.place))
                    .hint("fill it in, or take the pair out"),
                2 => Error::bad_input(format!("{}: both `{ours}` and `{ids}` are given", e.place))
                    .hint("leave one of them out"),
                _ => continue,
            };
            return Err(wrong);
        }
    }
    Ok(PairFile { entries, unused })
}

impl Session {
    /// Turns the pairs of a file into tokens of this model.
    ///
    /// # Errors
    /// As [`Pair::new`], and for what is no token of this model; each names its place.
    pub fn pairs(
        &self,
        entries: &[PairEntry],
        around: impl Into<Around>,
        positions: &[NamedPosition],
    ) -> Result<Vec<Pair>> {
        let around = around.into();
        let pair =
            |(i, e): (usize, &PairEntry)| self.pair_of(i, e, &around, positions).map_err(|error| e.placed(error));
        entries.iter().enumerate().map(pair).collect()
    }

    /// A prompt and the word that is right after it, for the corrupt prompt that it is compared with.
    ///
    /// ```
    /// let session = pellucid::session::Session::open("demo")?;
    /// let pair = session.pair(" Mary", "John gave a drink to").against(" John", "Mary gave a drink to")?;
    /// assert_eq!(pair.answers, [session.target(" Mary")?]);
    /// # Ok::<(), pellucid::Error>(())
    /// ```
    pub fn pair<'a>(&'a self, answer: &'a str, clean: &'a str) -> Asking<'a> {
        Asking { on: self, answer, clean }
    }

    /// Which pairs have prompts of unlike lengths, by their places: for each, its index, its place, and both lengths.
    ///
    /// # Errors
    /// For what is no prompt of this model.
    pub fn misaligned(&self, entries: &[PairEntry], around: impl Into<Around>) -> Result<Vec<Misaligned>> {
        let (mut found, around) = (vec![], around.into());
        for (index, entry) in entries.iter().enumerate() {
            let length = |names: [&str; 2]| -> Result<Option<usize>> {
                Ok(self
                    .prompt_of(entry, names, &around)
                    .map_err(|e| entry.placed(e))?
                    .map(|prompt| prompt.tokens.len()))
            };
            if let (Some(clean), Some(corrupt)) = (length(["clean", "clean_ids"])?, length(["corrupt", "corrupt_ids"])?)
                && clean != corrupt
            {
                found.push(Misaligned { index, place: entry.place.clone(), lengths: [clean, corrupt] });
            }
        }
        Ok(found)
    }

    /// The prompt that stands in one of two columns, as text or as token ids.
    fn prompt_of(&self, entry: &PairEntry, [text, ids]: [&str; 2], around: &Around) -> Result<Option<Prompt>> {
        let input = match (entry.cells.get(text), entry.cells.get(ids)) {
            (None, None) => return Ok(None),
            (Some(Cell::Text(text)), _) => PromptInput::Text(text.clone()),
            (None, Some(Cell::Text(text))) => PromptInput::Ids(parse_ids(text)?),
            (Some(Cell::Ids(ids)), _) | (None, Some(Cell::Ids(ids))) => PromptInput::Ids(ids.clone()),
        };
        Ok(self.prompts(&[PromptEntry { id: None, input }], around)?.pop())
    }

    /// The only pair of a request, of a clean and a corrupt text and the words that are right and wrong after it.
    ///
    /// # Errors
    /// As [`Session::new_pair`], [`Session::prompts`] and [`Session::answers_and_foils`].
    pub fn asked<T: AsRef<str>>(
        &self,
        prompts: [Option<&str>; 2],
        around: impl Into<Around>,
        words: [&[T]; 2],
        positions: &[NamedPosition],
    ) -> Result<Pair> {
        let entry = |text: &str| match ids_of(text) {
            Some(ids) => ids.map(PromptEntry::ids),
            None => Ok(PromptEntry::text(literal(text))),
        };
        let entries: Vec<PromptEntry> = prompts.into_iter().flatten().map(entry).collect::<Result<_>>()?;
        let mut prompts = self.prompts(&entries, around)?.into_iter();
        let clean = prompts.next().ok_or_else(|| Error::compute("a text has made no prompt").fault())?;
        let words = self.answers_and_foils(words)?;
        self.new_pair((0, "0".into()), (clean, prompts.next()), words, positions, |_| None)
    }

    /// A pair with answers, each of one token or the only one of several, foils and named positions, as they were given. `cell` is what
    /// the file has in the column of a named position.
    ///
    /// # Errors
    /// As [`Pair::new`], in words of this model's vocabulary; when one of several answers is several tokens, and when a position is not
    /// in the prompt.
    pub fn new_pair(
        &self,
        (index, id): (u32, String),
        (clean, corrupt): (Prompt, Option<Prompt>),
        (mut answers, foils): (Vec<Vec<u32>>, Vec<u32>),
        positions: &[NamedPosition],
        cell: impl Fn(&NamedPosition) -> Option<String>,
    ) -> Result<Pair> {
        let rest = match &mut answers[..] {
            [only] if only.len() > 1 => only.split_off(1),
            all => match all.iter().find(|answer| answer.len() > 1) {
                Some(long) => return Err(self.one_of_several(long)),
                None => vec![],
            },
        };
        // A word may begin like its foil, which is not read then.
        let (foils, unread) = if rest.is_empty() { (foils, vec![]) } else { (vec![], foils) };
        let answers = answers.concat();
        if let (Some(both), Some(_)) = (answers.iter().find(|answer| foils.contains(answer)), &self.tokenizer) {
            return Err(same_answer_and_foil(&format!("\"{}\" (#{both})", visible(&self.spell(*both)))));
        }
        let mut pair = Pair::new(index, id, clean, corrupt, answers, foils)?;
        pair.foils.extend(unread);
        pair.rest = rest;
        for named in positions {
            if pair.positions.iter().any(|known| known.name == named.name) {
                return Err(Error::bad_input(format!("two positions are called `{}`", visible(&named.name)))
                    .hint("give each a name of its own"));
            }
            let at = match (&named.at, cell(named)) {
                (At::Number(number), _) => position_at(*number, &pair.clean),
                (At::Column(_), Some(cell)) => position_in(&cell, &pair.clean),
                // There is no file.
                (At::Column(words), None) => position_in(words, &pair.clean),
            };
            let placed = |e: Error| e.at(format_args!("position `{}`", named.name));
            pair.positions.push(Named { name: named.name.clone(), at: at.map_err(placed)? });
        }
        Ok(pair)
    }

    fn one_of_several(&self, long: &[u32]) -> Error {
        let (text, n) = (visible(&self.spelled(long)), long.len());
        Error::bad_input(format!("one of several answers, \"{text}\", is {n} tokens"))
            .hint("give that answer alone, or answers of one token each")
    }

    fn pair_of(&self, index: usize, entry: &PairEntry, around: &Around, positions: &[NamedPosition]) -> Result<Pair> {
        let cell = |name: &str| entry.cells.get(name);
        let prompt = |text, ids| self.prompt_of(entry, [text, ids], around);
        let word = |text: &str, ids: &str| match cell(text) {
            Some(Cell::Text(text)) => Ok(Some(&**text)),
            Some(Cell::Ids(_)) => Err(Error::bad_input(format!("`{text}` holds numbers, and words are wanted"))
                .hint(words("if they are token ids, say ") + give_as("columns", format!("{ids}=NAME")))),
            None => Ok(None),
        };
        let ids = |name: &str| -> Result<Vec<u32>> {
            let ids = match cell(name) {
                None => vec![],
                Some(Cell::Ids(ids)) => ids.clone(),
                Some(Cell::Text(text)) => parse_ids(text)?,
            };
            self.model.can_say(&ids).map_err(|e| e.hint("are these the ids of another tokenizer?"))?;
            Ok(ids)
        };
        let id = match cell("id") {
            Some(Cell::Text(id)) => id.clone(),
            Some(Cell::Ids(ids)) => ids.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            None => index.to_string(),
        };
        let clean = prompt("clean", "clean_ids")?.ok_or_else(|| {
            Error::bad_input("there is no clean prompt").hint("fill in `clean` or `clean_ids`, or take the pair out")
        })?;
        let (answer, foil) = (word("answer", "answer_id")?, word("foil", "foil_id")?);
        let (mut answers, mut foils) = self.answers_and_foils([answer.as_slice(), foil.as_slice()])?;
        answers.extend(ids("answer_id")?.into_iter().map(|id| vec![id]));
        foils.extend(ids("foil_id")?);
        let prompts = (clean, prompt("corrupt", "corrupt_ids")?);
        self.new_pair((index as u32, id), prompts, (answers, foils), positions, |named| {
            match cell(&format!("{NAMED}{}", named.name))? {
                Cell::Text(text) => Some(text.clone()),
                Cell::Ids(ids) => Some(ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
            }
        })
    }
}

/// A pair that still needs what it is compared with. Texts that are a `#` and token ids, such as `#1,2`, are these tokens.
#[derive(Clone, Copy)]
#[must_use = "a pair is made by `against` or `alone`"]
pub struct Asking<'a> {
    on: &'a Session,
    answer: &'a str,
    clean: &'a str,
}

impl Asking<'_> {
    /// The pair with the prompt `corrupt`, of as many tokens, after which `foil` is right.
    ///
    /// # Errors
    /// As [`Session::new_pair`], [`Session::prompts`] and [`Session::target`].
    pub fn against(self, foil: &str, corrupt: &str) -> Result<Pair> {
        let Self { on, answer, clean } = self;
        on.asked([Some(clean), Some(corrupt)], Bos::AsTokenizer, [&[answer], &[foil]], &[])
    }

    /// The pair without another prompt, for what needs none: values that are put to zero, or noise.
    ///
    /// # Errors
    /// As [`Asking::against`].
    pub fn alone(self) -> Result<Pair> {
        self.on.asked([Some(self.clean), None], Bos::AsTokenizer, [&[self.answer], &[]], &[])
    }
}

/// The pairs of a file, each cell as text or token ids.
fn from_records(input: &Input, wanted: &[Wanted]) -> Result<Read> {
    let names: Vec<&str> = wanted.iter().map(|(_, theirs)| theirs.as_str()).collect();
    let Records { file, all, names, .. } = input.records(&names, "pairs_format", false)?;
    let unused = Unused::of(&file, &names, wanted.iter().map(|(_, theirs)| theirs.as_str()));
    let mut read = Read { entries: vec![], names, unused };
    for record in all {
        let place = record.at.of(&file);
        let mut cells = BTreeMap::new();
        for (ours, theirs) in wanted {
            let Some(found) = field(&record.value, theirs) else { continue };
            // What lies inside other fields, or is made of some, is a column for whoever asks for it.
            if !read.names.contains(theirs) {
                read.names.push(theirs.clone());
            }
            let cell = cell(found.as_ref(), ours, theirs, &place)?;
            if let Some(Cell::Text(text)) = &cell {
                let long = |what| Error::bad_input(format!("{place}: {what}")).hint(split());
                input.bounds.check_text(text.len()).map_err(long)?;
            }
            cells.extend(cell.map(|cell| (ours.clone(), cell)));
        }
        read.entries.push(PairEntry { place, cells });
    }
    Ok(read)
}

/// What stands in one field of a pair; none where it is empty.
fn cell(value: &Value, ours: &str, theirs: &str, place: &str) -> Result<Option<Cell>> {
    let one = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = match value {
        Value::String(text) => return Ok(Some(Cell::Text(text.clone())).filter(|_| !text.is_empty())),
        Value::Number(n) if is_no_ids(ours) => return Ok(Some(Cell::Text(n.to_string()))),
        Value::Array(list) => list.iter().map(one).collect::<Option<Vec<_>>>(),
        other => one(other).map(|id| vec![id]),
    };
    let bad = || {
        Error::bad_input(format!("{place}: `{theirs}` is neither text nor token ids"))
            .hint("token ids are whole numbers, or a list of them")
    };
    Ok(Some(Cell::Ids(ids.ok_or_else(bad)?)))
}

/// What messages call the file `path`.
fn shown(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() }
}
