//! `audit`: labels for the rows kept apart, and what they prove.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use teaching::AuditAnswer;

use crate::args::Options;
use crate::commands::labelling::{Answers, Person, is_interactive, read_labels, run as run_call, teacher};
use crate::commands::{Outcome, print, print_lines};

#[derive(Args, Debug)]
pub struct AuditArgs {
    /// Name of the taught model
    pub name: String,
    /// File with the columns `row` and `label`; without it, a person at a terminal is asked
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Wanted limit for the share of the finished file that may be wrong, 0.01 to 0.5
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub max_wrong: f64,
    /// Write one JSON object even to a terminal, and ask nothing
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(options: &Options, arguments: &AuditArgs) -> anyhow::Result<Outcome> {
    let (teacher, _) = teacher(options)?;
    let mut labels = arguments.labels.as_deref().map(read_labels).transpose()?.unwrap_or_default();
    loop {
        let (name, share, given) = (arguments.name.clone(), arguments.max_wrong, labels);
        let answer =
            run_call(&teacher, move |teacher, paths, watch| teacher.audit(&name, &given, share, paths, watch))?;
        if arguments.json || !is_interactive() {
            print(format!("{}\n", json_of(&answer)).as_bytes())?;
            return Ok(Outcome::Done);
        }
        if let Some(stated) = &answer.statement {
            let sentences = [stated.agreement(), stated.promise(None), stated.conditions()];
            print_lines(&format!("\n{}", sentences.join("\n")))?;
            return Ok(Outcome::Done);
        }
        print_lines(&format!("{} rows of the audit are left", answer.left))?;
        labels = ask(&answer)?;
        if labels.is_empty() {
            return Ok(Outcome::Done);
        }
    }
}

/// Asks a person for labels. No labels mean the end.
fn ask(answer: &AuditAnswer) -> anyhow::Result<BTreeMap<u64, String>> {
    let labels = answer.labels.iter().map(|(label, _)| label.clone()).collect();
    let mut person = Person { input: io::stdin().lock(), output: io::stdout(), labels, may_add: false };
    let Answers { labels, .. } = person.label(&answer.rows)?;
    Ok(labels)
}

fn json_of(answer: &AuditAnswer) -> Value {
    match &answer.statement {
        None => json!({ "left": answer.left, "label_next": answer.rows }),
        Some(stated) => json!({
            "agreement": stated.agreement(),
            "promise": stated.promise(None),
            "conditions": stated.conditions(),
            "threshold": stated.threshold.map(classifier::rounded),
            "automatic": stated.automatic,
        }),
    }
}
