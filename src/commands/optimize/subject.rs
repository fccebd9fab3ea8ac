//! A model or a sentence encoder, run text by text on one thread.

use std::path::Path;
use std::time::{Duration, Instant};

use classifier::{
    Cancellation, EncoderLocation, EncoderPool, Error, Input, LibrarySettings, Location, Model, ModelInfo, Outcome,
};

use super::sample::Words;

/// What a graph says about a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    Answer(Outcome),
    /// Of unit length.
    Vector(Vec<f32>),
}

pub(super) enum Subject {
    Model { info: Box<ModelInfo>, model: Box<dyn Model> },
    Encoder(EncoderPool),
}

impl Subject {
    /// Opens a folder. A graph without a head is a sentence encoder.
    pub(super) fn open(folder: &Path, library: &LibrarySettings) -> Result<Self, Error> {
        let location = Location::Folder(folder.to_owned());
        match classifier::load("model", &location, library, 1) {
            Ok(loaded) => Ok(Self::Model { info: Box::new(loaded.info), model: loaded.first }),
            Err(error @ (Error::HeadUntrained { .. } | Error::LogitsMissing { .. } | Error::OtherTask { .. })) => {
                let pool = EncoderPool::new(EncoderLocation::Folder(folder.to_owned()), library.clone(), 1);
                pool.dimensions().map_err(|_| error)?;
                Ok(Self::Encoder(pool))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a text. Returns also the number of tokens that were read.
    pub(super) fn read(&mut self, text: &str, cancellation: &Cancellation) -> Result<(Reading, usize), Error> {
        match self {
            Self::Model { model, .. } => {
                let prediction = model.predict(&Input::single(text), cancellation)?;
                Ok((Reading::Answer(prediction.outcome), prediction.tokens_read as usize))
            }
            Self::Encoder(pool) => {
                let encoding = pool.encode(text, cancellation)?;
                let read = encoding.truncated.map_or(encoding.tokens, |truncation| truncation.limit as usize);
                Ok((Reading::Vector(encoding.vector), read))
            }
        }
    }

    /// Returns a text of about this many tokens, and its number of tokens.
    fn text_of(&mut self, tokens: usize, cancellation: &Cancellation) -> Result<(String, usize), Error> {
        let mut words = tokens.saturating_sub(2).max(1);
        let mut found = (String::new(), 0);
        for _ in 0..4 {
            let text = Words::default().text(words);
            let read = self.read(&text, cancellation)?.1;
            found = (text, read);
            if read == tokens || read == 0 {
                break;
            }
            words = (words * tokens / read).max(1);
        }
        Ok(found)
    }
}

/// The time of one text on one thread with two graphs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Timing {
    pub tokens: usize,
    pub before: Duration,
    pub after: Duration,
}

/// Lengths in tokens.
const LENGTHS: [usize; 3] = [8, 32, 128];
const RUNS: std::ops::RangeInclusive<usize> = 7..=31;
/// Runs of one length go on for this long.
const TIME: Duration = Duration::from_secs(2);

/// Measures texts of three lengths, with the graphs in turn. Returns medians.
pub(super) fn time(
    before: &mut Subject,
    after: &mut Subject,
    cancellation: &Cancellation,
) -> Result<Vec<Timing>, Error> {
    let mut timings: Vec<Timing> = Vec::new();
    for length in LENGTHS {
        let (text, tokens) = before.text_of(length, cancellation)?;
        // A model with a low token limit reads the longer texts alike.
        if timings.iter().any(|timing| timing.tokens >= tokens) {
            continue;
        }
        // The first run after the other graph finds its weights no longer in the processor's cache.
        let run = |subject: &mut Subject| -> Result<Duration, Error> {
            subject.read(&text, cancellation)?;
            let started = Instant::now();
            subject.read(&text, cancellation)?;
            Ok(started.elapsed())
        };
        let (started, mut times) = (Instant::now(), (Vec::new(), Vec::new()));
        while times.0.len() < *RUNS.start() || times.0.len() < *RUNS.end() && started.elapsed() < TIME {
            times.0.push(run(before)?);
            times.1.push(run(after)?);
        }
        timings.push(Timing { tokens, before: median(times.0), after: median(times.1) });
    }
    Ok(timings)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
