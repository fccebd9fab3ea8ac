"""Draws three calls to the real server as a terminal session: exchange-light.svg and exchange-dark.svg.

    python3 docs/images/exchange.py [EXECUTABLE]

The question and the arguments are given here; every answer is the server's own, shortened where `…` stands.
"""

import html
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap

HERE = pathlib.Path(__file__).parent
QUESTION = "Label feedback.csv with my local model, and settle the rows it is unsure of."
CALLS = [
    {"path": "feedback.csv"},
    {"path": "feedback.csv", "only": "uncertain", "limit": 3},
    {"path": "feedback.csv", "corrections": {"20": "negative", "49": "positive"}},
]
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
SHOWN = ("output", "rows", "labels", "mean_confidence", "uncertain", "review", "undecided", "corrected")
THEMES = {
    "light": {"page": "#ffffff", "edge": "#d0d7de", "text": "#1f2328", "dim": "#59636e", "call": "#1a7f37", "bar": "#f6f8fa"},
    "dark": {"page": "#0d1117", "edge": "#3d444d", "text": "#e6edf3", "dim": "#9198a1", "call": "#3fb950", "bar": "#151b23"},
}


def record(executable):
    """Returns the server's structured answer to each call, in a fresh copy of the example file."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / "../../examples/feedback.csv", folder)
        pipe = subprocess.PIPE
        server = subprocess.Popen([executable, "serve"], cwd=folder, text=True, stdin=pipe, stdout=pipe)
        for number, arguments in enumerate(CALLS):
            params = {"_meta": META, "name": "local_model_predict_file", "arguments": arguments}
            request = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            answer = json.loads(server.stdout.readline())["result"]["structuredContent"]
            answer["output"] = pathlib.Path(answer["output"]).name
            yield answer
        server.stdin.close()
        server.wait()


def lines(answers):
    """Yields the session as (colour, text) pairs, one a line."""
    yield "text", f"> {QUESTION}"
    for arguments, answer in zip(CALLS, answers):
        yield "text", ""
        arguments_text = ", ".join(f"{key}: {json.dumps(value)}" for key, value in arguments.items())
        yield "call", f"● local_model_predict_file({arguments_text})"
        fields = {key: answer[key] for key in SHOWN if key in answer}
        rows = fields.pop("review", [])
        if "labels" not in fields:
            del fields["output"]
        shown = json.dumps(fields, ensure_ascii=False)[:-1] + ", …}"
        for number, part in enumerate(textwrap.wrap(shown, 108)):
            yield "dim", f"{'    ' if number else '  └ '}{part}"
        for row in rows:
            yield "dim", f"    {json.dumps(row, ensure_ascii=False)}"


def draw(session, theme):
    """Returns the session as an SVG image."""
    step, width = 21, 990
    height = 52 + step * len(session)
    dots = "".join(f'<circle cx="{20 + 18 * n}" cy="17" r="5.5" fill="{theme["edge"]}"/>' for n in range(3))
    texts = "".join(
        f'<text x="20" y="{58 + step * n}" fill="{theme[colour]}" xml:space="preserve">{html.escape(text)}</text>'
        for n, (colour, text) in enumerate(session)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="13">'
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="{theme["page"]}" stroke="{theme["edge"]}"/>'
        f'<path d="M1 34V9a8 8 0 0 1 8-8h{width - 18}a8 8 0 0 1 8 8v25z" fill="{theme["bar"]}"/>{dots}{texts}</svg>\n'
    )


if __name__ == "__main__":
    executable = os.path.realpath(sys.argv[1]) if sys.argv[1:] else "local-model-mcp"
    session = list(lines(record(executable)))
    for name, theme in THEMES.items():
        (HERE / f"exchange-{name}.svg").write_text(draw(session, theme), encoding="utf-8")
