//! Positions that have names.

use pellucid::Result;
use pellucid::text::positions::{At, NamedPosition, position_in};
use pellucid::text::{Bos, PromptEntry, build_prompts};

#[test]
fn named_positions_are_columns_numbers_or_the_end() -> Result<()> {
    let of = |text: &str| NamedPosition::parse(text).map(|p| (p.name, p.at));
    assert_eq!(of("io=io_pos")?, ("io".into(), At::Column("io_pos".into())));
    assert_eq!(of("s2=10")?, ("s2".into(), At::Number(10)));
    assert_eq!(of("last=-1")?, ("last".into(), At::Number(-1)));
    assert_eq!(of("end")?, ("end".into(), At::Number(-1)));
    assert_eq!(of("end=end")?, ("end".into(), At::Column("end".into())));
    assert_eq!(of("io_pos")?, ("io_pos".into(), At::Column("io_pos".into())));
    assert!(of("=3").is_err() && of("io=").is_err() && of("3").is_err());
    Ok(())
}

#[test]
fn cells_are_numbers_or_words() -> Result<()> {
    let prompt = build_prompts(&[PromptEntry::ids([4, 9, 4, 12])], None, 100, None, Bos::default())?.remove(0);
    let at = |cell: &str| position_in(cell, &prompt);
    assert_eq!((at("0")?, at(" 3 ")?, at("-1")?, at("-4")?), (0, 3, 3, 0));
    assert_eq!((at("#9")?, at("#9#4")?, at("#4#12")?), (1, 2, 3));
    assert_eq!((at("#4@1")?, at("#4@2")?, at("#4@-1")?, at("#4@-2")?, at("#9@1")?), (0, 2, 2, 0, 1));
    for (cell, says) in [
        ("4", "has 4 positions"),
        ("-5", "has 4 positions"),
        ("#4", "more than once, 2 times"),
        ("#7", "is not in"),
        ("#7@1", "\"#7\" is not in"),
        ("#4@3", "2 times, and @3"),
        ("#4@-3", "2 times, and @-3"),
        ("#4@0", "2 times, and @0"),
        ("#9@2", "once, and @2"),
        ("@1", "is not in"),
    ] {
        assert!(at(cell).unwrap_err().message().contains(says), "{cell}");
    }
    Ok(())
}
