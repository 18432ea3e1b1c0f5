//! What a tokenizer.json asks for that no text should set off: steps that make a text many times as long, and a template that
//! the tokenizers crate panics on. All of it is JSON, as that crate writes it.

use serde_json::Value;

/// How many times as long as its input a pre-tokenizer or a decoder may make anything. Those of models reach 8.
const MOST_TIMES: usize = 64;
/// Bytes that one character may become in a table of characters. T5's reaches 33.
const LONGEST_CHARACTER: usize = 256;
/// Tokens that are put around a text.
const MOST_PUT: usize = 1024;

/// How many bytes a normalizer may make of `n`, whatever they are: spaces become three bytes each, and a short text may become
/// anything that is short.
pub(super) fn most_normalized(n: usize) -> usize {
    n.saturating_mul(8).saturating_add(1 << 16)
}

/// How many bytes one step on the way there may make of `n`, by what is known before it runs.
pub(super) fn most_in_one_step(n: usize) -> usize {
    n.saturating_mul(64).saturating_add(1 << 16)
}

/// One step of a normalizer.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// As tokenizer.json has it.
    pub json: Value,
    /// Bytes that a byte may become, and bytes that are put to each text.
    times: usize,
    plus: usize,
}

impl Step {
    /// How many bytes the step makes of `n` at most, whatever they are.
    pub fn most(&self, n: usize) -> usize {
        n.saturating_mul(self.times).saturating_add(self.plus)
    }

    /// What a step replaces, as a pattern, and how many bytes take the place of each match.
    pub fn replaces(&self) -> Option<(Pattern<'_>, usize)> {
        if self.json["type"] != "Replace" {
            return None;
        }
        let pattern = &self.json["pattern"];
        let pattern = (pattern["String"].as_str().map(Pattern::Text)).or(pattern["Regex"].as_str().map(Pattern::Regex));
        Some((pattern?, self.json["content"].as_str().map_or(0, str::len)))
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pattern<'a> {
    Text(&'a str),
    Regex(&'a str),
}

/// The steps of a normalizer, nested ones one after the other.
///
/// # Errors
/// With what is wrong, to follow the name of the file.
pub(super) fn steps(normalizer: &Value) -> Result<Vec<Step>, String> {
    let mut found = vec![];
    flatten(normalizer, "normalizers", &mut found);
    found.into_iter().map(step).collect()
}

/// The parts of a sequence of steps, nested ones one after the other.
fn flatten<'a>(json: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match json[key].as_array() {
        // As deep as serde_json reads, which is 128 levels.
        Some(all) => all.iter().for_each(|json| flatten(json, key, found)),
        None if json.is_null() => {}
        None => found.push(json),
    }
}

fn step(json: &Value) -> Result<Step, String> {
    let content = |key: &str| json[key].as_str().map_or(0, str::len);
    let (times, plus) = match json["type"].as_str().unwrap_or_default() {
        "Replace" => replace(json)?,
        // It is put before each part of a text that lies between added tokens.
        "Prepend" => (1 + content("prepend"), content("prepend")),
        // By the expansion factors of Unicode Standard Annex 15 for UTF-8, which are 3, 3, 11 and 11.
        "NFC" | "NFD" => (3, 0),
        "NFKC" | "NFKD" => (11, 0),
        "Lowercase" => (3, 0),
        // Spaces around each Chinese character, accents taken apart, lowercase.
        "BertNormalizer" => (2 * 3 * 3, 0),
        "ByteLevel" => (2, 0),
        "Precompiled" => (longest_character(json)?, 0),
        "Strip" | "StripAccents" | "Nmt" => (1, 0),
        other => return Err(format!("its normalizer has a step of a kind that is not known, `{}`", shortened(other))),
    };
    Ok(Step { json: json.clone(), times, plus })
}

/// What replacing may make of a byte, and of nothing.
fn replace(json: &Value) -> Result<(usize, usize), String> {
    let content = json["content"].as_str().map_or(0, str::len);
    match (json["pattern"]["String"].as_str(), json["pattern"]["Regex"].as_str()) {
        (Some(""), _) | (_, Some("")) => Err("it replaces an empty pattern, which is everywhere".into()),
        (Some(pattern), _) => Ok((content.div_ceil(pattern.len()).max(1), 0)),
        // A pattern may match nothing before each byte and at the end.
        _ => Ok((1 + content, content)),
    }
}

/// The longest text that a table of characters has in place of one, after the table was found to be whole.
fn longest_character(json: &Value) -> Result<usize, String> {
    let damaged = || "its table of characters (precompiled_charsmap) is damaged".to_owned();
    let table = base64(json["precompiled_charsmap"].as_str().unwrap_or_default()).ok_or_else(damaged)?;
    let (size, rest) = table.split_first_chunk().ok_or_else(damaged)?;
    let texts = rest.get(u32::from_le_bytes(*size) as usize..).ok_or_else(damaged)?;
    let longest = texts.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or_default();
    match longest {
        ..=LONGEST_CHARACTER => Ok(longest.max(1)),
        n => Err(format!("its table of characters makes {n} bytes of one character")),
    }
}

/// The bytes that are written in base 64; none where anything else stands there.
fn base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = [None; 256];
    DIGITS.iter().zip(0u32..).for_each(|(digit, i)| value[usize::from(*digit)] = Some(i));
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for digits in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = digits.iter().try_fold(0, |bits, digit| Some(bits << 6 | value[usize::from(*digit)]?))?;
        let whole = (bits << (6 * (4 - digits.len()))).to_be_bytes();
        bytes.extend(&whole[1..digits.len()]);
    }
    Some(bytes)
}

/// How many bytes of a text a normalizer makes at least one of: 1 where it leaves everything or makes it longer. None where it may take
/// any amount away.
pub(super) fn most_shrunk(steps: &[Step]) -> Option<usize> {
    steps.iter().try_fold(1usize, |shrunk, step| match step.json["type"].as_str()? {
        "Prepend" => Some(shrunk),
        // Three bytes become one in U+212A, the sign of Kelvin; nothing that is composed becomes less.
        "NFC" => Some(shrunk * 3),
        "Replace" => match step.replaces()? {
            (Pattern::Text(pattern), content) if content >= pattern.len() => Some(shrunk),
            _ => None,
        },
        _ => None,
    })
}

/// Whether a pre-tokenizer leaves every byte of a text, and whether it writes them in GPT-2's alphabet.
pub(super) fn keeps_all(pre_tokenizer: &Value) -> (bool, bool) {
    let mut steps = vec![];
    flatten(pre_tokenizer, "pretokenizers", &mut steps);
    let kind = |step: &Value| step["type"].as_str().unwrap_or_default().to_owned();
    let keeps = |step: &&Value| match &kind(step)[..] {
        "ByteLevel" | "Digits" | "Metaspace" => true,
        "Split" => step["behavior"] != "Removed",
        _ => false,
    };
    (steps.iter().all(keeps), steps.iter().any(|step| kind(step) == "ByteLevel"))
}

/// Refuses tables of characters whose reader would reserve gigabytes: before anything of `json` is read.
pub(super) fn check_tables(json: &Value) -> Result<(), String> {
    match json {
        Value::Array(all) => all.iter().try_for_each(check_tables),
        Value::Object(all) => {
            if all.contains_key("precompiled_charsmap") {
                longest_character(json)?;
            }
            all.values().try_for_each(check_tables)
        }
        _ => Ok(()),
    }
}

/// Refuses pre-tokenizers, templates and decoders that no model has.
pub(super) fn check_parts(pre_tokenizer: &Value, post_processor: &Value, decoder: &Value) -> Result<(), String> {
    let (mut before, mut after, mut ends) = (vec![], vec![], vec![]);
    flatten(pre_tokenizer, "pretokenizers", &mut before);
    flatten(decoder, "decoders", &mut after);
    flatten(post_processor, "processors", &mut ends);
    let grown = |part: &str| Err(format!("its {part} may make a text more than {MOST_TIMES} times as long"));
    let times = before.iter().fold(1usize, |times, step| {
        times.saturating_mul(match step["type"].as_str() {
            Some("ByteLevel") => 2,
            // A space becomes one character.
            Some("Metaspace") => 4,
            _ => 1,
        })
    });
    if times > MOST_TIMES {
        return grown("pre-tokenizer");
    }
    let mut times = 1usize;
    for step in after.iter().filter(|step| step["type"] == "Replace") {
        times = times.saturating_mul(replace(step)?.0);
    }
    if times > MOST_TIMES {
        return grown("decoder");
    }
    ends.into_iter().filter(|step| step["type"] == "TemplateProcessing").try_for_each(template)
}

/// Refuses a template that does not put one text, and tokens that are known, in one place each.
fn template(json: &Value) -> Result<(), String> {
    let pieces = json["single"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (mut texts, mut put) = (0, 0);
    for piece in pieces {
        match (&piece["Sequence"]["id"], piece["SpecialToken"]["id"].as_str()) {
            (Value::String(which), _) if which == "A" => texts += 1,
            (Value::String(_), _) => {
                return Err("its template for one text asks for a second text ($B)".into());
            }
            (_, Some(token)) => {
                let Some(ids) = json["special_tokens"][token]["ids"].as_array() else {
                    return Err(format!(
                        "its template puts the token `{}`, and does not say which that is",
                        shortened(token)
                    ));
                };
                put += ids.len();
            }
            _ => {}
        }
    }
    match (texts, put) {
        (1, ..=MOST_PUT) => Ok(()),
        (1, n) => Err(format!("its template puts {n} tokens around a text")),
        (n, _) => Err(format!("its template puts the text in {n} places")),
    }
}

/// The beginning of a text of any length.
pub(super) fn shortened(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn base_64_is_decoded() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYmE=", b"fooba"),
            ("+/8=", &[0xfb, 0xff]),
        ] {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(base64("Zm9\n"), None);
    }

    #[test]
    fn nested_steps_multiply() {
        let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let nested = json!({"type": "Sequence", "normalizers": [replace("a", "bb"), {"type": "Sequence", "normalizers":
            [replace("bb", "ccccc"), {"type": "Prepend", "prepend": "▁"}]}]});
        let steps = steps(&nested).unwrap();
        assert_eq!(steps.iter().fold(10, |n, step| step.most(n)), 10 * 2 * 3 * 4 + 3);
        assert_eq!(steps[0].replaces(), Some((Pattern::Text("a"), 2)));
        assert_eq!(steps[2].replaces(), None);
    }
}
