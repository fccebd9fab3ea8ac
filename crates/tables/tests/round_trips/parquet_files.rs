//! Parquet: what is copied, and what is read.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, DictionaryArray,
    Float32Array, Float64Array, Int32Array, LargeStringArray, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::column::writer::ColumnWriter;
use parquet::file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tables::CellKind;

use crate::input::Input;

fn file(columns: Vec<(&str, ArrayRef)>, metadata: &[(&str, &str)]) -> Input {
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
fn simple_values_are_read_as_they_are_written() {
    let decimals = Decimal128Array::from(vec![-125, 70]).with_precision_and_scale(9, 2).unwrap();
    let kinds: [(&str, ArrayRef, [&str; 2]); 8] = [
        ("flag", Arc::new(BooleanArray::from(vec![true, false])), ["true", "false"]),
        ("integer", Arc::new(Int32Array::from(vec![-7, 0])), ["-7", "0"]),
        ("large", Arc::new(UInt64Array::from(vec![u64::MAX, 1])), ["18446744073709551615", "1"]),
        ("single", Arc::new(Float32Array::from(vec![0.1, 2.0])), ["0.1", "2.0"]),
        ("double", Arc::new(Float64Array::from(vec![0.9307, -1e300])), ["0.9307", "-1e300"]),
        ("decimal", Arc::new(decimals), ["-1.25", "0.70"]),
        ("date", Arc::new(Date32Array::from(vec![0, 20_000])), ["1970-01-01", "2024-10-04"]),
        ("bytes", Arc::new(BinaryArray::from(vec![b"good".as_slice(), b""])), ["good", ""]),
    ];
    for (name, values, expected) in kinds {
        let input = file(vec![(name, values)], &[]);
        assert_eq!(input.texts(name, CellKind::Value), expected, "{name}");
    }
    let numbers: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]));
    assert_eq!(file(vec![("list", numbers)], &[]).texts("list", CellKind::List), ["[\"1\",null]"]);
    let none: ArrayRef = Arc::new(Int32Array::from(vec![None]));
    let error = file(vec![("none", none)], &[]).chunks("none", CellKind::Value)[0][0].clone().unwrap_err();
    assert_eq!(error.to_string(), "`none` is null; expected a string");
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]));
    let error = file(vec![("time", times)], &[]).open().column("time", CellKind::Value).unwrap_err();
    let expected = "column `time` holds Timestamp(µs); expected text; name another one, the file has `time`";
    assert_eq!(error.to_string(), expected);
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
    let input = file(columns.to_vec(), &[("geo", "{}"), ("pandas", "{\"index_columns\":[]}")]);
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
    let input = file(vec![("t", column("first")), ("t", column("second"))], &[]);
    assert_eq!(input.texts("1", CellKind::Text), ["first"]);
    assert_eq!(input.texts("2", CellKind::Text), ["second"]);
    let batch = read(&input.rewrite().unwrap());
    assert_eq!((batch.column(0), batch.column(1)), (&column("first"), &column("second")));
}

/// Types that Arrow does not have, or changes.
const TYPES: &str = "message spark_schema {
    required binary text (STRING);
    optional fixed_len_byte_array(16) id (UUID);
    optional binary json (JSON);
    optional binary bson (BSON);
    optional binary enum (ENUM);
    optional int64 time (TIME(MICROS,true));
    optional int64 at (TIMESTAMP(MILLIS,false));
    optional fixed_len_byte_array(9) decimal (DECIMAL(20,2));
    optional fixed_len_byte_array(12) interval (INTERVAL);
    optional fixed_len_byte_array(2) half (FLOAT16);
    optional int96 old;
    optional float number;
    optional group old_list (LIST) { repeated int32 array; }
    repeated int32 repeated;
    optional group map (MAP) {
        repeated group key_value { required binary key; optional group value { required boolean a; } }
    }
}";

/// Writes a file with these types, without values except for `text`, in row groups of 2, 0 and 1
/// rows.
fn every_type() -> Vec<u8> {
    let properties = WriterProperties::builder().set_created_by("parquet-mr version 1.8.1".into()).build();
    let schema = Arc::new(parse_message_type(TYPES).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    for rows in [2, 0, 1] {
        let mut group = writer.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            let levels = vec![0; rows];
            match column.untyped() {
                ColumnWriter::ByteArrayColumnWriter(column) if column.get_descriptor().name() == "text" => {
                    column.write_batch(&vec!["one two".into(); rows], None, None).map(drop)
                }
                ColumnWriter::ByteArrayColumnWriter(column) => {
                    column.write_batch(&[], Some(&levels), Some(&levels)).map(drop)
                }
                ColumnWriter::BoolColumnWriter(column) => {
                    column.write_batch(&[], Some(&levels), Some(&levels)).map(drop)
                }
                ColumnWriter::Int32ColumnWriter(column) => {
                    column.write_batch(&[], Some(&levels), Some(&levels)).map(drop)
                }
                ColumnWriter::Int64ColumnWriter(column) => column.write_batch(&[], Some(&levels), None).map(drop),
                ColumnWriter::Int96ColumnWriter(column) => column.write_batch(&[], Some(&levels), None).map(drop),
                ColumnWriter::FloatColumnWriter(column) => column.write_batch(&[], Some(&levels), None).map(drop),
                ColumnWriter::FixedLenByteArrayColumnWriter(column) => {
                    column.write_batch(&[], Some(&levels), None).map(drop)
                }
                ColumnWriter::DoubleColumnWriter(column) => column.write_batch(&[], Some(&levels), None).map(drop),
            }
            .unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn columns_are_copied_byte_for_byte_whatever_their_types() {
    let input = Input::new("in.parquet", &every_type());
    let output = input.rewrite().unwrap();
    let contents = [&input.path, &output].map(|path| fs::read(path).unwrap());
    let [before, after] = [&input.path, &output]
        .map(|path| SerializedFileReader::new(File::open(path).unwrap()).unwrap().metadata().clone());
    let fields = |metadata: &ParquetMetaData| metadata.file_metadata().schema().get_fields().to_vec();
    let mut own = fields(&after);
    assert_eq!(own.pop().unwrap().name(), "prediction");
    assert_eq!((own, after.file_metadata().schema().name()), (fields(&before), "spark_schema"));
    assert_eq!(after.file_metadata().created_by(), Some("parquet-mr version 1.8.1"));
    let rows = |metadata: &ParquetMetaData| -> Vec<i64> {
        metadata.row_groups().iter().map(RowGroupMetaData::num_rows).collect()
    };
    assert_eq!(rows(&after), rows(&before));
    for (before, after) in before.row_groups().iter().zip(after.row_groups()) {
        for (before, after) in before.columns().iter().zip(after.columns()) {
            let pages = [(before, &contents[0]), (after, &contents[1])].map(|(chunk, content)| {
                let (start, length) = chunk.byte_range();
                &content[start as usize..(start + length) as usize]
            });
            assert_eq!(pages[1], pages[0], "{}", before.column_path());
        }
    }
    assert_eq!(input.texts("text", CellKind::Text), ["one two"; 3]);
    let read = SerializedFileReader::new(File::open(&output).unwrap()).unwrap();
    assert_eq!(read.get_row_iter(None).unwrap().map(Result::unwrap).count(), 3);
}

#[test]
fn a_long_value_that_all_rows_share_is_read_in_small_chunks() {
    let long = "x".repeat(3 << 20);
    let keys = Int32Array::from(vec![0; 200]);
    let values = Arc::new(StringArray::from(vec![long.as_str()]));
    let dictionary = DictionaryArray::<Int32Type>::new(keys, values);
    let plain = StringArray::from(vec![long.as_str(); 20]);
    let columns: [ArrayRef; 2] = [Arc::new(dictionary), Arc::new(plain)];
    for column in columns {
        let input = file(vec![("text", Arc::clone(&column))], &[]);
        assert!(fs::metadata(&input.path).unwrap().len() < 8 << 20);
        let mut table = input.open();
        let text = table.column("text", CellKind::Text).unwrap();
        let lengths = table.rows(&[text]).unwrap().take(3).map(|chunk| chunk.unwrap().rows.len());
        assert_eq!(lengths.collect::<Vec<_>>(), [1, 1, 1]);
    }
}
