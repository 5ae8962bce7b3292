"""Every mistake a user can make: one line, exit status 2, nothing overwritten."""

import datasets
import pytest

import autoencoder
import data
import records

TINY = ("--source", "twemoji", "--keyword", "cat face", "--epochs", "1", "--copies", "1")


def write_parquet(path, **columns):
    datasets.Dataset.from_dict(columns).to_parquet(str(path))
    return path


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--epoch", "3"], "--epoch"),
        (["--epochs", "many"], "--epochs"),
        (["--augment", "strong"], "augment"),
        (["--epochs"], "--epochs"),
        (["--source", "nowhere.parquet"], "nowhere.parquet is not there"),
        (["--source", "text.txt"], "not a parquet file"),
        (["--source", "text.parquet"], "no column image"),
        (["--source", "image.parquet"], "no column text"),
        (["--source", "broken.parquet"], "cannot be read"),
        (["--source", "empty"], "cannot be read"),
        (["--source", "hub"], "out of reach"),
        (["--keyword", "zebra crossing"], "zebra crossing"),
        (["--keyword", "pouting cat"], "only 1 distinct names"),
        (["--device", "cuda"], "--device cuda"),
        (["--device", "abacus"], "--device abacus"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--copies", "0"], "--copies is 0"),
        (["--latent", "-1"], "--latent is -1"),
        (["--learning-rate", "nan"], "--learning-rate is nan"),
        (["--dropout", "1"], "--dropout is 1"),
        (["--out", "text.txt/run"], "text.txt/run cannot be written"),
        (["--plots", "text.txt"], "text.txt cannot be written"),
    ],
)
def test_one_line_and_status_2(command, tmp_path, arguments, message, monkeypatch):
    (tmp_path / "text.txt").write_text("no parquet")
    (tmp_path / "broken.parquet").write_text("no parquet")
    (tmp_path / "empty").mkdir()
    write_parquet(tmp_path / "text.parquet", text=["a"] * 6)
    write_parquet(tmp_path / "image.parquet", image=["a"] * 6)
    record = tmp_path / "runs" / "autoencoder" / "metrics.json"
    record.parent.mkdir(parents=True)
    record.write_text("earlier")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    status, _, error = command(autoencoder, *TINY, *arguments)
    assert status == 2
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert record.read_text() == "earlier"


def test_data_script_reports_in_the_same_way(command):
    status, _, error = command(data, "--source", "nowhere")
    assert (status, error.count("\n")) == (2, 1)


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
