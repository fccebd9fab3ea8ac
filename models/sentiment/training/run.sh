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
    --out build/film-and-reddit
build/venv/bin/python adapt.py --data "$data" --teacher build/film-and-reddit --student build/film-and-reddit --out build/wider
build/venv/bin/python adapt.py --data "$data" --teacher build/film-and-reddit --student build/wider \
    --learning-rate 4e-5 --share 0.5 --from-teacher 0.2 --seed 21 --out build/checkpoint
build/venv/bin/python export.py --checkpoint build/checkpoint --out ..
build/venv/bin/python measure.py --model .. --data "$data"
build/venv/bin/python goldens.py --checkpoint build/checkpoint > ../../../tests/data/sentiment_goldens.json
