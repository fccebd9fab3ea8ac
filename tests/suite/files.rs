//! Jobs on whole files: the files they write and when, the rows they classify, and resuming an
//! interrupted run.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use batch::{Error, FileJob, JobHandle, Progress, Stage, Summary};
use classifier::Task;
use engine::testing::{Script, settings, start};
use tables::IfExists;

use crate::support::project::Project;

fn numbered(rows: usize) -> String {
    let lines: Vec<String> = (1..=rows).map(|row| format!("{row},text {row}\n")).collect();
    format!("id,text\n{}", lines.concat())
}

/// Waits until a job has classified `done` rows. Reading counts rows as well.
async fn until(running: &JobHandle<Summary>, done: u64) {
    let is_done = |progress: &Progress| progress.stage == Stage::Predicting && progress.done >= done;
    while !is_done(&running.progress.borrow()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_summary_counts_what_the_output_holds() {
    let place = Project::with(Script { threshold: Some(0.6), ..Script::default() });
    let long = "a b c d e f g h i";
    place.write("in.csv", format!("id,text,label\n1,hello,SHORT\n2,one two three,short\n3,{long},2\n4,,x\n5,you,\n"));
    let job = FileJob { label_column: Some("label".into()), ..place.job("in.csv") };
    let summary = place.run(job).await.unwrap();
    let expected = "id,text,label,prediction,confidence,uncertain,truncated,error\n\
        1,hello,SHORT,short,0.7,,,\n2,one two three,short,middle,0.55,true,,\n3,a b c d e f g h i,2,long,0.7,,true,\n\
        4,,x,,,,,`text` is empty or blank; send the text to classify\n5,you,,short,0.7,,,\n";
    assert_eq!(place.read("in.predicted.csv"), expected);
    assert_eq!(summary.labels, [("short".to_owned(), 2), ("long".to_owned(), 1), ("middle".to_owned(), 1)]);
    assert_eq!((summary.rows, summary.labelled, summary.accuracy), (5, 4, Some(0.25)));
    assert_eq!((summary.uncertain.first, summary.truncated.first, summary.failed.first), (vec![2], vec![3], vec![4]));
    assert!((summary.mean_confidence.unwrap() - 0.6625).abs() < 1e-6);
    assert_eq!(place.names(), ["in.csv", "in.predicted.csv"]);
}

#[tokio::test]
async fn identical_rows_run_once_and_keep_their_order() {
    let place = Project::new();
    let texts: Vec<String> = (0..1000).map(|row| format!("text {}", row * 7 % 10)).collect();
    place.write("in.txt", texts.join("\n"));
    let summary = place.run(place.job("in.txt")).await.unwrap();
    assert_eq!((summary.rows, place.script.runs()), (1000, 10));
    let output = place.read("in.predicted.csv");
    let written: Vec<&str> = output.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(written, texts);
}

#[tokio::test]
async fn an_output_is_replaced_only_when_that_is_asked_for() {
    let place = Project::new();
    place.write("in.csv", "text\nhello\n");
    place.write("in.predicted.csv", "mine");
    let error = place.run(place.job("in.csv")).await.unwrap_err();
    assert!(matches!(error, Error::Tables(tables::Error::OutputExists { .. })), "{error}");
    let resuming = FileJob { if_exists: IfExists::Resume, ..place.job("in.csv") };
    assert!(matches!(place.run(resuming).await.unwrap_err(), Error::Tables(tables::Error::OutputExists { .. })));
    assert_eq!(place.read("in.predicted.csv"), "mine");
    let job = FileJob { if_exists: IfExists::Overwrite, ..place.job("in.csv") };
    place.run(job).await.unwrap();
    assert_eq!(place.read("in.predicted.csv"), "text,prediction,confidence\nhello,short,0.7\n");
}

#[cfg(unix)]
#[tokio::test]
async fn an_output_has_the_permissions_of_its_input() {
    use std::os::unix::fs::PermissionsExt;
    for mode in [0o600, 0o640] {
        let place = Project::new();
        let input = place.write("in.csv", "text\nhello\n");
        fs::set_permissions(&input, fs::Permissions::from_mode(mode)).unwrap();
        place.run(place.job("in.csv")).await.unwrap();
        let output = fs::metadata(place.path("in.predicted.csv")).unwrap();
        assert_eq!(output.permissions().mode() & 0o777, mode);
    }
}

#[tokio::test]
async fn an_interrupted_run_is_resumed_without_classifying_a_row_twice() {
    let place = Project::new();
    place.write("in.csv", numbered(300).replace("text 200\n", "held\n"));
    let engine = start(&place.script, settings());
    let running = in_turn(place.job("in.csv")).start(engine);
    // Rows before the held one are finished; none after it has started.
    until(&running, 199).await;
    drop(running);
    while !place.names().contains(&"in.predicted.csv.progress".to_owned()) || still_locked(&place) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(place.names(), ["in.csv", "in.predicted.csv.progress"], "nothing half-written has the output's name");
    let journal = place.read("in.predicted.csv.progress");
    assert!(!journal.contains("text 1"), "texts are not kept: {journal}");
    let error = place.run(place.job("in.csv")).await.unwrap_err().to_string();
    assert!(error.ends_with("is left over from an interrupted run; continue it or start again"), "{error}");
    place.script.release();
    let again = Arc::new(Script::default());
    again.release();
    // An incomplete last line, as a killed process leaves it, is ignored.
    fs::write(place.path("in.predicted.csv.progress"), format!("{journal}{{\"d\":\"12")).unwrap();
    let job = FileJob { if_exists: IfExists::Resume, ..place.job("in.csv") };
    let summary = job.start(start(&again, settings())).finished().await.unwrap();
    assert_eq!((summary.rows, summary.resumed), (300, 199));
    assert_eq!(again.runs(), 101);
    let whole = Project::new();
    whole.script.release();
    whole.write("in.csv", place.read("in.csv"));
    whole.run(whole.job("in.csv")).await.unwrap();
    assert_eq!(place.read("in.predicted.csv"), whole.read("in.predicted.csv"));
    assert_eq!(place.names(), ["in.csv", "in.predicted.csv"]);
}

/// A job with one row in flight, so that no row can be queued behind a later one that is held.
fn in_turn(mut job: FileJob) -> FileJob {
    job.settings.in_flight = 1;
    job
}

fn still_locked(place: &Project) -> bool {
    let journal = fs::File::open(place.path("in.predicted.csv.progress")).unwrap();
    journal.try_lock().is_err()
}

#[tokio::test]
async fn resuming_with_other_rows_or_settings_is_refused() {
    let place = Project::new();
    place.write("in.csv", numbered(100).replace("text 80\n", "held\n"));
    let running = in_turn(place.job("in.csv")).start(start(&place.script, settings()));
    until(&running, 79).await;
    drop(running);
    while still_locked(&place) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let resume = || FileJob { if_exists: IfExists::Resume, ..place.job("in.csv") };
    let error = place.run(FileJob { text_column: Some("id".into()), ..resume() }).await.unwrap_err();
    assert!(matches!(error, Error::ResumeOther { .. }), "{error}");
    place.write("in.csv", numbered(100).replace("text 7\n", "another\n"));
    let error = place.run(resume()).await.unwrap_err().to_string();
    assert!(error.ends_with("/in.csv` changed at row 7 while or since it was classified"), "{error}");
    place.script.release();
    let summary = place.run(FileJob { if_exists: IfExists::Overwrite, ..place.job("in.csv") }).await.unwrap();
    assert_eq!((summary.rows, summary.resumed), (100, 0));
}

#[tokio::test]
async fn a_cancelled_job_leaves_nothing_within_100_ms() {
    let place = Project::new();
    place.write("in.csv", numbered(100).replace("text 80\n", "held\n"));
    let mut running = in_turn(place.job("in.csv")).start(start(&place.script, settings()));
    until(&running, 79).await;
    let asked = std::time::Instant::now();
    running.discard();
    assert_eq!(running.finished().await.unwrap_err(), Error::CANCELLED);
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
    assert_eq!(place.names(), ["in.csv"]);
    place.script.release();
}

#[tokio::test]
async fn two_jobs_do_not_write_one_output() {
    let place = Project::new();
    place.write("in.csv", "text\nheld\n");
    let mut first = place.job("in.csv").start(start(&place.script, settings()));
    while place.script.runs() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let job = FileJob { if_exists: IfExists::Overwrite, ..place.job("in.csv") };
    assert!(matches!(place.run(job).await.unwrap_err(), Error::Tables(tables::Error::AlreadyRunning { .. })));
    place.script.release();
    first.finished().await.unwrap();
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_ends_the_job_and_leaves_nothing() {
    let place = Project::with(Script { failing_loads: 9.into(), ..Script::default() });
    place.write("in.csv", numbered(10));
    let error = place.run(place.job("in.csv")).await.unwrap_err();
    assert!(matches!(error, Error::Engine(engine::Error::ModelFailed { .. })), "{error}");
    assert_eq!(place.names(), ["in.csv"]);
}

#[tokio::test]
async fn corrections_keep_the_answer_of_the_model() {
    for name in ["in.csv", "in.jsonl"] {
        let place = Project::with(Script { threshold: Some(0.6), ..Script::default() });
        match name {
            "in.csv" => place.write(name, "text\nhello\none two three\nthree four five\n"),
            _ => place
                .write(name, "{\"text\":\"hello\"}\n{\"text\":\"one two three\"}\n{\"text\":\"three four five\"}\n"),
        };
        place.run(place.job(name)).await.unwrap();
        let review = place.job(name).review(1).finished().await.unwrap();
        assert_eq!((review.left, review.uncertain, review.rows[0].row), (2, true, 2), "{name}");
        assert_eq!(review.rows[0].text, "one two three");
        for label in ["short", "long"] {
            let corrected = place.correct(place.job(name), &[("2", label)]).await.unwrap();
            assert_eq!(corrected.rows, 1);
        }
        let expected = match name {
            "in.csv" => {
                "text,prediction,confidence,uncertain,corrected_from\nhello,short,0.7,,\n\
                 one two three,long,0.55,false,middle\nthree four five,middle,0.55,true,\n"
            }
            _ => concat!(
                "{\"text\":\"hello\",\"prediction\":\"short\",\"confidence\":0.7}\n",
                "{\"text\":\"one two three\",\"prediction\":\"long\",\"confidence\":0.55,\"uncertain\":false,\"corrected_from\":\"middle\"}\n",
                "{\"text\":\"three four five\",\"prediction\":\"middle\",\"confidence\":0.55,\"uncertain\":true}\n"
            ),
        };
        let output = name.replace("in.", "in.predicted.");
        assert_eq!(place.read(&output), expected);
        let review = place.job(name).review(5).finished().await.unwrap();
        assert_eq!((review.left, review.rows[0].row), (1, 3), "{name}");
        let error = place.correct(place.job(name), &[("4", "long")]).await.unwrap_err();
        assert_eq!(error.to_string(), "row `4` cannot be corrected: the output has 3 rows; expected 1 to 3");
        assert_eq!(place.read(&output), expected, "a correction that fails changes nothing");
    }
}

#[tokio::test]
async fn a_model_without_a_threshold_shows_its_least_certain_rows() {
    let place = Project::new();
    place.write("in.csv", "text\nhello\none two three\nyou\n");
    place.run(place.job("in.csv")).await.unwrap();
    let review = place.job("in.csv").review(2).finished().await.unwrap();
    let rows: Vec<u64> = review.rows.iter().map(|row| row.row).collect();
    assert_eq!((review.left, review.uncertain, rows), (3, false, vec![2, 1]));
    // The output itself can also be named.
    let review = place.job("in.predicted.csv").review(1).finished().await.unwrap();
    assert_eq!(review.rows[0].row, 2);
}

#[tokio::test]
async fn an_output_in_json_lines_is_recognized_although_its_first_rows_failed() {
    let failed = |field: &str| format!("{{\"text\":\"fail\"{field}}}\n").repeat(300);
    for (content, prefix) in [
        (failed("") + "{\"text\":\"hello\"}\n", ""),
        // The fields `prediction` and `value` are the user's.
        (failed(",\"value\":1,\"prediction\":\"mine\"") + "{\"text\":\"hello\"}\n", "local_model_"),
    ] {
        let place = Project::new();
        place.write("in.jsonl", content);
        let summary = place.run(place.job("in.jsonl")).await.unwrap();
        assert_eq!((summary.rows, summary.failed.count), (301, 300));
        let review = place.job("in.jsonl").review(9).finished().await.unwrap();
        assert_eq!(review.rows.iter().map(|row| row.row).collect::<Vec<_>>(), [301]);
        place.correct(place.job("in.jsonl"), &[("1", "long"), ("301", "middle")]).await.unwrap();
        let output = place.read("in.predicted.jsonl");
        let first = format!("\"{prefix}prediction\":\"long\",\"{prefix}corrected_from\":\"none\"}}");
        assert!(output.lines().next().unwrap().ends_with(&first), "{output}");
        assert!(output.lines().last().unwrap().contains(&format!("\"{prefix}prediction\":\"middle\"")), "{output}");
        assert_eq!(output.matches("\"prediction\":\"mine\"").count(), if prefix.is_empty() { 0 } else { 300 });
    }
    let place = Project::new();
    place.write("in.jsonl", failed(""));
    place.run(place.job("in.jsonl")).await.unwrap();
    assert_eq!(place.job("in.predicted.jsonl").review(9).finished().await.unwrap().left, 0);
}

#[tokio::test]
async fn a_file_of_the_user_is_not_taken_for_an_output_because_of_its_columns() {
    let place = Project::new();
    let content = "text,prediction,confidence\nhello,good,0.5\n";
    place.write("in.csv", content);
    let error = place.job("in.csv").review(9).finished().await.unwrap_err();
    assert!(matches!(error, Error::OutputMissing { .. }), "{error}");
    let error = place.correct(place.job("in.csv"), &[("1", "long")]).await.unwrap_err();
    assert!(matches!(error, Error::OutputMissing { .. }), "{error}");
    assert_eq!(place.read("in.csv"), content);
    place.run(place.job("in.csv")).await.unwrap();
    place.correct(place.job("in.csv"), &[("1", "long")]).await.unwrap();
    let output = place.read("in.predicted.csv");
    assert!(output.ends_with("\nhello,good,0.5,long,0.7,short\n"), "{output}");
}

#[tokio::test]
async fn all_labels_of_a_decision_are_written_also_where_the_model_failed() {
    for name in ["in.csv", "in.jsonl"] {
        let place = Project::with(Script { task: Some(Task::MultiLabel), ..Script::default() });
        place.write(name, if name == "in.csv" { "text\nfail\n" } else { "{\"text\":\"fail\"}\n" });
        place.run(place.job(name)).await.unwrap();
        place.correct(place.job(name), &[("1", "short,long")]).await.unwrap();
        let output = place.read(&name.replace("in.", "in.predicted."));
        let expected =
            if name == "in.csv" { "\"[\"\"short\"\",\"\"long\"\"]\"" } else { "\"labels\":[\"short\",\"long\"]" };
        assert!(output.contains(expected), "{output}");
    }
}

#[tokio::test]
async fn second_texts_are_read_from_their_column_and_never_left_out_unsaid() {
    let place = Project::new();
    place.write("in.csv", "text,text_pair,label\na,b,short\na,b c d,middle\na,,short\n");
    let error = place.run(place.job("in.csv")).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the column `text_pair` would not be read; name the column with second texts, or the one with texts alone"
    );
    let job = || FileJob { pair_column: Some("text_pair".into()), ..place.job("in.csv") };
    let twice = FileJob { text_column: Some("text_pair".into()), ..job() };
    let error = place.run(twice).await.unwrap_err().to_string();
    assert!(error.starts_with("`text_pair` is named twice; expected different columns"), "{error}");
    let summary = place.run(FileJob { label_column: Some("label".into()), ..job() }).await.unwrap();
    assert_eq!(summary.accuracy, Some(1.0));
    let alone = FileJob { text_column: Some("text".into()), if_exists: IfExists::Overwrite, ..place.job("in.csv") };
    assert_eq!(place.run(alone).await.unwrap().labels, [("short".to_owned(), 3)]);
}

#[tokio::test]
async fn resuming_with_other_second_texts_is_refused() {
    let place = Project::new();
    let rows: String = (0..100).map(|row| format!("{},b {row}\n", if row == 80 { "held" } else { "a" })).collect();
    place.write("in.csv", format!("text,text_pair\n{rows}"));
    let job = || FileJob { pair_column: Some("text_pair".into()), ..place.job("in.csv") };
    let running = in_turn(job()).start(start(&place.script, settings()));
    until(&running, 79).await;
    drop(running);
    while still_locked(&place) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    place.write("in.csv", format!("text,text_pair\n{}", rows.replace("b 7\n", "another\n")));
    let error = place.run(FileJob { if_exists: IfExists::Resume, ..job() }).await.unwrap_err().to_string();
    assert!(error.ends_with("/in.csv` changed at row 8 while or since it was classified"), "{error}");
}
