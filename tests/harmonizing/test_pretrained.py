"""The weights that come with the software, on photos of a kind that they were not trained on."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from skimage import data, transform

from frih import Harmonizer
from frih.harmonizing.harmonizer import PRETRAINED
from frih.models.weights import SHARED_NAME

SIDE = 256
CASTS = [(0.7, 1.0, 1.3), (0.6, 0.6, 0.6), (1.4, 1.4, 1.4)]


@pytest.fixture(scope="module")
def harmonizer():
    return Harmonizer.load(device="cpu")


def test_they_are_small_and_come_with_their_card():
    assert sum(path.stat().st_size for path in PRETRAINED.iterdir()) < 25e6
    with safe_open(PRETRAINED / SHARED_NAME, framework="pt") as file:
        source = json.loads(file.metadata()["frih"])["source_sha256"]
    for name in ("config.json", "README.md"):  # all are of one export
        assert source in (PRETRAINED / name).read_text()
    assert "# FRIH: weights" in (PRETRAINED / "README.md").read_text()


@pytest.mark.parametrize("photo", ["astronaut", "chelsea", "rocket"])
def test_a_foreground_with_a_cast_comes_nearer_to_the_photo(harmonizer, photo):
    image = transform.resize(getattr(data, photo)(), (SIDE, SIDE), anti_aliasing=True)
    real = np.rint(255 * image).astype(np.uint8)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = ((rows - 140) / 80) ** 2 + ((columns - 128) / 70) ** 2 < 1
    before = after = 0.0
    for cast in CASTS:
        composite = real.copy()
        composite[mask] = np.rint((real[mask] * np.array(cast)).clip(0, 255))
        result = harmonizer(composite, mask)
        assert np.array_equal(result[~mask], real[~mask])
        before += np.square(composite[mask] - real[mask].astype(float)).mean()
        after += np.square(result[mask] - real[mask].astype(float)).mean()
    assert after < 0.6 * before
