//! `teach`: rounds of teaching at a terminal, or one round for scripts.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use tables::CsvOptions;
use teaching::{FileRequest, Lesson, Round, ShownRow, Standing, Tuning};

use crate::args::{Options, delimiter};
use crate::commands::labelling::{Answers, Person, is_interactive, meanings, read_labels, run as run_call, teacher};
use crate::commands::{Outcome, print, print_lines};

#[derive(Args, Debug)]
pub struct TeachArgs {
    /// Name of the model
    pub name: String,
    /// File whose rows are labelled; needed once. Also an output with corrections, or a labelled
    /// copy
    pub file: Option<PathBuf>,
    /// Column that holds the texts, by name or number (default: the only text column)
    #[arg(long, value_name = "COLUMN", requires = "file")]
    pub text_column: Option<String>,
    /// Column with labels; rows without one are not labelled
    #[arg(long, value_name = "COLUMN", requires = "file")]
    pub label_column: Option<String>,
    /// CSV delimiter (default: detected)
    #[arg(long, value_name = "CHARACTER", requires = "file", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// The CSV file has no header; columns are named 1, 2, 3 and so on
    #[arg(long, requires = "file")]
    pub no_header: bool,
    /// File with the columns `row` and `label`; without it, a person at a terminal is asked
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// What a label means, in one line. Repeatable
    #[arg(long, value_name = "LABEL=MEANING")]
    pub meaning: Vec<String>,
    /// Show groups of similar rows instead of rows to label
    #[arg(long)]
    pub explore: bool,
    /// Store the texts of labelled rows with the model
    #[arg(long)]
    pub keep_texts: bool,
    /// Then fine-tune the encoder on all labels, and use it if cross-validation clearly prefers it;
    /// takes a minute or more
    #[arg(long)]
    pub fine_tune: bool,
    /// Draws the audit and the sample (default: by the name of the model)
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write one JSON object even to a terminal, and ask nothing
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(options: &Options, arguments: &TeachArgs) -> anyhow::Result<Outcome> {
    let (teacher, _) = teacher(options)?;
    let csv_options = CsvOptions { delimiter: arguments.delimiter, header: !arguments.no_header };
    let file = arguments.file.clone().map(|path| FileRequest {
        path: std::path::absolute(&path).unwrap_or(path),
        text_column: arguments.text_column.clone(),
        label_column: arguments.label_column.clone(),
        csv_options,
    });
    let mut lesson = Lesson {
        file,
        labels: arguments.labels.as_deref().map(read_labels).transpose()?.unwrap_or_default(),
        meanings: meanings(&arguments.meaning)?,
        keep_texts: arguments.keep_texts,
        seed: arguments.seed,
        explore: arguments.explore,
        ..Lesson::default()
    };
    loop {
        let name = arguments.name.clone();
        let round = run_call(&teacher, move |teacher, paths, watch| teacher.teach(&name, &lesson, paths, watch))?;
        let tuning = if arguments.fine_tune { Some(fine_tune(&teacher, &arguments.name)?) } else { None };
        if arguments.json || !is_interactive() {
            print(format!("{}\n", json_of(&round, tuning)).as_bytes())?;
            return Ok(Outcome::Done);
        }
        print_lines(&text_of(&round))?;
        if let Some(tuning) = tuning {
            return print_lines(&format!("{}\n", text_of_tuning(&tuning))).map(|()| Outcome::Done);
        }
        let rows: Vec<ShownRow> = doubtful(&round).chain(round.ask.iter().cloned()).collect();
        if rows.is_empty() {
            return Ok(Outcome::Done);
        }
        let labels = round.labels.iter().map(|label| label.name.clone()).collect();
        let mut person = Person { input: io::stdin().lock(), output: io::stdout(), labels, may_add: true };
        let Answers { labels, goes_on } = person.label(&rows)?;
        lesson = Lesson { labels, ..Lesson::default() };
        if !goes_on {
            return end(&teacher, arguments, lesson);
        }
    }
}

/// Teaches the last labels and says how to go on.
fn end(teacher: &Arc<teaching::Teacher>, arguments: &TeachArgs, lesson: Lesson) -> anyhow::Result<Outcome> {
    let name = arguments.name.clone();
    if !lesson.labels.is_empty() {
        let round = run_call(teacher, move |teacher, paths, watch| teacher.teach(&name, &lesson, paths, watch))?;
        print_lines(&text_of(&round))?;
    }
    let name = &arguments.name;
    print_lines(&format!("\nGo on with `teach {name}`, or state its quality with `audit {name}`."))?;
    Ok(Outcome::Done)
}

fn fine_tune(teacher: &Arc<teaching::Teacher>, name: &str) -> anyhow::Result<Tuning> {
    let name = name.to_owned();
    run_call(teacher, move |teacher, paths, watch| teacher.fine_tune(&name, false, paths, watch))
}

fn text_of_tuning(tuning: &Tuning) -> String {
    let Tuning { examples, right_before, right_tuned, serves, .. } = tuning;
    let chosen = if *serves { "the fine-tuned encoder is used" } else { "the encoder stays as it was" };
    format!(
        "{chosen}: by cross-validation, {right_tuned} of {examples} labels are right with fine-tuning, \
         {right_before} without"
    )
}

/// Rows to read again, with the label they have.
fn doubtful(round: &Round) -> impl Iterator<Item = ShownRow> {
    round.doubts.iter().map(|doubt| ShownRow {
        row: doubt.row,
        text: format!("(labelled {}; {}?) {}", doubt.label, doubt.likely, doubt.text),
    })
}

fn json_of(round: &Round, tuning: Option<Tuning>) -> Value {
    let labels = round.labels.iter().map(|label| (label.name.clone(), json!(label.examples)));
    json!({
        "model": round.name,
        "rows": round.file.as_ref().map(|file| file.rows),
        "audit_rows": round.file.as_ref().map(|file| file.audit_rows),
        "examples": labels.collect::<serde_json::Map<_, _>>(),
        "learned": round.head,
        "few_examples": round.few,
        "left_out": round.left_out,
        "settled": round.settled,
        "audit": match round.standing {
            Standing::Unaudited => "none",
            Standing::Holds => "holds",
            Standing::Void => "void",
        },
        "read_again": round.doubts,
        "label_next": round.ask,
        "groups": round.groups,
        "fine_tuned": tuning.map(|tuning| json!({
            "used": tuning.serves,
            "examples": tuning.examples,
            "right_with": tuning.right_tuned,
            "right_without": tuning.right_before,
        })),
    })
}

fn text_of(round: &Round) -> String {
    let mut text = String::new();
    if let Some(file) = &round.file {
        text += &format!("{} rows; {} are kept for the audit\n", file.rows, file.audit_rows);
    }
    if !round.labels.is_empty() {
        let labels = round.labels.iter().map(|label| format!("{} {}", label.name, label.examples));
        text += &format!("labels: {}\n", labels.collect::<Vec<_>>().join(", "));
    }
    if let Some(head) = &round.head {
        text += &format!("learned: {head}\n");
    }
    if round.left_out > 0 {
        text += &format!("left out: {} texts with different labels\n", round.left_out);
    }
    if round.standing == Standing::Void {
        text += "the last audit no longer holds, because the model changed\n";
    }
    if round.settled {
        text += "the last 30 labels changed less than 5 % of the predictions; stop here and audit the model\n";
    }
    for group in &round.groups {
        text += &format!("\n{} texts: {}\n", group.texts, group.words.join(", "));
        for ShownRow { row, text: central } in &group.central {
            text += &format!("  row {row}: {central}\n");
        }
    }
    text
}
