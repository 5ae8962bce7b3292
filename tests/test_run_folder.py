"""Where a run writes: nothing of others is replaced or removed, and what is lost meanwhile is one line."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import autoencoder
import data
from common import files
from lab import records
from common.errors import UserError

TINY = (
    "--source",
    "twemoji",
    "--keyword",
    "cat face",
    "--copies",
    "1",
    "--epochs",
    "1",
    "--batch-size",
    "8",
    "--latent",
    "4",
)
NAMES = ["cat face", "dog face"]


@pytest.fixture
def config(tmp_path):
    return autoencoder.Config(source="made", latent=4, out=tmp_path / "run", plots=tmp_path / "plots")


@pytest.fixture
def record(made):
    """Start a run without training; with metrics it ends at once, without it is left unfinished."""

    def start(config, *rows: dict, metrics: dict | None = None) -> None:
        with records.recording(config, made(NAMES), torch.device("cpu")) as run:
            run.append(list(rows))
            if metrics is not None:
                run.finish(metrics)
            elif rows:
                run.checkpoint_path(None).write_bytes(b"of this run")

    return start


def content(folder: Path) -> dict:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


# ---------------------------------------------------------------- whose folder

FOREIGN = [
    "README.md",
    "config.json",
    "model.safetensors",
    "checkpoint-best.safetensors",
    ".gitignore",
    "notes.txt",
    "face.png",
    "run.json",
]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_files_of_others_is_refused(config, record, name, overwrite):
    config.out.mkdir()
    (config.out / name).write_text("{}")
    (config.out / "autoencoder_curves.png").touch()
    before = content(config.out)
    with pytest.raises(UserError, match=rf"holds files of others \({name}\); give another --out"):
        record(replace(config, overwrite=overwrite))
    assert content(config.out) == before


def test_the_current_folder_of_a_checkout(command, tmp_path):
    for name in ("README.md", "config.json", "model.safetensors"):
        (tmp_path / name).write_text("mine")
    status, _, error = command(autoencoder, *TINY, "--out", ".")
    assert (status, error.count("\n")) == (
        2,
        1,
    ) and "holds files of others (README.md, config.json, model.safetensors)" in error
    assert all((tmp_path / name).read_text() == "mine" for name in ("README.md", "config.json", "model.safetensors"))


@pytest.mark.parametrize("option", ["--out", "--plots"])
@pytest.mark.parametrize("path, message", [("", "it is empty; give a path"), ("a\0b", "it holds a NUL")])
def test_paths_that_are_none(command, tmp_path, option, path, message):
    status, _, error = command(autoencoder, *TINY, option, path)
    assert (status, error.count("\n")) == (2, 1) and f"{option}: {message}" in error and not list(tmp_path.iterdir())


def test_a_folder_of_figures_and_folders_will_do(config, record):
    (config.out / "networks").mkdir(parents=True)
    for name in ("contact_sheet.png", "multitask_classes.png", ".lock", ".run.json.99999999.part"):
        (config.out / name).touch()
    record(config, metrics={})
    assert (config.out / "contact_sheet.png").exists() and not list(config.out.glob(".*.part"))


def test_only_own_checkpoints_are_removed(config, record):
    record(config, metrics={})
    own = [
        "checkpoint.safetensors",
        "checkpoint-0-3.safetensors",
        "checkpoint-report-1-0.5.safetensors",
        "checkpoint-emoji-0-1e-05.safetensors",
    ]
    others = ["checkpoint-best.safetensors", "checkpoint.safetensors.bak", "checkpoints.safetensors"]
    for name in own + others:
        (config.out / name).write_text(name)
    record(config, metrics={})
    assert [name for name in own + others if (config.out / name).exists()] == others


def test_a_model_card_of_the_users_stays(command, tmp_path):
    assert command(autoencoder, *TINY)[0] == 0
    card = tmp_path / "runs/autoencoder/README.md"
    ours = card.read_text()
    assert command(autoencoder, *TINY)[0] == 0 and card.read_text() == ours
    card.write_text("# What I found")
    assert command(autoencoder, *TINY)[0] == 0 and card.read_text() == "# What I found"


@pytest.mark.parametrize("name", ["model.safetensors", "run.json", "metrics.json", "checkpoint.safetensors", ".lock"])
@pytest.mark.parametrize("finished", [False, True])
def test_folders_where_files_belong(config, record, name, finished):
    if finished:
        record(config, metrics={})
        (config.out / name).unlink(missing_ok=True)
    (config.out / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"holds files of others .*{name}/"):
        record(replace(config, overwrite=True))


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "[]", '{"config": [], "source": "made"}', '{"config": {}, "source": 1}', "\udcff"]
)
@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_a_run_that_is_none(config, record, text, options):
    record(config, {"epoch": 1})
    (config.out / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    before = content(config.out)
    with pytest.raises(UserError, match="holds files of others .*run.json"):
        record(replace(config, **options))
    assert content(config.out) == before


# ---------------------------------------------------------------- what killed processes leave


def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_killed_process_was_writing_is_swept(config, record):
    config.plots.mkdir()
    gone, parent = dead(), os.getppid()
    swept = [f".autoencoder_curves.png.{gone}.part", f".contact_sheet.png.{os.getpid()}.part"]
    left = [
        f".autoencoder_curves.png.{parent}.part",
        f".film.{gone}.part",
        ".film.part",
        f"autoencoder_curves.png.{gone}.part",
    ]
    for name in swept + left:
        (config.plots / name).touch()
    record(config, metrics={})
    assert {path.name for path in config.plots.iterdir()} == set(left)


def test_removed_folders_are_one_line(config, record):
    with pytest.raises(UserError, match="run was removed during the run"):
        with records.recording(
            config,
            data.Originals("made", NAMES, torch.zeros(2, 3, 64, 64, dtype=torch.uint8), ["", ""], ["made"] * 2),
            torch.device("cpu"),
        ) as run:
            shutil.rmtree(config.out)
            run.add({"epoch": 1})
    shutil.rmtree(config.plots)
    with pytest.raises(UserError, match="plots was removed during the run"):
        with files.written_whole(config.plots / "figure.png") as path:
            path.write_bytes(b"")
    with pytest.raises(FileNotFoundError):  # a fault of something else is none of the user's
        with files.written_whole(config.out.parent / "figure.png"):
            Path("nowhere/file").read_bytes()


def test_a_figure_where_a_folder_is(config):
    (config.plots / "figure.png").mkdir(parents=True)
    with pytest.raises(UserError, match="figure.png is a folder where a file belongs"):
        files.write_json(config.plots / "figure.png", {})


# ---------------------------------------------------------------- lines


def test_lines_of_a_resumed_run_are_never_fewer(config, record):
    lines, rows = config.out / "metrics.jsonl", [{"epoch": epoch} for epoch in (1, 2, 3)]
    record(config, *rows)
    for count in range(4):  # as many come from the checkpoint before the next error
        record(replace(config, resume=True), *rows[:count])
        assert [json.loads(line) for line in lines.read_text().splitlines()] == rows
    record(replace(config, resume=True), *rows, {"epoch": 4})
    assert lines.read_text().count("\n") == 4
    record(replace(config, resume=True), *rows[:2], metrics={})
    assert lines.read_text().count("\n") == 2 and not list(config.out.glob(".*.part"))


def test_lines_of_a_new_run_are_its_own(config, record):
    record(config, {"epoch": 1}, {"epoch": 2})
    record(replace(config, overwrite=True), {"epoch": 7})
    assert (config.out / "metrics.jsonl").read_text() == '{"epoch": 7}\n'
