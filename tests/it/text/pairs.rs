//! Pairs of prompts that align, and that do not.

use pellucid::Result;
use pellucid::text::{Bos, Pair, PromptEntry, build_prompts};

fn pair(clean: &[u32], corrupt: &[u32]) -> Result<Pair> {
    let entries = [PromptEntry::ids(clean), PromptEntry::ids(corrupt)];
    let mut prompts = build_prompts(&entries, None, 100, None, Bos::default())?.into_iter();
    let (clean, corrupt) = (prompts.next().unwrap(), prompts.next());
    Pair::new(0, "0".into(), clean, corrupt, vec![1], vec![2])
}

#[test]
fn prompts_that_do_not_align_are_shown_side_by_side() -> Result<()> {
    pair(&[1, 2, 3], &[1, 5, 3])?;
    let e = pair(&[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 9, 9, 9, 6, 7, 8]).unwrap_err();
    let message = e.to_string();
    assert!(message.contains("8 tokens against 9") && message.contains("position 3"), "{message}");
    assert!(message.contains("#1|#2|#3|[#4]|#5") && message.contains("#3|[#9]|#9"), "{message}");
    let e = pair(&[1, 2, 3], &[1, 2]).unwrap_err().to_string();
    assert!(e.contains("[#3]") && e.contains("#1|#2|[end]"), "{e}");
    assert!(pair(&[1, 2], &[1, 2]).unwrap_err().to_string().contains("the same tokens"));
    Ok(())
}
