//! Writes the messages of onnx.proto3 that a rewritten graph needs, and those of tests.

/// Encodes a field with a number.
pub fn number(field: u8, value: i64) -> Vec<u8> {
    [varint(u64::from(field) << 3), varint(value.cast_unsigned())].concat()
}

/// Encodes a field with bytes, a text or a message.
pub fn bytes(field: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(u64::from(field) << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut coded = Vec::new();
    while value >= 0x80 {
        coded.push(value as u8 | 0x80);
        value >>= 7;
    }
    coded.push(value as u8);
    coded
}

/// `TensorProto.DataType`.
pub const FLOAT: i64 = 1;
pub const UINT8: i64 = 2;
pub const INT8: i64 = 3;
pub const INT32: i64 = 6;
pub const INT64: i64 = 7;
pub const STRING: i64 = 8;

/// Encodes a tensor. Its content need not match its dimensions.
pub fn tensor(name: &str, kind: i64, dims: &[i64], content: Option<&[u8]>) -> Vec<u8> {
    let dims = dims.iter().flat_map(|&dim| number(1, dim)).collect();
    let content = content.map(|content| bytes(9, content)).unwrap_or_default();
    [dims, number(2, kind), bytes(8, name), content].concat()
}

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> Vec<u8> {
    tensor(name, FLOAT, dims, Some(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>()))
}

pub fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let content: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, INT64, &[values.len().cast_signed() as i64], Some(&content))
}

/// Encodes a node; `rest` are its attributes and its domain.
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str], rest: Vec<u8>) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|name| bytes(1, name)).collect();
    let outputs = outputs.iter().flat_map(|name| bytes(2, name)).collect();
    [inputs, outputs, bytes(4, operator), rest].concat()
}

pub fn domain(name: &str) -> Vec<u8> {
    bytes(7, name)
}

/// Encodes an attribute with a number.
pub fn integer_attribute(name: &str, value: i64) -> Vec<u8> {
    bytes(5, [bytes(1, name), number(3, value), number(20, 2)].concat())
}

/// Encodes name, type and shape of an input or output. A negative dimension means any size.
pub fn value(name: &str, kind: i64, dims: &[i64]) -> Vec<u8> {
    let dims = dims.iter().flat_map(|&dim| bytes(1, if dim < 0 { bytes(2, "any") } else { number(1, dim) }));
    bytes(1, name)
        .into_iter()
        .chain(bytes(2, bytes(1, [number(1, kind), bytes(2, dims.collect::<Vec<_>>())].concat())))
        .collect()
}
