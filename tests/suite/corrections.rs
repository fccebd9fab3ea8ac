//! Corrections of one output from several servers that are ended in between. `bench-tool
//! corrections` does the same for longer.

use std::collections::HashSet;
use std::thread;

use serde_json::{Value, json};

use crate::support::client::{Server, call, command};
use crate::support::project::Project;

const SERVERS: u64 = 3;
const ROWS_A_SERVER: u64 = 30;

/// How a server ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    Terminated,
    InputClosed,
}

fn server(place: &Project) -> Server {
    let mut command = command(&["serve"]);
    command.env("CLAUDE_PROJECT_DIR", place.root());
    Server::over_pipes(command)
}

fn correction(row: u64) -> Value {
    let corrections = json!({ row.to_string(): "negative" });
    call(row, "local_model_predict_file", json!({ "path": "in.csv", "corrections": corrections }))
}

/// Sends all corrections at once and ends the server when a third of them is answered. Returns the
/// rows of those that were answered.
fn correct(place: &Project, rows: std::ops::Range<u64>, end: End) -> HashSet<u64> {
    let mut server = server(place);
    rows.clone().for_each(|row| server.send(&correction(row)));
    let mut answers: Vec<Value> = rows.step_by(3).map(|_| server.receive()).collect();
    match end {
        End::Killed => server.child.kill().unwrap(),
        End::Terminated => {
            let pid = rustix::process::Pid::from_child(&server.child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        }
        End::InputClosed => {}
    }
    let (_, rest) = server.finish();
    // The last line of a killed server may be incomplete.
    answers.extend(rest.lines().filter_map(|line| serde_json::from_str(line).ok()));
    let corrected = |answer: &Value| answer["result"]["structuredContent"]["corrected"] == 1;
    answers.iter().filter(|answer| corrected(answer)).map(|answer| answer["id"].as_u64().unwrap()).collect()
}

#[test]
fn a_correction_that_was_answered_is_in_the_output_however_its_server_ends() {
    let place = Project::new();
    let rows = SERVERS * ROWS_A_SERVER;
    place.write("in.csv", format!("text\n{}", "I love this\n".repeat(rows as usize)));
    let mut first = server(&place);
    let classified = first.ask(&call(0, "local_model_predict_file", json!({ "path": "in.csv" })));
    assert_eq!(classified["result"]["structuredContent"]["labels"], json!({ "positive": rows }), "{classified}");
    let answered: HashSet<u64> = thread::scope(|scope| {
        let ends = [End::Killed, End::Terminated, End::InputClosed];
        let place = &place;
        let clients = ends.into_iter().zip(0..).map(|(end, number)| {
            let rows = 1 + number * ROWS_A_SERVER..1 + (number + 1) * ROWS_A_SERVER;
            scope.spawn(move || correct(place, rows, end))
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(answered.len() as u64 > rows / 3, "{answered:?}");
    // What a killed server left does not hinder the next correction, and is gone after it.
    let last = first.ask(&correction(rows));
    assert_eq!(last["result"]["structuredContent"]["corrected"], 1, "{last}");
    let output = place.read("in.predicted.csv");
    let corrected: HashSet<u64> =
        output.lines().skip(1).zip(1..).filter(|(line, _)| line.contains(",negative,")).map(|(_, row)| row).collect();
    let lost: Vec<&u64> = answered.difference(&corrected).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(place.names(), ["in.csv", "in.predicted.csv"]);
}
