//! `local_model_predict`: one text.

use rmcp::model::MetaObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::mcp::server::{Context, Server};
use crate::mcp::tools::{LocalTool, ToolResult, on_other_thread, result, watched};
use cache_dir::digest::hex;
use classifier::{Input, LabeledPrediction, Labels, Question, QuestionKind};
use engine::{Answer, Request, milliseconds};

pub(super) struct Predict;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The text to classify, unchanged; not blank.
    #[schemars(length(min = 1))]
    text: String,
    /// Second text, only for models trained on pairs.
    text_pair: Option<String>,
    /// Default: the first model.
    model: Option<String>,
    /// Candidate labels, or {label: description}; only zero-shot and decision models.
    labels: Option<Labels>,
    /// What to ask a decision model.
    question: Option<String>,
    /// Default choice; for score, levels, lowest first.
    kind: Option<QuestionKind>,
    /// How many labels to return, best first; default 1.
    #[schemars(range(min = 1))]
    top_k: Option<usize>,
    /// True: also return the words that mattered; runs the model once per word.
    explain: Option<bool>,
}

impl LocalTool for Predict {
    const NAME: &'static str = "local_model_predict";
    const TITLE: &'static str = "Predict with the local model";
    const DESCRIPTION: &'static str = "Classifies, tags or scores one text with the user's local model, offline and in \
        milliseconds. Use it whenever a text should be labelled by that model, instead of judging yourself. The result \
        says if only part of a long text was read.";
    const SEARCH_HINT: &'static str = "classify text label labels top labels with scores title tag sentiment tone angry \
        happy positive negative spam toxic topic intent category score rate predict confident entities names NER \
        zero-shot offline own local model classifier tagger sentence comment review email ticket onnx why mattered \
        _分类_情感_语气_正面_负面_打分_标签_判断_预测_类别_实体_垃圾信息_本地_模型_本地模型_我的模型_评论_句子_工单_";
    const ALWAYS_LOAD: bool = true;
    type Arguments = Arguments;
    type Output = LabeledPrediction;

    async fn call(server: &Server, arguments: Arguments, context: &Context) -> ToolResult {
        let Arguments { text, text_pair, model, labels, question, kind, top_k, explain } = arguments;
        let (labels, question) = Question::split(labels, question, kind);
        let input = Input { text, text_pair, labels, question };
        let explain = explain.unwrap_or_default();
        let request = Request { model: model.clone(), input, top_k, explain, ..Request::default() };
        let predicted = async { Ok(server.engine.predict(request).await?) };
        let answer = watched(server, model, context, predicted).await?;
        let respond =
            move |answer: &Answer| result(&answer.label().with_top_k(top_k.unwrap_or(1)), Some(diagnostics(answer)));
        // Ranking thousands of labels or slicing entities out of a long text costs more than a
        // thread switch.
        let is_large = answer.input.text.len() > 16 << 10 || answer.info.labels.len() > 1000;
        Ok(if is_large { on_other_thread(move || respond(&answer)).await } else { respond(&answer) })
    }
}

/// Returns facts about a call for developers; the assistant does not see them.
fn diagnostics(answer: &Answer) -> MetaObject {
    let Value::Object(fields) = json!({
        "local-model/model": answer.model,
        "local-model/digest": hex(&answer.info.digest[..8]),
        "local-model/source": answer.answered_by.name(),
        "local-model/tokens": answer.prediction.tokens,
        "local-model/queue_ms": milliseconds(answer.queued),
        "local-model/inference_ms": milliseconds(answer.inference),
        "local-model/total_ms": milliseconds(answer.total),
    }) else {
        unreachable!("the literal above is an object")
    };
    MetaObject(fields)
}
