//! `local_model_predict_batch`: up to 256 texts.

use futures_util::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mcp::server::{Context, Server};
use crate::mcp::tools::{LocalTool, ToolError, ToolResult, on_other_thread, result, watched};
use classifier::{Input, LabeledPrediction, Labels, Question, QuestionKind};
use engine::{Answer, Error, Priority, Request};

/// Texts in one call. More belong in a file, whose rows need not pass through the conversation.
const MAX_TEXTS: usize = 256;
/// Labels in one answer, far more than an assistant can read.
const MAX_LABELS: usize = 10_000;

pub(super) struct PredictBatch;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The texts to classify, unchanged.
    #[schemars(length(min = 1, max = 256))]
    texts: Vec<String>,
    /// Second texts in the same order, only for models trained on pairs.
    text_pairs: Option<Vec<String>>,
    /// Default: the first model.
    model: Option<String>,
    /// As in local_model_predict.
    labels: Option<Labels>,
    /// Likewise.
    question: Option<String>,
    /// Likewise.
    #[schemars(with = "Option<String>")]
    kind: Option<QuestionKind>,
    /// How many labels to return for each text, best first; default 1.
    #[schemars(range(min = 1))]
    top_k: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// One item per text, in the same order: a result as of local_model_predict, or `error`.
    results: Vec<Item>,
}

/// The fields of a result next to `error`: some clients cannot read a choice between two schemas.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct Item {
    #[serde(flatten)]
    labeled: Option<LabeledPrediction>,
    /// Why this text was not classified.
    error: Option<String>,
}

impl LocalTool for PredictBatch {
    const NAME: &'static str = "local_model_predict_batch";
    const TITLE: &'static str = "Predict a batch with the local model";
    const DESCRIPTION: &'static str = "Classifies up to 256 texts that are already in the conversation. Returns one \
        result per text, in the same order. Texts that fail have `error`; the others are unaffected. For files use \
        local_model_predict_file.";
    const SEARCH_HINT: &'static str = "classify label tag many texts list batch bulk sentiment every each comments tweets \
        tickets messages replies titles answers subject lines categorise sort local model \
        classifier \
        _批量_逐条_每条_这些_几条_分类_归类_打标签_情感_负面_评论_反馈_消息_句子_标题_";
    type Arguments = Arguments;
    type Output = Output;

    async fn call(server: &Server, arguments: Arguments, context: &Context) -> ToolResult {
        let Arguments { texts, text_pairs, model, labels, question, kind, top_k } = arguments;
        if !(1..=MAX_TEXTS).contains(&texts.len()) {
            let found = texts.len();
            return Err(ToolError(format!(
                "`texts` has {found} entries; expected 1 to {MAX_TEXTS}; put more texts into a file and use \
                 local_model_predict_file"
            )));
        }
        if let Some(pairs) = text_pairs.as_ref().filter(|pairs| pairs.len() != texts.len()) {
            let (found, expected) = (pairs.len(), texts.len());
            return Err(ToolError(format!(
                "`text_pairs` has {found} entries; expected {expected}, one for each of `texts`"
            )));
        }
        let found = texts.len().saturating_mul(top_k.unwrap_or(1));
        if found > MAX_LABELS {
            let remedy = "lower `top_k` or send fewer texts";
            return Err(ToolError(format!(
                "the call asks for {found} labels; expected at most {MAX_LABELS}; {remedy}"
            )));
        }
        let (labels, question) = Question::split(labels, question, kind);
        engine::check_labels(&labels)?;
        let pairs = text_pairs.unwrap_or_default().into_iter().map(Some).chain(std::iter::repeat(None));
        let predict = |(text, text_pair): (String, Option<String>)| {
            let input = Input { text, text_pair, labels: labels.clone(), question: question.clone() };
            let model = model.clone();
            server.engine.predict(Request { model, input, top_k, priority: Priority::Batch, ..Request::default() })
        };
        let predicted = async {
            let mut running = stream::iter(texts.into_iter().zip(pairs)).map(predict).buffered(server.jobs.in_flight);
            let mut answers = Vec::new();
            while let Some(answer) = running.next().await {
                match answer {
                    Err(error) if error.concerns_every_text() => return Err(error.into()),
                    answer => answers.push(answer),
                }
            }
            Ok(answers)
        };
        let answers = watched(server, model.clone(), context, predicted).await?;
        let item = move |answer: Result<Answer, Error>| match answer {
            Ok(answer) => Item { labeled: Some(answer.label().with_top_k(top_k.unwrap_or(1))), error: None },
            Err(error) => Item { labeled: None, error: Some(ToolError::from(error).0) },
        };
        Ok(on_other_thread(move || result(&Output { results: answers.into_iter().map(item).collect() }, None)).await)
    }
}
