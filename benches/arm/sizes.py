"""Sizes of the command without tract and how long its builds take, written into docs/arm.md.

    python3 benches/arm/sizes.py

Builds for each target in an empty folder, without a C compiler; then the example for microcontrollers. For this machine the small build's speed
is measured beside the release build's (built before), in turns on one core. Needs the linkers that docs/arm.md names, and real models
(MOBILEIGHT_TEST_DATA).
"""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import page

ROOT = pathlib.Path(__file__).parents[2]
TARGETS = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-gnueabihf",
    "wasm32-wasip1",
]
MODELS = ["tf2_mobilenet_v2_1.0_224_ptq.tflite", "mobilenet_v3_small_1.0_224.uint8.tflite"]
MICROCONTROLLER = "thumbv7em-none-eabihf"
ROUNDS = 7


def run(*command, **variables):
    """A command's standard output."""
    environment = dict(os.environ, **variables)
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def build(target, folder):
    """The command built without tract: its path, and the seconds of all processors together, which do not depend on what else runs."""
    before = os.times()
    run("cargo", "build", "--quiet", "--profile", "small", "--no-default-features", "-p", "mobileight-cli", "--target", target,
        CARGO_TARGET_DIR=folder, CC="/nonexistent", CXX="/nonexistent")
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    suffix = ".wasm" if target.startswith("wasm") else ""
    return folder / target / "small" / f"mobileight{suffix}", seconds


def milliseconds(binary, model):
    command = ["taskset", "-c", "0", binary, "bench", model, "--runs", "50", "--json"]
    return json.loads(run(*command))["median_ms"]


def speeds(release, small, models):
    """By how much longer the small build takes, for each model: the median of ratios of interleaved runs."""
    for model in models:
        pairs = [[milliseconds(binary, model) for binary in (release, small)] for _ in range(ROUNDS)]
        yield model.stem, statistics.median(own / other for other, own in pairs)


def code_bytes(folder, model):
    """Code and constants of the example for microcontrollers, without its model."""
    run("cargo", "build", "--quiet", "--release", "--manifest-path", "examples/microcontroller/Cargo.toml", "--target",
        MICROCONTROLLER, CARGO_TARGET_DIR=folder, MODEL=str(model))
    program = pathlib.Path(folder) / MICROCONTROLLER / "release/microcontroller"
    text = run("arm-linux-gnueabihf-size", program).splitlines()[1].split()[0]
    return int(text) - model.stat().st_size


def main():
    data = pathlib.Path(os.environ.get("MOBILEIGHT_TEST_DATA", ROOT / "../shared"))
    release = ROOT / "target/release/mobileight"
    lines = ["| target | bytes | CPU seconds to build |", "| --- | ---: | ---: |"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        small = {}
        for target in TARGETS:
            # Each build begins with nothing.
            small[target], seconds = build(target, folder / target)
            lines.append(f"| `{target}` | {small[target].stat().st_size:,} | {seconds:.0f} |")
            print(lines[-1], flush=True)
        compiled = []
        for model in [ROOT / "models/demo/int8.tflite", *(data / "models" / name for name in MODELS)]:
            compiled.append(folder / f"{model.stem}.mb8")
            run(release, "compile", model, "-o", compiled[-1])
        times = ", ".join(f"{name} {ratio:.2f}" for name, ratio in speeds(release, small[TARGETS[0]], compiled[1:]))
        example = code_bytes(folder / "example", compiled[0])
        isa = json.loads(run(release, "bench", compiled[0], "--runs", "1", "--json"))["isa"]
    version = run("rustc", "--version").split()[1]
    text = "\n".join(lines) + f"""

Rust {version}, from nothing. How many times as long inferences take as in a release build (x86-64 with {isa}, one
thread): {times}. The example for microcontrollers has {example:,} bytes of code and
constants beside the model's.
"""
    page.write("sizes", text)


if __name__ == "__main__":
    main()
