//! Tracks the sessions of one group: which exist, which are idle, and which one a job gets.
//!
//! Plain data behind the group's lock. The threads that run jobs and make sessions are in `group`.

use std::time::{Duration, Instant};

use classifier::Model;

/// Pause before a failed session is tried again while other sessions serve.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A model that one thread runs at a time.
pub(crate) type Session = Box<dyn Model>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Computes one text on several threads.
    Wide,
    /// Computes on the thread that calls it.
    Narrow,
}

pub(crate) struct Sessions {
    has_wide: bool,
    max_narrow: usize,
    idle_wide: Option<Session>,
    idle_narrow: Vec<Session>,
    /// Sessions that exist, idle or in use.
    wide: usize,
    narrow: usize,
    is_making: bool,
    failed_at: Option<Instant>,
}

impl Sessions {
    pub(crate) fn new(idle_wide: Option<Session>, max_narrow: usize) -> Self {
        let has_wide = idle_wide.is_some();
        Self {
            has_wide,
            max_narrow,
            idle_wide,
            idle_narrow: Vec::new(),
            wide: usize::from(has_wide),
            narrow: 0,
            is_making: false,
            failed_at: None,
        }
    }

    /// Takes an idle session: preferably the wide one for a job that is `alone` and a narrow one
    /// for others, otherwise any that is idle.
    pub(crate) fn take(&mut self, alone: bool) -> Option<(Kind, Session)> {
        let wide = self.idle_wide.take_if(|_| alone || self.idle_narrow.is_empty());
        let narrow = || self.idle_narrow.pop().map(|model| (Kind::Narrow, model));
        wide.map(|model| (Kind::Wide, model)).or_else(narrow)
    }

    /// Puts a session back after a run; `None` if the run lost it.
    pub(crate) fn put(&mut self, kind: Kind, model: Option<Session>) {
        match (kind, model) {
            (Kind::Wide, Some(model)) => self.idle_wide = Some(model),
            (Kind::Narrow, Some(model)) => self.idle_narrow.push(model),
            (Kind::Wide, None) => self.wide -= 1,
            (Kind::Narrow, None) => self.narrow -= 1,
        }
    }

    /// Decides whether to make a session for a waiting job, one at a time. The caller must report
    /// the result with [`made`](Self::made).
    pub(crate) fn start_making(&mut self, alone: bool) -> Option<Kind> {
        let failed = self.failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER);
        if self.is_making || failed && self.exist() {
            return None;
        }
        let wants_narrow = !(alone && self.has_wide) && self.idle_narrow.is_empty();
        let kind = match () {
            () if self.has_wide && self.wide == 0 => Kind::Wide,
            () if wants_narrow && self.narrow < self.max_narrow => Kind::Narrow,
            () => return None,
        };
        self.is_making = true;
        Some(kind)
    }

    /// Adds a new session; `None` if it could not be made. Returns whether any session exists.
    pub(crate) fn made(&mut self, kind: Kind, model: Option<Session>) -> bool {
        self.is_making = false;
        match (kind, &model) {
            (_, None) => self.failed_at = Some(Instant::now()),
            (Kind::Wide, _) => self.wide += 1,
            (Kind::Narrow, _) => self.narrow += 1,
        }
        if model.is_some() {
            self.put(kind, model);
        }
        self.exist()
    }

    /// Removes the idle narrow sessions and takes the idle wide one, which the caller must `put`
    /// back.
    pub(crate) fn release(&mut self) -> (Vec<Session>, Option<Session>) {
        self.narrow -= self.idle_narrow.len();
        (std::mem::take(&mut self.idle_narrow), self.idle_wide.take())
    }

    fn exist(&self) -> bool {
        self.wide + self.narrow > 0
    }
}
