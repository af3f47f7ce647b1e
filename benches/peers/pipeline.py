"""The usual Python pipeline: Pillow, numpy and LiteRT, in as many processes as given. Prints images a second."""

import json
import multiprocessing
import pathlib
import sys
import time

import numpy
from PIL import Image


def start(path):
    from ai_edge_litert.interpreter import Interpreter

    global interpreter, source, result
    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    [source], [result] = interpreter.get_input_details(), interpreter.get_output_details()


def classify(file):
    image = Image.open(file).convert("RGB")
    width, height = image.size
    crop = 0.875 * min(width, height)
    left, top = (width - crop) / 2, (height - crop) / 2
    _, rows, columns, _ = source["shape"]
    image = image.crop((left, top, left + crop, top + crop)).resize((columns, rows), Image.BILINEAR)
    scale, zero_point = source["quantization"]
    real = numpy.asarray(image, dtype=numpy.float32) / 127.5 - 1.0
    limits = numpy.iinfo(source["dtype"])
    codes = numpy.clip(numpy.round(real / scale + zero_point), limits.min, limits.max)
    interpreter.set_tensor(source["index"], codes.astype(source["dtype"])[None])
    interpreter.invoke()
    return int(interpreter.get_tensor(result["index"]).argmax())


def main():
    path, folder, processes = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    files = sorted(folder.glob("*.jp*g")) + sorted(folder.glob("*.JPEG"))
    with multiprocessing.Pool(processes, start, [path]) as pool:
        # Processes and interpreters are made before the clock starts.
        pool.map(classify, files[: 4 * processes], chunksize=1)
        begin = time.perf_counter()
        pool.map(classify, files, chunksize=8)
        print(json.dumps(len(files) / (time.perf_counter() - begin)))


if __name__ == "__main__":
    main()
