"""Counts the instructions that MobileNet V2's pointwise layers take on ARM, and writes them into docs/arm.md.

Each layer runs under QEMU, which logs the blocks of code that it executes within the kernels; the disassembly tells what is in a block. Of
layers with many pixels a part is counted and scaled. Needs QEMU's user mode, the cross compilers and their objdump.
"""

import collections
import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import page

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Pixels, input channels, output channels, layers of that shape.
LAYERS = [
    (12544, 32, 16, 1), (12544, 16, 96, 1), (3136, 96, 24, 1), (3136, 24, 144, 2), (3136, 144, 24, 1),
    (784, 144, 32, 1), (784, 32, 192, 3), (784, 192, 32, 2), (196, 192, 64, 1), (196, 64, 384, 4),
    (196, 384, 64, 3), (196, 384, 96, 1), (196, 96, 576, 3), (196, 576, 96, 2), (49, 576, 160, 1),
    (49, 160, 960, 3), (49, 960, 160, 2), (49, 960, 320, 1), (49, 320, 1280, 1),
]
PART = 48
LOADS = re.compile(r"v?ld[pru]|v?ld\d|ldm|pop")


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of programs, and how to run and to read them."""

    triple: str
    tools: str
    emulator: tuple
    # Where QEMU puts position-independent programs.
    base: int
    # Instructions after which another block begins.
    ends: re.Pattern
    # By instruction set: those that multiply, and how many 16 multiply-adds take at least.
    products: dict
    # The kernels' functions, or `None` for those that have such instructions.
    functions: re.Pattern | None


TARGETS = [
    Target(
        "aarch64-unknown-linux-gnu", "aarch64-linux-gnu-", ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu", "max"), 0x5500000000,
        re.compile(r"(b|b\..*|bl|blr|br|ret|cbn?z|tbn?z)\s"),
        # Two that multiply and one that adds; one; half of one.
        {
            "neon": ({"smull", "smull2", "smlal", "smlal2", "sadalp"}, 3),
            "dotprod": ({"sdot"}, 1),
            "i8mm": ({"sudot", "usdot", "usmmla"}, 0.5),
        },
        None,
    ),
    Target(
        "armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf-", ("qemu-arm", "-L", "/usr/arm-linux-gnueabihf"), 0x40000000,
        re.compile(r"(b|bl|bx|blx)(eq|ne|[chlmpv][ciostel]|ge|gt|le|lt)?\s|(pop|ldm).*\bpc\b|\w+\s+pc\b"),
        {"neon": ({"vmlal.s16"}, 4), "portable": ({"smlabb", "mla"}, 16)},
        re.compile("convolution.*(run_part|gather)|mobileight_neon"),
    ),
]
# Assumed, not measured: products, loads of 16 bytes and instructions a cycle; the clock in GHz.
CPUS = [
    ("Cortex-A53", "neon", (1, 0.5, 2), 1.4),
    ("Cortex-A72", "neon", (1.5, 1, 3), 1.5),
    ("Cortex-A76", "dotprod", (2, 2, 4), 2.4),
]


def build(target):
    command = ["cargo", "build", "--quiet", "--release", "--target", target.triple, "-p", "mobileight-kernels", "--example", "pointwise"]
    subprocess.run(command, cwd=ROOT, check=True)
    folder = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return folder / target.triple / "release/examples/pointwise"


def disassemble(target, program):
    """The kernels' functions as (first, last) addresses, and all instructions by address."""
    command = [f"{target.tools}objdump", "-d", "--no-show-raw-insn", program]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    instructions, functions, name, current = {}, [], "", []
    every = set().union(*(products for products, _ in target.products.values()))
    for line in text.splitlines() + ["0 <end>:"]:
        if match := re.match(r"[0-9a-f]+ <(.*)>:", line):
            chosen = target.functions.search(name) if target.functions else any(instructions[at].split()[0] in every for at in current)
            if current and chosen:
                functions.append((current[0], current[-1]))
            name, current = match[1], []
        elif match := re.match(r"\s+([0-9a-f]+):\s+(.*)", line):
            current.append(int(match[1], 16))
            instructions[current[-1]] = f"{match[2]} "
    return functions, instructions


def block(target, start, instructions):
    """A block's instructions: up to a branch, or the end of a page."""
    names, at = [], start
    while True:
        instruction = instructions[at]
        names.append(instruction.split()[0])
        at += 4
        if target.ends.match(instruction) or at % 4096 == 0:
            return collections.Counter(names)


def count(target, program, functions, instructions, name, layer):
    pixels, depth, channels, layers = layer
    part = pixels if pixels < 2 * PART else PART
    ranges = ",".join(f"{target.base + first:#x}..{target.base + last + 3:#x}" for first, last in functions)
    command = [*target.emulator, "-d", "exec,nochain", "-dfilter", ranges, program, name, part, depth, channels]
    log = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stderr
    starts = collections.Counter(re.findall(r"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/", log, re.MULTILINE))
    total = collections.Counter()
    for start, times in starts.items():
        for instruction, n in block(target, int(start, 16) - target.base, instructions).items():
            total[instruction] += n * times
    scale = layers * pixels / part
    loads = sum(n for instruction, n in total.items() if LOADS.match(instruction))
    names, per_16 = target.products[name]
    products = sum(total[instruction] for instruction in names)
    least = part * depth * channels / 16 * per_16
    return [scale * n for n in (least, products, loads, sum(total.values()))]


def layers(target):
    """The rows of a table, and the sums of each instruction set: products at least, products, loads, all instructions."""
    program = build(target)
    functions, instructions = disassemble(target, program)
    sums, rows = {}, []
    for layer in LAYERS:
        row = [f"{layer[0]} x {layer[1]} to {layer[2]}, {layer[3]} times"]
        for name in target.products:
            found = count(target, program, functions, instructions, name, layer)
            sums[name] = [a + b for a, b in zip(sums.get(name, [0] * 4), found)]
            row += [f"{found[1] / found[0]:.2f}", f"{found[3] / found[0]:.2f}"]
        rows.append(row)
    total = ["all"]
    for least, products, _, every in sums.values():
        total += [f"{products / least:.2f}", f"{every / least:.2f}"]
    return [*rows, total], sums


def main():
    (rows, sums), (rows_32, sums_32) = map(layers, TARGETS)
    names = list(TARGETS[0].products)
    lines = ["| pixels x channels | " + " | ".join(f"{name}: products | all" for name in names) + " | 32 bits, neon: products | all |"]
    lines += ["| --- |" + " ---: |" * 8]
    lines += ["| " + " | ".join([*row, *row_32[1:3]]) + " |" for row, row_32 in zip(rows, rows_32)]
    lines += ["", "| CPU | kernels | million products | loads | instructions | estimate, ms |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for cpu, name, rates, clock in CPUS:
        counts = sums[name][1:]
        cycles = max(n / rate for n, rate in zip(counts, rates))
        millions = " | ".join(f"{n / 1e6:.1f}" for n in counts)
        lines.append(f"| {cpu}, {clock} GHz | {name} | {millions} | {cycles / clock / 1e6:.1f} |")
    portable, neon = (sums_32[name][3] / 1e6 for name in ("portable", "neon"))
    lines += ["", f"In 32 bits the layers take {neon:.0f} million instructions with NEON, {portable:.0f} million without."]
    page.write("instructions", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
