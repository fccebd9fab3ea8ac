"""Distills a teacher into a checkpoint with fewer layers (Hinton et al. 2015, temperature 2).

    python distil.py --data FOLDER --teacher CHECKPOINT --student CHECKPOINT [--keep 0,1,2,3,5] [--quantized] --out CHECKPOINT

The student starts with the layers of `--student` that `--keep` names, or all of them. With
`--quantized` every pass rounds weights and activations as dynamic int8 does, so that the quantization
in export.py loses nothing; gradients pass through the rounding (Jacob et al. 2018). data.py makes the
batches, and learning.py runs them.
"""
import argparse
import random

import torch
from torch.nn import functional
from transformers import AutoTokenizer, BertForSequenceClassification

import data
from learning import bf16, keep, learn

# Of the distribution that the student imitates.
TEMPERATURE = 2.0


class Rounded(torch.autograd.Function):
    """Rounds as onnxruntime's dynamic int8: activations with one range per text, weights with one per row."""

    @staticmethod
    def forward(ctx, values, of_weights):
        if of_weights:
            scale = (values.abs().amax(1, keepdim=True) / 127).clamp(min=1e-9)
            return (values / scale).round().clamp(-127, 127) * scale
        exact, of_each = values.float(), tuple(range(1, values.ndim))
        low, high = exact.amin(of_each, keepdim=True).clamp(max=0), exact.amax(of_each, keepdim=True).clamp(min=0)
        scale = ((high - low) / 255).clamp(min=1e-9)
        zero = (-low / scale).round()
        return (((exact / scale).round() + zero).clamp(0, 255) - zero).mul_(scale).to(values.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class RoundedLinear(torch.nn.Linear):
    def forward(self, values):
        return functional.linear(Rounded.apply(values, False), Rounded.apply(self.weight, True), self.bias)


def round_in_every_pass(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.__class__ = RoundedLinear
    # Embedding tables are on the int8 grid already, or lose nothing by rounding.
    for name, table in model.bert.embeddings.named_parameters():
        table.requires_grad_(name.startswith("LayerNorm"))


@torch.no_grad()
def logits_of(model, ids, device):
    logits = torch.zeros(len(ids), len(data.LABELS))
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), 128):
        chunk = order[start : start + 128]
        tokens, mask = (torch.tensor(x, device=device) for x in data.pad([ids[i] for i in chunk]))
        with bf16(device):
            logits[chunk] = model(input_ids=tokens, attention_mask=mask).logits.float().cpu()
    return logits.to(device)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", required=True)
    parser.add_argument("--keep", help="layers of the student, counted from 0 (default: all)")
    parser.add_argument("--quantized", action="store_true")
    parser.add_argument("--out", required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--neutral-phrases", type=int, default=60_000)
    # train.py subtracts this from the logit of `neutral` at its end. It is omitted in training and subtracted again.
    parser.add_argument("--neutral-offset", type=float, default=-0.3)
    parser.add_argument("--from-teacher", type=float, default=0.7, help="share of the teacher's scores in the loss")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--limit-steps", type=int, help="stop after N steps, to try the script")
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    tokenizer = AutoTokenizer.from_pretrained(args.student)
    tokenizer.pad_token_id = 0
    rows = data.training_rows(args.data, args.neutral_phrases, args.seed)
    ids = tokenizer([text for text, _ in rows], truncation=True, max_length=128)["input_ids"]
    offset = torch.zeros(len(data.LABELS), device=device)
    offset[data.LABELS.index("neutral")] = args.neutral_offset
    teacher = BertForSequenceClassification.from_pretrained(args.teacher, attn_implementation="eager").eval().to(device)
    taught = logits_of(teacher, ids, device) - offset

    model = BertForSequenceClassification.from_pretrained(args.student, attn_implementation="eager").to(device)
    if args.keep:
        layers = [model.bert.encoder.layer[int(k)] for k in args.keep.split(",")]
        model.bert.encoder.layer = torch.nn.ModuleList(layers)
        model.config.num_hidden_layers = len(layers)
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    if args.quantized:
        round_in_every_pass(model)
    with torch.no_grad():
        model.classifier.bias -= offset

    plan = data.batches([len(row) for row in ids], args.batch, random.Random(args.seed))
    gold = torch.tensor([label for _, label in rows], device=device)
    cross_entropy = torch.nn.CrossEntropyLoss(label_smoothing=0.05)

    def loss_of(logits, chunk):
        # The square makes the size of the gradient independent of the temperature.
        imitated = TEMPERATURE**2 * functional.kl_div(
            (logits / TEMPERATURE).log_softmax(-1), (taught[chunk] / TEMPERATURE).softmax(-1), reduction="batchmean"
        )
        return args.from_teacher * imitated + (1 - args.from_teacher) * cross_entropy(logits, gold[chunk])

    learn(model, ids, plan, loss_of, args.learning_rate, args.limit_steps)
    with torch.no_grad():
        model.classifier.bias += offset
    keep(model, tokenizer, args.data, args.out)


if __name__ == "__main__":
    main()
