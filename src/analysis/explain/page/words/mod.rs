//! Every string of the page, in both languages: the same keys, and the same places in braces.

mod inside;
mod model;
mod reading;
mod saying;
mod start;

/// A language of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tongue {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Tongue {
    /// What ids and classes call it.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }

    /// What `lang` calls it.
    pub fn lang(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-Hans",
        }
    }
}

/// A string: its key, in English and in Chinese.
pub type Word = (&'static str, &'static str, &'static str);

/// Every string, by section.
pub const WORDS: [&[Word]; 5] = [start::WORDS, reading::WORDS, inside::WORDS, saying::WORDS, model::WORDS];

/// The string of this key; the key itself where there is none, which a test refuses.
pub fn text(key: &str, tongue: Tongue) -> &'static str {
    let found = WORDS.into_iter().flatten().find(|(known, ..)| *known == key);
    debug_assert!(found.is_some(), "{key}");
    found.map_or("", |(_, en, zh)| match tongue {
        Tongue::En => en,
        Tongue::Zh => zh,
    })
}
