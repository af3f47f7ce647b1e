"""Top-1 and top-5 on labelled photos: `mobileight classify` against LiteRT given the same tensors.

    accuracy.py --binary target/release/mobileight            writes the table into docs/numerics.md
    accuracy.py --binary target/release/mobileight --check    only verifies, the page's table too

Verified is that both numbers of each model are within 0.6 points of LiteRT's. The table stands between two markers in docs/numerics.md.
"""

import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import oracle
from record_hashes import HERE

MODELS = ("mobilenet_v1_0.25_224_quant", "mobilenet_v2_1.0_224_quant", "mobilenet_v3_small_1.0_224.uint8")
LIMIT = 0.6
PAGE = HERE.parent / "docs" / "numerics.md"
BEGIN, END = "<!-- accuracy:begin -->", "<!-- accuracy:end -->"


def output_of(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"`{' '.join(map(str, words[:3]))} ...` exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def ours(binary, model, photos):
    """The five best classes of each photo, by file name."""
    answers = [json.loads(row) for row in output_of(binary, "classify", model, *photos, "--json").splitlines()]
    failed = [answer for answer in answers if "top" not in answer]
    if failed or len(answers) != len(photos):
        sys.exit(f"{model.stem}: {len(answers)} answers for {len(photos)} photos; {failed[:3]}")
    return {pathlib.Path(answer["file"]).name: [c["index"] for c in answer["top"]] for answer in answers}


def litert(binary, path, photos):
    """The same by LiteRT's default kernels; among equal scores the lower index comes first."""
    model = oracle.Model(path.read_bytes(), "default")
    found = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:

        def prepare(photo):
            file = pathlib.Path(folder) / f"{photo.name}.npy"
            output_of(binary, "preprocess", path, photo, "-o", file)
            return np.load(file)

        for photo, tensor in zip(photos, pool.map(prepare, photos)):
            scores = model.run([tensor])[model.outputs[0]].reshape(-1).astype(np.int64)
            found[photo.name] = np.argsort(-scores, kind="stable")[:5].tolist()
    return found


def percent(answers, labels):
    """Top-1 and top-5 in percent."""
    hits = lambda k: 100.0 * sum(labels[name] in top[:k] for name, top in answers.items()) / len(answers)
    return hits(1), hits(5)


def measure(binary, data):
    """The table, and what is out of bounds."""
    folder = data / "images/imagenet"
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    photos = [folder / row["file"] for row in rows]
    labels = {row["file"]: int(row["index1001"]) for row in rows}
    table = ["| model | top-1 | LiteRT | top-5 | LiteRT | same first class |", "|---|---|---|---|---|---|"]
    wrong = []
    for name in MODELS:
        path = data / "models" / f"{name}.tflite"
        us, them = ours(binary, path, photos), litert(binary, path, photos)
        (us1, us5), (them1, them5) = percent(us, labels), percent(them, labels)
        same = sum(us[file][0] == them[file][0] for file in them)
        table.append(f"| {name} | {us1:.1f} | {them1:.1f} | {us5:.1f} | {them5:.1f} | {same} of {len(them)} |")
        print(table[-1], flush=True)
        if max(abs(us1 - them1), abs(us5 - them5)) > LIMIT:
            wrong.append(f"{name} is more than {LIMIT} points from LiteRT")
    return "\n".join(table), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=HERE.parent / "target/release/mobileight")
    data = os.environ.get("MOBILEIGHT_TEST_DATA", HERE.parent.parent / "shared")
    parser.add_argument("--data", type=pathlib.Path, default=data, help="folder with models and images")
    parser.add_argument("--check", action="store_true", help="write nothing; docs/numerics.md must have this table")
    arguments = parser.parse_args()
    table, wrong = measure(arguments.binary.resolve(), arguments.data)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    if not arguments.check:
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    elif old.strip() != table:
        wrong.append("docs/numerics.md has another table: run this without --check")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
