"""Runs `mobileight compare` on pairs of published models over 500 labelled photos and writes docs/accuracy.md.

    compare_pairs.py --binary target/release/mobileight [--data ../shared] [--check]

With --check nothing is written, and a page that differs exits with 1.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

PAGE = pathlib.Path(__file__).parent.parent.parent / "docs/accuracy.md"
PAIRS = (
    ("keras_mobilenet_v1_0.75_224_int8", "keras_mobilenet_v1_0.75_224_float", "MobileNet V1 0.75, weights per channel"),
    ("keras_mobilenet_v1_0.25_224_int8_pertensor", "keras_mobilenet_v1_0.25_224_float", "MobileNet V1 0.25, weights per tensor"),
    ("mobilenet_v1_0.25_224_int8_from_float", "mobilenet_v1_0.25_224_float_metadata", "MobileNet V1 0.25, weights per channel"),
    ("efficientnet_lite0_224_int8", "efficientnet_lite0_224_float", "EfficientNet-Lite0"),
)
HEAD = """# What INT8 cost: four pairs

Top-1 over 500 labelled ImageNet photos, INT8 against the float model that it was converted from (`mobileight compare`); points with
their 95 % interval. Written by `python tests/python/compare_pairs.py --binary target/release/mobileight`.

| pair | float | INT8 | points | weights' part | activations' part | p |
|---|---|---|---|---|---|---|
"""


def compare(binary, data, int8, float_, folder):
    photos = data / "images/imagenet"
    command = [
        binary, "compare", data / f"models/{int8}.tflite", "--float", data / f"models/{float_}.tflite",
        "--images", photos, "--labels", photos / "labels.csv", "--out", folder / int8, "--json",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{int8}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def points(difference):
    low, high = difference["interval"]
    return f"{-difference['drop'] + 0:+.1f} ({-high + 0:+.1f} to {-low + 0:+.1f})"


def line(name, report):
    top, split = report["overall"]["top1"], report["split"]
    parts = [points(split[part]["top1"]) for part in ("weights", "activations")]
    p = f"{top['p_value']:.4f}" if top["p_value"] >= 1e-4 else "< 0.0001"
    return f"| {name} | {100 * top['first']:.1f} | {100 * top['second']:.1f} | {points(top)} | {parts[0]} | {parts[1]} | {p} |\n"


def words(name, report):
    advice = [f"{item['title']}. {item['because']}" for item in report["advice"] if item["severity"] != "note"]
    text = f"\n**{name}** (`{pathlib.Path(report['int8']['file']).name}`). {headline(report)}"
    return text + (f" First advice: {advice[0]}\n" if advice else "\n")


def headline(report):
    top = report["overall"]["top1"]
    low, high = top["interval"]
    if low > 0:
        return f"A loss of {top['drop']:.1f} points on {top['images']} images."
    if high < 0:
        return f"A gain of {-top['drop']:.1f} points on {top['images']} images."
    return f"No loss that {top['images']} images can show."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, default=PAGE.parent.parent.parent / "shared")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reports = [
            (name, compare(arguments.binary, arguments.data, int8, float_, pathlib.Path(folder)))
            for int8, float_, name in PAIRS
        ]
    page = HEAD + "".join(line(*pair) for pair in reports) + "".join(words(*pair) for pair in reports)
    if not arguments.check:
        PAGE.write_text(page)
    elif PAGE.read_text() != page:
        sys.exit(f"{PAGE} is not what was measured:\n{page}")
    print(page)


if __name__ == "__main__":
    main()
