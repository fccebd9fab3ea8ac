//! `export`: a taught model with its encoder as one folder in the layout of Hugging Face.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::args::Options;
use crate::commands::labelling::{run as run_call, teacher};
use crate::commands::{Outcome, print_lines};
use crate::error::Error;

#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Name of the taught model
    pub name: String,
    /// Folder to write; it must not exist or be empty
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
}

pub(super) fn run(options: &Options, arguments: &ExportArgs) -> anyhow::Result<Outcome> {
    let (teacher, encoders) = teacher(options)?;
    let name = arguments.name.clone();
    let head = run_call(&teacher, move |teacher, paths, watch| teacher.exported(&name, paths, watch))?;
    let out = std::path::absolute(&arguments.output)?;
    let encoders = match &head.tuned {
        Some(numbers) => encoders.with_tuned(numbers).map_err(Error::from)?,
        None => encoders,
    };
    encoders.export(&head, &out).map_err(Error::from)?;
    let same = match head.same_labels {
        Some(share) => format!(
            "the served model also reads single words, which a graph cannot; this one was fitted again without them and \
             gives the same label to {:.1} % of the sampled texts; what an audit stated does not hold for it\n",
            100.0 * share
        ),
        None => String::new(),
    };
    let (name, shown) = (&arguments.name, arguments.output.display());
    print_lines(&format!("`{name}` was written to `{shown}`\n{same}"))?;
    Ok(Outcome::Done)
}
