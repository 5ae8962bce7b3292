"""demo.py before there is a page: its options, and what it says without gradio."""

import pytest

import demo
from common.errors import UserError
from conftest import assert_one_line


@pytest.mark.parametrize(
    "options, message",
    [
        (["--share", "yes"], "--share 'yes' is refused: through gradio.live anybody could see the page"),
        (["--port", "0"], "--port is 0; it must be at least 1"),
        (["--port", "65536"], "--port is 65536; it must be at most 65535"),
    ],
)
def test_bad_options(command, options, message):
    assert_one_line(command(demo, *options), message)


def test_sharing_is_off_unless_its_host_is_named(command):
    assert demo.Config().share is None and demo.Config(share="gradio.live").share == demo.PUBLIC
    with pytest.raises(UserError, match="is refused"):
        demo.Config(share="")


def test_without_gradio_a_line_says_what_to_install(command, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert_one_line(command(demo), "run: pip install -r requirements-demo.txt")
