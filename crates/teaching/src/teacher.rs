//! The calls: a round of teaching, and the parts that teaching and auditing share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tables::{CsvOptions, PathPolicy};

use crate::card;
use crate::encode::Encode;
use crate::error::Error;
use crate::fit::{Before, Fitting};
use crate::pool::Pool;
use crate::round::{Round, RoundParts};
use crate::state::{AuditRow, Source, State, TaughtHead};
use crate::store::{CARD, Lock, ModelDir, TUNED, TUNED_VECTORS, TaughtDir, VECTORS};
use crate::survey::{FileRequest, OpenFile, Survey};
use crate::tune::encode_of;
use crate::vectors::Vectors;
use crate::watch::Watch;

/// Different texts that a file must have.
const MIN_TEXTS: u64 = 10;
/// Attempts to lock a model whose folder is removed by another session that gave up its start.
const MAX_ATTEMPTS: usize = 5;

/// What one call teaches. Everything may be empty: the call then returns the next rows.
#[derive(Clone, Debug, Default)]
pub struct Lesson {
    /// The file whose rows are labelled. Needed once; later also an output of this program, or a
    /// copy with labels, of the same texts.
    pub file: Option<FileRequest>,
    /// Labels by row number, from 1.
    pub labels: BTreeMap<u64, String>,
    /// One line about what a label means.
    pub meanings: BTreeMap<String, String>,
    /// Texts without a file, by label.
    pub examples: BTreeMap<String, Vec<String>>,
    /// Keep the texts of labelled rows.
    pub keep_texts: bool,
    /// Draws audit and sample. `None`: by the name, so that the same name draws the same rows.
    pub seed: Option<u64>,
    /// Return groups of similar rows instead of rows to label.
    pub explore: bool,
}

/// Teaches and audits the models of one folder. Every call reads the state from the disk, so any
/// number of sessions may use a folder.
pub struct Teacher {
    pub(crate) store: TaughtDir,
    pub(crate) encode: Arc<dyn Encode>,
    /// Names of other loaded models.
    taken: Vec<String>,
}

impl Teacher {
    /// Returns a teacher for the models in `store`. `taken` are names that no taught model may
    /// have.
    pub fn new(store: TaughtDir, encode: Arc<dyn Encode>, taken: Vec<String>) -> Self {
        Self { store, encode, taken }
    }

    /// Returns the names of the models that can be used.
    pub fn names(&self) -> Vec<String> {
        self.store.names().into_iter().filter(|name| !self.taken.contains(name)).collect()
    }

    /// Adds what the lesson teaches, fits the model again, and chooses the next rows. The first
    /// call for a name draws the audit and the sample.
    ///
    /// # Errors
    /// Any mistake in the lesson; a file or folder that cannot be used; `Cancelled`. Nothing
    /// changes then, except that labels of a call that was cancelled while learning are kept.
    pub fn teach(&self, name: &str, lesson: &Lesson, paths: &PathPolicy, watch: &Watch<'_>) -> Result<Round, Error> {
        let may_start = lesson.file.is_some() || !lesson.examples.is_empty();
        let mut work = self.open(name, may_start, watch)?;
        if let (true, Some(seed)) = (work.is_new, lesson.seed) {
            work.state.seed = seed;
        }
        work.state.keep_texts |= lesson.keep_texts;
        let survey = work.survey(lesson, paths, watch)?;
        work.state.set_meanings(&lesson.meanings)?;
        work.state.teach_examples(&lesson.examples)?;
        let mut left_out = 0;
        if let Some(survey) = &survey {
            work.state.teach_rows(&lesson.labels, survey)?;
            left_out = work.state.teach_labelled(survey)?;
        } else if !lesson.labels.is_empty() {
            return Err(Error::NoFile { name: name.to_owned() });
        }
        if !work.is_new {
            work.state.write(&work.dir)?;
        }
        let mut vectors = Vectors::read(&work.dir, VECTORS, work.encoder)?;
        let encode = &*self.encode;
        let pool = Pool::new(&work.state, survey.as_ref(), &mut vectors, encode, watch)?;
        let examples = pool.examples(&work.state);
        let before = self.before(&work, &pool, watch)?;
        let mut fitting = Fitting { pool: &pool, vectors: &mut vectors, encode, watch };
        let mut fit = fitting.fit(&mut work.state, &examples, before)?;
        let missing = work.state.labels.iter().map(|label| &label.name);
        let missing: Vec<String> = missing.filter(|name| !examples.labels.contains(name)).cloned().collect();
        let missing = fitting.label_names(&work.state, &missing)?;
        vectors.write(&work.dir)?;
        if let Some(fit) = fit.as_mut().filter(|fit| fit.is_new) {
            fit.digest = fit.head.write(&work.dir)?;
            // The encoder of another head.
            work.dir.remove(TUNED);
            work.dir.remove(TUNED_VECTORS);
            work.state.tuning = None;
        }
        work.state.write(&work.dir)?;
        work.write_card()?;
        let parts = RoundParts {
            state: &work.state,
            pool: &pool,
            examples: &examples,
            fit: fit.as_ref(),
            missing: &missing,
            left_out,
        };
        Ok(parts.round(name, lesson.explore))
    }

    /// Returns the head on the disk with its predictions. A head whose tuned encoder is damaged
    /// counts as none, so that teaching mends the model.
    fn before(&self, work: &Work<'_>, pool: &Pool, watch: &Watch<'_>) -> Result<Option<Before>, Error> {
        let Some((head, digest)) = TaughtHead::read(&work.dir)? else { return Ok(None) };
        let predict = |rows: &[learning::Row]| rows.iter().map(|row| head.head.probabilities(row)).collect();
        let probabilities = if head.tuned.is_none() {
            predict(&pool.rows)
        } else {
            let Ok(encode) = encode_of(&self.encode, &work.dir, &head) else { return Ok(None) };
            let mut vectors = Vectors::read(&work.dir, TUNED_VECTORS, encode.digest()?)?;
            let rows = pool.encoded(&mut vectors, &*encode, watch)?;
            vectors.write(&work.dir)?;
            predict(&rows)
        };
        Ok(Some(Before { head, digest, probabilities }))
    }

    /// Opens and locks a model. Without `may_start`, it must have been started.
    pub(crate) fn open(&self, name: &str, may_start: bool, watch: &Watch<'_>) -> Result<Work<'_>, Error> {
        if self.taken.iter().any(|taken| taken == name) {
            return Err(Error::NameTaken { name: name.to_owned() });
        }
        let encoder = self.encode.digest()?;
        for _ in 0..MAX_ATTEMPTS {
            let existing = self.store.open(name)?;
            let dir = match existing {
                Some(dir) if dir.is_started() => dir,
                _ if may_start => self.store.create(name)?,
                _ => return Err(Error::NotTaught { name: name.to_owned(), known: self.store.started() }),
            };
            let lock = dir.lock(watch)?;
            if !dir.is_locked_by_name() {
                continue;
            }
            let state = State::read(&dir)?;
            let is_new = state.is_none();
            let state = state.unwrap_or_else(|| State::new(seed(name), &encoder));
            let work = Work { store: &self.store, dir, _lock: lock, state, is_new, encoder };
            return if work.is_of_encoder() { Ok(work) } else { Err(Error::OtherEncoder { name: name.to_owned() }) };
        }
        Err(Error::Busy { name: name.to_owned() })
    }
}

/// A locked model during one call. A model that is not written by the end of the call is removed.
pub(crate) struct Work<'a> {
    store: &'a TaughtDir,
    pub dir: ModelDir,
    _lock: Lock,
    pub state: State,
    pub is_new: bool,
    pub encoder: [u8; 32],
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.dir.remove_unstarted(self.store);
    }
}

impl Work<'_> {
    fn is_of_encoder(&self) -> bool {
        self.state.encoder == cache_dir::digest::hex(&self.encoder)
    }

    /// Reads the file, draws the audit at the first call for a file, and checks that labelled rows
    /// are as they were. `None` if the model has no file.
    pub(crate) fn survey(
        &mut self,
        lesson: &Lesson,
        paths: &PathPolicy,
        watch: &Watch<'_>,
    ) -> Result<Option<Survey>, Error> {
        let wanted: BTreeSet<u64> = self.state.rows.keys().chain(lesson.labels.keys()).copied().collect();
        let Some(source) = self.state.source.clone() else {
            let Some(request) = &lesson.file else { return Ok(None) };
            let mut file = OpenFile::open(request, paths)?;
            let survey = Survey::read(&mut file, self.state.seed, None, &wanted, watch)?;
            self.start_with(&file, request.csv_options, &survey)?;
            return Ok(Some(survey));
        };
        let mut request = lesson.file.clone().unwrap_or_else(|| FileRequest {
            path: self.path_of(&source),
            text_column: None,
            label_column: None,
            csv_options: CsvOptions { delimiter: source.delimiter, header: source.header },
        });
        request.text_column.get_or_insert(source.text_column.clone());
        let mut file = OpenFile::open(&request, paths)?;
        let sealed = self.state.sealed();
        let survey = Survey::read(&mut file, self.state.seed, Some(&sealed), &wanted, watch)?;
        let name = self.dir.name().to_owned();
        if survey.texts_sha256 != source.texts_sha256 && file.path() != self.path_of(&source) {
            return Err(Error::OtherFile { name, given: request.path, taught: source.file });
        }
        self.state.check_rows(&name, &survey)?;
        Ok(Some(survey))
    }

    fn start_with(&mut self, file: &OpenFile, options: CsvOptions, survey: &Survey) -> Result<(), Error> {
        let found = survey.sample.len() as u64;
        if found < MIN_TEXTS {
            return Err(Error::TooFewRows { path: file.path().to_owned(), found, expected: MIN_TEXTS });
        }
        let shown = file.path().strip_prefix(self.store.project()).unwrap_or(file.path());
        self.state.source = Some(Source {
            file: shown.display().to_string(),
            text_column: file.text_column().to_owned(),
            header: options.header,
            delimiter: options.delimiter,
            rows: survey.rows,
            rows_with_text: survey.rows_with_text,
            texts_sha256: survey.texts_sha256.clone(),
        });
        for drawn in &survey.audit {
            let label = drawn.label.as_deref().map(|label| self.state.add_label(label)).transpose()?;
            self.state.audit.rows.push(AuditRow { row: drawn.row, digest: drawn.digest, label });
        }
        Ok(())
    }

    /// Returns the path of the file, relative to the project that the models belong to.
    pub(crate) fn path_of(&self, source: &Source) -> PathBuf {
        self.store.project().join(Path::new(&source.file))
    }

    /// Writes the card for people.
    ///
    /// # Errors
    /// `NotWritten`.
    pub(crate) fn write_card(&self) -> Result<(), Error> {
        let head = TaughtHead::digest(&self.dir)?;
        self.dir.write(CARD, card::card(self.dir.name(), &self.state, head.as_deref()).as_bytes())
    }
}

fn seed(name: &str) -> u64 {
    let mut seed = [0; 8];
    seed.copy_from_slice(&Sha256::digest(name)[..8]);
    u64::from_le_bytes(seed)
}
