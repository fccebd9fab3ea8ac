"""Tests of the official Python SDK, in both of its ways to negotiate the protocol era: handshake and discovery. The SDK
validates every answer against the tool's output schema. `python.test.mjs` runs this file; expected.json has the answers."""

import json
import os
import sys
import tempfile
import time
import unittest
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from jsonschema import Draft202012Validator
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

SERVER = sys.argv.pop(1)
EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text())
LONG = EXPECTED["long"]
WITHOUT_END_S = 300


def contains(found, expected):
    """Returns whether `found` contains everything in `expected`; lists must have the same length."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(key in found and contains(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(contains, found, expected))
    return found == expected


class World:
    """Gives each test an empty home that is also the project folder, and a session with the server."""

    def __init__(self, folder, mode):
        self.home, self.mode = Path(folder), mode
        for name, content in EXPECTED["files"].items():
            (self.home / name).write_text(content)

    def write_long(self, who):
        lines = [LONG["row"].replace("{who}", who).replace("{row}", str(row)) for row in range(LONG["rows"])]
        (self.home / LONG["path"]).write_text("\n".join(lines) + "\n")

    @asynccontextmanager
    async def client(self):
        environment = {"HOME": str(self.home), **EXPECTED["environment"]}
        server = StdioServerParameters(command=SERVER, env=environment, cwd=self.home)
        with tempfile.TemporaryFile("w+") as complaints:
            async with Client(stdio_client(server, complaints), mode=self.mode, read_timeout_seconds=WITHOUT_END_S) as client:
                yield client
            complaints.seek(0)
            assert complaints.read() == "", "the server wrote to stderr"


class Essentials:
    mode = revision = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.world = World(folder.name, self.mode)

    async def test_the_server_and_its_list(self):
        async with self.world.client() as client:
            self.assertEqual(client.protocol_version, self.revision)
            self.assertEqual(client.server_info.name, EXPECTED["server"])
            self.assertIn("local_model_predict", client.instructions)
            tools = (await client.list_tools()).tools
            self.assertEqual([tool.name for tool in tools], EXPECTED["tools"])
            for tool in tools:
                Draft202012Validator.check_schema(tool.input_schema)
                Draft202012Validator.check_schema(tool.output_schema)

    async def test_each_tool_and_a_mistake(self):
        async with self.world.client() as client:
            await client.list_tools()
            for call in EXPECTED["calls"]:
                result = await client.call_tool(call["name"], call["arguments"])
                self.assertFalse(result.is_error)
                self.assertTrue(contains(result.structured_content, call["result"]), result.structured_content)
            mistake = EXPECTED["mistake"]
            result = await client.call_tool(mistake["name"], mistake["arguments"])
            self.assertTrue(result.is_error)
            self.assertEqual(result.content[0].text, mistake["message"])

    async def test_a_cancelled_file_job_leaves_no_files_and_the_session_continues(self):
        self.world.write_long(f"python, {self.mode}, cancelled")
        first = EXPECTED["calls"][0]
        async with self.world.client() as client:
            await client.call_tool(first["name"], first["arguments"])
            before = sorted(os.listdir(self.world.home))
            with anyio.CancelScope() as call:

                async def cancel(*_):
                    call.cancel()

                await client.call_tool("local_model_predict_file", {"path": LONG["path"]}, progress_callback=cancel)
            self.assertTrue(call.cancelled_caught)
            self.assertFalse((await client.call_tool(first["name"], first["arguments"])).is_error)
            gives_up = time.monotonic() + 10
            while len(os.listdir(self.world.home)) > len(before) and time.monotonic() < gives_up:
                await anyio.sleep(0.1)
            self.assertEqual(sorted(os.listdir(self.world.home)), before)

    async def test_a_file_job_reports_progress(self):
        self.world.write_long(f"python, {self.mode}")
        reports = []

        async def report(progress, total, message):
            reports.append((progress, total, message))

        async with self.world.client() as client:
            result = await client.call_tool("local_model_predict_file", {"path": LONG["path"]}, progress_callback=report)
        self.assertEqual(result.structured_content["rows"], LONG["rows"])
        self.assertGreaterEqual(len(reports), 2)
        self.assertTrue(all(before[0] < after[0] for before, after in zip(reports, reports[1:])), reports)
        # The last notification may report the writing stage.
        self.assertTrue(any(total == LONG["rows"] and "rows" in message for _, total, message in reports), reports)


class Legacy(Essentials, unittest.IsolatedAsyncioTestCase):
    mode, revision = "legacy", "2025-11-25"


class Auto(Essentials, unittest.IsolatedAsyncioTestCase):
    mode, revision = "auto", "2026-07-28"


if __name__ == "__main__":
    unittest.main()
