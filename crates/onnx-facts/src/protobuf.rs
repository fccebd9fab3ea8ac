//! Reads protobuf messages field by field, without copying and without a schema.
//!
//! Anything that ONNX Runtime's parser could read differently is rejected: groups, field number 0,
//! and tags that do not fit 32 bits.

/// The content of one field.
pub enum Value<'a> {
    Number(u64),
    /// A string, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// A number of 4 or 8 bytes, little endian.
    Fixed(&'a [u8]),
}

/// The fields of one message, in order. Ends after the first error.
pub struct Fields<'a>(pub &'a [u8]);

/// Longest encoding of a tag: five times seven bits hold 32.
const MAX_TAG_BYTES: usize = 5;
const MAX_VARINT_BYTES: usize = 10;
const TRUNCATED: &str = "it is truncated, or not an ONNX model";

impl<'a> Fields<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self, max_bytes: usize) -> Option<u64> {
        let mut number = 0;
        for index in 0..max_bytes {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = u32::try_from(self.varint(MAX_TAG_BYTES)?).ok()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint(MAX_VARINT_BYTES)?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = self.varint(MAX_VARINT_BYTES)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(self.take(4)?),
            _ => return None,
        };
        let number = tag >> 3;
        (number > 0).then_some((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| TRUNCATED.into()))
    }
}

/// A field's number, its content, and the bytes of both.
pub type RawField<'a> = (u32, Value<'a>, &'a [u8]);

/// The fields of a message with their bytes, for copies.
pub fn raw_fields(message: &[u8]) -> impl Iterator<Item = Result<RawField<'_>, String>> {
    let mut fields = Fields(message);
    std::iter::from_fn(move || {
        let before = fields.0;
        let field = fields.next()?;
        let raw = &before[..before.len() - fields.0.len()];
        Some(field.map(|(number, value)| (number, value, raw)))
    })
}

/// Returns the last field of this number that holds bytes.
///
/// # Errors
/// Part of a sentence, if the message is cut or no protobuf.
pub fn field(message: &[u8], number: u32) -> Result<Option<&[u8]>, String> {
    let mut found = None;
    for field in Fields(message) {
        if let (this, Value::Bytes(content)) = field? {
            found = if this == number { Some(content) } else { found };
        }
    }
    Ok(found)
}

/// Returns the last number in this field of a message.
///
/// # Errors
/// Part of a sentence, if the message is cut or no protobuf.
pub fn integer(message: &[u8], number: u32) -> Result<Option<u64>, String> {
    let mut found = None;
    for field in Fields(message) {
        if let (this, Value::Number(value)) = field? {
            found = if this == number { Some(value) } else { found };
        }
    }
    Ok(found)
}

/// Returns the numbers in this field of a message, packed or one by one.
///
/// # Errors
/// Part of a sentence, if the message is cut or no protobuf.
pub fn integers(message: &[u8], number: u32) -> Result<Vec<u64>, String> {
    let mut found = Vec::new();
    for field in Fields(message) {
        match field? {
            (this, Value::Number(value)) if this == number => found.push(value),
            (this, Value::Bytes(several)) if this == number => found.extend(packed(several)?),
            _ => {}
        }
    }
    Ok(found)
}

/// Returns packed numbers.
///
/// # Errors
/// Part of a sentence, if one of them is cut.
pub fn packed(bytes: &[u8]) -> Result<Vec<u64>, String> {
    let (mut rest, mut numbers) = (Fields(bytes), Vec::new());
    while !rest.0.is_empty() {
        numbers.push(rest.varint(MAX_VARINT_BYTES).ok_or(TRUNCATED)?);
    }
    Ok(numbers)
}

/// Returns the bytes of a name as text.
///
/// # Errors
/// Part of a sentence, if it is not UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a name in it is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(message: &[u8]) -> bool {
        Fields(message).any(|field| field.is_err())
    }

    #[test]
    fn tags_that_another_parser_would_truncate_are_refused() {
        // Field 13, two bytes of content.
        assert!(!is_refused(&[0x6a, 2, b'a', b'b']));
        // The same in the low 32 bits, with bit 32 set.
        assert!(is_refused(&[0xea, 0x80, 0x80, 0x80, 0x10, 2, b'a', b'b']));
        // The same, padded to six bytes.
        assert!(is_refused(&[0xea, 0x80, 0x80, 0x80, 0x80, 0, 2, b'a', b'b']));
    }

    #[test]
    fn field_zero_and_groups_are_refused() {
        assert!(is_refused(&[0x02, 0]));
        assert!(is_refused(&[0x0b, 0x0c]));
    }
}
