"""A minimal MCP client that times a server: JSON lines over one socket pair each way, as Claude Code
connects.

It opens with `initialize`, since every peer supports it. Answers are parsed after the clock is read.
"""

import json
import os
import socket
import struct
import subprocess
import tempfile
from time import perf_counter

ANSWER_WITHIN_SECONDS = 120


class Server:
    """One running server. `started` is the moment before its process was started."""

    def __init__(self, command, tool, env=None):
        self.command, self.tool = command, tool
        self.to, its_stdin = socket.socketpair()
        self.answers, its_stdout = socket.socketpair()
        # A kernel timeout: Python's own costs a system call for every receive.
        self.answers.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", ANSWER_WITHIN_SECONDS, 0))
        self.stderr = tempfile.TemporaryFile()
        self.started = perf_counter()
        self.process = subprocess.Popen(
            command, stdin=its_stdin, stdout=its_stdout, stderr=self.stderr, env=os.environ | (env or {})
        )
        its_stdin.close()
        its_stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.to.close()
        stop(self.process)
        self.answers.close()

    def open(self):
        """Performs the handshake and lists the tools, which must include the one that is measured."""
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "peers", "version": "1"}}
        self.ask("initialize", about)
        self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        tools = [tool["name"] for tool in self.ask("tools/list", {})["tools"]]
        if self.tool not in tools:
            self.fail(f"it lists {tools}, not {self.tool}")

    def ask(self, method, params):
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = json.loads(self.round_trip(json.dumps(request).encode() + b"\n"))
        return answer.get("result") or self.fail(answer)

    def call(self, text, number=1):
        """Returns the line that requests a prediction."""
        params = {"name": self.tool, "arguments": {"text": text}}
        return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode() + b"\n"

    def round_trip(self, line):
        self.send(line)
        answer = self.receive()
        while answer[-1] != 10:  # a line feed
            answer += self.receive()
        return answer

    def timed(self, line):
        """Returns (seconds, answer) of one round trip."""
        start = perf_counter()
        answer = self.round_trip(line)
        return perf_counter() - start, answer

    def in_flight(self, lines, depth):
        """Returns (seconds, answers) of many calls, `depth` of them in flight; answers come in any order."""
        chunks, asked, answered = [], depth, 0
        start = perf_counter()
        self.send(b"".join(lines[:depth]))
        while answered < len(lines):
            chunk = self.receive()
            chunks.append(chunk)
            count = chunk.count(b"\n")
            answered += count
            if asked < len(lines):
                self.send(b"".join(lines[asked : asked + count]))
                asked += count
        seconds = perf_counter() - start
        return seconds, b"".join(chunks).splitlines()

    def send(self, lines):
        try:
            self.to.sendall(lines)
        except BrokenPipeError:
            self.fail("it ended")

    def receive(self):
        try:
            chunk = self.answers.recv(1 << 18)
        except BlockingIOError:
            self.fail(f"no answer within {ANSWER_WITHIN_SECONDS} s")
        return chunk or self.fail("it ended")

    def prediction(self, answer):
        """Returns (id, label, score) of an answer to `call`."""
        answer = json.loads(answer)
        found = answer.get("result", {}).get("structuredContent") or self.fail(answer)
        return answer["id"], found["prediction"], found["confidence"]

    def fail(self, what):
        """Ends the run and prints the end of the server's stderr."""
        self.stderr.seek(0)
        stderr = self.stderr.read().decode(errors="replace")[-2000:]
        raise SystemExit(f"{' '.join(map(str, self.command))}: {what}\n{stderr}")


def stop(process):
    """Waits for a process whose input has ended, and kills it if it does not exit."""
    for end in (lambda: None, process.terminate, process.kill):
        end()
        try:
            return process.wait(5)
        except subprocess.TimeoutExpired:
            continue


def resident_mb(*pids):
    """Returns the resident memory of processes and their descendants; shared pages count for each."""
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in listed.splitlines()]
    family = set(pids)
    while more := {pid for pid, parent, _ in rows if parent in family} - family:
        family |= more
    return sum(kib for pid, _, kib in rows if pid in family) / 1024
