//! Checks the lengths of strings in a page with a delta encoding.
//!
//! The library allocates memory for as many lengths as the page announces, which may be billions.

use parquet::basic::Encoding;
use parquet::column::page::Page;

use super::thrift::Compact;

/// Returns whether the page announces no more lengths than values. Pages with other encodings have
/// no lengths to announce.
pub(super) fn are_plausible(page: &Page, max_levels: [i16; 2]) -> bool {
    check(page, max_levels).is_some()
}

fn check(page: &Page, max_levels: [i16; 2]) -> Option<()> {
    let lists = match page.encoding() {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        // The lengths of the shared beginnings come first.
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => return Some(()),
    };
    let bytes = match page {
        Page::DataPage { buf, def_level_encoding, rep_level_encoding, num_values, .. } => {
            let mut rest: &[u8] = buf;
            for (max, encoding) in max_levels.into_iter().zip([rep_level_encoding, def_level_encoding]) {
                rest = without_levels(rest, max, *encoding, *num_values)?;
            }
            rest
        }
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let levels = def_levels_byte_len.checked_add(*rep_levels_byte_len)?;
            buf.get(levels as usize..)?
        }
        Page::DictionaryPage { .. } => return None,
    };
    let mut reader = Compact(bytes);
    (0..lists).try_for_each(|_| skip_lengths(&mut reader, u64::from(page.num_values())))
}

/// Skips the levels of a page of the first version.
fn without_levels(bytes: &[u8], max: i16, encoding: Encoding, values: u32) -> Option<&[u8]> {
    if max == 0 {
        return Some(bytes);
    }
    let length = match encoding {
        #[allow(deprecated, reason = "old files have it")]
        Encoding::BIT_PACKED => (u64::from(values) * u64::from(max.ilog2() + 1)).div_ceil(8),
        _ => {
            let (length, _) = bytes.split_first_chunk()?;
            4 + u64::from(u32::from_le_bytes(*length))
        }
    };
    bytes.get(usize::try_from(length).ok()?..)
}

/// Skips one list of integers in the encoding DELTA_BINARY_PACKED.
fn skip_lengths(reader: &mut Compact<'_>, limit: u64) -> Option<()> {
    let (block, miniblocks) = (reader.unsigned()?, reader.unsigned()?);
    let count = reader.unsigned()?;
    let _first = reader.unsigned()?;
    (count <= limit).then_some(())?;
    let size = block.checked_div(miniblocks).filter(|size| *size > 0)?;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let _smallest = reader.unsigned()?;
        let widths = reader.take(usize::try_from(miniblocks).ok()?)?;
        for width in widths {
            if left > 0 {
                reader.take(usize::try_from(size.checked_mul(u64::from(*width))? / 8).ok()?)?;
                left = left.saturating_sub(size);
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(encoding: Encoding, buf: Vec<u8>) -> Page {
        Page::DataPageV2 {
            buf: buf.into(),
            num_values: 3,
            encoding,
            num_nulls: 0,
            num_rows: 3,
            def_levels_byte_len: 1,
            rep_levels_byte_len: 0,
            is_compressed: false,
            statistics: None,
        }
    }

    #[test]
    fn a_page_has_no_more_lengths_than_values() {
        let lengths = |count| [0x80, 1, 4, count, 2, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
        let once = |count| page(Encoding::DELTA_LENGTH_BYTE_ARRAY, [&[0], lengths(count).as_slice()].concat());
        let twice = |count| {
            let parts = [[0].as_slice(), &lengths(3), &lengths(count)];
            page(Encoding::DELTA_BYTE_ARRAY, parts.concat())
        };
        for (make, expected) in [(&once as &dyn Fn(u8) -> Page, [true, false]), (&twice, [true, false])] {
            assert_eq!([3, 4].map(|count| are_plausible(&make(count), [0, 1])), expected);
        }
        assert!(!are_plausible(&page(Encoding::DELTA_LENGTH_BYTE_ARRAY, vec![0, 0x80, 1, 0, 3, 2]), [0, 1]));
    }
}
