//! The special tokens around a single text, learnt from the tokenizer, and rows of ids put together with them.

use tokenizers::Tokenizer;

/// One run of the graph: rows of equal length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub ids: Vec<i64>,
    pub type_ids: Vec<i64>,
}

/// What stands before and after the tokens of a single text.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) before: Vec<(u32, u32)>,
    after: Vec<(u32, u32)>,
    type_id: u32,
}

impl Frame {
    /// Learns the frame from a text of one letter.
    ///
    /// # Errors
    /// Part of a sentence, where the tokenizer knows neither the letter nor an unknown token.
    pub(super) fn of(tokenizer: &Tokenizer) -> Result<Self, String> {
        let encoding = tokenizer.encode("a", true).map_err(|error| error.to_string())?;
        let special = encoding.get_special_tokens_mask();
        let rows: Vec<(u32, u32)> =
            encoding.get_ids().iter().copied().zip(encoding.get_type_ids().iter().copied()).collect();
        let first =
            special.iter().position(|&mask| mask == 0).ok_or("it has no token for `a` and none for unknown text")?;
        let last = special.iter().rposition(|&mask| mask == 0).unwrap_or(first);
        Ok(Self { before: rows[..first].to_vec(), after: rows[last + 1..].to_vec(), type_id: rows[first].1 })
    }

    pub(super) fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    pub(super) fn around(&self, content: impl Iterator<Item = u32>) -> Chunk {
        let content = content.map(|id| (id, self.type_id));
        let rows = self.before.iter().copied().chain(content).chain(self.after.iter().copied());
        let (ids, type_ids) = rows.map(|(id, type_id)| (i64::from(id), i64::from(type_id))).unzip();
        Chunk { ids, type_ids }
    }
}
