"""A page to try the networks on: composites, reconstructions, happy or sad.

    python demo.py                  # then open http://127.0.0.1:7860
    python demo.py --port 8000

Needs `pip install -r requirements-demo.txt`. It uses the networks in pretrained/. Only this machine sees the page; it
contacts no other machine, and uploads go to a temporary folder that is removed at the end."""

import contextlib
import os
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import Iterator

sys.path.insert(0, os.path.dirname(__file__))  # `python -I` leaves it out
from lab import cli
from lab.cli import UserError

LARGEST_UPLOAD = "10mb"
VISITORS = 100  # who may wait at once
DESCRIPTION = "Arithmetic with emoji faces: what autoencoders and other methods make of a cat with heart-shaped eyes."
ABROAD = ("http_proxy", "https_proxy", "all_proxy", "ssl_cert_file", "ssl_cert_dir")  # variables of the environment


@dataclass(frozen=True, kw_only=True)
class Config:
    """Show a page with the networks, only on this machine."""

    port: int = 7860  # of 127.0.0.1

    def __post_init__(self):
        cli.require_range(1, 65535, port=self.port)


def build():
    """The page with its tabs, a gradio.Blocks. Raises UserError."""
    from lab import sources

    sources.package_folder("gradio", "the page", "requirements-demo.txt")  # a line if it is not installed
    import gradio

    from page import classify, composite, reconstruct, show

    with gradio.Blocks(title="The emoji autoencoder lab", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gradio.Markdown(f"# The emoji autoencoder lab\n{DESCRIPTION}")
        tabs, fields = [], []
        for part, name in ((composite, "Composite"), (reconstruct, "Reconstruct"), (classify, "Happy or sad")):
            with gradio.Tab(name) as tab:
                fields += part.tab(blocks.load if part is composite else tab.select)
                tabs.append(tab)
        show.keep(blocks, tabs, fields)
        gradio.Markdown(f"Pictures: {'; '.join(sources.LICENSED.values())}.")
    return blocks.queue(max_size=VISITORS, default_concurrency_limit=1)


@contextlib.contextmanager
def served(config: Config) -> Iterator[str]:
    """The address of the page, while it is served. Raises UserError."""
    with tempfile.TemporaryDirectory(prefix="emoji-page-") as folder:
        try:
            socket.create_server(("127.0.0.1", config.port)).close()  # before seconds of loading
        except OSError as error:
            raise UserError(f"the page cannot be served on port {config.port} ({error}); give another --port") from None
        # Before gradio is imported, which reads these: no statistics, no Hub, uploads in this folder.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": folder}
        os.environ["NO_PROXY"] = "127.0.0.1"  # gradio asks itself whether it is there
        for name in [name for name in os.environ if name.lower() in ABROAD]:
            del os.environ[name]  # the page asks no other machine
        blocks = build()
        from page import composite, show

        usual = (*composite.USUAL, None, 1.0, "twemoji", "coursework")
        threading.Thread(target=composite.composed, args=usual, daemon=True).start()  # what the first answer needs
        try:
            _, address, _ = blocks.launch(
                server_name="127.0.0.1", server_port=config.port,
                max_file_size=LARGEST_UPLOAD, run_history=False, enable_monitoring=False, ssr_mode=False, quiet=True,
                theme=show.THEME, css=show.STYLE + show.pictured(), footer_links=[], prevent_thread_lock=True,
                head=f'<meta name="description" content="{DESCRIPTION}">', js=show.START,
            )  # fmt: skip
            yield address
        finally:
            blocks.close(verbose=False)


def main(config: Config) -> None:
    """Serve the page until Ctrl-C."""
    print("loading the page: a few seconds", flush=True)
    try:
        with served(config) as address:
            print(f"the page is at {address} until Ctrl-C", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt as stop:
        os._exit(cli.report(stop, resumable=False))  # threads that still compute are not waited for


if __name__ == "__main__":
    cli.run(main, Config)
