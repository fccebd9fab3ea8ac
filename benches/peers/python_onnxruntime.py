"""An MCP server in Python: the official SDK, onnxruntime and tokenizers in one process.

python python_onnxruntime.py MODEL_FOLDER
"""

import sys
from pathlib import Path

from mcp.server import MCPServer
from pydantic import BaseModel

from classifier import Classifier

classifier = Classifier(Path(sys.argv[1]))
server = MCPServer("python-onnxruntime", log_level="WARNING")


class Prediction(BaseModel):
    prediction: str
    confidence: float


@server.tool()
def predict(text: str) -> Prediction:
    """Classifies a text."""
    label, score = classifier.predict(text)
    return Prediction(prediction=label, confidence=score)


server.run("stdio")
