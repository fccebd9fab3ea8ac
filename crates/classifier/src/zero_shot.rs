//! Zero-shot classification with an NLI model: the template, which logits count, and how they become scores, by the rules
//! of transformers' zero-shot pipeline (4.57).

use crate::activation;
use crate::prediction::Task;

/// transformers' own default.
pub(super) const TEMPLATE: &str = "This example is {}.";

/// A hypothesis with a place for the candidate label: Python's `str.format` with one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    before: String,
    /// What follows each place.
    after: Vec<String>,
}

impl Template {
    /// Reads `{}` and `{0}` as places, `{{` and `}}` as braces.
    ///
    /// # Errors
    /// What is wrong with the template, as part of a sentence.
    pub(super) fn parse(template: &str) -> Result<Self, String> {
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
                return Err(format!("`{template}` has a lone brace; write `{{{{` or `}}}}` for one"));
            }
        }
        let last = parts.len() - 1;
        parts[last].push_str(rest);
        let before = parts.remove(0);
        if parts.is_empty() {
            return Err(format!("`{template}` has no place for the label; write `{{}}` where it goes"));
        }
        Ok(Self { before, after: parts })
    }

    pub(super) fn fill(&self, label: &str) -> String {
        self.after.iter().fold(self.before.clone(), |filled, after| filled + label + after)
    }
}

/// One score a candidate, from its row of logits.
///
/// With `independent` labels, or only one, each is entailment against contradiction; otherwise they share 1 between them.
/// Contradiction is the first label, or the last where entailment is the first: by position, whatever they are called.
pub(super) fn scores(logits: &[Vec<f32>], entailment: usize, independent: bool) -> Vec<f32> {
    if independent || logits.len() == 1 {
        let pair = |row: &Vec<f32>| {
            let contradiction = if entailment == 0 { row.len() - 1 } else { 0 };
            let mut pair = [row[contradiction], row[entailment]];
            activation::apply(Task::SingleLabel, &mut pair);
            pair[1]
        };
        return logits.iter().map(pair).collect();
    }
    let mut scores: Vec<f32> = logits.iter().map(|row| row[entailment]).collect();
    activation::apply(Task::SingleLabel, &mut scores);
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_as_python_fills_them() {
        for (template, expected) in
            [(TEMPLATE, "This example is x."), ("{0} and {0}", "x and x"), ("{{{}}} }}", "{x} }"), ("{}", "x")]
        {
            assert_eq!(Template::parse(template).unwrap().fill("x"), expected);
        }
    }

    #[test]
    fn a_template_without_a_place_is_refused() {
        assert!(Template::parse("no place").unwrap_err().contains("has no place for the label"));
        assert!(Template::parse("{1}").unwrap_err().contains("lone brace"));
        assert!(Template::parse("} {}").unwrap_err().contains("lone brace"));
    }

    #[test]
    fn contradiction_goes_by_position() {
        let logits = vec![vec![2.0, 9.0, 1.0]];
        assert_eq!(scores(&logits, 0, false), scores(&[vec![1.0, 0.0, 2.0]], 2, true));
    }
}
