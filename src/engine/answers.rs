//! Answers on their way from workers to their callers: several in one go where many texts wait.
//!
//! Each time that the runtime's thread is woken, and then the client, some worker has to stop for them, and their code comes into the
//! processor's caches anew: with 64 texts in flight on two processors, 160 µs a text that takes 1.2 ms (docs/performance.md).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::engine::workers::Ran;
use crate::error::Error;

/// How long an answer is kept at most.
const KEPT: Duration = Duration::from_millis(8);
/// Answers are kept while so many texts wait for each worker: that makes the last of them wait for as many runs.
const MANY: usize = 8;

/// Where the caller of a run waits.
pub(super) type Reply = oneshot::Sender<Result<Ran, Error>>;
type Answer = (Reply, Result<Ran, Error>);

/// Those of one group of workers.
pub(super) struct Answers {
    /// Texts that wait while answers are kept, at least.
    many: usize,
    kept: Mutex<Kept>,
    out: UnboundedSender<Vec<Answer>>,
}

#[derive(Default)]
struct Kept {
    answers: Vec<Answer>,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Answers {
    /// Must be called inside a tokio runtime: callers are told there, at one wake-up for all answers that go out together.
    pub(super) fn new(workers: usize) -> Self {
        let (out, mut ready) = unbounded_channel::<Vec<Answer>>();
        tokio::spawn(async move {
            while let Some(answers) = ready.recv().await {
                for (reply, outcome) in answers {
                    // An error here only says that the caller has gone.
                    let _ = reply.send(outcome);
                }
            }
        });
        Self { many: MANY * workers, kept: Mutex::default(), out }
    }

    /// Takes what became of a text, if anybody still wants to know. All that is kept goes out unless many others are `waiting`.
    pub(super) fn add(&self, answer: Option<Answer>, waiting: usize) {
        let mut kept = self.kept();
        if answer.is_some() {
            kept.since.get_or_insert_with(Instant::now);
        }
        kept.answers.extend(answer);
        self.send(kept, |so_far| waiting < self.many || so_far > KEPT);
    }

    /// Sends what would be kept too long by a run that takes `expected`.
    pub(super) fn before_run(&self, expected: Option<Duration>) {
        self.send(self.kept(), |so_far| expected.is_none_or(|expected| so_far + expected > KEPT));
    }

    fn send(&self, mut kept: MutexGuard<'_, Kept>, due: impl FnOnce(Duration) -> bool) {
        if kept.since.is_none_or(|since| !due(since.elapsed())) {
            return;
        }
        let Kept { answers, .. } = std::mem::take(&mut *kept);
        // Whoever adds the next answer shall not wait until the runtime's thread is woken.
        drop(kept);
        // An error here only says that the runtime is ending.
        let _ = self.out.send(answers);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const SHORT: Option<Duration> = Some(Duration::from_micros(1));

    fn answer() -> (Answer, oneshot::Receiver<Result<Ran, Error>>) {
        let (reply, answer) = oneshot::channel();
        ((reply, Err(Error::Cancelled)), answer)
    }

    async fn came(answer: &mut oneshot::Receiver<Result<Ran, Error>>) -> bool {
        timeout(KEPT / 4, answer).await.is_ok()
    }

    #[tokio::test]
    async fn an_answer_goes_out_at_once_unless_many_texts_wait() {
        let answers = Answers::new(1);
        let (one, mut first) = answer();
        answers.add(Some(one), 0);
        assert!(came(&mut first).await);
        let ((two, mut second), (three, mut third)) = (answer(), answer());
        answers.add(Some(two), MANY);
        answers.before_run(SHORT);
        assert!(!came(&mut second).await);
        answers.add(Some(three), 0);
        assert!(came(&mut second).await && came(&mut third).await);
    }

    #[tokio::test]
    async fn no_answer_is_kept_through_a_long_run_nor_for_long() {
        let answers = Answers::new(1);
        for expected in [None, Some(KEPT * 2)] {
            let (one, mut first) = answer();
            answers.add(Some(one), MANY);
            answers.before_run(expected);
            assert!(came(&mut first).await);
        }
        let ((one, mut first), (two, mut second)) = (answer(), answer());
        answers.add(Some(one), MANY);
        tokio::time::sleep(KEPT).await;
        answers.add(Some(two), MANY);
        assert!(came(&mut first).await && came(&mut second).await);
    }

    #[tokio::test]
    async fn the_last_of_many_texts_to_be_withdrawn_lets_kept_answers_go() {
        let answers = Answers::new(1);
        let (one, mut first) = answer();
        answers.add(Some(one), MANY);
        answers.add(None, 0);
        assert!(came(&mut first).await);
    }
}
