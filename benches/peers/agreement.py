"""Do runtimes compute the same? Photos through LiteRT and another runtime on this machine, the same tensors for both.

    python agreement.py openvino MODEL.tflite FOLDER COUNT
    python agreement.py BINARY-OF-MOBILEIGHT MODEL.tflite FOLDER COUNT

Prints JSON: photos, those with the same first class, and those with the same output to the byte.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
from PIL import Image


def photos(folder, count, shape, dtype):
    _, height, width, _ = shape
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in (".jpg", ".jpeg")]
    for file in files[:count]:
        image = Image.open(file).convert("RGB").resize((width, height), Image.BILINEAR)
        values = numpy.asarray(image, dtype=numpy.int16) - (128 if dtype == numpy.int8 else 0)
        yield values.astype(dtype)[None]


def litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    [source], [result] = interpreter.get_input_details(), interpreter.get_output_details()

    def run(values):
        interpreter.set_tensor(source["index"], values)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"]).copy()

    return source["shape"], source["dtype"], run


def openvino(path):
    import openvino as ov

    request = ov.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": 1}).create_infer_request()

    def run(values):
        request.get_input_tensor().data[:] = values
        request.infer()
        return request.get_output_tensor().data.copy()

    return run


def mobileight(binary, path, folder):
    def run(values):
        source, result = folder / "in.npy", folder / "out.npy"
        numpy.save(source, values)
        subprocess.run([binary, "run", path, "--input", source, "--output", result], check=True, capture_output=True)
        return numpy.load(result)

    return run


def main():
    kind, path, folder, count = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4])
    # What libraries print is not an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    shape, dtype, expected = litert(path)
    with tempfile.TemporaryDirectory() as temporary:
        run = openvino(path) if kind == "openvino" else mobileight(kind, path, pathlib.Path(temporary))
        same_class, same_bytes, total = 0, 0, 0
        for values in photos(folder, count, shape, dtype):
            a, b = expected(values).ravel(), run(values).ravel()
            same_class += int(a.argmax() == b.argmax())
            same_bytes += int(numpy.array_equal(a, b))
            total += 1
    print(json.dumps({"photos": total, "same_class": same_class, "same_bytes": same_bytes}), file=answers)


main()
