//! Whole files and the filter with the executable and the real model.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use classifier::Task;
use engine::testing::Script;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::{Server, call, command, text};
use crate::support::project::Project;

fn predict(place: &Project, arguments: &[&str]) -> Command {
    let mut command = command(&["predict"]);
    command.args(arguments).current_dir(place.root());
    command
}

/// Runs `predict` as a filter and returns its lines and its exit status.
fn filter(arguments: &[&str], input: &[u8]) -> (Vec<Value>, Option<i32>) {
    let mut command = command(&["predict"]);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let lines = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, output.status.code())
}

#[test]
fn the_command_line_takes_any_path_and_a_failed_row_is_status_1() {
    let place = Project::new();
    let elsewhere = Project::new();
    let input = elsewhere.write("in.csv", "id,text\n1,I love this\n2,\n");
    let output = predict(&place, &["--file", input.to_str().unwrap(), "-o", "out.csv"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["rows"], &summary["labels"]["positive"]), (&json!(2), &json!(1)));
    assert!(place.read("out.csv").starts_with("id,text,prediction,confidence,error\n1,I love this,positive,0.9"));
    let again = predict(&place, &["--file", input.to_str().unwrap(), "-o", "out.csv"]).output().unwrap();
    assert_eq!((again.status.code(), again.stdout.len()), (Some(2), 0));
    assert!(text(&again.stderr).contains("exists already"), "{}", text(&again.stderr));
}

#[test]
fn a_killed_run_leaves_no_output_and_can_be_resumed() {
    let place = Project::new();
    let rows: Vec<String> = (0..3000).map(|row| format!("{row},sentence number {row} says this and that\n")).collect();
    place.write("in.csv", format!("id,text\n{}", rows.concat()));
    let journal = place.path("in.predicted.csv.progress");
    let mut child = predict(&place, &["--file", "in.csv"]).stdout(Stdio::null()).spawn().unwrap();
    while fs::metadata(&journal).map_or(0, |journal| journal.len()) < 20_000 {
        assert_eq!(child.try_wait().unwrap(), None, "it finished before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.names(), ["in.csv", "in.predicted.csv.progress"]);
    let output = predict(&place, &["--file", "in.csv", "--resume"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(summary["resumed_rows"].as_u64().unwrap() >= 64, "{summary}");
    let output = place.read("in.predicted.csv");
    assert_eq!(output.lines().count(), 3001);
    assert!(
        output
            .lines()
            .skip(1)
            .enumerate()
            .all(|(row, line)| line.starts_with(&format!("{row},sentence number {row} ")))
    );
    assert_eq!(place.names(), ["in.csv", "in.predicted.csv"]);
}

#[test]
fn the_filter_writes_one_line_for_every_line_it_reads() {
    let input = [
        br#"{"id": 1.50, "text": "I love this"}"#.as_slice(),
        b"no object",
        b"",
        b"\xFF\xFE",
        br#"{"id": 2, "text": null}"#,
        br#"{"id": 3, "text": "I hate this", "more": {"a": [1, 2]}}"#,
    ]
    .join(&b'\n');
    let (lines, status) = filter(&["--jsonl"], &input);
    assert_eq!((lines.len(), status), (6, Some(1)));
    assert_eq!((&lines[0]["id"], &lines[0]["prediction"]), (&json!(1.5), &json!("positive")));
    assert_eq!(lines[1]["line"], "no object");
    for bad in &lines[1..5] {
        assert!(bad["error"].is_string() && bad.get("prediction").is_none(), "{bad}");
    }
    assert_eq!((&lines[5]["more"]["a"][1], &lines[5]["prediction"]), (&json!(2), &json!("negative")));
    let (lines, status) = filter(&["--text-column", "body.text"], br#"{"body":{"text":"I love this"}}"#);
    assert_eq!((&lines[0]["prediction"], status), (&json!("positive"), Some(0)));
}

#[test]
fn lines_that_cannot_be_read_do_not_end_the_stream() {
    let huge = vec![b'x'; tables::MAX_ROW_BYTES + 1];
    let input = [b"I love this".as_slice(), b"caf\xE9", &huge, b"I hate this"].join(&b'\n');
    let (lines, status) = filter(&[], &input);
    assert_eq!((lines.len(), status), (4, Some(1)));
    assert_eq!(lines[0]["prediction"], "positive");
    assert!(lines[1]["error"].as_str().unwrap().starts_with("the row is not UTF-8 from byte 4 on"), "{}", lines[1]);
    assert!(lines[2]["error"].as_str().unwrap().starts_with("the row has 16777217 bytes"), "{}", lines[2]);
    assert_eq!(lines[3]["prediction"], "negative");
    assert_eq!(filter(&[], b"").1, Some(0));
}

#[test]
fn a_closed_stdout_ends_the_filter_quietly() {
    let mut command = command(&["predict"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        // Ends with an error once the other side is gone.
        while stdin.write_all(b"one more sentence\n").is_ok() {}
    });
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    writing.join().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}

#[test]
fn tool_calls_read_files_below_the_project_folder() {
    let (project, started_in, allowed) = (Project::new(), Project::new(), Project::new());
    for place in [&project, &started_in, &allowed] {
        place.write("in.txt", "I love this\n");
    }
    let mut command = command(&["serve", "--allow-dir", allowed.root().to_str().unwrap()]);
    command.env("CLAUDE_PROJECT_DIR", project.root()).current_dir(started_in.root());
    let mut server = Server::over_pipes(command);
    let mut file =
        |path: &str| server.ask(&call(1, "local_model_predict_file", json!({ "path": path })))["result"].take();
    assert_eq!(file("in.txt")["structuredContent"]["labels"], json!({ "positive": 1 }));
    assert_eq!(file(allowed.path("in.txt").to_str().unwrap())["isError"], false);
    let refused = file(started_in.path("in.txt").to_str().unwrap());
    assert!(refused["content"][0]["text"].as_str().unwrap().contains("is outside; files must be below"), "{refused}");
    assert!(project.read("in.predicted.csv").contains("I love this,positive,"));
    assert_eq!(started_in.names(), ["in.txt"]);
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[tokio::test]
async fn fields_of_the_user_are_never_overwritten_and_never_steer_a_review() {
    let place = Project::with(Script { threshold: Some(0.6), ..Script::default() });
    let mut lines = vec!["{\"text\":\"one two three\"}\n".to_owned(); 300];
    lines.push("{\"text\":\"hello\",\"prediction\":\"HUMAN\",\"corrected_from\":\"x\"}\n".into());
    place.write("in.jsonl", lines.concat());
    place.write("in.csv", "text,uncertain\nhello,true\none two three,true\n");
    for (name, expected) in [
        (
            "in.jsonl",
            "{\"text\":\"hello\",\"prediction\":\"HUMAN\",\"corrected_from\":\"x\",\
             \"local_model_prediction\":\"short\",\"local_model_confidence\":0.7}\n",
        ),
        (
            "in.csv",
            "text,uncertain,local_model_prediction,local_model_confidence,local_model_uncertain\nhello,true,short,0.7,\n",
        ),
    ] {
        place.run(place.job(name)).await.unwrap();
        let output = place.read(&name.replace('.', ".predicted."));
        assert!(output.contains(expected), "{output}");
        let review = place.job(name).review(500).finished().await.unwrap();
        assert!(review.rows.iter().all(|row| row.text == "one two three"), "{name}");
    }
    // A file that merely has a column with one of our names is not an output.
    place.write("human.csv", "text,prediction\nhello,HUMAN\n");
    let error = place.correct(place.job("human.csv"), &[("1", "long")]).await.unwrap_err();
    assert!(error.to_string().contains("classify the file first"), "{error}");
}

#[tokio::test]
async fn corrections_of_every_task_change_what_belongs_together() {
    for (task, label, before, after) in [
        (
            Task::MultiLabel,
            "short, long",
            "middle,0.55,\"[\"\"middle\"\"]\",",
            "short,0.55,\"[\"\"short\"\",\"\"long\"\"]\",middle",
        ),
        (Task::MultiLabel, "none", "middle,0.55,\"[\"\"middle\"\"]\",", "none,0.55,[],middle"),
        (Task::Regression, "0.25", "middle,0.55,", "middle,0.25,0.55"),
    ] {
        let place = Project::with(Script { task: Some(task), ..Script::default() });
        place.write("in.csv", "text\none two three\nthree four five\n");
        place.run(place.job("in.csv")).await.unwrap();
        place.correct(place.job("in.csv"), &[("2", label)]).await.unwrap();
        let output = place.read("in.predicted.csv");
        assert!(output.contains(&format!("one two three,{before}\n")), "{output}");
        assert!(output.contains(&format!("three four five,{after}\n")), "{output}");
    }
}
#[tokio::test]
async fn corrections_side_by_side_are_all_kept() {
    let place = Project::with(Script { threshold: Some(0.6), ..Script::default() });
    let rows: Vec<String> = (0..12).map(|row| format!("{row},one two three\n")).collect();
    place.write("in.csv", format!("id,text\n{}", rows.concat()));
    place.run(place.job("in.csv")).await.unwrap();
    // Each job has its own settings, as in another process.
    let place = &place;
    let correct = async |row: usize| {
        let row = row.to_string();
        place.correct(place.job("in.csv"), &[(&row, "long")]).await.unwrap();
    };
    join_all((1..=12).map(correct)).await;
    let output = place.read("in.predicted.csv");
    assert_eq!(output.lines().filter(|line| line.contains(",long,")).count(), 12, "{output}");
    assert_eq!(place.names(), ["in.csv", "in.predicted.csv"]);
}
