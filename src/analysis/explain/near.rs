//! Which tokens of a prompt are looked at more closely: whose neighbours are shown, and which two are swapped.

use crate::analysis::EmbedNeighborRow;
use crate::analysis::embed::{Embed, Embedded, Embeddings, Word, neighbors as of_tokens, streams};
use crate::error::{Error, Result};
use crate::session::{Analysis, Session};
use crate::sweep::Need;
use crate::text::{Bos, Prompt, PromptEntry, Token};

/// How many neighbours of each token are shown.
const NEIGHBORS: usize = 5;
/// How many tokens of the prompt have them.
const WORDS: usize = 3;

/// What neighbours need of memory; nothing where the model is so small that the run needs more.
pub fn need(on: &Session, prompt: &Prompt) -> Need {
    let id = prompt.tokens.last().map_or(0, |token| token.id);
    let words = vec![Word { text: String::new(), ids: vec![id] }];
    Embed { map: 0, ..Embed::default() }
        .need(on, &Embedded { words, context: Some(prompt.clone()) })
        .unwrap_or_default()
}

/// Neighbours of the longest tokens of the prompt, of its last, and of the answer; and the command that shows the same.
///
/// # Errors
/// When weights cannot be read, or the run is not finite.
pub fn neighbors(
    on: &Session,
    prompt: &Prompt,
    target: Option<u32>,
    seed: u64,
) -> Result<(Vec<EmbedNeighborRow>, Vec<String>)> {
    let of = Embeddings::of(&on.model)?;
    let mut chosen: Vec<(usize, &Token)> = prompt.tokens.iter().enumerate().filter(|(_, t)| !t.special).collect();
    chosen.sort_by_key(|(pos, token)| (std::cmp::Reverse(token.text.trim().chars().count()), *pos));
    let mut seen = vec![];
    chosen.retain(|(_, token)| {
        let new = !seen.contains(&token.id);
        seen.push(token.id);
        new
    });
    chosen.truncate(WORDS);
    chosen.sort_by_key(|(pos, _)| *pos);
    let mut ids: Vec<u32> = chosen.iter().map(|(_, token)| token.id).collect();
    let last = prompt.tokens.last().map(|token| token.id);
    for id in last.into_iter().chain(target.filter(|id| (*id as usize) < on.model.spec().d_vocab)) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let (mut rows, spell) = (vec![], |id: u32| on.spell(id));
    let asked = (NEIGHBORS, seed);
    of_tokens(&of, &ids, asked, &spell, on.memory_bytes / 2, &mut |own| {
        rows.extend(own);
        Ok(())
    })?;
    // What the last token has become, at its own place.
    let end = prompt.tokens.len() as u32 - 1;
    let last: Vec<u32> = last.into_iter().collect();
    streams(&on.model, &of, (prompt, &last), asked, &spell, &mut |own| {
        rows.extend(own.into_iter().filter(|row| row.pos == Some(end)));
        Ok(())
    })?;
    let words = last.iter().map(|id| Word { text: format!("#{id}"), ids: vec![*id] }).collect();
    let input = Embedded { words, context: Some(prompt.clone()) };
    let command = on.command(&Embed { neighbors: NEIGHBORS, seed, ..Embed::default() }, &input)?;
    Ok((rows, command))
}

/// A word as one token: whether it begins here and ends before the next.
fn is_word(prompt: &Prompt, pos: usize) -> bool {
    let token = &prompt.tokens[pos];
    let letters = |text: &str| text.chars().all(char::is_alphabetic);
    let begins = |token: &Token| token.special || !token.text.starts_with(char::is_alphabetic);
    let word = token.text.trim();
    let starts = pos == 0 || token.text.starts_with(char::is_whitespace) || prompt.tokens[pos - 1].special;
    starts && word.chars().count() >= 3 && letters(word) && prompt.tokens.get(pos + 1).is_none_or(begins)
}

/// Two tokens to swap: names in the text, else two words, else any two that differ. The last token stays, for what comes next is asked after it.
pub fn places(prompt: &Prompt) -> Option<(usize, usize)> {
    let end = prompt.tokens.len().saturating_sub(1);
    let own: Vec<usize> = (0..end).filter(|pos| !prompt.tokens[*pos].special).collect();
    let name = |pos: &usize| {
        let inner = prompt.tokens[*pos].text.starts_with(' ');
        inner && is_word(prompt, *pos) && prompt.tokens[*pos].text.trim().starts_with(char::is_uppercase)
    };
    let names: Vec<usize> = own.iter().copied().filter(name).collect();
    let words: Vec<usize> = own.iter().copied().filter(|pos| is_word(prompt, *pos)).collect();
    let first_two = |of: &[usize]| {
        let first = *of.first()?;
        let other = of.iter().find(|pos| prompt.tokens[**pos].id != prompt.tokens[first].id)?;
        Some((first, *other))
    };
    first_two(&names).or_else(|| first_two(&words)).or_else(|| first_two(&own))
}

/// The prompt with two tokens swapped, and where they stood.
///
/// # Errors
/// None that are known: the tokens are those of the prompt.
pub fn swapped(on: &Session, prompt: &Prompt) -> Result<Option<(Prompt, (usize, usize))>> {
    let Some((a, b)) = places(prompt) else { return Ok(None) };
    let mut ids = prompt.ids();
    ids.swap(a, b);
    let other = on.prompts(&[PromptEntry::ids(ids).named(&prompt.id)], Bos::AsTokenizer)?.pop();
    Ok(other.map(|other| (other, (a, b))))
}

/// The prompt as another model reads it.
///
/// # Errors
/// When it was given as ids, which mean other tokens to another model; when that cannot read the text.
pub fn reread(on: &Session, prompt: &Prompt) -> Result<Prompt> {
    let Some(text) = &prompt.text else {
        return Err(Error::bad_input("token ids mean other tokens to another model").hint("give the prompt as text"));
    };
    let own = on.prompts(&[PromptEntry::text(text).named(&prompt.id)], Bos::AsTokenizer).map_err(|e| e.at(&on.name))?;
    own.into_iter().next().ok_or_else(|| Error::compute("a text has made no prompt").fault())
}
