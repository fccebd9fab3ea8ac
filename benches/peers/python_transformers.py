"""An MCP server in Python: the official SDK and a transformers pipeline on torch (CPU) in one process.

python python_transformers.py CHECKPOINT_FOLDER
"""

import sys
from functools import lru_cache

from mcp.server import MCPServer
from pydantic import BaseModel
from transformers import pipeline

classifier = pipeline("text-classification", model=sys.argv[1], device="cpu")
server = MCPServer("python-transformers", log_level="WARNING")


class Prediction(BaseModel):
    prediction: str
    confidence: float


@lru_cache(65_536)
def classify(text: str) -> tuple[str, float]:
    best = classifier(text, truncation=True)[0]
    return best["label"], best["score"]


@server.tool()
def predict(text: str) -> Prediction:
    """Classifies a text."""
    label, score = classify(text)
    return Prediction(prediction=label, confidence=score)


server.run("stdio")
