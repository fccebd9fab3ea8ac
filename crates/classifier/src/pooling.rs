//! From the numbers of each token to one vector: the rules of sentence-transformers.
//!
//! A folder states them in `1_Pooling/config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::config::parse_json;
use crate::error::Error;
use crate::folder::Folder;
use crate::tensors::Rows;

const POOLING: &str = "1_Pooling/config.json";

/// How the rows of a text's tokens become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The row of the first token.
    First,
}

/// `1_Pooling/config.json`.
#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    /// The other modes.
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

impl Pooling {
    /// Reads the rule of a folder; the mean if it states none.
    ///
    /// # Errors
    /// `FileInvalid` for a rule other than the mean and the first token.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let Some(content) = Folder::open(folder)?.text(POOLING)? else { return Ok(Self::default()) };
        let path = folder.join(POOLING);
        let config: PoolingConfig = parse_json(&path, &content)?;
        let modes = config.others.into_iter();
        let others: Vec<String> = modes.filter(|(_, value)| *value == true).map(|(mode, _)| mode).collect();
        let others: Vec<String> = others.into_iter().filter(|mode| mode.starts_with("pooling_mode_")).collect();
        match (config.pooling_mode_cls_token, config.pooling_mode_mean_tokens, others.as_slice()) {
            (false, true, []) => Ok(Self::Mean),
            (true, false, []) => Ok(Self::First),
            _ => Err(Error::FileInvalid {
                path,
                message: "expected either `pooling_mode_mean_tokens` or `pooling_mode_cls_token`, and no other".into(),
                remedy:
                    "export the pooling with the graph, as `optimum-cli export onnx --library sentence_transformers` \
                         does"
                        .into(),
            }),
        }
    }

    /// Makes one row of the first `tokens` rows.
    pub(crate) fn pool(self, rows: &Rows, tokens: usize) -> Vec<f32> {
        let mut sum = rows.row(0).to_vec();
        if self == Self::Mean {
            for number in 1..tokens {
                sum.iter_mut().zip(rows.row(number)).for_each(|(sum, value)| *sum += value);
            }
            sum.iter_mut().for_each(|sum| *sum /= tokens as f32);
        }
        sum
    }
}

/// Divides a vector by its length. Zeros stay zeros.
pub(crate) fn normalize(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number = (f64::from(*number) / length) as f32);
    }
    vector
}
