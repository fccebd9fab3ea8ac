//! Records and fields, compared with the csv crate.

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

#[track_caller]
fn records(bytes: &[u8]) -> Vec<(Vec<String>, bool)> {
    let mut records = open(bytes);
    let mut all = Vec::new();
    while let Some((record, problem)) = records.next().unwrap() {
        let fields = record.iter().map(|field| String::from_utf8_lossy(&decode(field)).into_owned()).collect();
        all.push((fields, problem.is_some()));
    }
    all
}

fn open(bytes: &[u8]) -> Records {
    Records::new(Box::new(io::Cursor::new(bytes.to_vec())), b',', b'\n').unwrap()
}

fn decoded(record: &Record) -> Vec<Vec<u8>> {
    record.iter().map(|field| decode(field).into_owned()).collect()
}

#[track_caller]
fn check(bytes: &[u8], expected: &[(&[&str], bool)]) {
    let expected: Vec<(Vec<String>, bool)> =
        expected.iter().map(|(fields, bad)| (fields.iter().map(ToString::to_string).collect(), *bad)).collect();
    assert_eq!(records(bytes), expected);
}

#[test]
fn quotes_hold_delimiters_line_ends_and_quotes() {
    check(b"a,\"b\nc,\"\"d\"\"\"\r\ne,f", &[(&["a", "b\nc,\"d\""], false), (&["e", "f"], false)]);
    check(b"say \"hi\",5\"\n", &[(&["say \"hi\"", "5\""], false)]);
    check(b"\n\r\na\n\n\"\"\n", &[(&["a"], false), (&[""], false)]);
}

#[test]
fn a_carriage_return_inside_a_field_belongs_to_it() {
    check(b"1,one\rtwo,3\r\n4,\r,\"\r\"\n", &[(&["1", "one\rtwo", "3"], false), (&["4", "\r", "\r"], false)]);
}

#[test]
fn files_of_old_systems_end_their_lines_with_a_carriage_return() {
    let bytes = b"\xEF\xBB\xBFid,text\r1,\"two\rlines\"\r2,b";
    let mut records = Records::new(Box::new(io::Cursor::new(bytes)), b',', b'\r').unwrap();
    for expected in [["id", "text"], ["1", "two\rlines"], ["2", "b"]] {
        assert_eq!(decoded(&records.next().unwrap().unwrap().0), expected.map(|field| field.as_bytes().to_vec()));
    }
}

#[test]
fn fields_keep_their_spelling_unless_another_reader_would_split_them() {
    for field in ["", "\"\"", "a b", "\"a,b\"", "5\"", "say \"hi\"", "\"a\"b"] {
        assert_eq!(rewrite(field.as_bytes(), b','), field.as_bytes());
    }
    assert_eq!(rewrite(b"a\rb", b','), b"\"a\rb\"".as_slice());
    assert_eq!(rewrite(b"a;b", b';'), b"\"a;b\"".as_slice());
}

#[test]
fn a_quote_that_is_never_closed_costs_its_own_line_only() {
    check(
        b"a,b\n1,\"open\n2,fine\n3,\"also\nfine\"\n",
        &[(&["a", "b"], false), (&["1", "\"open"], true), (&["2", "fine"], false), (&["3", "also\nfine"], false)],
    );
    check(b"a,b\n1,\"open\n2,fine\n", &[(&["a", "b"], false), (&["1", "\"open"], true), (&["2", "fine"], false)]);
}

#[test]
fn records_of_every_width_and_length_come_out_whole() {
    let wide = vec!["x"; 500].join(",");
    let long = "y".repeat(200_000);
    let found = records(format!("{wide}\n{long},z\n").as_bytes());
    assert_eq!(found[0].0.len(), 500);
    assert_eq!(found[1].0, [long.as_str(), "z"]);
}

#[test]
fn a_record_over_the_limit_is_skipped() {
    let mut bytes = vec![b'x'; MAX_ROW_BYTES + 10];
    bytes.extend_from_slice(b"\nafter,it\n");
    let found = records(&bytes);
    assert!(found[0].1);
    assert_eq!(found[1], (vec!["after".into(), "it".into()], false));
}

/// Cells that often contain the characters that matter in CSV.
fn cell() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![prop::sample::select(b"\"\",\n\r ab".to_vec()), any::<u8>()], 0..12)
}

proptest! {
    #[test]
    fn an_encoded_field_is_decoded_as_it_was(text in cell()) {
        let mut record = Record::default();
        record.push(&encode(&text, b','));
        record.push(&encode(b"\"", b','));
        prop_assert_eq!(decoded(&record), [text, b"\"".to_vec()]);
    }

    #[test]
    fn records_of_the_csv_crate_are_read_as_they_were(rows in prop::collection::vec(prop::collection::vec(cell(), 1..5), 0..8)) {
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        rows.iter().for_each(|row| writer.write_record(row).unwrap());
        let written = writer.into_inner().unwrap();
        let mut records = open(&written);
        for row in rows {
            let (record, problem) = records.next().unwrap().unwrap();
            prop_assert!(problem.is_none());
            prop_assert_eq!(decoded(&record), row);
        }
        prop_assert!(records.next().unwrap().is_none());
    }

    #[test]
    fn sound_records_are_read_as_by_the_csv_crate_and_any_bytes_come_to_an_end(bytes in prop::collection::vec(cell(), 0..12)) {
        let bytes = bytes.concat();
        let mut records = open(&bytes);
        let mut found = Vec::new();
        let mut sound = true;
        while let Some((record, problem)) = records.next().unwrap() {
            sound &= problem.is_none();
            found.push(decoded(&record));
            prop_assert!(found.len() <= bytes.len());
        }
        let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(&bytes[..]);
        let expected: Vec<Vec<Vec<u8>>> =
            reader.byte_records().map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect()).collect();
        // There, a lone carriage return ends a row. Here, it is a part of the field.
        if sound && !bytes.contains(&b'\r') {
            prop_assert_eq!(found, expected);
        }
    }
}
