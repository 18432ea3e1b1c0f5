//! Prompts that a model can run, and what it cannot.

use pellucid::Result;
use pellucid::text::Bos;
use pellucid::text::prompt::{Prompt, PromptEntry, build_prompts};

fn build(entries: &[PromptEntry]) -> Result<Vec<Prompt>> {
    build_prompts(entries, None, 10, Some(3), Bos::AsTokenizer)
}

#[test]
fn ids_without_a_tokenizer_have_legible_labels() -> Result<()> {
    let prompts = build(&[PromptEntry::ids([7, 0]), PromptEntry::ids([9]).named("last")])?;
    assert_eq!(prompts[0].ids(), [7, 0]);
    assert_eq!((prompts[0].label(0), prompts[0].label(1), prompts[0].label(2)), ("#7", "#0", ""));
    assert_eq!((prompts[0].index, &prompts[0].id[..], prompts[0].text.as_deref()), (0, "0", None));
    assert_eq!((prompts[1].index, &prompts[1].id[..]), (1, "last"));
    Ok(())
}

#[test]
fn what_the_model_cannot_run_is_refused_with_the_facts() {
    let message = |entries: &[PromptEntry]| build(entries).unwrap_err().to_string();
    assert_eq!(
        message(&[PromptEntry::ids([1, 10])]),
        "prompt \"0\" has token id 10 at position 1, but this model's vocabulary has 10 tokens"
    );
    assert_eq!(message(&[PromptEntry::ids([1; 4])]), "prompt \"0\" has 4 tokens, but this model's context is 3");
    assert_eq!(message(&[PromptEntry::ids([])]), "prompt \"0\" is empty");
    assert_eq!(message(&[PromptEntry::text("")]), "prompt \"0\" is empty");
    assert_eq!(message(&[]), "there are no prompts");
    assert!(message(&[PromptEntry::text("a")]).contains("no tokenizer.json"));
    assert!(build(&[PromptEntry::text("a")]).unwrap_err().hint_text().unwrap_or_default().contains("`ids`"));
}

#[test]
fn two_prompts_cannot_share_an_id_not_even_a_default_one() {
    let twice = [PromptEntry::ids([1]).named("1"), PromptEntry::ids([2])];
    assert_eq!(build(&twice).unwrap_err().to_string(), "prompts 0 and 1 have the same id \"1\"");
}
