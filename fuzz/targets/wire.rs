//! Sends arbitrary lines to a server over the scripted model. A request after them is always
//! answered, and all output of the server is JSON.

#![no_main]

use std::cell::RefCell;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use batch::JobSettings;
use engine::{Engine, testing};
use local_model_mcp::mcp::{self, Duplex};
use serde_json::Value;
use tables::PathPolicy;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::runtime::{Builder, Runtime};

const LAST: &str = r#"{"jsonrpc":"2.0","id":"the last one","method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

thread_local! {
    /// One engine for all inputs. Each input has its own session.
    static SERVED: RefCell<Option<(Runtime, Arc<Engine>)>> = const { RefCell::new(None) };
}

libfuzzer_sys::fuzz_target!(
    // The fake panics on request, and the engine catches that.
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| SERVED.with_borrow_mut(|served| {
        // `held` texts would wait for a release that never comes.
        if bytes.windows(4).any(|word| word == b"held") || bytes.windows(12).any(|word| word == b"the last one") {
            return;
        }
        let (runtime, engine) = served.get_or_insert_with(|| {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let engine = runtime.block_on(async { testing::start(&Arc::default(), testing::settings()) });
            (runtime, engine)
        });
        runtime.block_on(session(Arc::clone(engine), bytes));
    })
);

async fn session(engine: Arc<Engine>, bytes: &[u8]) {
    let jobs = JobSettings::new(PathPolicy::within([PathBuf::from("/nowhere/at/all")], 1 << 20), 4);
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(theirs);
    let server = tokio::spawn(mcp::serve(engine, jobs, None, false, Duplex::new(reader, writer), pending()));
    let (reader, mut writer) = tokio::io::split(ours);
    writer.write_all(&[bytes, b"\n", LAST.as_bytes(), b"\n"].concat()).await.expect("the server reads");
    let mut lines = BufReader::new(reader).lines();
    let answered = async {
        loop {
            let line = lines.next_line().await.expect("UTF-8").expect("the server is up");
            let message: Value = serde_json::from_str(&line).expect("stdout carries JSON alone");
            if message["id"] == "the last one" {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered).await.expect("the last request is answered");
    server.abort();
}
