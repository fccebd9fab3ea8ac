//! Builds a tokenizer from the files of a folder.
//!
//! Every tokenizer is built from a `tokenizer.json`. For folders that have only a vocabulary, the
//! file that transformers would write is generated here. Settings of `tokenizer_config.json` that
//! override the file are applied here too. `tokenizer` truncates texts.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    Tokenizer as HfTokenizer, TokenizerImpl,
};

use crate::config::{Config, parse_json};
use crate::error::Error;
use crate::tokenizer_config::{SpecialToken, TokenizerConfig};
use crate::tokenizer_limits::TokenizerSummary;

/// Reads a `tokenizer.json`.
///
/// `Tokenizer::from_bytes` builds the vocabulary three times, which takes most of its time and
/// memory. With the kind of model known, the vocabulary is read directly into its place.
pub(crate) fn parse_tokenizer(bytes: &[u8]) -> tokenizers::Result<HfTokenizer> {
    fn parse_as<M>(bytes: &[u8]) -> tokenizers::Result<HfTokenizer>
    where
        M: DeserializeOwned + Model + Into<ModelWrapper>,
    {
        type Parts<M> = TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;
        Ok(serde_json::from_slice::<Parts<M>>(bytes)?.into())
    }
    let summary: TokenizerSummary<'_> = serde_json::from_slice(bytes)?;
    summary.check()?;
    match summary.kind() {
        Some("WordPiece") => parse_as::<WordPiece>(bytes),
        Some("BPE") => parse_as::<BPE>(bytes),
        Some("Unigram") => parse_as::<Unigram>(bytes),
        // Files of old versions do not name the kind.
        _ => HfTokenizer::from_bytes(bytes),
    }
}

/// Makes the `tokenizer.json` for a `vocab.txt`, as `BertTokenizerFast` builds it.
pub(crate) fn word_piece(vocab: &str, settings: &TokenizerConfig) -> Result<Value, Error> {
    let numbered = vocab.lines().enumerate().map(|(number, token)| (token.trim_end().to_owned(), json!(number)));
    let vocab: Map<String, Value> = numbered.collect();
    let special = |token: &Option<SpecialToken>, default: &str| token_text(token.as_ref(), default);
    let (cls, sep) = (special(&settings.cls_token, "[CLS]"), special(&settings.sep_token, "[SEP]"));
    let unk = special(&settings.unk_token, "[UNK]");
    let others = [special(&settings.pad_token, "[PAD]"), special(&settings.mask_token, "[MASK]")];
    let path = Path::new("vocab.txt");
    let pair = |token: &str| Ok::<_, Error>(json!([token, token_id(&vocab, token, path)?]));
    Ok(json!({
        "version": "1.0",
        "added_tokens": added_tokens(&vocab, [&cls, &sep, &unk, &others[0], &others[1]]),
        "normalizer": normalizer(settings, true),
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "BertProcessing", "sep": pair(&sep)?, "cls": pair(&cls)? },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": vocab },
    }))
}

/// Tokenizer classes of transformers 4.57 whose settings override the file's normalizer: those
/// whose source reads `normalizer_state`.
#[rustfmt::skip]
const OVERRIDING: [&str; 13] = [
    "Bert", "ConvBert", "DistilBert", "Electra", "Funnel", "LayoutLM", "LayoutLMv2", "Lxmert",
    "MobileBert", "MPNet", "RoFormer", "Splinter", "SqueezeBert",
];
/// Model types whose `vocab.json` and `merges.txt` are byte-level. Other kinds of BPE use the same
/// file names.
#[rustfmt::skip]
const BYTE_LEVEL: [&str; 11] = [
    "roberta", "gpt2", "bart", "longformer", "led", "roberta-prelayernorm", "data2vec-text",
    "ibert", "mvp", "blenderbot", "opt",
];

/// Applies the settings that transformers takes from `tokenizer_config.json`, or its own defaults,
/// instead of those in `tokenizer.json`.
pub(crate) fn override_settings(tokenizer: &mut HfTokenizer, settings: &TokenizerConfig) -> tokenizers::Result<()> {
    let class = settings.tokenizer_class.as_deref().unwrap_or("BertTokenizer");
    let class = class.strip_suffix("Fast").unwrap_or(class);
    let class = class.strip_suffix("Tokenizer").unwrap_or(class);
    if let Some(NormalizerWrapper::BertNormalizer(written)) = tokenizer.get_normalizer()
        && OVERRIDING.contains(&class)
    {
        let mut changed = normalizer(settings, written.clean_text);
        if class == "MPNet" {
            changed["handle_chinese_chars"] = written.handle_chinese_chars.into();
        }
        let changed: NormalizerWrapper = serde_json::from_value(changed)?;
        tokenizer.with_normalizer(Some(changed));
    }
    let spaced = settings.add_prefix_space.unwrap_or(false);
    if let Some(PreTokenizerWrapper::ByteLevel(written)) = tokenizer.get_pre_tokenizer() {
        let changed = written.add_prefix_space(spaced);
        tokenizer.with_pre_tokenizer(Some(changed));
    }
    if let Some(PostProcessorWrapper::Roberta(written)) = tokenizer.get_post_processor()
        && !["PreTrained", "TokenizersBackend"].contains(&class)
    {
        let changed = written.clone().add_prefix_space(spaced).trim_offsets(settings.trim_offsets.unwrap_or(true));
        tokenizer.with_post_processor(Some(changed));
    }
    Ok(())
}

/// Makes the normalizer of BERT-like tokenizers.
fn normalizer(settings: &TokenizerConfig, clean_text: bool) -> Value {
    json!({
        "type": "BertNormalizer",
        "clean_text": clean_text,
        "handle_chinese_chars": settings.tokenize_chinese_chars.unwrap_or(true),
        "strip_accents": settings.strip_accents,
        "lowercase": settings.do_lower_case.unwrap_or(true),
    })
}

/// Makes the `tokenizer.json` for `vocab.json` and `merges.txt`: RoBERTa's, or GPT-2's if the
/// vocabulary has no `<s>`.
pub(crate) fn byte_level_bpe(
    vocab: &str,
    merges: &str,
    config: &Config,
    settings: &TokenizerConfig,
) -> Result<Value, Error> {
    let path = Path::new("vocab.json");
    let kind = config.model_type.as_deref().unwrap_or_default();
    if !BYTE_LEVEL.contains(&kind) {
        return Err(Error::FileInvalid {
            path: path.into(),
            message: format!(
                "it belongs to a model of type `{kind}`, expected one with byte-level BPE such as roberta or gpt2"
            ),
            remedy: "write `tokenizer.json` with `save_pretrained` in Python".into(),
        });
    }
    let vocab: Map<String, Value> = parse_json(path, vocab)?;
    let merges: Vec<&str> =
        merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty()).collect();
    let spaced = settings.add_prefix_space.unwrap_or(false);
    let cls = token_text(settings.cls_token.as_ref().or(settings.bos_token.as_ref()), "<s>");
    let sep = token_text(settings.sep_token.as_ref().or(settings.eos_token.as_ref()), "</s>");
    let framed = kind != "gpt2" && vocab.contains_key(&cls);
    let post_processor = if framed {
        let pair = |token: &str| Ok::<_, Error>(json!([token, token_id(&vocab, token, path)?]));
        json!({ "type": "RobertaProcessing", "sep": pair(&sep)?, "cls": pair(&cls)?, "trim_offsets": true,
                "add_prefix_space": spaced })
    } else {
        json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true })
    };
    let unk = token_text(settings.unk_token.as_ref(), if framed { "<unk>" } else { "<|endoftext|>" });
    let (pad, mask) =
        (token_text(settings.pad_token.as_ref(), "<pad>"), token_text(settings.mask_token.as_ref(), "<mask>"));
    let mut added = added_tokens(&vocab, [&cls, &sep, &unk, &pad, &mask]);
    // RoBERTa's mask absorbs the space before it.
    for token in added.iter_mut().filter(|token| token["content"] == *mask) {
        token["lstrip"] = true.into();
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": spaced, "trim_offsets": true, "use_regex": true },
        "post_processor": post_processor,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                   "end_of_word_suffix": "", "fuse_unk": false, "vocab": vocab, "merges": merges },
    }))
}

/// Returns the text of a token, or the default.
fn token_text<'a>(token: impl Into<Option<&'a SpecialToken>>, default: &str) -> String {
    token.into().map_or(default, SpecialToken::text).to_owned()
}

/// Returns the id of a token that must exist.
fn token_id(vocab: &Map<String, Value>, token: &str, path: &Path) -> Result<Value, Error> {
    vocab.get(token).cloned().ok_or_else(|| Error::FileInvalid {
        path: path.into(),
        message: format!("it has no token `{token}`"),
        remedy: "write `tokenizer.json` with `save_pretrained` in Python".into(),
    })
}

/// Returns the special tokens that the vocabulary has, in its order.
fn added_tokens<const N: usize>(vocab: &Map<String, Value>, tokens: [&String; N]) -> Vec<Value> {
    let mut found: Vec<(u64, &String)> =
        tokens.iter().filter_map(|token| Some((vocab.get(*token)?.as_u64()?, *token))).collect();
    found.sort();
    found.dedup();
    let flags = |(id, content)| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    found.into_iter().map(flags).collect()
}
