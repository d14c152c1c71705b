"""Compiled transfers against the literal ones."""

import numpy as np
import pytest

from frih.tools.composites import color_transfer, fast_transfer
from frih.tools.composites.color_transfer import TRANSFERS
from frih.tools.composites.fast_transfer import FAST_TRANSFERS
from frih.tools.composites.restyling import Attempt, restyle_each
from tests.conftest import ellipse, smooth_image
from tests.tools.composites.test_color_transfer import cloud

CLOUDS = [
    (cloud(1, 3000, (0.5, 0.4, 0.35), 0.06), cloud(2, 2000, (0.4, 0.45, 0.5), 0.08)),
    (cloud(1, 50, (0.1, 0.1, 0.1), 0.2), cloud(2, 7, (0.9, 0.9, 0.9), 0.2)),
    (np.full((1, 3), 0.3), np.full((1, 3), 0.7)),
    (np.full((9, 3), 0.3), np.full((5, 3), 0.3)),
    (np.zeros((4, 3)), cloud(3, 500, (0.5, 0.5, 0.5), 0.3)),
]


@pytest.mark.parametrize(("source", "reference"), CLOUDS)
def test_pitie_is_the_literal_one_within_rounding(source, reference):
    before = source.copy(), reference.copy()
    literal = color_transfer.transfer_pitie(source, reference)
    compiled = fast_transfer.transfer_pitie(source, reference)
    assert compiled.shape == literal.shape
    apart = np.abs(compiled - literal).max(axis=1)
    assert np.median(apart) < 1e-6
    assert apart.max() < 1e-3  # a value on the border of a cell may fall to either side
    assert np.array_equal(source, before[0])
    assert np.array_equal(reference, before[1])


def test_the_other_transfers_are_the_same():
    assert FAST_TRANSFERS.keys() == TRANSFERS.keys()
    assert [name for name in TRANSFERS if FAST_TRANSFERS[name] is not TRANSFERS[name]] == ["pitie"]


@pytest.mark.parametrize("shape", ["ellipse", "all", "dots", "one"])
def test_regraining_is_the_literal_one_within_a_level(shape):
    rng = np.random.default_rng(0)
    image = np.clip(smooth_image(seed=3, width=90, height=70) / 255 + rng.normal(0, 0.02, (70, 90, 3)), 0, 1)
    region = {
        "ellipse": ellipse(90, 70, grow=3) > 0,
        "all": np.ones((70, 90), bool),
        "dots": rng.random((70, 90)) < 0.3,
        "one": np.arange(6300).reshape(70, 90) == 777,
    }[shape]
    restyled = np.clip(0.8 * image[region] + 0.15 + rng.normal(0, 0.02, (region.sum(), 3)), 0, 1)
    literal = color_transfer.regrain(image, restyled, region)
    compiled = fast_transfer.regrain(image, restyled, region)
    assert np.abs(literal - restyled).mean() * 255 > (0.5 if region.sum() > 1 else -1)  # it does something
    assert np.abs(compiled - literal).mean() * 255 < 0.5
    assert np.abs(compiled - literal).max() * 255 < 3


def test_composites_are_the_literal_ones_within_levels():
    """And foregrounds are rejected alike, but for those near a bound."""
    mask = ellipse(120, 100, grow=3)
    photos = [(60 + (0.4 + 0.03 * n) * smooth_image(seed=n // 4, width=120, height=100)) for n in range(12)]
    attempts = [
        Attempt(transfer, [np.clip(photo[mask > 127] / 255, 0, 1)]) for photo in photos for transfer in TRANSFERS
    ]
    real = np.clip(photos[0], 0, 255).astype(np.uint8)
    literal, fast = (list(restyle_each(real, mask, attempts, fast=fast)) for fast in (False, True))
    alike = [(a, b) for a, b in zip(literal, fast, strict=True) if (a.image is None) == (b.image is None)]
    assert len(alike) >= 0.9 * len(attempts)
    images = [(a.image.astype(int), b.image) for a, b in alike if a.image is not None]
    assert 8 < len(images) < len(attempts)
    assert max(np.abs(a - b).mean() for a, b in images) < 0.5
    assert max(np.abs(a - b).max() for a, b in images) <= 3
