"""The page of demo.py in headless Chromium, as a visitor uses it: `pytest -m browser`."""

import io
import json
import shutil

import pytest
from conftest import ROOT
from PIL import Image
from report import LARGEST
from test_demo import address  # noqa: F401

webdriver = pytest.importorskip("selenium.webdriver", reason="requirements-browser.txt is not installed")
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium")
missing = pytest.mark.skipif(not (DRIVER and CHROMIUM), reason="Chromium and its driver are not installed")
pytestmark = [pytest.mark.browser, missing, pytest.mark.filterwarnings("ignore:::gradio.queueing")]
SECONDS = 30  # at most for an answer
WAIT = "appear"
PASTE = """const done = arguments[0]; document.createElement("canvas").toBlob(blob =>
    navigator.clipboard.write([new ClipboardItem({[blob.type]: blob})]).then(done, done));"""
TABS = [("Reconstruct", "#reconstruction", "#emoji", "#map"), ("Happy or sad", "#classify", "#face", "#moods")]


def resize(browser, width: int, height: int = 900) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.fixture(params=[1280, 390])
def browser(request, address):  # noqa: F811
    """A browser of this width that shows the page. Afterwards: it fits, nothing failed, no other machine was asked."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars", "disable-background-networking"):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        resize(browser, request.param)
        browser.get(address)
        wait(browser, "#composite img")
        yield browser
        messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert len(asked) > 10 and all(url.startswith((address, "data:", f"blob:{address}")) for url in asked)
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        expected = ("status of 422", "AbortError", "Connection errored out")  # a mistake in a field; the page is left
        assert not [message for message in severe if not any(each in message for each in expected)]
        assert browser.execute_script("return document.documentElement.scrollWidth") <= request.param
    finally:
        browser.quit()


def wait(browser, selector: str, until=lambda element: True):
    """The first visible element of a CSS selector for which `until` holds."""

    def find(browser):
        found = browser.find_elements("css selector", selector)
        return next((element for element in found if element.is_displayed() and until(element)), None)

    waiting = WebDriverWait(browser, SECONDS, 0.1, ignored_exceptions=[StaleElementReferenceException])
    return waiting.until(find, f"{selector} does not appear")


def shown(browser, selector: str, besides: str = "") -> str:
    """The HTML of an answer, once it has pictures and is not `besides`."""
    differs = lambda element: element.get_attribute("innerHTML") != besides
    return wait(browser, f"{selector} .prose:has(img)", differs).get_attribute("innerHTML")


def write(browser, selector: str, text: str) -> None:
    """Type a text in place of the field's own, and press Enter."""
    field = wait(browser, f"{selector} input")
    field.send_keys(Keys.CONTROL, "a")
    browser.execute_cdp_cmd("Input.insertText", {"text": text})  # the driver cannot type emoji
    field.send_keys(Keys.ENTER)


def until(browser, condition) -> None:
    WebDriverWait(browser, SECONDS, 0.1, [StaleElementReferenceException]).until(lambda browser: condition())


def press(browser, selector: str, text: str = "") -> None:
    found = wait(browser, selector, lambda element: text in element.text)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    found.click()


CONTRASTS = """
const light = colour => colour.map(part => part / 255)
    .map(part => part <= .04 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [.2126, .7152, .0722][i], 0);
const parse = text => text.match(/[\\d.]+/g).map(Number);
const ground = element => { for (; element; element = element.parentElement) {
    const colour = parse(getComputedStyle(element).backgroundColor);
    if (colour.length < 4 || colour[3] == 1) return colour; }
    return [255, 255, 255]; };
return [...document.querySelectorAll("body *")].filter(each => each.checkVisibility() && each.innerText?.trim() &&
    [...each.childNodes].some(node => node.nodeType == 3 && node.data.trim())).map(each => {
        const colours = [parse(getComputedStyle(each).color), ground(each)];
        const [one, other] = colours.map(colour => light(colour.slice(0, 3)));
        return [(Math.max(one, other) + .05) / (Math.min(one, other) + .05), each.innerText.slice(0, 40)]; });
"""


def test_a_composite_from_fields_examples_and_styles(browser):
    first = shown(browser, "#composite")
    for name in ("transplant", "difference", "isolated", "mean", "pixels", "unchanged target"):
        assert f"<b>{name}</b>\nMSE 0.0" in first
    assert browser.execute_script("return document.querySelector('#composite .prose').ariaLive") == "polite"
    write(browser, "#featured", "crying face")
    crying = shown(browser, "#composite", first)
    assert "crying cat face" in crying
    wait(browser, "#strength input[type=range]").send_keys(*5 * [Keys.ARROW_RIGHT])
    shown(browser, "#composite", crying)
    wait(browser, "#style input:checked").send_keys(Keys.ARROW_RIGHT)  # openmoji
    write(browser, "#target", "catt fase")
    wait(browser, "#target", lambda field: "matches no emoji; did you mean" in field.text)
    browser.find_element("css selector", "h1").click()
    wait(browser, "#target input").click()
    wait(browser, "ul[role=listbox] li", lambda name: name.text == "🐱 cat face · cat").click()  # a suggestion
    until(browser, lambda: "<b>target</b>\ncat face" in shown(browser, "#composite"))
    assert "matches no emoji" not in browser.find_element("css selector", "#target").text
    wait(browser, "#method input:checked").send_keys(Keys.ARROW_RIGHT)
    until(browser, lambda: "method=difference" in browser.current_url)
    mended = shown(browser, "#composite")
    browser.refresh()
    until(browser, lambda: shown(browser, "#composite") == mended)  # the address keeps all fields
    wait(browser, "#target input").send_keys(Keys.CONTROL, "a")
    wait(browser, "#target input").send_keys("heart-eyes")
    name = wait(browser, "ul[role=listbox] li", lambda name: "😍" in name.text)
    style = "return getComputedStyle(arguments[0], '::before').backgroundImage"
    assert "/1f60d.png" in browser.execute_script(style, name)
    press(browser, "button.gallery-item", "🍕")
    until(browser, lambda: "<b>target</b>\nslice of pizza" in shown(browser, "#composite"))
    press(browser, "#random")
    until(browser, lambda: "the true picture" in shown(browser, "#composite"))  # a pizza has none
    press(browser, "#reset")
    until(browser, lambda: shown(browser, "#composite") == first)
    for name in ("large", "strip"):
        until(browser, lambda: browser.find_elements("css selector", f"#{name} a[download]"))


@pytest.mark.parametrize("name, answer, field, sheet", TABS)
def test_the_tabs_with_pictures_of_ones_own(browser, tmp_path, name, answer, field, sheet):
    Image.new("RGB", (90, 50), "green").save(tmp_path / "green.png")
    (tmp_path / "bad.png").write_text("no picture")
    wait(browser, "button[role=tab][aria-selected=true]").send_keys(*[Keys.ARROW_RIGHT] * (1 + (name == TABS[1][0])))
    first = shown(browser, answer)
    upload = f"{field}-own input[type=file]"
    if name == "Reconstruct":
        browser.find_element("css selector", upload).send_keys(str(tmp_path / "green.png"))
    else:
        granted = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        browser.execute_cdp_cmd("Browser.grantPermissions", granted)
        assert browser.execute_async_script(PASTE) is None
        press(browser, f"{field}-own button[aria-label*=aste]")
    second = shown(browser, answer, first)
    assert "your picture" in second and "Your picture is used" in wait(browser, field).text
    assert not wait(browser, f"{field} input").is_enabled()
    press(browser, f"{field}-own button[aria-label*=emove]")
    assert shown(browser, answer, second) == first
    press(browser, f"{field}-own button[aria-label='Upload file']")
    browser.find_element("css selector", upload).send_keys(str(tmp_path / "bad.png"))
    wait(browser, f"{field}-own", lambda own: "this picture cannot be opened" in own.text)
    press(browser, f"{field}-own button[aria-label*=emove]")
    write(browser, field, "😡")
    assert "pouting face" in shown(browser, answer, first)
    press(browser, sheet)  # a picture is only loaded when it is seen
    press(browser, f"{sheet} img")
    assert "decoded" in shown(browser, f"{sheet}-place")
    if name == "Reconstruct":
        wait(browser, "#direction-1", lambda slider: " to " in slider.text)
        still, between = shown(browser, "#moved"), shown(browser, "#between")
        wait(browser, "#direction-1 input[type=range]").send_keys(*10 * [Keys.ARROW_RIGHT])
        shown(browser, "#moved", still)
        write(browser, "#other", "cat face")
        between = shown(browser, "#between", between)
        wait(browser, "#percent input[type=range]").send_keys(Keys.ARROW_RIGHT)
        assert "51% of the way" in shown(browser, "#between", between)


@pytest.mark.parametrize("browser", [320], indirect=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_text_has_contrast_and_fits_a_narrow_screen(browser, scheme):
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    browser.refresh()
    shown(browser, "#composite", WAIT)
    contrasts = browser.execute_script(CONTRASTS)
    assert len(contrasts) > 40 and min(contrasts)[0] >= 4.5, sorted(contrasts)[:5]


@pytest.mark.parametrize("browser", [1100], indirect=True)
def test_the_screenshot_of_the_readme(browser):
    """Into plots/, from where `python report.py --collect` takes it."""
    resize(browser, 1100, 1010)
    until(browser, lambda: browser.find_elements("css selector", "#large img"))  # nothing is under way, and pale
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB").quantize(256)
    assert picture.size == (1100, 1010) and len(picture.getcolors()) > 100  # not a blank page
    (ROOT / "plots").mkdir(exist_ok=True)
    picture.save(ROOT / "plots/demo.png", optimize=True)
    assert (ROOT / "plots/demo.png").stat().st_size < LARGEST
