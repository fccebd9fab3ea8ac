//! Zero-shot classification with an NLI model, as in transformers' zero-shot pipeline (4.57): the
//! hypothesis template, and the scores of candidate labels.

use crate::activation::Activation;

/// The default of transformers.
pub(crate) const DEFAULT_TEMPLATE: &str = "This example is {}.";

/// A hypothesis with placeholders for the candidate label: Python's `str.format` with one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    before: String,
    /// The text after each placeholder.
    after: Vec<String>,
}

impl Template {
    /// Reads `{}` and `{0}` as placeholders, `{{` and `}}` as braces.
    ///
    /// # Errors
    /// Says what is wrong with the template, as part of a sentence.
    pub(crate) fn parse(template: &str) -> Result<Self, String> {
        let mut parts = vec![String::new()];
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            let last = parts.len() - 1;
            parts[last].push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some((brace, after)) = [("{{", "{"), ("}}", "}")]
                .iter()
                .find_map(|(doubled, brace)| rest.strip_prefix(doubled).map(|after| (brace, after)))
            {
                parts[last].push_str(brace);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("{}").or_else(|| rest.strip_prefix("{0}")) {
                parts.push(String::new());
                rest = after;
            } else {
                return Err(format!("`{template}` has a single brace; write `{{{{` or `}}}}` for one"));
            }
        }
        let last = parts.len() - 1;
        parts[last].push_str(rest);
        let before = parts.remove(0);
        if parts.is_empty() {
            return Err(format!("`{template}` has no placeholder for the label; write `{{}}` in its place"));
        }
        Ok(Self { before, after: parts })
    }

    pub(crate) fn fill(&self, label: &str) -> String {
        self.after.iter().fold(self.before.clone(), |filled, after| filled + label + after)
    }
}

/// Returns one score per candidate label, from its row of logits.
///
/// With `independent` labels, or only one, each score is entailment against contradiction.
/// Otherwise the scores sum to 1. Contradiction is found by position, not by name: the first label,
/// or the last one if entailment is the first.
pub(crate) fn scores(logits: &[Vec<f32>], entailment: usize, independent: bool) -> Vec<f32> {
    if independent || logits.len() == 1 {
        let pair = |row: &Vec<f32>| {
            let contradiction = if entailment == 0 { row.len() - 1 } else { 0 };
            let mut pair = [row[contradiction], row[entailment]];
            Activation::Softmax.apply(&mut pair);
            pair[1]
        };
        return logits.iter().map(pair).collect();
    }
    let mut scores: Vec<f32> = logits.iter().map(|row| row[entailment]).collect();
    Activation::Softmax.apply(&mut scores);
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_as_python_fills_them() {
        for (template, expected) in
            [(DEFAULT_TEMPLATE, "This example is x."), ("{0} and {0}", "x and x"), ("{{{}}} }}", "{x} }"), ("{}", "x")]
        {
            assert_eq!(Template::parse(template).unwrap().fill("x"), expected);
        }
    }

    #[test]
    fn a_template_without_a_placeholder_is_refused() {
        assert!(Template::parse("no place").unwrap_err().contains("has no placeholder for the label"));
        assert!(Template::parse("{1}").unwrap_err().contains("single brace"));
        assert!(Template::parse("} {}").unwrap_err().contains("single brace"));
    }

    #[test]
    fn contradiction_is_found_by_position() {
        let logits = vec![vec![2.0, 9.0, 1.0]];
        assert_eq!(scores(&logits, 0, false), scores(&[vec![1.0, 0.0, 2.0]], 2, true));
    }
}
