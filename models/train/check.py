"""Measures the shipped models with LiteRT and writes the table in ../README.md; with --check, only says whether it still holds.

    check.py [--check]
"""

import argparse
import csv
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

MODELS = pathlib.Path(__file__).parent.parent
DEMO = MODELS / "demo"
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"
SHIPPED = {"float": "float32", "int8": "int8, per channel", "int8_per_tensor": "int8, per tensor"}
LIMIT_BYTES = 4_000_000


def answers(path, images):
    """The first class of each image."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, taken = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = given["quantization"]
    found = []
    for pixels in images:
        real = pixels.astype(np.float32) / 127.5 - 1
        if scale:
            real = np.clip(np.round(real / scale) + zero_point, -128, 127)
        interpreter.set_tensor(given["index"], real.astype(given["dtype"])[None])
        interpreter.invoke()
        found.append(int(np.argmax(interpreter.get_tensor(taken["index"])[0])))
    return np.array(found)


def table():
    with open(DEMO / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = np.array([int(row["label_index"]) for row in rows])
    images = [np.asarray(Image.open(DEMO / "images" / row["file"])) for row in rows]
    lines = ["| file | kind | bytes | top-1 |", "|---|---|---:|---:|"]
    for name, kind in SHIPPED.items():
        path = DEMO / f"{name}.tflite"
        share = np.mean(answers(path, images) == truth)
        lines.append(f"| `{path.name}` | {kind} | {path.stat().st_size:,} | {share:.1%} |")
    sizes = [path.stat().st_size for path in DEMO.rglob("*") if path.is_file()]
    lines += ["", f"Top-1 by LiteRT over the {len(rows)} test images. All {len(sizes)} files together: {sum(sizes):,} bytes."]
    assert sum(sizes) < LIMIT_BYTES, f"{sum(sizes):,} bytes are too many to ship"
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    readme = MODELS / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    old, after = rest.split(END)
    new = f"\n{table()}\n"
    if not arguments.check:
        readme.write_text(before + BEGIN + new + END + after)
    elif old != new:
        sys.exit(f"models/README.md says:\n{old}\nLiteRT now gives:\n{new}")
    print(new)


if __name__ == "__main__":
    main()
