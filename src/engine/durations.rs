//! How long runs took, by the binary magnitude of their size: what tells a short run from a long one on any model and machine.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::prediction::Input;

#[derive(Default)]
pub(super) struct Durations([AtomicU32; 32]);

impl Durations {
    fn slot(&self, input: &Input) -> &AtomicU32 {
        &self.0[(size(input).max(1).ilog2() as usize).min(self.0.len() - 1)]
    }

    /// `None` before the first run of this magnitude.
    pub(super) fn expected(&self, input: &Input) -> Option<Duration> {
        let micros = self.slot(input).load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }

    /// Each run counts a quarter, so that one disturbed run does not change the choice for long.
    pub(super) fn learn(&self, input: &Input, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let slot = self.slot(input);
        let known = slot.load(Ordering::Relaxed);
        let learnt = if known == 0 { took } else { known - known / 4 + took / 4 };
        slot.store(learnt.max(1), Ordering::Relaxed);
    }
}

/// Bytes to read: the text once a candidate label, and the labels.
fn size(input: &Input) -> usize {
    let pair = input.text_pair.as_ref().map_or(0, String::len);
    let labels: usize = input.labels.iter().map(String::len).sum();
    (input.text.len() + pair) * input.labels.len().max(1) + labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_learnt_by_magnitude() {
        let durations = Durations::default();
        let of = |bytes| Input::single("x".repeat(bytes));
        assert_eq!(durations.expected(&of(100)), None);
        durations.learn(&of(100), Duration::from_millis(4));
        assert_eq!(durations.expected(&of(127)), Some(Duration::from_millis(4)));
        assert_eq!(durations.expected(&of(128)), None);
        durations.learn(&of(64), Duration::from_millis(8));
        assert_eq!(durations.expected(&of(100)), Some(Duration::from_millis(5)));
        durations.learn(&of(0), Duration::ZERO);
        assert_eq!(durations.expected(&of(1)), Some(Duration::from_micros(1)));
    }
}
