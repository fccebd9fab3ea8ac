//! The flags of the call that go into a registration.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::{Context, anyhow};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, ValueHint};
use classifier::Location;

use crate::args::Options;
use crate::commands::Cli;

/// Returns the global flags that were set for this call, by flag or by variable, without those of
/// `except`. Paths are made absolute, since a client starts the server in any directory.
pub(in crate::commands) fn flags(
    options: &Options,
    matches: &ArgMatches,
    except: &[&str],
) -> anyhow::Result<Vec<String>> {
    let mut flags = Vec::new();
    for argument in Cli::command().get_arguments().filter(|argument| argument.is_global_set()) {
        let (id, Some(name)) = (argument.get_id().as_str(), argument.get_long()) else { continue };
        let was_set = matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
        if !was_set || except.contains(&id) {
            continue;
        }
        let flag = format!("--{name}");
        if id == "model" {
            flags.extend(models(options)?.into_iter().flat_map(|model| [flag.clone(), model]));
        } else if !argument.get_action().takes_values() {
            flags.extend(matches.get_flag(id).then_some(flag));
        } else {
            let is_path = matches!(argument.get_value_hint(), ValueHint::DirPath | ValueHint::FilePath);
            let values = matches.get_raw(id).into_iter().flatten().filter(|value| !value.is_empty());
            for value in values {
                let value = if is_path { absolute(value)? } else { utf8(value)?.to_owned() };
                flags.extend([flag.clone(), value]);
            }
        }
    }
    Ok(flags)
}

/// Returns the values of `--model`, as `NAME=DIR`.
fn models(options: &Options) -> anyhow::Result<Vec<String>> {
    let models = options.models().map_err(|problem| anyhow!(problem))?.into_iter();
    let folders = models.filter_map(|(name, location)| match location {
        Location::Folder(folder) => Some((name, folder)),
        Location::BuiltIn => None,
    });
    folders.map(|(name, folder)| Ok(format!("{name}={}", utf8(folder.as_os_str())?))).collect()
}

fn absolute(path: &OsStr) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path).with_context(|| format!("`{}`", Path::new(path).display()))?;
    Ok(utf8(absolute.as_os_str())?.to_owned())
}

/// Returns a value as text.
///
/// # Errors
/// The value is not UTF-8.
pub(super) fn utf8(value: &OsStr) -> anyhow::Result<&str> {
    value
        .to_str()
        .ok_or_else(|| anyhow!("`{}` is not UTF-8, which configurations must be", OsString::from(value).display()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::super::clients::tests::parsed;
    use super::*;
    use crate::commands::NAME;

    fn flags_of(arguments: &[&str]) -> Vec<String> {
        let (options, _, matches) = parsed(arguments);
        flags(&options, &matches, &[]).unwrap()
    }

    /// Returns the first of some sample values that the argument accepts.
    fn sample_value(argument: &clap::Arg) -> String {
        let choices = argument.get_possible_values();
        let choices = choices.iter().map(|value| value.get_name().to_owned());
        let mut samples = choices.chain(["/a/folder", "7", "300000000"].map(str::to_owned));
        let flag = format!("--{}", argument.get_long().unwrap());
        let accepted = |value: &String| Cli::command().try_get_matches_from([NAME, "register", &flag, value]).is_ok();
        samples.find(accepted).unwrap_or_else(|| panic!("{flag} accepts no sample value"))
    }

    #[test]
    fn every_global_flag_is_registered() {
        let command = Cli::command();
        let global: Vec<_> = command.get_arguments().filter(|argument| argument.is_global_set()).collect();
        assert!(global.len() >= 14, "{global:?}");
        for argument in global {
            let flag = format!("--{}", argument.get_long().unwrap());
            if argument.get_action().takes_values() {
                let value = sample_value(argument);
                let registered = if flag == "--model" { format!("folder={value}") } else { value.clone() };
                assert_eq!(flags_of(&[&flag, &value]), [flag, registered]);
            } else {
                assert_eq!(flags_of(&[&flag]), [flag]);
            }
        }
    }

    #[test]
    fn registered_paths_are_absolute() {
        let here = std::env::current_dir().unwrap();
        let expected = ["--model", &format!("a={}/m", here.display()), "--cache-dir", &format!("{}/c", here.display())];
        assert_eq!(flags_of(&["--cache-dir", "c", "--model", "a=m"]), expected);
    }
}
