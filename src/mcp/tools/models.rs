//! The models and their labels in one sentence, for a tool's description.
//!
//! Labels come from model folders, so they are shortened and escaped like all texts of others.

use std::collections::HashSet;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::visible::shorten;
use engine::Engine;

/// Limits that keep the sentence below 150 tokens.
const MAX_MODELS: usize = 4;
const MAX_LABELS: usize = 8;
const MAX_LABEL_CHARACTERS: usize = 24;
/// Reading two small files takes less than a millisecond. A folder on a network that does not
/// answer must not delay the server.
const MAX_WAIT: Duration = Duration::from_millis(200);

/// Returns the names of the models, the default one first, with the labels that are known.
pub(super) fn summary(engine: &Arc<Engine>) -> String {
    let names = engine.names();
    let (sender, receiver) = mpsc::channel();
    let reader = (Arc::clone(engine), names.clone());
    // Without a thread there are no labels; the names suffice for a call.
    let _ = thread::Builder::new().name("labels".into()).spawn(move || {
        let (engine, names) = reader;
        // Sending fails after the receiver has stopped waiting.
        let _ = names.iter().take(MAX_MODELS).try_for_each(|name| sender.send(engine.labels(name)));
    });
    let end = Instant::now() + MAX_WAIT;
    let next = || receiver.recv_timeout(end.saturating_duration_since(Instant::now())).ok().flatten();
    let mut shown: Vec<String> = names.iter().take(MAX_MODELS).map(|name| describe(name, next())).collect();
    shown.extend((names.len() > MAX_MODELS).then(|| format!("{} more", names.len() - MAX_MODELS)));
    format!("Models: {}.", shown.join("; "))
}

fn describe(name: &str, labels: Option<Vec<Arc<str>>>) -> String {
    let Some(labels) = labels else { return name.to_owned() };
    let labels = entity_types(&labels).unwrap_or_else(|| labels.iter().map(|label| &**label).collect());
    let mut shown: Vec<String> =
        labels.iter().take(MAX_LABELS).map(|label| shorten(label, MAX_LABEL_CHARACTERS)).collect();
    match labels.len() {
        0 => shown.push("takes `labels`".into()),
        found if found > MAX_LABELS => shown.push(format!("{} more in local_model_status", found - MAX_LABELS)),
        _ => {}
    }
    format!("{name} ({})", shown.join(", "))
}

/// Returns the types of entities if these are the tags of a tagger, such as `O`, `B-LOC` and
/// `I-LOC`.
fn entity_types(tags: &[Arc<str>]) -> Option<Vec<&str>> {
    let (mut seen, mut kinds) = (HashSet::new(), Vec::new());
    for tag in tags.iter().filter(|tag| &***tag != "O") {
        let kind = tag.strip_prefix("B-").or_else(|| tag.strip_prefix("I-"))?;
        if seen.insert(kind) {
            kinds.push(kind);
        }
    }
    Some(kinds).filter(|kinds| !kinds.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use classifier::{LoadedModel, ModelLoader};
    use engine::testing::settings;

    fn described(labels: &[&str]) -> String {
        describe("m", Some(labels.iter().map(|label| Arc::from(*label)).collect()))
    }

    #[test]
    fn labels_are_listed_shortened_and_escaped() {
        assert_eq!(described(&["spam", "not\u{202e} spam"]), "m (spam, not\\u{202e} spam)");
        assert_eq!(described(&["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), "m (PER, LOC)");
        assert_eq!(described(&["O", "B-PER", "other"]), "m (O, B-PER, other)");
        assert_eq!(described(&[]), "m (takes `labels`)");
        assert_eq!(describe("m", None), "m");
        let many: Vec<String> = (0..65_536).map(|number| format!("{number}{}", "x".repeat(250))).collect();
        let many = described(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(many.ends_with("…, 65528 more in local_model_status)") && many.len() < 300, "{many}");
    }

    /// A loader whose folder does not answer.
    struct Silent(Mutex<mpsc::Receiver<()>>);

    impl ModelLoader for Silent {
        fn load(&self) -> Result<LoadedModel, classifier::Error> {
            Err(classifier::Error::Cancelled)
        }

        fn labels(&self) -> Option<Vec<Arc<str>>> {
            let _ = self.0.lock().unwrap().recv();
            None
        }
    }

    #[tokio::test]
    async fn a_folder_that_does_not_answer_delays_the_list_only_for_a_moment() {
        let (_answer, waiting) = mpsc::channel();
        let loader: Arc<dyn ModelLoader> = Arc::new(Silent(Mutex::new(waiting)));
        let engine = Engine::start(vec![("silent".into(), loader)], settings());
        assert_eq!(summary(&engine), "Models: silent.");
    }
}
