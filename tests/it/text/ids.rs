//! Token ids as people write them.

use pellucid::text::ids::{ids_of, literal, parse_ids};

#[test]
fn ids_in_every_way_that_they_are_written() {
    for text in ["1,2,3", "1 2 3", " 1, 2,\t3 ", "[1, 2, 3]", "[1 2\n 3]", "1 ,2 , 3", "[1,2,3]\n"] {
        assert_eq!(parse_ids(text).unwrap(), [1, 2, 3], "{text:?}");
    }
    assert_eq!((parse_ids("").unwrap(), parse_ids("[]").unwrap(), parse_ids("7").unwrap()), (vec![], vec![], vec![7]));
}

#[test]
fn a_missing_id_is_named_by_its_place() {
    for (text, place) in
        [("1,,2", 2), (",", 1), (",1", 1), ("1,2,", 3), ("1, ,2", 2), ("1 2,,3", 3), ("[,]", 1), ("[1,2,]", 3)]
    {
        let e = parse_ids(text).unwrap_err().to_string();
        assert!(e.ends_with(&format!("no token id in its place {place}")), "{text:?}: {e}");
    }
    for (text, part) in [("1,x", "x"), ("-1", "-1"), ("4294967296", "4294967296"), ("1.5", "1.5"), ("[[1]]", "[1]")] {
        assert_eq!(parse_ids(text).unwrap_err().to_string(), format!("`{part}` is not a token id"));
    }
}

#[test]
fn a_second_hash_makes_text_of_ids() {
    assert!(ids_of("#1 thing").is_none() && ids_of("#").is_none() && ids_of("##1").is_none() && ids_of("1").is_none());
    assert_eq!(ids_of("#1,2").unwrap().unwrap(), [1, 2]);
    assert!(ids_of("#1,,2").unwrap().is_err());
    assert_eq!(
        (literal("##1"), literal("###1"), literal("##"), literal("##a"), literal("#1")),
        ("#1", "##1", "##", "##a", "#1")
    );
}
