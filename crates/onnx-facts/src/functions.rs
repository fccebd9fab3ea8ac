//! Counts the nodes of a graph as if every call of a function were replaced by the function's body.
//!
//! ONNX Runtime inlines functions while it loads a graph. A few functions that each call the
//! previous one twice make billions of nodes, and such a load cannot be interrupted.

use std::collections::HashMap;

/// Functions of real models call each other two or three levels deep.
const MAX_DEPTH: usize = 32;

/// Domain and name of an operator or a function.
///
/// The overload is left out: runtimes before ONNX 1.16 ignore it. Functions that differ only in it
/// are counted together, so that no runtime sees more nodes than are counted here.
pub(crate) type Key<'a> = (&'a str, &'a str);

/// Operators, and how often each occurs.
pub(crate) type Nodes<'a> = HashMap<Key<'a>, u64>;

/// The functions of a model.
#[derive(Default)]
pub(crate) struct Functions<'a>(HashMap<Key<'a>, Size<'a>>);

enum Size<'a> {
    /// The nodes of the body, functions not yet replaced.
    Body(Nodes<'a>),
    /// The count is in progress.
    Pending,
    /// The number of nodes after replacement.
    Counted(u64),
}

/// Returns the key of a name, whose domain may be the alias of the default one.
pub(crate) fn key<'a>(domain: &'a str, name: &'a str) -> Key<'a> {
    (if domain == "ai.onnx" { "" } else { domain }, name)
}

impl<'a> Functions<'a> {
    /// Adds the body of a function.
    pub(crate) fn add(&mut self, key: Key<'a>, body: Nodes<'a>) {
        match self.0.entry(key).or_insert_with(|| Size::Body(Nodes::new())) {
            Size::Body(nodes) => body.into_iter().for_each(|(key, count)| *nodes.entry(key).or_default() += count),
            Size::Pending | Size::Counted(_) => unreachable!("functions are added before any is counted"),
        }
    }

    /// Returns the number of nodes once every call is replaced.
    ///
    /// # Errors
    /// Part of a sentence, if functions call each other too deeply or in a cycle.
    pub(crate) fn count(&mut self, nodes: &Nodes<'a>) -> Result<u64, String> {
        self.count_at(nodes, 0)
    }

    fn count_at(&mut self, nodes: &Nodes<'a>, depth: usize) -> Result<u64, String> {
        if depth > MAX_DEPTH {
            return Err(format!("its functions call each other more than {MAX_DEPTH} deep"));
        }
        let mut sum = 0u64;
        for (&key, count) in nodes {
            let size = match self.0.get_mut(&key).map(|size| std::mem::replace(size, Size::Pending)) {
                None => 1,
                Some(Size::Counted(size)) => size,
                Some(Size::Pending) => return Err(format!("its function `{}` calls itself", key.1)),
                Some(Size::Body(body)) => self.count_at(&body, depth + 1)?,
            };
            self.0.entry(key).and_modify(|known| *known = Size::Counted(size));
            sum = sum.saturating_add(count.saturating_mul(size));
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(name: &'static str) -> Nodes<'static> {
        Nodes::from([(key("f", name), 2)])
    }

    fn doubling() -> Functions<'static> {
        let mut functions = Functions::default();
        functions.add(key("f", "f0"), Nodes::from([(key("", "Identity"), 1)]));
        for (name, inner) in [("f1", "f0"), ("f2", "f1"), ("f3", "f2")] {
            functions.add(key("f", name), twice(inner));
        }
        functions
    }

    #[test]
    fn calls_are_replaced_by_what_they_hold() {
        assert_eq!(doubling().count(&twice("f3")), Ok(16));
        assert_eq!(doubling().count(&Nodes::from([(key("", "f3"), 1)])), Ok(1), "another domain");
    }

    #[test]
    fn functions_of_one_name_are_counted_together_and_other_domains_hide_none() {
        let mut functions = doubling();
        functions.add(key("f", "f0"), Nodes::from([(key("", "Add"), 3)]));
        functions.add(key("decoy", "f3"), Nodes::new());
        assert_eq!(functions.count(&twice("f3")), Ok(64));
    }

    #[test]
    fn functions_that_call_themselves_are_refused() {
        let mut functions = Functions::default();
        functions.add(key("f", "a"), twice("b"));
        functions.add(key("f", "b"), twice("a"));
        let error = functions.count(&twice("a")).unwrap_err();
        assert!(error.ends_with("calls itself"), "{error}");
    }
}
