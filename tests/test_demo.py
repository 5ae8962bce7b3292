"""demo.py: its page is asked as a program would, and must answer, or say in a line what is wrong."""

import base64
import concurrent.futures
import html
import io
import os
import re
import socket
import subprocess
import sys
from importlib.util import find_spec
from typing import get_args

import pytest
import torch
from PIL import Image

import demo
from conftest import ROOT, assert_one_line, keep
from lab.convolutional import ConvAutoencoder
from lab.multitask import MultiTaskAutoencoder
from lab.options import Method

USUAL = ("smiling cat face with open mouth", "grinning face", "smiling face with heart-shaped eyes")
needs_gradio = pytest.mark.skipif(not find_spec("gradio_client"), reason="requirements-browser.txt is not installed")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the page finds two small networks and no best preset."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "pretrained").mkdir()
    torch.manual_seed(0)
    keep(ConvAutoencoder(latent=8), folder / "pretrained/report")
    keep(MultiTaskAutoencoder(ConvAutoencoder(latent=8)), folder / "pretrained/multitask", keyword="face")
    return folder


@pytest.fixture(scope="module")
def address(folder):
    from page import mood, shelf  # they need gradio

    for kept in (shelf.network, shelf.pca, shelf.latents, mood.known):
        kept.cache_clear()  # the networks of another folder
    before = os.getcwd()
    os.chdir(folder)
    with demo.served(demo.Config(port=free_port())) as address:
        yield address
    os.chdir(before)


@pytest.fixture
def client(address):
    from gradio_client import Client

    return Client(address, verbose=False)


def composed(client, *triple, method="difference", strength=1.0, style="twemoji", network="report") -> str:
    return html.unescape(client.predict(*triple, method, strength, style, network, api_name="/composite"))


def pictures(page: str) -> dict[str, Image.Image]:
    """The pictures of an answer by their captions."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]*)">', page)
    return {html.unescape(caption): Image.open(io.BytesIO(base64.b64decode(encoded))) for encoded, caption in found}


def write_picture(path, size=(80, 60), color="red"):
    Image.new("RGB", size, color).save(path)
    return path


# ---------------------------------------------------------------- what it answers


@needs_gradio
def test_a_composite_with_its_truth_and_scores(client):
    page = composed(client, *USUAL)
    assert "its rank of 3778" in page and "unchanged target0.0405" in re.sub(r"<[^>]+>", "", page)
    captions = list(pictures(page))
    assert captions[:4] == [
        "target: smiling cat face with open mouth", "featured: smiling face with heart shaped eyes",
        "baseline: grinning face", "composite",
    ]  # fmt: skip
    assert captions[4] == "the true picture: smiling cat face with heart shaped eyes"
    assert captions[5].startswith("nearest emoji: ")
    again = composed(client, "😺", ":grinning:", "heart eyes")  # however the emoji are named
    assert again == page


@needs_gradio
def test_every_method_and_strength_gives_another_composite(client):
    made = {}
    for method in get_args(Method):
        for strength in (0.0, 1.0, -2.0):
            made[method, strength] = pictures(composed(client, *USUAL, method=method, strength=strength))["composite"]
    different = {picture.tobytes() for picture in made.values()}
    # at strength 0 all are the target's reconstruction; the learned one is the target itself
    assert len(different) == 2 + 2 * len(get_args(Method))


@needs_gradio
def test_no_truth_and_another_style(client):
    assert "No true picture of it is known." in composed(client, "pizza", "grinning face", "crying face")
    drawn = pictures(composed(client, *USUAL, style="openmoji"))
    twemoji = pictures(composed(client, *USUAL))
    assert drawn.keys() & twemoji.keys() and all(
        drawn[caption].tobytes() != twemoji[caption].tobytes() for caption in drawn.keys() & twemoji.keys()
    )


@needs_gradio
def test_a_reconstruction_of_an_emoji_and_of_a_picture(client, tmp_path):
    from gradio_client import handle_file

    client.predict("crying face", api_name="/reconstruct_emoji")
    page = client.predict(api_name="/reconstruct")
    assert [caption.split(":")[0] for caption in pictures(page)] == ["picture", "Original's network", "PCA"]
    assert "8 numbers" in page and page.count("plain strip") == 2
    missing = "Best preset: pretrained/best is not there yet; make it with `python autoencoder.py"
    assert missing in html.unescape(page)
    client.predict(handle_file(write_picture(tmp_path / "red.png")), api_name="/reconstruct_picture")
    picture = pictures(client.predict(api_name="/reconstruct"))["picture"]
    assert picture.size == (64, 64)
    assert [picture.getpixel(place) for place in ((32, 32), (32, 2))] == [(255, 0, 0), (255, 255, 255)]


@needs_gradio
def test_walks_through_the_latent(client):
    still, moved = (
        pictures(client.predict("report", *values, api_name="/walk")) for values in ([0] * 5, [3, 0, 0, 0, 0])
    )
    assert still["reconstruction"].tobytes() == still["moved"].tobytes() == moved["reconstruction"].tobytes()
    assert moved["moved"].tobytes() != still["moved"].tobytes()
    between = pictures(client.predict("crying face", "report", api_name="/interpolate"))
    assert list(between) == ["0%", "17%", "33%", "50%", "67%", "83%", "100%"]
    assert between["0%"].tobytes() == still["reconstruction"].tobytes()


@needs_gradio
def test_happy_or_sad(client):
    client.predict("crying face", api_name="/mood_emoji")
    page = client.predict(api_name="/mood")
    assert re.search(r"(happy|sad), with a confidence of (5[0-9]|[6-9][0-9]|100)%", page) and "map of latents" in page


# ---------------------------------------------------------------- what strangers do


@needs_gradio
@pytest.mark.parametrize(
    "asked, message",
    [
        ((("", *USUAL[1:]), {}), "no emoji is named"),
        (((None, *USUAL[1:]), {}), "no emoji is named"),
        ((("<b>cat", *USUAL[1:]), {}), "matches no emoji; did you mean"),
        ((("face" * 500, *USUAL[1:]), {}), "matches no emoji"),
        (((USUAL[0], USUAL[1], USUAL[1]), {}), "baseline and featured are both 'grinning face'"),
        ((USUAL, {"strength": 1e9}), "greater than maximum value"),
        ((USUAL, {"network": "best"}), "pretrained/best is not there yet; make it with `python autoencoder.py"),
        ((USUAL, {"method": "magic"}), "not in the list of choices"),
        ((USUAL, {"style": "hub"}), "not in the list of choices"),
    ],
)
def test_what_cannot_be_answered_is_one_line(client, asked, message):
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError) as error:
        composed(client, *asked[0], **asked[1])
    said = html.unescape(str(error.value))
    assert message in said and "\n" not in said and "Traceback" not in said and "<b>" not in str(error.value)


@needs_gradio
def test_bad_pictures_are_one_line_and_nothing_stays(client, tmp_path):
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    whole = write_picture(tmp_path / "cut.png", (300, 300)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    write_picture(tmp_path / "line.png", (2000, 1))
    write_picture(tmp_path / "huge.png", (20_000, 10_000))
    (tmp_path / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(AppError, match="the picture cannot be opened") as error:
            client.predict(handle_file(path), api_name="/mood_picture")
        assert "\n" not in str(error.value) and "object at" not in str(error.value), path.name
    kept = [path for path, _, files in os.walk(os.environ["GRADIO_TEMP_DIR"]) for name in files if name in
            {path.name for path in tmp_path.iterdir()}]  # fmt: skip
    assert not kept


@needs_gradio
def test_an_upload_that_is_too_large_is_refused(client, tmp_path):
    from gradio_client import handle_file

    (tmp_path / "large.png").write_bytes(b"0" * 11_000_000)
    with pytest.raises(Exception, match="[Ff]ile size|[Tt]oo [Ll]arge|413"):
        client.predict(handle_file(tmp_path / "large.png"), api_name="/mood_picture")


@needs_gradio
def test_ten_visitors_at_once_are_served_in_turn(address):
    from gradio_client import Client

    def visit(k: int) -> list[str]:
        visitor = Client(address, verbose=False)
        return [composed(visitor, *USUAL, strength=k / 10) for _ in range(2)]

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        pages = list(pool.map(visit, range(10)))
    assert all(first == second for first, second in pages) and len({first for first, _ in pages}) == 10


@needs_gradio
def test_visitors_do_not_see_each_others_pictures(address, client):
    from gradio_client import Client

    client.predict("crying face", api_name="/reconstruct_emoji")
    mine = client.predict(api_name="/reconstruct")
    other = Client(address, verbose=False).predict(api_name="/reconstruct")
    assert pictures(other)["picture"].tobytes() != pictures(mine)["picture"].tobytes()


@needs_gradio
@pytest.mark.parametrize("name", ["README.md", "pretrained/report/config.json", "/etc/passwd"])
def test_no_other_file_is_served(address, folder, name):
    import httpx

    path = name if name.startswith("/") else folder / name
    answer = httpx.get(f"{address}gradio_api/file={path}")
    assert answer.status_code in (403, 404)


# ---------------------------------------------------------------- how it starts and ends


@needs_gradio
def test_only_this_machine_and_one_folder(address, folder):
    assert address.startswith("http://127.0.0.1:")
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert {path.name for path in folder.iterdir()} == {"pretrained"}


@needs_gradio
def test_what_is_written_goes_when_the_page_ends(folder, tmp_path):
    """In the surroundings of a fresh machine: an empty home and an empty folder for temporary files."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir(), temporary.mkdir()
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(temporary)}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "HF_HOME", "GRADIO_TEMP_DIR"):
        environment.pop(name, None)
    command = [sys.executable, ROOT / "demo.py", "--port", str(free_port())]
    page = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert page.stdout.readline().startswith("the page is at http://127.0.0.1:")
    assert any(temporary.rglob("*.png"))
    page.terminate()
    assert page.wait(60) == 143
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not written


@needs_gradio
def test_a_port_that_is_taken(command):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert_one_line(command(demo, "--port", port), f"the page cannot be served on port {port}")
