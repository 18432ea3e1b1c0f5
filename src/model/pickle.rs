//! The pickle in a file of torch.save, read as data: no class is looked up, nothing is called, nothing runs.
//!
//! Values lie in one list and name each other by their place in it, and texts stay where they are in the file. So what a
//! pickle takes of memory is a constant for each of its instructions, however often it repeats or nests its values, and
//! nothing that walks or drops it needs a deep stack.

use std::collections::HashMap;
use std::fmt;

/// Values that a pickle may make: about twenty for each tensor of a state dict. Each takes at most 100 bytes here.
const MOST_VALUES: usize = 1 << 20;

/// The place of a value in its pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u32);

/// What an instruction of a pickle made.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool,
    Int(i64),
    Float,
    Text(&'a str),
    /// A class or a function: its module and its name.
    Class(&'a str, &'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values, as they were put in.
    Dict(Vec<(Id, Id)>),
    /// What calling `callable` would give, or an object whose state is `args`.
    Made {
        callable: Id,
        args: Id,
    },
    /// Something outside of the pickle, by what names it.
    Outside(Id),
}

/// A pickle whose instructions were read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    /// Attributes of dictionaries: the dictionary, and what they are.
    pub attributes: Vec<(Id, Id)>,
    /// The value of the whole.
    pub root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads the instructions in `bytes`.
    ///
    /// # Errors
    /// With what is wrong: an instruction that torch.save does not write, one that lacks what it works on, or too many.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Wrong> {
        let mut reader = Reader { rest: bytes, values: vec![], attributes: vec![], stack: vec![], marks: vec![] };
        let root = reader.run()?;
        Ok(Self { values: reader.values, attributes: reader.attributes, root })
    }

    /// The value at `id`.
    pub fn at(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }
}

/// What is wrong with a pickle.
#[derive(Debug, PartialEq)]
pub(super) enum Wrong {
    /// It is no pickle of torch.save.
    Damaged(String),
    /// It makes more values than the weights of a model.
    Long,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => f.write_str(what),
            Self::Long => write!(f, "a pickle of more than {MOST_VALUES} values"),
        }
    }
}

fn damaged<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Damaged(what.into()))
}

struct Reader<'a> {
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    attributes: Vec<(Id, Id)>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
}

impl<'a> Reader<'a> {
    /// The instructions of protocol 2 that torch.save writes; others are refused.
    fn run(&mut self) -> Result<Id, Wrong> {
        let mut memo: HashMap<u32, Id> = HashMap::new();
        loop {
            match self.byte()? {
                0x80 => match self.byte()? {
                    ..=2 => {}
                    other => return damaged(format!("its pickle has protocol {other}, and torch.save writes 2")),
                },
                b'.' => return self.pop(),
                b'N' => self.push(Value::None)?,
                0x88 | 0x89 => self.push(Value::Bool)?,
                b'K' => {
                    let n = self.byte()?;
                    self.push(Value::Int(n.into()))?;
                }
                b'M' => {
                    let n = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(n.into()))?;
                }
                b'J' => {
                    let n = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(n.into()))?;
                }
                0x8a => {
                    let n = self.byte()?;
                    let bytes = self.take(n.into())?;
                    self.push(Value::Int(long(bytes)?))?;
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Float)?;
                }
                b'X' => {
                    let n = u32::from_le_bytes(self.array()?);
                    let bytes = self.take(n as usize)?;
                    self.push(Value::Text(text(bytes)?))?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Class(module, name))?;
                }
                b'q' => {
                    let place = self.byte()?;
                    memo.insert(place.into(), self.top()?);
                }
                b'r' => {
                    let place = u32::from_le_bytes(self.array()?);
                    self.bounded(memo.len())?;
                    memo.insert(place, self.top()?);
                }
                b'h' => {
                    let place = self.byte()?.into();
                    self.again(memo.get(&place))?;
                }
                b'j' => {
                    let place = u32::from_le_bytes(self.array()?);
                    self.again(memo.get(&place))?;
                }
                b'(' => {
                    self.bounded(self.marks.len())?;
                    self.marks.push(self.stack.len());
                }
                b')' => self.push(Value::Tuple(vec![]))?,
                n @ 0x85..=0x87 => {
                    let at = self.stack.len().checked_sub(usize::from(n - 0x84));
                    let items = self.from(at)?;
                    self.push(Value::Tuple(items))?;
                }
                b't' => {
                    let items = self.marked()?;
                    self.push(Value::Tuple(items))?;
                }
                b']' => self.push(Value::List(vec![]))?,
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                b'e' => {
                    let items = self.marked()?;
                    self.extend(items)?;
                }
                b'}' => self.push(Value::Dict(vec![]))?,
                b's' => {
                    let at = self.stack.len().checked_sub(2);
                    let items = self.from(at)?;
                    self.set(&items)?;
                }
                b'u' => {
                    let items = self.marked()?;
                    self.set(&items)?;
                }
                b'Q' => {
                    let name = self.pop()?;
                    self.push(Value::Outside(name))?;
                }
                b'R' | 0x81 => {
                    let (args, callable) = (self.pop()?, self.pop()?);
                    let made = match (self.value(callable), self.value(args)) {
                        (Value::Class("collections", "OrderedDict"), Value::Tuple(none)) if none.is_empty() => {
                            Value::Dict(vec![])
                        }
                        _ => Value::Made { callable, args },
                    };
                    self.push(made)?;
                }
                b'b' => {
                    let (args, object) = (self.pop()?, self.pop()?);
                    match self.value(object) {
                        Value::Dict(_) => {
                            self.bounded(self.attributes.len())?;
                            self.attributes.push((object, args));
                            self.stack.push(object);
                        }
                        _ => self.push(Value::Made { callable: object, args })?,
                    }
                }
                other => {
                    return damaged(format!(
                        "its pickle has the op-code {other:#04x}, which torch.save does not write"
                    ));
                }
            }
        }
    }

    fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// Refuses one more of what there are `n` of already.
    fn bounded(&self, n: usize) -> Result<(), Wrong> {
        if n < MOST_VALUES { Ok(()) } else { Err(Wrong::Long) }
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Wrong> {
        self.bounded(self.values.len())?;
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
        Ok(())
    }

    /// Pushes what was kept in the memo. It is no new value, but one more name of an old one.
    fn again(&mut self, kept: Option<&Id>) -> Result<(), Wrong> {
        let Some(id) = kept else { return damaged("its pickle takes up what it never kept") };
        self.bounded(self.stack.len())?;
        self.stack.push(*id);
        Ok(())
    }

    fn top(&self) -> Result<Id, Wrong> {
        self.stack.last().map_or_else(|| damaged("its pickle lacks a value"), |id| Ok(*id))
    }

    fn pop(&mut self) -> Result<Id, Wrong> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// What lies on the stack from `at` on.
    fn from(&mut self, at: Option<usize>) -> Result<Vec<Id>, Wrong> {
        match at {
            Some(at) if at <= self.stack.len() => Ok(self.stack.split_off(at)),
            _ => damaged("its pickle lacks a value"),
        }
    }

    /// What lies on the stack from the last mark on.
    fn marked(&mut self) -> Result<Vec<Id>, Wrong> {
        match self.marks.pop() {
            Some(at) => self.from(Some(at)),
            None => damaged("its pickle lacks a mark"),
        }
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<(), Wrong> {
        let list = self.top()?;
        match &mut self.values[list.0 as usize] {
            Value::List(list) if list.len() + items.len() <= MOST_VALUES => list.extend(items),
            Value::List(_) => return Err(Wrong::Long),
            _ => return damaged("its pickle puts an item into what is no list"),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Wrong> {
        let dict = self.top()?;
        match &mut self.values[dict.0 as usize] {
            Value::Dict(dict) if dict.len() + items.len() / 2 <= MOST_VALUES => {
                let (pairs, []) = items.as_chunks::<2>() else {
                    return damaged("its pickle has a key without a value");
                };
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
            }
            Value::Dict(_) => return Err(Wrong::Long),
            _ => return damaged("its pickle puts a key into what is no dictionary"),
        }
        Ok(())
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Wrong> {
        match self.rest.split_at_checked(n) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => damaged("its pickle is cut off"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Wrong> {
        self.array().map(|[byte]| byte)
    }

    /// A text that ends with a newline.
    fn line(&mut self) -> Result<&'a str, Wrong> {
        let Some(n) = self.rest.iter().position(|b| *b == b'\n') else { return damaged("its pickle is cut off") };
        let line = self.take(n + 1)?;
        text(line[..n].strip_suffix(b"\r").unwrap_or(&line[..n]))
    }
}

fn text(bytes: &[u8]) -> Result<&str, Wrong> {
    std::str::from_utf8(bytes).or_else(|_| damaged("a text in its pickle is not UTF-8"))
}

/// An integer of any length, little-endian, in two's complement.
fn long(bytes: &[u8]) -> Result<i64, Wrong> {
    if bytes.len() > 8 {
        return damaged("a number in its pickle has more than 64 bits");
    }
    let negative = bytes.last().is_some_and(|last| *last >= 0x80);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Ok(i64::from_le_bytes(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_in_the_memo_is_the_same_value_and_no_copy() {
        // d = {}; d["a"] = (d, -2, 300): what is put into a dictionary later is there for whoever took it before.
        let pickle = Pickle::read(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00J\xfe\xff\xff\xffM\x2c\x01\x87s.").unwrap();
        let Value::Dict(items) = pickle.at(pickle.root) else { panic!() };
        let [(key, value)] = items[..] else { panic!() };
        assert_eq!(pickle.at(key), &Value::Text("a"));
        let Value::Tuple(parts) = pickle.at(value) else { panic!() };
        assert_eq!(
            (parts[0], pickle.at(parts[1]), pickle.at(parts[2])),
            (pickle.root, &Value::Int(-2), &Value::Int(300))
        );
    }

    #[test]
    fn integers_of_any_length_are_twos_complement() {
        for (bytes, n) in
            [(&b""[..], 0), (b"\x00\x01", 256), (b"\xff", -1), (b"\xff\x00", 255), (b"\0\0\0\0\x01", 1 << 32)]
        {
            assert_eq!(long(bytes), Ok(n));
        }
        assert!(long(&[0; 9]).is_err());
    }

    #[test]
    fn what_lacks_what_it_works_on_is_damaged() {
        for bytes in [
            &b""[..],
            b".",
            b"\x80\x04N.",
            b"R.",
            b"h\x00.",
            b"t.",
            b"e.",
            b"Na.",
            b"}NNNe.",
            b"}(Nu.",
            b"X\xff\xff\xff\xffa.",
            b"cposix",
            b"\x95.",
        ] {
            assert!(matches!(Pickle::read(bytes), Err(Wrong::Damaged(_))), "{bytes:?}");
        }
    }
}
