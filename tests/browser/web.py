"""Uses the page of examples/web in headless Chromium.

    web.py FOLDER BINARY [--screenshots DIR]     the folder that examples/web built, and the native binary

Verified: for test images, by each model that ships and by files, INT8 scores are those of the native binary to the last bit and FP32 ones
within TOLERANCE; bad files are told in words and change nothing; all is done by keyboard and named for screen readers; the camera works
(a synthetic one); no request leaves the server and the console stays empty; nothing sticks out of a phone's screen and text is readable in
light and dark. Needs chromium and chromedriver.
"""

import argparse
import base64
import functools
import http.server
import json
import pathlib
import struct
import subprocess
import tempfile
import threading

from common import browser, check_contrast, check_fits, check_silence, phone, schemes, wide
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

DEMO = pathlib.Path(__file__).parents[2] / "models/demo"
# Sums of FP32 products depend on their order, which is another with other vectors.
TOLERANCE = 2e-6
SCORES = """return Object.fromEntries([...document.querySelectorAll('#scores tbody tr')].map(row => [row.dataset.index,
    ['int8', 'fp32'].map(kind => { const e = row.querySelector(`.${kind} [data-value]`);
        return e && Number(e.dataset.value); })]))"""
# Written as a reader sees them.
TEXTS = """return [...document.querySelectorAll('#scores tbody tr')].map(row => [...row.cells].map(cell => cell.innerText.trim()))"""


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def serve(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


class Native:
    """Scores of the native binary by class."""

    def __init__(self, binary):
        self.binary = binary

    def scores(self, model, image, *more):
        command = [self.binary, "classify", DEMO / model, image, "--top", "100", "--json", *more]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return {entry["index"]: f32(entry["score"]) for entry in answer["top"]}


class Page:
    def __init__(self, driver, address):
        self.driver, self.address = driver, address
        self.load()

    def load(self):
        self.driver.get(self.address)
        self.wait(lambda: self.get("answer").is_displayed(), "no answer")
        self.settle()

    def get(self, name):
        return self.driver.find_element(By.ID, name)

    def text(self, name):
        return self.get(name).text

    def settle(self):
        """Waits until what was asked for is answered, or refused."""
        self.wait(lambda: self.get("results").get_attribute("aria-busy") == "false" or self.text("status") == "Choose a photo", "no answer")

    def wait(self, condition, message):
        try:
            WebDriverWait(self.driver, 30, 0.05).until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"{message}; the page says {self.text('status')!r} {self.text('error')!r}") from None

    def act(self, action, contains, where="status"):
        """Does something, after which a text must come up in a place whose text was another."""
        self.driver.execute_script("document.getElementById('status').textContent = 'waiting'; document.getElementById('error').textContent = ''")
        action()
        self.wait(lambda: contains in self.text(where) and self.text("status") != "waiting", f"{contains!r} did not come up")
        self.settle()

    def scores(self):
        """INT8 and FP32 scores of all classes."""
        button = self.get("all")
        if button.get_attribute("aria-expanded") == "false":
            button.click()
        return {int(index): pair for index, pair in self.driver.execute_script(SCORES).items()}

    def drop(self, *paths):
        box = self.get("drop").rect
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        self.driver.execute_script("window.scrollTo(0, 0)")
        for kind in ("dragEnter", "dragOver", "drop"):
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "data": data, **at})

    def press(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def focus(self):
        """What has the focus: its id, or the text that stands for its picture."""
        return self.driver.execute_script(
            "const e = document.activeElement; return e.id || e.querySelector?.('img')?.alt || e.tagName")


def samples(page):
    return page.driver.find_elements(By.CSS_SELECTOR, "#samples button")


def image_of(button):
    return DEMO / "images" / pathlib.PurePosixPath(button.find_element(By.TAG_NAME, "img").get_attribute("src")).name


def compare(page, int8, fp32):
    """The largest difference of an FP32 score."""
    found = page.scores()
    worst = 0
    for kind, expected in enumerate((int8, fp32)):
        if expected is None:
            assert all(pair[kind] is None for pair in found.values()), found
            continue
        assert found.keys() == expected.keys()
        for index, score in expected.items():
            difference = abs(found[index][kind] - score)
            assert difference <= (TOLERANCE if kind else 0), f"class {index}: {found[index][kind]!r}; natively {score!r}"
            worst = max(worst, difference * kind)
    return worst


def check_texts(page, labels, shares=True):
    """What is written is what was compared, rounded."""
    found = {labels[index]: pair for index, pair in page.scores().items()}
    for name, *texts in page.driver.execute_script(TEXTS):
        int8, fp32 = found[name]
        for text, value in zip(texts, (int8, fp32, int8 - fp32)):
            number = float(text.replace("−", "-").removesuffix("\u00a0%"))
            assert abs(number - 100 * value) <= 0.0500001, (name, text, value)


def check_scores(page, native):
    """All test images, by both models that ship."""
    labels = (DEMO / "labels.txt").read_text().split("\n")[:16]
    worst = compared = 0
    for model in ("int8.tflite", "int8_per_tensor.tflite"):
        if page.get("model").get_attribute("value") != model:
            choose(page, model)
        for button in samples(page):
            image = image_of(button)
            int8, fp32 = native.scores(model, image), native.scores("float.tflite", image)
            page.act(button.click, labels[max(int8, key=int8.get)])
            assert button.get_attribute("aria-pressed") == "true"
            worst = max(worst, compare(page, int8, fp32))
            check_texts(page, labels)
            compared += len(int8)
    assert "simd128" in page.text("about"), page.text("about")
    return worst, compared


def choose(page, value):
    """Chooses a model that ships."""
    option = page.get("model").find_element(By.CSS_SELECTOR, f"option[value='{value}']")
    page.act(option.click, value, "about")


def check_files(page, native, folder):
    """A compiled model with labels of its own and a float one, photos by input and by drop."""
    image = DEMO / "images/0012.jpg"
    compiled = folder / "signs.mb8"
    subprocess.run([native.binary, "compile", DEMO / "int8.tflite", "-o", compiled], check=True, capture_output=True)
    page.act(lambda: page.drop(image), "speed limit 50")
    assert page.get("preview").get_attribute("alt").endswith("0012.jpg")
    page.get("model").find_element(By.CSS_SELECTOR, "option[value=own]").click()
    # Without labels, classes are their indices.
    page.act(lambda: page.get("file").send_keys(str(compiled)), "5, 99.6 % in INT8")
    own = native.scores("int8.tflite", image)
    worst = compare(page, own, native.scores("int8.tflite", image, "--fp32"))
    page.act(lambda: page.get("labels").send_keys(str(DEMO / "labels.txt")), "speed limit 50, 99.6 % in INT8")
    page.act(lambda: page.drop(DEMO / "float.tflite"), "float.tflite", "about")
    worst = max(worst, compare(page, None, native.scores("float.tflite", image)))
    page.act(lambda: page.get("photo").send_keys(str(DEMO / "images/0000.jpg")), "12, 97.6 %")
    worst = max(worst, compare(page, None, native.scores("float.tflite", DEMO / "images/0000.jpg")))
    return worst


def check_refusals(page, folder):
    """Bad files are told in words with what to do, and what was there stays in use."""
    whole = (DEMO / "images/0000.jpg").read_bytes()
    model = (DEMO / "int8.tflite").read_bytes()
    page.load()
    for name, content, said in (
        ("words.jpg", b"not a picture", "Choose a JPEG"),
        ("empty.png", b"", "empty"),
        ("half.jpg", whole[: len(whole) // 2], "Choose a JPEG"),
        ("words.tflite", b"not a network at all", "Choose a .tflite file"),
        ("half.tflite", model[: len(model) // 2], "Choose a .tflite file"),
        ("half.mb8", b"mobileight", "Choose a .tflite file"),
        ("three.txt", b"one\ntwo\nthree\n", "3 labels for a model of 16 classes"),
        ("latin.txt", b"caf\xe9\n", "UTF-8"),
    ):
        path = folder / name
        path.write_bytes(content)
        if name == "three.txt":
            page.act(lambda: page.drop(DEMO / "int8.tflite"), "In use: int8.tflite", "about")
        page.act(lambda: page.drop(path), said, "error")
        error = page.text("error")
        assert (name if not name.endswith("txt") else "int8.tflite") in error, error
        if not name.endswith(("jpg", "png")):
            assert "int8.tflite stays in use." in error, error
    # Labels come with their model.
    page.act(lambda: page.drop(DEMO / "int8.tflite", DEMO / "labels.txt", DEMO / "images/0008.jpg"), "yield")
    assert not page.get("error").is_displayed()


def check_trap(page):
    """What was asked for fails in words, and the next photo gets a new worker with the model."""
    page.load()
    page.act(lambda: page.driver.execute_script("document.querySelectorAll('#samples button')[0].click(); setTimeout(() => "
                                                "{ ask({ photo: photo.bytes }).catch(error => complain(error.message)); fail('a trap'); }, 500)"), "a trap", "error")
    assert page.driver.execute_script("return worker === null")
    page.act(samples(page)[1].click, "yield")


def check_keyboard(page):
    """From the top by Tab; sample, model, all classes and camera by Enter, Space and arrows."""
    page.load()
    order = []
    while (not order or order[-1] != "all") and len(order) < 30:
        page.press(Keys.TAB)
        order.append(page.focus())
        outline = page.driver.execute_script("const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth]")
        assert outline == ["solid", "3px"], (order, outline)
    pictures = [button.find_element(By.TAG_NAME, "img").get_attribute("alt") for button in samples(page)]
    assert order == ["choose", "camera", *pictures, "model", "all"], order
    rows = len(page.driver.execute_script(TEXTS))
    page.press(Keys.ENTER)
    assert len(page.driver.execute_script(TEXTS)) == 16 > rows
    while page.focus() != "yield":
        page.press(Keys.SHIFT + Keys.TAB)
    page.act(lambda: page.press(Keys.SPACE), "yield")
    while page.focus() != "model":
        page.press(Keys.TAB)
    page.act(lambda: page.press(Keys.ARROW_DOWN), "int8_per_tensor", "about")
    page.act(lambda: page.press(Keys.ARROW_UP), "In use: int8.tflite", "about")
    while page.focus() != "camera":
        page.press(Keys.SHIFT + Keys.TAB)
    page.press(Keys.ENTER)
    page.wait(lambda: page.focus() == "shoot", "no camera")
    page.act(lambda: page.press(Keys.ENTER), "INT8")
    assert page.focus() == "camera" and page.get("preview").get_attribute("alt").endswith("camera")
    page.press(Keys.ENTER)
    page.wait(lambda: page.focus() == "shoot", "no camera")
    page.press(Keys.TAB)
    page.press(Keys.ENTER)
    page.wait(lambda: page.focus() == "camera" and not page.get("video").is_displayed(), "the camera goes on")


def check_names(page):
    """All that takes the focus has a name, and so have meters; the answer and errors are announced."""
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    meters = 0
    for node in nodes:
        role, name = node.get("role", {}).get("value"), node.get("name", {}).get("value")
        focusable = any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        if (focusable and role != "RootWebArea") or role in ("meter", "image", "table", "region"):
            assert name, node
        meters += role == "meter"
    assert meters >= 10, meters
    for name, role in (("status", "status"), ("error", "alert")):
        assert page.get(name).get_attribute("role") == role


def screenshots(page, folder):
    folder.mkdir(exist_ok=True)
    page.load()
    page.act(samples(page)[2].click, "turn right")
    choose(page, "int8_per_tensor.tflite")
    page.driver.execute_script("window.scrollTo(0, 0); document.activeElement.blur()")
    for scheme in schemes(page.driver):
        page.driver.save_screenshot(str(folder / f"desktop-{scheme}.png"))
    phone(page.driver)
    for scheme in schemes(page.driver):
        shot = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (folder / f"phone-{scheme}.png").write_bytes(base64.b64decode(shot["data"]))
    wide(page.driver)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("binary")
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    address = serve(arguments.folder)
    driver = browser("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    try:
        for log in ("browser", "performance"):
            driver.get_log(log)
        page, native = Page(driver, address), Native(arguments.binary)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            worst, compared = check_scores(page, native)
            worst = max(worst, check_files(page, native, folder))
            check_names(page)
            check_refusals(page, folder)
        check_contrast(driver)
        check_fits(driver)
        check_trap(page)
        check_keyboard(page)
        check_contrast(driver)
        check_fits(driver)
        requests = check_silence(driver, lambda url: url.startswith((address, f"blob:{address}")))
        if arguments.screenshots:
            screenshots(page, arguments.screenshots)
    finally:
        driver.quit()
    print(f"{compared} INT8 scores are the native ones, FP32 ones within {worst:.1e}; {requests} requests, all to the page's server")


if __name__ == "__main__":
    main()
