import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from frih.checkpoint import save_checkpoint
from frih.experiments.headroom import headroom
from frih.models import build_model
from tests.report.helpers import row

ROOT = Path(__file__).parents[2]
LABELS = np.repeat(np.array([[0, 1, 1, 2]], np.uint8), 40, axis=0)  # areas 80 and 40


def pictures(seed=0):
    real = np.random.default_rng(seed).uniform(0, 255, (*LABELS.shape, 3))
    return real.copy(), real


def test_a_shift_of_each_submask():
    picture, real = pictures()
    picture[LABELS == 1] -= 10
    picture[LABELS == 2] -= [10, 40, 10]
    picture[LABELS == 0] = 0  # does not count
    found = headroom(picture, real, LABELS)
    assert found.before == pytest.approx((100 * 8 + 1600) / 9)
    # green: 10 on two thirds, 40 on one; their mean is 20
    assert found.shift_mask == pytest.approx((100 * 2 / 3 + 400 / 3) / 3)
    assert found.shift_submasks == pytest.approx(0)
    assert found.affine_submasks == pytest.approx(0)
    assert 0 < found.affine_mask < found.shift_mask


def test_an_affine_map_of_the_mask():
    picture, real = pictures()
    real[LABELS > 0] = picture[LABELS > 0] @ [[0.5, 0.1, 0], [0, 0.8, 0.2], [0.3, 0, 1]] + [5, -7, 0]
    found = headroom(picture, real, LABELS)
    assert found.affine_mask == pytest.approx(0)
    assert found.shift_mask > 100


def test_each_kind_is_the_better_the_more_it_can():
    picture, real = pictures()
    picture = picture + np.random.default_rng(1).normal(0, 20, picture.shape)
    found = headroom(picture, real, LABELS)
    assert found.before >= found.shift_mask >= found.shift_submasks >= found.affine_submasks
    assert found.shift_mask >= found.affine_mask >= found.affine_submasks


def test_few_pixels_are_shifted_only():
    picture, real = pictures()
    labels = np.zeros_like(LABELS)
    labels[:5, 0] = 1
    found = headroom(picture, real, labels)
    assert found.affine_mask == pytest.approx(found.shift_mask)


def test_no_foreground_is_refused():
    with pytest.raises(ValueError, match="no pixel is foreground"):
        headroom(*pictures(), np.zeros_like(LABELS))


def test_program(monkeypatch, capsys, dataset, small_config, tmp_path):
    config = small_config(data={"root": str(dataset)})
    save_checkpoint(tmp_path / "run/checkpoints/last.pt", config, build_model(config), {"step": 7})
    printed = []
    for stage in ("composite", "coarse", "refined"):
        words = ["headroom.py", str(tmp_path / "run"), "--stage", stage, "--pictures", "2"]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "scripts/headroom.py"), run_name="__main__")
        assert caught.value.code == 0
        printed.append(capsys.readouterr().out)
        assert f"MSE of the {stage} picture inside the mask, mean over 2 composites" in printed[-1]
    assert len(set(printed)) == 3


def test_differences_are_grouped_by_the_largest_submask(capsys):
    program = runpy.run_path(str(ROOT / "scripts/headroom.py"))
    first = [row("A", f"{i}.jpg", real=f"{i}.jpg", fmse=100) for i in range(20)]
    second = [one._replace(scores={**one.scores, "fmse": 90 if i < 10 else 103}) for i, one in enumerate(first)]
    program["print_differences"](first, second, {("A", f"{i}.jpg"): 0.5 if i < 10 else 1.0 for i in range(20)})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(line[0], line[6], line[-2]) for line in (lines[0], lines[3])] == [
        ("0%", "-10.00", "10"),
        ("95%", "+3.00", "10"),
    ]
    assert [line[-2] for line in lines[1:3]] == ["0", "0"]
