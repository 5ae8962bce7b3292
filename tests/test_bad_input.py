"""Every mistake a user can make: one line, exit status 2, nothing overwritten."""

import os

import pyarrow
import pyarrow.parquet
import pytest

import analogies
import autoencoder
import bench
import composite
import data
import multiTaskModel
import records
from arithmetic import TWINS

TINY = ("--source", "twemoji", "--keyword", "cat face", "--epochs", "1", "--copies", "1")
HUGE = "1" + "0" * 30
CATS = [*TWINS, "cat face"]

# ---------------------------------------------------------------- options: arguments, and what the line says

OPTIONS = {
    data: [
        (["--source", "nowhere"], "nowhere is not there"),
        (["--plots", "text.txt"], "text.txt cannot be written"),
        (["--epochs", "3"], "--epochs"),
        (["surplus"], "surplus"),
    ],
    autoencoder: [
        (["--epoch", "3"], "--epoch"),
        (["--epochs"], "--epochs"),
        (["--epochs", ""], "--epochs"),
        (["--epochs", "many"], "--epochs"),
        (["--epochs", "1e3"], "--epochs"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--batch-size", "-5"], "--batch-size is -5"),
        (["--copies", "0"], "--copies is 0"),
        (["--copies", "-1"], "--copies is -1"),
        (["--copies", "1.5"], "--copies"),
        (["--copies", str(10**9)], "--copies 1000000000 needs 1"),
        (["--copies", HUGE, "--split", "emoji"], f"--copies {HUGE} needs"),
        (["--latent", "-1"], "--latent is -1"),
        (["--latent", "nan"], "--latent"),
        (["--latent", str(10**9)], "--latent is 1000000000; it must be at most 4096"),
        (["--latent", HUGE], f"--latent is {HUGE}; it must be at most 4096"),
        (["--latent", "2048", "--preset", "best"], "takes less than 2048"),
        (["--dropout", "1"], "--dropout is 1"),
        (["--dropout", "nan"], "--dropout is nan"),
        (["--dropout", "-0.1"], "--dropout is -0.1"),
        (["--learning-rate", "nan"], "--learning-rate is nan"),
        (["--learning-rate", "inf"], "--learning-rate is inf"),
        (["--weight-decay", "-1"], "--weight-decay is -1"),
        (["--seed", "-1"], "--seed is -1"),
        (["--seed", "one"], "--seed"),
        (["--steps", "0"], "--steps is 0"),
        (["--seconds", "0.5"], "--seconds is 0.5"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--refine-steps", "-1"], "--refine-steps is -1"),
        (["--augment", "strong"], "augment"),
        (["--split", "random"], "split"),
        (["--preset", "worst"], "preset"),
        (["--precision", "float16"], "precision"),
        (["--initialization", "zeros"], "initialization"),
        (["--train-on", "some"], "train-on"),
        (["--skip-bad", "yes"], "yes"),
        (["--keyword", "zebra crossing"], "no emoji of twemoji matches --keyword 'zebra crossing'"),
        (["--keyword", "\x1b[2J\n"], "matches --keyword '\\x1b[2J\\n'"),
        (["--keyword", "\udcff"], "matches --keyword '\\udcff'"),
        (["--keyword", "-"], "--keyword '-' has no letter"),
        (["--keyword", "pouting cat"], "only 1 distinct names"),
        (["--hold-out", "cheshire cat"], "--hold-out 'cheshire cat' is not among the 10 emoji"),
        (["--hold-out", ""], "--hold-out '' is not among"),
        (["--hold-out", *CATS[:6]], "only 4 distinct names"),
        (["--hold-out", *CATS], "only 0 distinct names"),
        (["--device", ""], "--device is not on this machine"),
        (["--device", "cuda"], "--device cuda"),
        (["--device", "abacus"], "--device abacus"),
        (["--device", "cpu:x"], "--device cpu:x"),
        (["--source", ""], "--source is empty"),
        (["--source", "hub"], "out of reach"),
        (["--source", "nowhere.parquet"], "nowhere.parquet is not there"),
        (["--source", "text.txt"], "not a parquet file"),
        (["--source", "~nobody-has-this-name/pictures"], "~nobody-has-this-name/pictures cannot be read"),
        (["--source", "a" * 5000], "aaa'); give a .parquet file with rows"),
        (["--source", "itself"], "itself is not there"),
        (["--out", "text.txt"], "text.txt cannot be written"),
        (["--out", "text.txt/run"], "text.txt/run cannot be written"),
        (["--out", "itself"], "itself cannot be written"),
        (["--out", "a" * 300], "cannot be written (File name too long)"),
        (["--plots", "text.txt"], "text.txt cannot be written"),
    ],
    multiTaskModel: [
        (["--seeds", "0"], "--seeds is 0"),
        (["--fold-seeds", "0"], "--fold-seeds is 0"),
        (["--classification-weight", "nan"], "--classification-weight is nan"),
        (["--classification-weight", "inf"], "--classification-weight is inf"),
        (["--latent", "5000"], "--latent is 5000"),
        (["--seed", "-3", "--split", "emoji"], "--seed is -3"),
        (["--copies", str(10**9)], "--copies 1000000000 needs"),
        (["--copies", str(10**9), "--split", "emoji"], "--copies 1000000000 needs"),
        (["--hold-out", "cheshire cat"], "--hold-out 'cheshire cat' is not among"),
        (["--hold-out", "crying face", "--split", "emoji"], "class sad has 4 emoji"),
        (["--out", "text.txt"], "text.txt cannot be written"),
    ],
    composite: [
        (["--target", ""], "'' matches no emoji"),
        (["--target", "\n"], "'\\n' matches no emoji"),
        (["--featured", "x" * 10**5], "matches no emoji; did you mean another keyword?"),
        (["--baseline", "face"], "'face' matches 171 emoji"),
        (["--truth", "a cat that is not there"], "matches no emoji"),
        (["--strength", "inf"], "--strength is inf"),
        (["--strength", "1e30"], "--strength is 1e+30"),
        (["--strength", "strong"], "--strength"),
        (["--method", "magic"], "method"),
        (["--latent", "0"], "--latent is 0"),
        (["--latent", "1000000000"], "--latent is 1000000000"),
        (["--model", "text.txt"], "text.txt holds no model.safetensors"),
        (["--model", "empty"], "empty holds no model.safetensors"),
        (["--out", "text.txt"], "text.txt cannot be written"),
    ],
    analogies: [
        (["--seeds", "1"], "--seeds is 1"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--latent", "0"], "--latent is 0"),
        (["--latent", "5000"], "--latent is 5000"),
        (["--source", "strange.parquet"], "needs 18 emoji that this source has not"),
        (["--out", "text.txt"], "text.txt cannot be written"),
    ],
    bench: [
        (["--seeds", "0"], "--seeds is 0"),
        (["--repeats", "0"], "--repeats is 0"),
        (["--steps", "few"], "--steps"),
        (["--budgets"], "--budgets is 0"),
        (["--budgets", "5", "nan"], "--budgets is nan"),
        (["--budgets", "-5"], "--budgets"),
        (["--out", "text.txt"], "text.txt cannot be written"),
        (["--runs", "text.txt"], "text.txt cannot be written"),
    ],
}  # fmt: skip


@pytest.fixture(scope="session")
def picture():
    return data.twemoji_rows()[0][2]()


@pytest.fixture
def earlier_records(tmp_path):
    """Files to trip over, and what earlier runs left, which must still be there afterwards."""
    (tmp_path / "text.txt").write_text("no parquet")
    (tmp_path / "empty").mkdir()
    (tmp_path / "itself").symlink_to("itself")
    kept = [tmp_path / "runs" / run / "metrics.json" for run in ("autoencoder", "multitask", "composite", "analogies", "bench")]
    for record in kept:
        record.parent.mkdir(parents=True)
        record.write_text("earlier")
    yield kept
    assert all(record.read_text() == "earlier" for record in kept)


def assert_one_line(result, message: str) -> None:
    status, _, error = result
    assert (status, error.count("\n")) == (2, 1) and error.startswith("error: ") and message in error


@pytest.mark.parametrize("script, arguments, message", [(script, *case) for script, cases in OPTIONS.items() for case in cases])
def test_options(command, earlier_records, monkeypatch, decoded_once, picture, script, arguments, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    write_parquet("strange.parquet", image=[picture] * 6, text=TEXTS)
    always = TINY if script is autoencoder else () if script is bench else ("--source", "twemoji")
    assert_one_line(command(script, *always, *arguments), message)


# ---------------------------------------------------------------- tables and folders


def write_parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


TEXTS = [f"face {i}" for i in range(6)]

# columns of a table, with PICTURE for an encoded picture, and what the line says
TABLES = {
    "no columns": ({}, "cannot be read (it has 0 rows"),
    "no rows": ({"image": pyarrow.array([], "binary"), "text": pyarrow.array([], "string")}, "give a .parquet file with rows"),
    "no image": ({"text": TEXTS}, "no column image"),
    "no text": ({"image": ["PICTURE"]}, "no column text"),
    "neither": ({"file": TEXTS}, "no column image and no text"),
    "images of numbers": ({"image": [1.5] * 6, "text": TEXTS}, "it is of type float; the column `image` needs encoded pictures"),
    "images of words": ({"image": [["a", "b"]] * 6, "text": TEXTS}, "its pixels are not whole numbers of 0 to 255"),
    "images of ragged lists": ({"image": [[[1], [1, 2]]] * 6, "text": TEXTS}, "cannot be decoded (setting an array element"),
    "images of other fields": ({"image": [{"url": "a"}] * 6, "text": TEXTS}, "row 0 ('face 0')"),
    "images whose bytes are numbers": ({"image": [{"bytes": 1, "path": "a"}] * 6, "text": TEXTS}, "it is of type int; the column `image` needs"),
    "images null": ({"image": pyarrow.nulls(6), "text": TEXTS}, "cannot be decoded (it is empty)"),
    "an image null": ({"image": ["PICTURE"] * 5 + [None], "text": TEXTS}, "row 5 ('face 5') of table.parquet cannot be decoded (it is empty)"),
    "an image empty": ({"image": ["PICTURE"] * 5 + [b""], "text": TEXTS}, "row 5 ('face 5') of table.parquet cannot be decoded"),
    "an image of text": ({"image": ["PICTURE"] * 5 + [b"face"], "text": TEXTS}, "it is none of PNG, JPEG, GIF"),
    "files that are not there": ({"image": ["nowhere.png"] * 6, "text": TEXTS}, "nowhere.png is no file"),
    "a file without end": ({"image": [{"bytes": None, "path": "/dev/zero"}] * 6, "text": TEXTS}, "/dev/zero is no file"),
    "texts of lists": ({"image": ["PICTURE"] * 6, "text": [["face"]] * 6}, "cannot be read (Unsupported cast from list"),
    "texts of bytes": ({"image": ["PICTURE"] * 6, "text": [b"\xff"] * 6}, "cannot be read (Invalid UTF8"),
    "texts null": ({"image": ["PICTURE"] * 6, "text": pyarrow.nulls(6)}, "no emoji of table.parquet matches"),
    "texts all alike": ({"image": ["PICTURE"] * 6, "text": ["face"] * 6}, "only 1 distinct names"),
    "a text of many lines": ({"image": [b""], "text": ["face\n" * 10**5]}, "row 0 ('face\\nface"),
}  # fmt: skip

# a metadata.csv, or None, the files beside it, and what the line says
FOLDERS = {
    "nothing": (None, {}, "cannot be read"),
    "no pictures": (None, {"README.md": b"faces"}, "cannot be read"),
    "a folder called x.png": (None, {"x.png/y.txt": b""}, "cannot be read"),
    "a text called face.png": (None, {"face.png": b"text"}, "folder/face.png ('face') cannot be decoded"),
    "a picture without bytes": (None, {"face.png": b""}, "folder/face.png ('face') cannot be decoded"),
    "a name that is no UTF-8": (None, {"\udcff.png": "PICTURE"}, "cannot be read ('utf-8'"),
    "metadata empty": ("", {"a.png": "PICTURE"}, "cannot be read (metadata.csv has no rows"),
    "metadata without rows": ("file_name,text\n", {"a.png": "PICTURE"}, "cannot be read (metadata.csv has no rows"),
    "metadata without file names": ("text\nface\n", {"a.png": "PICTURE"}, "metadata.csv needs the columns `file_name` and `text`"),
    "metadata binary": ("file_name,text\n\udcff\udcfe,face\n", {"a.png": "PICTURE"}, "cannot be read ('utf-8'"),
    "metadata and a missing file": ("file_name,text\na.png,face\nb.png,face\n", {"a.png": "PICTURE"}, "b.png is no file"),
    "metadata that leaves the folder": ("file_name,text\n../x.png,face\n", {"a.png": "PICTURE"}, "metadata.csv names '../x.png'; a `file_name` is a path inside the folder"),
    "metadata with an absolute path": ("file_name,text\n/etc/passwd,face\n", {"a.png": "PICTURE"}, "metadata.csv names '/etc/passwd'"),
    "metadata with an address": ("file_name,text\nhttp://a.b/c.png,face\n", {"a.png": "PICTURE"}, "c.png is no file"),
    "metadata with too many fields": ("file_name,text\na.png,face\na.png,face,face\n", {"a.png": "PICTURE"}, "and no more fields in a row"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables(command, earlier_records, picture, name):
    columns, message = TABLES[name]
    if isinstance(columns.get("image"), list):
        columns = {**columns, "image": [picture if image == "PICTURE" else image for image in columns["image"]]}
    write_parquet("table.parquet", **columns)
    assert_one_line(command(autoencoder, "--source", "table.parquet"), message)


@pytest.mark.parametrize("spoil", [lambda content: b"", lambda content: b"no parquet", lambda content: content[:-9], lambda content: content[100:]])
def test_broken_tables(command, earlier_records, picture, tmp_path, spoil):
    write_parquet("table.parquet", image=[picture] * 6, text=TEXTS)
    path = tmp_path / "table.parquet"
    path.write_bytes(spoil(path.read_bytes()))
    assert_one_line(command(autoencoder, "--source", "table.parquet"), "table.parquet cannot be read")


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(command, earlier_records, picture, tmp_path, name):
    metadata, files, message = FOLDERS[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    for file, content in files.items():
        path = folder / os.fsencode(file).decode("utf-8", "surrogateescape")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture if content == "PICTURE" else content)
    if metadata is not None:
        (folder / "metadata.csv").write_bytes(metadata.encode("utf-8", "surrogateescape"))
    assert_one_line(command(autoencoder, "--source", "folder", "--keyword", ""), message)


def test_bad_pictures_only_are_not_skipped_into_nothing(command, earlier_records):
    write_parquet("table.parquet", image=[b"no picture"] * 6, text=TEXTS)
    assert_one_line(command(autoencoder, "--source", "table.parquet", "--skip-bad"), "none of the 6 matching pictures of table.parquet")


# ---------------------------------------------------------------- what is legal, and what happens later


def test_large_but_legal(command):
    status, _, error = command(autoencoder, *TINY, "--latent", "4", "--copies", "none", "--batch-size", HUGE, "--seed", HUGE)
    assert status == 0, error


def test_more_numbers_than_pictures_are_finite(faces):
    found = analogies.find_analogies(faces.names)
    space = analogies.drawn_space(faces, found, [], autoencoder.LARGEST_LATENT)
    assert space.latents.isfinite().all() and space.decode(space.latents[:2]).isfinite().all()


@pytest.mark.parametrize("script", OPTIONS)
def test_help_is_no_error(command, script):
    status, output, error = command(script, "--help")
    assert status == 0 and script.Config.__doc__.split(",")[0] in " ".join(output.split()) and not error


def test_loss_that_is_not_finite_stops_the_run(command):
    status, _, error = command(autoencoder, *TINY, "--learning-rate", "1e30", "--epochs", "3")
    assert status == 2 and "the loss became" in error


def test_interrupt_keeps_the_finished_epochs(command, tmp_path, monkeypatch):
    write = records.Record.epoch

    def interrupt_after_two(record, row):
        row = write(record, row)
        if row["epoch"] == 2:
            raise KeyboardInterrupt
        return row

    monkeypatch.setattr(records.Record, "epoch", interrupt_after_two)
    status, *_ = command(autoencoder, *TINY, "--epochs", "5")
    assert status == 130
    assert (tmp_path / "runs/autoencoder/metrics.jsonl").read_text().count("\n") == 2
    assert not (tmp_path / "runs/autoencoder/metrics.json").exists()
