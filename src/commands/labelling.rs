//! What `teach`, `audit` and `export` share: running a call of the teacher with a progress line,
//! and labels from a file or from a person.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use classifier::Cancellation;
use indicatif::{ProgressBar, ProgressStyle};
use tables::{CellKind, CsvOptions, PathPolicy, TableFile};
use teaching::{Error as TeachingError, Progress, ShownRow, Teacher, Watch, parse_rows};

use crate::args::Options;
use crate::commands::cancellable;
use crate::encoders::Encoders;
use crate::error::Error;
use crate::process;
use crate::visible::visible;

const TICK: Duration = Duration::from_millis(100);
/// The columns of a file with labels.
const COLUMNS: [&str; 2] = ["row", "label"];

/// Returns the teacher of the command line and its encoders, which use all processors.
pub(super) fn teacher(options: &Options) -> anyhow::Result<(Arc<Teacher>, Arc<Encoders>)> {
    options.models().map_err(|problem| anyhow!(problem))?;
    let encoders = options.encoders(options.batch_engine().workers);
    let teacher = options.teacher(Arc::clone(&encoders)).ok_or(Error::NoProject)?;
    Ok((teacher, encoders))
}

/// Runs one call that a signal can cancel, with a progress line if stderr is a terminal.
pub(super) fn run<T: Send + 'static>(
    teacher: &Arc<Teacher>,
    work: impl FnOnce(&Teacher, &PathPolicy, &Watch<'_>) -> Result<T, TeachingError> + Send + 'static,
) -> anyhow::Result<T> {
    process::lower_priority();
    let bar = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(TICK);
    let call = {
        let (teacher, bar) = (Arc::clone(teacher), bar.clone());
        move |cancellation: &Cancellation| {
            let report = |progress: Progress| bar.set_message(progress.to_string());
            work(&teacher, &PathPolicy::Unrestricted, &Watch { cancellation, report: &report })
        }
    };
    let outcome = cancellable(call).context("teaching crashed; nothing taught before is lost; please report this");
    bar.finish_and_clear();
    // The program's own error type adds the flags that help.
    outcome?.map_err(|error| Error::from(error).into())
}

/// Reads labels from a file with the columns `row` and `label`.
pub(super) fn read_labels(path: &Path) -> anyhow::Result<BTreeMap<u64, String>> {
    let read = || -> Result<BTreeMap<String, String>, Error> {
        let mut table = TableFile::open(path, &PathPolicy::Unrestricted, CsvOptions::default())?;
        let columns = COLUMNS.map(|name| table.column(name, CellKind::Value));
        let columns = columns.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut labels = BTreeMap::new();
        for chunk in table.rows(&columns)? {
            for mut cells in chunk?.rows.into_iter().map(|row| row.cells.into_iter()) {
                if let (Some(row), Some(label)) = (cells.next().transpose()?, cells.next().transpose()?) {
                    labels.insert(row, label);
                }
            }
        }
        Ok(labels)
    };
    let labels = read()?;
    parse_rows(&labels).map_err(|error| Error::from(error).into())
}

/// Returns whether a person can be asked.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// A person who labels rows.
pub(super) struct Person<R, W> {
    pub input: R,
    pub output: W,
    /// Labels to choose from by number.
    pub labels: Vec<String>,
    /// Whether the person may name new labels.
    pub may_add: bool,
}

/// The labels of a person, and whether there are to be more rows.
pub(super) struct Answers {
    pub labels: BTreeMap<u64, String>,
    pub goes_on: bool,
}

impl<R: BufRead, W: Write> Person<R, W> {
    /// Shows the rows one by one and reads a label for each.
    ///
    /// # Errors
    /// If the terminal cannot be read or written.
    pub(super) fn label(&mut self, rows: &[ShownRow]) -> anyhow::Result<Answers> {
        let mut labels = BTreeMap::new();
        for (number, ShownRow { row, text }) in rows.iter().enumerate() {
            writeln!(self.output, "\n[{}/{}] row {row}\n  {}", number + 1, rows.len(), visible(text))?;
            match self.read_label()? {
                Reply::Label(label) => drop(labels.insert(*row, label)),
                Reply::Skip => {}
                Reply::Quit => return Ok(Answers { labels, goes_on: false }),
            }
        }
        Ok(Answers { labels, goes_on: true })
    }

    fn read_label(&mut self) -> anyhow::Result<Reply> {
        loop {
            let choices = self.labels.iter().enumerate();
            let choices: Vec<String> =
                choices.map(|(number, label)| format!("{} {}", number + 1, visible(label))).collect();
            write!(self.output, "  {}\nlabel (Enter skips, q ends): ", choices.join("   "))?;
            let Some(line) = self.read_line()? else { return Ok(Reply::Quit) };
            let number = line.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let known = number.and_then(|number| self.labels.get(number));
            match (line.as_str(), known.or_else(|| self.labels.iter().find(|label| **label == line))) {
                (_, Some(label)) => return Ok(Reply::Label(label.clone())),
                ("", None) => return Ok(Reply::Skip),
                ("q", None) => return Ok(Reply::Quit),
                _ if !self.may_add => writeln!(self.output, "`{}` is not one of the labels", visible(&line))?,
                _ => {
                    write!(self.output, "add the label `{}`? (y/n) ", visible(&line))?;
                    if self.read_line()?.is_some_and(|reply| reply.starts_with(['y', 'Y'])) {
                        self.labels.push(line.clone());
                        return Ok(Reply::Label(line));
                    }
                }
            }
        }
    }

    /// Returns a line without surrounding blanks; `None` at the end of the input.
    fn read_line(&mut self) -> anyhow::Result<Option<String>> {
        self.output.flush()?;
        let mut line = String::new();
        if self.input.read_line(&mut line).context("cannot read the terminal")? == 0 {
            return Ok(None);
        }
        Ok(Some(line.trim().to_owned()))
    }
}

enum Reply {
    Label(String),
    Skip,
    Quit,
}

/// Parses `LABEL=MEANING`.
pub(super) fn meanings(arguments: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let parse = |argument: &String| match argument.split_once('=') {
        Some((label, meaning)) => Ok((label.to_owned(), meaning.to_owned())),
        None => bail!("`--meaning {argument}` is not of the form LABEL=MEANING"),
    };
    arguments.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(input: &str, labels: &[&str], may_add: bool) -> (BTreeMap<u64, String>, bool, String) {
        let labels = labels.iter().map(ToString::to_string).collect();
        let mut person = Person { input: input.as_bytes(), output: Vec::new(), labels, may_add };
        let rows = [3, 9].map(|row| ShownRow { row, text: format!("text\u{1b} {row}") });
        let Answers { labels, goes_on } = person.label(&rows).unwrap();
        (labels, goes_on, String::from_utf8(person.output).unwrap())
    }

    #[test]
    fn a_person_labels_by_number_or_name_skips_and_ends() {
        let (labels, goes_on, shown) = answers("2\nbilling\n", &["billing", "crash"], true);
        assert_eq!(labels, BTreeMap::from([(3, "crash".into()), (9, "billing".into())]));
        assert!(goes_on);
        assert!(
            shown.starts_with("\n[1/2] row 3\n  text\\u{1b} 3\n  1 billing   2 crash\nlabel (Enter skips, q ends): ")
        );
        assert_eq!(answers("\nq\n", &["billing"], true).0, BTreeMap::new());
        assert!(!answers("1\nq\n", &["billing"], true).1);
        assert!(!answers("1\n", &["billing"], true).1, "the input ended");
    }

    #[test]
    fn a_new_label_is_confirmed_and_refused_in_an_audit() {
        let (labels, ..) = answers("biling\nn\nbilling\ny\n1\n", &[], true);
        assert_eq!(labels, BTreeMap::from([(3, "billing".into()), (9, "billing".into())]));
        let (labels, _, shown) = answers("other\n1\n\n", &["billing"], false);
        assert_eq!(labels, BTreeMap::from([(3, "billing".into())]));
        assert!(shown.contains("`other` is not one of the labels"));
    }
}
