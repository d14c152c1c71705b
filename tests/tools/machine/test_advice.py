"""What follows, computed by hand."""

import pytest

from frih.config import Config
from frih.tools.machine.advice import follows, parts_of


def timed(precision, batch, rate, *, compiled=False, **more):
    row = {"network": "FRIH", "mode": "training", "status": "measured", "precision": precision, "batch": batch}
    return {**row, "images_per_second": rate, "compiled": compiled, **more}


LOADER = {"name": "loader beside the busy device", "status": "measured", "images_per_second": 800.0, "workers": 16}
FAST = [timed("tf32", 64, 400.0), timed("tf32", 128, 410.0), timed("bf16", 64, 600.0), timed("bf16", 128, 610.0)]


def test_the_fastest_arithmetic_and_its_time():
    found = follows({"fast": FAST, "loader": [LOADER]}, Config(), gpus=1, cores=16)
    assert found["options"] == ["train.batch=128", "train.precision=bf16", "data.workers=16"]
    assert found["enough"] == 64
    assert found["images_per_second"] == 610.0
    assert found["hours"] == pytest.approx(180 * 65742 * 0.98 / 610 / 3600)


def test_eight_gpus_share_batch_and_cores():
    fast = [timed("bf16", 16, 500.0), timed("bf16", 128, 610.0)]
    found = follows({"fast": fast, "loader": [LOADER]}, Config(), gpus=8, cores=16)
    assert (found["batch_a_process"], found["accumulate"], found["workers"]) == (16, 1, 2)
    assert found["images_per_second"] == 800.0  # the loader's, not eight times 500
    assert any("the device waits" in line for line in found["lines"])


def test_what_does_not_fit_is_taken_in_parts():
    found = follows({"fast": [timed("tf32", 16, 50.0), timed("tf32", 32, 60.0)]}, Config(), gpus=1, cores=4)
    assert "train.accumulate=4" in found["options"]
    assert found["images_per_second"] == 60.0
    assert (parts_of(128, 128), parts_of(128, 100), parts_of(12, 5), parts_of(7, 2)) == (1, 2, 3, 7)


def test_a_wrong_arithmetic_is_not_recommended():
    wrong = [{"name": "FRIH, bf16", "status": "wrong", "precision": "bf16"}]
    assert follows({"fast": FAST, "right": wrong}, Config(), gpus=1, cores=4)["precision"] == "tf32"


def test_a_little_faster_is_not_worth_it():
    fast = [
        timed("tf32", 128, 400.0),
        timed("bf16", 128, 430.0),
        timed("tf32", 128, 420.0, compiled=True, compiling_seconds=9),
    ]
    found = follows({"fast": fast}, Config(), gpus=1, cores=4)
    assert (found["precision"], found["compile"]) == ("tf32", False)
    fast[2]["images_per_second"] = 500.0
    found = follows({"fast": fast}, Config(), gpus=1, cores=4)
    assert "train.compile=true" in found["options"]
    assert found["images_per_second"] == 500.0


def test_nothing_follows_from_nothing():
    assert follows({"fast": [{"status": "skipped"}]}, Config(), gpus=0, cores=1)["options"] == []
