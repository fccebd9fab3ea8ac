//! Reads Thrift's compact protocol, as far as is needed to check sizes in a Parquet file before the
//! library allocates memory for them.
//!
//! Every method returns `None` for bytes that are not valid.

/// Levels of nesting that are followed. Parquet's own structures have fewer than ten.
pub(super) const MAX_DEPTH: usize = 32;
/// Elements of a list that has no limit of its own.
const MAX_ELEMENTS: usize = 1 << 16;

pub(super) const STRUCT: u8 = 12;
const TRUE: u8 = 1;
const FALSE: u8 = 2;

/// The bytes that are not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compact<'a>(pub(super) &'a [u8]);

/// A field of a struct, whose value comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) id: i64,
    pub(super) kind: u8,
}

impl<'a> Compact<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn integer(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads an integer that is a size or a count.
    pub(super) fn size(&mut self) -> Option<usize> {
        usize::try_from(self.integer()?).ok()
    }

    /// Reads the fields of a struct up to its end. `visit` reads the values of the fields that it
    /// wants and returns whether it did; other values are skipped.
    ///
    /// Every field may occur once, in rising order, as writers put them.
    pub(super) fn fields(&mut self, mut visit: impl FnMut(&mut Self, Field) -> Option<bool>) -> Option<()> {
        self.fields_below(MAX_DEPTH, &mut visit)
    }

    fn fields_below(&mut self, depth: usize, visit: &mut dyn FnMut(&mut Self, Field) -> Option<bool>) -> Option<()> {
        let mut last = 0;
        loop {
            let head = self.byte()?;
            let (delta, kind) = (i64::from(head >> 4), head & 0xF);
            if kind == 0 {
                return Some(());
            }
            let id = if delta == 0 { self.integer()? } else { last + delta };
            if id <= last {
                return None;
            }
            last = id;
            if !visit(self, Field { id, kind })? {
                self.skip(kind, depth)?;
            }
        }
    }

    /// Reads the beginning of a list; returns the number and kind of its elements.
    pub(super) fn list(&mut self) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => usize::try_from(self.unsigned()?).ok()?,
            count => usize::from(count),
        };
        // Every element has at least one byte.
        (count <= self.0.len()).then_some((count, head & 0xF))
    }

    /// Skips a value of a field.
    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => Some(()),
            _ => self.skip_element(kind, depth),
        }
    }

    /// Skips a value in a list, where booleans have a byte.
    pub(super) fn skip_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        let below = depth.checked_sub(1)?;
        match kind {
            TRUE | FALSE | 3 => self.byte().map(drop),
            4..=6 => self.unsigned().map(drop),
            7 => self.take(8).map(drop),
            8 => {
                let length = usize::try_from(self.unsigned()?).ok()?;
                self.take(length).map(drop)
            }
            9 | 10 => {
                let (count, kind) = self.list()?;
                (count <= MAX_ELEMENTS).then_some(())?;
                (0..count).try_for_each(|_| self.skip_element(kind, below))
            }
            STRUCT => self.fields_below(below, &mut |_, _| Some(false)),
            13 => self.take(16).map(drop),
            // Maps do not occur in Parquet.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_values_are_read_and_others_skipped() {
        // 1: i32 -3, 2: binary "ab", 4: true, 5: list of structs with one byte each, 20: i64 300.
        let bytes = [0x15, 5, 0x18, 2, b'a', b'b', 0x21, 0x19, 0x1C, 0x13, 9, 0, 0x06, 40, 0xD8, 4, 0, 99];
        let mut seen = Vec::new();
        let mut reader = Compact(&bytes);
        let visited = reader.fields(|reader, field| {
            let wanted = matches!(field.id, 1 | 20);
            if wanted {
                seen.push((field.id, reader.integer()?));
            }
            Some(wanted)
        });
        assert_eq!((visited, seen, reader.0), (Some(()), vec![(1, -3), (20, 300)], [99].as_slice()));
    }

    #[test]
    fn what_is_cut_out_of_order_or_nested_too_deeply_is_refused() {
        let refused = |bytes: &[u8]| Compact(bytes).fields(|_, _| Some(false)).is_none();
        assert!(refused(&[0x15]));
        assert!(refused(&[0x18, 200, 1, b'a', 0]));
        assert!(refused(&[0x15, 2, 0x05, 2, 2, 0]), "the same field again");
        assert!(refused(&[0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0x0F, 0]), "a list longer than the file");
        assert!(refused(&[0x1C; 1000]));
        assert!(!refused(&[0x1C, 0x1C, 0, 0, 0]));
    }
}
