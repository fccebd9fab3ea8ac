"""The Python wheel: its tag, and pip, uvx and `uv tool` in an empty home."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

from elftools.elf.elffile import ELFFile

import release
from world import CLAUDE, DIST, HOST, TEXT, Home, Stopwatch, answers_in_claude_code, predicts

(WHEEL,) = DIST.glob("*.whl")
OFFLINE = ["--offline", "--no-index", "--find-links", str(DIST)]


def needed_glibc(path):
    """Returns the newest version of glibc that a program or library asks for, such as `(2, 34)`."""
    found = set()
    with open(path, "rb") as file:
        for _, symbols in ELFFile(file).get_section_by_name(".gnu.version_r").iter_versions():
            found |= {symbol.name for symbol in symbols}
    versions = (re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", name) for name in found)
    return max((int(version[1]), int(version[2])) for version in versions if version)


def home(test):
    made = Home(test, ["uv", "uvx", "python3"])
    made.environment |= {"UV_PYTHON_DOWNLOADS": "never", "UV_PYTHON": sys.executable}
    return made


class Wheel(unittest.TestCase):
    def test_the_tag_is_the_glibc_that_executable_and_runtime_need(self):
        place = home(self)
        place.run("tar", "xzf", DIST / HOST.archive, "--strip-components=1")
        place.run(place.path / release.NAME, "predict", TEXT)
        (runtime,) = place.path.glob(".cache/local-model-mcp/artifacts/*/libonnxruntime.so")
        needed = max(needed_glibc(place.path / release.NAME), needed_glibc(runtime))
        self.assertIn("manylinux_{}_{}_".format(*needed), WHEEL.name)
        shown = subprocess.run(["auditwheel", "show", WHEEL], capture_output=True, text=True)
        tag = re.search(r"manylinux_\d+_\d+_\w+", WHEEL.name)[0]
        self.assertIn(
            f'consistent with the following platform tag: "{tag}"',
            " ".join(shown.stdout.split()),
            shown.stderr,
        )

    def test_pip_installs_runs_and_removes_it(self):
        place = home(self)
        place.run("python3", "-m", "venv", "venv")
        scripts = place.path / "venv/bin"
        before = place.files()
        place.run(scripts / "pip", "install", "--no-index", "--find-links", DIST, release.NAME)
        predicts(place.run(scripts / release.NAME, "predict", TEXT)[0])
        place.run(scripts / "pip", "uninstall", "--yes", release.NAME)
        left = [
            name
            for name in set(place.files()) - set(before)
            if not name.startswith(".cache/local-model-mcp/")
        ]
        self.assertEqual([name for name in left if "__pycache__" not in name], [])

    def test_uvx_predicts(self):
        place = home(self)
        watch = Stopwatch("uvx")
        output, _ = place.run("uvx", *OFFLINE, release.NAME, "predict", TEXT)
        watch.stop("the first answer")
        predicts(output)

    def test_claude_code_starts_it_through_uvx(self):
        place = home(self)
        place.add("claude", CLAUDE)
        watch = Stopwatch("uvx")
        place.run(
            "claude",
            "mcp",
            "add",
            "local-model",
            "--",
            "uvx",
            "--python",
            sys.executable,
            *OFFLINE,
            release.NAME,
        )
        output, _ = place.run("claude", "mcp", "list")
        watch.stop("Connected in Claude Code")
        self.assertRegex(output, r"local-model: uvx .*Connected")
        answers_in_claude_code(place, "local-model")
        watch.stop("the first answer in Claude Code")

    def test_a_tool_is_registered_by_its_own_path_and_removed(self):
        place = home(self)
        place.add("claude", CLAUDE)
        place.run("uv", "tool", "install", *OFFLINE, release.NAME)
        program = place.path / ".local/bin" / release.NAME
        place.run(program, "register", "--apply")
        listed, _ = place.run("claude", "mcp", "list")
        self.assertRegex(
            listed, r"local-model: \S*/uv/tools/local-model-mcp/bin/local-model-mcp .*Connected"
        )
        place.run(program, "register", "--remove", "--apply")
        place.run("uv", "tool", "uninstall", release.NAME)
        self.assertEqual(
            [name for name in place.files() if not name.startswith(".cache/local-model-mcp/")], []
        )
        self.assertFalse(Path(program).exists())
