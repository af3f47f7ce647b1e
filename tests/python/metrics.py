"""Records NumPy's values of the metrics: crates/compare/tests/data/metrics.json.

    metrics.py [--check]

Everything is computed by its definition in docs/metrics.md; McNemar's test with exact integers. With --check nothing is written, and
a difference exits with 1.
"""

import json
import math
import pathlib
import sys

import numpy as np

FILE = pathlib.Path(__file__).parent.parent.parent / "crates/compare/tests/data/metrics.json"


def softmax(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return (powers / powers.sum()).astype(np.float32)


def pair(draw):
    first = draw.normal(0, 3, 12).astype(np.float32)
    second = (first + draw.normal(0, 1, 12)).astype(np.float32)
    p, q = (softmax(logits).astype(np.float64) for logits in (first, second))
    floor_p, floor_q = (np.maximum(x, 1 / 512) / np.maximum(x, 1 / 512).sum() for x in (p, q))
    order = np.sort(p)[::-1]
    return {
        "first": first.tolist(),
        "second": second.tolist(),
        "kl": float((floor_p * np.log(floor_p / floor_q)).sum()),
        "total_variation": float(np.abs(p - q).sum() / 2),
        "margin": float(order[0] - order[1]),
        "largest": float(np.abs(p - q).max()),
        "flipped": bool(p.argmax() != q.argmax()),
    }


def tensor(draw, kind):
    scale, zero = float(np.float32(draw.uniform(0.01, 0.1))), int(draw.integers(-20, 20))
    reference = draw.normal(1.5, 3, (30, 5)).astype(np.float32)
    shift = 0.4 if kind == "biased" else 0.0
    codes = np.clip(np.rint(reference / scale + shift) + zero, -128, 127).astype(np.int64)
    real = scale * (codes - zero)
    error = real - reference.astype(np.float64)
    quanta = error / scale
    means = quanta.mean(0)
    return {
        "scale": scale,
        "zero_point": zero,
        "reference": reference.ravel().tolist(),
        "codes": codes.ravel().tolist(),
        "sqnr": float(10 * np.log10((reference.astype(np.float64) ** 2).sum() / (error**2).sum())),
        "cosine": float((real * reference).sum() / np.linalg.norm(real) / np.linalg.norm(reference.astype(np.float64))),
        "rmse_over_scale": float(np.sqrt((quanta**2).mean())),
        "mean_error": float(quanta.mean()),
        "channel_mean_error": float(means[np.abs(means).argmax()]),
        "largest_error": float(np.abs(quanta).max()),
        "saturated_low": float((reference < scale * (-128 - zero) - scale / 2).mean()),
        "saturated_high": float((reference > scale * (127 - zero) + scale / 2).mean()),
        "used_range": float((codes.max() - codes.min() + 1) / 256),
    }


def mcnemar(b, c):
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
    return {"only_first": b, "only_second": c, "p": min(1.0, 2 * tail / 2 ** (b + c))}


def main():
    draw = np.random.default_rng(7)
    values = {
        "pairs": [pair(draw) for _ in range(8)],
        "tensors": [tensor(draw, kind) for kind in ("plain", "biased", "plain", "biased")],
        "mcnemar": [mcnemar(*counts) for counts in [(0, 0), (1, 0), (3, 5), (12, 2), (40, 17), (150, 151), (400, 300)]],
    }
    if "--check" not in sys.argv:
        FILE.write_text(json.dumps(values) + "\n")
    elif json.loads(FILE.read_text()) != json.loads(json.dumps(values)):
        sys.exit(f"{FILE} is not what NumPy computes")


if __name__ == "__main__":
    main()
