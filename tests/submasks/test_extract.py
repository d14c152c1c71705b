import multiprocessing
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from frih.config import SubmaskConfig
from frih.data.iharmony4 import read_split
from frih.data.images import HALF, read_mask, read_rgb
from frih.submasks import density_peaks, extract, extract_batch, extract_submasks, kmeans
from tests.conftest import FORMS, form
from tests.submasks import reference

DATA = os.environ.get("FRIH_TEST_DATA")
"""A dataset in iHarmony4's layout."""
IMAGES = int(os.environ.get("FRIH_TEST_IMAGES", "20"))
"""How many of its test composites are compared with the reference."""


def scene(seed, height=40, width=50):
    """An image of soft blobs, and a round mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(3, 9) + rng.uniform(0, 6)) * np.cos(y / rng.uniform(3, 9)) for _ in range(3)]
    composite = (128 + 100 * np.stack(waves, axis=2) + rng.normal(0, 4, (height, width, 3))).clip(0, 255)
    return composite.astype(np.uint8), (x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 2.5) ** 2


@pytest.mark.parametrize("options", [{}, {"cutoff": 0.05, "candidates": 4, "min_density": 3, "distance": "normalized"}])
def test_labels_are_those_of_the_foreground_colors(options):
    composite, mask = scene(0)
    labels = extract_submasks(composite, mask, **options)
    assert labels.dtype == np.uint8
    assert labels.shape == mask.shape
    np.testing.assert_array_equal(labels[mask], reference.density_peaks(composite[mask], **options).labels)
    assert not labels[~mask].any()
    assert set(np.unique(labels[mask])) == set(range(1, labels.max() + 1))


def test_takes_the_configuration_as_it_is():
    composite, mask = scene(2)
    labels = extract_submasks(composite, mask, **SubmaskConfig().model_dump())
    np.testing.assert_array_equal(labels, extract_submasks(composite, mask))


def test_large_images_are_taken_too():
    """Of several megapixels, and more distinct colours than the network's sizes have pixels."""
    composite, mask = scene(3, 1500, 1600)
    composite = composite + np.random.default_rng(3).integers(0, 30, composite.shape, dtype=np.uint8)
    labels = extract_submasks(composite, mask, cutoff=0.05)
    assert len(np.unique(composite[mask], axis=0)) > 1 << 18
    np.testing.assert_array_equal(labels[mask], density_peaks(composite[mask], 0.05).labels)
    assert not labels[~mask].any()


def test_takes_any_memory_layout_and_changes_nothing():
    composite, mask = scene(4)
    expected = extract_submasks(composite[:, ::-1].copy(), mask[:, ::-1].copy())
    composite.flags.writeable = mask.flags.writeable = False
    np.testing.assert_array_equal(extract_submasks(composite[:, ::-1], mask[:, ::-1]), expected)
    np.testing.assert_array_equal(
        extract_submasks(np.asfortranarray(composite), np.asfortranarray(mask)), extract_submasks(composite, mask)
    )


def test_whole_takes_the_mask_as_its_one_submask():
    composite, mask = scene(5)
    np.testing.assert_array_equal(extract_submasks(composite, mask, method="whole"), mask.astype(np.uint8))


def test_methods_are_those_of_the_configuration():
    assert get_args(SubmaskConfig.model_fields["method"].annotation) == (*extract.METHODS, "given")


def test_gamma_and_kmeans_divide_by_their_own_rules():
    composite, mask = scene(6)
    by_gamma = density_peaks(composite[mask], 0.05, 4, decision="gamma").labels
    assert (by_gamma != density_peaks(composite[mask], 0.05, 4).labels).any()
    np.testing.assert_array_equal(
        extract_submasks(composite, mask, cutoff=0.05, candidates=4, method="gamma")[mask], by_gamma
    )
    labels = extract_submasks(composite, mask, method="kmeans", clusters=5)
    np.testing.assert_array_equal(labels[mask], kmeans(composite[mask], 5).labels)
    assert not labels[~mask].any()
    assert labels.max() == 5


def test_random_parts_are_the_pixels_nearest_to_some_of_them():
    composite, mask = scene(6)
    labels = extract_submasks(composite, mask, method="random", clusters=5)
    places, found = np.argwhere(mask), labels[mask]
    assert set(np.unique(found)) == {1, 2, 3, 4, 5}
    assert not labels[~mask].any()

    def parts_of(centers: np.ndarray) -> np.ndarray:
        return ((places[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1) + 1

    rng = np.random.default_rng([*mask.shape, zlib.crc32(np.packbits(mask).tobytes())])
    np.testing.assert_array_equal(found, parts_of(places[rng.choice(len(places), 5, replace=False)]))
    np.testing.assert_array_equal(labels, extract_submasks(255 - composite, mask, method="random", clusters=5))
    other = mask.copy()
    other[20, 25] = False
    assert (extract_submasks(composite, other, method="random", clusters=5)[other] != labels[other]).any()


def test_a_random_part_has_a_pixel_at_least():
    mask = np.zeros((4, 5), bool)
    mask[1, 2] = mask[3, 4] = True
    labels = extract_submasks(np.zeros((4, 5, 3), np.uint8), mask, method="random", clusters=8)
    assert sorted(labels[mask]) == [1, 2]


@pytest.mark.parametrize("method", extract.METHODS)
def test_there_are_never_more_submasks_than_the_configuration_says(method):
    for settings in (SubmaskConfig(method=method), SubmaskConfig(method=method, candidates=2, clusters=3)):
        labels = extract_submasks(*scene(7), **settings.model_dump())
        assert 1 <= labels.max() <= settings.most


@pytest.mark.parametrize("method", extract.METHODS)
@pytest.mark.parametrize("shape", [(5, 7), (0, 4)])
def test_an_empty_mask_has_no_submask(method, shape):
    labels = extract_submasks(np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool), method=method)
    assert labels.shape == shape
    assert not labels.any()


def test_a_batch_is_its_images():
    composites, masks = (np.stack(part) for part in zip(*(scene(seed) for seed in range(3)), strict=True))
    labels = extract_batch(composites, masks, cutoff=0.2)
    assert labels.dtype == np.uint8
    for found, composite, mask in zip(labels, composites, masks, strict=True):
        np.testing.assert_array_equal(found, extract_submasks(composite, mask, cutoff=0.2))
    assert extract_batch(composites[:0], masks[:0]).shape == masks[:0].shape


COMPOSITE, MASK = np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), bool)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"composite": COMPOSITE / 255}, r"composite: .* uint8 .* not \(4, 5, 3\) of float64"),
        ({"composite": COMPOSITE[..., 0]}, r"composite: .* \(4, 5\)"),
        ({"composite": COMPOSITE.transpose(2, 0, 1)}, "composite: "),
        ({"mask": MASK.astype(np.uint8)}, r"mask: .* bool .* not \(4, 5\) of uint8"),
        ({"mask": MASK[None]}, r"mask: .* \(1, 4, 5\)"),
        ({"mask": MASK.T}, r"mask: is \(5, 4\) but composite is \(4, 5\)"),
        ({"method": "cfsdfp"}, "method: .* did you mean 'cfsfdp'"),
        ({"cutoff": 0.0}, "cutoff: "),
        ({"method": "whole", "cutoff": 0.0}, "cutoff: "),
        ({"mask": ~MASK, "candidates": 0}, "candidates: "),
        ({"min_density": -1}, "min_density: "),
        ({"distance": "manhattan"}, "distance: "),
        ({"method": "k-means"}, "method: must be one of cfsfdp, gamma, kmeans, random, whole"),
        ({"method": "kmeans", "clusters": 0}, "clusters: .* from 1 to 255"),
        ({"method": "cfsfdp", "clusters": 256}, "clusters: "),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        extract_submasks(**{"composite": COMPOSITE, "mask": MASK, **arguments})


def labels_of(seed):
    return extract_submasks(*scene(seed))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_find_the_same(start):
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} on this system")
    with form("compiled"):
        expected = [labels_of(seed) for seed in range(4)]  # numba has been used before the workers start
    with form("compiled"), multiprocessing.get_context(start).Pool(2) as pool:
        for found, known in zip(pool.map(labels_of, range(4)), expected, strict=True):
            np.testing.assert_array_equal(found, known)


@pytest.mark.parametrize("name", FORMS)
def test_threads_find_the_same(name):
    expected = [labels_of(seed) for seed in range(8)]
    with form(name), ThreadPoolExecutor(4) as pool:
        for found, known in zip(pool.map(labels_of, range(8)), expected, strict=True):
            np.testing.assert_array_equal(found, known)


@pytest.mark.skipif(not DATA, reason="FRIH_TEST_DATA names no dataset")
def test_real_composites_equal_the_reference():
    items = read_split(Path(DATA), "test").items
    for place in np.linspace(0, len(items) - 1, min(IMAGES, len(items))).round().astype(int):
        composite, mask = read_rgb(items[place].composite), read_mask(items[place].mask) >= HALF
        for decision, method in (("delta", "cfsfdp"), ("gamma", "gamma")):
            found = density_peaks(composite[mask], decision=decision)
            known = reference.density_peaks(composite[mask], decision=decision)
            for field in found._fields:
                np.testing.assert_array_equal(getattr(found, field), getattr(known, field), err_msg=str(items[place]))
            np.testing.assert_array_equal(extract_submasks(composite, mask, method=method)[mask], known.labels)
        for clusters in (4, 8):
            found, (labels, centers) = kmeans(composite[mask], clusters), reference.kmeans(composite[mask], clusters)
            np.testing.assert_array_equal(found.labels, labels, err_msg=str(items[place]))
            np.testing.assert_array_equal(found.centers * 256, centers, err_msg=str(items[place]))
