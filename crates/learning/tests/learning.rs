//! The crate as its users see it.

use learning::{
    Row, Teaching, agreement_interval, clusters, first_rows, fit, hashed_words, next_rows, right_by_candidate,
    smallest_threshold,
};

/// Rows of three kinds, around three axes of a space of six dimensions.
fn rows(count: usize) -> Vec<Row> {
    let row = |index: usize| {
        let mut sentence = vec![0.1; 6];
        sentence[index % 3] = 1.0;
        sentence[3 + index % 2] += 0.01 * (index / 3) as f32;
        let length = sentence.iter().map(|value| value * value).sum::<f32>().sqrt();
        sentence.iter_mut().for_each(|value| *value /= length);
        Row { sentence, state: None, words: hashed_words(["refund", "crash", "login"][index % 3]) }
    };
    (0..count).map(row).collect()
}

#[test]
fn a_few_examples_teach_three_kinds_and_the_result_is_the_same_on_any_number_of_threads() {
    let rows = rows(60);
    let labels: Vec<(usize, usize)> = (0..12).map(|row| (row, row % 3)).collect();
    let teaching = Teaching { labels: &labels, label_count: 4, threads: 1, ..Teaching::new(&rows) };
    let fitted = fit(&teaching, &|| false).unwrap();
    for (index, row) in rows.iter().enumerate() {
        let probabilities = fitted.head.probabilities(row);
        assert!(probabilities[index % 3] > 0.5, "row {index}: {probabilities:?}");
        assert_eq!(probabilities[3], 0.0, "a label without an example");
        assert!(fitted.head.familiarity(row) > 0.9);
    }
    let again = fit(&Teaching { threads: 4, ..teaching }, &|| false).unwrap();
    assert_eq!(fitted.head, again.head);
    let text = serde_json::to_string(&fitted.head).unwrap();
    assert_eq!(serde_json::from_str::<learning::Head>(&text).unwrap(), fitted.head);
}

/// The sentence vectors of the examples tell their labels, as if an encoder was tuned on them. Those
/// of other rows tell nothing, and the state of all rows tells the label.
#[test]
fn candidates_are_chosen_by_rows_that_the_encoder_did_not_see() {
    let row = |number: usize| {
        let label = [-1.0, 1.0][number % 2];
        let noise = |dimension: usize| (number as f32 * dimension as f32).sin();
        let mut sentence: Vec<f32> = (1..17).map(noise).collect();
        sentence[0] = if number < 60 { 8.0 * label } else { sentence[0] };
        let state = Some((17..25).map(|dimension| label + noise(dimension)).collect());
        Row { sentence, state, words: hashed_words(&format!("number{number}")) }
    };
    let rows: Vec<Row> = (0..100).map(row).collect();
    let labels: Vec<(usize, usize)> = (0..60).map(|row| (row, row % 2)).collect();
    let others: Vec<(&Row, usize)> = (60..100).map(|row| (&rows[row], row % 2)).collect();
    let teaching = Teaching { labels: &labels, label_count: 2, ..Teaching::new(&rows) };
    let right = right_by_candidate(&teaching, &others, &|| false).unwrap();
    let accuracies: Vec<f64> = right.iter().map(|&right| right as f64 / others.len() as f64).collect();
    let by_itself = fit(&teaching, &|| false).unwrap();
    let told = fit(&Teaching { accuracies: Some(&accuracies), ..teaching }, &|| false).unwrap();
    let count =
        |head: &learning::Head| others.iter().filter(|(row, label)| head.probabilities(row)[*label] > 0.5).count();
    assert_eq!((by_itself.head.uses_state(), told.head.uses_state()), (false, true), "{:?}", told.candidates);
    assert_eq!(right[told.chosen[0]], *right.iter().max().unwrap());
    assert!(count(&told.head) >= count(&by_itself.head) + 10, "{} {}", count(&told.head), count(&by_itself.head));
}

#[test]
fn rows_to_label_are_spread_and_not_repeated() {
    let rows = rows(60);
    let first = first_rows(&rows, 6, 1);
    let kinds: std::collections::BTreeSet<usize> = first.iter().map(|row| row % 3).collect();
    assert_eq!((first.len(), kinds.len()), (6, 3), "{first:?}");
    let probabilities = vec![vec![0.5, 0.5]; 60];
    let next = next_rows(&rows, &probabilities, &first, 10, 1);
    assert_eq!(next.len(), 10);
    assert!(next.iter().all(|row| !first.contains(row)), "{next:?}");
    assert_eq!(next_rows(&rows, &probabilities, &(0..58).collect::<Vec<_>>(), 10, 1), [58, 59]);
}

#[test]
fn clusters_have_telling_words() {
    let rows = rows(60);
    let texts: Vec<&str> = (0..60).map(|row| ["my refund", "my crash", "my login"][row % 3]).collect();
    let clusters = clusters(&rows, &texts, 3, 1);
    assert_eq!(clusters.iter().map(|cluster| cluster.size).sum::<usize>(), 60);
    let words: std::collections::BTreeSet<&str> = clusters.iter().map(|cluster| cluster.words[0].as_str()).collect();
    assert_eq!(words.into_iter().collect::<Vec<_>>(), ["crash", "login", "refund"]);
}

#[test]
fn intervals_are_those_of_scipy() {
    // scipy.stats.binomtest(k, n).proportion_ci(0.95, "exact")
    for (right, of, low, high) in [(93, 100, 0.8610803, 0.9713947), (57, 60, 0.8607568, 0.9895677)] {
        let interval = agreement_interval(right, of, 0.95);
        assert!((interval.0 - low).abs() < 1e-6 && (interval.1 - high).abs() < 1e-6, "{interval:?}");
    }
    assert_eq!(agreement_interval(0, 0, 0.95), (0.0, 1.0));
}

#[test]
fn a_threshold_needs_enough_audited_rows() {
    let audit = |wrong: usize| -> Vec<(f64, bool)> { (0..100).map(|row| (row as f64 / 100.0, row >= wrong)).collect() };
    assert_eq!(smallest_threshold(&audit(5), 0.1, 0.1), Some(0.0));
    assert_eq!(smallest_threshold(&audit(6), 0.1, 0.1), Some(0.005));
    assert_eq!(smallest_threshold(&audit(0)[..20], 0.1, 0.1), None);
}
