//! Parquet files that claim more than they hold.

use crate::bin::Place;

/// A file of nothing but a footer: version 1, and a schema of as many columns as `columns` says in Thrift's numbers of seven bits.
fn footer_alone(columns: &[u8]) -> Vec<u8> {
    let mut footer = vec![0x15, 0x02, 0x19, 0xFC];
    footer.extend_from_slice(columns);
    // One of them, without a field.
    footer.extend_from_slice(&[0, 0]);
    let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
    [&b"PAR1"[..], &footer, &length, b"PAR1"].concat()
}

#[test]
fn a_footer_that_claims_a_billion_columns_gets_no_room_for_them() {
    let place = Place::new();
    // 2^31 - 1, and 2^29 - 1: of these a reader would make room for 68 and 17 GB.
    for (name, claim) in [("most", &[0xFF, 0xFF, 0xFF, 0xFF, 0x07][..]), ("many", &[0xFF, 0xFF, 0xFF, 0xFF, 0x01])] {
        let file = format!("{name}.parquet");
        place.write(&file, footer_alone(claim));
        let says = format!("the footer of the parquet file {file} is damaged");
        place.refused(["chart", &file], 2, &says);
        place.refused(["lens", "--prompts", &file], 2, &says);
    }
    // What the footer's length counts does not lie in the file.
    let mut far = footer_alone(&[1]);
    let at = far.len() - 8;
    far[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    place.write("far.parquet", far);
    place.refused(["chart", "far.parquet"], 2, "the parquet file far.parquet is cut short");
}
