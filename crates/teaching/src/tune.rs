//! Fine-tuning: a sentence encoder of the model's own, where cross-validation clearly prefers it.
//!
//! The examples are divided into three parts. For each, an encoder is tuned and a head fitted on
//! the other two, so that no answer comes from an encoder that saw its text. The same is done with
//! the encoder as it is. The tuned one serves if it gets more labels right, by more than one
//! standard error of the difference.

use std::sync::Arc;

use cache_dir::digest::hex;
use learning::{Row, Teaching, temperature_of};
use sha2::{Digest as _, Sha256};
use tables::PathPolicy;

use crate::encode::{Encode, TunedEncoder};
use crate::error::Error;
use crate::fit::{Fitting, best};
use crate::pool::{Examples, Pool};
use crate::state::{State, TaughtHead, TuningFacts};
use crate::store::{ModelDir, TUNED, TUNED_VECTORS, VECTORS};
use crate::teacher::{Lesson, Teacher, Work};
use crate::vectors::Vectors;
use crate::watch::{Progress, Stage, Watch};

/// Parts of the cross-validation.
const PARTS: usize = 3;
/// Examples that a label needs, and examples of such labels, of which there must be two. With
/// fewer, three parts tell nothing.
const MIN_OF_LABEL: usize = 3;
const MIN_EXAMPLES: usize = 12;
/// More examples take minutes, and a head alone is then as good.
const MAX_EXAMPLES: usize = 2000;
/// Texts without a label that a fit on a tuned encoder sees in the cross-validation. The encoder
/// has to read them in each part.
const UNLABELLED: usize = 200;

/// The result of a fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    pub examples: usize,
    /// Right labels by heads that did not see them, with the encoder as it was.
    pub right_before: usize,
    /// The same with tuned encoders.
    pub right_tuned: usize,
    /// Whether the tuned encoder serves.
    pub serves: bool,
    /// Whether the model must be loaded again.
    pub is_new: bool,
}

impl Tuning {
    fn of(facts: &TuningFacts, is_new: bool) -> Self {
        let TuningFacts { examples, right_before, right_tuned, serves, .. } = *facts;
        Self { examples, right_before, right_tuned, serves, is_new }
    }
}

/// The examples of a model while it is being tuned. The model is not locked meanwhile.
struct Subject {
    state: State,
    pool: Pool,
    examples: Examples,
    /// Rows of the names of labels.
    names: Vec<Row>,
}

impl Teacher {
    /// Tunes the encoder on the labels of a model, unless that was done for these labels.
    ///
    /// # Errors
    /// `TooFewToTune`, `NotTunable`, `TaughtMeanwhile`; with `keeps_audit`, `Audited` for a model
    /// about which an audit states something; any error of [`Self::teach`]; `Cancelled`. The model
    /// is then as it was.
    pub fn fine_tune(
        &self,
        name: &str,
        keeps_audit: bool,
        paths: &PathPolicy,
        watch: &Watch<'_>,
    ) -> Result<Tuning, Error> {
        let subject = self.subject(name, keeps_audit, paths, watch)?;
        if let Some(facts) = subject.state.tuning.as_ref().filter(|facts| facts.is_of(&subject)) {
            return Ok(Tuning::of(facts, false));
        }
        let answers = self.cross_validate(name, &subject, watch)?;
        let facts = answers.facts(&subject);
        let tuned = if facts.serves { Some(self.tuned_fit(&subject, &answers, watch)?) } else { None };
        let mut work = self.open(name, false, watch)?;
        if subject.pool.examples(&work.state).sha256 != subject.examples.sha256 {
            return Err(Error::TaughtMeanwhile { name: name.to_owned() });
        }
        if keeps_audit {
            work.check_not_audited()?;
        }
        if let Some(mut tuned) = tuned {
            work.dir.write(TUNED, &tuned.numbers)?;
            tuned.vectors.write(&work.dir)?;
            tuned.head.write(&work.dir)?;
            work.state.head = tuned.name;
        }
        let tuning = Tuning::of(&facts, facts.serves);
        work.state.tuning = Some(facts);
        work.state.write(&work.dir)?;
        work.write_card()?;
        Ok(tuning)
    }

    fn subject(&self, name: &str, keeps_audit: bool, paths: &PathPolicy, watch: &Watch<'_>) -> Result<Subject, Error> {
        let mut work = self.open(name, false, watch)?;
        if keeps_audit {
            work.check_not_audited()?;
        }
        let survey = work.survey(&Lesson::default(), paths, watch)?;
        let mut vectors = Vectors::read(&work.dir, VECTORS, work.encoder)?;
        let pool = Pool::new(&work.state, survey.as_ref(), &mut vectors, &*self.encode, watch)?;
        let examples = pool.examples(&work.state);
        let (head, _) = TaughtHead::read(&work.dir)?.ok_or_else(|| Error::OneLabel { name: name.to_owned() })?;
        if head.taught_sha256 != examples.sha256 {
            return Err(Error::TaughtMeanwhile { name: name.to_owned() });
        }
        let mut fitting = Fitting { pool: &pool, vectors: &mut vectors, encode: &*self.encode, watch };
        let names = fitting.label_names(&work.state, &examples.labels)?;
        let subject = Subject { state: work.state.clone(), pool, examples, names };
        subject.check_size(name)?;
        Ok(subject)
    }

    fn cross_validate(&self, name: &str, subject: &Subject, watch: &Watch<'_>) -> Result<Answers, Error> {
        let parts = subject.parts();
        let count = subject.examples.given.len();
        let mut answers = Answers { before: vec![Vec::new(); count], tuned: vec![Vec::new(); count] };
        for part in 0..PARTS {
            let (left_out, seen): (Vec<usize>, Vec<usize>) = (0..count).partition(|&example| parts[example] == part);
            let tuned = self.tune(subject, &seen, part, watch)?;
            for (rows, names, answers) in [
                (subject.pool.rows.clone(), subject.names.clone(), &mut answers.before),
                (subject.tuned_rows(&*tuned)?, subject.tuned_names(&*tuned)?, &mut answers.tuned),
            ] {
                let head = subject.fit(&rows, &names, &seen, watch)?;
                for &example in &left_out {
                    answers[example] = head.probabilities(&rows[subject.examples.given[example].0]);
                }
            }
        }
        tracing::debug!(model = name, examples = count, "tuned encoders were compared");
        Ok(answers)
    }

    /// Tunes the encoder on some of the examples. `step` of [`PARTS`] + 1 tunings are done.
    fn tune(
        &self,
        subject: &Subject,
        seen: &[usize],
        step: usize,
        watch: &Watch<'_>,
    ) -> Result<Box<dyn TunedEncoder>, Error> {
        let example = |&example: &usize| {
            let (item, label) = subject.examples.given[example];
            (subject.pool.items[item].text.as_str(), label)
        };
        let examples: Vec<(&str, usize)> = seen.iter().map(example).collect();
        let go_on = |share: f32| {
            let done = 100.0 * (step as f32 + share) / (PARTS + 1) as f32;
            (watch.report)(Progress { stage: Stage::Tuning, done: done as u64, total: Some(100) });
            !watch.cancellation.is_cancelled()
        };
        self.encode.tune(&examples, subject.state.seed, &go_on)
    }

    /// Tunes on all examples, and fits a head on what the rounded encoder makes of them.
    fn tuned_fit(&self, subject: &Subject, answers: &Answers, watch: &Watch<'_>) -> Result<TunedFit, Error> {
        let all: Vec<usize> = (0..subject.examples.given.len()).collect();
        let numbers = self.tune(subject, &all, PARTS, watch)?.numbers();
        let encode = self.encode.tuned(&numbers)?;
        let digest = encode.digest()?;
        let mut vectors = Vectors::new(TUNED_VECTORS, digest);
        let mut state = subject.state.clone();
        let pool = subject.pool.with_encoders(&mut vectors, &*encode, watch)?;
        let mut fitting = Fitting { pool: &pool, vectors: &mut vectors, encode: &*encode, watch };
        let mut head = fitting.learn(&mut state, &subject.examples)?.head;
        // The fit's own temperature is that of an encoder that saw all labels.
        let gold: Vec<usize> = subject.examples.given.iter().map(|&(_, label)| label).collect();
        head.head = head.head.tempered(temperature_of(&answers.tuned, &gold));
        head.encoder = hex(&digest);
        head.tuned = Some(hex(&Sha256::digest(&numbers)));
        let name = state.head.map(|name| format!("fine-tuned encoder: {name}"));
        Ok(TunedFit { head, numbers, vectors, name })
    }
}

impl Work<'_> {
    fn check_not_audited(&self) -> Result<(), Error> {
        let served = TaughtHead::digest(&self.dir)?;
        match served.and_then(|served| self.state.statement_about(&served)) {
            Some(_) => Err(Error::Audited { name: self.dir.name().to_owned() }),
            None => Ok(()),
        }
    }
}

struct TunedFit {
    head: TaughtHead,
    numbers: Vec<u8>,
    vectors: Vectors,
    /// The candidate that the head was fitted by.
    name: Option<String>,
}

/// Probabilities of each example by heads that did not see it.
struct Answers {
    before: Vec<Vec<f32>>,
    tuned: Vec<Vec<f32>>,
}

impl Answers {
    fn facts(&self, subject: &Subject) -> TuningFacts {
        let given = &subject.examples.given;
        let is_right = |answers: &[Vec<f32>]| -> Vec<bool> {
            answers.iter().zip(given).map(|(scores, &(_, label))| best(scores) == label).collect()
        };
        let (before, tuned) = (is_right(&self.before), is_right(&self.tuned));
        let count = |right: &[bool]| right.iter().filter(|right| **right).count();
        let (right_before, right_tuned) = (count(&before), count(&tuned));
        // Examples that only one of them gets right decide (McNemar).
        let differ = before.iter().zip(&tuned).filter(|(before, tuned)| before != tuned).count();
        let lead = right_tuned as f64 - right_before as f64;
        TuningFacts {
            taught_sha256: subject.examples.sha256.clone(),
            examples: given.len(),
            right_before,
            right_tuned,
            serves: lead > (differ as f64).sqrt(),
        }
    }
}

impl TuningFacts {
    fn is_of(&self, subject: &Subject) -> bool {
        self.taught_sha256 == subject.examples.sha256
    }
}

impl Subject {
    fn check_size(&self, name: &str) -> Result<(), Error> {
        let mut counts = vec![0; self.examples.labels.len()];
        self.examples.given.iter().for_each(|&(_, label)| counts[label] += 1);
        let usable: Vec<usize> = counts.into_iter().filter(|&count| count >= MIN_OF_LABEL).collect();
        let found = usable.iter().sum();
        if self.examples.given.len() > MAX_EXAMPLES {
            let found = self.examples.given.len();
            let message = format!("{found} examples, expected at most {MAX_EXAMPLES}; the head alone learns from them");
            return Err(Error::NotTunable { message });
        }
        if usable.len() >= 2 && found >= MIN_EXAMPLES {
            return Ok(());
        }
        let (labels, each, expected) = (usable.len(), MIN_OF_LABEL, MIN_EXAMPLES);
        Err(Error::TooFewToTune { name: name.to_owned(), found, labels, each, expected })
    }

    /// Returns the part of each example. Those of one label are spread evenly.
    fn parts(&self) -> Vec<usize> {
        let given = &self.examples.given;
        let key = |&example: &usize| {
            let (item, label) = given[example];
            let digest = self.pool.items[item].digest.0;
            (label, Sha256::new_with_prefix(self.state.seed.to_le_bytes()).chain_update(digest).finalize())
        };
        let mut order: Vec<usize> = (0..given.len()).collect();
        order.sort_by_cached_key(key);
        let mut parts = vec![0; given.len()];
        order.iter().enumerate().for_each(|(place, &example)| parts[example] = place % PARTS);
        parts
    }

    /// Fits a head on some of the examples. Rows without a vector are not seen.
    fn fit(&self, rows: &[Row], names: &[Row], seen: &[usize], watch: &Watch<'_>) -> Result<learning::Head, Error> {
        let mut known: Vec<usize> = (0..rows.len()).filter(|&item| !rows[item].sentence.is_empty()).collect();
        let left_out = |item: &usize| {
            let example = self.examples.given.binary_search_by_key(item, |&(item, _)| item);
            example.is_ok_and(|example| seen.binary_search(&example).is_err())
        };
        known.retain(|item| !left_out(item));
        let pool: Vec<Row> = known.iter().map(|&item| rows[item].clone()).collect();
        let labels: Vec<(usize, usize)> = seen
            .iter()
            .filter_map(|&example| {
                let (item, label) = self.examples.given[example];
                Some((known.binary_search(&item).ok()?, label))
            })
            .collect();
        let teaching = Teaching {
            labels: &labels,
            label_count: self.examples.labels.len(),
            label_names: Some(names),
            seed: self.state.seed,
            ..Teaching::new(&pool)
        };
        Ok(learning::fit(&teaching, &|| watch.cancellation.is_cancelled())?.head)
    }

    /// Returns the rows of the examples and of some other items; those of the rest have no vector.
    fn tuned_rows(&self, tuned: &dyn TunedEncoder) -> Result<Vec<Row>, Error> {
        let given: Vec<usize> = self.examples.given.iter().map(|&(item, _)| item).collect();
        let others = (0..self.pool.items.len()).filter(|item| given.binary_search(item).is_err());
        // Items are in the order of their digests, so the first ones are a random choice.
        let read: Vec<usize> = given.iter().copied().chain(others.take(UNLABELLED)).collect();
        let texts: Vec<&str> = read.iter().map(|&item| self.pool.items[item].text.as_str()).collect();
        let mut rows = vec![Row::default(); self.pool.items.len()];
        for (item, sentence) in read.into_iter().zip(tuned.vectors(&texts)?) {
            rows[item] = Row { sentence, ..self.pool.rows[item].clone() };
        }
        Ok(rows)
    }

    fn tuned_names(&self, tuned: &dyn TunedEncoder) -> Result<Vec<Row>, Error> {
        let texts: Vec<String> = self.state.names(&self.examples.labels);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = tuned.vectors(&texts)?;
        Ok(self.names.iter().zip(vectors).map(|(name, sentence)| Row { sentence, ..name.clone() }).collect())
    }
}

/// Returns the encoders that a head reads.
///
/// # Errors
/// `StateUnreadable` if its tuned encoder is missing or damaged.
pub(crate) fn encode_of(encode: &Arc<dyn Encode>, dir: &ModelDir, head: &TaughtHead) -> Result<Arc<dyn Encode>, Error> {
    let Some(sha256) = &head.tuned else { return Ok(Arc::clone(encode)) };
    let numbers = dir.read(TUNED)?.unwrap_or_default();
    if hex(&Sha256::digest(&numbers)) != *sha256 {
        return Err(dir.unreadable(TUNED, &"it is not the encoder of `head.json`"));
    }
    encode.tuned(&numbers)
}
