//! Several sessions on one model, faults of the disk, and cancelled calls.

use std::sync::atomic::Ordering;
use std::thread;

use classifier::Cancellation;
use teaching::{Error, Stage, TaughtDir, Teacher, Watch};

use crate::{Project, file, labels_of, right_label};

#[test]
fn sessions_that_teach_one_name_at_once_lose_no_label() {
    let project = Project::new(600);
    let rows: Vec<u64> = {
        let sealed = project.start();
        assert_eq!(sealed.ask.len(), 20);
        sealed.ask.iter().map(|asked| asked.row).collect()
    };
    thread::scope(|scope| {
        for chunk in rows.chunks(4) {
            let teacher = project.later_session();
            let paths = &project.paths;
            scope.spawn(move || {
                let cancellation = Cancellation::default();
                let watch = Watch { cancellation: &cancellation, report: &|_| () };
                for &row in chunk {
                    teacher.teach("mine", &labels_of(&[(row, right_label(row))]), paths, &watch).unwrap();
                }
            });
        }
    });
    let round = project.teach(&labels_of(&[])).unwrap();
    assert_eq!(round.labels.iter().map(|label| label.examples).sum::<usize>(), 20);
    // The head is that of all labels, in whatever order they came.
    let alone = Project::new(600);
    alone.start();
    let all: Vec<(u64, &str)> = rows.iter().map(|row| (*row, right_label(*row))).collect();
    let expected = alone.label(&all).unwrap();
    assert_eq!(round.ask.len(), expected.ask.len());
}

#[test]
fn a_session_that_waits_says_so_and_can_be_cancelled() {
    let project = Project::new(100);
    project.start();
    let lock = std::fs::File::options().write(true).open(project.path(".local-model/mine/.lock")).unwrap();
    lock.lock().unwrap();
    let cancellation = Cancellation::default();
    let report = |progress: teaching::Progress| {
        if progress.stage == Stage::Waiting {
            cancellation.cancel();
        }
    };
    let watch = Watch { cancellation: &cancellation, report: &report };
    let outcome = project.later_session().teach("mine", &labels_of(&[]), &project.paths, &watch);
    assert_eq!(outcome.unwrap_err(), Error::Cancelled);
}

#[test]
fn a_start_that_is_cancelled_leaves_nothing() {
    let project = Project::new(300);
    project.encoder.cancels.store(true, Ordering::SeqCst);
    assert_eq!(project.teach(&file("tickets.csv")).unwrap_err(), Error::Cancelled);
    assert!(!project.path(".local-model").exists());
    project.encoder.cancels.store(false, Ordering::SeqCst);
    project.start();
}

#[test]
fn labels_of_a_call_that_is_cancelled_while_learning_are_kept() {
    let project = Project::new(300);
    let round = project.start();
    let labels: Vec<(u64, &str)> = round.ask.iter().map(|asked| (asked.row, right_label(asked.row))).collect();
    let cancellation = Cancellation::default();
    let report = |progress: teaching::Progress| {
        if progress.stage == Stage::Learning {
            cancellation.cancel();
        }
    };
    let watch = Watch { cancellation: &cancellation, report: &report };
    let outcome = project.teacher.teach("mine", &labels_of(&labels), &project.paths, &watch);
    assert_eq!(outcome.unwrap_err(), Error::Cancelled);
    assert!(!project.stored().contains_key("head.json"));
    let round = project.teach(&labels_of(&[])).unwrap();
    assert_eq!(round.labels.iter().map(|label| label.examples).sum::<usize>(), 20);
    assert!(round.is_new, "what was cancelled is learned now");
}

#[test]
fn a_file_that_cannot_be_written_loses_nothing_and_is_written_by_the_next_call() {
    let project = Project::new(300);
    let round = project.taught(20);
    let before = project.stored()["head.json"].clone();
    // A full disk and a folder without write permission fail in the same place; root may write
    // anywhere, but cannot replace a folder by a file.
    let head = project.path(".local-model/mine/head.json");
    std::fs::rename(&head, project.path("aside")).unwrap();
    std::fs::create_dir_all(head.join("x")).unwrap();
    let label = (round.ask[0].row, right_label(round.ask[0].row));
    let error = project.label(&[label]).unwrap_err().to_string();
    assert!(error.contains("head.json` cannot be"), "{error}");
    std::fs::remove_dir_all(&head).unwrap();
    std::fs::rename(project.path("aside"), &head).unwrap();
    let round = project.teach(&labels_of(&[])).unwrap();
    assert!(round.is_new, "the label that was given is learned");
    assert!(project.stored()["head.json"] != before);
    assert_eq!(round.labels.iter().map(|label| label.examples).sum::<usize>(), 21);
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_a_link_is_not_followed() {
    let project = Project::new(100);
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), project.path(".local-model")).unwrap();
    let error = project.teach(&file("tickets.csv")).unwrap_err();
    assert!(matches!(error, Error::NotWritten { .. } | Error::StateUnreadable { .. }), "{error}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(project.teacher.names().is_empty());
}

#[test]
fn a_folder_of_the_user_is_left_alone() {
    let project = Project::new(100);
    std::fs::create_dir_all(project.path(".local-model/mine")).unwrap();
    std::fs::write(project.path(".local-model/mine/notes.txt"), "mine").unwrap();
    let error = project.teach(&file("tickets.csv")).unwrap_err().to_string();
    assert!(error.contains("exists but is not a taught model"), "{error}");
    assert_eq!(std::fs::read_to_string(project.path(".local-model/mine/notes.txt")).unwrap(), "mine");
}

#[test]
fn damaged_files_are_an_error_and_lost_vectors_are_made_again() {
    let project = Project::new(200);
    project.taught(20);
    let folder = project.path(".local-model/mine");
    for content in ["", "half", "LMROWS"] {
        std::fs::write(folder.join("rows.f16"), content).unwrap();
        project.teach(&labels_of(&[])).unwrap();
    }
    let state = project.stored()["taught.json"].clone();
    for content in [b"{".to_vec(), state[..state.len() / 2].to_vec(), b"{\"version\":99}".to_vec()] {
        std::fs::write(folder.join("taught.json"), &content).unwrap();
        let error = project.teach(&labels_of(&[])).unwrap_err();
        assert!(matches!(error, Error::StateUnreadable { .. }), "{error}");
        assert!(project.stored()["taught.json"] == content, "nothing was written over it");
    }
}

#[test]
fn a_folder_that_the_operator_named_is_created() {
    let project = Project::new(100);
    let folder = project.path("deep/models");
    let teacher = Teacher::new(TaughtDir::at(folder.clone()), project.encoder.clone(), Vec::new());
    let cancellation = Cancellation::default();
    let watch = Watch { cancellation: &cancellation, report: &|_| () };
    teacher.teach("mine", &file("tickets.csv"), &project.paths, &watch).unwrap();
    assert!(folder.join("mine/taught.json").exists());
    // The file lies elsewhere and is found again.
    assert_eq!(teacher.teach("mine", &labels_of(&[]), &project.paths, &watch).unwrap().ask.len(), 20);
}
