//! Reads the numbers of fp32 tensors, also from files next to the graph, and writes tensors.

use std::collections::BTreeMap;

use onnx_facts::protobuf::{Value, field, integer, integers, raw_fields, text};
use onnx_facts::writer::{FLOAT, INT64, bytes, tensor};

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: u64 = 1;

/// The files of weights next to a graph, by the names that the graph uses.
pub type WeightFiles = BTreeMap<String, Vec<u8>>;

/// A tensor of fp32 numbers in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    pub dims: Vec<usize>,
    pub values: Vec<f32>,
}

impl Weight {
    /// Returns rows and columns, if the tensor is a matrix that is not empty.
    pub fn matrix(&self) -> Option<(usize, usize)> {
        match *self.dims {
            [rows, columns] if rows * columns > 0 => Some((rows, columns)),
            _ => None,
        }
    }

    /// Swaps rows and columns of a matrix.
    pub fn transposed(self) -> Self {
        let Some((rows, columns)) = self.matrix() else { return self };
        let mut values = Vec::with_capacity(self.values.len());
        for column in 0..columns {
            values.extend((0..rows).map(|row| self.values[row * columns + column]));
        }
        Self { dims: vec![columns, rows], values }
    }
}

/// Returns the data type of a tensor.
pub fn data_type(tensor: &[u8]) -> Result<i64, String> {
    // An enum: of a longer number, only the low 32 bits are read.
    Ok((integer(tensor, 2)?.unwrap_or(0) & u64::from(u32::MAX)).cast_signed())
}

/// Returns the sizes of a tensor.
pub fn dims(tensor: &[u8]) -> Result<Vec<usize>, String> {
    let dims = integers(tensor, 1)?;
    dims.into_iter().map(|dim| usize::try_from(dim).map_err(|_| "a tensor in it has an absurd size".into())).collect()
}

/// Reads a tensor of fp32 numbers; `None` for other types.
pub fn read(tensor: &[u8], files: &WeightFiles) -> Result<Option<Weight>, String> {
    if data_type(tensor)? != FLOAT {
        return Ok(None);
    }
    let name = text(field(tensor, 8)?.unwrap_or_default())?;
    let dims = dims(tensor)?;
    let content = content(tensor, files)?;
    let count = dims.iter().try_fold(4usize, |bytes, dim| bytes.checked_mul(*dim));
    if count != Some(content.len()) {
        return Err(format!("its weight `{name}` has {} bytes, which do not fit its shape {dims:?}", content.len()));
    }
    let values: Vec<f32> = content.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(format!("its weight `{name}` has numbers that are infinite or not a number"));
    }
    Ok(Some(Weight { dims, values }))
}

/// Reads a tensor of whole numbers; `None` for other types.
pub fn read_integers(tensor: &[u8], files: &WeightFiles) -> Result<Option<Vec<i64>>, String> {
    if data_type(tensor)? != INT64 {
        return Ok(None);
    }
    let unpacked = integers(tensor, 7)?;
    if !unpacked.is_empty() {
        return Ok(Some(unpacked.into_iter().map(u64::cast_signed).collect()));
    }
    let numbers = content(tensor, files)?.as_chunks().0;
    Ok(Some(numbers.iter().map(|number| i64::from_le_bytes(*number)).collect()))
}

/// Reads a tensor of one number of 8 bits, written as a byte or as `int32_data`.
pub fn read_byte(tensor: &[u8]) -> Result<Option<u8>, String> {
    let number = match field(tensor, 9)? {
        Some(content) => content.first().copied(),
        None => integers(tensor, 5)?.first().map(|&number| number as u8),
    };
    Ok(number)
}

/// Returns the bytes of a tensor, wherever they stand.
pub fn content<'a>(tensor: &'a [u8], files: &'a WeightFiles) -> Result<&'a [u8], String> {
    if integer(tensor, 14)? != Some(EXTERNAL) {
        // `raw_data`, or packed `float_data`, which has the same bytes.
        return Ok(field(tensor, 9)?.or(field(tensor, 4)?).unwrap_or_default());
    }
    let (mut file, mut start, mut length) = (None, 0, None);
    for part in raw_fields(tensor) {
        let (13, Value::Bytes(entry), _) = part? else { continue };
        let value = text(field(entry, 2)?.unwrap_or_default())?;
        let count = || value.parse::<usize>().map_err(|_| format!("a weight in it has the place `{value}`"));
        match field(entry, 1)? {
            Some(b"location") => file = Some(value),
            Some(b"offset") => start = count()?,
            Some(b"length") => length = Some(count()?),
            _ => {}
        }
    }
    let name = file.unwrap_or_default();
    let file = files.get(name).ok_or_else(|| format!("its weights file `{name}` is missing"))?;
    let end = length.map_or(Some(file.len()), |length| start.checked_add(length));
    let part = end.and_then(|end| file.get(start..end));
    part.ok_or_else(|| format!("its weights file `{name}` has {} bytes and is too short", file.len()))
}

/// Returns the message of a tensor with its content inside.
pub fn with_content(tensor: &[u8], files: &WeightFiles) -> Result<Option<Vec<u8>>, String> {
    if integer(tensor, 14)? != Some(EXTERNAL) {
        return Ok(None);
    }
    let mut copy = Vec::new();
    for part in raw_fields(tensor) {
        match part? {
            (9 | 13 | 14, _, _) => {}
            (_, _, raw) => copy.extend_from_slice(raw),
        }
    }
    copy.extend(bytes(9, content(tensor, files)?));
    Ok(Some(copy))
}

/// Encodes a tensor.
pub fn encode(name: &str, data_type: i64, dims: &[usize], content: &[u8]) -> Vec<u8> {
    let dims: Vec<i64> = dims.iter().map(|dim| dim.cast_signed() as i64).collect();
    tensor(name, data_type, &dims, Some(content))
}
