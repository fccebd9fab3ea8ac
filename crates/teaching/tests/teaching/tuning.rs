//! Fine-tuning over a scripted encoder. Labels depend on two words together, which the encoder as
//! it is cannot tell and a tuned one can.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use classifier::{Cancellation, Input};
use teaching::testing::ScriptedEncoder;
use teaching::{Error, Lesson, Progress, Stage, Tuning, Watch};

use crate::{Project, labels_of, row as plain_row};

const COLOURS: [&str; 2] = ["red", "blue"];
const SHAPES: [&str; 2] = ["circle", "square"];

/// The text and the label of a row: the label of "red circle" is also that of "blue square".
fn row(number: u64) -> (String, &'static str) {
    let (colour, shape) = (number as usize % 2, number as usize / 2 % 2);
    let label = if colour == shape { "same" } else { "other" };
    (format!("{} {} number{number}", COLOURS[colour], SHAPES[shape]), label)
}

/// A project with 40 labels, and the words that a tuned encoder reads.
fn project(telling: Vec<&'static str>, on_step: Option<Arc<dyn Fn() + Send + Sync>>) -> Project {
    let mut content = String::from("text\n");
    (1..=200).for_each(|number| writeln!(content, "{}", row(number).0).unwrap());
    let encoder = ScriptedEncoder { telling, on_step, ..ScriptedEncoder::default() };
    let project = Project::over(&content, encoder);
    let mut round = project.start();
    for _ in 0..2 {
        let labels: Vec<(u64, &str)> = round.ask.iter().map(|asked| (asked.row, row(asked.row).1)).collect();
        round = project.label(&labels).unwrap();
    }
    project
}

fn all_words() -> Vec<&'static str> {
    [COLOURS, SHAPES].concat()
}

fn tune(project: &Project, keeps_audit: bool) -> Result<Tuning, Error> {
    tune_with(project, keeps_audit, &Cancellation::default())
}

fn tune_with(project: &Project, keeps_audit: bool, cancellation: &Cancellation) -> Result<Tuning, Error> {
    project.teacher.fine_tune("mine", keeps_audit, &project.paths, &Watch { cancellation, report: &|_| () })
}

/// The share of rows that the model, as a session loads it, gives their label.
fn accuracy(project: &Project) -> f64 {
    let loaded = project.later_session().loader("mine").load().unwrap();
    let (labels, mut model) = (loaded.info.labels, loaded.first);
    let is_right = |number: &u64| {
        let (text, label) = row(*number);
        let input = Input { text, ..Input::default() };
        let prediction = model.predict(&input, &Cancellation::default()).unwrap();
        let classifier::Outcome::Scores(scores) = prediction.outcome else { panic!("expected scores") };
        let best = (0..scores.len()).max_by(|left, right| scores[*left].total_cmp(&scores[*right])).unwrap();
        *labels[best] == *label
    };
    (1..=200).filter(is_right).count() as f64 / 200.0
}

#[test]
fn a_tuned_encoder_that_is_clearly_better_serves() {
    let project = project(all_words(), None);
    let before = accuracy(&project);
    let tuning = tune(&project, true).unwrap();
    assert!(tuning.serves && tuning.is_new && tuning.right_tuned == tuning.examples, "{tuning:?}");
    assert!(before < 0.8 && accuracy(&project) == 1.0, "before {before}, after {}", accuracy(&project));
    let card = String::from_utf8(project.stored()["README.md"].clone()).unwrap();
    assert!(card.contains("Fine-tuned encoder: used; by cross-validation, 35 of 35 labels"), "{card}");
    // Asked again without new labels, it has nothing to do.
    assert_eq!(tune(&project, true).unwrap(), Tuning { is_new: false, ..tuning });
    assert!(project.exported().unwrap().tuned.is_some());
}

#[test]
fn a_tuned_encoder_that_is_not_better_changes_nothing() {
    let project = project(vec!["red"], None);
    let before = project.stored();
    let tuning = tune(&project, true).unwrap();
    assert!(!tuning.serves && !tuning.is_new, "{tuning:?}");
    assert_eq!(project.stored()["head.json"], before["head.json"]);
    assert!(!project.stored().contains_key("encoder.int8"));
}

#[test]
fn further_labels_are_learned_on_the_shared_encoder_again() {
    let project = project(all_words(), None);
    tune(&project, true).unwrap();
    let asked = project.teach(&Lesson::default()).unwrap();
    assert!(!asked.is_new && asked.head.is_some_and(|head| head.starts_with("fine-tuned encoder: ")));
    let next = asked.ask[0].row;
    assert!(project.label(&[(next, row(next).1)]).unwrap().is_new);
    let stored = project.stored();
    assert!(!stored.contains_key("encoder.int8") && !stored.contains_key("tuned.f16"));
    assert!(tune(&project, true).unwrap().is_new);
}

#[test]
fn labels_that_come_while_it_runs_win() {
    let project = project(all_words(), None);
    let (other, cancellation) = (project.later_session(), Cancellation::default());
    let next = project.teach(&Lesson::default()).unwrap().ask[0].row;
    let lesson = labels_of(&[(next, row(next).1)]);
    let taught = OnceLock::new();
    let report = |progress: Progress| {
        if progress.stage == Stage::Tuning {
            let watch = Watch { cancellation: &Cancellation::default(), report: &|_| () };
            // The model is not locked while an encoder is tuned.
            taught.get_or_init(|| other.teach("mine", &lesson, &project.paths, &watch).is_ok());
        }
    };
    let outcome = project.teacher.fine_tune(
        "mine",
        true,
        &project.paths,
        &Watch { cancellation: &cancellation, report: &report },
    );
    assert_eq!((taught.get(), outcome), (Some(&true), Err(Error::TaughtMeanwhile { name: "mine".into() })));
    assert!(!project.stored().contains_key("encoder.int8"));
}

#[test]
fn a_cancelled_tuning_leaves_the_model_as_it_was() {
    let cancellation = Cancellation::default();
    let cancels = cancellation.clone();
    let project = project(all_words(), Some(Arc::new(move || cancels.cancel())));
    let before = project.stored();
    assert_eq!(tune_with(&project, true, &cancellation), Err(Error::Cancelled));
    assert_eq!(project.stored(), before);
}

#[test]
fn an_audited_model_is_tuned_only_on_demand_and_loses_its_statement() {
    let project = project(all_words(), None);
    let mut answer = project.audit(&[], 0.1).unwrap();
    while answer.left > 0 {
        let labels: Vec<(u64, &str)> = answer.rows.iter().map(|shown| (shown.row, row(shown.row).1)).collect();
        answer = project.audit(&labels, 0.1).unwrap();
    }
    assert!(project.teacher.statement("mine").is_some());
    assert_eq!(tune(&project, true), Err(Error::Audited { name: "mine".into() }));
    assert!(project.teacher.statement("mine").is_some());
    assert!(tune(&project, false).unwrap().serves);
    assert!(project.teacher.statement("mine").is_none());
}

#[test]
fn a_damaged_encoder_is_an_error_that_teaching_mends() {
    let project = project(all_words(), None);
    tune(&project, true).unwrap();
    std::fs::write(project.path(".local-model/mine/encoder.int8"), b"damaged").unwrap();
    let error = project.later_session().loader("mine").load().err().unwrap().to_string();
    assert!(error.contains("encoder.int8") && error.contains("it is not the encoder of `head.json`"), "{error}");
    assert!(project.teach(&Lesson::default()).unwrap().is_new);
    assert!(project.later_session().loader("mine").load().is_ok());
}

#[test]
fn too_few_labels_are_not_tuned_on() {
    let project = Project::new(60);
    project.answer(&project.start());
    let error = tune(&project, true).map(|tuning| tuning.examples);
    assert_eq!(error, Ok(20), "three labels with at least three examples each");
    let project = Project::new(60);
    let round = project.start();
    let one_of_each =
        |label: &str| round.ask.iter().find(|asked| plain_row(asked.row as usize).1 == label).unwrap().row;
    project.label(&[(one_of_each("billing"), "billing"), (one_of_each("crash"), "crash")]).unwrap();
    let error = tune(&project, true).unwrap_err().to_string();
    assert!(error.contains("has 0 examples of 0 labels that have at least 3; expected at least 12 of two"), "{error}");
}
