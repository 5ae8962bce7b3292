"""Generated input: whatever comes, it is used or refused in one line.

A few cases by default, more than 10,000 with `-m long`.
"""

import contextlib
import functools
import io
import json
import tempfile
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import analogies
import autoencoder
import bench
from common import command_line
import composite
import data
import multiTaskModel
from common import names
from common.errors import UserError
from common.pictures import Row
from conftest import configurations
from lab import classification, trained
from lab.convolutional import ConvAutoencoder
from lab.options import ReportRun


def cases(few: int, many: int):
    """Parametrizes a test with how many cases it generates: `few`, or `many` with -m long."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.long)])


def fuzz(count: int, check, *strategies) -> None:
    """Call `check` with `count` generated arguments, the same ones every time. A case of 20 s counts as hanging."""
    chosen = settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=timedelta(seconds=20),
        suppress_health_check=list(HealthCheck),
    )
    chosen(given(*strategies)(check))()


def or_one_line(function, *arguments):
    """What the function returns, or None if it refuses its arguments as the user's mistake."""
    try:
        return function(*arguments)
    except UserError as error:
        line = str(error)
        assert line and line.isprintable() and len(line) <= 1000
        return None


# ---------------------------------------------------------------- command lines

SCRIPTS = (data, autoencoder, multiTaskModel, composite, analogies, bench)
VALUES = [
    "", "0", "1", "-1", "3", "1.5", "nan", "-inf", "1e400", str(10**12), "9" * 5000,
    "none", "None", "True", "report", "emoji", "auto", "cpu", "=", "--", "😀", "\ud800", "x\ny",
]  # fmt: skip


def parse(script, arguments: list[str]):
    """The config that the command line gives; None for --help."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return command_line.parse(*configurations(script), arguments=arguments)
    except SystemExit as stop:
        assert stop.code == 0 and {"-h", "--help"} & set(arguments)


@cases(40, 2500)
def test_command_lines(count):
    word = st.sampled_from(VALUES) | st.text(max_size=8) | st.integers().map(str) | st.floats().map(str)

    def lines(script):
        fields = {name for config in configurations(script) for name in config.__dataclass_fields__}
        options = [f"--{name.replace('_', '-')}" for name in sorted(fields)]
        option = st.sampled_from(options) | st.sampled_from([*options, "--help", "-h", "--epoch", "--no-skip-bad"])
        pair = (
            st.tuples(option, word)
            | st.tuples(option, word)
            | st.tuples(option)
            | st.builds(lambda o, w: (f"{o}={w}",), option, word)
        )
        return st.tuples(st.just(script), st.lists(pair | st.tuples(word), max_size=3))

    def check(line):
        script, pairs = line
        config = or_one_line(parse, script, [argument for pair in pairs for argument in pair])
        assert config is None or isinstance(config, configurations(script))

    fuzz(count, check, st.sampled_from(SCRIPTS).flatmap(lines))


# ---------------------------------------------------------------- names


@cases(80, 2500)
def test_names(count):
    word = st.sampled_from(
        ["face", "happy face", "sad-face", "type 1 2", "cat", "👍🏽", "🏽", "\ufe0f", "", " ", "$x$", "\x1b[31m", "İ"]
    )
    text = st.lists(word | st.text(max_size=10), max_size=4).map(" ".join)

    def check(texts, query):
        spelled = [names.normalise(text) for text in texts]
        assert [names.normalise(name) for name in spelled] == spelled
        assert all(not letter < " " for name in spelled for letter in name)
        assert names.described(query)[0] == names.normalise(names.described(query)[0])
        index = or_one_line(names.find, spelled, query)
        assert index is None or (spelled[index] and names.find(spelled, spelled[index]) <= index)
        for name in spelled:
            assert names.twin_key(name + " type 3") == names.twin_key(name + " type 5")
            assert or_one_line(classification.class_of, name) in (None, 0, 1)

    fuzz(count, check, st.lists(text | st.none(), max_size=6), text)


# ---------------------------------------------------------------- pictures


@functools.cache
def encoded_pictures() -> list[bytes]:
    """A picture with a gradient and transparency in every format and mode that files have."""
    ramp = np.linspace(0, 255, 24 * 24 * 4).reshape(24, 24, 4).astype(np.uint8)
    picture, exif = Image.fromarray(ramp), Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x8769] = 6, "a description", {0x9003: "2026:01:01 00:00:00"}
    rgb = picture.convert("RGB")
    options = [
        (picture, "PNG", {"exif": exif}),
        (rgb.quantize(16), "PNG", {"transparency": 3}),
        (rgb.convert("L"), "PNG", {"transparency": 7}),
        (Image.fromarray(ramp[..., 0].astype(np.uint16) * 257), "PNG", {}),
        (rgb, "JPEG", {"exif": exif}),
        (rgb.convert("CMYK"), "JPEG", {"progressive": True}),
        (rgb, "GIF", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        (picture, "WEBP", {"exif": exif}),
        (picture, "WEBP", {"lossless": True}),
        (rgb, "BMP", {}),
        (picture, "TIFF", {"description": "a description", "resolution": 72.5}),
        (rgb, "TIFF", {"compression": "tiff_lzw"}),
        (rgb, "TIFF", {"compression": "jpeg"}),
        (picture, "AVIF", {"exif": exif}),
        (rgb, "AVIF", {"save_all": True, "append_images": [rgb.rotate(90)]}),
    ]
    result = []
    for picture, form, more in options:
        file = io.BytesIO()
        picture.save(file, form, **more)
        result.append(file.getvalue())
    return result


@st.composite
def damaged_pictures(draw) -> bytes:
    """An encoded picture with bytes changed, cut out, doubled or appended, mostly near the start, where sizes are."""
    content = bytearray(draw(st.sampled_from(encoded_pictures())))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, min(len(content), 100)) | st.integers(0, len(content)))
        end = place + draw(st.sampled_from([0, 1, 2, 4, 30, 10**6]))
        content[place:end] = draw(st.sampled_from([b"", bytes(content[place:end]) * 2]) | st.binary(max_size=4))
    return bytes(content)


@cases(80, 20_000)
def test_pictures(count):
    def check(content):
        rows = [Row("a face", "row 0", lambda: content)]
        originals = or_one_line(data.decode, rows, "made", "face", False)
        assert originals is None or (originals.images.shape, originals.images.dtype) == ((1, 3, 64, 64), torch.uint8)
        both = data.decode([*rows, Row("a face", "row 1", lambda: encoded_pictures()[0])], "made", "face", True)
        assert (len(both.images), both.skipped) == ((1, 1) if originals is None else (2, 0))

    fuzz(count, check, damaged_pictures())


# ---------------------------------------------------------------- records of models


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    ConvAutoencoder(4).save_pretrained(folder)
    (folder / "run.json").write_text(
        json.dumps({"source": "twemoji", "config": asdict(data.DataConfig(source="twemoji"))})
    )
    (folder / "metrics.json").write_text("{}")
    return folder


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["none", "report", "emoji", 4, 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@cases(40, 1200)
def test_records_of_models(count, model):
    files = {name: (model / name).read_text() for name in ("config.json", "run.json")}

    def check(name, place, value, text):
        content = json.loads(files[name])
        options = content.get("config", content)  # of the model, or of the data it was trained on
        options[sorted(options)[place % len(options)]] = value
        (model / name).write_text(json.dumps(content) if text is None else text)
        try:
            found = or_one_line(trained.network, ReportRun(source="twemoji", out=model))
        finally:
            (model / name).write_text(files[name])
        if found:
            assert type(found[0].latent) is int and found[0].latent == 4
            assert found[1].split in ("report", "emoji") and found[1].copies == "none" or type(found[1].copies) is int

    text = st.none() | st.none() | st.text(max_size=20) | anything.map(json.dumps)
    fuzz(count, check, st.sampled_from(sorted(files)), st.integers(0, 20), anything, text)


# ---------------------------------------------------------------- tables

PICTURE = encoded_pictures()[0]
CELLS = {
    "picture": lambda rows: pyarrow.array([PICTURE] * rows),
    "picture with a path": lambda rows: pyarrow.array([{"bytes": PICTURE, "path": "a.png"}] * rows),
    "bytes": lambda rows: pyarrow.array([bytes([row]) * row for row in range(rows)], "binary"),
    "text": lambda rows: pyarrow.array([f"face {row}" for row in range(rows)], "large_string"),
    "path": lambda rows: pyarrow.array([{"path": "/dev/zero"}] * rows, pyarrow.struct({"path": pyarrow.string()})),
    "numbers": lambda rows: pyarrow.array(range(rows), "int64"),
    "reals": lambda rows: pyarrow.array([float("nan")] * rows),
    "truths": lambda rows: pyarrow.array([True] * rows),
    "times": lambda rows: pyarrow.array([1] * rows, "timestamp[s]"),
    "nulls": lambda rows: pyarrow.nulls(rows),
    "lists": lambda rows: pyarrow.array([["a"] * row for row in range(rows)], pyarrow.list_(pyarrow.string())),
    "pixels": lambda rows: pyarrow.array(
        [[[row] * 4] * 4 for row in range(rows)], pyarrow.list_(pyarrow.list_(pyarrow.int64()))
    ),
    "fields": lambda rows: pyarrow.array(
        [{"a": {"b": 1}}] * rows, pyarrow.struct({"a": pyarrow.struct({"b": pyarrow.int8()})})
    ),
    "categories": lambda rows: pyarrow.array(["face"] * rows, "string").dictionary_encode(),
    "map": lambda rows: pyarrow.array([[("a", 1)]] * rows, pyarrow.map_("string", "int8")),
}


@cases(12, 400)
def test_tables(count):
    def check(columns, rows, skip_bad, notes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.parquet"
            table = pyarrow.table({name: CELLS[kind](rows) for name, kind in columns.items()})
            pyarrow.parquet.write_table(
                table.replace_schema_metadata({"huggingface": json.dumps(notes)} if notes else None), path
            )
            originals = or_one_line(data.load_originals, str(path), "", skip_bad)
        if originals is not None:
            assert {"image", "text"} <= set(columns) and len(originals.names) == len(
                originals.images
            ) == rows - originals.skipped

    kind = st.sampled_from(sorted(CELLS))
    columns = st.fixed_dictionaries({"image": kind, "text": kind}, optional={"more": kind})
    few = st.dictionaries(st.sampled_from(["image", "text", "more"]), kind, max_size=2)
    fuzz(count, check, columns | columns | few, st.integers(0, 3), st.booleans(), st.none() | st.none() | anything)
