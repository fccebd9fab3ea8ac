//! The MCP server: what clients and the assistant see.
//!
//! Only this module uses `rmcp`. The text that the assistant reads is in `tools`, one file per
//! tool, and in `server::instructions`. Classification, caching and file jobs are in other crates.

mod duplex;
mod envelope;
mod fine_tuning;
mod lines;
mod outbox;
mod requests;
mod server;
mod skill;
mod stdio;
mod tools;

use std::future::Future;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;

use batch::JobSettings;
pub use duplex::{Duplex, stdio};
use engine::Engine;
use server::Server;
use stdio::{Session, StdioTransport};
use teaching::Teacher;

/// Serves one client until its input has ended and its calls are answered, until it cannot read
/// answers, or until `shutdown` completes. With `fine_tunes`, models are fine-tuned in the
/// background after they were taught.
///
/// # Errors
/// An error of the transport, other than the client's disconnection.
pub async fn serve(
    engine: Arc<Engine>,
    jobs: JobSettings,
    teacher: Option<Arc<Teacher>>,
    fine_tunes: bool,
    duplex: Duplex,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let session = Arc::new(Session::default());
    let (transport, written) = StdioTransport::new(duplex, Arc::clone(&session));
    let server = Server::new(engine, jobs, teacher, fine_tunes, Arc::clone(&session));
    let served = async {
        match server.serve(transport).await {
            Ok(running) => {
                session.opened.store(true, Ordering::Relaxed);
                running.waiting().await.map(|_| ()).map_err(Into::into)
            }
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    tokio::select! {
        outcome = served => outcome,
        written = written => match written {
            Err(error) if !matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected) => {
                Err(format!("answers cannot be written to stdout: {error}").into())
            }
            // The client has left.
            _ => Ok(()),
        },
        () = shutdown => Ok(()),
    }
}
