//! Which tokens of a text are read when it has more than the model takes. Pure arithmetic over token numbers.

#![expect(clippy::single_range_in_vec_init, reason = "a window is a list of ranges, mostly of one")]

use std::ops::Range;

use tokenizers::utils::truncation::TruncationDirection;

use crate::config::Overflow;

/// Stretches of tokens that one run reads, in order.
pub(super) type Window = Vec<Range<usize>>;

/// Windows read of one text at most; what comes after is not read, and the answer says so.
const MAX_WINDOWS: usize = 64;

/// Which of `length` tokens each run reads, `room` of them at most; every rule but `Windows` makes one run.
pub(super) fn windows(length: usize, room: usize, overflow: Overflow, direction: TruncationDirection) -> Vec<Window> {
    if length <= room {
        return vec![vec![0..length]];
    }
    match (overflow, direction) {
        (Overflow::Head | Overflow::Error, TruncationDirection::Right) => vec![vec![0..room]],
        (Overflow::Head | Overflow::Error, TruncationDirection::Left) => vec![vec![length - room..length]],
        (Overflow::HeadTail, _) => {
            let tail = room / 2;
            vec![vec![0..room - tail, length - tail..length]]
        }
        (Overflow::Windows, _) => {
            // A quarter is read twice, so that what one window cuts in two stands whole in the next.
            let step = room - room / 4;
            let count = ((length - room).div_ceil(step) + 1).min(MAX_WINDOWS);
            let all = (length - room).div_ceil(step) < MAX_WINDOWS;
            let start = |number: usize| {
                // The last one ends with the text, so that no window is a scrap.
                if all && number + 1 == count { length - room } else { number * step }
            };
            (0..count).map(start).map(|start| vec![start..start + room]).collect()
        }
    }
}

/// Tokens that at least one window reads.
pub(super) fn covered(windows: &[Window]) -> usize {
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
    fn a_text_that_fits_is_read_once_whatever_the_rule() {
        for overflow in [Overflow::Head, Overflow::HeadTail, Overflow::Windows] {
            check(8, overflow, &[&[0..8]]);
        }
    }

    #[test]
    fn head_and_tail_read_what_they_say() {
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
