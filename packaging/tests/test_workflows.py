"""The workflow files: what each job may do and run, and that a release is attested as a whole."""

import re
import subprocess
import unittest
from datetime import date

import yaml

import release
from world import ROOT

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FILES}
# Hosted images, with the day on which they end according to github.com/actions/runner-images.
IMAGES = {
    "ubuntu-22.04": "2027-04-17",
    "ubuntu-22.04-arm": "2027-04-17",
    "ubuntu-24.04": None,
    "ubuntu-24.04-arm": None,
    "macos-15": None,
    "windows-2022": None,
}
# What a job may have beyond reading the sources.
PERMISSIONS = {
    ("release", "publish"): {"contents": "write", "id-token": "write", "attestations": "write"},
    ("release", "npm"): {"id-token": "write"},
    ("release", "pypi"): {"id-token": "write"},
}


def jobs():
    for name, workflow in WORKFLOWS.items():
        for job, content in workflow["jobs"].items():
            yield name, job, content


def steps():
    for name, job, content in jobs():
        for step in content["steps"]:
            yield f"{name}/{job}", step


def commands(job):
    return "\n".join(step.get("run", "") for step in WORKFLOWS["release"]["jobs"][job]["steps"])


class Workflows(unittest.TestCase):
    def test_the_linter_for_workflows_finds_nothing(self):
        """Among its rules: a checkout keeps no credentials, no expression reaches a shell."""
        done = subprocess.run(
            ["zizmor", "--offline", "--no-progress", ROOT / ".github"],
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_permissions_are_those_of_the_job(self):
        self.assertEqual(WORKFLOWS["release"]["permissions"], {})
        self.assertEqual(WORKFLOWS["ci"]["permissions"], {"contents": "read"})
        for name, job, content in jobs():
            given = content.get("permissions", WORKFLOWS[name]["permissions"])
            self.assertEqual(
                given, PERMISSIONS.get((name, job), {"contents": "read"}), f"{name}/{job}"
            )

    def test_a_job_that_may_write_runs_nothing_of_the_repository(self):
        for name, job in PERMISSIONS:
            content = WORKFLOWS[name]["jobs"][job]
            self.assertFalse(
                [step for step in content["steps"] if "checkout" in step.get("uses", "")], job
            )
            self.assertEqual(content["environment"], "release", job)

    def test_actions_are_pinned_by_digest_with_their_version(self):
        uses = [
            line.strip()
            for path in FILES
            for line in path.read_text().splitlines()
            if "uses:" in line
        ]
        self.assertGreater(len(uses), 10)
        for line in uses:
            self.assertRegex(line, r"^(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
        versions = {}
        for line in uses:
            action, pin = line.split("uses: ")[1].split("@")
            self.assertEqual(versions.setdefault(action, pin), pin)

    def test_images_exist(self):
        for name, job, content in jobs():
            image = content["runs-on"]
            matrix = content.get("strategy", {}).get("matrix", {})
            images = (
                [image]
                if "matrix" not in image
                else matrix.get("os") or [row["os"] for row in matrix["include"]]
            )
            for each in images:
                self.assertIn(each, IMAGES, f"{name}/{job}")
                self.assertLess(date.today().isoformat(), IMAGES[each] or "9999", each)

    def test_every_job_ends_and_runs_of_one_ref_do_not_overlap(self):
        for name, job, content in jobs():
            self.assertIsInstance(content.get("timeout-minutes"), int, f"{name}/{job}")
        for name, workflow in WORKFLOWS.items():
            self.assertIn("github.ref", workflow["concurrency"]["group"], name)

    def test_nothing_unlocked_is_installed(self):
        for where, step in steps():
            for line in step.get("run", "").splitlines():
                if "pip install" in line:
                    self.assertIn("--require-hashes", line, where)
                if re.search(r"\bcargo (build|test|check|run|install)\b", line):
                    self.assertIn("--locked", line, where)
                self.assertNotRegex(line, r"\bnpx\b|npm (i|install)\b|curl", where)

    def test_every_target_is_built(self):
        build = WORKFLOWS["release"]["jobs"]["build"]
        built = [row["target"] for row in build["strategy"]["matrix"]["include"]]
        self.assertEqual(built, [target.triple for target in release.TARGETS])
        self.assertEqual(build["env"]["MACOSX_DEPLOYMENT_TARGET"], "14.0")
        self.assertIn("cargo test --workspace --locked", commands("build"))
        self.assertIn("packaging/pack ${{ matrix.target }}", commands("build"))

    def test_all_that_is_published_is_complete_before_it_is_attested(self):
        release_jobs = WORKFLOWS["release"]["jobs"]
        self.assertEqual(release_jobs["assemble"]["needs"], "build")
        # The bill of materials and the checksums are part of it.
        self.assertIn("packaging/assemble", commands("assemble"))
        self.assertEqual(release_jobs["publish"]["needs"], "assemble")
        (attest,) = [
            step
            for step in release_jobs["publish"]["steps"]
            if "attest-build-provenance" in step.get("uses", "")
        ]
        self.assertEqual(attest["with"]["subject-path"], "dist/*")
        create = release_jobs["publish"]["steps"][-1]["run"]
        self.assertTrue(
            create.startswith("gh release create") and create.endswith("dist/*"), create
        )
        for registry in ("npm", "pypi"):
            self.assertEqual(release_jobs[registry]["needs"], "publish")
        self.assertIn("--provenance", commands("npm"))

    def test_the_oldest_rust_is_the_one_that_cargo_toml_promises(self):
        promised = release.WORKSPACE["rust-version"]
        runs = [step.get("run", "") for step in WORKFLOWS["ci"]["jobs"]["oldest-rust"]["steps"]]
        self.assertIn(f"cargo +{promised} check --workspace --all-targets --locked", runs)
