//! Makes a decision model of its files and the session over its first graph.

use std::sync::Arc;

use onnx_runtime::LibrarySettings;

use crate::decision::pipeline::{DecisionConfig, DecisionPipeline};
use crate::decision::{DecisionFiles, Rules, laya};
use crate::error::Error;
use crate::model::Model;
use crate::model_files::{GraphFiles, ModelFiles};
use crate::model_info::DecisionInfo;
use crate::prepared::Sessions;
use crate::session::Session;
use crate::signature::Purpose;
use crate::tokenizer::Tokenizer;

/// A decision model without its sessions.
pub(crate) struct Decision {
    config: Arc<DecisionConfig>,
    /// Decima: what makes sessions over the second graph.
    scorer: Option<(Sessions, GraphFiles)>,
    pub info: DecisionInfo,
    /// How scores come about, for people.
    pub activation: String,
    pub warnings: Vec<String>,
    pub max_tokens: usize,
}

impl Decision {
    /// # Errors
    /// `FileInvalid` if the tokenizer lacks a special token, and those of the second graph.
    pub(crate) fn new(
        name: &str,
        decision: DecisionFiles,
        files: &ModelFiles,
        tokenizer: Tokenizer,
        library: &LibrarySettings,
    ) -> Result<Self, Error> {
        let DecisionFiles { rules, defaults, scorer } = decision;
        let (family, marks) = match &rules {
            Rules::Laya(_) => {
                ("Laya", Some(laya::Marks::new(&tokenizer).map_err(|message| missing_mark(files, message))?))
            }
            Rules::Decima(_) => ("Decima", None),
        };
        let ((limits, temperatures), warnings) = match &rules {
            Rules::Laya(rules) => (rules.describe(), rules.warnings.clone()),
            Rules::Decima(rules) => (rules.describe(), Vec::new()),
        };
        let info = DecisionInfo { family, defaults: defaults.clone(), limits };
        let config = DecisionConfig {
            name: name.to_owned(),
            rules,
            marks,
            defaults,
            tokenizer,
            temperature: files.settings.calibration.as_ref().map(|table| table.temperature),
            overflow: files.settings.overflow,
        };
        let sessions = scorer.map(|graph| -> Result<_, Error> {
            let environment = onnx_runtime::environment(library)?;
            Ok((Sessions::new(environment, Purpose::Scorer, &graph, library.cache_dir.as_deref()), graph))
        });
        Ok(Self {
            info,
            activation: format!("softmax (temperatures of the model: {temperatures})"),
            warnings,
            max_tokens: config.max_tokens(),
            config: Arc::new(config),
            scorer: sessions.transpose()?,
        })
    }

    /// Makes the first pipeline. Its graphs run once.
    ///
    /// # Errors
    /// `Inference` if a graph cannot run, or gives what does not fit the configuration.
    pub(crate) fn first(&self, mut session: Session, threads: usize) -> Result<Box<dyn Model>, Error> {
        let failed = |error: ort::Error| Error::inference(&self.config.name, error.message());
        let width = session.first_run().map_err(failed)?.rows.width;
        let mut scorer = self.open_scorer(threads)?;
        if let (Some(scorer), Rules::Decima(rules)) = (&mut scorer, &self.config.rules) {
            let scored = scorer.first_run().map_err(failed)?.rows.width;
            if scored != width + 1 || rules.width() != width {
                let found = format!(
                    "encoder, scorer and `ordinal` differ in width: {width}, {}, {}",
                    scored - 1,
                    rules.width()
                );
                return Err(Error::inference(&self.config.name, &found));
            }
        }
        Ok(self.with_sessions(session, scorer))
    }

    /// Makes a further pipeline, with a session over the first graph.
    pub(crate) fn pipeline(&self, session: Session, threads: usize) -> Result<Box<dyn Model>, Error> {
        Ok(self.with_sessions(session, self.open_scorer(threads)?))
    }

    fn open_scorer(&self, threads: usize) -> Result<Option<Session>, Error> {
        let opened = self.scorer.as_ref().map(|(sessions, graph)| sessions.open(graph, threads)).transpose()?;
        Ok(opened.map(|(session, _)| session))
    }

    fn with_sessions(&self, session: Session, scorer: Option<Session>) -> Box<dyn Model> {
        Box::new(DecisionPipeline { config: Arc::clone(&self.config), session, scorer, last: None })
    }
}

fn missing_mark(files: &ModelFiles, message: String) -> Error {
    Error::FileInvalid {
        path: files.graph.content.name().into(),
        message,
        remedy: "copy the tokenizer of the checkpoint next to the graph".into(),
    }
}
