//! The special tokens around a single text, learned from the tokenizer.

use tokenizers::Tokenizer;

/// The ids of one run of the graph, and their type ids: rows of equal length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenIds {
    pub ids: Vec<i64>,
    pub type_ids: Vec<i64>,
}

/// The tokens before and after those of a single text, each with its type id.
#[derive(Debug)]
pub(crate) struct SpecialTokens {
    before: Vec<(u32, u32)>,
    after: Vec<(u32, u32)>,
    /// Type id of the text's own tokens.
    type_id: u32,
}

impl SpecialTokens {
    /// Learns the special tokens by encoding a text of one letter.
    ///
    /// # Errors
    /// Part of a sentence, if the tokenizer has neither the letter nor an unknown token.
    pub(crate) fn from_tokenizer(tokenizer: &Tokenizer) -> Result<Self, String> {
        let encoding = tokenizer.encode("a", true).map_err(|error| error.to_string())?;
        let special = encoding.get_special_tokens_mask();
        let type_ids = encoding.get_type_ids().iter().copied();
        let rows: Vec<(u32, u32)> = encoding.get_ids().iter().copied().zip(type_ids).collect();
        let first =
            special.iter().position(|&mask| mask == 0).ok_or("it has no token for `a` and none for unknown text")?;
        let last = special.iter().rposition(|&mask| mask == 0).unwrap_or(first);
        Ok(Self { before: rows[..first].to_vec(), after: rows[last + 1..].to_vec(), type_id: rows[first].1 })
    }

    pub(crate) fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Returns the number of special tokens before the text.
    pub(crate) fn len_before(&self) -> usize {
        self.before.len()
    }

    /// Returns `ids` without the special tokens.
    pub(crate) fn strip<'a>(&self, ids: &'a [u32]) -> &'a [u32] {
        &ids[self.before.len()..ids.len() - self.after.len()]
    }

    /// Puts the special tokens around `content`.
    pub(crate) fn surround(&self, content: impl Iterator<Item = u32>) -> TokenIds {
        let content = content.map(|id| (id, self.type_id));
        let rows = self.before.iter().copied().chain(content).chain(self.after.iter().copied());
        let (ids, type_ids) = rows.map(|(id, type_id)| (i64::from(id), i64::from(type_id))).unzip();
        TokenIds { ids, type_ids }
    }
}
