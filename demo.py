"""A page to try the networks on: composites, reconstructions, happy or sad.

    python demo.py                  # then open http://127.0.0.1:7860
    python demo.py --port 8000

Needs `pip install -r requirements-demo.txt`. Only this machine sees the page, and it asks nothing of any other. It
takes the networks in pretrained/, and writes into a temporary folder that goes when it ends.
"""

import contextlib
import os
import tempfile
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Iterator

from lab import cli, sources
from lab.cli import UserError

PUBLIC = "gradio.live"  # where --share lets the world see the page
LARGEST_UPLOAD = "10mb"
VISITORS = 100  # who may wait at once


@dataclass(frozen=True, kw_only=True)
class Config:
    """Show a page with the networks, on this machine alone."""

    port: int = 7860  # of 127.0.0.1
    share: str | None = None  # gradio.live: create a public link through that host

    def __post_init__(self):
        cli.require_range(1, 65535, port=self.port)
        if self.share not in (None, PUBLIC):
            public = f"through {PUBLIC} anybody could see the page and upload pictures"
            raise UserError(f"--share {self.share!r} is refused: {public}; if you mean that, give --share {PUBLIC}")


def keep_to(folder: str) -> None:
    """Let the libraries of the page ask no other machine, and write into `folder` alone."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": folder}
    if not sources.cache_folder().is_dir():
        os.environ["XDG_CACHE_HOME"] = folder  # OpenMoji's drawings and fonts; those that are there already are read


def built():
    """The page with its tabs, a gradio.Blocks. Raises UserError."""
    import gradio

    from page import classify, composite, reconstruct

    with gradio.Blocks(title="The emoji autoencoder lab", analytics_enabled=False) as blocks:
        gradio.Markdown("# The emoji autoencoder lab\nEmoji faces as 128 numbers, and what can be done with them.")
        with gradio.Tab("Composite"):
            composite.tab()
        for name, part in (("Reconstruct", reconstruct), ("Happy or sad", classify)):
            with gradio.Tab(name) as opened:
                part.tab(opened)
        gradio.Markdown("Pictures: Twemoji (CC-BY 4.0), OpenMoji (CC BY-SA 4.0), Noto Emoji (Apache-2.0).")
    return blocks.queue(max_size=VISITORS, default_concurrency_limit=1)


@contextlib.contextmanager
def served(config: Config) -> Iterator[str]:
    """The address of the page, while it is served. Raises UserError."""
    if not find_spec("gradio"):
        raise UserError("the page needs a package that is not installed; run: pip install -r requirements-demo.txt")
    with tempfile.TemporaryDirectory(prefix="emoji-page-") as folder:
        keep_to(folder)
        blocks = built()
        import gradio

        from page import show

        try:
            _, address, public = blocks.launch(
                server_name="127.0.0.1", server_port=config.port, share=config.share == PUBLIC, inbrowser=False,
                prevent_thread_lock=True, quiet=True, ssr_mode=False, run_history=False, enable_monitoring=False,
                max_file_size=LARGEST_UPLOAD, allowed_paths=[], footer_links=[], css=show.STYLE, root_path="",
                theme=gradio.themes.Default(font=("system-ui", "sans-serif"), font_mono=("monospace",)),
                state_session_capacity=1000, mcp_server=False, pwa=False,
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"the page cannot be served on port {config.port} ({error}); give another --port") from None
        try:
            yield public or address
        finally:
            blocks.close(verbose=False)


def main(config: Config) -> None:
    """Serve the page until Ctrl-C."""
    with served(config) as address:
        print(f"the page is at {address} until Ctrl-C", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    cli.run(main, Config)
