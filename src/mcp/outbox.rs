//! The lines waiting to be written, in order. Large ones are made on other threads.

use std::io;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::mcp::duplex::Writer;

/// A large message counts as this many bytes until it is written.
const LARGE_BYTES: usize = 1 << 20;

/// Where lines are posted. They are written by the future that comes with it.
pub(super) struct Outbox {
    lines: mpsc::UnboundedSender<(Line, usize)>,
    /// Bytes posted but not yet written.
    unread: watch::Sender<usize>,
}

enum Line {
    Made(Vec<u8>),
    /// Being made on another thread.
    InProgress(JoinHandle<serde_json::Result<Vec<u8>>>),
}

impl Outbox {
    /// Returns an outbox, and a future that writes its lines. The future completes when the outbox
    /// is gone, or with an error when a write fails.
    pub(super) fn new(writer: Writer) -> (Self, impl Future<Output = io::Result<()>>) {
        let (lines, receiver) = mpsc::unbounded_channel();
        let unread = watch::Sender::new(0);
        let written = write_lines(writer, receiver, unread.clone());
        (Self { lines, unread }, written)
    }

    pub(super) fn post(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        let bytes = line.len();
        self.push(Line::Made(line), bytes);
    }

    /// Posts a message that is written as JSON on another thread: megabytes take tens of
    /// milliseconds.
    pub(super) fn post_large(&self, message: impl Serialize + Send + 'static) {
        let make = move || {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            Ok(line)
        };
        self.push(Line::InProgress(spawn_blocking(make)), LARGE_BYTES);
    }

    fn push(&self, line: Line, bytes: usize) {
        self.unread.send_modify(|unread| *unread += bytes);
        // If the writer is gone, the session ends elsewhere.
        let _ = self.lines.send((line, bytes));
    }

    /// Waits until at most `limit` bytes are unread.
    pub(super) async fn wait_until(&self, limit: usize) {
        // Cannot fail while `self` holds a sender.
        let _ = self.unread.subscribe().wait_for(|bytes| *bytes <= limit).await;
    }
}

impl Line {
    async fn made(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Made(line) => Ok(line),
            Self::InProgress(line) => Ok(line.await??),
        }
    }
}

async fn write_lines(
    mut writer: Writer,
    mut lines: mpsc::UnboundedReceiver<(Line, usize)>,
    unread: watch::Sender<usize>,
) -> io::Result<()> {
    while let Some((line, mut bytes)) = lines.recv().await {
        let mut waiting = line.made().await?;
        while let Ok((line, more)) = lines.try_recv() {
            waiting.extend_from_slice(&line.made().await?);
            bytes += more;
        }
        writer.write_all(&waiting).await?;
        writer.flush().await?;
        unread.send_modify(|unread| *unread -= bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_messages_keep_their_place() {
        let (writer, client) = tokio::io::duplex(1 << 20);
        let (outbox, written) = Outbox::new(Box::new(writer));
        let large = vec!["x".repeat(1000); 300];
        outbox.post(b"first".to_vec());
        outbox.post_large(large.clone());
        outbox.post(b"last".to_vec());
        drop(outbox);
        written.await.unwrap();
        let lines = String::from_utf8(client_bytes(client).await).unwrap();
        let expected = format!("first\n{}\nlast\n", serde_json::to_string(&large).unwrap());
        assert!(lines == expected, "{lines:.100}");
    }

    async fn client_bytes(mut client: tokio::io::DuplexStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut client, &mut bytes).await.unwrap();
        bytes
    }
}
