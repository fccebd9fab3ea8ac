"""The training loop that train.py and distil.py share, and the measures of its result.

The callers define the loss.
"""
import json
import time
from pathlib import Path

import torch

import data


def bf16(device):
    """Computes in bf16 where the processor can. Elsewhere it is emulated, and slower than fp32."""
    can = device == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.autocast(device, dtype=torch.bfloat16, enabled=can)


@torch.no_grad()
def evaluate(model, tokenizer, rows, device):
    ids = tokenizer([text for text, _ in rows], truncation=True, max_length=512)["input_ids"]
    order = sorted(range(len(rows)), key=lambda i: len(ids[i]))
    scores = [None] * len(rows)
    model.eval()
    for start in range(0, len(order), 64):
        chunk = order[start : start + 64]
        tokens, mask = (torch.tensor(x, device=device) for x in data.pad([ids[i] for i in chunk]))
        for i, row in zip(chunk, model(input_ids=tokens, attention_mask=mask).logits.float().softmax(-1).tolist()):
            scores[i] = row
    model.train()
    return data.measures(scores, rows)


def keep(model, tokenizer, folder, out):
    """Prints the measures on the development sets in `folder` and writes the checkpoint."""
    dev = data.sets(folder, data.DEVELOPMENT)
    print(json.dumps({n: evaluate(model, tokenizer, r, model.device) for n, r in dev.items()}, indent=1), flush=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def learn(model, ids, plan, loss_of, learning_rate, limit_steps=None):
    """Runs once through `plan`, lists of row numbers, and minimizes `loss_of(logits, chunk)`. The model ends
    with the average of its weights in the last third, which generalizes better (Izmailov et al. 2018)."""
    steps, device = len(plan), model.device
    decayed = [p for _, p in model.named_parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for _, p in model.named_parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    warm_up = max(1, int(0.06 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warm_up, (steps - s) / (steps - warm_up))
    )
    average, averaged_from = None, int(0.7 * steps)

    model.train()
    started, shown = time.time(), 0.0
    for step, chunk in enumerate(plan[:limit_steps]):
        tokens, mask = (torch.tensor(x, device=device) for x in data.pad([ids[i] for i in chunk]))
        with bf16(device.type):
            logits = model(input_ids=tokens, attention_mask=mask).logits
        loss = loss_of(logits.float(), chunk)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decayed + plain, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        shown += loss.item()
        if step >= averaged_from and step % 20 == 0:
            if average is None:
                average = torch.optim.swa_utils.AveragedModel(model, use_buffers=False)
            else:
                average.update_parameters(model)
        if step % 100 == 99:
            print(f"step {step + 1}/{steps} loss {shown / 100:.4f} {time.time() - started:.0f} s", flush=True)
            shown = 0.0
    if average is not None:
        model.load_state_dict(average.module.state_dict())
