//! A taught model as one linear function of its encoders' vectors, which an exported graph can hold.

use classifier::LinearHead;
use learning::{Features, Teaching};
use tables::PathPolicy;

use crate::card;
use crate::error::Error;
use crate::fit::{Fitting, best};
use crate::pool::Pool;
use crate::state::TaughtHead;
use crate::store::TUNED;
use crate::teacher::{Lesson, Teacher};
use crate::tune::encode_of;
use crate::vectors::Vectors;
use crate::watch::Watch;

/// The linear function, and what is known about it.
#[derive(Clone, Debug)]
pub struct ExportedHead {
    /// Its rows are for the sentence vector, then for the state if `uses_state`. The threshold is
    /// that of the audit, and holds only for the head that was audited.
    pub linear: LinearHead,
    /// Whether the state of the sentiment model is read.
    pub uses_state: bool,
    /// The numbers of the tuned encoder that it reads.
    pub tuned: Option<Vec<u8>>,
    /// If the served head also reads words, which a graph cannot: the share of the sampled texts to
    /// which the exported one gives the same label. `None` if both are the same.
    pub same_labels: Option<f64>,
}

impl Teacher {
    /// Returns the head of a model for an export. A head that reads words is fitted again without
    /// them, from the same labels.
    ///
    /// # Errors
    /// `NotTaught` or `OneLabel` if there is no head; to fit again, any error of the file;
    /// `Cancelled`.
    pub fn exported(&self, name: &str, paths: &PathPolicy, watch: &Watch<'_>) -> Result<ExportedHead, Error> {
        let mut work = self.open(name, false, watch)?;
        let (head, digest) = TaughtHead::read(&work.dir)?.ok_or_else(|| Error::OneLabel { name: name.to_owned() })?;
        let stated = work.state.statement_about(&digest);
        let tuned = head.tuned.as_ref().and_then(|_| work.dir.read(TUNED).transpose()).transpose()?;
        let encode = encode_of(&self.encode, &work.dir, &head)?;
        if let Some((weights, bias)) = head.head.dense() {
            let linear = LinearHead {
                weights,
                bias,
                labels: head.labels,
                threshold: stated.and_then(|stated| stated.threshold),
                description: card::description(&work.state, stated),
            };
            return Ok(ExportedHead { linear, uses_state: head.head.uses_state(), tuned, same_labels: None });
        }
        let survey = work.survey(&Lesson::default(), paths, watch)?;
        let mut vectors = Vectors::read(&work.dir, head.vectors(), encode.digest()?)?;
        let pool = Pool::new(&work.state, survey.as_ref(), &mut vectors, &*encode, watch)?;
        let examples = pool.examples(&work.state);
        let mut fitting = Fitting { pool: &pool, vectors: &mut vectors, encode: &*encode, watch };
        let names = fitting.label_names(&work.state, &examples.labels)?;
        let teaching = Teaching {
            labels: &examples.given,
            label_count: examples.labels.len(),
            label_names: Some(&names),
            features: Features::Dense,
            seed: work.state.seed,
            ..Teaching::new(&pool.rows)
        };
        let fitted = learning::fit(&teaching, &|| watch.cancellation.is_cancelled())?.head;
        let (weights, bias) = fitted.dense().expect("a fit without words is dense");
        let agrees =
            |row| examples.labels[best(&fitted.probabilities(row))] == head.labels[best(&head.head.probabilities(row))];
        let same = pool.rows.iter().filter(|row| agrees(row)).count();
        let linear = LinearHead {
            weights,
            bias,
            labels: examples.labels,
            threshold: None,
            description: card::description(&work.state, None),
        };
        let same_labels = Some(same as f64 / pool.rows.len() as f64);
        Ok(ExportedHead { linear, uses_state: fitted.uses_state(), tuned, same_labels })
    }
}
