#!/usr/bin/env bash
# Trains, exports and measures the default model: run.sh DATA_FOLDER
# Makes a virtual environment and checkpoints in build/ next to this file (about 6 GB), and replaces the
# files one folder up.
set -euo pipefail
data=$(cd "$1" && pwd)
cd "$(dirname "$0")"
python3 -m venv build/venv
build/venv/bin/pip install --quiet -r requirements.txt
build/venv/bin/python train.py --data "$data" --out build/six
build/venv/bin/python distil.py --data "$data" --teacher build/six --student build/six --keep 0,1,2,3,5 --out build/five
build/venv/bin/python distil.py --data "$data" --teacher build/six --student build/five --quantized --learning-rate 3e-5 \
    --out build/checkpoint
build/venv/bin/python export.py --checkpoint build/checkpoint --data "$data" --out ..
build/venv/bin/python goldens.py --checkpoint build/checkpoint > ../../../tests/data/sentiment_goldens.json
