//! Teaching and auditing over a scripted encoder, in a project folder of its own.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod audits;
mod mistakes;
mod rounds;
mod serving;
mod sessions;
mod tuning;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use classifier::Cancellation;
use tables::{CsvOptions, PathPolicy};
use teaching::testing::ScriptedEncoder;
use teaching::{AuditAnswer, Error, ExportedHead, FileRequest, Lesson, Round, TaughtDir, Teacher, Watch};
use tempfile::TempDir;

/// Words of each label of the tests' files.
const WORDS: [(&str, [&str; 6]); 3] = [
    ("billing", ["refund", "invoice", "charge", "payment", "card", "price"]),
    ("crash", ["crash", "freeze", "error", "restart", "bug", "hang"]),
    ("praise", ["love", "great", "thanks", "perfect", "happy", "best"]),
];

/// A project with a file, and a teacher.
struct Project {
    folder: TempDir,
    encoder: Arc<ScriptedEncoder>,
    teacher: Teacher,
    paths: PathPolicy,
}

/// The text and the right label of a row. Two words of the label among others, none twice.
fn row(number: usize) -> (String, &'static str) {
    let (label, words) = WORDS[number * 7 % 3];
    let (first, second) = (words[number % 6], words[(number / 6 + 1 + number) % 6]);
    (format!("{first} and {second} in case {number}"), label)
}

impl Project {
    /// `tickets.csv` with this many rows.
    fn new(rows: usize) -> Self {
        let mut content = String::from("id,text\n");
        for number in 1..=rows {
            writeln!(content, "{number},{}", row(number).0).unwrap();
        }
        Self::with_file(&content)
    }

    fn with_file(content: &str) -> Self {
        Self::over(content, ScriptedEncoder::default())
    }

    fn over(content: &str, encoder: ScriptedEncoder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tickets.csv"), content).unwrap();
        let encoder = Arc::new(encoder);
        let teacher = Self::teacher(&folder, &encoder);
        let paths = PathPolicy::within([folder.path().to_owned()], 1 << 30);
        Self { folder, encoder, teacher, paths }
    }

    fn teacher(folder: &TempDir, encoder: &Arc<ScriptedEncoder>) -> Teacher {
        let store = TaughtDir::in_project(folder.path().to_owned());
        Teacher::new(store, Arc::clone(encoder) as _, vec!["sentiment".into()])
    }

    /// Another session in the same project.
    fn later_session(&self) -> Teacher {
        Self::teacher(&self.folder, &self.encoder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn teach(&self, lesson: &Lesson) -> Result<Round, Error> {
        self.teach_watched(lesson, &Cancellation::default())
    }

    fn teach_watched(&self, lesson: &Lesson, cancellation: &Cancellation) -> Result<Round, Error> {
        self.teacher.teach("mine", lesson, &self.paths, &Watch { cancellation, report: &|_| () })
    }

    fn start(&self) -> Round {
        self.teach(&file("tickets.csv")).unwrap()
    }

    fn label(&self, labels: &[(u64, &str)]) -> Result<Round, Error> {
        self.teach(&labels_of(labels))
    }

    /// Labels the rows of a round as they are, and returns the next round.
    fn answer(&self, round: &Round) -> Round {
        let labels = round.ask.iter().map(|asked| (asked.row, right_label(asked.row)));
        self.label(&labels.collect::<Vec<_>>()).unwrap()
    }

    /// A model with at least this many labels.
    fn taught(&self, labels: usize) -> Round {
        let mut round = self.start();
        while round.labels.iter().map(|label| label.examples).sum::<usize>() < labels {
            round = self.answer(&round);
        }
        round
    }

    fn audit(&self, labels: &[(u64, &str)], epsilon: f64) -> Result<AuditAnswer, Error> {
        let labels = labels_of(labels).labels;
        let cancellation = Cancellation::default();
        let watch = Watch { cancellation: &cancellation, report: &|_| () };
        self.teacher.audit("mine", &labels, epsilon, &self.paths, &watch)
    }

    /// Answers the whole audit, with wrong labels for the first `wrong` rows.
    fn audited(&self, mut wrong: usize, epsilon: f64) -> AuditAnswer {
        let mut answer = self.audit(&[], epsilon).unwrap();
        while answer.left > 0 {
            let mut labels = Vec::new();
            for shown in &answer.rows {
                let right = right_label(shown.row);
                let other = WORDS.iter().map(|(label, _)| *label).find(|label| *label != right).unwrap();
                labels.push((shown.row, if wrong > 0 { other } else { right }));
                wrong = wrong.saturating_sub(1);
            }
            answer = self.audit(&labels, epsilon).unwrap();
        }
        answer
    }

    fn exported(&self) -> Result<ExportedHead, Error> {
        let cancellation = Cancellation::default();
        self.teacher.exported("mine", &self.paths, &Watch { cancellation: &cancellation, report: &|_| () })
    }

    /// The content of the model's folder.
    fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.path(".local-model/mine")).into_iter().flatten().flatten();
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
    }
}

fn right_label(row_number: u64) -> &'static str {
    row(row_number as usize).1
}

fn file(name: &str) -> Lesson {
    let request =
        FileRequest { path: name.into(), text_column: None, label_column: None, csv_options: CsvOptions::default() };
    Lesson { file: Some(request), ..Lesson::default() }
}

fn labels_of(labels: &[(u64, &str)]) -> Lesson {
    let labels = labels.iter().map(|(row, label)| (*row, (*label).to_owned())).collect();
    Lesson { labels, ..Lesson::default() }
}
