"""A REST service on loopback, behind a bearer token, that classifies texts with onnxruntime.

CLASSIFIER_TOKEN=... python rest_service.py MODEL_FOLDER PORT

It holds the result cache, since clients share a service.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from classifier import Classifier

classifier = Classifier(Path(sys.argv[1]))
app = FastAPI()


class Query(BaseModel):
    text: str


class Prediction(BaseModel):
    prediction: str
    confidence: float


def known(sent: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> None:
    if not secrets.compare_digest(sent.credentials.encode(), os.environ["CLASSIFIER_TOKEN"].encode()):
        raise HTTPException(401, "wrong token")


@app.post("/predict", dependencies=[Depends(known)])
def predict(query: Query) -> Prediction:
    label, score = classifier.predict(query.text)
    return Prediction(prediction=label, confidence=score)


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
