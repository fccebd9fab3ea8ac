//! Bad input: each gets one sentence, and nothing that was taught is lost.

use std::collections::BTreeMap;

use teaching::{Error, Lesson, parse_rows};

use crate::{Project, file, labels_of, right_label};

/// Checks that a lesson is refused with this text and that the folder of the model is unchanged.
#[track_caller]
fn refused(project: &Project, lesson: &Lesson, expected: &str) {
    let before = project.stored();
    let error = project.teach(lesson).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert!(project.stored() == before, "something was written");
}

/// A taught model, and a row that is neither labelled nor part of the audit.
fn taught() -> (Project, u64) {
    let project = Project::new(200);
    let round = project.taught(20);
    (project, round.ask[0].row)
}

#[test]
fn mistakes_in_labels_are_refused() {
    let (project, row) = taught();
    let sealed = project.audit(&[], 0.1).unwrap().rows[0].row;
    let long = "x".repeat(101);
    for (labels, expected) in [
        ([(row, "billing"), (9999, "billing")], "row 9999 does not exist; the file has 200 rows"),
        ([(row, "billing"), (sealed, "billing")], "is kept for the audit"),
        ([(row, "billing"), (0, "billing")], "row 0 does not exist"),
        ([(row, " "), (row, " ")], "a label is empty or blank; expected 1 to 100 characters"),
        ([(row, &long), (row, &long)], "a label is 101 characters long"),
        ([(row, "a\nb"), (row, "a\nb")], "a label is written with line ends"),
        ([(row, "Billing"), (row, "Billing")], "the labels `Billing` and `billing` differ only in case"),
    ] {
        refused(&project, &labels_of(&labels), expected);
    }
}

#[test]
fn a_key_that_is_not_a_row_number_is_refused() {
    for key in ["zero", "0", "-1", "1.5", ""] {
        let given = BTreeMap::from([(key.to_owned(), "billing".to_owned())]);
        assert_eq!(parse_rows(&given).unwrap_err(), Error::RowInvalid { found: key.into() });
    }
}

#[test]
fn more_labels_than_anyone_teaches_are_refused() {
    let project = Project::new(4000);
    let round = project.start();
    let mut lesson = labels_of(&[]);
    for number in 0..2000 {
        lesson.meanings.insert(format!("label {number}"), String::new());
    }
    refused(&project, &lesson, "2000 labels; expected at most 256");
    assert_eq!(round.ask.len(), 20);
}

#[test]
fn one_text_with_two_labels_is_refused() {
    let mut content = String::from("text\n");
    (1..=100).for_each(|number| content += &format!("{}\n", crate::row(number).0));
    content += "the very same text\nthe very same text\n";
    let project = Project::with_file(&content);
    project.start();
    match project.label(&[(101, "billing"), (102, "crash")]).unwrap_err() {
        Error::TwoLabels { row: 102, other: 101, .. } => {}
        // The text may have been drawn for the audit.
        error => assert!(matches!(error, Error::RowSealed { .. }), "{error}"),
    }
    let example = |label: &str| Lesson {
        examples: BTreeMap::from([(label.to_owned(), vec!["an example".to_owned()])]),
        ..Lesson::default()
    };
    project.teach(&example("billing")).unwrap();
    refused(&project, &example("crash"), "an example has the labels `crash` and `billing`: “an example”");
}

#[test]
fn blank_rows_are_not_drawn_and_cannot_be_labelled() {
    let mut content = String::from("id,text\n");
    for number in 1..=100 {
        let text = if number % 2 == 0 { "  ".into() } else { crate::row(number).0 };
        content += &format!("{number},{text}\n");
    }
    let project = Project::with_file(&content);
    let round = project.start();
    let facts = round.file.unwrap();
    assert_eq!((facts.rows, facts.audit_rows), (100, 12));
    assert!(round.ask.iter().all(|asked| asked.row % 2 == 1));
    refused(&project, &labels_of(&[(2, "billing")]), "row 2 has no text");
    let blank = Lesson { examples: BTreeMap::from([("a".into(), vec![" ".into()])]), ..Lesson::default() };
    refused(&project, &blank, "an example for `a` is blank");
}

#[test]
fn names_that_are_taken_or_unknown_or_no_names_are_refused() {
    let project = Project::new(100);
    let cancellation = classifier::Cancellation::default();
    let watch = teaching::Watch { cancellation: &cancellation, report: &|_| () };
    let teach = |name: &str, lesson: &Lesson| project.teacher.teach(name, lesson, &project.paths, &watch).unwrap_err();
    assert_eq!(teach("sentiment", &file("tickets.csv")), Error::NameTaken { name: "sentiment".into() });
    for name in ["", "a b", "../up", ".hidden", "a/b", &"x".repeat(65)] {
        assert!(matches!(teach(name, &file("tickets.csv")), Error::NameInvalid { .. }), "{name}");
    }
    project.start();
    let error = teach("other", &labels_of(&[(1, "a")])).to_string();
    assert_eq!(error, "no model called `other` is being taught; known: `mine`; start it with a file or examples");
    assert!(!project.path(".local-model/other").exists());
}

#[test]
fn a_file_that_cannot_be_taught_leaves_nothing() {
    let project = Project::with_file("text\none\ntwo\nthree\n");
    for (name, expected) in [
        ("tickets.csv", "has 3 different texts; expected at least 10"),
        ("none.csv", "No such file"),
        ("../out.csv", "contains `..`"),
    ] {
        let error = project.teach(&file(name)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(!project.path(".local-model").exists());
}

#[test]
fn another_file_and_a_changed_one_are_refused() {
    let (project, row) = taught();
    let content = std::fs::read_to_string(project.path("tickets.csv")).unwrap();
    std::fs::write(project.path("may.csv"), content.replace("case", "story")).unwrap();
    refused(&project, &file("may.csv"), "`may.csv` has other texts than `tickets.csv`, on which `mine` is taught");
    let (labelled, _) = content.split_once('\n').unwrap();
    std::fs::write(project.path("tickets.csv"), format!("{labelled}\n{}", "0,another text\n".repeat(200))).unwrap();
    refused(&project, &labels_of(&[(row, "billing")]), "`tickets.csv` changed since `mine` was started, at row ");
    // The model is still there once the file is.
    std::fs::write(project.path("tickets.csv"), content).unwrap();
    project.label(&[(row, right_label(row))]).unwrap();
}

#[test]
fn a_model_of_another_encoder_is_refused_in_teaching_and_serving() {
    let (project, row) = taught();
    let other = teaching::testing::ScriptedEncoder { version: 1, ..Default::default() };
    let store = teaching::TaughtDir::in_project(project.folder.path().to_owned());
    let teacher = teaching::Teacher::new(store, std::sync::Arc::new(other), Vec::new());
    let cancellation = classifier::Cancellation::default();
    let watch = teaching::Watch { cancellation: &cancellation, report: &|_| () };
    let before = project.stored();
    let error = teacher.teach("mine", &labels_of(&[(row, "billing")]), &project.paths, &watch).unwrap_err();
    assert_eq!(error, Error::OtherEncoder { name: "mine".into() });
    assert!(project.stored() == before, "something was written");
    let error = teacher.loader("mine").load().err().unwrap().to_string();
    assert!(error.contains("`mine` was taught with another encoder; use that encoder"), "{error}");
}

#[test]
fn mistakes_in_an_audit_are_refused() {
    let (project, row) = taught();
    let audited = project.audit(&[], 0.1).unwrap().rows[0].row;
    let before = project.stored();
    for (labels, epsilon, expected) in [
        ([(row, "billing"), (row, "billing")], 0.1, format!("row {row} is not a row of the audit")),
        ([(audited, "bill"), (audited, "bill")], 0.1, "`bill` is not a label of `mine`; expected one of".into()),
        ([(audited, "billing"), (audited, "billing")], 0.7, "is 0.7; expected 0.01 to 0.5".into()),
        ([(audited, "billing"), (audited, "billing")], f64::NAN, "is NaN; expected 0.01".into()),
    ] {
        let error = project.audit(&labels, epsilon).unwrap_err().to_string();
        assert!(error.contains(&expected), "{error}");
    }
    assert!(project.stored() == before, "something was written");
}

#[test]
fn every_text_is_short_lower_case_and_without_a_final_stop() {
    let text = || "x".to_owned();
    for error in [
        Error::NameInvalid { name: text() },
        Error::NameTaken { name: text() },
        Error::NotTaught { name: text(), known: vec![] },
        Error::FolderForeign { path: "/x".into() },
        Error::StateUnreadable { path: "/x".into(), message: text() },
        Error::NotWritten { path: "/x".into(), message: text() },
        Error::Busy { name: text() },
        Error::OtherEncoder { name: text() },
        Error::NoFile { name: text() },
        Error::TooFewRows { path: "/x".into(), found: 1, expected: 10 },
        Error::OtherFile { name: text(), given: "/x".into(), taught: text() },
        Error::FileChanged { name: text(), file: text(), row: Some(3) },
        Error::RowInvalid { found: text() },
        Error::RowUnknown { row: 1, rows: 0 },
        Error::RowBlank { row: 1 },
        Error::RowSealed { row: 1 },
        Error::RowNotAudited { row: 1 },
        Error::AuditStated { row: 1 },
        Error::TwoLabels { row: 1, label: text(), other: 2, other_label: text() },
        Error::ExampleTwice { text: text(), label: text(), other_label: text() },
        Error::ExampleBlank { label: text() },
        Error::LabelInvalid { found: text(), limit: 100 },
        Error::LabelSpelling { label: text(), known: text() },
        Error::LabelUnknown { name: text(), label: text(), known: vec![text()] },
        Error::TooManyLabels { found: 300, limit: 256 },
        Error::OneLabel { name: text() },
        Error::EpsilonOutOfRange { found: 0.9, least: 0.01, most: 0.5 },
        Error::Cancelled,
        Error::Learning(learning::Error::TooFewLabels { found: 1 }),
    ] {
        let text = error.to_string();
        assert!(!text.ends_with('.') && !text.starts_with(char::is_uppercase), "{text}");
        let found = text.split(';').next().unwrap();
        assert!(found.split_whitespace().count() <= 20, "{found}");
    }
}
