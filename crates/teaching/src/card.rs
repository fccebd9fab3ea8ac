//! The card of a taught model, for people, and its description, for the assistant.

use std::fmt::Write as _;

use crate::state::State;
use crate::statement::Statement;

/// Characters of a meaning in the card.
const MAX_MEANING: usize = 200;

/// Returns the content of `README.md`. `head` is the digest of the head that is served.
pub(crate) fn card(name: &str, state: &State, head: Option<&str>) -> String {
    let mut text = format!("# {name}\n\nA text classifier taught with local-model-mcp.\n\n");
    // Writing to a string cannot fail.
    if let Some(source) = &state.source {
        let (file, column, rows) = (&source.file, &source.text_column, source.rows);
        let _ = writeln!(text, "- File: `{file}`, column `{column}`, {rows} rows");
    }
    let _ = writeln!(text, "- Examples: {}", examples(state));
    if let Some(head) = &state.head {
        let _ = writeln!(text, "- Chosen by cross-validation: {head}");
    }
    if let Some(tuning) = &state.tuning {
        let used = if tuning.serves { "used" } else { "not used" };
        let (right, before, examples) = (tuning.right_tuned, tuning.right_before, tuning.examples);
        let _ = writeln!(
            text,
            "- Fine-tuned encoder: {used}; by cross-validation, {right} of {examples} labels are right with it, \
             {before} without"
        );
    }
    let _ = writeln!(text, "- Encoders: {}", state.encoder.get(..16).unwrap_or(&state.encoder));
    text += "\n| label | examples | meaning |\n|---|---|---|\n";
    for label in &state.labels {
        let count = state.rows.values().filter(|taught| taught.label == label.name).count()
            + state.examples.iter().filter(|example| example.label == label.name).count();
        let meaning: String = label.meaning.iter().flat_map(|meaning| meaning.chars()).take(MAX_MEANING).collect();
        let _ = writeln!(text, "| {} | {count} | {} |", cell(&label.name), cell(&meaning));
    }
    text += "\n## Audit\n\n";
    text += &match head.and_then(|head| state.statement_about(head)) {
        Some(stated) => {
            format!("{}\n\n{}\n\n{} ({})\n", stated.agreement(), stated.promise(None), stated.conditions(), stated.date)
        }
        None if state.audit.statement.is_some() => {
            "The model changed since its last audit, so nothing is stated about it.\n".into()
        }
        None => "No audit was made, so nothing is stated about its quality.\n".into(),
    };
    text
}

/// Returns one or two sentences for the list of models.
pub(crate) fn description(state: &State, stated: Option<&Statement>) -> String {
    match stated {
        Some(stated) => format!("{} {}", stated.agreement(), stated.promise(None)),
        None => {
            let tuned = state.tuning.as_ref().is_some_and(|tuning| tuning.serves);
            let tuned = if tuned { " and a fine-tuned encoder" } else { "" };
            format!("Taught with {}{tuned}. Not audited in this state.", examples(state))
        }
    }
}

fn examples(state: &State) -> String {
    let (rows, examples) = (state.rows.len(), state.examples.len());
    match (rows, examples) {
        (rows, 0) => format!("{rows} labelled rows"),
        (0, examples) => format!("{examples} examples"),
        (rows, examples) => format!("{rows} labelled rows and {examples} examples"),
    }
}

/// Text of others must not end a cell or a line of the table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
