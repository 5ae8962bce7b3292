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
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
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
    field = wait(browser, f"{selector} textarea, {selector} input")
    field.send_keys(Keys.CONTROL, "a")
    browser.execute_cdp_cmd("Input.insertText", {"text": text})  # the driver cannot type emoji
    field.send_keys(Keys.ENTER)


def test_a_composite_from_fields_pictures_and_styles(browser):
    first = shown(browser, "#composite")
    write(browser, "#featured", "crying face")
    crying = shown(browser, "#composite", first)
    assert "featured: crying face" in crying and "the true picture: crying cat face" in crying
    wait(browser, "#strength input[type=range]").send_keys(*5 * [Keys.ARROW_RIGHT])
    wait(browser, "#composite", lambda element: "target + 1.25 × (featured − baseline)" in element.text)
    wait(browser, "#method label", lambda label: label.text == "transplant").click()
    wait(browser, "#composite", lambda element: "the features that featured has" in element.text)
    wait(browser, "#style label", lambda label: label.text == "openmoji").click()
    styled = shown(browser, "#composite", shown(browser, "#composite"))
    wait(browser, "button", lambda button: button.text.startswith("Pick by picture")).click()
    picture = wait(browser, "#sheet button", lambda button: "dog face" in button.get_attribute("innerHTML"))
    browser.execute_script("arguments[0].click()", picture)  # wherever it has been scrolled to
    assert "target: dog face" in shown(browser, "#composite", styled)
    write(browser, "#target", "no such emoji xyz")
    wait(browser, ".toast-body", lambda toast: "matches no emoji; did you mean" in toast.text)


@pytest.mark.parametrize("tab, name", [("reconstruct", "Reconstruct"), ("classify", "Happy or sad")])
def test_the_tabs_with_pictures_of_ones_own(browser, tmp_path, tab, name):
    Image.new("RGB", (90, 50), "green").save(tmp_path / "green.png")
    (tmp_path / "bad.png").write_text("no picture")
    answer = {"reconstruct": "#reconstruction", "classify": "#classify"}[tab]
    wait(browser, "button[role=tab]", lambda button: button.text == name).click()
    first = shown(browser, answer)
    files = browser.find_elements("css selector", "[role=tabpanel] input[type=file]")
    visible = "return arguments[0].closest('[role=tabpanel]').offsetParent !== null"
    field = next(file for file in files if browser.execute_script(visible, file))
    field.send_keys(str(tmp_path / "green.png"))
    second = shown(browser, answer, first)
    field.send_keys(str(tmp_path / "bad.png"))
    wait(browser, ".toast-body", lambda toast: "the picture cannot be opened" in toast.text)
    assert shown(browser, answer) == second
    write(browser, f"#{tab}-emoji", "😡")
    assert shown(browser, answer, second) != first
    if tab == "reconstruct":
        still, between = shown(browser, "#moved"), shown(browser, "#between")
        wait(browser, "[role=tabpanel] input[type=range]").send_keys(*10 * [Keys.ARROW_RIGHT])
        shown(browser, "#moved", still)
        write(browser, "#other", "pouting face")
        shown(browser, "#between", between)


@pytest.mark.parametrize("browser", [1100], indirect=True)
def test_the_screenshot_of_the_readme(browser):
    """Into plots/, from where `python report.py --collect` takes it."""
    resize(browser, 1100, 660)
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB").quantize(256)
    assert picture.size == (1100, 660) and len(picture.getcolors()) > 100  # not a blank page
    (ROOT / "plots").mkdir(exist_ok=True)
    picture.save(ROOT / "plots/demo.png", optimize=True)
    assert (ROOT / "plots/demo.png").stat().st_size < LARGEST
