"""MobilEight beside other runtimes on this machine, in turns: writes benches/RESULTS.md and the README's table; on a CPU without AVX-512
VNNI its own file, named after the instruction set, and its own table in docs/performance.md.

    python3 benches/peers/run.py --binary target/release/mobileight --data ../shared [--onnx FOLDER] [--tract BINARY]

Installs the peers into target/peers (versions: requirements.txt). Each round runs every runtime once, each pinned to the same cores; a
figure is the median over the rounds of the medians of their runs. A ratio is the best peer's time over MobilEight's.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODELS = [
    ("V1 1.0 224 int8", "random_mobilenetv1_1.0_224_int8"),
    ("V2 1.0 224 int8", "random_mobilenetv2_1.0_224_int8"),
    ("V3-large 1.0 224 int8", "random_mobilenetv3large_1.0_224_int8"),
    ("V2 1.0 224 uint8 QAT", "mobilenet_v2_1.0_224_quant"),
    ("V1 0.5 160 uint8", "mobilenet_v1_0.5_160_quant"),
    ("V1 0.25 128 uint8", "mobilenet_v1_0.25_128_quant"),
]
# Trained ones, whose answers can be compared.
PHOTO_MODELS = [
    ("V2 1.0 224 uint8 QAT", "mobilenet_v2_1.0_224_quant"),
    ("V1 0.75 224 int8", "keras_mobilenet_v1_0.75_224_int8"),
    ("EfficientNet-Lite0 224 int8", "efficientnet_lite0_224_int8"),
]
NAMES = {"litert": "LiteRT", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "tract": "tract"}
RUNS, WARM_UP = 20, 5
# A peer stays from round to round; `mobileight bench` is a new process each time, whose threads must find their cores first.
OWN_WARM_UP = 100


def install():
    """A Python with the peers in it."""
    folder = ROOT / "target" / "peers"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", HERE / "requirements.txt"], check=True)
    return python


class Peer:
    """A process that times runs when asked."""

    def __init__(self, command, cpus):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(["taskset", "-c", cpus, *command], text=True, **pipes)

    def median(self):
        try:
            self.process.stdin.write(f"{WARM_UP + RUNS}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self.process.stdout.readline()
        return 1e3 * statistics.median(json.loads(line)[WARM_UP:]) if line else None

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Bench:
    def __init__(self, arguments, python):
        self.arguments, self.python = arguments, python

    def own(self, path, *options, cpus="0", isa=None):
        """What `mobileight bench` says."""
        command = ["taskset", "-c", cpus, self.arguments.binary, "bench", path, "--json", *options]
        environment = {**os.environ, **({"MOBILEIGHT_ISA": isa} if isa else {})}
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return json.loads(run.stdout)

    def median(self, path, *options, cpus="0", isa=None):
        options = ("--runs", str(RUNS), "--warm-up", str(OWN_WARM_UP), *options)
        return self.own(path, *options, cpus=cpus, isa=isa)["median_ms"]

    def peers(self, name, path, threads, cpus):
        peer = lambda kind, file: [self.python, HERE / "peer.py", kind, file, str(threads)]
        commands = {kind: peer(kind, path) for kind in ("litert", "openvino")}
        onnx = self.arguments.onnx and self.arguments.onnx / f"{name}.onnx"
        if onnx and onnx.exists():
            commands["onnxruntime"] = peer("onnxruntime", onnx)
        if self.arguments.tract and threads == 1:
            commands["tract"] = [self.arguments.tract, path]
        return {kind: Peer(command, cpus) for kind, command in commands.items()}

    def compare(self, name, threads, own, rounds):
        """Medians of each: ours by the `own` functions, the peers' by name."""
        path = self.arguments.data / "models" / f"{name}.tflite"
        cpus = ",".join(map(str, range(threads)))
        peers = self.peers(name, path, threads, cpus)
        times = {}
        for _ in range(rounds):
            for kind, peer in list(peers.items()):
                time = peer.median()
                if time is None:
                    del peers[kind]
                    continue
                times.setdefault(kind, []).append(time)
                if kind == "tract" and time > 50:
                    # So slow that one round tells.
                    peer.end()
                    del peers[kind]
            for kind, function in own.items():
                times.setdefault(kind, []).append(function(path, cpus))
        for peer in peers.values():
            peer.end()
        return {kind: statistics.median(values) for kind, values in times.items()}


def table(titles, rows):
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def milliseconds(times, kind):
    return f"{times[kind]:.3f}" if kind in times else "-"


def ratio(times, kind):
    best = min(times[peer] for peer in NAMES if peer in times)
    return f"{best / times[kind]:.2f}"


def one_thread(bench, rounds):
    own = {
        "xnnpack": lambda path, cpus: bench.median(path, cpus=cpus),
        "reference": lambda path, cpus: bench.median(path, "--numerics", "reference", cpus=cpus),
    }
    rows = []
    for title, name in MODELS:
        times = bench.compare(name, 1, own, rounds)
        print(title, times, file=sys.stderr, flush=True)
        cells = [milliseconds(times, kind) for kind in ("xnnpack", "reference", *NAMES)]
        rows.append([title, *cells, ratio(times, "xnnpack"), ratio(times, "reference")])
    return rows


def two_threads(bench, rounds):
    own = {
        "one": lambda path, cpus: bench.median(path, cpus="0"),
        "two": lambda path, cpus: bench.median(path, "--threads", "2", cpus=cpus),
    }
    rate = lambda path, count: bench.own(path, "--runs", "100", "--at-once", count, cpus="0,1")["at_once"]["inferences_per_second"]
    rows = []
    for title, name in MODELS:
        path = bench.arguments.data / "models" / f"{name}.tflite"
        times = bench.compare(name, 2, own, rounds)
        rates = [(rate(path, "1"), rate(path, "2")) for _ in range(rounds)]
        batch = statistics.median(two / one for one, two in rates)
        print(title, times, batch, file=sys.stderr, flush=True)
        cells = [milliseconds(times, kind) for kind in ("one", "two", "litert", "openvino", "onnxruntime")]
        rows.append([title, *cells, f"{times['one'] / times['two']:.2f}", f"{batch:.2f}", ratio(times, "two")])
    titles = ["ms", "MobilEight, one thread", "two threads", "LiteRT, two", "OpenVINO, two", "ONNX Runtime, two", "gain by two", "gain of a batch by two", "ratio"]
    return table(titles, rows)


def instruction_sets(bench, rounds):
    sets = ["avx512vnni", "avxvnni", "avx2", "portable"]
    rows = []
    for title, name in MODELS[:4]:
        path = bench.arguments.data / "models" / f"{name}.tflite"
        cells = []
        for isa in sets:
            try:
                times, shares = [], []
                for _ in range(1 if isa == "portable" else rounds):
                    report = bench.own(path, "--runs", str(RUNS), "--profile", isa=isa)
                    times.append(report["median_ms"])
                    if peak := report["peak_multiply_adds_per_second"]:
                        shares.append(report["multiply_adds"] / report["median_ms"] * 1e3 / peak)
                share = f" ({100 * statistics.median(shares):.0f} %)" if shares else ""
                cells.append(f"{statistics.median(times):.3f}{share}")
            except subprocess.CalledProcessError:
                cells.append("-")
        rows.append([title, *cells])
    return table(["ms (share of the set's peak of multiply-adds)", *sets], rows)


def cold_start(bench, rounds):
    rows = []
    for title, name in MODELS[:4]:
        path = bench.arguments.data / "models" / f"{name}.tflite"
        code = (
            "import sys, time\n"
            "from ai_edge_litert.interpreter import Interpreter\n"
            "start = time.perf_counter()\n"
            "interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)\n"
            "interpreter.allocate_tensors()\n"
            "interpreter.invoke()\n"
            "print(1e3 * (time.perf_counter() - start))\n"
        )
        litert, own = [], []
        for _ in range(rounds):
            command = ["taskset", "-c", "0", bench.python, "-c", code, path]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            litert.append(float(run.stdout.split()[-1]))
            own.append(bench.own(path, "--runs", "1", "--warm-up", "0")["cold_start_ms"])
        rows.append([title, f"{statistics.median(own):.1f}", f"{statistics.median(litert):.1f}"])
    return table(["ms from the file to the first result", "MobilEight", "LiteRT"], rows)


def pipeline(bench, rounds):
    """From JPEG files to answers on two cores."""
    folder = bench.arguments.data / "images" / "imagenet"
    path = bench.arguments.data / "models" / "random_mobilenetv2_1.0_224_int8.tflite"
    count = sum(1 for file in folder.iterdir() if file.suffix.lower() in (".jpg", ".jpeg"))
    python, own = [], []
    for _ in range(rounds):
        command = ["taskset", "-c", "0,1", bench.python, HERE / "pipeline.py", path, folder, "2"]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        python.append(json.loads(run.stdout))
        start = datetime.datetime.now()
        command = ["taskset", "-c", "0,1", bench.arguments.binary, "classify", path, folder, "--json"]
        subprocess.run(command, check=True, capture_output=True)
        own.append(count / (datetime.datetime.now() - start).total_seconds())
    own, python = statistics.median(own), statistics.median(python)
    rows = [[f"{count} photos, V2 1.0 224 int8", f"{own:.0f}", f"{python:.0f}", f"{own / python:.2f}"]]
    return table(["images a second", "`mobileight classify`", "Pillow, NumPy, LiteRT, two processes", "ratio"], rows)


def agreement(bench):
    """Whether the runtimes that are compared compute the same, on photos."""
    folder = bench.arguments.data / "images" / "imagenet"
    kinds = {"MobilEight": bench.arguments.binary.resolve(), "OpenVINO": "openvino"}
    rows = []
    for title, name in PHOTO_MODELS:
        path = bench.arguments.data / "models" / f"{name}.tflite"
        cells = []
        for kind in kinds.values():
            command = [bench.python, HERE / "agreement.py", kind, path, folder, "100"]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            same = json.loads(run.stdout)
            cells += [f"{same[what]} of {same['photos']}" for what in ("same_class", "same_bytes")]
        rows.append([title, *cells])
    titles = [f"{kind}, same {what}" for kind in kinds for what in ("class", "bytes")]
    return table(["photos, beside LiteRT", *titles], rows)


def profiles(bench):
    """The families of operators against their roofs, as `bench --profile` says."""
    parts = []
    for title, name in MODELS[:4]:
        path = bench.arguments.data / "models" / f"{name}.tflite"
        command = ["taskset", "-c", "0", bench.arguments.binary, "bench", path, "--profile", "--runs", "200"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        families = text.split("\n\n", 2)[2]
        parts.append(f"{title}:\n\n```text\n{families}```\n")
    return "\n".join(parts)


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    field = lambda name: next((line.split(":")[1].strip() for line in lines if line.startswith(name)), "?")
    family = f"family {field('cpu family')}, model {field('model')}"
    return f"{field('model name')} ({family}), {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def versions(bench):
    freeze = subprocess.run([bench.python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True)
    wanted = ("ai-edge-litert", "openvino=", "onnxruntime", "numpy", "pillow")
    found = [line for line in freeze.stdout.splitlines() if line.lower().startswith(wanted)]
    own = subprocess.run([bench.arguments.binary, "--version"], check=True, capture_output=True, text=True)
    return ", ".join([own.stdout.strip(), *found, *(["tract-tflite==0.23.9"] if bench.arguments.tract else [])])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/mobileight")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared")
    parser.add_argument("--onnx", type=pathlib.Path, help="models converted by tf2onnx, see README.md")
    parser.add_argument("--tract", type=pathlib.Path, help="the program of benches/peers/tract")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    bench = Bench(arguments, install())
    rows = one_thread(bench, arguments.rounds)
    titles = ["ms, one thread", "MobilEight", "reference numerics", *NAMES.values(), "ratio", "ratio, reference"]
    some = max(3, arguments.rounds // 3)
    text = "\n".join([
        "# Measured beside other runtimes",
        "",
        "Written by `benches/peers/run.py`; what is compared and how: [peers/README.md](peers/README.md).",
        "",
        f"- Date: {datetime.date.today()}",
        f"- Machine: {machine()}",
        f"- Versions: {versions(bench)}",
        f"- Medians of {arguments.rounds} rounds in turns; a ratio is the best peer's time over MobilEight's.",
        "",
        "## One thread",
        "",
        table(titles, rows),
        "## Two threads",
        "",
        two_threads(bench, arguments.rounds),
        "## Instruction sets",
        "",
        instruction_sets(bench, some),
        "## The same answers?",
        "",
        "The same tensors, made of photos, for each. Without VNNI, OpenVINO's sums of two 8-bit products saturate at 16 bits.",
        "",
        agreement(bench),
        "## Where the time goes",
        "",
        "By `mobileight bench --profile`, one thread; [docs/performance.md](../docs/performance.md) says why no family is nearer to its roof.",
        "",
        profiles(bench),
        "## Cold start",
        "",
        "One thread, the file in the page cache; LiteRT's library is loaded before its clock starts.",
        "",
        cold_start(bench, arguments.rounds),
        "## From files to answers",
        "",
        "Two cores, decoding included; the Python processes and their interpreters are started before the clock, MobilEight is not.",
        "",
        pipeline(bench, some),
    ])
    isa = bench.own(bench.arguments.data / "models" / f"{MODELS[-1][1]}.tflite", "--runs", "1")["isa"]
    suffix = "" if isa == "avx512vnni" else f"-{isa}"
    (ROOT / f"benches/RESULTS{suffix}.md").write_text(text)
    write_table(rows, suffix)


def write_table(rows, suffix):
    """The most telling columns of the first table, where the README, or docs/performance.md, has a place for them."""
    short = [[row[0], row[1], row[3], row[4], row[-2], row[-1]] for row in rows]
    titles = ["model", "MobilEight", "LiteRT", "OpenVINO", "ratio", "ratio with `--numerics reference`"]
    page = ROOT / ("docs/performance.md" if suffix else "README.md")
    begin, end = f"<!-- speed{suffix}:begin -->\n", f"<!-- speed{suffix}:end -->"
    text = page.read_text()
    if begin not in text:
        return
    before, rest = text.split(begin)
    date = f"Measured {datetime.date.today()} on {machine()}.\n\n"
    page.write_text(before + begin + date + table(titles, short) + end + rest.split(end)[1])


if __name__ == "__main__":
    main()
