"""What the packaging scripts share: version, targets, and archives whose bytes never vary."""

import gzip
import io
import json
import os
import subprocess
import tarfile
import time
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = Path(os.environ.get("DIST", ROOT / "dist"))
NAME = "local-model-mcp"
MANIFEST = tomllib.loads((ROOT / "Cargo.toml").read_text())
PACKAGE = MANIFEST["package"]
WORKSPACE = MANIFEST["workspace"]["package"]
VERSION = WORKSPACE["version"]
REPOSITORY = WORKSPACE["repository"]
# Name of the project in the MCP registry.
MCP_NAME = "io.github.local-model-mcp/local-model-mcp"
NOTICES = [ROOT / name for name in ("LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY-NOTICES")]


@dataclass(frozen=True)
class Target:
    """A platform, in the words of Rust (`triple`) and of Node (`os`, `cpu`)."""

    triple: str
    os: str
    cpu: str

    @property
    def executable(self):
        return f"{NAME}.exe" if self.os == "win32" else NAME

    @property
    def archive(self):
        return f"{NAME}-{self.triple}.tar.gz"

    @property
    def bundle(self):
        return f"{NAME}-{self.triple}.mcpb"

    @property
    def npm_name(self):
        return f"@{NAME}/{self.os}-{self.cpu}"

    @property
    def npm_file(self):
        return f"{NAME}-{self.os}-{self.cpu}-{VERSION}.tgz"


# Those for which crates/onnx-runtime/build.rs pins a runtime library.
TARGETS = [
    Target("x86_64-unknown-linux-gnu", "linux", "x64"),
    Target("aarch64-unknown-linux-gnu", "linux", "arm64"),
    Target("aarch64-apple-darwin", "darwin", "arm64"),
    Target("x86_64-pc-windows-msvc", "win32", "x64"),
]
NPM_FILE = f"{NAME}-{VERSION}.tgz"


def epoch():
    """Returns the time that all files get: that of the commit, in seconds."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    # The earliest time that a zip file can hold.
    return int(done.stdout.strip() or 315532800)


def npm_manifest(name, description, **fields):
    """Returns a package.json with what all our packages have in common."""
    return {
        "name": name,
        "version": VERSION,
        "description": description,
        "license": WORKSPACE["license"],
        "homepage": REPOSITORY,
        "repository": {"type": "git", "url": f"git+{REPOSITORY}.git"},
        **fields,
    }


def as_json(value):
    return (json.dumps(value, indent=2) + "\n").encode()


def contents(files):
    """Returns `(name, bytes, mode)` in the order of names. `files` maps names to paths or bytes."""
    for name in sorted(files):
        source = files[name]
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        program = Path(name).name in (NAME, f"{NAME}.exe", "launcher.js")
        yield name, content, 0o755 if program else 0o644


def write_tar(path, files):
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, epoch()) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, content, mode in contents(files):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(content), mode, epoch()
                archive.addfile(entry, io.BytesIO(content))


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in contents(files):
            entry = zipfile.ZipInfo(name, time.gmtime(epoch())[:6])
            entry.create_system, entry.external_attr = 3, (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
