//! The token limit of a model, and the check that tokenizer and graph belong together.

use tokenizers::{Model, Tokenizer as HfTokenizer};

use crate::config::Config;
use crate::error::Error;
use crate::model_files::ModelFiles;

/// Used if neither the tokenizer nor the configuration names a limit. BERT was trained with it.
const DEFAULT_MAX_TOKENS: u64 = 512;
/// Larger limits mean "none" (transformers writes 10^30).
const MAX_MEANT_LIMIT: u64 = 1 << 20;
/// The cost of attention grows with the square of the length: a text of 8,192 tokens takes
/// gigabytes. Higher limits must be set with `max_tokens` in `local-model.toml`.
const MAX_DEFAULT_LIMIT: u64 = 4096;
/// Models whose position ids start after the padding id, so that earlier positions are unused.
#[rustfmt::skip]
const POSITIONS_AFTER_PADDING: [&str; 13] = [
    "roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert",
    "longformer", "mpnet", "data2vec-text", "ibert", "xmod", "lilt", "luke", "esm",
];

/// Returns the smallest real limit that the folder names, special tokens included.
pub(crate) fn max_tokens(files: &ModelFiles) -> usize {
    let config = &files.config;
    let unused = match &config.model_type {
        Some(kind) if POSITIONS_AFTER_PADDING.contains(&kind.as_str()) => {
            config.pad_token_id.unwrap_or(1).saturating_add(1)
        }
        _ => 0,
    };
    let positions = config.max_position_embeddings.map(|positions| positions.saturating_sub(unused));
    // `as` turns 10^30 into the largest u64, which the filter then drops.
    let written = files.tokenizer_config.model_max_length.map(|length| length as u64);
    let limits = [positions, written].into_iter().flatten();
    let own = limits.filter(|&limit| limit > 0 && limit < MAX_MEANT_LIMIT).min();
    let limit = match files.settings.max_tokens {
        Some(wanted) => wanted.min(own.unwrap_or(u64::MAX)),
        None => own.unwrap_or(DEFAULT_MAX_TOKENS).min(MAX_DEFAULT_LIMIT),
    };
    limit as usize
}

/// Checks that the graph has an embedding for every token. Otherwise the first text with such a
/// token would fail.
pub(crate) fn check_vocabulary(tokenizer: &HfTokenizer, config: &Config) -> Result<(), Error> {
    let end = |id: u32| id as usize + 1;
    let added = tokenizer.get_added_tokens_decoder().into_keys().max().map_or(0, end);
    let size = tokenizer.get_vocab_size(false);
    let model = tokenizer.get_model();
    // Few vocabularies skip ids. For those, finding the largest id costs a copy of all tokens.
    let gapless = (0..size as u32).all(|id| model.id_to_token(id).is_some());
    let own = if gapless { size } else { model.get_vocab().into_values().max().map_or(0, end) };
    let tokens = added.max(own);
    match config.vocab_size {
        Some(embedded) if tokens > embedded => Err(Error::TokenizerLarger { tokens, embedded }),
        _ => Ok(()),
    }
}
