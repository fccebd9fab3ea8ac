//! The end of the process, and conditions of the machine that it tolerates: other servers, damaged
//! or missing files, a full disk, little memory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::faults::{AT_ONCE, answers, ended};
use crate::support::client::{EXECUTABLE, Server, call, command, predict, request, run, text};

/// Starts a server with its own cache directory.
fn server_in(cache: &Path, arguments: &[&str]) -> Server {
    let mut command = command(&[&["serve"], arguments].concat());
    command.env("LOCAL_MODEL_MCP_CACHE_DIR", cache);
    Server::over_pipes(command)
}

#[track_caller]
fn assert_predicts(server: &mut Server, id: &str) {
    let answer = server.ask(&predict(id, "I love this"));
    assert_eq!(answer["result"]["structuredContent"]["prediction"], "positive", "{answer}");
}

/// Sends long, distinct texts, which keep all workers busy and fill the queue.
fn send_long_texts(server: &mut Server, count: usize) {
    let lines: String =
        (0..count).map(|id| format!("{}\n", predict(id, &format!("{id} {}", "word ".repeat(500))))).collect();
    server.send_bytes(lines.as_bytes());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_server_in_every_state() {
    use rustix::process::{Pid, Signal, kill_process, test_kill_process_group};
    use std::os::unix::process::CommandExt;
    type Moment = (&'static str, fn(&mut Server));
    let moments: [Moment; 4] = [
        ("while it loads", |_| {}),
        ("idle", |server| assert_predicts(server, "a")),
        ("during a long run", |server| send_long_texts(server, 1)),
        ("with a full queue", |server| send_long_texts(server, 2000)),
    ];
    for signal in [Signal::INT, Signal::TERM] {
        for (moment, reach) in moments {
            let mut command = command(&["serve", "--queue-capacity", "1000"]);
            command.process_group(0);
            let mut server = Server::over_pipes(command);
            server.ask(&request("first", "server/discover", json!({})));
            reach(&mut server);
            std::thread::sleep(Duration::from_millis(10));
            let process = Pid::from_child(&server.child);
            kill_process(process, signal).unwrap();
            let (status, took) = ended(&mut server);
            assert_eq!(status, Some(0), "{signal:?} {moment}");
            assert!(took < AT_ONCE, "{signal:?} {moment}: {took:?}");
            assert!(test_kill_process_group(process).is_err(), "{signal:?} {moment}: a process is left");
        }
    }
}

#[test]
fn the_end_of_input_ends_an_idle_server_at_once() {
    for (moment, calls) in [("while it loads", 0), ("after a call", 1)] {
        let mut server = Server::over_pipes(command(&["serve"]));
        (0..calls).for_each(|id| assert_predicts(&mut server, &id.to_string()));
        server.close_input();
        let (status, took) = ended(&mut server);
        assert_eq!(status, Some(0));
        assert!(took < AT_ONCE, "{moment}: {took:?}");
    }
}

#[test]
fn servers_started_together_on_an_empty_cache_all_serve() {
    let cache = tempfile::tempdir().unwrap();
    let mut servers: Vec<Server> = (0..3).map(|_| server_in(cache.path(), &[])).collect();
    for server in &mut servers {
        server.send(&predict("a", "I love this"));
    }
    for mut server in servers {
        assert_eq!(answers(&mut server, 1)["\"a\""]["result"]["structuredContent"]["prediction"], "positive");
        assert_eq!(server.finish(), (Some(0), String::new()));
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn the_first_session_keeps_no_file_of_the_executable_in_memory() {
    let cache = tempfile::tempdir().unwrap();
    let mut server = server_in(cache.path(), &[]);
    assert_predicts(&mut server, "a");
    let maps = fs::read_to_string(format!("/proc/{}/smaps", server.child.id())).unwrap();
    let mut lines = maps.lines();
    let mut kilobytes = 0;
    while lines.find(|line| line.contains(" r--p ") && line.ends_with(EXECUTABLE)).is_some() {
        let resident = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        kilobytes += resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
    }
    // The library alone has 29 MB, a graph 21.
    assert!(kilobytes < 20_000, "{kilobytes} kB");
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[test]
fn deleting_the_cache_directory_fails_no_call() {
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let mut server = server_in(&cache, &[]);
    assert_predicts(&mut server, "a");
    // The server may still be writing there.
    while cache.exists() {
        let _ = fs::remove_dir_all(&cache);
    }
    send_long_texts(&mut server, 4);
    let answers = answers(&mut server, 4);
    assert!(answers.values().all(|answer| answer["result"]["isError"] == false), "{answers:?}");
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[test]
fn a_loaded_model_keeps_working_when_its_folder_changes() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("mine");
    fs::rename(classifier::testing::built_in_copy().keep(), &folder).unwrap();
    let model = format!("mine={}", folder.display());
    let mut server = server_in(&place.path().join("cache"), &["--model", &model]);
    assert_predicts(&mut server, "a");
    let changes: [(&str, &dyn Fn()); 3] = [
        ("half-written", &|| fs::write(folder.join("model.onnx"), "half").unwrap()),
        ("removed", &|| fs::remove_dir_all(&folder).unwrap()),
        ("replaced", &|| fs::write(&folder, "a file").unwrap()),
    ];
    for (change, make) in changes {
        make();
        send_long_texts(&mut server, 2);
        assert!(answers(&mut server, 2).values().all(|answer| answer["result"]["isError"] == false), "{change}");
        server.send(&predict("b", &format!("I love it when it is {change}")));
        assert_eq!(answers(&mut server, 1)["\"b\""]["result"]["structuredContent"]["prediction"], "positive");
    }
    // Only a new load reads the folder.
    let new = run(&["predict", "--model", &model, "hello"]);
    assert!(text(&new.stderr).contains("is a file, expected a model folder"), "{}", text(&new.stderr));
}

#[test]
fn damaged_results_of_earlier_sessions_are_ignored() {
    let cache = tempfile::tempdir().unwrap();
    let status = |server: &mut Server| {
        server.ask(&call("s", "local_model_status", json!({})))["result"]["structuredContent"].take()
    };
    let session = |kept: bool| {
        let mut server = server_in(cache.path(), &[]);
        // The results are read after the model has loaded, in parallel with the first calls.
        while status(&mut server)["models"][0]["state"] != "ready"
            || kept && status(&mut server)["cache"]["entries"] == 0
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        (0..3).for_each(|id| assert_predicts(&mut server, &id.to_string()));
        let status = status(&mut server);
        assert_eq!(status["models"][0]["calls"]["model"], i32::from(!kept), "{status}");
        assert_eq!(server.finish(), (Some(0), String::new()));
    };
    let kept = || {
        let [file] = fs::read_dir(cache.path().join("results"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        file
    };
    session(false);
    session(true);
    let whole = fs::read(kept()).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"\xff\0[[[[", b"{\"version\":1,\"results\":[{\"key\":\"zz\"}]}"] {
        fs::write(kept(), damaged).unwrap();
        session(false);
    }
}

#[test]
fn odd_modification_times_in_the_cache_are_harmless() {
    let cache = tempfile::tempdir().unwrap();
    let mut first = server_in(cache.path(), &[]);
    assert_predicts(&mut first, "a");
    assert_eq!(first.finish().0, Some(0));
    for (moment, time) in [
        ("tomorrow", SystemTime::now() + Duration::from_secs(86_400)),
        ("in 1970", SystemTime::UNIX_EPOCH),
        ("in 2200", SystemTime::UNIX_EPOCH + Duration::from_secs(7_258_000_000)),
    ] {
        let mut folders = vec![cache.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    fs::File::options().read(true).open(&path).unwrap().set_modified(time).unwrap();
                }
            }
        }
        let mut server = server_in(cache.path(), &[]);
        assert_predicts(&mut server, moment);
        assert_eq!(server.finish(), (Some(0), String::new()), "{moment}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_server_runs_without_a_home_directory() {
    for home in ["/dev/null", "/proc/nowhere", ""] {
        let mut command = Command::new(EXECUTABLE);
        command.env_clear().env("HOME", home).arg("serve");
        let mut server = Server::over_pipes(command);
        assert_predicts(&mut server, home);
        assert_eq!(server.finish(), (Some(0), String::new()), "{home}");
    }
}

/// Starts a server that cannot write to files, as on a full disk.
#[cfg(target_os = "linux")]
fn on_full_disk(cache: &Path) -> Server {
    let mut command = Command::new("/bin/sh");
    command.env_clear().env("LOCAL_MODEL_MCP_CACHE_DIR", cache);
    command.args(["-c", "ulimit -f 0; trap '' XFSZ; exec \"$0\" serve --log-level off", EXECUTABLE]);
    Server::over_pipes(command)
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_only_a_first_start_and_the_error_names_the_cache_directory() {
    let cache = tempfile::tempdir().unwrap();
    let mut first = on_full_disk(cache.path());
    let answer = first.ask(&predict(1, "hello"));
    let error = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(error.contains("can neither be unpacked into") && error.contains("--cache-dir"), "{error}");
    assert_eq!(first.finish(), (Some(0), String::new()));
    // With free space, the library is unpacked; after that nothing needs to be written.
    assert_predicts(&mut server_in(cache.path(), &[]), "a");
    let mut later = on_full_disk(cache.path());
    (0..3).for_each(|id| assert_predicts(&mut later, &id.to_string()));
    assert_eq!(later.finish(), (Some(0), String::new()));
}

#[cfg(target_os = "linux")]
#[test]
fn an_unwritable_stdout_is_reported() {
    let mut command = command(&["serve"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = command.stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    // Stays open: the failed write ends the server.
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("{}\n", predict(1, "hello")).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).starts_with("error: answers cannot be written to stdout: "),
        "{}",
        text(&output.stderr)
    );
    drop(stdin);
}

#[cfg(target_os = "linux")]
#[test]
fn a_text_too_large_for_the_memory_fails_one_call() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let mut server = Server::over_pipes(command(&["serve", "--log-level", "off"]));
    assert_predicts(&mut server, "a");
    let size = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let kilobytes = status.lines().find(|line| line.starts_with("VmSize:")).unwrap();
        kilobytes.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    // Precomputing goes on for a moment after the first answer.
    let mut sizes = vec![size()];
    while sizes.len() < 4 || sizes[sizes.len() - 4..].iter().any(|earlier| *earlier != sizes[sizes.len() - 1]) {
        std::thread::sleep(Duration::from_millis(20));
        sizes.push(size());
    }
    let size = size();
    let process = Some(Pid::from_child(&server.child));
    let before = getrlimit(Resource::As);
    prlimit(process, Resource::As, Rlimit { current: Some(size + (24 << 20)), ..before }).unwrap();
    let long = predict("b", &"word ".repeat(50_000));
    let refused = server.ask(&long)["result"].take();
    assert_eq!(refused["isError"], true, "{refused}");
    let error = refused["content"][0]["text"].as_str().unwrap();
    assert!(error.starts_with("not enough memory for a text of 250000 bytes; send a shorter one"), "{error}");
    let short = server.ask(&predict("c", "I love that"));
    assert_eq!(short["result"]["structuredContent"]["prediction"], "positive");
    prlimit(process, Resource::As, before).unwrap();
    assert_eq!(server.ask(&long)["result"]["isError"], false);
}
