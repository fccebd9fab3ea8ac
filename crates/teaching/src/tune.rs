//! Fine-tuning: a sentence encoder of the model's own, where cross-validation clearly prefers it.
//!
//! The examples are divided into three parts. For each, an encoder is tuned and a head fitted on
//! the other two, so that no answer comes from an encoder that saw its text. The same is done with
//! the encoder as it is. The tuned one serves if it gets more labels right, and by more than luck
//! explains ([`MAX_LUCK`]).
//!
//! A tuned encoder separates the examples that it saw, so a fit on its vectors cannot tell how much
//! they are worth next to words and state. The examples left out decide that.

use std::sync::Arc;

use cache_dir::digest::hex;
use learning::{Row, binomial_tail, temperature_of};
use sha2::{Digest as _, Sha256};
use tables::PathPolicy;

use crate::encode::{Encode, TunedEncoder};
use crate::error::Error;
use crate::fit::{Fitting, best};
use crate::pool::Pool;
use crate::state::{TaughtHead, TuningFacts};
use crate::store::{ModelDir, TUNED, TUNED_VECTORS, VECTORS};
use crate::subject::{PARTS, Subject};
use crate::teacher::{Lesson, Teacher, Work};
use crate::vectors::Vectors;
use crate::watch::{Progress, Stage, Watch};

/// Highest probability that two encoders of equal worth differ as much. It is that of one standard
/// error, and exact for the few labels that there are.
const MAX_LUCK: f64 = 0.16;

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
        let answers = self.cross_validate(&subject, watch)?;
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

    fn cross_validate(&self, subject: &Subject, watch: &Watch<'_>) -> Result<Answers, Error> {
        let parts = (0..PARTS).map(|part| self.tuned_part(subject, part, watch)).collect::<Result<Vec<_>, _>>()?;
        let count = subject.examples.given.len();
        let (mut before, mut tuned) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for (number, part) in parts.iter().enumerate() {
            // A part's own examples must not choose the candidates that answer for them.
            let others = parts.iter().enumerate().filter(|&(other, _)| other != number).map(|(_, part)| part);
            let others = accuracies(others);
            for (rows, accuracies, answers) in [
                ((subject.pool.rows.as_slice(), subject.names.as_slice()), None, &mut before),
                ((part.rows.as_slice(), part.names.as_slice()), Some(others.as_slice()), &mut tuned),
            ] {
                let head = subject.fit(rows, &part.seen, accuracies, watch)?;
                for &example in &part.left_out {
                    answers[example] = head.probabilities(&rows.0[subject.examples.given[example].0]);
                }
            }
        }
        Ok(Answers { before, tuned, accuracies: accuracies(&parts) })
    }

    fn tuned_part(&self, subject: &Subject, part: usize, watch: &Watch<'_>) -> Result<Part, Error> {
        let parts = subject.parts();
        let (left_out, seen): (Vec<usize>, Vec<usize>) = (0..parts.len()).partition(|&example| parts[example] == part);
        let tuned = self.tune(subject, &seen, part, watch)?;
        let (rows, names) = (subject.tuned_rows(&*tuned)?, subject.tuned_names(&*tuned)?);
        let right = subject.right_by_candidate((&rows, &names), (&seen, &left_out), watch)?;
        Ok(Part { left_out, seen, rows, names, right })
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
        let mut head = fitting.learn(&mut state, &subject.examples, Some(&answers.accuracies))?.head;
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

/// One part of the cross-validation: an encoder was tuned on the examples `seen`.
struct Part {
    left_out: Vec<usize>,
    seen: Vec<usize>,
    /// What the tuned encoder makes of the pool and of the names of labels.
    rows: Vec<Row>,
    names: Vec<Row>,
    /// Examples left out that each candidate labels correctly.
    right: Vec<usize>,
}

/// Returns the accuracy of each candidate on what these parts left out.
fn accuracies<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Vec<f64> {
    let (mut right, mut count) = (Vec::new(), 0);
    for part in parts {
        right.resize(part.right.len(), 0);
        right.iter_mut().zip(&part.right).for_each(|(sum, right)| *sum += right);
        count += part.left_out.len();
    }
    right.into_iter().map(|right| right as f64 / count as f64).collect()
}

/// Probabilities of each example by heads that did not see it.
struct Answers {
    before: Vec<Vec<f32>>,
    tuned: Vec<Vec<f32>>,
    /// Of the candidates, with tuned encoders.
    accuracies: Vec<f64>,
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
        let pairs = || before.iter().zip(&tuned);
        let won = pairs().filter(|(before, tuned)| **tuned && !**before).count();
        let lost = pairs().filter(|(before, tuned)| **before && !**tuned).count();
        TuningFacts {
            taught_sha256: subject.examples.sha256.clone(),
            examples: given.len(),
            right_before,
            right_tuned,
            serves: binomial_tail(won + lost, 0.5, lost) <= MAX_LUCK,
        }
    }
}

impl TuningFacts {
    fn is_of(&self, subject: &Subject) -> bool {
        self.taught_sha256 == subject.examples.sha256
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
