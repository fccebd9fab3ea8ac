//! Chooses the tokens to read from a text that is over the model's limit.
//!
//! Pure arithmetic on token positions; the tokens themselves are cut in `tokenizer`.

#![expect(clippy::single_range_in_vec_init, reason = "a window is a list of ranges, usually of one")]

use std::ops::Range;

use tokenizers::utils::truncation::TruncationDirection;

use crate::settings::Overflow;

/// The ranges of tokens that one run reads, in order.
pub(crate) type Window = Vec<Range<usize>>;

/// Further windows are not read, and the prediction is marked as truncated.
const MAX_WINDOWS: usize = 64;

/// Returns the windows over `length` tokens, of at most `limit` tokens each. Only
/// `Overflow::Windows` makes more than one.
pub(crate) fn windows(length: usize, limit: usize, overflow: Overflow, direction: TruncationDirection) -> Vec<Window> {
    if length <= limit {
        return vec![vec![0..length]];
    }
    match (overflow, direction) {
        (Overflow::Head | Overflow::Error, TruncationDirection::Right) => vec![vec![0..limit]],
        (Overflow::Head | Overflow::Error, TruncationDirection::Left) => vec![vec![length - limit..length]],
        (Overflow::HeadTail, _) => {
            let tail = limit / 2;
            vec![vec![0..limit - tail, length - tail..length]]
        }
        (Overflow::Windows, _) => {
            // A quarter is read twice, so that a phrase cut by one window is whole in the next.
            let step = limit - limit / 4;
            let count = ((length - limit).div_ceil(step) + 1).min(MAX_WINDOWS);
            let all = (length - limit).div_ceil(step) < MAX_WINDOWS;
            let start = |number: usize| {
                // The last window ends with the text, so that all windows have the same length.
                if all && number + 1 == count { length - limit } else { number * step }
            };
            (0..count).map(start).map(|start| vec![start..start + limit]).collect()
        }
    }
}

/// Counts the tokens that at least one window reads.
pub(crate) fn covered(windows: &[Window]) -> usize {
    let mut end = 0;
    windows.iter().flatten().fold(0, |count, range| {
        let fresh = range.end.saturating_sub(range.start.max(end));
        end = end.max(range.end);
        count + fresh
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(length: usize, overflow: Overflow, expected: &[&[Range<usize>]]) {
        assert_eq!(windows(length, 8, overflow, TruncationDirection::Right), expected);
    }

    #[test]
    fn a_text_that_fits_is_read_once() {
        for overflow in [Overflow::Head, Overflow::HeadTail, Overflow::Windows] {
            check(8, overflow, &[&[0..8]]);
        }
    }

    #[test]
    fn head_and_tail_read_the_ends() {
        check(20, Overflow::Head, &[&[0..8]]);
        check(20, Overflow::HeadTail, &[&[0..4, 16..20]]);
        assert_eq!(windows(20, 8, Overflow::Head, TruncationDirection::Left), [[12..20]]);
    }

    #[test]
    fn windows_overlap_and_the_last_ends_with_the_text() {
        check(9, Overflow::Windows, &[&[0..8], &[1..9]]);
        check(20, Overflow::Windows, &[&[0..8], &[6..14], &[12..20]]);
        let many = windows(10_000, 8, Overflow::Windows, TruncationDirection::Right);
        assert_eq!((many.len(), many[63].clone()), (MAX_WINDOWS, vec![378..386]));
        assert_eq!(covered(&many), 386);
    }
}
