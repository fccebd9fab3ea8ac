"""Writes a tiny BERT and the gradients of a batch by torch: tiny.onnx and gradients.json.

    pip install torch transformers onnx
    python gradients.py
"""
import json
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy, normalize
from transformers import BertConfig, BertModel

HERE = Path(__file__).parent
TEXTS = [[1, 5, 9, 2], [1, 7, 2], [1, 5, 4, 8, 11, 2], [1, 3, 2]]
LABELS = [0, 1, 0, 2]
SCALE, SMOOTHING, TEMPERATURE = 10.0, 0.05, 0.2


class Graph(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        states = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        sums = torch.matmul(attention_mask.unsqueeze(1).to(states.dtype), states).squeeze(1)
        return sums / sums.norm(dim=1, keepdim=True)


def loss(vectors, head, bias, labels):
    scores = SCALE * vectors @ head.T + bias
    first = cross_entropy(scores, labels, label_smoothing=SMOOTHING)
    cosines = vectors @ vectors.T / TEMPERATURE
    itself = torch.eye(len(labels), dtype=torch.bool)
    log_shares = cosines - torch.logsumexp(cosines.masked_fill(itself, -torch.inf), dim=1, keepdim=True)
    partners = (labels[:, None] == labels[None, :]) & ~itself
    anchors = partners.any(dim=1)
    per_anchor = -(log_shares * partners).sum(dim=1)[anchors] / partners.sum(dim=1)[anchors]
    return first + per_anchor.mean()


def main():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=16, hidden_dropout_prob=0, attention_probs_dropout_prob=0, initializer_range=0.4,
    )
    config._attn_implementation = "eager"
    model = BertModel(config, add_pooling_layer=False).double().eval()
    for name, values in model.named_parameters():
        if "LayerNorm" in name or name.endswith("bias"):
            values.data += 0.2 * torch.randn_like(values)
        values.data = values.data.float().double()
    graph = Graph(model)
    longest = max(map(len, TEXTS))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in TEXTS])
    mask = (torch.arange(longest) < torch.tensor([[len(text)] for text in TEXTS])).long()
    head = torch.randn(3, 8, dtype=torch.float64).float().double().requires_grad_()
    bias = torch.randn(3, dtype=torch.float64).float().double().requires_grad_()
    vectors = graph(ids, mask, torch.zeros_like(ids))
    assert torch.allclose(vectors, normalize(vectors))
    value = loss(vectors, head, bias, torch.tensor(LABELS))
    value.backward()

    def numbers(values):
        return [float(f"{number:.8g}") for number in values.flatten().tolist()]

    gradients = {}
    for name, values in model.named_parameters():
        if name.startswith("encoder."):
            gradient = values.grad.T if values.dim() == 2 else values.grad
            gradients[name] = numbers(gradient.contiguous())
    facts = {
        "texts": TEXTS, "labels": LABELS, "head": numbers(head.detach()), "bias": numbers(bias.detach()),
        "loss": value.item(), "vectors": [numbers(row) for row in vectors.detach()],
        "head_gradient": numbers(head.grad), "bias_gradient": numbers(bias.grad), "gradients": gradients,
    }
    (HERE / "gradients.json").write_text(json.dumps(facts) + "\n")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "sequence"} for name in names}
    torch.onnx.export(
        graph.float(), (ids, mask, torch.zeros_like(ids)), HERE / "tiny.onnx", input_names=names,
        output_names=["sentence_embedding"], dynamic_axes=axes, opset_version=17, dynamo=False,
    )


if __name__ == "__main__":
    main()
