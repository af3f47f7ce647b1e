"""Counts the instructions that MobileNet V2's pointwise layers take on 64-bit ARM, and writes them into docs/arm.md.

Each layer runs under QEMU, which logs the blocks of code that it executes within the kernels; the disassembly tells what is in a block. Of
layers with many pixels a part is counted and scaled. Needs qemu-aarch64, the cross compiler and its objdump.
"""

import collections
import os
import pathlib
import re
import subprocess
import sys

import page

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = "aarch64-unknown-linux-gnu"
# Pixels, input channels, output channels, layers of that shape.
LAYERS = [
    (12544, 32, 16, 1), (12544, 16, 96, 1), (3136, 96, 24, 1), (3136, 24, 144, 2), (3136, 144, 24, 1),
    (784, 144, 32, 1), (784, 32, 192, 3), (784, 192, 32, 2), (196, 192, 64, 1), (196, 64, 384, 4),
    (196, 384, 64, 3), (196, 384, 96, 1), (196, 96, 576, 3), (196, 576, 96, 2), (49, 576, 160, 1),
    (49, 160, 960, 3), (49, 960, 160, 2), (49, 960, 320, 1), (49, 320, 1280, 1),
]
PART = 48
# Instructions that multiply, and how many 16 multiply-adds take: half of one, one, or two that multiply and one that adds.
PRODUCTS = {"neon": {"smull", "smull2", "smlal", "smlal2", "sadalp"}, "dotprod": {"sdot"}, "i8mm": {"sudot", "usdot", "usmmla"}}
PER_16 = {"neon": 3, "dotprod": 1, "i8mm": 0.5}
LOADS = re.compile(r"ld[pru]|ld\d")
# Where QEMU puts position-independent programs.
BASE = 0x5500000000
# Assumed, not measured: products, loads of 16 bytes and instructions a cycle; the clock in GHz.
CPUS = [
    ("Cortex-A53", "neon", (1, 0.5, 2), 1.4),
    ("Cortex-A72", "neon", (1.5, 1, 3), 1.5),
    ("Cortex-A76", "dotprod", (2, 2, 4), 2.4),
]


def build():
    environment = {**os.environ, "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": "aarch64-linux-gnu-gcc"}
    command = ["cargo", "build", "--quiet", "--release", "--target", TARGET, "-p", "mobileight-kernels", "--example", "pointwise"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / TARGET / "release/examples/pointwise"


def disassemble(program):
    """The kernels' functions as (first, last) addresses, and all instructions by address."""
    text = subprocess.run(["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", program], capture_output=True, text=True, check=True).stdout
    instructions, functions, current = {}, [], []
    every = set().union(*PRODUCTS.values())
    for line in text.splitlines() + ["0 <end>:"]:
        if re.match(r"[0-9a-f]+ <.*>:", line):
            if any(instructions[at] in every for at in current):
                functions.append((current[0], current[-1]))
            current = []
        elif match := re.match(r"\s+([0-9a-f]+):\s+(\S+)", line):
            current.append(int(match[1], 16))
            instructions[current[-1]] = match[2]
    return functions, instructions


def block(start, instructions):
    """A block's instructions: up to a branch, or the end of a page."""
    names, at = [], start
    while True:
        name = instructions[at]
        names.append(name)
        at += 4
        if re.fullmatch(r"b|b\..*|bl|blr|br|ret|cbn?z|tbn?z", name) or at % 4096 == 0:
            return collections.Counter(names)


def count(program, functions, instructions, name, layer):
    pixels, depth, channels, layers = layer
    part = pixels if pixels < 2 * PART else PART
    ranges = ",".join(f"{BASE + first:#x}..{BASE + last + 3:#x}" for first, last in functions)
    command = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu", "max", "-d", "exec,nochain", "-dfilter", ranges, program, name, part, depth, channels]
    log = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stderr
    starts = collections.Counter(re.findall(r"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/", log, re.MULTILINE))
    total = collections.Counter()
    for start, times in starts.items():
        for instruction, n in block(int(start, 16) - BASE, instructions).items():
            total[instruction] += n * times
    scale = layers * pixels / part
    loads = sum(n for instruction, n in total.items() if LOADS.match(instruction))
    products = sum(total[instruction] for instruction in PRODUCTS[name])
    least = part * depth * channels / 16 * PER_16[name]
    return [scale * n for n in (least, products, loads, sum(total.values()))]


def main():
    program = build()
    functions, instructions = disassemble(program)
    sums, rows = {}, []
    for layer in LAYERS:
        row = [f"{layer[0]} x {layer[1]} to {layer[2]}, {layer[3]} times"]
        for name in PRODUCTS:
            found = count(program, functions, instructions, name, layer)
            sums[name] = [a + b for a, b in zip(sums.get(name, [0] * 4), found)]
            row += [f"{found[1] / found[0]:.2f}", f"{found[3] / found[0]:.2f}"]
        rows.append(row)
    total = ["all"]
    for name in PRODUCTS:
        least, products, _, every = sums[name]
        total += [f"{products / least:.2f}", f"{every / least:.2f}"]
    lines = ["| pixels x channels | " + " | ".join(f"{name}: products | all" for name in PRODUCTS) + " |", "| --- |" + " ---: |" * 6]
    lines += ["| " + " | ".join(row) + " |" for row in [*rows, total]]
    lines += ["", "| CPU | kernels | million products | loads | instructions | estimate, ms |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for cpu, name, rates, clock in CPUS:
        counts = sums[name][1:]
        cycles = max(n / rate for n, rate in zip(counts, rates))
        millions = " | ".join(f"{n / 1e6:.1f}" for n in counts)
        lines.append(f"| {cpu}, {clock} GHz | {name} | {millions} | {cycles / clock / 1e6:.1f} |")
    page.write("instructions", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
