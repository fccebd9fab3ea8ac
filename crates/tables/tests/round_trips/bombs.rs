//! Small files that ask for much memory, written byte by byte since no library writes them.

use std::io::Write;

use tables::{CellKind, CsvOptions, Error, PathPolicy, TableFile};

use crate::input::Input;

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7F {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn integer(number: u64) -> Vec<u8> {
    varint(number << 1)
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn list(kind: u8, items: &[Vec<u8>]) -> Vec<u8> {
    [vec![0xF0 | kind], varint(items.len() as u64), items.concat()].concat()
}

/// A struct of fields: number, kind and value.
fn fields(fields: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut last) = (Vec::new(), 0);
    for (number, kind, value) in fields {
        bytes.push((number - last) << 4 | kind);
        bytes.extend(value);
        last = *number;
    }
    bytes.push(0);
    bytes
}

fn page(body: &[u8], values: u64, unpacked: u64, encoding: u64) -> Vec<u8> {
    let levels = [3, 4].map(|number| (number, I32, integer(3)));
    let header = fields(&[[(1, I32, integer(values)), (2, I32, integer(encoding))], levels].concat());
    let sizes = [(2, I32, integer(unpacked)), (3, I32, integer(body.len() as u64))];
    [fields(&[[(1, I32, integer(0))].as_slice(), &sizes, &[(5, STRUCT, header)]].concat()), body.to_vec()].concat()
}

fn dictionary(values: u64) -> Vec<u8> {
    let header = fields(&[(1, I32, integer(values)), (2, I32, integer(0))]);
    fields(&[(1, I32, integer(2)), (2, I32, integer(0)), (3, I32, integer(0)), (7, STRUCT, header)])
}

/// A file with the column `text`, which has these pages in each of its row groups.
fn file(pages: &[u8], rows: u64, codec: u64, groups: usize) -> Vec<u8> {
    let node = |name: &[u8], own: (u8, u8, Vec<u8>)| {
        let mut all = vec![(4, BINARY, binary(name)), own];
        all.sort_by_key(|(number, ..)| *number);
        all
    };
    let mut text = node(b"text", (6, I32, integer(0)));
    text.splice(0..0, [(1, I32, integer(6)), (3, I32, integer(0))]);
    let schema = [fields(&node(b"schema", (5, I32, integer(1)))), fields(&text)];
    let sizes = [(6, I64, integer(pages.len() as u64)), (7, I64, integer(pages.len() as u64)), (9, I64, integer(4))];
    let kinds = [
        (1, I32, integer(6)),
        (2, LIST, list(I32, &[integer(0)])),
        (3, LIST, list(BINARY, &[binary(b"text")])),
        (4, I32, integer(codec)),
        (5, I64, integer(rows)),
    ];
    let chunk = fields(&[(2, I64, integer(4)), (3, STRUCT, fields(&[kinds.as_slice(), &sizes].concat()))]);
    let group =
        fields(&[(1, LIST, list(STRUCT, &[chunk])), (2, I64, integer(pages.len() as u64)), (3, I64, integer(rows))]);
    let footer = fields(&[
        (1, I32, integer(1)),
        (2, LIST, list(STRUCT, &schema)),
        (3, I64, integer(rows)),
        (4, LIST, list(STRUCT, &vec![group; groups])),
    ]);
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1".as_slice(), pages, &footer, &length, b"PAR1"].concat()
}

/// Reads all texts; returns their number or the error.
fn read(content: &[u8]) -> Result<usize, Error> {
    let input = Input::new("in.parquet", content);
    let policy = PathPolicy::within([input.folder.path().to_owned()], 1 << 30);
    let mut table = TableFile::open("in.parquet".as_ref(), &policy, CsvOptions::default())?;
    let text = table.column("text", CellKind::Text)?;
    table.rows(&[text])?.try_fold(0, |rows, chunk| Ok(rows + chunk?.rows.len()))
}

#[track_caller]
fn check(content: &[u8], expected: &str) {
    let error = read(content).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_pages_of_these_tests_are_sound() {
    let texts = [[5, 0, 0, 0].as_slice(), b"hello"].concat().repeat(3);
    assert_eq!(read(&file(&page(&texts, 3, texts.len() as u64, 0), 3, 0, 1)), Ok(3));
    assert_eq!(read(&file(&page(&gzip(&texts), 3, texts.len() as u64, 0), 3, 2, 1)), Ok(3));
}

#[test]
fn pages_that_take_too_much_memory_are_refused_before_it_is_allocated() {
    let limit = "bytes in pages that are read together; expected at most 201326592; write it again with smaller pages";
    check(&file(&page(b"", 3, (1 << 31) - 1, 0), 3, 6, 1), limit);
    check(&file(&[dictionary((1 << 31) - 1), page(&[0], 3, 1, 8)].concat(), 3, 0, 1), limit);
    check(&file(&page(&[0; 100], 3, 16 << 20, 7), 3, 6, 1), limit);
}

#[test]
fn pages_that_lie_about_their_size_are_refused() {
    check(&file(&page(&gzip(&[0; 5000]), 3, 4999, 0), 3, 2, 1), "a page is larger than it says");
    let lengths = [[0x80, 1, 4].as_slice(), &varint(1 << 40), &[0]].concat();
    check(&file(&page(&lengths, 3, lengths.len() as u64, 6), 3, 0, 1), "the lengths of strings in a page are damaged");
    check(&file(&[0xFF; 40], 3, 0, 1), "the header of a page is damaged");
}

#[test]
fn metadata_that_makes_an_output_larger_than_its_input_is_refused() {
    check(&file(&page(&[0; 300], 3, 300, 0), 3, 0, 2), "its metadata is damaged");
    check(&file(&page(b"", 0, 0, 0), 1 << 40, 0, 1), "unpacks to more than 1073741824 bytes");
}
