//! The output: every row of the input again, with what the journal says of it.

use serde_json::{Value, json};

use crate::error::Error;
use crate::files::{Extent, Partial, Source, Target, Wanted};
use crate::job::journal::{EntityAt, Journal, Record};
use crate::job::names::{CONFIDENCE, ENTITIES, ERROR, LABELS, Names, PREDICTION, TRUNCATED, UNCERTAIN, VALUE};
use crate::job::summary::Summary;
use crate::job::watch::{Progress, Stage, Watch};
use crate::prediction::ModelInfo;

/// What may be added to a row, in the order in which it is written.
pub(super) const COLUMNS: [&str; 8] = [PREDICTION, CONFIDENCE, VALUE, LABELS, ENTITIES, UNCERTAIN, TRUNCATED, ERROR];

/// Writes the output under a name of its own for now, and sums it up.
pub(super) fn write(
    source: &mut Source,
    wanted: &[Wanted],
    target: &Target,
    journal: &mut Journal,
    model: &ModelInfo,
    watch: &mut Watch,
) -> Result<(Summary, Partial), Error> {
    let total = journal.rows();
    let progress = Progress { stage: Stage::Writing, done: total, total: Some(total), ..Progress::default() };
    watch.enter(progress)?;
    let columns: Vec<&str> =
        COLUMNS.into_iter().filter(|column| *column == PREDICTION || journal.occurs(column)).collect();
    let names = Names::free(source, &columns)?;
    let partial = target.begin()?;
    let added = columns.iter().map(|column| names.added(column)).collect();
    let mut output = source.writer(target.path(), &partial, added)?;
    let mut summary = Summary::new(wanted[0].column.clone(), model, wanted.len() > 1);
    let mut records = journal.records()?;
    for chunk in source.rows(wanted, Extent::All)? {
        let chunk = chunk?;
        let mut values = Vec::with_capacity(chunk.rows.len());
        for row in &chunk.rows {
            let record = records.next(&row.cells[0])?;
            summary.add(&record, row.cells.get(1));
            let text = row.cells[0].as_deref().unwrap_or_default();
            values.push(columns.iter().map(|column| value(&record, column, text)).collect());
        }
        output.write(chunk, values)?;
        watch.show(|| progress)?;
    }
    if summary.rows != total {
        return Err(Error::FileChanged { path: source.path().to_owned(), row: summary.rows + 1 });
    }
    output.finish()?;
    Ok((summary.close(), partial))
}

/// What a record has for a column; `Null` where it has nothing. Entities get their slices of the text back.
pub(super) fn value(record: &Record, column: &str, text: &str) -> Value {
    let flag = |flag: bool| if flag { Value::Bool(true) } else { Value::Null };
    match column {
        PREDICTION => json!(record.prediction),
        CONFIDENCE => json!(record.confidence),
        VALUE => json!(record.value),
        LABELS => json!(record.labels),
        ENTITIES => {
            record.entities.as_ref().map_or(Value::Null, |found| found.iter().map(|at| entity(at, text)).collect())
        }
        UNCERTAIN => flag(record.uncertain),
        TRUNCATED => flag(record.truncated),
        ERROR => json!(record.error),
        _ => Value::Null,
    }
}

fn entity(at: &EntityAt, text: &str) -> Value {
    let slice: String = text.chars().skip(at.start as usize).take(at.end.saturating_sub(at.start) as usize).collect();
    json!({ "text": slice, "label": at.label, "start": at.start, "end": at.end, "confidence": at.confidence })
}
