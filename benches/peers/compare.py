#!/usr/bin/env python3
"""Measures this server against the alternatives: see README.md in this folder.

    cargo build --release && python3 benches/peers/compare.py

Needs Python 3.11 or newer with pip, Node 20 or newer with npm, and ps; installs the peers into folders that git
ignores. The table goes to stdout, progress to stderr.
"""

import argparse
import datetime
import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from client import stop
from measure import QUICK, Peer, Plan, Texts, measure
from table import table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = HERE / "build"
OURS = ROOT / "target/release/local-model-mcp"
SAME_FILE = "the model file"
TRANSFORMERS = "Python, transformers"
# Two builds of one runtime may round differently, which flips texts at the boundary of two labels.
SAME_LABEL_AT_LEAST = 0.98


def main():
    asked = arguments()
    check(asked)
    texts = Texts(asked.model)
    with ExitStack() as cleaning:
        peers, skipped = collect(asked, cleaning)
        load = os.getloadavg()[0]
        figures = measure(peers, texts, QUICK if asked.quick else Plan(), say)
    for peer in peers:
        if peer.weights == SAME_FILE and figures[peer.name]["same_label"] < SAME_LABEL_AT_LEAST:
            sys.exit(f"{peer.name} gives different labels for the same model file: {figures[peer.name]}")
    about = {
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "commit": commit() if asked.server == OURS else "unknown (ours was given with --server)",
        "model": asked.model.resolve().name,
        "load_average_before": round(load, 2),
        "python": platform.python_version(),
        "node": run("node", "--version"),
        "quick": asked.quick,
        "weights": {peer.name: peer.weights for peer in peers},
        "skipped": skipped,
    }
    print(json.dumps(about | {"figures": figures}, indent=2) if asked.json else report(about, figures))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model = ROOT / "models/sentiment"
    parser.add_argument("--model", type=Path, default=model, help="folder of a WordPiece classifier")
    parser.add_argument("--server", type=Path, default=OURS, help="another build of our server")
    parser.add_argument(
        "--checkpoint",
        default=os.environ.get("PEERS_CHECKPOINT"),
        help="folder of the same model for transformers; without it, that peer is skipped [PEERS_CHECKPOINT]",
    )
    parser.add_argument(
        "--transformers-python",
        default=os.environ.get("PEERS_TRANSFORMERS_PYTHON"),
        help="a Python with requirements-transformers.txt installed; default: install it [PEERS_TRANSFORMERS_PYTHON]",
    )
    parser.add_argument("--quick", action="store_true", help="few repetitions, for a quick check")
    parser.add_argument("--json", action="store_true", help="every figure, in seconds, calls per second and MB")
    return parser.parse_args()


def check(asked):
    needed = {name: asked.model / name for name in ["model.onnx", "tokenizer.json", "config.json"]}
    needed |= {"checkpoint": Path(asked.checkpoint)} if asked.checkpoint else {}
    for path in needed.values():
        if not path.exists():
            sys.exit(f"{path} is missing")
    for program in ["node", "npm", "ps", "git"]:
        if not shutil.which(program):
            sys.exit(f"the program {program} is missing")
    if not asked.server.exists():
        sys.exit(f"{asked.server} not found; build it with `cargo build --release`")
    # Otherwise the commit in the report would not be the one measured.
    for source in [ROOT / "Cargo.lock", *ROOT.glob("src/**/*.rs"), *ROOT.glob("crates/**/*.rs"), *ROOT.glob("models/*.rs")]:
        if asked.server == OURS and source.stat().st_mtime > OURS.stat().st_mtime:
            sys.exit(f"{OURS} is older than {source}; build it with `cargo build --release`")


def collect(asked, cleaning):
    """Returns every peer that can be measured here, ours first, and why others cannot."""
    python = virtual_environment("python", "requirements.txt")
    node_packages()
    cache_dir = cleaning.enter_context(tempfile.TemporaryDirectory())
    ours = [asked.server.resolve(), "serve", f"--model={asked.model}"]
    peers = [
        Peer("local-model-mcp", ours, SAME_FILE, tool="local_model_predict", cache_dir=cache_dir),
        Peer("Node, transformers.js", ["node", HERE / "node_transformers/server.mjs", asked.model], SAME_FILE),
        Peer("Python, onnxruntime", [python, HERE / "python_onnxruntime.py", asked.model], SAME_FILE),
        rest(python, asked.model, cleaning),
    ]
    if not asked.checkpoint:
        return peers, {TRANSFORMERS: "it needs the checkpoint that the model file was made of; give --checkpoint"}
    torch = asked.transformers_python or virtual_environment("transformers", "requirements-transformers.txt")
    command = [torch, HERE / "python_transformers.py", asked.checkpoint]
    checkpoint = Path(asked.checkpoint).resolve()
    config = json.loads((checkpoint / "config.json").read_text())
    dtype = config.get("dtype") or config.get("torch_dtype") or "float32"
    weights = f"{dtype} checkpoint `{checkpoint.name}`"
    # Without this it may use the network for a local folder.
    peers.append(Peer(TRANSFORMERS, command, weights, env={"HF_HUB_OFFLINE": "1"}))
    return peers, {}


def rest(python, model, cleaning):
    """Starts the service once and keeps it running; its memory counts, its start does not."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    env = {"CLASSIFIER_TOKEN": secrets.token_hex()}
    command = [python, HERE / "rest_service.py", model, port]
    service = subprocess.Popen(command, env=os.environ | env, stdout=subprocess.DEVNULL)
    cleaning.callback(stop, service)
    cleaning.callback(service.terminate)
    for _ in range(600):
        if service.poll() is not None:
            sys.exit("rest_service.py ended before it listened")
        try:
            socket.create_connection(("127.0.0.1", int(port))).close()
            return Peer("REST + shim", [python, HERE / "rest_shim.py", port], SAME_FILE, env=env, service=service)
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("rest_service.py does not listen")


def virtual_environment(name, requirements):
    """Returns the path of a Python with exactly these packages."""
    folder, wanted = BUILD / name, (HERE / requirements).read_text()
    python, installed = folder / "bin/python", folder / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        say(f"installing {requirements}")
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "venv", folder)
        run(python, "-m", "pip", "install", "--quiet", "-r", HERE / requirements)
        installed.write_text(wanted)
    return python


def node_packages():
    folder = HERE / "node_transformers"
    installed, lock = folder / "node_modules/installed.json", (folder / "package-lock.json").read_text()
    if not installed.exists() or installed.read_text() != lock:
        say("installing package-lock.json")
        run("npm", "ci", "--prefix", folder)
        installed.write_text(lock)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def commit():
    return run("git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*")


def machine():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {platform.system()}"


def report(about, figures):
    few = "; few repetitions (`--quick`)" if about["quick"] else ""
    lines = [
        table(figures),
        "",
        f"{about['machine']}; {about['date']}, commit {about['commit']}; model `{about['model']}`; "
        f"Python {about['python']}, Node {about['node'].lstrip('v')}; "
        f"load average before the run {about['load_average_before']}{few}.",
    ]
    for name, weights in about["weights"].items():
        if weights != SAME_FILE:
            lines.append(f"{name} ran the {weights}, all others the same `model.onnx`.")
    lines += [f"{name} was left out: {why}." for name, why in about["skipped"].items()]
    return "\n".join(lines)


def say(what):
    print(what, file=sys.stderr)


if __name__ == "__main__":
    main()
