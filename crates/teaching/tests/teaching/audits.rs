//! Audits: what is handed out, what is stated, and what voids it.

use std::collections::BTreeSet;

use teaching::{Error, Standing};

use crate::{Project, file, right_label};

#[test]
fn the_audit_hands_out_its_rows_without_predictions_twenty_at_a_time() {
    let project = Project::new(500);
    project.taught(60);
    let answer = project.audit(&[], 0.1).unwrap();
    assert_eq!((answer.rows.len(), answer.left), (20, 100));
    assert!(answer.statement.is_none());
    let rows: BTreeSet<u64> = answer.rows.iter().map(|shown| shown.row).collect();
    // Asking again returns the same rows; labelled ones are done.
    assert_eq!(project.audit(&[], 0.1).unwrap().rows, answer.rows);
    let labels: Vec<(u64, &str)> = answer.rows.iter().map(|shown| (shown.row, right_label(shown.row))).collect();
    let next = project.audit(&labels, 0.1).unwrap();
    assert_eq!(next.left, 80);
    assert!(next.rows.iter().all(|shown| !rows.contains(&shown.row)));
}

#[test]
fn rows_of_the_audit_are_never_asked_for_in_teaching() {
    let project = Project::new(300);
    let mut asked: BTreeSet<u64> = BTreeSet::new();
    let mut round = project.start();
    while !round.ask.is_empty() {
        asked.extend(round.ask.iter().map(|asked| asked.row));
        round = project.answer(&round);
    }
    assert_eq!(asked.len(), 225, "all rows but those of the audit");
    let mut audited = BTreeSet::new();
    let mut answer = project.audit(&[], 0.1).unwrap();
    while answer.left > 0 {
        let labels: Vec<(u64, &str)> = answer.rows.iter().map(|shown| (shown.row, right_label(shown.row))).collect();
        audited.extend(labels.iter().map(|(row, _)| *row));
        answer = project.audit(&labels, 0.1).unwrap();
    }
    assert!(asked.is_disjoint(&audited) && audited.len() == 75);
}

#[test]
fn a_finished_audit_states_agreement_and_promise_and_writes_the_card() {
    let project = Project::new(500);
    project.taught(100);
    let answer = project.audited(4, 0.1);
    let statement = answer.statement.clone().unwrap();
    assert!(answer.is_new, "the threshold is new");
    assert_eq!((statement.rows, statement.look), (100, 1));
    assert!(statement.right <= 96 && statement.right >= 90, "{}", statement.right);
    assert!(statement.threshold.is_some() && statement.automatic > 0.5, "{statement:?}");
    let card = std::fs::read_to_string(project.path(".local-model/mine/README.md")).unwrap();
    assert!(card.contains(&statement.agreement()) && card.contains(&statement.promise(None)), "{card}");
    assert!(card.contains("Agreement is with your labels, not with the truth."));
    assert_eq!(project.teacher.statement("mine"), Some(statement.clone()));
    // The same question is the same look.
    assert_eq!(project.audit(&[], 0.1).unwrap().statement, Some(statement));
    assert!(!project.audit(&[], 0.1).unwrap().is_new);
}

#[test]
fn a_changed_model_voids_the_statement_and_the_next_look_pays() {
    let project = Project::new(500);
    let round = project.taught(60);
    let first = project.audited(4, 0.1).statement.unwrap();
    let round = project.answer(&round);
    assert_eq!(round.standing, Standing::Void);
    assert_eq!(project.teacher.statement("mine"), None);
    let card = std::fs::read_to_string(project.path(".local-model/mine/README.md")).unwrap();
    assert!(card.contains("changed since its last audit"), "{card}");
    // The labels of the audit rows are known already.
    let second = project.audit(&[], 0.1).unwrap().statement.unwrap();
    assert_eq!(second.look, 2);
    assert!(second.conditions().contains("look 2"));
    let width = |low: f64, high: f64| high - low;
    if second.right == first.right {
        assert!(width(second.lowest, second.highest) > width(first.lowest, first.highest));
    }
    assert_eq!(project.teach(&crate::labels_of(&[])).unwrap().standing, Standing::Holds);
}

#[test]
fn another_share_is_another_look() {
    let project = Project::new(500);
    project.taught(60);
    assert_eq!(project.audited(4, 0.1).statement.unwrap().look, 1);
    let strict = project.audit(&[], 0.05).unwrap().statement.unwrap();
    assert_eq!((strict.look, strict.epsilon), (2, 0.05));
}

#[test]
fn an_audited_label_cannot_change_after_the_statement() {
    let project = Project::new(500);
    project.taught(60);
    let row = project.audit(&[], 0.1).unwrap().rows[0].row;
    project.audited(0, 0.1);
    let other = if right_label(row) == "crash" { "praise" } else { "crash" };
    assert_eq!(project.audit(&[(row, other)], 0.1).unwrap_err(), Error::AuditStated { row });
    assert!(project.audit(&[(row, right_label(row))], 0.1).is_ok());
}

#[test]
fn a_text_that_was_drawn_twice_is_labelled_once() {
    // Every text occurs twice.
    let mut content = String::from("text\n");
    (0..200).for_each(|number| content += &format!("{}\n", crate::row(number / 2 + 1).0));
    let project = Project::with_file(&content);
    let round = project.start();
    let labels: Vec<(u64, &str)> =
        round.ask.iter().map(|asked| (asked.row, right_label(asked.row.div_ceil(2)))).collect();
    project.label(&labels).unwrap();
    let mut answer = project.audit(&[], 0.1).unwrap();
    assert_eq!(answer.left, 50);
    let mut handed_out = 0;
    while answer.left > 0 {
        let labels: Vec<(u64, &str)> =
            answer.rows.iter().map(|shown| (shown.row, right_label(shown.row.div_ceil(2)))).collect();
        handed_out += labels.len();
        answer = project.audit(&labels, 0.1).unwrap();
    }
    assert!(handed_out < 50, "{handed_out}");
    assert_eq!(answer.statement.unwrap().rows, 50);
}

#[test]
fn an_example_with_the_text_of_an_audit_row_is_not_taught() {
    let project = Project::new(100);
    project.taught(20);
    let sealed = project.audit(&[], 0.1).unwrap().rows[0].clone();
    let before = project.stored()["head.json"].clone();
    let mut lesson = crate::labels_of(&[]);
    lesson.examples.insert("billing".into(), vec![sealed.text]);
    let round = project.teach(&lesson).unwrap();
    assert!(!round.is_new);
    assert!(project.stored()["head.json"] == before);
}

#[test]
fn the_statement_is_about_these_texts_only() {
    let project = Project::new(500);
    project.taught(60);
    let statement = project.audited(0, 0.1).statement.unwrap();
    assert!(statement.is_about(&statement.texts_sha256));
    assert!(!statement.is_about("another file"));
    let content = std::fs::read_to_string(project.path("tickets.csv")).unwrap();
    std::fs::write(project.path("tickets.csv"), content + "501,one more\n").unwrap();
    let error = project.audit(&[], 0.2).unwrap_err();
    assert_eq!(error, Error::FileChanged { name: "mine".into(), file: "tickets.csv".into(), row: None });
    // Teaching goes on, because no labelled row changed.
    project.teach(&file("tickets.csv")).unwrap();
}
