//! Rounds of teaching: what is drawn, asked, learned and kept.

use std::collections::BTreeSet;

use classifier::Cancellation;
use teaching::{Error, Progress, Stage, Standing, Watch};

use crate::{Project, WORDS, file, labels_of, right_label, row};

#[test]
fn the_first_call_draws_the_audit_and_returns_twenty_spread_out_rows() {
    let project = Project::new(500);
    let round = project.start();
    let facts = round.file.unwrap();
    assert_eq!((facts.rows, facts.audit_rows), (500, 100));
    assert_eq!(project.encoder.encoded(), 400, "texts of audit rows are not in the sample");
    assert_eq!((round.ask.len(), round.head, round.is_new), (20, None, false));
    assert_eq!(round.standing, Standing::Unaudited);
    assert!(round.ask.iter().all(|asked| asked.text == row(asked.row as usize).0));
    let audit = project.audit(&[], 0.1);
    assert_eq!(audit.unwrap_err(), Error::OneLabel { name: "mine".into() });
}

#[test]
fn a_small_file_keeps_a_quarter_of_its_rows_for_the_audit() {
    let round = Project::new(40).start();
    assert_eq!(round.file.unwrap().audit_rows, 10);
}

#[test]
fn labels_teach_and_the_next_rows_are_others() {
    let project = Project::new(500);
    let first = project.start();
    let second = project.answer(&first);
    assert!(second.is_new && second.head.is_some());
    assert_eq!(second.labels.iter().map(|label| label.examples).sum::<usize>(), 20);
    assert!(second.ask.len() <= 15 && second.ask.len() + second.doubts.len() <= 20);
    let asked: BTreeSet<u64> = first.ask.iter().map(|asked| asked.row).collect();
    assert!(second.ask.iter().all(|next| !asked.contains(&next.row)));
}

#[test]
fn the_same_labels_give_the_same_model_in_one_call_or_several_in_one_session_or_several() {
    let labels: Vec<(u64, &str)> = Project::new(300).start().ask.iter().map(|a| (a.row, right_label(a.row))).collect();
    let (together, apart) = (Project::new(300), Project::new(300));
    together.start();
    together.label(&labels).unwrap();
    apart.start();
    apart.label(&labels[..11]).unwrap();
    let later = apart.later_session();
    let cancellation = Cancellation::default();
    let watch = Watch { cancellation: &cancellation, report: &|_| () };
    later.teach("mine", &labels_of(&labels[11..]), &apart.paths, &watch).unwrap();
    assert!(together.stored()["head.json"] == apart.stored()["head.json"]);
}

#[test]
fn a_later_round_encodes_only_new_texts() {
    let project = Project::new(300);
    let round = project.start();
    let before = project.encoder.encoded();
    assert_eq!(before, 225, "the sample");
    project.answer(&round);
    assert_eq!(project.encoder.encoded() - before, WORDS.len(), "the names of the labels");
}

#[test]
fn one_label_is_kept_and_other_rows_are_asked_for() {
    let project = Project::new(300);
    let first = project.start();
    let labels: Vec<(u64, &str)> = first.ask.iter().map(|asked| (asked.row, "all the same")).collect();
    let round = project.label(&labels).unwrap();
    assert_eq!((round.head, round.ask.len()), (None, 20));
    assert_eq!((round.labels.len(), round.labels[0].examples), (1, 20));
    assert!(round.ask.iter().all(|asked| first.ask.iter().all(|before| before.row != asked.row)));
}

#[test]
fn labels_with_few_examples_are_named_and_one_without_any_is_sought_by_its_meaning() {
    let project = Project::new(500);
    let first = project.start();
    let labels = first.ask.iter().map(|asked| (asked.row, right_label(asked.row)));
    let mut lesson = labels_of(&labels.filter(|(_, label)| *label != "crash").collect::<Vec<_>>());
    lesson.meanings.insert("crash".into(), "crash freeze error".into());
    let round = project.teach(&lesson).unwrap();
    assert_eq!(round.few, ["crash"]);
    let facts = round.labels.iter().find(|label| label.name == "crash").unwrap();
    assert_eq!((facts.examples, facts.meaning.as_deref()), (0, Some("crash freeze error")));
    assert!(round.ask[..2].iter().all(|asked| right_label(asked.row) == "crash"), "{:?}", round.ask);
}

#[test]
fn a_wrong_label_is_doubted_until_it_is_given_again() {
    let project = Project::new(500);
    let round = project.taught(60);
    // A row whose label is clear.
    let row = round.ask[0].row;
    let wrong = WORDS.iter().map(|(label, _)| *label).find(|label| *label != right_label(row)).unwrap();
    let doubted = project.label(&[(row, wrong)]).unwrap();
    let doubt = doubted.doubts.iter().find(|doubt| doubt.row == row).expect("it is doubted");
    assert_eq!((doubt.label.as_str(), doubt.likely.as_str()), (wrong, right_label(row)));
    let again = project.label(&[(row, wrong)]).unwrap();
    assert!(again.doubts.iter().all(|doubt| doubt.row != row));
    let right = project.label(&[(row, right_label(row))]).unwrap();
    assert!(right.doubts.iter().all(|doubt| doubt.row != row));
}

#[test]
fn teaching_ends_when_labels_move_nothing() {
    let project = Project::new(500);
    assert!(!project.start().settled);
    let round = project.taught(120);
    assert!(round.settled, "three separate topics are learned by then");
}

#[test]
fn a_labelled_file_teaches_without_questions_and_answers_its_own_audit() {
    let mut content = String::from("text,topic\n");
    (1..=400).for_each(|number| content += &format!("{},{}\n", row(number).0, row(number).1));
    // The same text with two labels teaches neither.
    content += "both ways,billing\nboth ways,crash\n";
    let project = Project::with_file(&content);
    let mut lesson = file("tickets.csv");
    lesson.file.as_mut().unwrap().label_column = Some("topic".into());
    let round = project.teach(&lesson).unwrap();
    assert!(round.is_new);
    assert!(round.left_out <= 1);
    let taught: usize = round.labels.iter().map(|label| label.examples).sum();
    assert!((298..=302).contains(&taught), "{taught}");
    let answer = project.audit(&[], 0.1).unwrap();
    assert_eq!(answer.left, 0);
    assert_eq!(answer.statement.unwrap().rows, 100);
}

#[test]
fn the_corrections_in_an_output_teach_and_audit_rows_among_them_do_not() {
    let project = Project::new(200);
    project.taught(20);
    let mut content = String::from("id,text,prediction,confidence,corrected_from\n");
    for number in 1..=200 {
        let (text, label) = row(number);
        let from = if number <= 100 { "wrong" } else { "" };
        content += &format!("{number},{text},{label},0.5,{from}\n");
    }
    std::fs::write(project.path("tickets.predicted.csv"), content).unwrap();
    let round = project.teach(&file("tickets.predicted.csv")).unwrap();
    let taught: usize = round.labels.iter().map(|label| label.examples).sum();
    assert!((55..=110).contains(&taught), "{taught}");
    assert!(round.is_new);
    // They are labels of the file's rows, not of another file's.
    let state: serde_json::Value = serde_json::from_slice(&project.stored()["taught.json"]).unwrap();
    assert_eq!(state["source"]["file"], "tickets.csv");
    assert_eq!(project.audit(&[], 0.1).unwrap().left, 50, "the audit is untouched");
}

#[test]
fn examples_without_a_file_teach_and_are_the_only_texts_kept() {
    let project = Project::new(100);
    let mut lesson = labels_of(&[]);
    for (label, words) in WORDS {
        lesson.examples.insert(label.into(), words.map(|word| format!("my own {word}")).to_vec());
    }
    let round = project.teach(&lesson).unwrap();
    assert!(round.is_new && round.file.is_none() && round.ask.is_empty());
    assert_eq!(project.audit(&[], 0.1).unwrap_err(), Error::NoFile { name: "mine".into() });
    // A file can be added later, and its rows are then asked for.
    let round = project.teach(&file("tickets.csv")).unwrap();
    assert_eq!(round.ask.len(), 15);
    project.answer(&round);
    let state = String::from_utf8(project.stored()["taught.json"].clone()).unwrap();
    assert!(state.contains("my own refund"));
    assert!(!state.contains("in case"), "no text of a row is kept");
}

#[test]
fn texts_of_labelled_rows_are_kept_only_if_the_caller_asks() {
    let project = Project::new(100);
    let row_number = project.start().ask[0].row;
    let mut lesson = labels_of(&[(row_number, "billing")]);
    lesson.keep_texts = true;
    project.teach(&lesson).unwrap();
    let state = String::from_utf8(project.stored()["taught.json"].clone()).unwrap();
    assert!(state.contains(&row(row_number as usize).0), "{state}");
}

#[test]
fn groups_of_similar_rows_come_with_their_words() {
    let project = Project::new(500);
    let mut lesson = file("tickets.csv");
    lesson.explore = true;
    let round = project.teach(&lesson).unwrap();
    assert!(round.ask.is_empty());
    assert!((3..=12).contains(&round.groups.len()));
    assert_eq!(round.groups.iter().map(|group| group.texts).sum::<usize>(), 400);
    assert!(round.groups.iter().all(|group| !group.words.is_empty() && (1..=3).contains(&group.central.len())));
    // Teaching goes on from there.
    assert_eq!(project.teach(&labels_of(&[])).unwrap().ask.len(), 20);
}

#[test]
fn long_texts_are_shown_shortened_and_on_one_line() {
    let content: String = (0..50).map(|number| format!("\"line {number}\n{}\"\n", "word ".repeat(200))).collect();
    let project = Project::with_file(&format!("text\n{content}"));
    let round = project.start();
    assert!(round.ask.iter().all(|asked| asked.text.chars().count() == 301 && !asked.text.contains('\n')));
}

#[test]
fn progress_is_told_while_rows_are_read_and_encoded() {
    let project = Project::new(300);
    let seen = std::cell::RefCell::new(Vec::new());
    let report = |progress: Progress| seen.borrow_mut().push(progress);
    let cancellation = Cancellation::default();
    let watch = Watch { cancellation: &cancellation, report: &report };
    project.teacher.teach("mine", &file("tickets.csv"), &project.paths, &watch).unwrap();
    let seen = seen.into_inner();
    let last = |stage: Stage| seen.iter().rfind(|progress| progress.stage == stage).copied().unwrap();
    assert_eq!(last(Stage::Reading).to_string(), "reading, 300 rows");
    assert_eq!(last(Stage::Encoding).to_string(), "encoding, 225 of 225 rows");
}
