//! What a vocabulary entry spells: from `Ġthe`, `▁the` or `<0xF0>` to the bytes of text it stands for.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value;

/// How a tokenizer writes bytes and spaces in its vocabulary, read from its decoder.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    /// GPT-2's alphabet: one printable character for each byte. Holds its inverse.
    byte_level: Option<HashMap<char, u8>>,
    /// What stands for what, such as `▁` for a space.
    replace: Vec<(String, String)>,
    /// `<0xF0>` is the byte F0.
    byte_fallback: bool,
    /// The mark of a piece that continues a word (`##`): every other piece begins with a space.
    continuing_prefix: Option<String>,
    /// The mark of a piece that ends a word (`</w>`), which is a space.
    word_suffix: Option<String>,
}

impl Spelling {
    /// Reads the conventions from a decoder and a pre-tokenizer, each as in tokenizer.json.
    pub(super) fn new(decoder: &Value, pre_tokenizer: &Value) -> Self {
        let mut spelling = Spelling::default();
        spelling.learn(decoder);
        if decoder.is_null() && mentions_byte_level(pre_tokenizer) {
            spelling.byte_level = Some(byte_alphabet());
        }
        spelling
    }

    fn learn(&mut self, decoder: &Value) {
        let text = |key: &str| decoder[key].as_str().map(str::to_owned);
        match decoder["type"].as_str().unwrap_or_default() {
            "Sequence" => decoder["decoders"].as_array().into_iter().flatten().for_each(|d| self.learn(d)),
            "ByteLevel" => self.byte_level = Some(byte_alphabet()),
            "ByteFallback" => self.byte_fallback = true,
            "Metaspace" => self.replace.push((text("replacement").unwrap_or_else(|| "▁".into()), " ".into())),
            "Replace" => {
                if let (Some(from), Some(to)) = (decoder["pattern"]["String"].as_str(), text("content")) {
                    self.replace.push((from.to_owned(), to));
                }
            }
            "WordPiece" => self.continuing_prefix = text("prefix"),
            "BPEDecoder" => self.word_suffix = text("suffix"),
            _ => {}
        }
    }

    /// The bytes that `piece`, an ordinary entry of the vocabulary, stands for.
    pub(super) fn bytes(&self, piece: &str) -> Vec<u8> {
        if let Some(alphabet) = &self.byte_level
            && let Some(bytes) = piece.chars().map(|c| alphabet.get(&c).copied()).collect::<Option<Vec<u8>>>()
        {
            return bytes;
        }
        if self.byte_fallback
            && let Some(hex) = piece.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'))
            && hex.len() == 2
            && let Ok(byte) = u8::from_str_radix(hex, 16)
        {
            return vec![byte];
        }
        let mut text = piece.to_owned();
        if let Some(prefix) = &self.continuing_prefix {
            text = text.strip_prefix(prefix.as_str()).map_or_else(|| format!(" {text}"), str::to_owned);
        }
        if let Some(suffix) = &self.word_suffix
            && let Some(word) = text.strip_suffix(suffix.as_str())
        {
            text = format!("{word} ");
        }
        for (from, to) in &self.replace {
            text = text.replace(from.as_str(), to);
        }
        text.into_bytes()
    }
}

/// `bytes` as text; what is not UTF-8, such as a part of an emoji, as `\xF0`.
pub(crate) fn legible(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02X}");
        }
    }
    out
}

fn mentions_byte_level(pre_tokenizer: &Value) -> bool {
    pre_tokenizer["type"] == "ByteLevel"
        || pre_tokenizer["pretokenizers"].as_array().is_some_and(|all| all.iter().any(mentions_byte_level))
}

/// GPT-2's byte alphabet, inverted: printable Latin-1 bytes are themselves, the rest count up from U+0100.
pub(super) fn byte_alphabet() -> HashMap<char, u8> {
    let mut next = 0x100;
    (0..=u8::MAX)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => (char::from(byte), byte),
            _ => {
                let stand_in = char::from_u32(next).unwrap_or(char::REPLACEMENT_CHARACTER);
                next += 1;
                (stand_in, byte)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_have_the_characters_of_gpt_2() {
        let ours = byte_alphabet();
        assert_eq!((ours[&'Ġ'], ours[&'Ċ'], ours[&'A'], ours[&'ð']), (b' ', b'\n', b'A', 0xF0));
    }

    #[test]
    fn each_convention_spells() {
        let byte_level = Spelling::new(&json!({"type": "ByteLevel"}), &Value::Null);
        assert_eq!(byte_level.bytes("Ġthe"), b" the");
        assert_eq!(byte_level.bytes("ðŁ"), [0xF0, 0x9F]);
        assert_eq!(byte_level.bytes("  "), b"  ", "an added token that is outside the alphabet is itself");
        let implied =
            Spelling::new(&Value::Null, &json!({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]}));
        assert_eq!(implied.bytes("Ġthe"), b" the");

        let llama = json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]});
        let llama = Spelling::new(&llama, &Value::Null);
        assert_eq!(llama.bytes("▁the"), b" the");
        assert_eq!(llama.bytes("<0xF0>"), [0xF0]);
        assert_eq!(llama.bytes("<0xZZ>"), b"<0xZZ>");

        let metaspace = Spelling::new(&json!({"type": "Metaspace", "replacement": "▁"}), &Value::Null);
        assert_eq!(metaspace.bytes("▁▁a"), b"  a");
        let word_piece = Spelling::new(&json!({"type": "WordPiece", "prefix": "##"}), &Value::Null);
        assert_eq!((word_piece.bytes("##ing"), word_piece.bytes("play")), (b"ing".to_vec(), b" play".to_vec()));
        let clip = Spelling::new(&json!({"type": "BPEDecoder", "suffix": "</w>"}), &Value::Null);
        assert_eq!((clip.bytes("cat</w>"), clip.bytes("ca")), (b"cat ".to_vec(), b"ca".to_vec()));
    }

    #[test]
    fn bytes_that_are_not_text_are_legible() {
        assert_eq!(legible("é".as_bytes()), "é");
        assert_eq!(legible(&[b' ', 0xF0, 0x9F]), r" \xF0\x9F");
        assert_eq!(legible(&[0x9A, 0x80, b'a']), r"\x9A\x80a");
    }
}
