//! The path under which a client finds this executable, also tomorrow.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow};

use super::flags::utf8;
use super::{Client, RegisterArgs, Scope};
use crate::commands::NAME;

/// Returns the command that starts this program. A project's file is shared with people who have
/// the program at other paths; for one person, the absolute path is the most reliable. It leads to
/// the executable itself, so that no launcher of npm stays between it and the client.
///
/// # Errors
/// The executable is in a cache that its package manager may empty.
pub(super) fn path(arguments: &RegisterArgs) -> anyhow::Result<String> {
    if arguments.client == Client::ClaudeCode && arguments.scope == Scope::Project {
        return Ok(NAME.into());
    }
    let path = std::env::current_exe().context("cannot determine the path of this executable")?;
    // On Windows the result would be a path that other programs do not take.
    let path = if cfg!(windows) { path } else { path.canonicalize().unwrap_or(path) };
    if let Some((runner, remedy)) = short_lived(&path) {
        let shown = path.display();
        return Err(anyhow!("`{shown}` is in a cache that {runner} may empty; {remedy}, and register that one"));
    }
    Ok(utf8(behind_versions(&path).as_os_str())?.to_owned())
}

/// Returns the program that owns the cache that this path is in, and how to install it for good.
fn short_lived(path: &Path) -> Option<(&'static str, &'static str)> {
    const NPM: &str = "install it with `npm install --global local-model-mcp`";
    const UV: &str = "install it with `uv tool install local-model-mcp`";
    let numbered = |name: &str, start| {
        name.strip_prefix(start).is_some_and(|number: &str| number.starts_with(|c: char| c.is_ascii_digit()))
    };
    path.components().filter_map(|component| component.as_os_str().to_str()).find_map(|name| match name {
        "_npx" => Some(("npx", NPM)),
        "dlx" => Some(("pnpm", NPM)),
        _ if name.starts_with("bunx-") => Some(("bunx", NPM)),
        _ if numbered(name, "archive-v") || numbered(name, "environments-v") => Some(("uv", UV)),
        _ => None,
    })
}

/// Homebrew removes the folder of a version when it installs the next, and keeps a link to the
/// current one: `PREFIX/Cellar/NAME/VERSION/…` is also `PREFIX/opt/NAME/…`.
fn behind_versions(path: &Path) -> PathBuf {
    let parts: Vec<Component<'_>> = path.components().collect();
    let Some(cellar) = parts.iter().position(|part| part.as_os_str() == "Cellar") else { return path.to_owned() };
    let name = parts.get(cellar + 1);
    let rest = parts.iter().skip(cellar + 3);
    let opt = Component::Normal("opt".as_ref());
    let linked: PathBuf = parts[..cellar].iter().chain([&opt]).chain(name).chain(rest).collect();
    if linked.is_file() { linked } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_of_package_runners_are_recognized() {
        let runner = |path: &str| short_lived(Path::new(path)).map(|(runner, _)| runner);
        for (path, expected) in [
            ("/home/a/.npm/_npx/0a1b/node_modules/@local-model-mcp/linux-x64/local-model-mcp", Some("npx")),
            ("/home/a/.cache/uv/archive-v0/x1Y2/bin/local-model-mcp", Some("uv")),
            ("/home/a/.cache/uv/environments-v2/x1Y2/bin/local-model-mcp", Some("uv")),
            ("/home/a/.cache/pnpm/dlx/5f/node_modules/x/local-model-mcp", Some("pnpm")),
            ("/tmp/bunx-1000-local-model-mcp@latest/node_modules/x/local-model-mcp", Some("bunx")),
            ("/home/a/.local/share/uv/tools/local-model-mcp/bin/local-model-mcp", None),
            ("/usr/lib/node_modules/local-model-mcp/node_modules/@local-model-mcp/linux-x64/local-model-mcp", None),
            ("/home/a/archive-vault/local-model-mcp", None),
        ] {
            assert_eq!(runner(path), expected, "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_upgrade_with_homebrew_keeps_the_path() {
        let prefix = tempfile::tempdir().unwrap();
        let keg = prefix.path().join("Cellar/local-model-mcp/0.1.0");
        let program = keg.join("bin/local-model-mcp");
        std::fs::create_dir_all(keg.join("bin")).unwrap();
        std::fs::write(&program, "").unwrap();
        assert_eq!(behind_versions(&program), program);
        std::fs::create_dir(prefix.path().join("opt")).unwrap();
        std::os::unix::fs::symlink(&keg, prefix.path().join("opt/local-model-mcp")).unwrap();
        assert_eq!(behind_versions(&program), prefix.path().join("opt/local-model-mcp/bin/local-model-mcp"));
    }
}
