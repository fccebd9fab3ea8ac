"""An MCP server in Python that only forwards to rest_service.py.

CLASSIFIER_TOKEN=... python rest_shim.py PORT
"""

import os
import sys

import httpx
from mcp.server import MCPServer
from pydantic import BaseModel

service = httpx.AsyncClient(
    base_url=f"http://127.0.0.1:{sys.argv[1]}",
    headers={"Authorization": f"Bearer {os.environ['CLASSIFIER_TOKEN']}"},
    timeout=60,
    # Loopback needs no proxy, and this saves reading certificates and the environment.
    trust_env=False,
)
server = MCPServer("rest-shim", log_level="WARNING")


class Prediction(BaseModel):
    prediction: str
    confidence: float


@server.tool()
async def predict(text: str) -> Prediction:
    """Classifies a text."""
    answer = await service.post("/predict", json={"text": text})
    return Prediction.model_validate_json(answer.raise_for_status().content)


server.run("stdio")
