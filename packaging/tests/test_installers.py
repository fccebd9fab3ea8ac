"""install.sh and the archive, from a local server without Node, Python and Rust; and failures."""

import http.server
import os
import shutil
import tempfile
import threading
import unittest
from pathlib import Path

import release
from world import (
    CLAUDE,
    DIST,
    HOST,
    ROOT,
    TEXT,
    Home,
    Stopwatch,
    answers_in_claude_code,
    free_port,
    predicts,
    releases,
)

FILE = f"v{release.VERSION}/{HOST.archive}"


def install(place, script=DIST / "install.sh", status=0, **environment):
    """Runs the installer as `curl … | sh` does."""
    environment = {"LOCAL_MODEL_MCP_RELEASES": releases()} | environment
    return place.run("sh", text=Path(script).read_text(), status=status, **environment)


class Installers(unittest.TestCase):
    def fails(self, place, expected, **options):
        """Checks that the installer says one sentence and leaves nothing."""
        before = place.files()
        output, errors = install(place, status=1, **options)
        self.assertEqual(output, "")
        self.assertRegex(errors, rf"^local-model-mcp: {expected}$")
        self.assertEqual(place.files(), before)

    def test_installs_registers_and_is_removed(self):
        place = Home(self)
        place.add("claude", CLAUDE)
        watch = Stopwatch("install.sh")
        output, errors = install(place)
        program = place.path / ".local/bin/local-model-mcp"
        predicts(place.run(program, "predict", TEXT)[0])
        watch.stop("the first answer")
        self.assertEqual(errors, "")
        self.assertIn(
            f"installed {program} {release.VERSION}\n{program.parent} is not on your PATH\n", output
        )
        self.assertTrue(output.endswith(f"next: {program} register --apply"), output)
        place.run(program, "register", "--apply")
        self.assertRegex(place.run("claude", "mcp", "list")[0], r"local-model: .*Connected")
        place.run(program, "register", "--remove", "--apply")
        # Installing again replaces the file.
        install(place)
        os.remove(program)
        shutil.rmtree(place.path / ".cache/local-model-mcp")
        self.assertEqual(place.files(), [])

    def test_the_archive_holds_everything(self):
        place = Home(self)
        place.add("claude", CLAUDE)
        watch = Stopwatch("archive")
        place.run("sh", "-c", f"curl --silent {releases()}/{FILE} | tar xz")
        folder = place.path / HOST.archive.removesuffix(".tar.gz")
        place.run(folder / release.NAME, "register", "--apply")
        listed, _ = place.run("claude", "mcp", "list")
        watch.stop("Connected in Claude Code")
        self.assertRegex(listed, r"local-model: .*Connected")
        answers_in_claude_code(place, "local-model")
        watch.stop("the first answer in Claude Code")
        for name in [
            "LICENSE-APACHE",
            "LICENSE-MIT",
            "THIRD-PARTY-NOTICES",
            "README.md",
            "skill/SKILL.md",
        ]:
            self.assertTrue((folder / name).is_file(), name)

    def test_wget_does_as_well(self):
        place = Home(self, ["wget"], without=["curl"])
        install(place)
        self.assertTrue((place.path / ".local/bin/local-model-mcp").exists())
        self.fails(
            place,
            r"\S+ cannot be downloaded \(wget ended with status 4\); .*",
            LOCAL_MODEL_MCP_RELEASES=f"http://127.0.0.1:{free_port()}",
        )

    def test_without_curl_and_wget(self):
        self.fails(
            Home(self, without=["curl"]), "neither curl nor wget was found; install one of them"
        )

    def test_offline(self):
        address = f"http://127.0.0.1:{free_port()}"
        problem = rf"{address}/{FILE} cannot be downloaded \(curl: \(7\) .*\)"
        expected = rf"{problem}; check the connection, or set \S+ to a mirror"
        self.fails(Home(self), expected, LOCAL_MODEL_MCP_RELEASES=address)

    def test_a_release_that_is_gone(self):
        self.fails(
            Home(self),
            r"\S+ cannot be downloaded \(curl: \(22\) .* 404.*\); .*",
            LOCAL_MODEL_MCP_RELEASES=f"{releases()}/elsewhere",
        )

    def test_another_digest(self):
        other = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, other)
        (other / FILE).parent.mkdir()
        (other / FILE).write_bytes(b"something else")

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=other)

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.fails(
            Home(self),
            r"\S+ has SHA-256 \w{64}, expected \w{64}; nothing was installed",
            LOCAL_MODEL_MCP_RELEASES=f"http://127.0.0.1:{server.server_address[1]}",
        )

    def test_an_unsupported_platform(self):
        for system, machine in [("FreeBSD", "amd64"), ("Darwin", "x86_64"), ("Linux", "riscv64")]:
            place = Home(self, without=["uname"])
            fake = place.tools / "uname"
            fake.write_text(
                f"#!/bin/sh\ncase $1 in -s) echo {system} ;; -m) echo {machine} ;; esac\n"
            )
            fake.chmod(0o755)
            self.fails(
                place, rf"there is no release for {system} on {machine}; build it from source: \S+"
            )

    def test_a_folder_that_is_not_writable(self):
        expected = "{} is not writable; set LOCAL_MODEL_MCP_INSTALL_DIR to a folder that is"
        self.fails(Home(self), expected.format("/proc/none/.local/bin"), HOME="/proc/none")
        self.fails(
            Home(self), expected.format("/proc/none"), LOCAL_MODEL_MCP_INSTALL_DIR="/proc/none"
        )

    def test_an_executable_that_does_not_run_here(self):
        place = Home(self, without=["tar"])
        fake = place.tools / "tar"
        # Unpacks an executable for another processor.
        folder = HOST.archive.removesuffix(".tar.gz")
        fake.write_text(
            f"#!/bin/sh\nmkdir $4/{folder}; printf '\\177ELF' > $4/{folder}/local-model-mcp\n"
            f"chmod +x $4/{folder}/local-model-mcp\n"
        )
        fake.chmod(0o755)
        self.fails(place, r"the executable does not run on this system: .*Exec format error")

    def test_before_the_first_release(self):
        script = ROOT / "plugin/install.sh"
        if 'version=""' in script.read_text():
            self.fails(
                Home(self),
                r"no release has been published yet; build it from source: \S+",
                script=script,
            )

    def test_a_script_that_was_cut_off_does_nothing(self):
        place = Home(self)
        lines = (DIST / "install.sh").read_text().splitlines(keepends=True)
        for end in range(len(lines)):
            place.run(
                "sh", text="".join(lines[:end]), status=None, LOCAL_MODEL_MCP_RELEASES=releases()
            )
        self.assertEqual(place.files(), [])
