"""Writes the seed corpora of the fuzz targets, a folder for each: small models and images of the repository, and drawn images.

python fuzz/seeds.py --binary target/release/mobileight
"""

import argparse
import io
import pathlib
import subprocess

import numpy
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent


def write(corpus, target, name, content):
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def models(corpus, binary):
    files = sorted((ROOT / "tests" / "operators").glob("*.tflite"))
    for file in [*files, ROOT / "models" / "demo" / "int8_per_tensor.tflite"]:
        write(corpus, "tflite", file.name, file.read_bytes())
        output = corpus / "compiled" / f"{file.stem}.mb8"
        output.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([binary, "compile", file, "-o", output], check=True, capture_output=True)


def drawn(width, height, mode):
    random = numpy.random.default_rng(width * height)
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = random.integers(0, 256, (height, width, channels), numpy.uint8)
    return Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels, mode)


def images(corpus):
    formats = {"png": ["L", "RGB", "RGBA", "LA"], "jpeg": ["L", "RGB", "CMYK"], "bmp": ["RGB"], "gif": ["L"], "webp": ["RGB", "RGBA"]}
    for extension, modes in formats.items():
        for mode in modes:
            for size in [(1, 1), (17, 9), (64, 48), (1, 300), (300, 1)]:
                for options in [{}, {"progressive": True}] if extension == "jpeg" else [{}]:
                    if extension == "webp":
                        options = {"lossless": size[0] % 2 == 1}
                    buffer = io.BytesIO()
                    drawn(*size, mode).save(buffer, extension, **options)
                    name = f"{mode}-{size[0]}x{size[1]}{'-p' if options.get('progressive') else ''}.{extension}"
                    write(corpus, "image", name, bytes([len(name), size[0] % 256, 31]) + buffer.getvalue())
    frames = [drawn(20, 10, "L") for _ in range(3)]
    for extension in ["gif", "webp", "png"]:
        buffer = io.BytesIO()
        frames[0].save(buffer, extension, save_all=True, append_images=frames[1:])
        write(corpus, "image", f"animated.{extension}", bytes([4, 20, 10]) + buffer.getvalue())
    for photo in sorted((ROOT / "models" / "demo" / "images").glob("*.jpg"))[:3]:
        write(corpus, "image", photo.name, bytes([0, 31, 31]) + photo.read_bytes())


def texts(corpus):
    write(corpus, "labels", "names", (ROOT / "models" / "demo" / "labels.txt").read_bytes())
    write(corpus, "labels", "bom", "\ufeffcat\r\n\r\nhøne \n".encode())
    write(corpus, "labels", "table", b"file,label_index\na.png,3\nb.jpg,9\n")
    write(corpus, "labels", "other", b'index10, file ,x\n1,"a.png",\n1,a.png\n2,"c ""d""",\n')


def arrays(corpus):
    for kind in ["u1", "i1", "<i4", "<i8", "<f4", ">i4", "<f8"]:
        for shape in [(), (3,), (2, 3, 4)]:
            for order in "CF":
                buffer = io.BytesIO()
                numpy.save(buffer, numpy.asarray(numpy.ones(shape, kind), order=order))
                write(corpus, "npy", f"{kind.strip('<>')}-{kind[0]}-{len(shape)}{order}", buffer.getvalue())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "mobileight")
    parser.add_argument("--corpus", default=ROOT / "fuzz" / "corpus", type=pathlib.Path, help="folder to write to")
    arguments = parser.parse_args()
    models(arguments.corpus, arguments.binary)
    images(arguments.corpus)
    texts(arguments.corpus)
    arrays(arguments.corpus)
