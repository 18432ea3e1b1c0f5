//! Pairs of prompts from files of every kind that is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::Loaded;
use crate::error::{Error, Result, nearest};
use crate::table::read::{Values, column_names, read_columns};
use crate::table::visible;
use crate::text::pair::same_answer_and_foil;
use crate::text::positions::{At, position_at, position_in};
use crate::text::prompt_file::{at, csv_line, csv_problem, lines, read_text};
use crate::text::{Bos, Named, NamedPosition, Pair, Prompt, PromptEntry, PromptInput};

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

/// Whether whole numbers in a column are no token ids.
fn is_no_ids(ours: &str) -> bool {
    ours == "id" || ours.starts_with(NAMED)
}

/// A file as it was read.
struct Read {
    entries: Vec<PairEntry>,
    /// What it calls its columns.
    names: Vec<String>,
}

/// The pairs of a `.csv`, `.jsonl` or `.parquet` file. `names` says how the file calls a column, where it calls it otherwise:
/// `corrupt=corrupted`. Columns that named `positions` are in are read as well.
///
/// # Errors
/// Each names the file and the line or row: what cannot be read, has no clean prompt, lacks what other pairs have, or holds
/// what is neither text nor token ids.
pub fn from_file(path: &Path, names: &[(String, String)], positions: &[NamedPosition]) -> Result<Vec<PairEntry>> {
    for (i, (ours, _)) in names.iter().enumerate() {
        if !COLUMNS.contains(&ours.as_str()) {
            let e = Error::no_such(format!("pairs have no column `{ours}`"));
            return Err(match nearest(ours, COLUMNS) {
                Some(near) => e.hint(format!("did you mean `{near}`?")),
                None => e.hint(format!("they have {}", COLUMNS.join(", "))),
            });
        }
        if names[..i].iter().any(|(earlier, _)| earlier == ours) {
            return Err(Error::bad_input(format!("--columns says twice what `{ours}` is called")).hint("say it once"));
        }
    }
    let theirs = |ours: &str| names.iter().find(|(o, _)| o == ours).map_or(ours, |(_, theirs)| theirs).to_owned();
    let mut wanted: Vec<Wanted> = COLUMNS.iter().map(|ours| ((*ours).to_owned(), theirs(ours))).collect();
    wanted.extend(positions.iter().filter_map(|named| match &named.at {
        At::Column(column) => Some((format!("{NAMED}{}", named.name), column.clone())),
        At::Number(_) => None,
    }));
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let Read { entries, names: has } = match extension.as_str() {
        "csv" => from_csv(path, &wanted)?,
        "jsonl" | "ndjson" => from_jsonl(path, &wanted)?,
        "parquet" => from_parquet(path, &wanted)?,
        _ => {
            return Err(Error::bad_input(format!(
                "{}: this is not a kind of file that pairs are read from",
                path.display()
            ))
            .hint("use .csv, .jsonl or .parquet"));
        }
    };
    if entries.is_empty() {
        return Err(Error::bad_input(format!("{} has no pairs", path.display()))
            .hint("put one on each line, under a line with the columns' names"));
    }
    // A name that was said must be there: what is overlooked would change what is measured.
    let clean = EITHER[0].iter().all(|ours| !has.contains(&theirs(ours))).then(|| theirs("clean"));
    let of_positions = wanted.iter().skip(COLUMNS.len());
    let said = names.iter().chain(of_positions).map(|(_, theirs)| theirs).find(|theirs| !has.contains(theirs));
    if let Some(missing) = said.or(clean.as_ref()) {
        let shown: Vec<String> = has.iter().filter(|name| !name.is_empty()).map(|name| format!("`{name}`")).collect();
        let e = Error::bad_input(format!("{} has no column `{missing}`; it has {}", path.display(), shown.join(", ")));
        return Err(match nearest(missing, has.iter().map(String::as_str)) {
            Some(near) => e.hint(format!("did you mean `{near}`?")),
            None => e.hint("say how the file calls its columns: --columns clean=prompt,corrupt=corrupted"),
        });
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
    Ok(entries)
}

impl Loaded {
    /// Turns the pairs of a file into tokens of this model.
    ///
    /// # Errors
    /// As [`Pair::new`], and for what is no token of this model; each names its place.
    pub fn pairs(&self, entries: &[PairEntry], bos: Bos, positions: &[NamedPosition]) -> Result<Vec<Pair>> {
        let at = |e: &PairEntry, error: Error| {
            let hint = error.hint_text().map(str::to_owned);
            let placed = Error::new(error.kind(), format!("{}: {}", e.place, error.message()));
            hint.into_iter().fold(placed, Error::hint)
        };
        (entries.iter().enumerate())
            .map(|(i, e)| self.pair(i, e, bos, positions).map_err(|error| at(e, error)))
            .collect()
    }

    /// A pair with answers, foils and named positions, as they were given. `cell` is what the file has in the column of a named
    /// position.
    ///
    /// # Errors
    /// As [`Pair::new`], in words of this model's vocabulary; and when a position is not in the prompt.
    pub fn new_pair(
        &self,
        (index, id): (u32, String),
        (clean, corrupt): (Prompt, Option<Prompt>),
        [answers, foils]: [Vec<u32>; 2],
        positions: &[NamedPosition],
        cell: impl Fn(&NamedPosition) -> Option<String>,
    ) -> Result<Pair> {
        if let (Some(both), Some(_)) = (answers.iter().find(|answer| foils.contains(answer)), &self.tokenizer) {
            return Err(same_answer_and_foil(&format!("\"{}\" (#{both})", visible(&self.spell(*both)))));
        }
        let mut pair = Pair::new(index, id, clean, corrupt, answers, foils)?;
        for named in positions {
            let at = match (&named.at, cell(named)) {
                (At::Number(number), _) => position_at(*number, &pair.clean),
                (At::Column(_), Some(cell)) => position_in(&cell, &pair.clean),
                (At::Column(column), None) => {
                    return Err(Error::bad_input(format!(
                        "`{}={column}` is a column, and there is no file",
                        named.name
                    ))
                    .hint(format!("give its number, {}=3, or a file with --pairs", named.name)));
                }
            };
            let placed = |e: Error| {
                let hint = e.hint_text().map(str::to_owned);
                let said = Error::new(e.kind(), format!("position `{}`: {}", named.name, e.message()));
                hint.into_iter().fold(said, Error::hint)
            };
            pair.positions.push(Named { name: named.name.clone(), at: at.map_err(placed)? });
        }
        Ok(pair)
    }

    fn pair(&self, index: usize, entry: &PairEntry, bos: Bos, positions: &[NamedPosition]) -> Result<Pair> {
        let cell = |name: &str| entry.cells.get(name);
        let prompt = |name: &str, ids: &str| -> Result<Option<_>> {
            let input = match (cell(name), cell(ids)) {
                (None, None) => return Ok(None),
                (Some(Cell::Text(text)), _) => PromptInput::Text(text.clone()),
                (None, Some(Cell::Text(text))) => PromptInput::Ids(id_list(text)?),
                (Some(Cell::Ids(ids)), _) | (None, Some(Cell::Ids(ids))) => PromptInput::Ids(ids.clone()),
            };
            Ok(self.prompts(&[PromptEntry { id: None, input }], bos)?.pop())
        };
        let tokens = |text: &str, ids: &str| -> Result<Vec<u32>> {
            let mut tokens: Vec<u32> = match cell(text) {
                Some(Cell::Text(text)) => vec![self.target(text)?],
                Some(Cell::Ids(_)) => {
                    return Err(Error::bad_input(format!("`{text}` holds numbers, and words are wanted"))
                        .hint(format!("if they are token ids, say --columns {ids}=NAME")));
                }
                None => vec![],
            };
            match cell(ids) {
                None => {}
                Some(Cell::Ids(ids)) => tokens.extend(ids),
                Some(Cell::Text(text)) => tokens.extend(id_list(text)?),
            }
            let n = self.model.spec().unembedding.d_vocab_out;
            match tokens.iter().find(|t| **t as usize >= n) {
                Some(t) => Err(Error::no_such(format!("token {t} is outside the {n} that the model can say"))
                    .hint("are these the ids of another tokenizer?")),
                None => Ok(tokens),
            }
        };
        let id = match cell("id") {
            Some(Cell::Text(id)) => id.clone(),
            Some(Cell::Ids(ids)) => ids.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            None => index.to_string(),
        };
        let clean = prompt("clean", "clean_ids")?.ok_or_else(|| Error::bad_input("there is no clean prompt"))?;
        let (answers, foils) = (tokens("answer", "answer_id")?, tokens("foil", "foil_id")?);
        let prompts = (clean, prompt("corrupt", "corrupt_ids")?);
        self.new_pair((index as u32, id), prompts, [answers, foils], positions, |named| {
            match cell(&format!("{NAMED}{}", named.name))? {
                Cell::Text(text) => Some(text.clone()),
                Cell::Ids(ids) => Some(ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
            }
        })
    }
}

/// `17`, `17 18`, or `[17, 18]`.
fn id_list(text: &str) -> Result<Vec<u32>> {
    let numbers = text.split([' ', ',', '[', ']']).filter(|part| !part.is_empty());
    let bad = |part: &str| Error::bad_input(format!("`{part}` is not a token id")).hint("write token ids as 12 34 56");
    numbers.map(|part| part.parse().map_err(|_| bad(part))).collect()
}

fn from_csv(path: &Path, wanted: &[Wanted]) -> Result<Read> {
    let text = read_text(path)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| at(path, 1, e))?.clone();
    let column = |(ours, theirs): &Wanted| Some((ours.clone(), header.iter().position(|h| h == theirs)?));
    let columns: Vec<(String, usize)> = wanted.iter().filter_map(column).collect();
    let entries = (reader.records())
        .map(|record| {
            let record = record.map_err(|e| {
                at(path, csv_line(&text, e.position()), csv_problem(&e))
                    .hint("put text with a comma or a newline in it between double quotes")
            })?;
            let place = format!("{}:{}", path.display(), csv_line(&text, record.position()));
            let of = |(ours, i): &(String, usize)| {
                let text = record.get(*i).filter(|text| !text.is_empty())?;
                Some((ours.clone(), Cell::Text(text.to_owned())))
            };
            Ok(PairEntry { place, cells: columns.iter().filter_map(of).collect() })
        })
        .collect::<Result<_>>()?;
    Ok(Read { entries, names: header.iter().map(str::to_owned).collect() })
}

fn from_jsonl(path: &Path, wanted: &[Wanted]) -> Result<Read> {
    let text = read_text(path)?;
    let (mut entries, mut names) = (vec![], vec![]);
    for (i, line) in lines(&text) {
        let bad = |what: String| at(path, i, what).hint("put one object on each line: {\"clean\": \"...\", ...}");
        let value: Value = serde_json::from_str(line).map_err(|e| bad(format!("this is not JSON: {e}")))?;
        let object = value.as_object().ok_or_else(|| bad("this is not an object".into()))?;
        names.extend(object.keys().filter(|key| !names.contains(*key)).cloned().collect::<Vec<String>>());
        let mut cells = BTreeMap::new();
        for (ours, theirs) in wanted {
            let cell = match object.get(theirs) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) if text.is_empty() => continue,
                Some(Value::String(text)) => Cell::Text(text.clone()),
                Some(Value::Number(n)) if is_no_ids(ours) => Cell::Text(n.to_string()),
                Some(other) => {
                    let one = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
                    let ids = match other {
                        Value::Array(list) => list.iter().map(one).collect::<Option<Vec<_>>>(),
                        other => one(other).map(|id| vec![id]),
                    };
                    Cell::Ids(ids.ok_or_else(|| {
                        at(path, i, format!("`{theirs}` is neither text nor token ids"))
                            .hint("token ids are whole numbers, or a list of them")
                    })?)
                }
            };
            cells.insert(ours.clone(), cell);
        }
        entries.push(PairEntry { place: format!("{}:{i}", path.display()), cells });
    }
    Ok(Read { entries, names })
}

fn from_parquet(path: &Path, wanted: &[Wanted]) -> Result<Read> {
    let has = column_names(path)?;
    let names: BTreeSet<&str> =
        wanted.iter().map(|(_, theirs)| theirs.as_str()).filter(|n| has.iter().any(|h| h == n)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut entries: Vec<PairEntry> = vec![];
    // Without any of them, what is missing is said by whoever asked.
    let columns = if names.is_empty() { vec![] } else { read_columns(path, &names)? };
    for (name, values) in columns {
        // One column can be the place of several named positions.
        for (ours, _) in wanted.iter().filter(|(_, theirs)| *theirs == name) {
            let cells = cells_of(path, ours, &name, &values)?;
            let empty = |row| PairEntry { place: format!("{}: row {row}", path.display()), cells: BTreeMap::new() };
            if entries.is_empty() {
                entries = (0..cells.len()).map(empty).collect();
            }
            for (entry, cell) in entries.iter_mut().zip(cells) {
                entry.cells.extend(cell.map(|cell| (ours.clone(), cell)));
            }
        }
    }
    if names.is_empty() {
        // A place to say it of.
        entries.push(PairEntry { place: path.display().to_string(), cells: BTreeMap::new() });
    }
    Ok(Read { entries, names: has })
}

/// The cells of a column of a parquet file, which we call `ours`.
fn cells_of(path: &Path, ours: &str, name: &str, values: &Values) -> Result<Vec<Option<Cell>>> {
    match values {
        Values::Text(texts) => {
            Ok(texts.iter().map(|text| text.clone().filter(|t| !t.is_empty()).map(Cell::Text)).collect())
        }
        Values::Ids(ids) => Ok(ids.iter().map(|ids| ids.clone().map(Cell::Ids)).collect()),
        Values::Integers(numbers) => (numbers.iter().enumerate())
            .map(|(row, n)| match n {
                None => Ok(None),
                Some(n) if is_no_ids(ours) => Ok(Some(Cell::Text(n.to_string()))),
                Some(n) => u32::try_from(*n).map(|n| Some(Cell::Ids(vec![n]))).map_err(|_| {
                    Error::bad_input(format!("{}: row {row}: {n} in `{name}` is not a token id", path.display()))
                        .hint("token ids are whole numbers from 0 on")
                }),
            })
            .collect(),
    }
}
