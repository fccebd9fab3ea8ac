//! A taught model as the engine loads and runs it.

use teaching::Encode;

use classifier::{Cancellation, Input, LabeledPrediction, Task};

use crate::{Project, right_label, row};

fn ask(project: &Project, text: &str) -> LabeledPrediction {
    let mut model = project.teacher.loader("mine").load().unwrap();
    let input = Input::single(text);
    let prediction = model.first.predict(&input, &Cancellation::default()).unwrap();
    model.info.label(&input, &prediction)
}

#[test]
fn a_taught_model_is_found_by_a_later_session_and_answers() {
    let project = Project::new(300);
    let round = project.start();
    assert!(project.teacher.names().is_empty(), "nothing can be served yet");
    let mut round = project.answer(&round);
    for _ in 0..3 {
        round = project.answer(&round);
    }
    let later = project.later_session();
    assert_eq!(later.names(), ["mine"]);
    let model = later.loader("mine").load().unwrap();
    assert_eq!((model.info.task, model.info.labels.len()), (Task::SingleLabel, 3));
    assert_eq!(model.info.threshold, None);
    assert_eq!(model.info.description.unwrap(), "Taught with 65 labelled rows. Not audited in this state.");
    let right = (1..=300).filter(|&number| ask(&project, &row(number).0).prediction == right_label(number as u64));
    assert!(right.count() > 270);
}

#[test]
fn the_audit_sets_threshold_description_and_digest() {
    let project = Project::new(300);
    project.taught(60);
    let before = project.teacher.loader("mine").load().unwrap().info;
    let statement = project.audited(3, 0.1).statement.unwrap();
    let after = project.teacher.loader("mine").load().unwrap().info;
    assert_eq!(after.threshold, statement.threshold);
    assert_eq!(after.description.unwrap(), format!("{} {}", statement.agreement(), statement.promise(None)));
    assert_eq!(after.digest, before.digest, "the scores are the same");
    project.answer(&project.teach(&crate::labels_of(&[])).unwrap());
    assert_ne!(project.teacher.loader("mine").load().unwrap().info.digest, before.digest);
}

#[test]
fn a_text_unlike_everything_taught_is_uncertain() {
    let project = Project::new(300);
    project.taught(60);
    assert!(!ask(&project, &row(5).0).uncertain);
    assert!(ask(&project, "quantum chromodynamics lattice spinor").uncertain);
}

#[test]
fn a_pair_and_labels_of_the_caller_are_refused() {
    let project = Project::new(100);
    project.taught(20);
    let mut model = project.teacher.loader("mine").load().unwrap();
    let pair = Input { text_pair: Some("b".into()), ..Input::single("a") };
    let labels = Input { labels: vec!["x".into()], ..Input::single("a") };
    for input in [pair, labels] {
        assert!(model.first.predict(&input, &Cancellation::default()).is_err());
    }
    let mut replica = model.replicas.replica(1).unwrap();
    assert!(replica.predict(&Input::single("a"), &Cancellation::default()).is_ok());
}

#[test]
fn an_exported_head_gives_the_scores_of_the_served_one() {
    let project = Project::new(300);
    project.taught(60);
    let exported = project.exported().unwrap();
    let linear = &exported.linear;
    assert_eq!((linear.threshold, linear.labels.len(), linear.bias.len()), (None, 3, 3));
    let width = if exported.uses_state { 40 } else { 32 };
    assert!(linear.weights.iter().all(|row| row.len() == width));
    let mut agreeing = 0;
    for (text, _) in (1..=300).map(row) {
        let vectors = project.encoder.encode(&text, exported.uses_state, &Cancellation::default()).unwrap();
        let vector: Vec<f32> = vectors.sentence.into_iter().chain(vectors.state.into_iter().flatten()).collect();
        let score = |label: usize| {
            linear.bias[label] + linear.weights[label].iter().zip(&vector).map(|(a, b)| a * b).sum::<f32>()
        };
        let best = (0..3).max_by(|&a, &b| score(a).total_cmp(&score(b))).unwrap();
        agreeing += usize::from(linear.labels[best] == ask(&project, &text).prediction);
    }
    match exported.same_labels {
        None => assert_eq!(agreeing, 300),
        Some(share) => assert!((agreeing as f64 / 300.0 - share).abs() < 0.1, "{agreeing} of 300, said {share}"),
    }
}

#[test]
fn a_model_without_a_head_cannot_be_exported() {
    let project = Project::new(100);
    assert!(project.exported().unwrap_err().to_string().starts_with("no model called `mine` is being taught"));
    project.start();
    assert!(project.exported().unwrap_err().to_string().starts_with("all examples of `mine` have the same label"));
}
