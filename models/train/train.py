"""Trains the network that ships, converts it, and writes ../demo: three .tflite files, labels and test images.

    train.py [--images 16000] [--epochs 16]

An interrupted training goes on from the folder `unfinished`; remove it to train anew. Seeds are fixed; floating-point sums still depend on the number of threads, so another machine's weights differ in their last
digits. check.py measures what came out.
"""

import argparse
import csv
import os
import pathlib
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

import draw

DEMO = pathlib.Path(__file__).parent.parent / "demo"
# Training, validation and test images are drawn from different seeds.
TRAINING, VALIDATION, TEST = 1, 2, 3
TEST_IMAGES = 600
# How much larger one channel of each depthwise filter is made than all others.
LARGEST = 32
# What an interrupted training goes on from, and the trained network.
UNFINISHED = pathlib.Path(__file__).parent / "unfinished"


def several(seed, count):
    """Images drawn on all cores."""
    parts = np.array_split(np.arange(count), max(1, count // 500))
    with ProcessPoolExecutor() as pool:
        done = list(pool.map(draw.several, [seed] * len(parts), parts))
    return np.concatenate([pixels for pixels, _ in done]), np.concatenate([kinds for _, kinds in done])


def network():
    """MobileNetV2 (Sandler et al. 2018) of width 0.35 for 96 x 96, with a narrower last layer."""
    from keras import Model, layers, regularizers

    decay = regularizers.l2(2e-5)

    def normal(x, relu=True):
        x = layers.BatchNormalization(momentum=0.95, epsilon=1e-3)(x)
        return layers.ReLU(6.0)(x) if relu else x

    def pointwise(x, channels, relu=True):
        return normal(layers.Conv2D(channels, 1, use_bias=False, kernel_regularizer=decay)(x), relu)

    def block(x, channels, stride, expansion):
        wide = pointwise(x, x.shape[-1] * expansion) if expansion > 1 else x
        wide = normal(layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(wide))
        y = pointwise(wide, channels, relu=False)
        return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y

    image = layers.Input((draw.SIZE, draw.SIZE, 3), name="image")
    x = normal(layers.Conv2D(16, 3, 2, "same", use_bias=False, kernel_regularizer=decay)(image))
    x = block(x, 8, 1, 1)
    for channels, stride, count in ((8, 2, 2), (16, 2, 3), (24, 2, 4), (32, 1, 3), (56, 2, 3), (112, 1, 1)):
        for at in range(count):
            x = block(x, channels, stride if at == 0 else 1, 6)
    x = pointwise(x, 448)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.1, seed=5)(x)
    return Model(image, layers.Dense(len(draw.CLASSES), activation="softmax", name="class")(x))


def real(pixels):
    return pixels.astype(np.float32) / 127.5 - 1


def train(images, epochs):
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(7)
    pixels, kinds = several(TRAINING, images)
    seen, known = several(VALIDATION, 1000)
    model = network()
    steps = -(-images // 64)
    rate = keras.optimizers.schedules.CosineDecay(0.0, epochs * steps - 2 * steps, warmup_target=2e-3, warmup_steps=2 * steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    data = tf.data.Dataset.from_tensor_slices((pixels, kinds)).shuffle(images, seed=11).batch(64)
    data = data.map(lambda x, y: (tf.cast(x, tf.float32) / 127.5 - 1, y)).prefetch(2)
    backup = keras.callbacks.BackupAndRestore(UNFINISHED, delete_checkpoint=False)
    model.fit(data, epochs=epochs, verbose=2, validation_data=(real(seen), known), callbacks=[backup])
    return model, real(pixels[:300])


def unbalance(model, samples, factor=LARGEST):
    """Gives one channel of every depthwise filter weights that much larger than all others, and inputs as much smaller.

    In FP32 this is the same network. It is what long training with batch normalization makes of published MobileNets: channels that
    hardly vary are divided by their small deviation (Sheng et al. 2018, A Quantization-Friendly Separable Convolution for MobileNets).
    """
    from keras import Model, layers

    depthwise = [layer for layer in model.layers if isinstance(layer, layers.DepthwiseConv2D)]
    given = Model(model.input, [layer.input for layer in depthwise]).predict(samples, verbose=0)
    for layer, values in zip(depthwise, given):
        relu = layer.input._keras_history.operation
        before = relu.input._keras_history.operation
        after = next(other for other in model.layers if other.input is layer.output)
        peaks = values.max(axis=(0, 1, 2))
        # Where ReLU6 clips, smaller inputs would be clipped less. Of the others, the one with least to say.
        channel = np.argmin(np.where((peaks > 0) & (peaks < 5.5), peaks, np.inf))
        kernel = layer.get_weights()[0]
        gamma, beta, mean, variance = after.get_weights()
        folded = np.abs(kernel).max(axis=(0, 1, 3)) * np.abs(gamma) / np.sqrt(variance + after.epsilon)
        scale = factor * folded.max() / folded[channel]
        kernel[:, :, channel] *= scale
        layer.set_weights([kernel])
        gamma, beta, mean, variance = before.get_weights()
        gamma[channel] /= scale
        beta[channel] /= scale
        before.set_weights([gamma, beta, mean, variance])


def convert(model, samples):
    import keras
    import tensorflow as tf

    saved = UNFINISHED / "saved_model"
    shape = keras.InputSpec(shape=[1, draw.SIZE, draw.SIZE, 3], dtype="float32", name="image")
    model.export(saved, input_signature=[shape], verbose=False)

    def converter(per_channel=None):
        made = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        if per_channel is not None:
            made.optimizations = [tf.lite.Optimize.DEFAULT]
            made.representative_dataset = lambda: ([sample[None]] for sample in samples)
            made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            made.inference_input_type = made.inference_output_type = tf.int8
            made._experimental_disable_per_channel = not per_channel
        return made.convert()

    (DEMO / "float.tflite").write_bytes(converter())
    (DEMO / "int8.tflite").write_bytes(converter(True))
    (DEMO / "int8_per_tensor.tflite").write_bytes(converter(False))


def write_test_images():
    (DEMO / "images").mkdir(parents=True, exist_ok=True)
    pixels, kinds = several(TEST, TEST_IMAGES)
    (DEMO / "labels.txt").write_text("".join(f"{name}\n" for name in draw.CLASSES))
    with open(DEMO / "labels.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file", "label_index", "label"])
        for index, (image, kind) in enumerate(zip(pixels, kinds)):
            name = f"{index:04}.jpg"
            Image.fromarray(image).save(DEMO / "images" / name, quality=80)
            table.writerow([name, kind, draw.CLASSES[kind]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16000)
    parser.add_argument("--epochs", type=int, default=16)
    arguments = parser.parse_args()
    write_test_images()
    model, samples = train(arguments.images, arguments.epochs)
    unbalance(model, samples)
    convert(model, samples)


if __name__ == "__main__":
    main()
