//! Every fixture model gives the scores of transformers' own pipelines on torch.
//!
//! `tests/fixtures/README.md` describes how they were made.

use std::fs;

use classifier::testing::{fixture, with_settings};
use classifier::{Cancellation, Error, Input, LabeledPrediction, LibrarySettings, Location};
use serde_json::Value;

use crate::{label, load, predict};

fn golden(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixture(name).join("expected.json")).unwrap()).unwrap()
}

/// Asserts all labels in the expected order and all scores within the tolerance. Labels whose
/// scores differ by less may change places.
#[track_caller]
fn compare(case: &Value, tolerance: f64, answer: &LabeledPrediction) {
    let best = answer.confidence.or(answer.value).unwrap();
    let mut found = vec![(answer.prediction.as_str(), f64::from(best))];
    found.extend(answer.alternatives.iter().map(|other| (&*other.label, f64::from(other.confidence))));
    let expected = case["expected"].as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (place, expected) in expected.iter().enumerate() {
        let (label, score) = (expected["label"].as_str().unwrap(), expected["score"].as_f64().unwrap());
        let (_, same) = found.iter().find(|(name, _)| *name == label).unwrap();
        assert!((same - score).abs() <= tolerance, "{}: {label} {same}, expected {score}", case["name"]);
        let swapped = found[place].0 != label;
        assert!(!swapped || (found[place].1 - score).abs() <= tolerance, "{}: {found:?}", case["name"]);
    }
}

#[track_caller]
fn classifier(name: &str) {
    let golden = golden(name);
    let mut loaded = load(&fixture(name)).unwrap();
    let pairs = golden["pair_cases"].as_array().into_iter().flatten();
    let cases: Vec<&Value> = golden["cases"].as_array().unwrap().iter().chain(pairs).collect();
    assert!(cases.len() >= 20);
    for case in cases {
        let input = Input {
            text: case["text"].as_str().unwrap().into(),
            text_pair: case["text_pair"].as_str().map(str::to_owned),
            ..Input::default()
        };
        let answer = label(&mut loaded, &input);
        compare(case, golden["tolerance"].as_f64().unwrap(), &answer);
        // The golden's ids are the tokens that are read, special tokens included.
        let read = case["input_ids"].as_array().unwrap().len();
        assert!(answer.truncated.is_none_or(|cut| cut.limit as usize == read && cut.tokens > cut.limit), "{case}");
    }
}

#[track_caller]
fn tagger(name: &str) {
    let golden = golden(name);
    for strategy in ["none", "simple", "first", "max", "average"] {
        let folder = with_settings(name, &format!("aggregation = \"{strategy}\""));
        let mut loaded = load(folder.path()).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let answer = label(&mut loaded, &Input::single(case["text"].as_str().unwrap()));
            let found = answer.entities.unwrap();
            let expected = case["expected"][strategy].as_array().unwrap();
            let key = if strategy == "none" { "entity" } else { "entity_group" };
            let place = |label: &str, start: u64, end: u64| format!("{label} {start}..{end}");
            let places: Vec<_> = found.iter().map(|e| place(&e.label, e.start.into(), e.end.into())).collect();
            let expected_places: Vec<_> = expected
                .iter()
                .map(|e| place(e[key].as_str().unwrap(), e["start"].as_u64().unwrap(), e["end"].as_u64().unwrap()))
                .collect();
            assert_eq!(places, expected_places, "{} {strategy}", case["name"]);
            for (entity, expected) in found.iter().zip(expected) {
                let difference = (f64::from(entity.confidence) - expected["score"].as_f64().unwrap()).abs();
                assert!(difference <= golden["tolerance"].as_f64().unwrap(), "{} {strategy}", case["name"]);
            }
        }
    }
}

#[track_caller]
fn zero_shot(name: &str) {
    let golden = golden(name);
    for case in golden["cases"].as_array().unwrap().iter().filter(|case| case.get("expected").is_some()) {
        let template = case["hypothesis_template"].as_str().unwrap();
        let settings = format!("hypothesis_template = {template:?}\nmulti_label = {}", case["multi_label"]);
        let folder = with_settings(name, &settings);
        let mut loaded = load(folder.path()).unwrap();
        let labels = case["candidate_labels"].as_array().unwrap();
        let input = Input {
            text: case["text"].as_str().unwrap().into(),
            labels: labels.iter().map(|label| label.as_str().unwrap().to_owned()).collect(),
            ..Input::default()
        };
        compare(case, golden["tolerance"].as_f64().unwrap(), &label(&mut loaded, &input));
    }
}

#[test]
fn a_tagger_without_special_tokens_map_knows_its_unknown_token() {
    let folder = with_settings("ner-wordpiece", "aggregation = \"max\"");
    let text = Input::single("😀 met 漢 Tomas ☃☃");
    let before = label(&mut load(folder.path()).unwrap(), &text);
    let old = r#"{"do_lower_case": false, "model_max_length": 48, "tokenizer_class": "BertTokenizer"}"#;
    fs::write(folder.path().join("tokenizer_config.json"), old).unwrap();
    fs::remove_file(folder.path().join("special_tokens_map.json")).unwrap();
    assert_eq!(label(&mut load(folder.path()).unwrap(), &text), before);
}

#[test]
fn a_pair_with_labels_is_refused() {
    let mut loaded = load(&fixture("nli")).unwrap();
    let input = Input { text_pair: Some("b".into()), labels: vec!["c".into()], ..Input::single("a") };
    assert!(matches!(loaded.first.predict(&input, &Cancellation::default()), Err(Error::PairNotTaken { .. })));
}

#[test]
fn a_model_of_single_texts_refuses_pairs() {
    let input = Input { text_pair: Some("b".into()), ..Input::single("a") };
    let predicted = |settings| {
        let mut loaded = load(with_settings("wordpiece-pairs", settings).path()).unwrap();
        loaded.first.predict(&input, &Cancellation::default())
    };
    assert!(predicted("").is_ok());
    assert!(matches!(predicted("pairs = false"), Err(Error::PairNotTaken { .. })));
}

#[test]
fn labels_in_the_settings_enable_zero_shot() {
    let mut loaded = load(with_settings("nli-label2id", "labels = [\"entailment\", \"b\", \"c\"]").path()).unwrap();
    let input = Input { labels: vec!["c".into(), "d".into()], ..Input::single("a") };
    assert!(loaded.info.supports_zero_shot && loaded.first.predict(&input, &Cancellation::default()).is_ok());
}

/// Other texts run before, between and after. Replicas have one thread or several, and run the
/// prepared graph or the original.
#[test]
fn a_text_has_the_same_scores_to_the_last_bit_on_any_replica() {
    for name in ["wordpiece-pairs", "roberta-pairs", "fp16", "int8"] {
        let golden = golden(name);
        let texts =
            golden["cases"].as_array().unwrap().iter().map(|case| Input::single(case["text"].as_str().unwrap()));
        let texts: Vec<Input> = texts.collect();
        let mut loaded = load(&fixture(name)).unwrap();
        let library = LibrarySettings { path: None, cache_dir: None };
        let original = classifier::load("original", &Location::Folder(fixture(name)), &library, 1).unwrap();
        assert_eq!((loaded.info.load.weights_shared, original.info.load.weights_shared), (true, false));
        let mut replicas = [loaded.replicas.replica(1).unwrap(), loaded.replicas.replica(2).unwrap(), original.first];
        let first: Vec<_> = texts.iter().map(|text| predict(&mut loaded, text)).collect();
        for (text, first) in texts.iter().zip(&first).rev() {
            assert_eq!(&predict(&mut loaded, text), first, "{name}");
            for replica in &mut replicas {
                assert_eq!(&replica.predict(text, &Cancellation::default()).unwrap(), first, "{name}");
            }
        }
    }
}

macro_rules! goldens {
    ($($check:ident: $($test:ident $name:literal),+;)+) => {
        $($(#[test] fn $test() { $check($name); })+)+
    };
}

goldens! {
    classifier:
        pairs_with_token_type_ids "wordpiece-pairs",
        truncation_direction_left_over_in_tokenizer_json "truncation-left",
        no_token_type_ids_and_no_limit_named "distilbert",
        byte_level_bpe_pairs_and_positions_after_padding "roberta-pairs",
        unigram_multi_label "xlm-roberta-multilabel",
        a_regression "regression",
        one_label_is_a_sigmoid "single-label-sigmoid",
        int32_inputs "int32",
        fp16_logits "fp16",
        int8_in_the_layout_of_transformers_js "int8",
        weights_beside_the_graph "dynamo-external-data",
        a_graph_of_fixed_length "fixed-sequence",
        a_graph_whose_length_is_the_only_limit "fixed-shape",
        logits_among_other_outputs_and_twelve_labels "extra-outputs",
        logits_under_another_name "output-0",
        tokenizer_config_wins_over_tokenizer_json "tokenizer-config-overrides",
        an_uncased_vocabulary_alone "vocab-only-uncased",
        a_cased_vocabulary_alone "vocab-only-cased",
        a_vocabulary_and_merges_alone "bpe-only";
    tagger:
        word_piece_entities "ner-wordpiece",
        byte_level_entities "ner-bpe",
        byte_level_entities_under_overridden_settings "ner-bpe-overrides",
        unigram_entities "ner-unigram",
        unigram_entities_split_at_spaces "ner-unigram-whitespace",
        entities_without_b_tags "ner-inside-only";
    zero_shot:
        candidates_of_an_nli_model "nli",
        candidates_where_entailment_is_first "nli-entailment-first",
        candidates_where_only_label2id_names_entailment "nli-label2id";
}
