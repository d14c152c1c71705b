from scripts.compare_commits import first_difference, shared_figures

CURVE = [{"step": 1, "train/loss": 0.5}, {"step": 1, "val/All/psnr": 30.0}, {"step": 2, "train/loss": 0.25}]


def test_curves_that_are_the_same():
    assert first_difference(CURVE, [dict(line) for line in CURVE]) is None


def test_the_first_difference_is_told():
    other = [dict(line) for line in CURVE]
    other[1]["val/All/psnr"] = 30.000000000000004
    other[2]["train/loss"] = 0.0
    assert first_difference(CURVE, other) == "step 1: val/All/psnr 30.0 and 30.000000000000004"


def test_other_steps_are_a_difference():
    assert first_difference(CURVE, CURVE[:2]) == "not the same steps: 3 lines and 2"


def test_a_figure_that_one_commit_adds_is_none():
    more = [{**line, "train/more": 1.0} for line in CURVE]
    assert shared_figures(CURVE, more) == ["step", "train/loss", "val/All/psnr"]
    assert first_difference(CURVE, more) is None
