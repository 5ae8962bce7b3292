"""demo.py: its page answers, or says what is wrong, and keeps no upload. Notebooks: they run, and show what they say."""

import base64
import functools
import html
import io
import json
import os
import re
import socket
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import pytest
from PIL import Image

import data
import demo
from conftest import ROOT, assert_one_line
from lab import arithmetic, pretrained
from lab.cli import UserError
from page import cache  # the other modules of the page need gradio

USUAL = ("smiling cat face with open mouth", "grinning face", "smiling face with heart-shaped eyes")
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
        decoded = functools.cache(lambda style: everything if style == "twemoji" else data.load_pictures(style, ""))
        patch.setattr(cache, "pictures", decoded)
        with demo.served(demo.Config(port=port)) as address:
            yield address


@pytest.fixture
def page(address):
    """The modules of the page, whose functions are called without its server."""
    import page.classify
    import page.composite
    import page.reconstruct

    return page


def pictures(answer: str) -> dict[str, Image.Image]:
    """The pictures of an answer by their captions."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)" alt="([^"]*)"', answer)
    return {html.unescape(caption): Image.open(io.BytesIO(base64.b64decode(encoded))) for encoded, caption in found}


def ask(page, *triple, method="difference", strength=1.0, network="coursework") -> str:
    return page.composite.composed(*triple, method, strength, "twemoji", network)


@pytest.mark.parametrize("method", arithmetic.ATTRIBUTES)
def test_a_composite_of_each_method(page, method):
    answer = ask(page, *USUAL, method=method)
    made = pictures(answer)
    captions = ["target: smiling cat face with open mouth", "featured: smiling face with heart shaped eyes"]
    captions += ["baseline: grinning face", "composite", "the true picture: smiling cat face with heart shaped eyes"]
    assert list(made)[:5] == captions and list(made)[5].startswith("nearest emoji, MSE 0.0")
    assert "its rank of 3778" in answer and "unchanged target<td>0.0405" in answer
    unchanged = pictures(ask(page, *USUAL, method=method, strength=0.0))
    assert unchanged["composite"].tobytes() != made["composite"].tobytes()
    if method == "transplant":
        assert unchanged["composite"].tobytes() == unchanged[captions[0]].tobytes()


def test_emoji_by_character_short_name_and_words_and_without_a_known_truth(page):
    assert ask(page, "😺", ":grinning:", "heart eyes") == ask(page, *USUAL)
    answer = ask(page, "pizza", *USUAL[1:], network="best")
    assert "The true picture is not known" in answer and next(iter(pictures(answer))) == "target: slice of pizza"


@pytest.mark.parametrize(
    "triple, strength, message",
    [
        (("", *USUAL[1:]), 1.0, "no emoji is named"),
        ((None, *USUAL[1:]), 1.0, "no emoji is named"),
        (("catt fase xyz", *USUAL[1:]), 1.0, "matches no emoji; did you mean"),
        ((USUAL[0], USUAL[1], USUAL[1]), 1.0, "are both 'grinning face'"),
        (USUAL, 3.05, "strength is 3.05; it must be at most 3"),
        (USUAL, float("nan"), "strength is nan"),
    ],
)
def test_a_composite_that_cannot_be_made_is_one_line(page, triple, strength, message):
    with pytest.raises(UserError, match=message):
        ask(page, *triple, strength=strength)


def test_a_click_on_a_picture_sets_its_role(page):
    click = SimpleNamespace(value={"caption": "dog face"})
    *texts, answer = page.composite.picked("target", click, *USUAL, "difference", 1.0, "twemoji", "coursework")
    assert texts == ["dog face", *USUAL[1:]] and "target: dog face" in answer


def test_a_reconstruction_by_three_methods(page):
    answer = page.reconstruct.reconstructed(cache.picture("crying face"))
    shown = pictures(answer)
    strips = [caption for caption in shown if caption.endswith("128 numbers")]
    methods = [caption.split(": MSE")[0] for caption in shown if caption not in strips]
    assert methods == ["picture", "Coursework's network", "Best preset", "PCA, 128 components"]
    assert len(strips) == 3 and all(shown[strip].size == (128, 1) for strip in strips)


def test_walks_through_the_latent(page):
    picture = cache.picture("crying face")
    ways = [0.0] * 5, [0.0, 0.0, 3.0, 0.0, 0.0]
    still, moved = (pictures(page.reconstruct.walked(picture, "coursework", *way)) for way in ways)
    assert still["reconstruction"].tobytes() == still["moved"].tobytes() == moved["reconstruction"].tobytes()
    assert moved["moved"].tobytes() != still["moved"].tobytes()
    between = pictures(page.reconstruct.interpolated(picture, "grinning face", "coursework"))
    assert list(between) == ["0%", "17%", "33%", "50%", "67%", "83%", "100%"]
    assert between["0%"].tobytes() == still["moved"].tobytes()


@pytest.mark.parametrize("name, answer", [("crying face", "sad"), ("grinning face", "happy")])
def test_happy_or_sad(page, name, answer):
    shown = page.classify.classified(cache.picture(name))
    assert re.search(rf"{answer}, with a confidence of \d+%.*the map of latents", shown)


def test_an_upload_is_decoded_and_its_file_removed(page, tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (80, 60), "red").save(path)
    picture = page.show.uploaded(str(path))
    assert picture.shape == (3, 64, 64) and not path.exists()
    assert picture[:, 32, 32].tolist() == [255, 0, 0] and picture[:, 2, 32].tolist() == [255, 255, 255]


def test_bad_uploads_are_one_line_and_their_files_removed(page, tmp_path):
    Image.new("RGB", (300, 300)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    Image.new("1", (20_000, 10_000)).save(tmp_path / "huge.png")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UserError, match="the picture cannot be opened; give a complete PNG"):
            page.show.uploaded(str(path))
        assert not path.exists()


@pytest.mark.filterwarnings("ignore:::gradio.queueing")  # pandas'
def test_the_page_as_a_program_asks_it(address, tmp_path):
    import httpx
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    assert address.startswith("http://127.0.0.1:")
    client, other = (Client(address, verbose=False) for _ in range(2))
    endpoints = {"composite", "reconstruct", "walk", "interpolate", "classify"}
    endpoints |= {f"{tab}_{kind}" for tab in ("reconstruct", "classify") for kind in ("emoji", "picture")}
    assert {*client.view_api(return_format="dict")["named_endpoints"]} == {f"/{name}" for name in endpoints}
    rest = ("difference", 1.0, "twemoji", "coursework")
    assert "composite = target" in client.predict(*USUAL, *rest, api_name="/composite")
    for triple, options in ((("<b>cat", *USUAL[1:]), rest), (USUAL, ("difference", 1e9, *rest[2:]))):
        with pytest.raises(AppError) as error:
            client.predict(*triple, *options, api_name="/composite")
        assert not re.search("\n|Traceback|<b>", str(error.value))

    Image.new("RGB", (64, 64), "red").save(tmp_path / "upload.png")
    client.predict(handle_file(tmp_path / "upload.png"), api_name="/classify_picture")
    assert client.predict(api_name="/classify") != other.predict(api_name="/classify")  # each sees their own picture
    (tmp_path / "large.png").write_bytes(b"0" * 11_000_000)
    with pytest.raises(Exception, match="[Ff]ile size|[Tt]oo [Ll]arge|413"):
        client.predict(handle_file(tmp_path / "large.png"), api_name="/classify_picture")
    assert not [*Path(os.environ["GRADIO_TEMP_DIR"]).rglob("upload.png")]
    for path in (ROOT / "README.md", "/etc/passwd"):
        assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)


def test_a_port_in_use(address):
    with mock.patch.dict(os.environ), socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        message = f"the page cannot be served on port {port}"
        with pytest.raises(UserError, match=message), demo.served(demo.Config(port=port)):
            pass
        assert not Path(os.environ["GRADIO_TEMP_DIR"]).exists()


def test_bad_options(command):
    assert_one_line(command(demo, "--port", 0), "--port is 0; it must be at least 1")
    status, _, error = command(demo, "--share", "yes")
    assert status == 2 and "gradio.live" in error and demo.Config().share is None


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
