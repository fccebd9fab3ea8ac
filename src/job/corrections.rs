//! Decisions of somebody who read the rows, written into an output: the prediction becomes the decision, and a further
//! column keeps what the model had said.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::Error;
use crate::files::{Extent, Reads, Target};
use crate::job::FileJob;
use crate::job::names::{CORRECTED_FROM, PREDICTION};
use crate::job::review::names;
use crate::job::watch::{Progress, Stage, Watch};

/// What stands in `corrected_from` where the model had said nothing.
const NOTHING: &str = "none";

#[derive(Clone, Debug)]
pub struct Corrected {
    pub output: PathBuf,
    pub rows: u64,
}

pub(super) fn correct(job: &FileJob, corrections: Vec<(u64, String)>, watch: &mut Watch) -> Result<Corrected, Error> {
    let mut output = job.open_output()?;
    let names = names(&output)?;
    let prediction = output.column(&names.full(PREDICTION), Reads::Value)?;
    let before = output.optional(&names.full(CORRECTED_FROM));
    let wanted: Vec<_> = std::iter::once(prediction).chain(before).collect();
    let mut left: BTreeMap<u64, String> = corrections.into_iter().collect();
    let rows = left.len() as u64;
    let path = output.path().to_owned();
    let (target, _journal) = Target::claim_own(path.clone(), &job.settings.places)?;
    let outcome = (|| {
        let partial = target.begin()?;
        let added = [PREDICTION, CORRECTED_FROM].map(|column| names.added(column)).to_vec();
        let mut writer = output.writer(&path, &partial, added)?;
        let mut row = 0;
        for chunk in output.rows(&wanted, Extent::All)? {
            let chunk = chunk?;
            let mut values = Vec::with_capacity(chunk.rows.len());
            for cells in chunk.rows.iter().map(|row| &row.cells) {
                row += 1;
                let text = |number: usize| {
                    cells.get(number).and_then(|cell| cell.as_deref().ok()).filter(|text| !text.is_empty())
                };
                values.push(match left.remove(&row) {
                    None => vec![Value::Null, Value::Null],
                    // A second decision on a row leaves the model's own word where it is.
                    Some(label) => {
                        vec![Value::from(label), Value::from(text(1).or(text(0)).unwrap_or(NOTHING))]
                    }
                });
            }
            writer.write(chunk, values)?;
            watch.show(|| Progress { stage: Stage::Writing, done: row, ..Progress::default() })?;
        }
        if let Some((beyond, _)) = left.first_key_value() {
            let found = format!("the output has {row} rows");
            return Err(Error::Correction { row: beyond.to_string(), found, expected: format!("1 to {row}") });
        }
        writer.finish()?;
        Ok(partial)
    })();
    match outcome {
        Ok(partial) => {
            target.commit(partial, &output)?;
            Ok(Corrected { output: path, rows })
        }
        Err(error) => {
            target.discard();
            Err(error)
        }
    }
}
