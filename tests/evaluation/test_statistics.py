import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import spearmanr

from frih.common.errors import UserError
from frih.evaluation.statistics import LEVEL, _draws, _strata, bootstrap, match, paired, rank_correlation, ratio
from tests.evaluation.helpers import random_rows, row


def literally(rows, value, resamples):
    """The means of the resamples, drawn photo by photo among those of the same subsets, and added image by image."""
    homes = {photo: sorted({one.subset for one in rows if one.real == photo}) for photo in {one.real for one in rows}}
    rng = np.random.default_rng(0)
    means = []
    for _ in range(resamples):
        values = []
        for stratum in sorted({" ".join(home) for home in homes.values()}):
            photos = sorted(photo for photo, home in homes.items() if " ".join(home) == stratum)
            for index in rng.integers(0, len(photos), size=len(photos)):
                values += [value(one) for one in rows if one.real == photos[index]]
        values = [number for number in values if not math.isnan(number)]
        if values:
            means.append(sum(values) / len(values))
    return means


def test_intervals_equal_a_literal_bootstrap():
    rows = [*random_rows(24), *(one._replace(subset="B", real="b" + one.real) for one in random_rows(9, subsets="C"))]
    rows = [one._replace(name=f"{i}") for i, one in enumerate(rows)]
    found = bootstrap(rows, "psnr", resamples=300)
    means = literally(rows, lambda one: one.scores["psnr"], 300)
    assert found.mean == pytest.approx(sum(one.scores["psnr"] for one in rows) / 33, rel=1e-12)
    assert found[1:3] == pytest.approx(np.quantile(means, [0.025, 0.975]), rel=1e-12)
    assert (found.images, found.photos) == (33, 6)


def test_a_part_and_missing_scores_equal_a_literal_bootstrap_too():
    rows = random_rows(30)
    rows[3] = rows[3]._replace(scores={**rows[3].scores, "fmse": math.nan})
    small = [one.fg_ratio < 0.4 for one in rows]
    found = bootstrap(rows, "fmse", members=lambda one: one.fg_ratio < 0.4, resamples=200)
    means = literally(rows, lambda one: one.scores["fmse"] if one.fg_ratio < 0.4 else math.nan, 200)
    assert found[1:3] == pytest.approx(np.quantile(means, [0.025, 0.975]), rel=1e-12)
    assert found.images == sum(small) - 1


def test_two_photos_by_hand():
    """Photo a has the values 0 and 0, photo b 3: the draws aa, ab, ba, bb have the means 0, 1, 1, 3."""
    rows = [row(name="1", real="a", psnr=0), row(name="2", real="a", psnr=0), row(name="3", real="b", psnr=3)]
    means = Counter(round(mean, 9) for mean in literally(rows, lambda one: one.scores["psnr"], 4000))
    assert set(means) == {0, 1, 3}
    assert means[1] / 4000 == pytest.approx(0.5, abs=0.03)
    assert bootstrap(rows, "psnr")[:3] == (1, 0, 3)


def test_composites_of_one_photo_are_drawn_together():
    """A hundred copies of an image say no more than one of them."""
    few = [row(name=f"{i}", real=f"{i}", psnr=float(i)) for i in range(10)]
    many = [row(name=f"{i}-{copy}", real=f"{i}", psnr=float(i)) for i in range(10) for copy in range(100)]
    assert bootstrap(many, "psnr")[1:3] == pytest.approx(bootstrap(few, "psnr")[1:3])


def test_subsets_keep_their_sizes():
    """Two subsets, each of one value: all draws have the same mean."""
    rows = [row(subset, f"{i}", f"{subset}{i}", psnr=psnr) for subset, psnr in (("A", 10), ("B", 20)) for i in range(5)]
    assert bootstrap(rows, "psnr")[:3] == (15, 15, 15)


def test_a_photo_in_two_subsets_is_drawn_for_both():
    """Of two photos, one bad and one good in both subsets, a draw is bad in both, good in both, or one of each."""
    rows = [row(subset, photo, photo, psnr=value) for subset in "AB" for photo, value in (("x", 0.0), ("y", 4.0))]
    found = bootstrap(rows, "psnr")
    assert found[:3] == (2, 0, 4)
    assert (found.images, found.photos) == (4, 2)


def test_the_same_rows_in_any_order_give_the_same_interval():
    rows = random_rows(40)
    shuffled = [rows[i] for i in np.random.default_rng(3).permutation(40)]
    assert bootstrap(shuffled, "psnr") == bootstrap(rows, "psnr")


def test_one_photo_has_a_mean_and_no_interval_and_no_image_not_even_a_mean():
    rows = [row(name="1"), row(name="2", psnr=40.0)]
    assert repr(bootstrap(rows, "psnr")[:]) == "(35.0, nan, nan, 2, 1)"
    assert repr(bootstrap(rows, "ssim")[:]) == "(nan, nan, nan, 0, 0)"


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Photos of mean 10, deviation 2, with 1 to 4 composites that deviate by 0.5: the interval should hold 10."""
    rng, held, trials = np.random.default_rng(0), 0, 200
    for _ in range(trials):
        rows = []
        for photo in range(60):
            own = rng.normal(10, 2)
            rows += [row("A", f"{photo}-{i}", f"{photo}", psnr=rng.normal(own, 0.5)) for i in range(1 + photo % 4)]
        found = bootstrap(rows, "psnr", resamples=400)
        held += found.low <= 10 <= found.high
    assert LEVEL - 0.06 <= held / trials <= LEVEL + 0.04


def test_a_ratio_of_means_by_hand():
    """Of two photos: 3 / 4 and 9 / 8 each twice, or 12 / 12 together; what lacks one of the two does not count."""
    rows = [
        row(name="1", real="a", mse=3, psnr=4),
        row(name="2", real="b", mse=9, psnr=8),
        row(name="3", psnr=math.nan),
    ]
    found = ratio(rows, "mse", "psnr")
    assert (found.mean, found.low, found.high) == (1, 0.75, 1.125)
    assert (found.images, found.photos) == (2, 2)
    assert ratio(rows, "mse", "psnr", members=lambda one: one.real == "a")[0] == 0.75
    assert math.isnan(ratio([row(psnr=0)], "mse", "psnr").mean)


def test_paired_differences_by_hand():
    first = [row(name="1", real="a", mse=4), row(name="2", real="b", mse=1), row(name="3", real="c", mse=5)]
    second = [row(name="3", real="c", mse=5), row(name="2", real="b", mse=3), row(name="1", real="a", mse=1)]
    found = paired(first, second, "mse", higher_is_better=False)
    assert found.mean == pytest.approx((3 - 2 + 0) / 3)
    assert found.wins == pytest.approx(1.5 / 3)
    assert (found.low, found.high) == (-2, 3)
    assert paired(first, second, "mse", higher_is_better=True).wins == pytest.approx(1.5 / 3)


def test_a_constant_difference_is_certain_whatever_the_images_vary():
    first = random_rows(30)
    second = [one._replace(scores={**one.scores, "psnr": one.scores["psnr"] - 0.5}) for one in first]
    found = paired(first, second, "psnr", higher_is_better=True)
    assert found[:3] == pytest.approx((0.5, 0.5, 0.5))
    assert found.wins == 1


def test_paired_differences_of_a_part_and_of_two_scores():
    rows = random_rows(30)
    found = paired(
        rows, rows, "psnr", other_score="input_psnr", higher_is_better=True, members=lambda one: one.subset == "A"
    )
    gains = [one.scores["psnr"] - one.scores["input_psnr"] for one in rows if one.subset == "A"]
    assert found.mean == pytest.approx(np.mean(gains))
    assert found.wins == np.mean(np.array(gains) > 0)


def test_images_of_one_side_alone_are_named():
    with pytest.raises(UserError, match=r"the second evaluation lacks A/1, A/2, A/3 and 1 more"):
        match([row(name=f"{i}") for i in range(5)], [row(name="0")])
    with pytest.raises(UserError, match=r"the first evaluation lacks B/x.jpg"):
        match([row()], [row(), row("B")])
    with pytest.raises(UserError, match=r"A/x.jpg: its real photo is x.jpg in the first, y.jpg in the second"):
        match([row()], [row(real="y.jpg")])


def test_rank_correlations_equal_scipys(monkeypatch):
    monkeypatch.setattr("frih.evaluation.statistics.RESAMPLES", 200)
    rows = [one._replace(scores={**one.scores, "few": float(i * i % 7)}) for i, one in enumerate(random_rows(40))]
    rows[5] = rows[5]._replace(scores={**rows[5].scores, "psnr": math.nan})
    rest = rows[:5] + rows[6:]
    found = rank_correlation(rows, "psnr", "few")
    pairs = [(one.scores["psnr"], one.scores["few"]) for one in rest]
    assert found.mean == pytest.approx(spearmanr(pairs).statistic, rel=1e-12)
    assert (found.images, found.photos) == (39, 7)
    photos = sorted({one.real for one in rows})
    chosen = np.array([[one.real == photo for one in rest] for photo in photos]).T @ np.arange(len(photos))
    draws = _draws(tuple(_strata(rows).values()), 200)
    literal = [spearmanr(np.repeat(pairs, weights[chosen].astype(int), axis=0)).statistic for weights in draws]
    assert found[1:3] == pytest.approx(np.quantile(literal, [0.025, 0.975]), rel=1e-9)


@pytest.mark.parametrize(("values", "correlation"), [([1, 2, 3], 1), ([9, 4, 1], -1), ([2, 2, 2], math.nan)])
def test_rank_correlations_by_hand(values, correlation):
    rows = [row(name=f"{i}", real=f"{i}", psnr=10.0**i, fmse=float(value)) for i, value in enumerate(values)]
    found = rank_correlation(rows, "psnr", "fmse")
    assert found.mean == pytest.approx(correlation, nan_ok=True)
    assert math.isnan(found.low) == math.isnan(correlation)
    assert math.isnan(rank_correlation(rows, "psnr", "unknown").mean)
