"""Opens reports in headless Chromium, as a reader would.

    report.py FOLDER...        folders of `mobileight compare`, each with report.html and report.json

Verified: no request leaves the page and the console stays empty; every figure and every chart's mark is the one in report.json,
written and drawn to scale; tables sort; nothing sticks out of a phone's screen; the page is the same without scripts and
readable in the dark. Needs chromium and chromedriver.
"""

import json
import pathlib
import re
import sys

from common import browser, check_contrast, check_fits, check_silence
from selenium.webdriver.common.by import By

FIGURES = """return [...document.querySelectorAll('[data-figure]')].map(e =>
    [e.dataset.figure, e.dataset.value, e.tagName, e.textContent.trim()])"""
MARKS = """return [...document.querySelectorAll('svg')].map(svg =>
    [...svg.querySelectorAll('circle[data-value], rect[data-value]')].map(e =>
        [e.classList[0], e.dataset.value, Number(e.getAttribute('cy') ?? e.getAttribute('height'))]))"""


def at(report, path):
    for key in path.split("."):
        if report is None:
            return None
        report = report[int(key)] if isinstance(report, list) else report.get(key)
    return report


def attribute_is(value, attribute):
    """Whether a figure's attribute is exactly the value."""
    if value is None or isinstance(value, str):
        return attribute == (value or "")
    return float(attribute) == value


def text_is(value, text):
    """Whether a figure's text is the value, rounded; losses are shown as points gained."""
    if value is None or isinstance(value, str):
        return text == {None: "–", "infinity": "∞", "undefined": "–"}.get(value, value)
    if text.startswith("<"):
        return abs(value) < float(text[1:])
    unit, factor = next(pair for pair in ((" %", 100), (" MiB", 2**-20), (" M", 1e-6), ("", 1)) if text.endswith(pair[0]))
    number = text.removesuffix(unit).replace("\u202f", "")
    digits = len(number.partition(".")[2])
    return abs(abs(float(number)) - abs(factor * value)) <= 0.5000001 * 10**-digits


def check_figures(driver, report):
    figures = driver.execute_script(FIGURES)
    assert len(figures) > 100, len(figures)
    for path, attribute, tag, text in figures:
        value = at(report, path)
        # Marks of charts are measured by check_charts.
        is_text = tag not in ("circle", "rect")
        assert attribute_is(value, attribute) and (not is_text or text_is(value, text)), (
            f"{path}: {attribute!r} shown as {text!r}; report.json has {value!r}"
        )
    return len(figures)


def check_charts(driver, report):
    """Every layer has its marks, and positions are linear in the figures (marks beyond the edge stay at it)."""
    sqnr, rounding, margins = by_kind(driver.execute_script(MARKS))
    layers = report["layers"]["layers"]
    for part in ("local", "accumulated"):
        assert sum(mark[0] == part for mark in sqnr) == sum(layer[part] is not None for layer in layers)
    assert len(rounding) == sum(layer["local"] is not None for layer in layers)
    assert len(margins) == 2 * len(report["overall"]["margins"])
    for marks in (sqnr, rounding, margins):
        points = sorted((float(value), place) for _, value, place in marks if re.match(r"^-?[\d.]", value))
        edges = {min(place for _, place in points), max(place for _, place in points)}
        inner = [point for point in points if point[1] not in edges] or points
        (a, at_a), (b, at_b) = inner[0], inner[-1]
        for value, place in inner:
            expected = at_a if a == b else at_a + (value - a) * (at_b - at_a) / (b - a)
            assert abs(place - expected) < 0.2, (value, place, expected)
    return sum(map(len, (sqnr, rounding, margins)))


def by_kind(charts):
    """The charts of SQNR, rounding and margins."""
    kinds = [{mark[0] for mark in marks} for marks in charts]
    return [charts[kinds.index(kind)] for kind in ({"local", "accumulated"}, {"bar"}, {"bar", "flips"})]


def check_sorting(driver):
    for table in driver.find_elements(By.CSS_SELECTOR, "table.sortable"):
        buttons = table.find_elements(By.CSS_SELECTOR, "thead button")
        assert buttons
        for column, button in enumerate(buttons):
            for direction in ("ascending", "descending"):
                driver.execute_script("arguments[0].click()", button)
                cells = driver.execute_script(
                    """return [...arguments[0].tBodies[0].rows].map(row => { const cell = row.cells[arguments[1]];
                    return cell.querySelector('[data-value]')?.dataset.value ?? cell.textContent.trim() })""", table, column)
                numbers = [float(cell.replace("infinity", "inf")) for cell in cells if re.match(r"^(-?[\d.]|infinity)", cell)]
                assert numbers == sorted(numbers, reverse=direction == "descending"), (column, direction, cells)
                header = button.find_element(By.XPATH, "..")
                assert header.get_attribute("aria-sort") == direction


def check(driver, folder):
    page = (folder / "report.html").resolve().as_uri()
    report = json.loads((folder / "report.json").read_text())
    # What the page before this one did.
    for log in ("browser", "performance"):
        driver.get_log(log)
    driver.get(page)
    assert report["int8"]["file"] in driver.title
    figures, marks = check_figures(driver, report), check_charts(driver, report)
    rows = driver.execute_script("return document.querySelectorAll('#layers tbody tr').length")
    assert rows == len(report["layers"]["layers"])
    pictures = driver.execute_script("return [...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert len(pictures) == len(report["worst"]) and all(pictures), pictures
    check_sorting(driver)
    check_contrast(driver)
    check_fits(driver)
    text = driver.find_element(By.TAG_NAME, "main").text
    check_silence(driver, page.__eq__)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.get(page)
    plain = driver.find_element(By.TAG_NAME, "main").text
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert sorted(plain.split()) == sorted(text.split()), "without scripts the page says something else"
    print(f"{folder}: {figures} figures, {marks} marks, {rows} layers")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    driver = browser()
    try:
        for folder in sys.argv[1:]:
            check(driver, pathlib.Path(folder))
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
