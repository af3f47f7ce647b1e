"""Chromium without a window, and what holds for each of our pages in it."""

import json
import shutil

from selenium import webdriver

WIDE = """return [...document.querySelectorAll('main > *')].filter(e =>
    e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 100))"""
# Contrast by WCAG 2: luminance of the text and of what is behind it: the first opaque background, and a bar drawn before it.
CONTRAST = """
const channels = color => (color.match(/[\\d.]+/g) ?? []).map(Number);
const opaque = color => channels(color).length === 3 || channels(color)[3] === 1;
const light = color => channels(color).slice(0, 3).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (opaque(c)) return c; }
    return 'rgb(255, 255, 255)'; };
const bars = e => [e, e.parentElement].map(e => getComputedStyle(e, '::before').backgroundColor).filter(opaque);
const ratio = (...colors) => { const [a, b] = colors.map(light).sort((a, b) => b - a); return (a + 0.05) / (b + 0.05); };
return [...document.querySelectorAll('main *')].filter(e => !e.closest('svg') && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .map(e => [Math.min(...[behind(e), ...bars(e)].map(back => ratio(getComputedStyle(e).color, back))), e.outerHTML.slice(0, 100)])
    .filter(([ratio]) => ratio < 4.5)"""


def browser(*more):
    """Chromium, with further command-line options."""
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900", *more):
        options.add_argument(option)
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def schemes(driver):
    """Each of light and dark, while the page is shown so."""
    for scheme in ("light", "dark"):
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        yield scheme


def phone(driver):
    """Shows the page on a phone, until wide()."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wide(driver):
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def check_contrast(driver):
    for scheme in schemes(driver):
        faint = driver.execute_script(CONTRAST)
        assert not faint, (scheme, faint[:5])


def check_fits(driver):
    """Nothing sticks out of a phone's screen."""
    phone(driver)
    assert not (out := driver.execute_script(WIDE)), out
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    wide(driver)


def check_silence(driver, is_ours):
    """The console is empty, and only addresses for which `is_ours` holds, or data:, were asked for."""
    console = driver.get_log("browser")
    assert not console, console
    requests = 0
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            assert is_ours(url) or url.startswith("data:"), f"the page asks for {url}"
            requests += 1
    return requests
