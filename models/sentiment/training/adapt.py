"""Adapts a checkpoint to more kinds of text: tweets, product reviews, complaints, software, everyday language.

    python adapt.py --data FOLDER --teacher CHECKPOINT --student CHECKPOINT --out CHECKPOINT

Film reviews and Reddit comments, from which the teacher learned, are learned again with its scores as half
of the target, so that the student does not forget them. For the same reason the teacher's weights can have a
share in the result (Wortsman et al. 2022). Weights and activations are rounded as in distil.py. data.py names
the files.
"""
import argparse
import random

import torch
from torch.nn import functional
from transformers import AutoTokenizer, BertForSequenceClassification

import data
from distil import TEMPERATURE, logits_of, round_in_every_pass
from learning import keep, learn


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True, help="checkpoint whose scores keep film and Reddit as they are")
    parser.add_argument("--student", required=True, help="checkpoint to start from")
    parser.add_argument("--out", required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--share", type=float, default=1.0, help="of the rows of film, Reddit and tweets")
    parser.add_argument("--from-teacher", type=float, default=0.0, help="share of the teacher's weights in the result")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--limit-steps", type=int, help="stop after N steps, to try the script")
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    tokenizer = AutoTokenizer.from_pretrained(args.student)
    known, new = data.known_rows(args.data, args.share, args.seed), data.new_rows(args.data, args.share, args.seed)
    rows = known + new
    ids = tokenizer([text for text, _ in rows], truncation=True, max_length=128)["input_ids"]
    teacher = BertForSequenceClassification.from_pretrained(args.teacher, attn_implementation="eager").to(device)
    taught = logits_of(teacher.eval(), ids[: len(known)], device)
    taught = torch.cat([taught, torch.zeros(len(new), len(data.LABELS), device=device)])
    share = torch.tensor([0.5] * len(known) + [0.0] * len(new), device=device)
    gold = torch.tensor([label for _, label in rows], device=device)

    def loss_of(logits, chunk):
        # The square makes the size of the gradient independent of the temperature.
        imitated = TEMPERATURE**2 * functional.kl_div(
            (logits / TEMPERATURE).log_softmax(-1), (taught[chunk] / TEMPERATURE).softmax(-1), reduction="none"
        ).sum(-1)
        right = functional.cross_entropy(logits, gold[chunk], label_smoothing=0.05, reduction="none")
        return (share[chunk] * imitated + (1 - share[chunk]) * right).mean()

    model = BertForSequenceClassification.from_pretrained(args.student, attn_implementation="eager").to(device)
    round_in_every_pass(model)
    plan = data.batches([len(row) for row in ids], args.batch, random.Random(args.seed))
    learn(model, ids, plan, loss_of, args.learning_rate, args.limit_steps)
    with torch.no_grad():
        for new_weights, old in zip(model.parameters(), teacher.parameters()):
            new_weights.lerp_(old, args.from_teacher)
    keep(model, tokenizer, args.data, args.out)


if __name__ == "__main__":
    main()
