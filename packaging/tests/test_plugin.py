"""The plugin: which executable its launcher starts, and what it says when there is none."""

import re
import shutil
import signal
import subprocess
import time
import unittest

import release
from world import (
    CLAUDE,
    DIST,
    ROOT,
    TEXT,
    Home,
    Stopwatch,
    answers_in_claude_code,
    free_port,
    predicts,
    releases,
)


def clone(place, address=None):
    """Copies marketplace and plugin, with the installer of the release at an address, if any."""
    for name in [".claude-plugin", "plugin"]:
        shutil.copytree(ROOT / name, place.path / "clone" / name)
    plugin = place.path / "clone/plugin"
    if address:
        script = (DIST / "install.sh").read_text()
        (plugin / "install.sh").write_text(
            re.sub("(?m)^releases=.*$", f'releases="{address}"', script)
        )
    return plugin


class Plugin(unittest.TestCase):
    def setUp(self):
        self.place = Home(self)
        self.project = self.place.path / "project"
        self.project.mkdir()
        self.store = self.place.path / "store"
        self.fetched = self.store / release.VERSION / release.NAME

    def launch(self, plugin, *words, **options):
        environment = {
            "CLAUDE_PROJECT_DIR": str(self.project),
            "LOCAL_MODEL_MCP_INSTALL_DIR": str(self.store),
        }
        return self.place.run(plugin / "launch", *words, cwd=self.project, **environment | options)

    def executable(self, folder, says):
        """Puts a program into a folder that says where it is."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / release.NAME
        path.write_text(f"#!/bin/sh\necho {says} $@\n")
        path.chmod(0o755)

    def test_claude_code_installs_it_and_it_fetches_the_release(self):
        place = self.place
        place.add("claude", CLAUDE)
        clone(place, releases())
        watch = Stopwatch("plugin")
        place.run("claude", "plugin", "marketplace", "add", place.path / "clone")
        place.run("claude", "plugin", "install", "local-model@local-model-mcp")
        listed, _ = place.run("claude", "mcp", "list")
        watch.stop("Connected in Claude Code")
        self.assertRegex(listed, r"plugin:local-model:local-model: .*Connected")
        answers_in_claude_code(place, "plugin_local-model_local-model")
        watch.stop("the first answer in Claude Code")
        (fetched,) = place.path.glob(f".claude/plugins/data/*/bin/{release.VERSION}/{release.NAME}")
        predicts(place.run(fetched, "predict", TEXT)[0])
        place.run("claude", "plugin", "uninstall", "local-model@local-model-mcp")
        self.assertFalse(fetched.exists())

    def test_it_starts_what_is_installed(self):
        plugin = clone(self.place)
        self.executable(self.place.path / ".local/bin", "home")
        self.assertEqual(self.launch(plugin, "serve", "a b"), ("home serve a b", ""))
        path = f"{self.place.path}/first:{self.place.tools}"
        self.executable(self.place.path / "first", "first")
        self.assertEqual(self.launch(plugin, "serve", PATH=path), ("first serve", ""))
        self.assertFalse(self.store.exists())

    def test_a_home_directory_is_no_project(self):
        self.executable(self.place.path / ".local/bin", "home")
        output, _ = self.launch(clone(self.place), "serve", CLAUDE_PROJECT_DIR=str(self.place.path))
        self.assertEqual(output, "home serve")

    def test_relative_and_project_local_executables_are_not_started(self):
        plugin = clone(self.place, releases())
        self.executable(self.project / "bin", "evil")
        (self.place.path / "link").symlink_to(self.project / "bin")
        for folder, why in [
            ("bin", "a relative path"),
            (".", "a relative path"),
            (f"{self.project}/bin", "inside the project"),
            (f"{self.place.path}/link", "inside the project"),
        ]:
            if folder == ".":
                self.executable(self.project, "evil")
            output, errors = self.launch(plugin, "--version", PATH=f"{folder}:{self.place.tools}")
            self.assertEqual(output, f"{release.NAME} {release.VERSION}")
            self.assertRegex(
                errors,
                f"^local-model-mcp: {folder}/local-model-mcp is {why}, so it is not started$",
            )

    def test_the_release_is_fetched_once_and_replaces_older_ones(self):
        plugin = clone(self.place, releases())
        self.executable(self.store / "0.0.1", "old")
        self.assertEqual(self.launch(plugin, "--version")[0], f"{release.NAME} {release.VERSION}")
        self.assertEqual(
            [path.name for path in self.store.iterdir() if path.is_dir()], [release.VERSION]
        )
        offline = {"LOCAL_MODEL_MCP_RELEASES": f"http://127.0.0.1:{free_port()}"}
        self.assertEqual(
            self.launch(plugin, "--version", **offline), (f"{release.NAME} {release.VERSION}", "")
        )

    def test_a_download_goes_on_when_the_client_gives_up(self):
        plugin = clone(self.place, releases())
        # The download begins with a pause, in which the client gives up.
        slow = self.place.tools / "sha256sum"
        real = slow.resolve()
        slow.unlink()
        slow.write_text(f'#!/bin/sh\nsleep 1\nexec {real} "$@"\n')
        slow.chmod(0o755)
        environment = self.place.environment | {"LOCAL_MODEL_MCP_INSTALL_DIR": str(self.store)}
        launcher = subprocess.Popen([plugin / "launch", "serve"], env=environment, cwd=self.project)
        while not list(self.store.glob("*/.local-model-mcp.*")):
            time.sleep(0.02)
        launcher.send_signal(signal.SIGTERM)
        launcher.wait(10)
        for _ in range(300):
            if self.fetched.exists():
                break
            time.sleep(0.1)
        self.assertEqual(
            self.launch(plugin, "--version"), (f"{release.NAME} {release.VERSION}", "")
        )

    def test_what_is_missing_is_said(self):
        sentence = self.launch(clone(self.place), "serve", status=1)
        self.assertEqual(sentence[0], "")
        self.assertRegex(sentence[1], r"^local-model-mcp: no release has been published yet; .*$")
        shutil.rmtree(self.place.path / "clone")
        address = f"http://127.0.0.1:{free_port()}"
        sentence = self.launch(clone(self.place, address), "serve", status=1)
        self.assertRegex(
            sentence[1], rf"^local-model-mcp: {address}/\S+ cannot be downloaded \(curl: .*\); .*$"
        )
        sentence = self.launch(
            self.place.path / "clone/plugin", status=1, LOCAL_MODEL_MCP_INSTALL_DIR="/proc/none"
        )
        self.assertEqual(sentence, ("", "local-model-mcp: /proc/none is not writable"))
