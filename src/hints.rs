//! Flags and arguments that help with an error. Libraries do not know them, so they are added here.

use std::fmt;

use engine::Error;

/// Shows an engine's error followed by the flag that helps, if there is one.
pub(crate) struct WithHint<'a>(pub(crate) &'a Error);

impl fmt::Display for WithHint<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        hint(self.0).map_or(Ok(()), |hint| write!(formatter, ", {hint}"))
    }
}

/// Returns the flag or command that helps with an error, as the end of its sentence.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::StillLoading { .. } | Error::Deadline { .. } => Some("or raise `--deadline-ms`"),
        Error::Overloaded { .. } => Some("or raise `--queue-capacity`"),
        Error::LoadPanicked { .. } => Some("and check its files with `local-model-mcp check`"),
        Error::Thread { .. } => Some("or lower `--workers`"),
        Error::ModelFailed { cause, .. } => hint(cause),
        Error::TextBlank
        | Error::TextTooLarge { .. }
        | Error::Labels { .. }
        | Error::UnknownModel { .. }
        | Error::TopK { .. }
        | Error::ExplainNotTaken { .. }
        | Error::Cancelled
        | Error::Stuck { .. }
        | Error::OutOfService { .. }
        | Error::Panicked { .. } => None,
        Error::Classifier(error) => classifier_hint(error),
    }
}

fn classifier_hint(error: &classifier::Error) -> Option<&'static str> {
    match error {
        // A shell expands it at the start of a word alone, and configuration files never.
        classifier::Error::FolderMissing { folder } if folder.iter().any(|part| part == "~") => {
            Some("set by `--model`; write it without `~`, which only a shell expands")
        }
        classifier::Error::FolderMissing { .. } => Some("set by `--model`"),
        classifier::Error::FolderIsFile { .. } => Some("as `--model`"),
        classifier::Error::Inference { .. } => Some("with `local-model-mcp check`"),
        classifier::Error::Thread { .. } => Some("or lower `--workers`"),
        classifier::Error::Runtime(onnx_runtime::Error::LibraryUnusable { .. }) => {
            Some("by leaving out `ORT_DYLIB_PATH` and `--onnxruntime`")
        }
        classifier::Error::Runtime(onnx_runtime::Error::LibraryNowhere { .. }) => {
            Some("with `--cache-dir`, or set `ORT_DYLIB_PATH`")
        }
        _ => None,
    }
}

/// Returns the argument that helps with an error of a job, as the end of its text.
pub(crate) fn job_hint(error: &batch::Error) -> &'static str {
    match error {
        batch::Error::PairUnread { .. } => " (`pair_column` or `text_column`; `--pair-column`, `--text-column`)",
        batch::Error::FileChanged { .. } => "; run it again with `overwrite`",
        batch::Error::ResumeOther { .. } => "; repeat those, or start again with `overwrite`",
        batch::Error::OutputMissing { .. } => ", or name the output with `output_path`",
        batch::Error::OutputColumns { .. } => "; classify the file that it was made from",
        _ => "",
    }
}

/// Returns the flag or argument that helps with an error of a file, as the end of its text.
pub(crate) fn table_hint(error: &tables::Error) -> &'static str {
    use tables::Error;
    match error {
        Error::NotAFile { found, .. } if *found != "a directory" => ", or pipe it into `local-model-mcp predict`",
        Error::PathNotAllowed { .. } => ", or start the server with `--allow-dir`",
        Error::FileTooLarge { .. } | Error::UnpackedTooLarge { .. } => ", or raise `--max-file-bytes`",
        Error::ColumnUnclear { .. } => " with `text_column` (`--text-column`)",
        Error::LabelColumnUnclear { .. } => " with `label_column` (`--label-column`)",
        Error::OutputExists { .. } => ", or replace it with `overwrite`",
        Error::OutputAppeared { .. } => ", then continue with `resume`",
        Error::Unfinished { .. } => ", with `resume` or `overwrite`",
        _ => "",
    }
}

/// Returns the flag or argument that helps with an error of teaching, as the end of its text.
pub(crate) fn teaching_hint(error: &teaching::Error) -> &'static str {
    use teaching::Error;
    match error {
        Error::NotTaught { .. } | Error::NoFile { .. } => " (`path`, `examples`)",
        Error::LabelUnknown { .. } => " (`meanings` of local_model_teach)",
        Error::OtherEncoder { .. } => " (`--encoder`)",
        Error::EpsilonOutOfRange { .. } => " (`max_wrong`)",
        _ => "",
    }
}

/// Returns the flag that helps with an error of an evaluation, as the end of its text.
pub(crate) fn evaluation_hint(error: &evaluation::Error) -> &'static str {
    match error {
        evaluation::Error::NothingLabelled { .. } => "; name another one with `--label-column`",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_hint_ends_the_sentence_also_of_a_nested_error() {
        let cause = Arc::new(Error::Thread { message: "out of memory".into() });
        let error = Error::ModelFailed { model: "m".into(), cause };
        assert_eq!(
            WithHint(&error).to_string(),
            "model `m` cannot be used: no operating system thread could be started: out of memory; \
             close other programs, or lower `--workers`"
        );
        assert_eq!(WithHint(&Error::Cancelled).to_string(), "the call was cancelled");
    }

    #[test]
    fn a_home_that_no_shell_expanded_is_pointed_out() {
        let missing = |folder: &str| Error::Classifier(classifier::Error::FolderMissing { folder: folder.into() });
        assert!(
            WithHint(&missing("/models/~/tone"))
                .to_string()
                .ends_with("write it without `~`, which only a shell expands")
        );
        assert!(WithHint(&missing("/models/tone~")).to_string().ends_with("set by `--model`"));
    }
}
