//! The one row loop: texts in, answers out in the same order, several in flight at a time.
//!
//! The filter, the file job and the evaluation all classify their rows here. Nothing here reads or
//! writes a file.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt};

use crate::error::Error;
use classifier::Input;
use engine::{self, Answer, Engine, Priority, Request};

/// Pause before a row that found the queue full tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Options that all rows of one run share.
#[derive(Clone, Debug, Default)]
pub struct RowOptions {
    /// `None` means the first model.
    pub model: Option<String>,
    pub priority: Priority,
    /// Rows that may be in the engine at a time; at least one.
    pub in_flight: usize,
    /// As in [`Request::top_k`].
    pub top_k: Option<usize>,
    /// As in [`Request::explain`].
    pub explain: bool,
}

/// Classifies a stream of rows. The answers come in the order of the rows.
///
/// Each row is a pair: a value that is returned with the answer, and the input or the reason why
/// there is none. A row that fails does not affect the others. A row that finds the queue full
/// waits and tries again, without a limit. Rows are taken from the stream only while fewer than
/// `in_flight` are unanswered, so memory does not grow with the input. Dropping the stream cancels
/// all rows in flight.
pub fn classify_rows<T, E: From<engine::Error>>(
    engine: Arc<Engine>,
    rows: impl Stream<Item = (T, Result<Input, E>)>,
    options: RowOptions,
) -> impl Stream<Item = (T, Result<Answer, E>)> {
    let in_flight = options.in_flight.max(1);
    let options = Arc::new(options);
    rows.map(move |(row, input)| {
        let (engine, options) = (Arc::clone(&engine), Arc::clone(&options));
        // A row in flight holds its text, and several that are too long would fill the memory.
        let input = input.and_then(|input| engine.check(&input).map(|()| input).map_err(E::from));
        async move {
            let outcome = match input {
                Ok(input) => classify(&engine, &options, input).await.map_err(E::from),
                Err(problem) => Err(problem),
            };
            (row, outcome)
        }
    })
    .buffered(in_flight)
}

async fn classify(engine: &Engine, options: &RowOptions, input: Input) -> Result<Answer, engine::Error> {
    loop {
        let request = Request {
            model: options.model.clone(),
            input: input.clone(),
            top_k: options.top_k,
            priority: options.priority,
            explain: options.explain,
        };
        match engine.predict(request).await {
            Err(engine::Error::Overloaded { .. }) => tokio::time::sleep(RETRY_PAUSE).await,
            outcome => return outcome,
        }
    }
}

/// Returns whether every further row would get this error, so that a run should end with it.
pub(crate) fn concerns_every_row(error: &Error) -> bool {
    match error {
        Error::Engine(error) => error.concerns_every_text(),
        error => matches!(error, Error::Tables(tables::Error::FileBroken { .. })),
    }
}

#[cfg(test)]
mod tests {
    use engine::testing::{self, Script};
    use engine::{EngineSettings, Priority};
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_costs_no_row_and_the_order_stays() {
        let texts = ["one", "one two three", "fail", "two", "three", "a b c d e f g"];
        for priority in [Priority::Interactive, Priority::Background] {
            // The queue has room for two of the six rows in flight.
            let settings = EngineSettings { queue_capacity: 1, ..testing::settings() };
            let engine = testing::start(&Arc::new(Script::default()), settings);
            let rows = texts.into_iter().enumerate().map(|(row, text)| (row, Ok::<_, Error>(Input::single(text))));
            let options = RowOptions { in_flight: 6, priority, ..RowOptions::default() };
            let answers: Vec<_> = classify_rows(engine, stream::iter(rows), options).collect().await;
            let label = |outcome: &Result<Answer, Error>| {
                outcome.as_ref().map_or_else(ToString::to_string, |answer| answer.label().prediction)
            };
            let labels: Vec<(usize, String)> = answers.iter().map(|(row, outcome)| (*row, label(outcome))).collect();
            assert!(labels[2].1.contains("the text says so"), "{labels:?}");
            let expected = ["short", "middle", labels[2].1.as_str(), "short", "short", "long"];
            assert!(labels.iter().map(|(row, label)| (*row, label.as_str())).eq(expected.into_iter().enumerate()));
        }
    }
}
