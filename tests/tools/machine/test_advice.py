"""What follows, computed by hand."""

import pytest

from frih.config import Config
from frih.tools.machine.advice import follows, parts_of


def timed(precision, batch, rate, *, compiled=False, **more):
    row = {"network": "FRIH", "mode": "training", "status": "measured", "precision": precision, "batch": batch}
    return {**row, "images_per_second": rate, "compiled": compiled, **more}


LOADER = {"name": "loader beside the busy device", "status": "measured", "images_per_second": 800.0, "workers": 16}
FAST = [timed("tf32", 64, 400.0), timed("tf32", 128, 410.0), timed("bf16", 64, 600.0), timed("bf16", 128, 610.0)]


def advice(fast, *, gpus=1, cores=4, **sections):
    return follows({"fast": fast, **sections}, Config(), gpus=gpus, cores=cores)


def test_the_fastest_arithmetic_and_its_time():
    found = advice(FAST, cores=16, loader=[LOADER])
    assert found["options"] == ["train.batch=128", "train.precision=bf16", "data.workers=16"]
    assert found["enough"] == 64
    assert found["images_per_second"] == 610.0
    assert found["hours"] == pytest.approx(180 * 65742 * 0.98 / 610 / 3600)


def test_eight_gpus_share_batch_and_cores():
    found = advice([timed("bf16", 16, 500.0), timed("bf16", 128, 610.0)], gpus=8, cores=16, loader=[LOADER])
    assert (found["batch_a_process"], found["accumulate"], found["workers"]) == (16, 1, 2)
    assert found["images_per_second"] == 800.0  # the loader's, not eight times 500
    assert any("the device waits" in line for line in found["lines"])


def test_a_batch_that_does_not_fit_is_taken_in_parts():
    found = advice([timed("tf32", 16, 50.0), timed("tf32", 32, 60.0)])
    assert "train.accumulate=4" in found["options"]
    assert found["images_per_second"] == 60.0
    assert (parts_of(128, 128), parts_of(128, 100), parts_of(12, 5), parts_of(7, 2)) == (1, 2, 3, 7)


def test_a_wrong_arithmetic_is_not_recommended():
    wrong = {"name": "FRIH, bf16", "status": "wrong", "precision": "bf16"}
    assert advice(FAST, right=[wrong])["precision"] == "tf32"


@pytest.mark.parametrize(("compiled", "worth"), [(420.0, False), (500.0, True)])
def test_a_little_faster_is_not_worth_it(compiled, worth):
    fast = [timed("tf32", 128, 400.0), timed("bf16", 128, 430.0)]
    found = advice([*fast, timed("tf32", 128, compiled, compiled=True, compiling_seconds=9)])
    assert (found["precision"], found["compile"]) == ("tf32", worth)
    assert ("train.compile=true" in found["options"]) == worth
    assert found["images_per_second"] == (500.0 if worth else 400.0)


def test_nothing_follows_from_nothing():
    assert advice([{"status": "skipped", "network": "FRIH"}], gpus=0)["options"] == []
