"""Records LiteRT's float tensors (default delegate off) for the FP32 reference: ../reference/NAME.json for each float model.

    record_reference.py [--data ../shared] [--check]

Of every operator's output 16 elements, evenly spread, and the largest magnitude; of the network's output every element.
With --check nothing is written, and a difference of more than 1e-6 of the largest magnitude exits with 1.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
from ai_edge_litert import interpreter as litert

HERE = pathlib.Path(__file__).parent.parent / "reference"


def noise(count):
    """Numbers between -1 and 1; the Rust test makes the same."""
    mixed = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(1 << 32)
    return ((mixed >> np.uint64(8)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)).astype(np.float32)


def places(count):
    return [int(at) for at in np.linspace(0, count - 1, min(count, 16)).astype(np.int64)]


def record(path):
    network = litert.Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
        num_threads=2,
    )
    network.allocate_tensors()
    source, target = network.get_input_details()[0], network.get_output_details()[0]
    network.set_tensor(source["index"], noise(np.prod(source["shape"])).reshape(source["shape"]))
    network.invoke()
    tensors = {}
    for operator in network._get_ops_details():
        index = int(operator["outputs"][0])
        values = network.get_tensor(index).reshape(-1)
        if operator["op_name"] in ("DELEGATE",) or values.dtype != np.float32 or not len(values):
            continue
        at = places(len(values))
        tensors[str(index)] = {
            "count": len(values),
            "largest": float(np.abs(values).max()),
            "places": at,
            "values": [float(values[place]) for place in at],
        }
    output = network.get_tensor(target["index"]).reshape(-1)
    return {"tensors": tensors, "output": [float(value) for value in output]}


def differs(old, new):
    if old["tensors"].keys() != new["tensors"].keys():
        return True
    pairs = [(old["output"], new["output"])] + [
        (old["tensors"][key]["values"], new["tensors"][key]["values"]) for key in old["tensors"]
    ]
    return any(np.abs(np.subtract(a, b)).max() > 1e-6 * max(1e-30, np.abs(a).max()) for a, b in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=HERE.parent.parent.parent / "shared")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    paths = sorted(HERE.glob("models/*.tflite"))
    paths += sorted(path for path in (arguments.data / "models").glob("*float*.tflite") if "int8" not in path.name)
    stale = []
    for path in paths:
        recorded, file = record(path), HERE / f"{path.stem}.json"
        if arguments.check:
            if differs(json.loads(file.read_text()), recorded):
                stale.append(path.name)
        else:
            file.write_text(json.dumps(recorded) + "\n")
        print(f"{path.name}: {len(recorded['tensors'])} tensors")
    if stale:
        sys.exit(f"differ from what is recorded: {', '.join(stale)}")


if __name__ == "__main__":
    main()
