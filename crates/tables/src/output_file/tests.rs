//! Outputs and the files next to them, in every order of events.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use super::progress_file::HEADERS;
use super::*;
use crate::{CsvOptions, NewColumn, ValueKind};

thread_local! {
    /// The names in the folder at each time it was written to the disk.
    static SYNCED: RefCell<Vec<Vec<String>>> = const { RefCell::new(Vec::new()) };
    /// What happens between opening a progress file and locking it.
    static BEFORE_LOCK: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

pub(super) fn before_lock() {
    if let Some(action) = BEFORE_LOCK.take() {
        action();
    }
}

/// Called before a folder is written to the disk.
pub(super) fn note_sync(folder: &Dir) {
    let names = folder.entries().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    SYNCED.with_borrow_mut(|synced| synced.push(names));
}

/// A folder with the input `in.csv`, and the name of its output.
struct Project(TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.write("in.csv", "text\nhello\n");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn policy(&self) -> PathPolicy {
        PathPolicy::within([self.0.path().to_owned()], 1 << 20)
    }

    fn input(&self) -> TableFile {
        TableFile::open("in.csv".as_ref(), &self.policy(), CsvOptions::default()).unwrap()
    }

    fn location(&self) -> Location {
        output_location(&self.input(), None, &self.policy()).unwrap()
    }

    fn claim(&self, if_exists: IfExists) -> Result<OutputFile, Error> {
        OutputFile::claim(self.location(), &self.input(), if_exists)
    }

    /// Writes one row as a run does, and commits it.
    fn finish(&self, output: &OutputFile) -> Result<(), Error> {
        let partial = output.create()?;
        self.fill(output, &partial)?;
        output.commit(partial, &self.input())
    }

    fn fill(&self, output: &OutputFile, partial: &PartialFile<'_>) -> Result<(), Error> {
        let mut input = self.input();
        let added = NewColumn { name: "prediction".into(), kind: ValueKind::Text };
        let mut writer = input.writer(output.path(), partial, vec![added])?;
        for chunk in input.rows(&[])? {
            writer.write(chunk?, vec![vec![Value::from("new")]])?;
        }
        writer.finish()
    }
}

const OUTPUT: &str = "in.predicted.csv";
const PROGRESS: &str = "in.predicted.csv.progress";

fn interrupt(output: OutputFile) {
    (&output.progress().file).write_all(b"a finished row\n").unwrap();
}

#[test]
fn an_output_appears_whole_and_nothing_else_is_left() {
    let project = Project::new();
    let output = project.claim(IfExists::Refuse).unwrap();
    assert_eq!(project.names(), ["in.csv", PROGRESS]);
    project.finish(&output).unwrap();
    assert_eq!(project.read(OUTPUT), "text,prediction\nhello,new\n");
    assert_eq!(project.names(), ["in.csv", OUTPUT]);
}

#[test]
fn the_name_of_the_output_is_on_disk_before_the_progress_file_is_removed() {
    let project = Project::new();
    project.finish(&project.claim(IfExists::Refuse).unwrap()).unwrap();
    let change = OutputFile::claim_existing(project.location()).unwrap();
    project.finish(&change).unwrap();
    let expected = ["in.csv", OUTPUT, PROGRESS].map(str::to_owned).to_vec();
    assert_eq!(SYNCED.take(), [expected.clone(), expected]);
    assert_eq!(project.names(), ["in.csv", OUTPUT]);
}

#[test]
fn files_of_others_are_left_alone() {
    for content in ["1. milk\n", "{\"local_model_mcp\":1}\n"] {
        for if_exists in [IfExists::Refuse, IfExists::Overwrite, IfExists::Resume] {
            let project = Project::new();
            project.write(PROGRESS, content);
            project.write("in.predicted.csv.partial", "mine");
            let error = project.claim(if_exists).unwrap_err();
            assert!(matches!(error, Error::NotOurProgress { .. }), "{error}");
            assert_eq!(
                (project.read(PROGRESS), project.read("in.predicted.csv.partial")),
                (content.into(), "mine".into())
            );
        }
    }
}

#[test]
fn a_progress_file_that_was_cut_in_its_first_line_is_started_again() {
    for length in 0..=HEADERS[0].len() {
        let project = Project::new();
        fs::write(project.path(PROGRESS), &HEADERS[0][..length]).unwrap();
        let output = project.claim(IfExists::Refuse).unwrap();
        assert!(!output.progress().begun);
        project.finish(&output).unwrap();
    }
}

#[test]
fn an_interrupted_run_is_resumed_only_when_that_is_asked_for() {
    let project = Project::new();
    interrupt(project.claim(IfExists::Refuse).unwrap());
    assert!(matches!(project.claim(IfExists::Refuse).unwrap_err(), Error::Unfinished { .. }));
    let output = project.claim(IfExists::Resume).unwrap();
    let mut left = String::new();
    (&output.progress().file).seek(io::SeekFrom::Start(output.progress().start)).unwrap();
    (&output.progress().file).read_to_string(&mut left).unwrap();
    assert_eq!((left.as_str(), output.progress().begun), ("a finished row\n", true));
    drop(output);
    assert!(!project.claim(IfExists::Overwrite).unwrap().progress().begun);
}

#[test]
fn resuming_never_replaces_an_output_unless_the_run_was_to_overwrite_it() {
    let project = Project::new();
    project.write(OUTPUT, "mine");
    assert!(matches!(project.claim(IfExists::Resume).unwrap_err(), Error::OutputExists { .. }));
    assert_eq!(project.names(), ["in.csv", OUTPUT]);
    interrupt(project.claim(IfExists::Overwrite).unwrap());
    project.finish(&project.claim(IfExists::Resume).unwrap()).unwrap();
    assert_eq!(project.read(OUTPUT), "text,prediction\nhello,new\n");
    // A run without permission to overwrite finds an output that appeared later.
    fs::remove_file(project.path(OUTPUT)).unwrap();
    interrupt(project.claim(IfExists::Refuse).unwrap());
    project.write(OUTPUT, "mine");
    assert!(matches!(project.claim(IfExists::Resume).unwrap_err(), Error::OutputAppeared { .. }));
    assert_eq!(project.read(OUTPUT), "mine");
}

#[test]
fn a_file_that_appears_during_the_run_is_not_replaced() {
    // An empty file may belong to a program that is about to write it.
    for content in ["mine", ""] {
        let project = Project::new();
        let output = project.claim(IfExists::Refuse).unwrap();
        project.write(OUTPUT, content);
        assert!(matches!(project.finish(&output).unwrap_err(), Error::OutputAppeared { .. }));
        interrupt(output);
        assert!(matches!(project.claim(IfExists::Resume).unwrap_err(), Error::OutputAppeared { .. }));
        assert_eq!(project.read(OUTPUT), content);
        fs::rename(project.path(OUTPUT), project.path("moved.csv")).unwrap();
        project.finish(&project.claim(IfExists::Resume).unwrap()).unwrap();
    }
}

#[test]
fn a_file_that_appears_during_the_run_is_replaced_with_overwrite() {
    let project = Project::new();
    let output = project.claim(IfExists::Overwrite).unwrap();
    project.write(OUTPUT, "mine");
    project.finish(&output).unwrap();
    assert_eq!(project.read(OUTPUT), "text,prediction\nhello,new\n");
}

#[test]
fn a_change_does_not_replace_what_another_program_wrote_meanwhile() {
    for replaced in [false, true] {
        let project = Project::new();
        project.write(OUTPUT, "before");
        let change = OutputFile::claim_existing(project.location()).unwrap();
        if replaced {
            fs::rename(project.path(OUTPUT), project.path("moved.csv")).unwrap();
        }
        project.write(OUTPUT, "meanwhile");
        assert!(matches!(project.finish(&change).unwrap_err(), Error::OutputChanged { .. }));
        assert_eq!(project.read(OUTPUT), "meanwhile");
    }
}

#[test]
fn an_interrupted_change_is_cleared_and_no_decision_is_lost() {
    let project = Project::new();
    project.write(OUTPUT, "decided");
    // A killed process runs no destructors.
    std::mem::forget(OutputFile::claim_existing(project.location()).unwrap());
    let left = fs::read(project.path(PROGRESS)).unwrap();
    assert!(matches!(OutputFile::claim_existing(project.location()).unwrap_err(), Error::AlreadyRunning { .. }));
    // Its lock is released.
    fs::remove_file(project.path(PROGRESS)).unwrap();
    fs::write(project.path(PROGRESS), left).unwrap();
    assert!(matches!(project.claim(IfExists::Resume).unwrap_err(), Error::OutputExists { .. }));
    assert_eq!(project.read(OUTPUT), "decided");
    drop(OutputFile::claim_existing(project.location()).unwrap());
    assert_eq!(project.names(), ["in.csv", OUTPUT]);
}

#[test]
fn an_output_that_is_to_be_overwritten_cannot_be_changed_before() {
    let project = Project::new();
    project.write(OUTPUT, "old");
    interrupt(project.claim(IfExists::Overwrite).unwrap());
    assert!(matches!(OutputFile::claim_existing(project.location()).unwrap_err(), Error::Unfinished { .. }));
}

#[test]
fn the_lock_of_a_progress_file_that_was_removed_meanwhile_does_not_count() {
    let project = Project::new();
    project.write(OUTPUT, "old");
    let first = OutputFile::claim_existing(project.location()).unwrap();
    BEFORE_LOCK.set(Some(Box::new(|| drop(first))));
    let _second = OutputFile::claim_existing(project.location()).unwrap();
    assert_eq!(project.names(), ["in.csv", OUTPUT, PROGRESS]);
    assert!(matches!(OutputFile::claim_existing(project.location()).unwrap_err(), Error::AlreadyRunning { .. }));
}

#[test]
fn an_output_belongs_to_one_process_at_a_time() {
    let project = Project::new();
    project.write(OUTPUT, "0");
    let holders = AtomicUsize::new(0);
    let count = || {
        let mut done = 0;
        while done < 8 {
            let Ok(output) = OutputFile::claim_existing(project.location()) else { continue };
            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
            let number: usize = io::read_to_string(output.location().open().unwrap()).unwrap().parse().unwrap();
            let partial = output.create().unwrap();
            write!(partial.file().unwrap(), "{}", number + 1).unwrap();
            holders.fetch_sub(1, Ordering::SeqCst);
            output.commit(partial, &project.input()).unwrap();
            done += 1;
        }
    };
    thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(count))));
    assert_eq!((project.read(OUTPUT), project.names().len()), ("24".into(), 2));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_earlier_output() {
    let project = Project::new();
    project.write(OUTPUT, "mine");
    let output = project.claim(IfExists::Overwrite).unwrap();
    let mut partial = output.create().unwrap();
    partial.file = File::options().write(true).open("/dev/full").unwrap();
    let error = project.fill(&output, &partial).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    drop(partial);
    output.discard();
    assert_eq!((project.read(OUTPUT), project.names().len()), ("mine".into(), 2));
}
