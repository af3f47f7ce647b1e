"""Draws road signs and pictograms: 16 classes under perspective, light, blur, clutter and noise.

An image depends on (seed, index) only, so any part of a set can be drawn again, in any order.
"""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = 96
CLASSES = (
    "stop", "yield", "no entry", "priority road", "speed limit 30", "speed limit 50", "speed limit 80", "end of speed limit",
    "turn left", "turn right", "ahead only", "roundabout", "parking", "no parking", "danger", "pedestrians",
)
RED, BLUE, YELLOW, WHITE, BLACK, GREY = (200, 25, 35), (20, 80, 170), (250, 205, 40), (245, 245, 245), (20, 20, 20), (120, 120, 120)
# Signs are drawn on a square of this size before the perspective.
PLATE = 192


def polygon(corners, turn, radius=92, center=96):
    angles = [turn + 2 * math.pi * corner / corners for corner in range(corners)]
    return [(center + radius * math.cos(a), center + radius * math.sin(a)) for a in angles]


def disc(draw, color, radius=92):
    draw.ellipse([96 - radius, 96 - radius, 96 + radius, 96 + radius], fill=color)


def words(draw, text, size, color):
    draw.text((96, 96), text, font=ImageFont.load_default(size), fill=color, anchor="mm", stroke_width=max(1, size // 22), stroke_fill=color)


def arrow(draw, angle, color):
    """A straight arrow through the middle, pointing at an angle (0 is right)."""
    c, s = math.cos(angle), math.sin(angle)

    def at(x, y):
        return (96 + c * x - s * y, 96 + s * x + c * y)

    draw.polygon([at(-58, -11), at(14, -11), at(14, -36), at(62, 0), at(14, 36), at(14, 11), at(-58, 11)], fill=color)


def plate(kind):
    """A sign seen from the front, with alpha."""
    image = Image.new("RGBA", (PLATE, PLATE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    name = CLASSES[kind]
    if name == "stop":
        draw.polygon(polygon(8, math.pi / 8, 94), fill=WHITE)
        draw.polygon(polygon(8, math.pi / 8, 87), fill=RED)
        words(draw, "STOP", 58, WHITE)
    elif name == "yield":
        draw.polygon(polygon(3, math.pi / 2, 94), fill=RED)
        draw.polygon(polygon(3, math.pi / 2, 54), fill=WHITE)
    elif name == "no entry":
        disc(draw, RED)
        draw.rectangle([34, 80, 158, 112], fill=WHITE)
    elif name == "priority road":
        draw.polygon(polygon(4, 0, 94), fill=WHITE)
        draw.polygon(polygon(4, 0, 68), fill=YELLOW)
    elif name.startswith("speed limit"):
        disc(draw, RED)
        disc(draw, WHITE, 70)
        words(draw, name[-2:], 84, BLACK)
    elif name == "end of speed limit":
        disc(draw, GREY)
        disc(draw, WHITE, 86)
        for shift in (-22, 0, 22):
            draw.line([40 + shift, 152, 152 + shift, 40], fill=BLACK, width=8)
    elif name in ("turn left", "turn right"):
        disc(draw, BLUE)
        points = [(70, 150), (70, 78), (112, 78), (112, 52), (158, 90), (112, 128), (112, 102), (94, 102), (94, 150)]
        if name == "turn left":
            points = [(192 - x, y) for x, y in points]
        draw.polygon(points, fill=WHITE)
    elif name == "ahead only":
        disc(draw, BLUE)
        arrow(draw, -math.pi / 2, WHITE)
    elif name == "roundabout":
        disc(draw, BLUE)
        for part in range(3):
            start = 120 * part + 20
            draw.arc([44, 44, 148, 148], start, start + 76, fill=WHITE, width=16)
            end = math.radians(start + 76)
            x, y = 96 + 44 * math.cos(end), 96 + 44 * math.sin(end)
            draw.polygon([(x + 24 * math.cos(end + a), y + 24 * math.sin(end + a)) for a in (math.pi / 2, math.pi * 1.17, -math.pi * 0.17)], fill=WHITE)
    elif name == "parking":
        draw.rounded_rectangle([8, 8, 184, 184], 16, fill=BLUE)
        words(draw, "P", 140, WHITE)
    elif name == "no parking":
        disc(draw, RED)
        disc(draw, BLUE, 74)
        draw.line([42, 42, 150, 150], fill=RED, width=20)
    elif name == "danger":
        draw.polygon(polygon(3, -math.pi / 2, 94), fill=RED)
        draw.polygon(polygon(3, -math.pi / 2, 60), fill=WHITE)
        draw.rectangle([90, 62, 102, 100], fill=BLACK)
        draw.ellipse([89, 106, 103, 120], fill=BLACK)
    elif name == "pedestrians":
        draw.polygon(polygon(3, -math.pi / 2, 94), fill=RED)
        draw.polygon(polygon(3, -math.pi / 2, 60), fill=WHITE)
        draw.ellipse([90, 58, 102, 70], fill=BLACK)
        for line in ([96, 70, 94, 96], [94, 96, 82, 120], [94, 96, 106, 120], [95, 78, 82, 90], [95, 78, 110, 88]):
            draw.line(line, fill=BLACK, width=6)
    return image


PLATES = [plate(kind) for kind in range(len(CLASSES))]


def background(rng):
    """A smooth gradient with clutter: blocks, lines and discs of any colour."""
    corners = rng.integers(20, 236, (2, 2, 3)).astype(np.uint8)
    image = Image.fromarray(corners).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(2, 9)):
        color = tuple(int(c) for c in rng.integers(0, 256, 3))
        x, y = rng.uniform(0, SIZE, 2)
        w, h = rng.uniform(4, 50, 2)
        shape = rng.integers(4)
        if shape == 0:
            draw.rectangle([x, y, x + w, y + h], fill=color)
        elif shape == 1:
            draw.ellipse([x, y, x + w, y + h], outline=color, width=int(rng.integers(1, 6)))
        elif shape == 2:
            draw.polygon([(x, y), (x + w, y + h / 3), (x + w / 3, y + h)], fill=color)
        else:
            draw.line([x, y, *rng.uniform(0, SIZE, 2)], fill=color, width=int(rng.integers(1, 6)))
    return image


def perspective(source, target):
    """Pillow's eight coefficients that take points of the target to those of the source."""
    rows, values = [], []
    for (x, y), (u, v) in zip(target, source):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows), np.array(values))


def draw(seed, index):
    """An image (96 x 96 x 3, uint8) and its class."""
    rng = np.random.default_rng([seed, index])
    kind = int(rng.integers(len(CLASSES)))
    scene = background(rng)
    size = rng.uniform(48, 90)
    middle = rng.uniform(size * 0.42, SIZE - size * 0.42, 2)
    turn = rng.normal(0, 0.14)
    c, s = math.cos(turn), math.sin(turn)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2 * [rng.uniform(0.6, 1), rng.uniform(0.8, 1)]
    corners = corners @ np.array([[c, s], [-s, c]]) + middle + rng.normal(0, size * 0.05, (4, 2))
    source = [(0, 0), (PLATE, 0), (PLATE, PLATE), (0, PLATE)]
    sign = PLATES[kind].transform(
        (SIZE, SIZE), Image.Transform.PERSPECTIVE, perspective(source, corners), Image.Resampling.BICUBIC
    )
    if rng.random() < 0.2:
        scene.paste(Image.new("RGB", (SIZE, SIZE), (70, 70, 70)), (3, 5), sign.getchannel("A").point(lambda a: a // 2))
    fade = rng.uniform(0.7, 1)
    scene.paste(sign.convert("RGB"), (0, 0), sign.getchannel("A").point(lambda a: int(a * fade)))
    if rng.random() < 0.15:
        pen = ImageDraw.Draw(scene)
        x, y = middle + rng.normal(0, size * 0.3, 2)
        w, h = rng.uniform(0.1, 0.4, 2) * size
        pen.rectangle([x - w, y - h / 2, x + w, y + h / 2], fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    if rng.random() < 0.6:
        scene = scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    pixels = np.asarray(scene, np.float32)
    pixels = 128 + (pixels - 128) * rng.uniform(0.5, 1.2) + rng.normal(0, 30) + rng.normal(0, 10, 3)
    pixels = pixels + rng.normal(0, rng.uniform(0, 16), pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8), kind


def several(seed, indices):
    """Images and classes of a range."""
    drawn = [draw(seed, index) for index in indices]
    return np.stack([pixels for pixels, _ in drawn]), np.array([kind for _, kind in drawn], np.int64)
