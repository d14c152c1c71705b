import hashlib

import numpy as np
import pytest

from frih.common.errors import UserError
from frih.config import SubmaskConfig
from frih.data import label_cache
from frih.data.label_cache import LabelCache
from frih.submasks import extract_submasks
from tests.conftest import ellipse, smooth_image

SETTINGS = SubmaskConfig().model_dump()
COMPOSITE, MASK = smooth_image(seed=4, width=60, height=50), ellipse(60, 50, grow=3) >= 128


@pytest.fixture
def computed(monkeypatch):
    """Settings of the calls that were not spared."""
    calls = []

    def watched(composite, mask, **settings):
        calls.append(settings)
        return extract_submasks(composite, mask, **settings)

    monkeypatch.setattr(label_cache, "extract_submasks", watched)
    return calls


def test_the_second_time_labels_are_read(tmp_path, computed):
    expected = extract_submasks(COMPOSITE, MASK)
    for _ in range(3):
        found = LabelCache(tmp_path / "c", SETTINGS).labels(COMPOSITE, MASK)
        assert found.dtype == np.uint8
        assert found.flags.writeable
        assert np.array_equal(found, expected)
    assert len(computed) == 1


def test_whatever_labels_follow_from_makes_another_entry(tmp_path, computed, monkeypatch):
    cache = LabelCache(tmp_path, SETTINGS)
    pixel, fewer = COMPOSITE.copy(), MASK.copy()
    pixel[0, 0, 0] ^= 1
    fewer[25, 30] = False
    cases = [(COMPOSITE, MASK), (pixel, MASK), (COMPOSITE, fewer), (COMPOSITE[:, :59], MASK[:, :59])]
    for composite, mask in cases:
        cache.labels(composite, mask)
    others = {"cutoff": 0.2, "candidates": 3, "min_density": 2, "distance": "normalized", "clusters": 3}
    assert {*others, "method"} == SETTINGS.keys()  # a new setting has to be tried here
    for key, value in [*others.items(), ("method", "gamma"), ("method", "kmeans")]:
        LabelCache(tmp_path, {**SETTINGS, key: value}).labels(COMPOSITE, MASK)
    monkeypatch.setattr(label_cache, "CLUSTERING", -1)
    LabelCache(tmp_path, SETTINGS).labels(COMPOSITE, MASK)
    assert len(computed) == len(list(tmp_path.rglob("*.z"))) == 12
    for composite, mask in cases:
        assert np.array_equal(cache.labels(composite, mask), extract_submasks(composite, mask))
    assert len(computed) == 12


@pytest.mark.parametrize("damage", [b"", b"not zlib", "half", "flip", "other"])
def test_a_damaged_entry_is_computed_anew_and_mended(tmp_path, computed, damage):
    cache = LabelCache(tmp_path, SETTINGS)
    cache.labels(COMPOSITE, MASK)
    (entry,) = tmp_path.rglob("*.z")
    content = entry.read_bytes()
    if damage == "half":
        entry.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        entry.write_bytes(content[:40] + bytes([content[40] ^ 255]) + content[41:])
    elif damage == "other":
        LabelCache(tmp_path / "other", SETTINGS).labels(COMPOSITE, ~MASK)
        entry.write_bytes(next((tmp_path / "other").rglob("*.z")).read_bytes())
    else:
        entry.write_bytes(damage)
    computed.clear()
    for _ in range(2):
        assert np.array_equal(cache.labels(COMPOSITE, MASK), extract_submasks(COMPOSITE, MASK))
    assert len(computed) == 1
    assert entry.read_bytes() == content


def test_an_empty_mask_is_kept_too(tmp_path, computed):
    for _ in range(2):
        assert not LabelCache(tmp_path, SETTINGS).labels(COMPOSITE, np.zeros_like(MASK)).any()
    assert len(computed) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data.label_cache: .*file cannot be written .*; give another folder"):
        LabelCache(tmp_path / "file", SETTINGS).labels(COMPOSITE, MASK)


def test_a_full_disk_leaves_no_half_entry(tmp_path, full_disk):
    full_disk(lambda path: path.parent.parent == tmp_path)
    with pytest.raises(UserError, match="No space left on device"):
        LabelCache(tmp_path, SETTINGS).labels(COMPOSITE, MASK)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_labels_have_not_changed_unless_the_version_has():
    """If this fails, the clustering gives other labels: raise label_cache.CLUSTERING, and write the digest anew."""
    rng = np.random.default_rng(0)
    blobs = rng.integers(0, 256, (6, 1, 3)) + rng.normal(0, 9, (6, 400, 3))
    colors = blobs.clip(0, 255).astype(np.uint8).reshape(40, 60, 3)
    digest = hashlib.sha256()
    for settings in (SETTINGS, {**SETTINGS, "cutoff": 0.3}, {**SETTINGS, "distance": "normalized", "candidates": 4}):
        digest.update(extract_submasks(colors, np.ones((40, 60), bool), **settings))
    assert (label_cache.CLUSTERING, digest.hexdigest()[:16]) == (1, "fc1365ce63f66c2f")
    for settings in ({"method": "gamma"}, {"method": "kmeans"}, {"method": "kmeans", "clusters": 3}):
        digest.update(extract_submasks(colors, np.ones((40, 60), bool), **settings))
    assert (label_cache.CLUSTERING, digest.hexdigest()[:16]) == (1, "20ea500eca536f71")
