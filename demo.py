"""A page to try the networks on: composites, reconstructions, happy or sad.

    python demo.py                  # then open http://127.0.0.1:7860
    python demo.py --port 8000

Needs `pip install -r requirements-demo.txt`. It uses the networks in pretrained/. Only this machine sees the page; it
asks nothing of other machines, and what it writes is in a temporary folder that is removed when it ends."""

import contextlib
import os
import tempfile
import threading
from dataclasses import dataclass
from typing import Iterator, Literal

from lab import cli, sources  # before torch: lab sets the environment
from lab.cli import UserError

LARGEST_UPLOAD = "10mb"
VISITORS = 100  # who may wait at once


@dataclass(frozen=True, kw_only=True)
class Config:
    """Show a page with the networks, on this machine alone."""

    port: int = 7860  # of 127.0.0.1
    share: Literal["gradio.live"] | None = None  # gradio.live: anybody with the link sees the page, through that host

    def __post_init__(self):
        cli.require_range(1, 65535, port=self.port)


def build():
    """The page with its tabs, a gradio.Blocks. Raises UserError."""
    sources.package_folder("gradio", "the page", "requirements-demo.txt")  # a line if it is not installed
    import gradio

    from page import classify, composite, reconstruct

    with gradio.Blocks(title="The emoji autoencoder lab", analytics_enabled=False) as blocks:
        gradio.Markdown("# The emoji autoencoder lab\nEmoji faces as 128 numbers, and what can be done with them.")
        for name, part in (("Composite", composite), ("Reconstruct", reconstruct), ("Happy or sad", classify)):
            with gradio.Tab(name) as opened:
                part.tab(opened)
        gradio.Markdown(f"Pictures: {'; '.join(sources.LICENSED.values())}.")
    return blocks.queue(max_size=VISITORS, default_concurrency_limit=1)


@contextlib.contextmanager
def served(config: Config) -> Iterator[str]:
    """The address of the page, while it is served. Raises UserError."""
    with tempfile.TemporaryDirectory(prefix="emoji-page-") as folder:
        # Before gradio is imported, which reads these: no statistics, no Hub, uploads in this folder.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": folder}
        if not sources.cache_folder().is_dir():
            os.environ["XDG_CACHE_HOME"] = folder  # OpenMoji's drawings and matplotlib's fonts
        blocks = build()
        from page import show

        try:
            _, address, public = blocks.launch(
                server_name="127.0.0.1", server_port=config.port, share=config.share is not None,
                max_file_size=LARGEST_UPLOAD, run_history=False, enable_monitoring=False, ssr_mode=False,
                theme=show.THEME, css=show.STYLE, footer_links=[], prevent_thread_lock=True, quiet=True,
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
