"""Writes the small float models in ../reference/models: float32, float16 and dynamic-range weights of one network.

    make_reference.py

Needs TensorFlow (2.21 wrote those in the repository). Random weights from a fixed seed: they test arithmetic, not accuracy.
"""

import pathlib

import numpy as np
import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent.parent / "reference" / "models"


def network():
    draw = np.random.default_rng(20).normal

    def weights(*shape, size=None):
        return tf.constant(draw(0, 1 / np.sqrt(size or np.prod(shape[:-1])), shape), tf.float32)

    first, bias = weights(3, 3, 3, 8), tf.constant(draw(0, 0.1, 8), tf.float32)
    spatial, wide = weights(3, 3, 8, 1, size=9), weights(1, 1, 8, 16)
    double, gate = weights(3, 3, 16, 2, size=9), weights(1, 1, 32, 8)
    last = weights(40, 32, size=40)
    dilated = weights(3, 3, 8, 8)

    @tf.function(input_signature=[tf.TensorSpec([1, 19, 21, 3], tf.float32)])
    def run(x):
        x = tf.nn.relu6(tf.nn.conv2d(x, first, 2, "SAME") + bias)
        y = tf.nn.depthwise_conv2d(x, spatial, [1, 1, 1, 1], "SAME")
        y = y * tf.nn.relu6(y + 3) * (1 / 6)
        x = tf.nn.relu(x + y)
        x = tf.pad(x, [[0, 0], [1, 0], [2, 1], [0, 0]])
        y = tf.nn.conv2d(x, dilated, 1, "SAME", dilations=2)
        x = tf.concat([x, y], 3)
        z = tf.nn.depthwise_conv2d(x, double, [1, 2, 2, 1], "VALID")
        z = tf.compat.v1.image.resize_bilinear(z, [7, 9], align_corners=True)
        z = tf.image.resize(z, [11, 5], method="bilinear")
        z = tf.compat.v1.image.resize_bilinear(z, [6, 6])
        z = tf.nn.avg_pool2d(z, 3, 2, "SAME") - 0.5 * tf.nn.max_pool2d(z, 3, 2, "SAME")
        z = tf.compat.v1.image.resize_nearest_neighbor(z, [5, 4])
        share = tf.nn.sigmoid(tf.nn.conv2d(tf.reduce_mean(z, [1, 2], keepdims=True), gate, 1, "SAME"))
        pooled = tf.reduce_mean(z, [1, 2])
        joined = tf.concat([pooled, tf.squeeze(share, [1, 2])], 1)
        scores = tf.matmul(joined, last) * 3
        return tf.nn.softmax(scores)

    return run.get_concrete_function()


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    function = network()
    for name in ("float32", "float16", "dynamic_range"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
        if name != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if name == "float16":
            converter.target_spec.supported_types = [tf.float16]
        (FOLDER / f"small_{name}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main()
