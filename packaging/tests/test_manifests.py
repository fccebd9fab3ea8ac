"""One version in every manifest, parts that fit together, and packages whose bytes never vary."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path

import release
from release import NAME, TARGETS, VERSION
from world import DIST, ROOT, TESTS


def npm_package(name):
    """Returns the manifest of a packed npm package, and the modes of its files."""
    with tarfile.open(DIST / name) as archive:
        modes = {member.name.removeprefix("package/"): member.mode for member in archive}
        return json.load(archive.extractfile("package/package.json")), modes


def bundle(target):
    with zipfile.ZipFile(DIST / target.bundle) as archive:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
        return json.loads(archive.read("manifest.json")), modes


def sha256(name):
    return hashlib.sha256((DIST / name).read_bytes()).hexdigest()


class Manifests(unittest.TestCase):
    def test_the_main_npm_package_depends_on_one_package_for_each_target(self):
        main, modes = npm_package(release.NPM_FILE)
        self.assertEqual(
            (main["name"], main["version"], main["bin"]), (NAME, VERSION, {NAME: "launcher.js"})
        )
        self.assertEqual(
            main["optionalDependencies"], {target.npm_name: VERSION for target in TARGETS}
        )
        self.assertEqual(modes["launcher.js"], 0o755)
        for target in TARGETS:
            manifest, modes = npm_package(target.npm_file)
            self.assertEqual((manifest["name"], manifest["version"]), (target.npm_name, VERSION))
            self.assertEqual((manifest["os"], manifest["cpu"]), ([target.os], [target.cpu]))
            self.assertEqual(manifest.get("libc"), ["glibc"] if target.os == "linux" else None)
            self.assertEqual(modes[target.executable], 0o755)
            self.assertIn("THIRD-PARTY-NOTICES", modes)

    def test_no_npm_package_runs_a_script_or_depends_on_others(self):
        for name in [release.NPM_FILE, *(target.npm_file for target in TARGETS)]:
            manifest, _ = npm_package(name)
            self.assertFalse(
                {"scripts", "dependencies", "devDependencies", "bundleDependencies"}
                & set(manifest),
                name,
            )

    def test_each_bundle_is_for_its_own_platform(self):
        for target in TARGETS:
            manifest, modes = bundle(target)
            program = f"server/{target.executable}"
            self.assertEqual(
                (manifest["version"], manifest["compatibility"]),
                (VERSION, {"platforms": [target.os]}),
            )
            server = manifest["server"]
            self.assertEqual(
                (server["entry_point"], server["mcp_config"]["command"]),
                (program, f"${{__dirname}}/{program}"),
            )
            self.assertEqual(modes[program], 0o755)
            with tempfile.NamedTemporaryFile(suffix=".json") as file:
                file.write(json.dumps(manifest).encode())
                file.flush()
                done = subprocess.run(
                    [TESTS / "node_modules/.bin/mcpb", "validate", file.name],
                    capture_output=True,
                    text=True,
                )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_entry_of_the_registry_fits_its_schema_of_2025_12_11(self):
        server = json.loads((DIST / "server.json").read_text())
        self.assertEqual(
            set(server),
            {"$schema", "name", "title", "description", "version", "repository", "packages"},
        )
        self.assertTrue(server["$schema"].endswith("/schemas/2025-12-11/server.schema.json"))
        self.assertRegex(server["name"], r"^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$")
        self.assertEqual(server["version"], VERSION)
        for key in ("title", "description"):
            self.assertTrue(1 <= len(server[key]) <= 100, key)
        kinds = {}
        for package in server["packages"]:
            kinds.setdefault(package["registryType"], []).append(package["identifier"])
            self.assertEqual(
                (package["version"], package["transport"]), (VERSION, {"type": "stdio"})
            )
            if package["registryType"] == "mcpb":
                self.assertIn(f"/v{VERSION}/", package["identifier"])
                self.assertEqual(
                    package["fileSha256"], sha256(package["identifier"].rsplit("/", 1)[1])
                )
        self.assertEqual(
            {kind: len(names) for kind, names in kinds.items()}, {"npm": 1, "pypi": 1, "mcpb": 4}
        )
        # The registry compares these with the packages themselves.
        self.assertEqual(npm_package(release.NPM_FILE)[0]["mcpName"], server["name"])
        self.assertIn(
            f"<!-- mcp-name: {server['name']} -->", (ROOT / "packaging/README.md").read_text()
        )

    def test_the_installers_and_the_formula_name_the_digests(self):
        for name in ("install.sh", "install.ps1"):
            text = (DIST / name).read_text()
            pairs = re.search(r'digests ?= ?"(.*)"', text)[1].split(" ")
            self.assertEqual(
                pairs, [f"{target.triple}={sha256(target.archive)}" for target in TARGETS], name
            )
            self.assertRegex(text, rf'(?m)^ *\$?version ?= ?"{re.escape(VERSION)}"$')
        formula = (DIST / f"{NAME}.rb").read_text()
        found = re.findall(r'url "(\S+)"\n\s+sha256 "(\w{64})"', formula)
        archives = [target for target in TARGETS if target.os != "win32"]
        base = f"{release.REPOSITORY}/releases/download/v{VERSION}"
        self.assertEqual(
            set(found),
            {(f"{base}/{target.archive}", sha256(target.archive)) for target in archives},
        )
        if shutil.which("ruby"):
            subprocess.run(
                ["ruby", "-c", DIST / f"{NAME}.rb"], check=True, stdout=subprocess.DEVNULL
            )

    def test_cargo_binstall_finds_the_executable(self):
        binstall = release.PACKAGE["metadata"]["binstall"]
        for target in TARGETS:
            values = {
                "repo": release.REPOSITORY,
                "version": VERSION,
                "target": target.triple,
                "bin": NAME,
                "binary-ext": ".exe" if target.os == "win32" else "",
            }

            def filled(key):
                return re.sub(r"\{ (\S+) \}", lambda found: values[found[1]], binstall[key])

            self.assertEqual(
                filled("pkg-url"),
                f"{release.REPOSITORY}/releases/download/v{VERSION}/{target.archive}",
            )
            with tarfile.open(DIST / target.archive) as archive:
                self.assertEqual(archive.getmember(filled("bin-dir")).mode, 0o755)

    def test_the_plugins_manifests_fit_together(self):
        plugin = ROOT / "plugin"
        claude, portable = (
            json.loads((plugin / name).read_text())
            for name in (".claude-plugin/plugin.json", "plugin.json")
        )
        self.assertEqual(claude["version"], VERSION)
        shared = set(portable) - {"$schema"}
        self.assertEqual(
            {key: portable[key] for key in shared}, {key: claude[key] for key in shared}
        )
        # A client rejects a manifest of Agent Plugins 1.0 with other fields.
        self.assertLessEqual(
            shared,
            {
                "name",
                "version",
                "description",
                "author",
                "homepage",
                "repository",
                "license",
                "keywords",
            },
        )
        servers = {}
        for name in ("mcp.json", ".mcp.json"):
            (servers[name],) = json.loads((plugin / name).read_text())["mcpServers"].values()
        self.assertEqual(
            (servers["mcp.json"]["type"], servers["mcp.json"]["command"]), ("stdio", "./launch")
        )
        self.assertEqual(servers[".mcp.json"]["command"], "${CLAUDE_PLUGIN_ROOT}/launch")
        self.assertTrue(os.access(plugin / "launch", os.X_OK))
        for name in ("plugin", "mcp"):
            schema = json.loads((plugin / f"{name}.json").read_text())["$schema"]
            self.assertEqual(schema, f"https://agent-plugins.org/schemas/1.0.0/{name}.schema.json")

    def test_the_checksums_cover_every_file(self):
        lines = (DIST / "SHA256SUMS").read_text().splitlines()
        listed = dict(line.split("  ")[::-1] for line in lines)
        self.assertEqual(set(listed), {path.name for path in DIST.iterdir()} - {"SHA256SUMS"})
        self.assertEqual(listed, {name: sha256(name) for name in listed})

    def test_the_bill_of_materials_is_one(self):
        document = json.loads((DIST / f"{NAME}.cdx.json").read_text())
        self.assertEqual(
            (document["bomFormat"], document["metadata"]["component"]["version"]),
            ("CycloneDX", VERSION),
        )
        self.assertGreater(len(document["components"]), 100)

    def test_packing_again_gives_the_same_bytes(self):
        target = TARGETS[-1]
        with tempfile.TemporaryDirectory() as folder:
            stand_in = DIST.parent / "stand-in"
            # Another time and mode of the executable must not matter.
            copy = Path(folder) / "copy"
            shutil.copy(stand_in, copy)
            os.utime(copy, (1, 1))
            os.chmod(copy, 0o600)
            environment = os.environ | {"DIST": folder}
            subprocess.run(
                [ROOT / "packaging/pack", target.triple, copy], check=True, env=environment
            )
            for name in (target.archive, target.bundle, target.npm_file):
                self.assertEqual(
                    (Path(folder) / name).read_bytes(), (DIST / name).read_bytes(), name
                )

    def test_an_incomplete_release_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"DIST": folder}
            done = subprocess.run(
                [ROOT / "packaging/assemble"], env=environment, capture_output=True, text=True
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"lacks {TARGETS[0].archive}, ", done.stderr)
