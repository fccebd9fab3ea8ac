//! CSV, JSON lines and text lines.

use std::fs;

use tables::{CsvOptions, Error, PathPolicy, TableFile};

use crate::input::Input;

#[track_caller]
fn check(name: &str, content: &[u8], expected: &[u8]) {
    let written = fs::read(Input::new(name, content).rewrite().unwrap()).unwrap();
    let (written, expected) = (String::from_utf8_lossy(&written), String::from_utf8_lossy(expected));
    assert_eq!(written, expected, "{name}");
}

#[test]
fn csv_is_passed_on_as_it_is_written() {
    check("cr.csv", b"id,text\n1,one\rtwo\n", b"id,text,prediction\n1,\"one\rtwo\",p\n");
    check("cr2.csv", b"id,text,x\n1,one\rtwo,KEEP\n", b"id,text,x,prediction\n1,\"one\rtwo\",KEEP,p\n");
    check("empty.csv", b"id,text\n\"\",\n", b"id,text,prediction\n\"\",,p\n");
    check("latin-1.csv", b"gr\xF6\xDFe, pad \n1,2\n", b"gr\xF6\xDFe, pad ,prediction\n1,2,p\n");
    check("trailing.csv", b"id,text,,,\n1,a,,,\n", b"id,text,,,,prediction\n1,a,,,,p\n");
    check("sep.csv", b"sep=;\r\nid;text\r\n1;a,b\r\n", b"sep=;\r\nid;text;prediction\r\n1;a,b;p\r\n");
    check("mac.csv", b"id,text\r1,a\r2,\"b\nc\"\r", b"id,text,prediction\r1,a,p\r2,\"b\nc\",p\r");
    check("mac.txt", b"good\rbad\r\r\"so, so\"", b"text,prediction\ngood,p\nbad,p\n,p\n\"\"\"so, so\"\"\",p\n");
    check("one.csv", b"text\ngood\n\nbad\n", b"text,prediction\ngood,p\n,p\nbad,p\n");
    check("bom.csv", b"\xEF\xBB\xBF\"id\",text\n1,a\n", b"\xEF\xBB\xBF\"id\",text,prediction\n1,a,p\n");
}

#[test]
fn the_column_of_texts_is_found_among_others_with_one_name() {
    for content in ["id,text,,,\n1,one two,,,\n", "sep=;\nid;text\n1;one two\n", "id,text\r1,one two\r"] {
        let input = Input::new("in.csv", content.as_bytes());
        let mut table = input.open();
        let column = table.text_column(&[]).unwrap();
        assert_eq!(column.column, "text");
        let row = table.rows(&[column]).unwrap().next().unwrap().unwrap().rows.remove(0);
        assert_eq!(row.cells, [Ok("one two".into())]);
    }
}

#[test]
fn the_size_of_unpacked_rows_counts_against_the_limit() {
    let text = format!("id,text\n{}", "1,hello\n".repeat(100_000));
    let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let input = Input::new("in.csv.zst", &packed);
    let policy = PathPolicy::within([input.folder.path().to_owned()], 100_000);
    let mut table = TableFile::open("in.csv.zst".as_ref(), &policy, CsvOptions::default()).unwrap();
    let error = table.rows(&[]).unwrap().find_map(Result::err).unwrap();
    assert!(matches!(error, Error::UnpackedTooLarge { limit: 100_000, .. }), "{error}");
}

#[test]
fn json_lines_are_passed_on_as_they_are_written() {
    check(
        "in.jsonl",
        b" { \"a\": 1.0, \"text\":\"x\", \"text\" : \"\\u0079\" }\r\n{}\n",
        b"{ \"a\": 1.0, \"text\":\"x\", \"text\" : \"\\u0079\",\"prediction\":\"p\"}\n{\"prediction\":\"p\"}\n",
    );
}

#[test]
fn a_file_has_at_most_16384_columns_and_no_row_takes_more_memory() {
    let header = |names: usize| vec!["x"; names].join(",");
    let open = |content: String| {
        let input = Input::new("in.csv", content.as_bytes());
        TableFile::open(&input.path, &PathPolicy::Unrestricted, CsvOptions::default())
    };
    let error = open(header(16_385) + "\n1\n").unwrap_err().to_string();
    assert!(
        error.ends_with("has 16385 columns; expected at most 16384; leave out those that are not needed"),
        "{error}"
    );
    let mut wide = open(header(16_384) + "\n" + &"1\n".repeat(100)).unwrap();
    let lengths: Vec<usize> = wide.rows(&[]).unwrap().map(|chunk| chunk.unwrap().rows.len()).collect();
    assert!(lengths.len() > 10 && lengths.iter().sum::<usize>() == 100, "{lengths:?}");
    let mut ragged = open("text,id\n".to_owned() + &",".repeat(1_000_000) + "\n").unwrap();
    let text = ragged.text_column(&[]).unwrap();
    let row = ragged.rows(&[text]).unwrap().next().unwrap().unwrap().rows.remove(0);
    assert_eq!(
        row.cells[0].as_ref().unwrap_err().to_string(),
        "the row has 1000001 fields; expected 2 as in the header; put fields that hold the delimiter into quotes"
    );
}

#[test]
fn a_name_that_is_very_long_is_shortened_in_every_error() {
    let input = Input::new("in.csv", format!("text,{}\na,b\n", "y".repeat(100_000)).as_bytes());
    let table = input.open();
    let column = table.column("2", tables::CellKind::Text).unwrap();
    let cell = Error::BadCell { column: column.column, found: "null".into(), expected: "a string" };
    assert!(cell.to_string().len() < 100);
    assert!(table.column("none", tables::CellKind::Text).unwrap_err().to_string().len() < 300);
}
