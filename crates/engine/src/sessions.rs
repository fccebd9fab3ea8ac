//! The sessions of one group: which exist, which are idle, and which one a job gets.
//!
//! Plain data behind the group's lock. The threads that run jobs and make sessions are in `group`.

use std::time::{Duration, Instant};

use classifier::Model;

/// After a session could not be made, others serve for this long before the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(10);

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
    idle_wide: Option<Box<dyn Model>>,
    idle_narrow: Vec<Box<dyn Model>>,
    /// Sessions that exist, idle or in use.
    wide: usize,
    narrow: usize,
    is_making: bool,
    failed_at: Option<Instant>,
}

impl Sessions {
    /// `wide` is the session that loading the model made, for a group that has one.
    pub(crate) fn new(wide: Option<Box<dyn Model>>, max_narrow: usize) -> Self {
        Self {
            has_wide: wide.is_some(),
            max_narrow,
            wide: usize::from(wide.is_some()),
            idle_wide: wide,
            idle_narrow: Vec::new(),
            narrow: 0,
            is_making: false,
            failed_at: None,
        }
    }

    /// Takes an idle session: the wide one for a job that is `alone`, else a narrow one, else
    /// whichever is idle.
    pub(crate) fn take(&mut self, alone: bool) -> Option<(Kind, Box<dyn Model>)> {
        let wide = self.idle_wide.take_if(|_| alone || self.idle_narrow.is_empty());
        wide.map(|model| (Kind::Wide, model)).or_else(|| self.idle_narrow.pop().map(|model| (Kind::Narrow, model)))
    }

    /// Puts a session back after a run; `None` if the run lost it.
    pub(crate) fn put(&mut self, kind: Kind, model: Option<Box<dyn Model>>) {
        match (kind, model) {
            (Kind::Wide, Some(model)) => self.idle_wide = Some(model),
            (Kind::Narrow, Some(model)) => self.idle_narrow.push(model),
            (Kind::Wide, None) => self.wide -= 1,
            (Kind::Narrow, None) => self.narrow -= 1,
        }
    }

    /// Decides whether a session has to be made for a waiting job, one at a time. The caller
    /// reports the result with [`made`](Self::made) or [`failed`](Self::failed).
    pub(crate) fn start_making(&mut self, alone: bool) -> Option<Kind> {
        let failed = self.failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER);
        if self.is_making || failed && self.exist() {
            return None;
        }
        let kind = if self.has_wide && self.wide == 0 {
            Kind::Wide
        } else if (!alone || !self.has_wide) && self.idle_narrow.is_empty() && self.narrow < self.max_narrow {
            Kind::Narrow
        } else {
            return None;
        };
        self.is_making = true;
        Some(kind)
    }

    pub(crate) fn made(&mut self, kind: Kind, model: Box<dyn Model>) {
        self.is_making = false;
        match kind {
            Kind::Wide => self.wide += 1,
            Kind::Narrow => self.narrow += 1,
        }
        self.put(kind, Some(model));
    }

    /// Returns whether other sessions can serve the waiting jobs.
    pub(crate) fn failed(&mut self) -> bool {
        self.is_making = false;
        self.failed_at = Some(Instant::now());
        self.exist()
    }

    fn exist(&self) -> bool {
        self.wide + self.narrow > 0
    }

    /// Removes the idle narrow sessions and lends the idle wide one, which has to be `put` back.
    pub(crate) fn release(&mut self) -> (Vec<Box<dyn Model>>, Option<Box<dyn Model>>) {
        self.narrow -= self.idle_narrow.len();
        (std::mem::take(&mut self.idle_narrow), self.idle_wide.take())
    }
}
