//! A scripted encoder for tests: a text's vector is the sum of its words' vectors, and the script
//! counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use classifier::{Cancellation, Error};
use sha2::{Digest as _, Sha256};

use crate::encode::{Encode, Encoded, TunedEncoder};

/// Numbers of a sentence vector and of a state.
const DIMENSIONS: (usize, usize) = (32, 8);
/// What a tuned encoder is kept as.
const NUMBERS: &[u8] = b"tuned";
/// The scripted encoder reads one token per word, and this many.
pub const MAX_TOKENS: usize = 64;
const HOLD_INTERVAL: Duration = Duration::from_millis(1);

/// The script of the encoder, and a record of what it did.
#[derive(Default)]
pub struct ScriptedEncoder {
    /// Distinguishes this encoder from others.
    pub version: u8,
    /// Texts that were encoded.
    pub encoded: AtomicUsize,
    /// Cancels every call for many texts once it has begun, as a person would.
    pub cancels: AtomicBool,
    /// Calls for many texts wait while this is set, until they are cancelled.
    pub holds: AtomicBool,
    /// A tuned encoder reads only these words, all at once, so that it can tell labels that depend
    /// on two of them.
    pub telling: Vec<&'static str>,
    /// Whether it is a tuned one.
    pub is_tuned: bool,
    /// What happens at each step of a tuning.
    pub on_step: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl ScriptedEncoder {
    /// Returns the number of texts encoded so far.
    pub fn encoded(&self) -> usize {
        self.encoded.load(Ordering::SeqCst)
    }

    fn vector(&self, text: &str, dimensions: usize) -> Vec<f32> {
        let mut sum = vec![0.0; dimensions];
        let mut lower = text.to_lowercase();
        if self.is_tuned {
            lower.retain(|c| c.is_alphanumeric() || c == ' ');
            lower = lower.split(' ').filter(|word| self.telling.contains(word)).collect();
        }
        let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        for word in words.chain(["."]) {
            let digest = Sha256::new_with_prefix([self.version]).chain_update(word).finalize();
            let numbers = digest.iter().map(|byte| f32::from(*byte) / 127.5 - 1.0);
            sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        }
        let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt();
        sum.iter().map(|number| number / length).collect()
    }
}

impl ScriptedEncoder {
    fn as_tuned(&self) -> Self {
        let (version, telling) = (self.version.wrapping_add(128), self.telling.clone());
        Self { version, telling, is_tuned: true, ..Self::default() }
    }
}

impl TunedEncoder for ScriptedEncoder {
    fn vectors(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Error> {
        Ok(texts.iter().map(|text| self.vector(text, DIMENSIONS.0)).collect())
    }

    fn numbers(&self) -> Vec<u8> {
        NUMBERS.to_vec()
    }
}

impl Encode for ScriptedEncoder {
    fn digest(&self) -> Result<[u8; 32], Error> {
        Ok([self.version; 32])
    }

    fn max_tokens(&self) -> Result<usize, Error> {
        Ok(MAX_TOKENS)
    }

    fn encode(&self, text: &str, with_state: bool, cancellation: &Cancellation) -> Result<Encoded, Error> {
        if cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        self.encoded.fetch_add(1, Ordering::SeqCst);
        let words = text.split_whitespace().count();
        Ok(Encoded {
            sentence: self.vector(text, DIMENSIONS.0),
            state: with_state.then(|| self.vector(text, DIMENSIONS.1)),
            tokens: words as u32,
            tokens_read: words.min(MAX_TOKENS) as u32,
        })
    }

    fn tune(
        &self,
        _: &[(&str, usize)],
        _: u64,
        go_on: &dyn Fn(f32) -> bool,
    ) -> Result<Box<dyn TunedEncoder>, crate::Error> {
        if let Some(on_step) = &self.on_step {
            on_step();
        }
        if go_on(0.5) { Ok(Box::new(self.as_tuned())) } else { Err(crate::Error::Cancelled) }
    }

    fn tuned(&self, numbers: &[u8]) -> Result<Arc<dyn Encode>, crate::Error> {
        assert_eq!(numbers, NUMBERS);
        Ok(Arc::new(self.as_tuned()))
    }

    fn encode_all(
        &self,
        texts: &[&str],
        cancellation: &Cancellation,
        done: &dyn Fn(usize),
    ) -> Result<Vec<Encoded>, Error> {
        while self.holds.load(Ordering::SeqCst) && !cancellation.is_cancelled() {
            std::thread::sleep(HOLD_INTERVAL);
        }
        let one = |(number, text): (usize, &&str)| {
            let encoded = self.encode(text, true, cancellation);
            done(number + 1);
            if self.cancels.load(Ordering::SeqCst) {
                cancellation.cancel();
            }
            encoded
        };
        texts.iter().enumerate().map(one).collect()
    }
}
