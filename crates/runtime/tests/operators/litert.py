#!/usr/bin/env python3
"""Asks LiteRT for the results of the exported random operators (needs: pip install ai-edge-litert numpy).

usage: litert.py FOLDER [NAME...]     FOLDER as written by the test `export`; NAME: conv_2d, add...
Prints, for each operator, numerics and element type, how many configurations agree with LiteRT's reference kernels
(`reference`) or its default interpreter (`xnnpack`), and the smallest that does not.
"""
import collections, json, pathlib, sys
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

TYPES = {
    "uint8": schema.TensorType.UINT8, "int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64, "float32": schema.TensorType.FLOAT32,
}
VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "HARD_SWISH": 1, "RESHAPE": 1, "SQUEEZE": 1,
    "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 3,
}
RESOLVERS = {"reference": OpResolverType.BUILTIN_REF, "xnnpack": OpResolverType.AUTO}


class Model:
    def __init__(self):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.inputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape, kind, values=None, scales=(), zero_points=(), axis=0):
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}"
        tensor.shape, tensor.type, tensor.buffer = list(shape), TYPES[kind], 0
        if len(scales):
            q = schema.QuantizationParametersT()
            q.scale, q.zeroPoint = list(scales), list(zero_points)
            q.quantizedDimension = axis
            tensor.quantization = q
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(values, dtype=kind).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def pack(self):
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def options_of(name, given):
    """The schema's options object and further constant operands: (values, shape, type)."""
    o, extra, kind = None, [], None
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        kind = "Conv2DOptions" if name == "CONV_2D" else "DepthwiseConv2DOptions"
        o = getattr(schema, kind + "T")()
        o.padding = 0 if given["same"] else 1
        o.strideH, o.strideW = given["stride"]
        o.dilationHFactor, o.dilationWFactor = given["dilation"]
        o.fusedActivationFunction = given["activation"]
        if name != "CONV_2D":
            o.depthMultiplier = given["depth_multiplier"]
    elif name == "FULLY_CONNECTED":
        kind, o = "FullyConnectedOptions", schema.FullyConnectedOptionsT()
        o.keepNumDims, o.fusedActivationFunction = given["keep"], given["activation"]
    elif name in ("ADD", "SUB", "MUL"):
        kind = name.capitalize() + "Options"
        o = getattr(schema, kind + "T")()
        o.fusedActivationFunction = given["activation"]
        if name != "MUL":
            o.potScaleInt16 = False
    elif name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        kind, o = "Pool2DOptions", schema.Pool2DOptionsT()
        o.padding = 0 if given["same"] else 1
        o.strideH, o.strideW = given["stride"]
        o.filterHeight, o.filterWidth = given["filter"]
        o.fusedActivationFunction = given["activation"]
    elif name == "MEAN":
        kind, o = "ReducerOptions", schema.ReducerOptionsT()
        o.keepDims = given["keep"]
        extra = [(given["axes"], [len(given["axes"])], "int32")]
    elif name in ("PAD", "PADV2"):
        kind = "PadOptions" if name == "PAD" else "PadV2Options"
        o = getattr(schema, kind + "T")()
        extra = [(given["paddings"], [len(given["paddings"]), 2], "int32")]
    elif name == "RESHAPE":
        kind, o = "ReshapeOptions", schema.ReshapeOptionsT()
        o.newShape = given["shape"]
        extra = [(given["shape"], [len(given["shape"])], "int32")]
    elif name == "SQUEEZE":
        kind, o = "SqueezeOptions", schema.SqueezeOptionsT()
        o.squeezeDims = given["axes"]
    elif name == "SOFTMAX":
        kind, o = "SoftmaxOptions", schema.SoftmaxOptionsT()
        o.beta = given["beta"]
    elif name == "LEAKY_RELU":
        kind, o = "LeakyReluOptions", schema.LeakyReluOptionsT()
        o.alpha = given["alpha"]
    elif name == "CONCATENATION":
        kind, o = "ConcatenationOptions", schema.ConcatenationOptionsT()
        o.axis, o.fusedActivationFunction = given["axis"], given["activation"]
    elif name in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        kind = "ResizeBilinearOptions" if name == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
        o = getattr(schema, kind + "T")()
        o.alignCorners, o.halfPixelCenters = given["align"], given["half"]
        extra = [(given["size"], [2], "int32")]
    elif name == "ARG_MAX":
        kind, o = "ArgMaxOptions", schema.ArgMaxOptionsT()
        extra = [(given["axis"], [], "int32")]
    return kind, o, extra


def run(case, numerics):
    m = Model()
    operands, feeds = [], []
    for t in case["inputs"]:
        values = np.array(t["values"], dtype=t["type"]).reshape(t["shape"])
        index = m.tensor(t["shape"], t["type"], values if t["constant"] else None,
                         t["scales"], t["zero_points"], t["axis"])
        operands.append(index)
        if not t["constant"]:
            m.graph.inputs.append(index)
            feeds.append((index, values))
    name = case["operator"]
    kind, o, extra = options_of(name, case["options"])
    for values, shape, dtype in extra:
        operands.append(m.tensor(shape, dtype, values))
    if name == "PADV2":
        q = case["inputs"][0]
        operands.append(m.tensor([1], q["type"], [case["options"]["value"]], q["scales"], q["zero_points"]))
    if name == "FULLY_CONNECTED" and len(operands) == 2:
        operands.append(-1)
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D") and len(operands) == 2:
        # LiteRT refuses the one and crashes on the other without a bias.
        weights, scale = case["inputs"][1], np.float32(case["inputs"][0]["scales"][0])
        scales = [float(scale * np.float32(s)) for s in weights["scales"]]
        count = case["output"]["shape"][3]
        operands.append(m.tensor([count], "int32", np.zeros(count), scales, [0] * len(scales)))
    out = case["output"]
    output = m.tensor(out["shape"], out["type"], None, out["scales"], out["zero_points"])
    if name == "ARG_MAX":
        o.outputType = TYPES[out["type"]]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = operands, [output]
    if o is not None:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = o
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = VERSIONS.get(name, 2)
    m.model.operatorCodes = [code]
    m.graph.operators, m.graph.outputs = [operator], [output]
    data = m.pack()
    it = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=RESOLVERS[numerics])
    it.allocate_tensors()
    for index, values in feeds:
        it.set_tensor(index, values)
    it.invoke()
    return it.get_tensor(output)


def main():
    folder, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
    for path in sorted(folder.glob("*.jsonl")):
        name, numerics, _ = path.name.split(".")
        if names and name not in names:
            continue
        tally, worst, errors = collections.Counter(), {}, {}
        for line in path.read_text().splitlines():
            case = json.loads(line)
            kind = case["inputs"][0]["type"] + ">" + case["output"]["type"]
            try:
                found = run(case, numerics).reshape(-1)
            except Exception as error:
                tally[kind, "refused"] += 1
                errors.setdefault(kind, (str(error)[:300], line[:300]))
                continue
            expected = np.array(case["expected"], dtype=case["output"]["type"])
            if found.shape == expected.shape and (found == expected).all():
                tally[kind, "equal"] += 1
            else:
                tally[kind, "DIFFERENT"] += 1
                if kind not in worst or found.size < worst[kind][0]:
                    same = found.shape == expected.shape
                    at = int(np.argmax(found != expected)) if same else -1
                    count = int((found != expected).sum()) if same else -1
                    brief = dict(case)
                    del brief["expected"]
                    text = json.dumps(brief)
                    worst[kind] = (found.size, f"seed {case['seed']}: {count} of {found.size}, at {at}: LiteRT "
                                   f"{found[at] if same else found.shape}, twin {expected[at]}\n    {text[:900]}")
        print(f"{name} {numerics}: " + ", ".join(f"{k} {w} {n}" for (k, w), n in sorted(tally.items())), flush=True)
        for kind, (_, text) in worst.items():
            print(f"  {kind} {text}")
        for kind, text in errors.items():
            print(f"  {kind} refused: {text[0]}\n    {text[1]}")


main()
