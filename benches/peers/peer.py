"""One peer in a process of its own: loads a model, then times runs on request.

Reads lines `RUNS` from stdin and answers each with a JSON list of seconds. The time of a run is that of its inference call alone;
MobilEight's has the copies of input and output in it besides.
"""

import json
import os
import sys
import time

import numpy


def litert(path, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    [detail] = interpreter.get_input_details()
    interpreter.set_tensor(detail["index"], codes(detail["shape"], detail["dtype"]))
    return interpreter.invoke


def openvino(path, threads):
    import openvino as ov

    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    request = ov.Core().compile_model(path, "CPU", options).create_infer_request()
    tensor = request.get_input_tensor()
    tensor.data[:] = codes(tensor.data.shape, tensor.data.dtype)

    def run():
        request.start_async()
        request.wait()

    return run


def onnxruntime(path, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    [detail] = session.get_inputs()
    binding = session.io_binding()
    dtype = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}[detail.type]
    binding.bind_cpu_input(detail.name, codes(detail.shape, dtype))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return lambda: session.run_with_iobinding(binding)


def codes(shape, dtype):
    """Any input takes as long as any other."""
    random = numpy.random.default_rng(1)
    if numpy.issubdtype(dtype, numpy.floating):
        return random.uniform(-1, 1, shape).astype(dtype)
    limits = numpy.iinfo(dtype)
    return random.integers(limits.min, limits.max + 1, shape).astype(dtype)


def main():
    name, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # What libraries print is not an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = {"litert": litert, "openvino": openvino, "onnxruntime": onnxruntime}[name](path, threads)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), file=answers, flush=True)


main()
