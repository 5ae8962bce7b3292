"""demo.py: its page answers, or says what is wrong. Notebooks: they run, and show what they say."""

import base64
import html
import io
import json
import math
import os
import re
import socket
import sys
from dataclasses import replace
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from unittest import mock

import pytest
import torch
from PIL import Image, ImageChops

import data
import demo
from conftest import ROOT, assert_one_line
from lab import arithmetic, pretrained
from lab.cli import UserError
from page import cache  # the other modules of the page need gradio

USUAL = ("smiling cat face with open mouth", "smiling face with heart shaped eyes", "grinning face")
TOUR, SOLUTIONS = ROOT / "tour.ipynb", sorted((ROOT / "docs/solutions").glob("*.ipynb"))


@pytest.fixture(scope="module")
def address(everything):
    """The page, served once, with the networks in pretrained/ and the pictures that other tests have decoded."""
    if not (find_spec("gradio") and find_spec("gradio_client")):
        pytest.skip("requirements-browser.txt is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch, mock.patch.dict(os.environ):
        patch.chdir(ROOT)
        patch.setitem(cache.LOADED, "twemoji", everything)
        abroad = {"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "socks5://127.0.0.1:1", "SSL_CERT_FILE": "gone.pem"}
        os.environ |= abroad  # the page needs no other machine
        with demo.served(demo.Config(port=port)) as address:
            yield address


@pytest.fixture
def page(address):
    """The modules of the page, whose functions are called without its server."""
    import page.classify
    import page.composite
    import page.latent_map
    import page.reconstruct

    return page


def pictures(answer: str) -> dict[str, Image.Image]:
    """The pictures of an answer by their captions."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)" alt="([^"]*)"', answer)
    return {html.unescape(caption): Image.open(io.BytesIO(base64.b64decode(encoded))) for encoded, caption in found}


def ask(page, *triple, own=None, strength=1.0, style="twemoji", network="coursework") -> str:
    return page.composite.composed(*triple, own, strength, style, network)


def test_the_composites_of_all_methods_with_their_scores(page):
    answer = ask(page, *USUAL)
    made = pictures(answer)
    answers = [*arithmetic.ATTRIBUTES, "pixels", "unchanged target"]
    assert {*made} == {"target", "featured", "baseline", "the true picture", *answers}
    for name, places in (("unchanged target", "0.0405"), ("difference", "0.0259")):  # as composite.py says
        assert f"<b>{name}</b>\nMSE {places}\nSSIM 0." in answer
    assert answer.count(" of 171\nnearest: ") == len(answers) and "\nrank 1 of 171\n" in answer
    unchanged = pictures(ask(page, *USUAL, strength=0.0))
    assert unchanged["transplant"].tobytes() == unchanged["target"].tobytes() != made["transplant"].tobytes()
    large, strip = page.composite.enlarged(*USUAL, None, 1.0, "twemoji", "coursework", "transplant")
    assert (large.size, strip.size) == ((512, 512), (2560, 512))
    assert large.resize((64, 64), 0).tobytes() == made["transplant"].tobytes()
    assert strip.crop((1024, 0, 1536, 512)).tobytes() == large.tobytes()  # at strength 1


def test_emoji_by_all_their_names(page):
    today = ("grinning cat", "Smiling face with heart-eyes", "grinning face")
    for names in (("😺", "heart eyes", ":grinning:"), today):
        assert ask(page, *names) == ask(page, *USUAL)
    answer = ask(page, "pizza", *USUAL[1:], network="best")
    assert "No true picture is known" in answer and "<b>target</b>\nslice of pizza" in answer and "MSE" not in answer
    assert "no head found" in ask(page, "paperclip", *USUAL[1:]) and "no head found" not in answer
    assert ask(page, "🤘🏽", *USUAL[1:]) != ask(page, "🤘🏿", *USUAL[1:])
    offered = [name for _, name in cache.choices()]
    assert all("face" in name and "clock" not in name for name in offered[:140])
    assert "clock" in offered[-1] and {"slice of pizza", "dog face"} < {*offered}
    assert any("😍" in label and "heart-eyes" in label for label, name in cache.choices() if name == USUAL[1])
    assert "cat face" in dict(cache.nearest("catt fase")).values() and cache.nearest("dog face") == cache.choices()


@pytest.mark.parametrize("name, message", [("", "no emoji is"), (None, "no emoji is"), ("catt fase", "mean")])
def test_a_mistake_is_told_at_its_field(page, name, message, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    import gradio

    field, own, slider = gradio.Dropdown(), gradio.Image(), gradio.Slider(0, 3, 1.0)
    told = [page.show.check(*each, "twemoji") for each in ((field, name), (own, tmp_path / "text.png"), (slider, None))]
    assert [each["is_valid"] for each in told] == [False, False, True]
    assert message in told[0]["message"] and "cannot be opened; give a complete PNG" in told[1]["message"]
    for triple, strength, line in ((USUAL[:1] + USUAL[1:2] * 2, 1.0, "are both"), (USUAL, math.nan, "strength is nan")):
        with pytest.raises(UserError, match=line):
            ask(page, *triple, strength=strength)


def test_a_reconstruction_by_three_methods(page):
    answer = page.reconstruct.reconstructed("crying face", None)
    titles = ["crying face", "Coursework's network", "Best preset", "PCA, 128 components"]
    assert [*pictures(answer)] == titles and answer.count("\nMSE 0.0") == 3


def test_walks_through_the_latent(page):
    ways = [0.0] * 5, [0, 0, 3, 0, 0]
    still, moved = (pictures(page.reconstruct.walked("crying face", None, "coursework", *way)) for way in ways)
    assert still["reconstruction"].tobytes() == still["moved"].tobytes() == moved["reconstruction"].tobytes()
    assert moved["moved"].tobytes() != still["moved"].tobytes()
    between = pictures(page.reconstruct.interpolated("crying face", None, "grinning face", 50, "coursework"))
    steps = ["0%", "17%", "33%", "50%", "67%", "83%", "100%"]
    assert list(between) == ["crying face", "50% of the way", "grinning face", *steps]
    assert between["0%"].tobytes() == still["moved"].tobytes()
    assert between["50%"].tobytes() == between["50% of the way"].tobytes()
    *sliders, _, _, _, _, _ = page.reconstruct.directions("coursework")
    assert len(sliders) == 5 and all(re.match(r"\d: .* to ", slider["label"]) for slider in sliders)


@pytest.mark.parametrize("network", ["coursework", "multitask"])
def test_a_map_keeps_its_places_and_answers_a_click(page, network):
    one, other = (page.latent_map.drawn(name, None, network) for name in ("crying face", "grinning face"))
    differs = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).get_flattened_data()
    assert 0 < sum(map(any, differs)) <= 2 * 60**2  # two pictures of 60 pixels a side
    plane = page.latent_map.plane(network)
    spread = plane.points.std(0)[:5]
    assert torch.allclose(spread, torch.ones(5), atol=1e-3)
    place = (plane.points[0, :2] * torch.tensor([1, -1]) / 6 + 0.5) * 560
    made = pictures(page.latent_map.decoded(network, SimpleNamespace(index=place.tolist())))
    assert re.match("decoded(: (happy|sad), with a confidence of .*)?$", *made)


@pytest.mark.parametrize("name, answer", [("crying face", "sad"), ("grinning face", "happy")])
def test_happy_or_sad(page, name, answer):
    assert re.search(rf"{answer}, with a confidence of \d+%</b>\n{name}<", page.classify.classified(name, None))


def test_a_picture_of_ones_own(page, tmp_path):
    Image.new("RGB", (80, 60), "red").save(tmp_path / "red.png")
    own = str(tmp_path / "red.png")
    picture, name = page.show.picture("grinning face", own)
    assert picture.shape == (3, 64, 64) and name == "your picture"
    assert picture[:, 32, 32].tolist() == [255, 0, 0] and picture[:, 2, 32].tolist() == [255, 255, 255]
    answer = ask(page, *USUAL, own=own)
    assert "<b>target</b>\nyour picture" in answer and "No true picture is known" in answer
    assert "nearest: your picture" not in answer  # what goes into an equation is no answer to it
    Image.new("RGB", (300, 300)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (20_000, 10_000)).save(tmp_path / "huge.png")
    for name in ("cut", "huge"):
        with pytest.raises(UserError, match="this picture cannot be opened; give a complete PNG"):
            page.show.picture(None, str(tmp_path / f"{name}.png"))


@pytest.mark.filterwarnings("ignore:::gradio.queueing")  # pandas'
def test_the_page_as_a_program_asks_it(address, tmp_path):
    import httpx
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError, ValidationError

    assert address.startswith("http://127.0.0.1:")
    client = Client(address, verbose=False)
    endpoints = {"composite", "reconstruct", "walk", "interpolate", "classify"}
    assert {*client.view_api(return_format="dict")["named_endpoints"]} == {f"/{name}" for name in endpoints}
    rest = (None, 1.0, "twemoji", "coursework")
    assert "rank 1 of" in client.predict(*USUAL, *rest, api_name="/composite")
    assert "are both" in client.predict(*USUAL[:2], USUAL[1], *rest, api_name="/composite")
    for triple, options in ((("<b>cat", *USUAL[1:]), rest), (USUAL, (None, 1e9, *rest[2:]))):
        with pytest.raises((ValidationError, AppError, httpx.HTTPStatusError)) as error:
            client.predict(*triple, *options, api_name="/composite")
        assert "Traceback" not in str(error.value)

    Image.new("RGB", (64, 64), "red").save(tmp_path / "upload.png")
    assert "your picture" in client.predict("pizza", handle_file(tmp_path / "upload.png"), api_name="/classify")
    (tmp_path / "large.png").write_bytes(b"0" * 11_000_000)
    with pytest.raises(Exception, match="[Ff]ile size|[Tt]oo [Ll]arge|413"):
        client.predict("pizza", handle_file(tmp_path / "large.png"), api_name="/classify")
    for path in (ROOT / "README.md", "/etc/passwd"):
        assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)


def test_a_port_in_use_is_found_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(demo, "build", None)
    with mock.patch.dict(os.environ), socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        message = f"the page cannot be served on port {port}"
        with pytest.raises(UserError, match=message), demo.served(demo.Config(port=port)):
            pass


def test_without_gradio_a_line_says_what_to_install(command, monkeypatch):
    assert not {"gradio", "page"} & {*vars(demo)}  # not needed for --help
    monkeypatch.setitem(sys.modules, "gradio", None)
    with mock.patch.dict(os.environ):
        assert_one_line(command(demo), "run: pip install -r requirements-demo.txt")


@pytest.mark.parametrize(
    "path, quick", [(TOUR, True), *(pytest.param(path, False, marks=pytest.mark.long) for path in (TOUR, *SOLUTIONS))]
)
def test_a_notebook_runs_from_top_to_bottom_as_it_is_stored(path, quick, monkeypatch, faces, everything):
    shown, ipython, display = [], ModuleType("IPython"), ModuleType("IPython.display")
    ipython.version_info = (9, 0)  # matplotlib asks
    display.Image, display.display = bytes, shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(data, "load_pictures", lambda _, keyword=None, skip=0: faces if keyword != "" else everything)
    monkeypatch.setattr(sys, "path", [*sys.path])  # which a notebook adds to
    monkeypatch.chdir(path.parent)
    if quick:
        few = replace(pretrained.recorded_options(pretrained.folder_of("coursework")), augment="none", copies=1)
        monkeypatch.setattr(pretrained, "recorded_options", lambda folder: few)
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    found = {}  # one namespace, as in a notebook; the solutions assert what they claim
    for cell in cells:
        exec(re.sub(r"(?<=EPOCHS = )\d+", "1" if quick else r"\g<0>", "".join(cell["source"])), found)
    stored = [output["data"]["image/png"] for cell in cells for output in cell["outputs"] if "data" in output]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    assert len(shown) == len(stored) and all(picture.startswith(b"\x89PNG") for picture in shown)
    assert path.stat().st_size < 1_000_000 and max(map(len, stored), default=0) < 200_000
    if path == TOUR:
        assert found["flattered"] < found["errors"]["pca_mse"] < found["errors"]["network"]
        assert found["leaky"].leaked() > 0 == found["splits"].leaked()
        assert found["to_truth"]["network"] < found["to_truth"]["unchanged cat"] < found["to_truth"]["transplant"]


def test_the_course_expects_what_report_has():
    course, report = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/course.md", "REPORT.md"))
    numbers = re.findall(r"\d\.\d{3,}(?: ± [\d.]+)?", course)
    assert len(numbers) > 25 and not [number for number in numbers if number not in report]
