//! Unusual files and the result of each: an output in which bad rows have an error, or one clear
//! error.
//!
//! The scripted model labels a text of up to two words `short`, of up to five `middle`, otherwise
//! `long`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int64Array, LargeStringArray, StringArray};
use batch::FileJob;
use parquet::basic::Compression;
use tables::{IfExists, MAX_ROW_BYTES};

use crate::support::project::{Project, gunzip, gzip, parquet, zstd};

enum Gets {
    /// This output, under this name.
    Output(&'static str, &'static str),
    /// An output with this number of rows, the rows that failed, and the beginning of the first
    /// reason.
    Rows(u64, &'static [u64], &'static str),
    /// No output, and an error that contains this.
    Error(&'static str),
}
use Gets::{Error, Output, Rows};

#[track_caller]
fn utf16(text: &str) -> Vec<u8> {
    [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Name, content and expected result.
fn files() -> Vec<(&'static str, Vec<u8>, Gets)> {
    let plain = "id,text\n1,hello\n";
    let predicted = "id,text,prediction,confidence\n1,hello,short,0.7\n";
    let huge_text = "x".repeat(1001);
    let huge_line = "x".repeat(MAX_ROW_BYTES + 1);
    vec![
        (
            "bom.csv",
            joined(&[b"\xEF\xBB\xBF", plain.as_bytes()]),
            Output("bom.predicted.csv", "\u{FEFF}id,text,prediction,confidence\n1,hello,short,0.7\n"),
        ),
        (
            "crlf.csv",
            plain.replace('\n', "\r\n").into_bytes(),
            Output("crlf.predicted.csv", "id,text,prediction,confidence\r\n1,hello,short,0.7\r\n"),
        ),
        ("no final line end.csv", b"id,text\n1,hello".to_vec(), Output("no final line end.predicted.csv", predicted)),
        (
            "newline inside.csv",
            b"id,text\n1,\"two\nlines\"\n".to_vec(),
            Output("newline inside.predicted.csv", "id,text,prediction,confidence\n1,\"two\nlines\",short,0.7\n"),
        ),
        (
            "quotes inside.csv",
            b"id,text\n1,\"say \"\"hi\"\", you\"\n".to_vec(),
            Output(
                "quotes inside.predicted.csv",
                "id,text,prediction,confidence\n1,\"say \"\"hi\"\", you\",middle,0.55\n",
            ),
        ),
        (
            "open quote.csv",
            b"id,text\n1,\"open\n2,fine\n".to_vec(),
            Rows(2, &[1], "the row opens a quote that is never closed"),
        ),
        (
            "open quote meets another.csv",
            b"id,text\n1,\"open\n2,fine\n3,\"so, so\"\n".to_vec(),
            Rows(3, &[1], "the row opens a quote"),
        ),
        (
            "too few fields.csv",
            b"id,text,x\n1,hello\n2,hello,3\n".to_vec(),
            Output(
                "too few fields.predicted.csv",
                "id,text,x,prediction,confidence,error\n\
            1,hello,,,,the row has 2 fields; expected 3 as in the header; put fields that hold the delimiter into quotes\n\
            2,hello,3,short,0.7,\n",
            ),
        ),
        (
            "too many fields.csv",
            b"id,text\n1,well, hello\n".to_vec(),
            Output(
                "too many fields.predicted.csv",
                "id,text,prediction,error\n\
            1,\"well, hello\",,the row has 3 fields; expected 2 as in the header; put fields that hold the delimiter into quotes\n",
            ),
        ),
        (
            "semicolons.csv",
            b"id;text\n1;one, two\n".to_vec(),
            Output("semicolons.predicted.csv", "id;text;prediction;confidence\n1;one, two;short;0.7\n"),
        ),
        (
            "tabs.tsv",
            b"id\ttext\n1\tone, two\n".to_vec(),
            Output("tabs.predicted.tsv", "id\ttext\tprediction\tconfidence\n1\tone, two\tshort\t0.7\n"),
        ),
        ("same name twice.csv", b"text,text\na,b\n".to_vec(), Error("cannot tell which column holds the text")),
        ("other names.csv", b"id,remarks\n1,not so bad at all\n".to_vec(), Rows(1, &[], "")),
        ("two texts.csv", b"title,remarks\nnot so bad,quite good\n".to_vec(), Error("the file has `title`, `remarks`")),
        ("empty.csv", Vec::new(), Error("the file has no rows; it has no bytes")),
        ("header only.csv", b"id,text\n".to_vec(), Error("the file has no rows; it has a header at most")),
        (
            "one column.csv",
            b"anything\nhello\n".to_vec(),
            Output("one column.predicted.csv", "anything,prediction,confidence\nhello,short,0.7\n"),
        ),
        ("utf-16.csv", utf16(plain), Error("is UTF-16; expected CSV")),
        ("utf-16 without a mark.csv", utf16(plain)[2..].to_vec(), Error("binary or UTF-16 without a mark")),
        (
            "latin-1.csv",
            b"id,text\n1,caf\xE9 bar\n2,hello\n".to_vec(),
            Rows(2, &[1], "`text` is not UTF-8 from byte 4 on"),
        ),
        ("nul.csv", b"id,text\n1,a\0b and some more words\n".to_vec(), Rows(1, &[], "")),
        (
            "huge text.csv",
            format!("id,text\n1,{huge_text}\n2,hello\n").into_bytes(),
            Rows(2, &[1], "text, pair and labels have 1001 bytes"),
        ),
        (
            "huge line.csv",
            format!("id,text\n{huge_line}\n2,hello\n").into_bytes(),
            Rows(2, &[1], "the row has 16777217 bytes"),
        ),
        ("blank texts.csv", b"id,text\n1,\n2,  \n3,hello\n".to_vec(), Rows(3, &[1, 2], "`text` is empty or blank")),
        (
            "too few fields by far.csv",
            b"id,text,x,y\nhello\n2,hello,3,4\n".to_vec(),
            Rows(2, &[1], "the row has 1 field; expected 4 as in the header"),
        ),
        ("empty lines of one column.csv", b"text\nhello\n\nyou\n".to_vec(), Rows(3, &[2], "`text` is empty or blank")),
        (
            "old mac.txt",
            b"hello\rwell, you\r".to_vec(),
            Output("old mac.predicted.csv", "text,prediction,confidence\nhello,short,0.7\n\"well, you\",short,0.7\n"),
        ),
        ("blank lines.csv", b"id,text\n\n1,hello\n\n".to_vec(), Output("blank lines.predicted.csv", predicted)),
        (
            "prediction there.csv",
            b"text,prediction\nhello,x\n".to_vec(),
            Output(
                "prediction there.predicted.csv",
                "text,prediction,local_model_prediction,local_model_confidence\nhello,x,short,0.7\n",
            ),
        ),
        ("fails.csv", b"text\nfail\npanic\nhello\n".to_vec(), Rows(3, &[1, 2], "model `fake` could not run this text")),
        ("cut.csv.gz", gzip(plain.repeat(1000).as_bytes())[..60].to_vec(), Error("cannot be read after row")),
        ("gz without its name.csv", gzip(plain.as_bytes()), Rows(1, &[], "")),
        ("two members.csv.gz", joined(&[&gzip(b"id,text\n1,hello\n"), &gzip(b"2,you\n")]), Rows(2, &[], "")),
        ("zst.jsonl.zst", zstd(b"{\"text\":\"hello\"}\n"), Rows(1, &[], "")),
        ("cut.csv.zst", zstd(plain.repeat(9000).as_bytes())[..20].to_vec(), Error("cannot be read")),
        ("damaged.parquet", b"PAR1 and nothing else".to_vec(), Error("cannot be read after row 0")),
        ("text.parquet", plain.as_bytes().to_vec(), Error("not Parquet, despite its name")),
        ("sheet.xlsx", b"PK\x03\x04....".to_vec(), Error("a zip or Excel file")),
        ("list.json", b"[{\"text\": \"hello\"}]".to_vec(), Error("`jq -c '.[]'`")),
        ("unknown.dat", plain.as_bytes().to_vec(), Error("is a file with an unknown extension")),
        (
            "objects.csv",
            b"{\"text\": \"hello\"}\n".to_vec(),
            Output("objects.predicted.jsonl", "{\"text\": \"hello\",\"prediction\":\"short\",\"confidence\":0.7}\n"),
        ),
        (
            "no object.jsonl",
            b"{\"text\":\"hello\"}\n[1]\n\n".to_vec(),
            Output(
                "no object.predicted.jsonl",
                concat!(
                    "{\"text\":\"hello\",\"prediction\":\"short\",\"confidence\":0.7}\n",
                    "{\"line\":\"[1]\",\"error\":\"the row is not a JSON object; ",
                    "expected one JSON object a line, such as {\\\"text\\\": \\\"…\\\"}\"}\n",
                    "{\"line\":\"\",\"error\":\"the row is empty; expected one JSON object a line, such as {\\\"text\\\": \\\"…\\\"}\"}\n"
                ),
            ),
        ),
        (
            "missing field.jsonl",
            b"{\"text\":\"hello\"}\n{\"id\":1}\n".to_vec(),
            Rows(2, &[2], "`text` is not in the row"),
        ),
        (
            "number.jsonl",
            b"{\"text\":7}\n{\"text\":null}\n{\"text\":[]}\n{\"text\":\"\\ud800\"}\n".to_vec(),
            Rows(4, &[1, 2, 3, 4], "`text` is a number; expected a string"),
        ),
        (
            "spelling.jsonl",
            b"{ \"id\": 12345678901234567890.10, \"text\": \"h\\u0069\" }\n".to_vec(),
            Output(
                "spelling.predicted.jsonl",
                "{ \"id\": 12345678901234567890.10, \"text\": \"h\\u0069\",\"prediction\":\"short\",\"confidence\":0.7}\n",
            ),
        ),
        (
            "lines.txt",
            b"hello\n\nwell, hello you\n".to_vec(),
            Output(
                "lines.predicted.csv",
                "text,prediction,confidence,error\nhello,short,0.7,\n\
            ,,,`text` is empty or blank; send the text to classify\n\"well, hello you\",middle,0.55,\n",
            ),
        ),
    ]
}

#[tokio::test]
async fn every_awkward_file_gets_an_output_or_a_clear_error() {
    let files = files();
    assert!(files.len() >= 40);
    for (name, content, gets) in files {
        let place = Project::new();
        place.write(name, content);
        check(&place, place.job(name), name, gets).await;
    }
}

async fn check(place: &Project, job: FileJob, name: &str, gets: Gets) {
    let outcome = place.run(job).await;
    match (gets, outcome) {
        (Output(output, expected), Ok(summary)) => {
            assert_eq!(summary.output, fs::canonicalize(place.root()).unwrap().join(output), "{name}");
            assert_eq!(place.read(output), expected, "{name}");
        }
        (Rows(rows, failed, reason), Ok(summary)) => {
            assert_eq!((summary.rows, summary.failed.first.as_slice()), (rows, failed), "{name}: {summary:?}");
            let found = summary.reasons.first().map(String::as_str).unwrap_or_default();
            assert!(found.starts_with(reason) && (found.is_empty() == reason.is_empty()), "{name}: {found}");
            assert_eq!(place.names().len(), 2, "{name}: {:?}", place.names());
        }
        (Error(expected), Err(error)) => {
            assert!(error.to_string().contains(expected), "{name}: {error}");
            assert_eq!(place.names().len(), 1, "{name}: nothing is left of it: {:?}", place.names());
        }
        (_, outcome) => panic!("{name}: {outcome:?}"),
    }
}

#[tokio::test]
async fn text_columns_of_every_kind_of_string_are_read_from_parquet() {
    let texts = [Some("hello"), None, Some("well, hello you")];
    let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
    let kinds: [(&str, ArrayRef); 3] = [
        ("plain", Arc::new(StringArray::from_iter(texts))),
        ("large", Arc::new(LargeStringArray::from_iter(texts))),
        ("dictionary", Arc::new(dictionary)),
    ];
    for (kind, texts) in kinds {
        for codec in [Compression::SNAPPY, Compression::ZSTD(Default::default()), Compression::GZIP(Default::default())]
        {
            let place = Project::new();
            let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
            parquet(&place.path("in.parquet"), vec![("id", ids.clone()), ("body", Arc::clone(&texts))], codec);
            let summary = place.run(place.job("in.parquet")).await.unwrap();
            assert_eq!((summary.rows, summary.failed.first), (3, vec![2]), "{kind}");
            let batch = read_parquet(&place.path("in.predicted.parquet"));
            let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("{kind} has no {name}"));
            assert_eq!(column("id"), &ids, "{kind}");
            assert_eq!(column("body"), &texts, "{kind}: the type is kept");
            let predicted: ArrayRef = Arc::new(StringArray::from(vec![Some("short"), None, Some("middle")]));
            assert_eq!(column("prediction"), &predicted, "{kind}");
            assert!(column("error").is_null(0) && !column("error").is_null(1), "{kind}");
        }
    }
}

fn read_parquet(path: &Path) -> arrow_array::RecordBatch {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    reader.build().unwrap().next().unwrap().unwrap()
}

#[tokio::test]
async fn a_parquet_column_without_text_is_refused() {
    let place = Project::new();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["hello"]));
    parquet(&place.path("in.parquet"), vec![("id", ids), ("a", text.clone()), ("b", text)], Compression::SNAPPY);
    let error = place.run(FileJob { text_column: Some("id".into()), ..place.job("in.parquet") }).await.unwrap_err();
    let expected = "column `id` holds Int64; expected text; name another one, the file has `id`, `a`, `b`";
    assert_eq!(error.to_string(), expected);
    let error = place.run(place.job("in.parquet")).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot tell which column holds the text"), "{error}");
}

#[tokio::test]
async fn nested_fields_numbers_of_columns_and_files_without_a_header() {
    let place = Project::new();
    place.write("nested.jsonl", "{\"a\":{\"b\":\"hello\"}}\n{\"a\":5}\n");
    let job = FileJob { text_column: Some("a.b".into()), ..place.job("nested.jsonl") };
    check(&place, job, "nested", Rows(2, &[2], "`a.b` is not in the row")).await;
    let place = Project::new();
    place.write("bare.csv", "1,hello\n2,well hello you\n");
    let mut job = FileJob { text_column: Some("2".into()), ..place.job("bare.csv") };
    job.csv_options.header = false;
    check(
        &place,
        job,
        "bare",
        Output("bare.predicted.csv", "1,2,prediction,confidence\n1,hello,short,0.7\n2,well hello you,middle,0.55\n"),
    )
    .await;
    let place = Project::new();
    place.write("odd.csv", "id^text\n1^hello, you\n");
    let mut job = place.job("odd.csv");
    job.csv_options.delimiter = Some(b'^');
    check(&place, job, "odd", Output("odd.predicted.csv", "id^text^prediction^confidence\n1^hello, you^short^0.7\n"))
        .await;
}

#[tokio::test]
async fn compression_goes_by_the_name_of_the_output() {
    let place = Project::new();
    place.write("in.csv", "text\nhello\n");
    place.run(FileJob { output: Some("out.tsv.gz".into()), ..place.job("in.csv") }).await.unwrap();
    assert_eq!(gunzip(&place.path("out.tsv.gz")), "text\tprediction\tconfidence\nhello\tshort\t0.7\n");
    let error = place.run(FileJob { output: Some("out.parquet".into()), ..place.job("in.csv") }).await.unwrap_err();
    assert!(error.to_string().contains("is named as Parquet; expected `….csv`"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn paths_outside_the_project_are_refused_with_the_rule() {
    use std::os::unix::fs::symlink;
    let outside = Project::new();
    outside.write("secret.csv", "text\nhello\n");
    let place = Project::new();
    place.write("in.csv", "text\nhello\n");
    fs::create_dir(place.path("folder.csv")).unwrap();
    symlink(outside.path("secret.csv"), place.path("link.csv")).unwrap();
    symlink(outside.root(), place.path("away")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(place.path("pipe.csv")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket.csv")).unwrap();
    let absolute = outside.path("secret.csv").to_str().unwrap().to_owned();
    for (path, expected) in [
        ("missing.csv", "cannot be opened: No such file"),
        ("folder.csv", "is a directory; expected a regular file; name a file in it"),
        ("link.csv", "goes through a link; files must be below"),
        ("away/secret.csv", "goes through a link"),
        ("../secret.csv", "contains `..`"),
        (absolute.as_str(), "is outside"),
        ("/dev/null", "is outside"),
        ("pipe.csv", "is a pipe; expected a regular file"),
        ("socket.csv", "is a socket"),
    ] {
        let error = place.run(place.job(path)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{path}: {error}");
    }
    for (output, expected) in [
        ("link.csv", "goes through a link"),
        ("away/out.csv", "goes through a link"),
        ("../out.csv", "contains `..`"),
        ("/tmp/out.csv", "is outside"),
        ("in.csv", "is the input itself"),
        ("folder.csv", "is a directory"),
        ("no/out.csv", "its folder cannot be used"),
    ] {
        let job = FileJob { output: Some(output.into()), if_exists: IfExists::Overwrite, ..place.job("in.csv") };
        let error = place.run(job).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{output}: {error}");
    }
    assert_eq!(outside.names(), ["secret.csv"]);
    assert_eq!(place.script.runs(), 0);
    assert!(place.run(place.job(place.path("in.csv").to_str().unwrap())).await.is_ok(), "absolute and below is fine");
}
