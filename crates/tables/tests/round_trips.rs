//! Reads files and writes them with one more column. The values are ones that are easily altered on
//! the way.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, Date64Array, DictionaryArray, Int32Array, LargeStringArray, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use serde_json::json;
use tables::{
    CellKind, CsvOptions, Error, IfExists, NewColumn, OutputFile, PathPolicy, Projection, TableFile, ValueKind,
    output_location,
};
use tempfile::TempDir;

/// A folder with one input.
struct Input {
    folder: TempDir,
    path: PathBuf,
}

impl Input {
    fn new(name: &str, content: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        Self { folder, path }
    }

    fn open(&self) -> TableFile {
        TableFile::open(&self.path, &PathPolicy::Unrestricted, CsvOptions::default()).unwrap()
    }

    /// Writes the rows again, each with `prediction` `p`; returns the path of the output.
    fn rewrite(&self) -> Result<PathBuf, Error> {
        let mut input = self.open();
        let location = output_location(&input, None, &PathPolicy::Unrestricted)?;
        let output = OutputFile::claim(location, &input, IfExists::Refuse)?;
        let partial = output.create()?;
        let new = NewColumn { name: "prediction".into(), kind: ValueKind::Text };
        let mut writer = input.writer(output.path(), &partial, vec![new])?;
        for chunk in input.rows(&[], Projection::All)? {
            let chunk = chunk?;
            let values = vec![vec![json!("p")]; chunk.rows.len()];
            writer.write(chunk, values)?;
        }
        writer.finish()?;
        output.commit(partial, &input)?;
        Ok(output.path().to_owned())
    }

    /// The cells of a column, in chunks.
    fn chunks(&self, column: &str, kind: CellKind) -> Vec<Vec<Result<String, Error>>> {
        let mut input = self.open();
        let column = input.column(column, kind).unwrap();
        let chunks = input.rows(&[column], Projection::Selected).unwrap();
        chunks.map(|chunk| chunk.unwrap().rows.into_iter().map(|mut row| row.cells.remove(0)).collect()).collect()
    }

    fn texts(&self, column: &str, kind: CellKind) -> Vec<String> {
        self.chunks(column, kind).into_iter().flatten().map(Result::unwrap).collect()
    }
}

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
    check("bom.csv", b"\xEF\xBB\xBF\"id\",text\n1,a\n", b"\xEF\xBB\xBF\"id\",text,prediction\n1,a,p\n");
}

#[test]
fn the_column_of_texts_is_found_among_others_with_one_name() {
    for content in ["id,text,,,\n1,one two,,,\n", "sep=;\nid;text\n1;one two\n", "id,text\r1,one two\r"] {
        let input = Input::new("in.csv", content.as_bytes());
        let mut table = input.open();
        let column = table.text_column(&[]).unwrap();
        assert_eq!(column.column, "text");
        let row = table.rows(&[column], Projection::Selected).unwrap().next().unwrap().unwrap().rows.remove(0);
        assert_eq!(row.cells, [Ok("one two".into())]);
    }
}

fn parquet(columns: Vec<(&str, ArrayRef)>, metadata: &[(&str, &str)]) -> Input {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect())
            .unwrap();
    let pairs = metadata.iter().map(|(key, value)| KeyValue::new((*key).into(), (*value).to_owned())).collect();
    let properties = WriterProperties::builder()
        .set_dictionary_page_size_limit(64 << 20)
        .set_coerce_types(true)
        .set_key_value_metadata(Some(pairs))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Input::new("in.parquet", &bytes)
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[test]
fn parquet_keeps_its_types_and_the_metadata_of_others() {
    let dates: ArrayRef = Arc::new(Date64Array::from(vec![1_577_836_800_000, 0]));
    let texts: ArrayRef = Arc::new(LargeStringArray::from(vec![Some("a"), None]));
    let codes: ArrayRef = Arc::new(["x", "y"].into_iter().collect::<DictionaryArray<Int32Type>>());
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None]));
    let mut words = LargeListBuilder::new(StringBuilder::new());
    words.append_value([Some("a"), Some("b")]);
    words.append_null();
    let words: ArrayRef = Arc::new(words.finish());
    let columns = [("date", dates), ("text", texts), ("code", codes), ("list", lists), ("words", words)];
    let input = parquet(columns.to_vec(), &[("geo", "{}"), ("pandas", "{\"index_columns\":[]}")]);
    let output = input.rewrite().unwrap();
    let (before, after) = (read(&input.path), read(&output));
    for (name, _) in &columns {
        assert_eq!(after.column_by_name(name), before.column_by_name(name), "{name}");
    }
    let metadata = ParquetRecordBatchReaderBuilder::try_new(File::open(&output).unwrap()).unwrap();
    let pairs = metadata.metadata().file_metadata().key_value_metadata().unwrap();
    let keys: Vec<&str> = pairs.iter().map(|pair| pair.key.as_str()).filter(|key| *key != "ARROW:schema").collect();
    assert_eq!(keys, ["geo", "pandas"]);
    let date = metadata.parquet_schema().column(0);
    assert_eq!(date.logical_type_ref(), Some(&parquet::basic::LogicalType::Date));
    assert_eq!(input.chunks("words", CellKind::List)[0][0], Ok("[\"a\",\"b\"]".into()));
}

#[test]
fn parquet_columns_with_one_name_are_told_apart_by_their_number() {
    let column = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let input = parquet(vec![("t", column("first")), ("t", column("second"))], &[]);
    assert_eq!(input.texts("1", CellKind::Text), ["first"]);
    assert_eq!(input.texts("2", CellKind::Text), ["second"]);
    let batch = read(&input.rewrite().unwrap());
    assert_eq!((batch.column(0), batch.column(1)), (&column("first"), &column("second")));
}

#[test]
fn old_parquet_timestamps_do_not_overflow() {
    let schema = parquet::schema::parser::parse_message_type("message m { required int96 at; }").unwrap();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    // 9999-12-31, as a Julian day.
    column.typed::<Int96Type>().write_batch(&[Int96::from(vec![0, 0, 5_373_484])], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let batch = read(&Input::new("in.parquet", &bytes).rewrite().unwrap());
    let expected: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![253_402_214_400_000_000]));
    assert_eq!(batch.column(0), &expected);
}

#[test]
fn a_long_value_that_all_rows_share_is_read_in_small_chunks() {
    let long = "x".repeat(3 << 20);
    let keys = Int32Array::from(vec![0; 200]);
    let values = Arc::new(StringArray::from(vec![long.as_str()]));
    let dictionary = DictionaryArray::<Int32Type>::new(keys, values);
    let plain = arrow_cast::cast(&dictionary.slice(0, 20), &DataType::Utf8).unwrap();
    let columns: [ArrayRef; 2] = [Arc::new(dictionary), plain];
    for column in columns {
        let input = parquet(vec![("text", Arc::clone(&column))], &[]);
        assert!(fs::metadata(&input.path).unwrap().len() < 8 << 20);
        let mut table = input.open();
        let text = table.column("text", CellKind::Text).unwrap();
        let lengths = table.rows(&[text], Projection::All).unwrap().take(3).map(|chunk| chunk.unwrap().rows.len());
        assert_eq!(lengths.collect::<Vec<_>>(), [1, 1, 1]);
    }
}

#[test]
fn the_size_of_unpacked_rows_counts_against_the_limit() {
    let text = format!("id,text\n{}", "1,hello\n".repeat(100_000));
    let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let input = Input::new("in.csv.zst", &packed);
    let policy = PathPolicy::within([input.folder.path().to_owned()], 100_000);
    let mut table = TableFile::open("in.csv.zst".as_ref(), &policy, CsvOptions::default()).unwrap();
    let error = table.rows(&[], Projection::Selected).unwrap().find_map(Result::err).unwrap();
    assert!(matches!(error, Error::UnpackedTooLarge { limit: 100_000, .. }), "{error}");
}
