//! The sessions of one encoder, opened when first needed and shared by all heads taught on it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use onnx_runtime::LibrarySettings;

use crate::cancellation::Cancellation;
use crate::encoder::{Encoder, EncoderFiles, EncoderLocation, EncoderSource, Encoding};
use crate::error::Error;
use crate::session::Session;

/// An encoder with up to `workers` sessions. Cheap until it is first used.
///
/// Every session computes on one thread, so that a vector has the same bits wherever it is made.
pub struct EncoderPool {
    location: EncoderLocation,
    library: LibrarySettings,
    workers: usize,
    digest: Mutex<Option<[u8; 32]>>,
    encoder: Mutex<Option<Arc<Encoder>>>,
    sessions: Mutex<Sessions>,
    returned: Condvar,
}

#[derive(Default)]
struct Sessions {
    idle: Vec<Session>,
    /// Idle and lent sessions.
    open: usize,
    /// Single calls that wait for a session.
    waiting: usize,
}

/// Who borrows a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Single,
    /// Waits while a single call waits.
    Bulk,
}

impl EncoderPool {
    /// Makes a pool of at most `workers` sessions, and at least one. Nothing is read yet.
    pub fn new(location: EncoderLocation, library: LibrarySettings, workers: usize) -> Self {
        Self {
            location,
            library,
            workers: workers.max(1),
            digest: Mutex::default(),
            encoder: Mutex::default(),
            sessions: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    pub fn location(&self) -> &EncoderLocation {
        &self.location
    }

    /// Returns SHA-256 of everything in the encoder's files that determines a vector. Reads the
    /// files in the first call, and opens no session.
    ///
    /// # Errors
    /// Any error of the folder.
    pub fn digest(&self) -> Result<[u8; 32], Error> {
        let mut digest = lock(&self.digest);
        if let Some(digest) = *digest {
            return Ok(digest);
        }
        let files = EncoderFiles::read(&self.location, self.library.cache_dir.as_deref())?;
        Ok(*digest.insert(files.digest()))
    }

    /// Returns the length of a vector. Opens the encoder in the first call.
    ///
    /// # Errors
    /// Any error of the folder, the graph or the runtime library.
    pub fn dimensions(&self) -> Result<usize, Error> {
        Ok(self.encoder()?.dimensions)
    }

    /// Returns the tokens that are read of a text, special tokens included. Opens the encoder in
    /// the first call.
    ///
    /// # Errors
    /// Any error of the folder, the graph or the runtime library.
    pub fn max_tokens(&self) -> Result<usize, Error> {
        Ok(self.encoder()?.max_tokens())
    }

    /// Returns what training the encoder needs to know. Reads the files and opens no session.
    ///
    /// # Errors
    /// Any error of the folder.
    pub fn source(&self) -> Result<EncoderSource, Error> {
        EncoderFiles::read(&self.location, self.library.cache_dir.as_deref())?.source(&self.location)
    }

    /// Returns the token ids that are read of a text, special tokens included. Opens the encoder in
    /// the first call.
    ///
    /// # Errors
    /// As [`max_tokens`](Self::max_tokens); a text that is too large.
    pub fn token_ids(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoded = self.encoder()?.tokenize(text)?;
        Ok(encoded.runs[0].ids.iter().map(|&id| id as u32).collect())
    }

    /// Encodes one text on the calling thread. Waits for a session if all are in use; calls of
    /// [`encode_all`](Self::encode_all) let it go first.
    ///
    /// # Errors
    /// Any error of the folder, the graph or the runtime library, `Inference` if the run fails,
    /// `Cancelled` soon after `cancellation` is cancelled.
    pub fn encode(&self, text: &str, cancellation: &Cancellation) -> Result<Encoding, Error> {
        self.encode_for(Caller::Single, text, cancellation)
    }

    /// Encodes texts on `threads` threads, the calling one among them. Returns one encoding per
    /// text, in the same order.
    ///
    /// Calls `progress` on the calling thread with the number of encoded texts, after every text
    /// that this thread encodes and at the end.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_all(
        &self,
        texts: &[&str],
        threads: usize,
        cancellation: &Cancellation,
        progress: &dyn Fn(usize),
    ) -> Result<Vec<Encoding>, Error> {
        let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let encode_next = || -> Option<Result<(usize, Encoding), Error>> {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let text = texts.get(number)?;
            if cancellation.is_cancelled() {
                return Some(Err(Error::Cancelled));
            }
            // A `Cancellation` interrupts one run at a time, and these runs take milliseconds.
            let encoding = self.encode_for(Caller::Bulk, text, &Cancellation::default());
            finished.fetch_add(1, Ordering::Relaxed);
            // After a failure, no thread takes a further text.
            let encoding = encoding.inspect_err(|_| next.store(texts.len(), Ordering::Relaxed));
            Some(encoding.map(|encoding| (number, encoding)))
        };
        let mut encoded = thread::scope(|scope| -> Result<Vec<(usize, Encoding)>, Error> {
            let help = || std::iter::from_fn(encode_next).collect::<Result<Vec<_>, _>>();
            // With fewer threads than wanted, it only takes longer.
            let helpers: Vec<_> = (1..threads.min(texts.len()))
                .filter_map(|_| thread::Builder::new().name("encode".into()).spawn_scoped(scope, help).ok())
                .collect();
            let told = std::iter::from_fn(encode_next).inspect(|_| progress(finished.load(Ordering::Relaxed)));
            let mut all = told.collect::<Result<Vec<_>, _>>()?;
            for helper in helpers {
                all.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(all)
        })?;
        progress(texts.len());
        encoded.sort_unstable_by_key(|(number, _)| *number);
        Ok(encoded.into_iter().map(|(_, encoding)| encoding).collect())
    }

    /// Releases memory that long texts took. The next run allocates it again.
    pub fn release_memory(&self) {
        lock(&self.sessions).idle.iter_mut().for_each(Session::release_memory);
    }

    fn encode_for(&self, caller: Caller, text: &str, cancellation: &Cancellation) -> Result<Encoding, Error> {
        let encoder = self.encoder()?;
        let text = encoder.tokenize(text)?;
        self.lend(caller, &encoder, |session| encoder.run(session, &text, cancellation))
    }

    /// Returns the encoder, opened in the first call. After a failure the next call tries again.
    pub(crate) fn encoder(&self) -> Result<Arc<Encoder>, Error> {
        let mut opened = lock(&self.encoder);
        if let Some(encoder) = &*opened {
            return Ok(Arc::clone(encoder));
        }
        let (encoder, session) = Encoder::open(&self.location, &self.library)?;
        let mut sessions = lock(&self.sessions);
        sessions.idle.push(session);
        sessions.open = 1;
        Ok(Arc::clone(opened.insert(Arc::new(encoder))))
    }

    /// Runs `work` with a session: an idle one, a new one, or the next that is returned.
    fn lend<T>(
        &self,
        caller: Caller,
        encoder: &Encoder,
        work: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Sessions with weights of their own take as much memory as the whole model.
        let limit = if encoder.weights_shared { self.workers } else { 1 };
        let mut sessions = lock(&self.sessions);
        sessions.waiting += usize::from(caller == Caller::Single);
        let taken = |sessions: &mut Sessions| {
            let none_left = sessions.idle.is_empty() && sessions.open >= limit;
            none_left || (caller == Caller::Bulk && sessions.waiting > 0)
        };
        let mut sessions = self.returned.wait_while(sessions, taken).unwrap_or_else(PoisonError::into_inner);
        sessions.waiting -= usize::from(caller == Caller::Single);
        let session = sessions.idle.pop();
        sessions.open += usize::from(session.is_none());
        drop(sessions);
        let mut lent = Lent { pool: self, session };
        let session = match &mut lent.session {
            Some(session) => session,
            none => none.insert(encoder.session()?),
        };
        work(session)
    }
}

/// A session, or the place of one, which goes back to the pool when dropped.
struct Lent<'a> {
    pool: &'a EncoderPool,
    session: Option<Session>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut sessions = lock(&self.pool.sessions);
        match self.session.take() {
            Some(session) => sessions.idle.push(session),
            None => sessions.open -= 1,
        }
        drop(sessions);
        self.pool.returned.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
