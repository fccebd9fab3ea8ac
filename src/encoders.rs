//! The encoders of this process, which all taught models share: a sentence encoder, and for English
//! the state of the built-in sentiment model.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use classifier::{Cancellation, EncoderLocation, EncoderPool, Encoding, Error, LibrarySettings, export_with_head};
use sha2::{Digest, Sha256};
use teaching::{Encode, Encoded, Error as TeachingError, ExportedHead, TunedEncoder};

use crate::process;

/// Texts on which the tuning crate's reading of an encoder is compared with ONNX Runtime's.
const COMPARED: usize = 3;
/// Least cosine of both vectors. Rounded activations cost up to 0.03.
const MIN_COSINE: f32 = 0.9;

/// The encoders. Sessions are opened when first needed.
pub(crate) struct Encoders {
    sentence: Arc<EncoderPool>,
    /// The sentiment model knows only English, and other encoders are for other languages.
    state: Option<Arc<EncoderPool>>,
    library: LibrarySettings,
    threads: usize,
    /// Encoders with a tuned sentence encoder that are in use, by the digest of its numbers.
    tuned: Mutex<BTreeMap<[u8; 32], Weak<Encoders>>>,
}

impl Encoders {
    /// Returns the encoders with sessions for this number of threads. Nothing is read yet.
    pub(crate) fn new(sentence: EncoderLocation, library: &LibrarySettings, threads: usize) -> Self {
        let is_built_in = matches!(sentence, EncoderLocation::BuiltIn);
        let pool = |location| Arc::new(EncoderPool::new(location, library.clone(), threads));
        let state = is_built_in.then(|| pool(EncoderLocation::SentimentState));
        Self { sentence: pool(sentence), state, library: library.clone(), threads, tuned: Mutex::default() }
    }

    /// Returns these encoders with a tuned sentence encoder. Models that share it share its
    /// sessions.
    ///
    /// # Errors
    /// As [`Encode::tuned`].
    pub(crate) fn with_tuned(&self, numbers: &[u8]) -> Result<Arc<Self>, TeachingError> {
        let key = Sha256::digest(numbers).into();
        let mut known = self.tuned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoders) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(encoders);
        }
        let source = self.sentence.source()?;
        let graph = tuning::graph(&source.graph, source.heads, numbers).map_err(not_tunable)?;
        let base = Box::new(self.sentence.location().clone());
        let location = EncoderLocation::Tuned { base, graph: graph.into() };
        let encoders = Arc::new(Self {
            sentence: Arc::new(EncoderPool::new(location, self.library.clone(), self.threads)),
            state: self.state.clone(),
            library: self.library.clone(),
            threads: self.threads,
            tuned: Mutex::default(),
        });
        known.retain(|_, encoders| encoders.strong_count() > 0);
        known.insert(key, Arc::downgrade(&encoders));
        Ok(encoders)
    }

    /// Reads the sentence encoder as one that can be tuned.
    fn tunable(&self, texts: &[&str]) -> Result<tuning::Encoder, TeachingError> {
        let source = self.sentence.source()?;
        let encoder = tuning::Encoder::read(&source.graph, source.heads).map_err(not_tunable)?;
        // Another architecture may have the same names.
        for text in texts.iter().take(COMPARED) {
            let tokens = self.sentence.token_ids(text)?;
            if tokens.len() > tuning::MAX_TOKENS {
                continue;
            }
            let expected = self.sentence.encode(text, &Cancellation::default())?.vector;
            let found = encoder.encode(&[&tokens]).remove(0);
            let cosine: f32 = expected.iter().zip(&found).map(|(left, right)| left * right).sum();
            if expected.len() != found.len() || cosine < MIN_COSINE {
                let message = "it is not the mean of BERT's states; fine-tuning knows no other encoders".into();
                return Err(TeachingError::NotTunable { message });
            }
        }
        Ok(encoder)
    }

    /// Writes the encoders that the head reads, and the head, as one model folder.
    ///
    /// # Errors
    /// A folder that exists or cannot be written, or an encoder with an unusual graph.
    pub(crate) fn export(&self, head: &ExportedHead, out: &Path) -> Result<(), Error> {
        let state = self.state.iter().filter(|_| head.uses_state);
        let pools: Vec<&EncoderPool> = [&self.sentence].into_iter().chain(state).map(|pool| &**pool).collect();
        export_with_head(&pools, &head.linear, out)
    }
}

impl Encode for Encoders {
    fn digest(&self) -> Result<[u8; 32], Error> {
        let mut digest = Sha256::new_with_prefix(self.sentence.digest()?);
        if let Some(state) = &self.state {
            digest.update(state.digest()?);
        }
        Ok(digest.finalize().into())
    }

    fn max_tokens(&self) -> Result<usize, Error> {
        self.sentence.max_tokens()
    }

    fn encode(&self, text: &str, with_state: bool, cancellation: &Cancellation) -> Result<Encoded, Error> {
        let sentence = self.sentence.encode(text, cancellation)?;
        let state = self.state.as_ref().filter(|_| with_state);
        let state = state.map(|state| state.encode(text, cancellation)).transpose()?;
        Ok(encoded(sentence, state))
    }

    /// With two passes, each counts as half of the texts.
    fn encode_all(
        &self,
        texts: &[&str],
        cancellation: &Cancellation,
        done: &dyn Fn(usize),
    ) -> Result<Vec<Encoded>, Error> {
        let passes = 1 + usize::from(self.state.is_some());
        let first = |count: usize| done(count / passes);
        let second = |count: usize| done((texts.len() + count) / passes);
        let sentences = self.sentence.encode_all(texts, self.threads, cancellation, &first)?;
        let states = match &self.state {
            Some(state) => {
                let states = state.encode_all(texts, self.threads, cancellation, &second)?;
                states.into_iter().map(Some).collect()
            }
            None => vec![None; texts.len()],
        };
        self.release_memory();
        Ok(sentences.into_iter().zip(states).map(|(sentence, state)| encoded(sentence, state)).collect())
    }

    fn tune(
        &self,
        examples: &[(&str, usize)],
        seed: u64,
        go_on: &dyn Fn(f32) -> bool,
    ) -> Result<Box<dyn TunedEncoder>, TeachingError> {
        let texts: Vec<&str> = examples.iter().map(|&(text, _)| text).collect();
        let mut encoder = self.tunable(&texts)?;
        let examples = examples.iter().map(|&(text, label)| {
            let tokens = self.sentence.token_ids(text)?;
            Ok(tuning::Example { tokens, label })
        });
        let examples = examples.collect::<Result<Vec<_>, Error>>()?;
        let settings = tuning::Settings::for_examples(examples.len(), seed);
        let _kept = process::keep_freed_memory();
        encoder.tune(&examples, settings, go_on).map_err(|error| match error {
            tuning::Error::Cancelled => TeachingError::Cancelled,
            other => not_tunable(other),
        })?;
        Ok(Box::new(Tuned { encoder, tokenizer: Arc::clone(&self.sentence) }))
    }

    fn tuned(&self, numbers: &[u8]) -> Result<Arc<dyn Encode>, TeachingError> {
        Ok(self.with_tuned(numbers)?)
    }

    fn release_memory(&self) {
        self.sentence.release_memory();
        self.state.iter().for_each(|state| state.release_memory());
        process::release_embedded_files();
    }
}

struct Tuned {
    encoder: tuning::Encoder,
    tokenizer: Arc<EncoderPool>,
}

impl TunedEncoder for Tuned {
    fn vectors(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Error> {
        let tokens = texts.iter().map(|text| self.tokenizer.token_ids(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.encoder.encode(&tokens.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }

    fn numbers(&self) -> Vec<u8> {
        self.encoder.numbers()
    }
}

fn not_tunable(error: tuning::Error) -> TeachingError {
    TeachingError::NotTunable { message: error.to_string() }
}

fn encoded(sentence: Encoding, state: Option<Encoding>) -> Encoded {
    let tokens = sentence.tokens as u32;
    let tokens_read = sentence.truncated.map_or(tokens, |truncation| truncation.limit);
    Encoded { sentence: sentence.vector, state: state.map(|state| state.vector), tokens, tokens_read }
}

#[cfg(test)]
mod tests {
    use classifier::testing::fixture;

    use super::*;

    const LIBRARY: LibrarySettings = LibrarySettings { path: None, cache_dir: None };

    /// Questions for a person, and for a thing about the same subject.
    const QUESTIONS: [(&str, &str); 8] = [
        ("Which author wrote Hamlet?", "Which play did Shakespeare write first?"),
        ("Which inventor made the light bulb?", "Which machine did Edison invent?"),
        ("Which painter made the Mona Lisa?", "Which picture did Leonardo paint last?"),
        ("Which king signed the Magna Carta?", "Which document did King John sign?"),
        ("Which astronaut walked on the moon?", "Which rocket flew to the moon?"),
        ("Which singer recorded Thriller?", "Which song did Jackson record?"),
        ("Which chemist discovered radium?", "Which metal did Curie discover?"),
        ("Which captain sailed to America?", "Which ship did Columbus sail?"),
    ];

    fn cosine(left: &[f32], right: &[f32]) -> f32 {
        left.iter().zip(right).map(|(left, right)| left * right).sum()
    }

    #[test]
    fn the_built_in_encoder_learns_a_distinction_and_runs_as_it_was_tuned() {
        let encoders = Encoders::new(EncoderLocation::BuiltIn, &LIBRARY, 1);
        let (last, seen) = QUESTIONS.split_last().unwrap();
        let examples: Vec<(&str, usize)> = seen.iter().flat_map(|&(person, thing)| [(person, 0), (thing, 1)]).collect();
        let tuned = encoders.tune(&examples, 1, &|_| true).unwrap();
        let served = encoders.tuned(&tuned.numbers()).unwrap();
        assert_ne!(served.digest().unwrap(), encoders.digest().unwrap());
        let vector = |encoders: &dyn Encode, text: &str| {
            encoders.encode(text, false, &Cancellation::default()).unwrap().sentence
        };
        for (text, _) in &examples {
            let same = cosine(&vector(&*served, text), &tuned.vectors(&[text]).unwrap()[0]);
            assert!(same > 0.97, "{text}: int8 and fp32 have the cosine {same}");
        }
        // A pair about a new subject is told apart by what it asks for.
        let lead = |encoders: &dyn Encode| {
            let [person, thing, known] = [last.0, last.1, seen[0].0].map(|text| vector(encoders, text));
            cosine(&person, &known) - cosine(&person, &thing)
        };
        let (before, after) = (lead(&encoders), lead(&*served));
        assert!(before < 0.0 && after > 0.2, "before {before}, after {after}");
        // Models with the same encoder share its sessions.
        let again = encoders.with_tuned(&tuned.numbers()).unwrap();
        assert!(std::ptr::eq(Arc::as_ptr(&again).cast::<u8>(), Arc::as_ptr(&served).cast::<u8>()));
        std::mem::forget((encoders, served, again));
    }

    #[test]
    fn encoders_of_another_kind_are_not_tuned() {
        let encoders = Encoders::new(EncoderLocation::Folder(fixture("extra-outputs")), &LIBRARY, 1);
        let error = encoders.tune(&[("a", 0), ("b", 1)], 1, &|_| true).err().unwrap().to_string();
        assert!(error.starts_with("the encoder cannot be fine-tuned: "), "{error}");
        std::mem::forget(encoders);
    }
}
