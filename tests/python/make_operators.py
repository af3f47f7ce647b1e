"""Makes ../operators/*.tflite: one small model for each operator and element type (needs tensorflow 2.21).

    make_operators.py [NAME...]

TensorFlow's converter makes the int8 files. It makes no uint8 operators any more (uint8 only at the borders of a graph), so their
uint8 twins are made here from the int8 files: types of tensors changed, 128 added to zero points and to the values of weights. SQUEEZE is
made from RESHAPE in the same manner.
uint8 kernels take one scale for a whole tensor, so convolutions for twins are converted per tensor. A twin that LiteRT refuses is
not written, and said so.
"""

import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import flatbuffers
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

OUT = pathlib.Path(__file__).resolve().parent.parent / "operators"
SEED = 7


def random(*shape, low=-1.0, high=1.0, seed=SEED):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def one(shape, function, **more):
    return dict(shapes=[shape], function=function, **more)


def conv(x, filters, size, stride=1, dilation=1, padding="SAME", activation=tf.identity):
    kernel, bias = random(*size, x.shape[-1], filters), random(filters, seed=SEED + 1)
    return activation(tf.nn.bias_add(tf.nn.conv2d(x, kernel, stride, padding, dilations=dilation), bias))


def depthwise(x, multiplier, size, stride=1, dilation=1, padding="SAME", activation=tf.identity):
    kernel, bias = random(*size, x.shape[-1], multiplier), random(x.shape[-1] * multiplier, seed=SEED + 1)
    strides = [1, stride, stride, 1]
    y = tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=[dilation, dilation])
    return activation(tf.nn.bias_add(y, bias))


def dense(x, outputs):
    return tf.nn.bias_add(tf.matmul(x, random(x.shape[-1], outputs)), random(outputs, seed=SEED + 1))


def bilinear(x, align, half):
    return tf.raw_ops.ResizeBilinear(images=x, size=[9, 4], align_corners=align, half_pixel_centers=half)


def nearest(x, align, half):
    return tf.raw_ops.ResizeNearestNeighbor(images=x, size=[9, 4], align_corners=align, half_pixel_centers=half)


IMAGE = [1, 7, 5, 6]
RELU, RELU6 = tf.nn.relu, tf.nn.relu6
# Files by name; `weights` marks what has weights, which are quantized per channel unless asked otherwise.
CASES = {
    "conv_2d": one(IMAGE, lambda x: conv(x, 9, (3, 3)), weights=True),
    "conv_2d_pointwise": one([1, 5, 5, 24], lambda x: conv(x, 17, (1, 1), activation=RELU6), weights=True),
    "conv_2d_stride_2_relu6": one([1, 9, 8, 3], lambda x: conv(x, 8, (3, 3), 2, activation=RELU6), weights=True),
    "conv_2d_dilation_2": one([1, 9, 8, 3], lambda x: conv(x, 5, (3, 3), dilation=2), weights=True),
    "conv_2d_valid_5x3": one([1, 9, 8, 3], lambda x: conv(x, 5, (5, 3), padding="VALID", activation=RELU), weights=True),
    "depthwise_conv_2d": one([1, 7, 5, 19], lambda x: depthwise(x, 1, (3, 3), activation=RELU6), weights=True),
    "depthwise_conv_2d_multiplier_2": one(IMAGE, lambda x: depthwise(x, 2, (3, 3), 2), weights=True),
    "depthwise_conv_2d_dilation_2": one(IMAGE, lambda x: depthwise(x, 1, (3, 3), 1, 2), weights=True),
    "depthwise_conv_2d_5x5_valid": one(IMAGE, lambda x: depthwise(x, 1, (5, 5), 1, 1, "VALID"), weights=True),
    "fully_connected": one([1, 33], lambda x: dense(x, 10), weights=True),
    "fully_connected_batch_3_relu": one([3, 20], lambda x: RELU(dense(x, 7)), weights=True),
    "add": dict(shapes=[IMAGE, IMAGE], function=lambda a, b: a + b * 1.0),
    "add_relu6": dict(shapes=[IMAGE, IMAGE], function=lambda a, b: RELU6(a + b)),
    "add_broadcast": dict(shapes=[IMAGE, [1, 1, 1, 6]], function=lambda a, b: a + b),
    "add_constant": one(IMAGE, lambda x: x + random(1, 1, 1, 6)),
    "sub": dict(shapes=[IMAGE, IMAGE], function=lambda a, b: a - b),
    "sub_broadcast": dict(shapes=[[1, 1, 1, 6], IMAGE], function=lambda a, b: a - b),
    "mul": dict(shapes=[IMAGE, IMAGE], function=lambda a, b: a * b),
    "mul_broadcast": dict(shapes=[IMAGE, [1, 1, 1, 6]], function=lambda a, b: a * b),
    "average_pool_2d": one(IMAGE, lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME")),
    "average_pool_2d_whole": one(IMAGE, lambda x: tf.nn.avg_pool2d(x, (7, 5), 1, "VALID")),
    "max_pool_2d": one(IMAGE, lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME")),
    "max_pool_2d_valid": one(IMAGE, lambda x: tf.nn.max_pool2d(x, (2, 3), 1, "VALID")),
    "mean": one(IMAGE, lambda x: tf.reduce_mean(x, [1, 2])),
    "mean_keep": one(IMAGE, lambda x: tf.reduce_mean(x, [1, 2], keepdims=True)),
    "pad": one(IMAGE, lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 3], [0, 0]])),
    "pad_v2": one(IMAGE, lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 3], [0, 0]], constant_values=0.5)),
    "reshape": one(IMAGE, lambda x: tf.reshape(x, [1, 35, 6])),
    "squeeze": one([1, 1, 1, 21], lambda x: tf.squeeze(x, [1, 2])),
    "softmax": one([1, 21], lambda x: tf.nn.softmax(x), low=-6.0, high=6.0),
    "softmax_rows": one([1, 3, 4, 5], lambda x: tf.nn.softmax(x), low=-3.0, high=3.0),
    "logistic": one(IMAGE, tf.sigmoid, low=-6.0, high=6.0),
    "hard_swish": one(IMAGE, lambda x: x * RELU6(x + 3.0) * (1.0 / 6.0), low=-5.0, high=5.0),
    "relu": one(IMAGE, lambda x: RELU(x)),
    "relu6": one(IMAGE, RELU6, low=-4.0, high=9.0),
    "leaky_relu": one(IMAGE, lambda x: tf.nn.leaky_relu(x, 0.1), low=-4.0, high=2.0),
    "concatenation": dict(shapes=[IMAGE, [1, 7, 5, 3]], function=lambda a, b: tf.concat([a, b], 3)),
    "concatenation_rows": dict(shapes=[IMAGE, IMAGE], function=lambda a, b: tf.concat([a, b], 1)),
    "resize_bilinear": one(IMAGE, lambda x: bilinear(x, False, False)),
    "resize_bilinear_half_pixel": one(IMAGE, lambda x: bilinear(x, False, True)),
    "resize_bilinear_align_corners": one(IMAGE, lambda x: bilinear(x, True, False)),
    "resize_nearest_neighbor": one(IMAGE, lambda x: nearest(x, False, False)),
    "resize_nearest_neighbor_half_pixel": one(IMAGE, lambda x: nearest(x, False, True)),
    "resize_nearest_neighbor_align_corners": one(IMAGE, lambda x: nearest(x, True, False)),
    "arg_max": one([1, 4, 5, 6], lambda x: tf.argmax(x, -1, output_type=tf.int32)),
    "arg_max_int64": one([1, 4, 5, 6], lambda x: tf.argmax(x, -1, output_type=tf.int64)),
}
# The borders are what these are about: float or uint8 outside, int8 inside.
BORDERS = {"quantize_dequantize_float32": tf.float32, "quantize_uint8_int8": tf.uint8}


def convert(case, border=tf.int8, per_channel=True):
    low, high = case.get("low", -1.0), case.get("high", 1.0)
    specs = [tf.TensorSpec(shape, tf.float32) for shape in case["shapes"]]
    function = tf.function(case["function"], input_signature=specs).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])

    def samples():
        for seed in range(20):
            # Each input with a range of its own, so that their scales differ.
            yield [
                random(*shape, low=low * (1 + 0.6 * at), high=high * (1 + 0.5 * at), seed=seed * 10 + at)
                for at, shape in enumerate(case["shapes"])
            ]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = border
    if function.outputs[0].dtype == tf.float32:
        converter.inference_output_type = border
    converter._experimental_disable_per_channel = not per_channel
    return bytes(converter.convert())


def unsigned(content):
    """The uint8 twin of an int8 file."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for graph in model.subgraphs:
        changed = set()
        for tensor in graph.tensors:
            if tensor.type != schema.TensorType.INT8:
                continue
            if tensor.quantization is not None and tensor.quantization.scale is not None:
                tensor.quantization.zeroPoint = [int(z) + 128 for z in tensor.quantization.zeroPoint]
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data) and tensor.buffer not in changed:
                changed.add(tensor.buffer)
                model.buffers[tensor.buffer].data = np.frombuffer(bytes(data), np.uint8) ^ np.uint8(0x80)
            tensor.type = schema.TensorType.UINT8
    return packed(model)


def squeezed(content):
    """A RESHAPE that removes dimensions 1 and 2 made the SQUEEZE that it was: the converter writes none for known shapes."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (operator,) = model.subgraphs[0].operators
    operator.inputs = operator.inputs[:1]
    operator.builtinOptionsType = schema.BuiltinOptions.SqueezeOptions
    operator.builtinOptions = schema.SqueezeOptionsT()
    operator.builtinOptions.squeezeDims = [1, 2]
    code = schema.BuiltinOperator.SQUEEZE
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = code
    return packed(model)


def packed(model):
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def runs(content):
    """Whether LiteRT runs the file, in both sets of kernels; else what it says."""
    resolvers = tf.lite.experimental.OpResolverType
    for resolver in (resolvers.BUILTIN_REF, resolvers.AUTO):
        try:
            interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=resolver)
            interpreter.allocate_tensors()
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            return str(error).strip().splitlines()[0]
    return None


def operators(content):
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return " ".join(names[codes[operator.opcodeIndex]] for operator in model.subgraphs[0].operators)


def write(name, content):
    refused = runs(content)
    if refused:
        print(f"{name}: not written, LiteRT says: {refused}", flush=True)
        return
    (OUT / f"{name}.tflite").write_bytes(content)
    print(f"{name}: {len(content)} bytes, {operators(content)}", flush=True)


def main():
    OUT.mkdir(exist_ok=True)
    wanted = lambda name: not sys.argv[1:] or name in sys.argv[1:]
    for name, case in CASES.items():
        if wanted(name):
            signed = convert(case)
            if name == "squeeze":
                signed = squeezed(signed)
            write(f"{name}_int8", signed)
            write(f"{name}_uint8", unsigned(convert(case, per_channel=False) if "weights" in case else signed))
            if case.get("weights"):
                write(f"{name}_int8_pertensor", convert(case, per_channel=False))
    for name, border in BORDERS.items():
        if wanted(name):
            write(name, convert(CASES["average_pool_2d"], border))


if __name__ == "__main__":
    main()
