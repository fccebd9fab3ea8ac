//! The tensors that the graphs of decision models take.

use std::borrow::Cow;

use crate::tensors::{Content, Named};

/// Returns the inputs of a graph that scores options in a row of tokens. Its head compares the two
/// best options, so there is a place for a second one even if there is only one.
pub(crate) fn options<'a>(ids: &'a [i64], markers: &[usize], kind: i64) -> Vec<Named<'a>> {
    let places = markers.len().max(2);
    let fill = |values: &mut dyn Iterator<Item = i64>| -> Vec<i64> {
        values.chain(std::iter::repeat(0)).take(places).collect()
    };
    let integers = |name, shape: &[usize], values: Vec<i64>| Named {
        name,
        shape: shape.to_vec(),
        content: Content::Integers(values.into()),
    };
    vec![
        Named { name: "input_ids", shape: vec![1, ids.len()], content: Content::Integers(ids.into()) },
        integers("attention_mask", &[1, ids.len()], vec![1; ids.len()]),
        integers(
            "marker_pos",
            &[1, places],
            fill(&mut markers.iter().map(|place| i64::try_from(*place).unwrap_or(i64::MAX))),
        ),
        integers("marker_mask", &[1, places], fill(&mut markers.iter().map(|_| 1))),
        integers("qtype", &[1], vec![kind]),
    ]
}

/// Encoded tokens, all of the same width.
pub(crate) struct Encoded<'a> {
    pub width: usize,
    pub text: Cow<'a, [f32]>,
    /// Rows of equal length, one for each option.
    pub options: Cow<'a, [f32]>,
    /// One for each token of `options`, 0 for those that fill a row.
    pub mask: Cow<'a, [i64]>,
    /// The number of options.
    pub count: usize,
}

/// Returns the inputs of a graph that scores encoded options.
pub(crate) fn scorer(encoded: Encoded<'_>) -> Vec<Named<'_>> {
    let Encoded { width, text, options, mask, count } = encoded;
    let (tokens, longest) = (text.len() / width, mask.len() / count);
    vec![
        Named { name: "state_h", shape: vec![1, tokens, width], content: Content::Numbers(text) },
        Named { name: "state_mask", shape: vec![1, tokens], content: Content::Integers(vec![1; tokens].into()) },
        Named { name: "choice_h", shape: vec![count, longest, width], content: Content::Numbers(options) },
        Named { name: "choice_mask", shape: vec![count, longest], content: Content::Integers(mask) },
    ]
}

/// Returns a short input of either kind: encoded tokens of this width, otherwise tokens.
pub(crate) fn sample(width: Option<usize>) -> Vec<Named<'static>> {
    // Every vocabulary has a first and a second token.
    static IDS: [i64; 8] = [0, 1, 0, 1, 0, 1, 0, 1];
    static NUMBERS: [f32; 8] = [0.5, -0.25, 1.0, 0.125, -1.0, 0.75, -0.5, 0.25];
    let Some(width) = width else { return options(&IDS, &[1, 2], 0) };
    let numbers = |tokens: usize| NUMBERS.iter().copied().cycle().take(tokens * width).collect();
    scorer(Encoded { width, text: numbers(8), options: numbers(2 * 4), mask: vec![1; 2 * 4].into(), count: 2 })
}
