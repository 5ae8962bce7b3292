"""The page of demo.py in headless Chromium, as a visitor uses it: `pytest -m browser`."""

import io
import json
import shutil
from importlib.util import find_spec

import pytest
from PIL import Image

import report
from conftest import ROOT
from test_demo import address  # noqa: F401  # the page, which runs in `folder`
from test_demo import folder as small  # noqa: F401

DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (DRIVER and CHROMIUM), reason="Chromium and its driver are not installed"),
    pytest.mark.skipif(
        not (find_spec("gradio") and find_spec("selenium")), reason="requirements-browser.txt is not installed"
    ),
]
SECONDS = 30  # at most for an answer
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--no-first-run",
)


COMMITTED = all((ROOT / "pretrained" / name / "model.safetensors").exists() for name in ("report", "best", "multitask"))


@pytest.fixture(scope="module")
def folder(small):  # noqa: F811
    """Where the page runs: with the networks of the repository, or with small ones while those are not committed."""
    return ROOT if COMMITTED else small


@pytest.fixture(params=[1280, 390])
def browser(request, address):  # noqa: F811
    """A browser of this width that shows the page; what it asked for and complained of is looked at in the end."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": request.param < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(address)
    try:
        wait(browser, "#composite img")
        yield browser
        messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        ours = (address, "data:", f"blob:{address}")
        assert len(asked) > 10 and not [url for url in asked if not url.startswith(ours)]
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert browser.execute_script("return document.documentElement.scrollWidth") <= request.param
    finally:
        browser.quit()


def wait(browser, selector: str, until=lambda element: True):
    """The first visible element of a CSS selector for which `until` holds."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def there(browser):
        return next(
            (e for e in browser.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed() and until(e)), None
        )

    waiting = WebDriverWait(browser, SECONDS, 0.1, ignored_exceptions=[StaleElementReferenceException])
    return waiting.until(there, f"{selector} does not come")


def open_tab(browser, name: str) -> None:
    wait(browser, "button[role=tab]", lambda tab: tab.text == name).click()


def write(browser, selector: str, text: str) -> None:
    """Type a text into a field in place of its own, and press Enter."""
    from selenium.webdriver.common.keys import Keys

    field = wait(browser, f"{selector} textarea, {selector} input")
    field.send_keys(Keys.CONTROL, "a")
    browser.execute_cdp_cmd("Input.insertText", {"text": text})  # keys would not do for emoji
    field.send_keys(Keys.ENTER)


def html(browser, selector: str) -> str:
    """The content of an answer, without what gradio shows above it while it waits."""
    wait(browser, f"{selector} .prose img")  # a tab is filled when it is opened
    return wait(browser, f"{selector} .prose").get_attribute("innerHTML")


def changed(browser, selector: str, before: str) -> str:
    """The content of an answer once it is another."""
    wait(browser, f"{selector} .prose", lambda answer: answer.get_attribute("innerHTML") != before)
    return html(browser, selector)


def test_a_composite_by_hand(browser):
    from selenium.webdriver.common.keys import Keys

    first = html(browser, "#composite")
    assert "the true picture: smiling cat face with heart shaped eyes" in first
    write(browser, "#featured", "crying face")
    crying = changed(browser, "#composite", first)
    assert "featured: crying face" in crying and "the true picture: crying cat face" in crying
    wait(browser, "#strength input[type=range]").send_keys(*5 * [Keys.ARROW_RIGHT])
    stronger = wait(browser, "#composite", lambda element: "1.25 ×" in element.text)
    assert "target + 1.25 × (featured − baseline)" in stronger.text
    wait(browser, "#method label", lambda label: label.text == "map").click()
    wait(browser, "#composite", lambda element: "a regression on known pairs" in element.text)
    write(browser, "#target", "no such emoji")
    error = wait(browser, ".toast-body", lambda toast: "matches no emoji; did you mean" in toast.text)
    assert "Traceback" not in error.text


@pytest.mark.skipif(not COMMITTED, reason="the networks in pretrained/ are not committed yet")
def test_the_screenshot_of_the_readme_is_drawn(browser):
    """Into plots/, from where `python report.py --collect` takes it."""
    size = {"width": 1100, "height": 660, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.refresh()  # at 390 pixels a field had grown
    wait(browser, "#composite img")
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB").quantize(256)
    assert picture.size == (1100, 660) and len(picture.getcolors()) > 100  # not a blank page
    (ROOT / "plots").mkdir(exist_ok=True)
    picture.save(ROOT / "plots/demo.png", optimize=True)
    assert (ROOT / "plots/demo.png").stat().st_size < report.LARGEST
    size["width"] = 390  # the narrower of the two: the fixture looks at it in the end
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def test_a_target_picked_by_its_picture(browser):
    first = html(browser, "#composite")
    wait(browser, "button", lambda button: button.text.startswith("Pick by picture")).click()
    picture = wait(browser, "#sheet button", lambda button: "dog face" in button.get_attribute("textContent"))
    browser.execute_script("arguments[0].click()", picture)  # wherever it has been scrolled to
    assert "target: dog face" in changed(browser, "#composite", first)


def upload(browser, tab: str, path) -> None:
    from selenium.webdriver.common.by import By

    fields = browser.find_elements(By.CSS_SELECTOR, f"#{tab}-upload input[type=file], input[type=file]")
    field = next(f for f in fields if browser.execute_script(
        "return arguments[0].closest('[role=tabpanel]').offsetParent !== null", f))  # fmt: skip
    field.send_keys(str(path))


@pytest.mark.parametrize("tab, name, answer", [("reconstruct", "Reconstruct", "#reconstruction"),
                                               ("mood", "Happy or sad", "#mood")])  # fmt: skip
def test_pictures_of_ones_own(browser, tmp_path, tab, name, answer):
    Image.new("RGB", (90, 50), "green").save(tmp_path / "green.png")
    (tmp_path / "bad.png").write_text("no picture")
    open_tab(browser, name)
    first = html(browser, answer)
    upload(browser, tab, tmp_path / "green.png")
    second = changed(browser, answer, first)
    upload(browser, tab, tmp_path / "bad.png")
    wait(browser, ".toast-body", lambda toast: "the picture cannot be opened" in toast.text)
    assert html(browser, answer) == second
    write(browser, f"#{tab}-emoji", "😡")
    assert changed(browser, answer, second) != first


def test_walking_along_a_direction(browser):
    from selenium.webdriver.common.keys import Keys

    open_tab(browser, "Reconstruct")
    still = html(browser, "#moved")
    wait(browser, "[role=tabpanel] input[type=range]").send_keys(*10 * [Keys.ARROW_RIGHT])
    changed(browser, "#moved", still)
    between = html(browser, "#between")
    write(browser, "#other", "pouting face")
    changed(browser, "#between", between)
