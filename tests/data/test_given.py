"""Submasks from files: what each pixel of a view belongs to, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from frih.common.errors import UserError
from frih.config import DataConfig, SubmaskConfig
from frih.data.dataset import CompositeDataset
from frih.data.given import completed
from frih.data.iharmony4 import read_split
from frih.data.images import open_mask
from frih.harmonizing.harmonizer import Harmonizer
from frih.models import build_model
from tests.conftest import save

GIVEN = SubmaskConfig(method="given")
SMALL = DataConfig(size=128, workers=0)


@pytest.fixture
def items(dataset):
    """Composites whose foregrounds are given as a left and a right half, but for one row of pixels."""
    items = read_split(dataset, "train").items
    for item in items:
        mask = np.asarray(open_mask(item.mask)) >= 128
        labels = mask * np.where(np.arange(160) < 80, 1, 2).astype(np.uint8)
        labels[70] = 0
        item.given.parent.mkdir(exist_ok=True)
        save(item.given, labels)
    return items


def test_a_whole_image_has_the_submasks_of_its_file(items):
    sample = CompositeDataset(items, SMALL, GIVEN)[0]
    mask = sample.soft_mask >= 128
    assert np.array_equal(sample.labels > 0, mask)
    assert set(np.unique(sample.labels[:, :64])) == {0, 1}  # the halves' border is in the middle of 160 pixels
    assert set(np.unique(sample.labels[:, 64:])) == {0, 2}


def test_a_box_for_training_cuts_and_mirrors_them_with_the_image(items):
    images = CompositeDataset(items, SMALL.model_copy(update={"flip": 1.0, "crop_scale": (1.0, 1.0)}), GIVEN, seed=3)
    sample = images[0, 0]  # the largest centred box is nearly the whole image, mirrored
    assert np.array_equal(sample.labels > 0, sample.soft_mask >= 128)
    assert set(np.unique(sample.labels[:, :60])) == {0, 2}
    assert set(np.unique(sample.labels[:, 68:])) == {0, 1}
    plain = CompositeDataset(items, SMALL, SubmaskConfig(), seed=3)
    for key in [(epoch, 0) for epoch in range(6)]:  # the view is that of every other method
        given, clustered = CompositeDataset(items, SMALL, GIVEN, seed=3)[key], plain[key]
        assert np.array_equal(given.composite, clustered.composite)
        assert np.array_equal(given.labels > 0, clustered.labels > 0)


def test_what_a_file_leaves_out_belongs_to_the_nearest_submask():
    labels = np.array([[0, 3, 0, 0, 0, 2], [0, 0, 0, 0, 0, 5]], np.uint8)
    mask = np.array([[1, 1, 1, 0, 1, 1], [0, 1, 1, 1, 1, 0]], bool)
    expected = [[3, 3, 3, 0, 2, 2], [0, 3, 3, 3, 2, 0]]
    found = completed(labels, mask)
    assert found[:, [0, 1, 2, 4, 5]].tolist() == [[row[i] for i in (0, 1, 2, 4, 5)] for row in expected]
    assert completed(labels * 0, mask).tolist() == mask.astype(int).tolist()
    assert not completed(labels, mask & False).any()


def test_a_palettes_indices_are_labels(items):
    labels = Image.open(items[0].given)
    expected = CompositeDataset(items, SMALL, GIVEN)[0].labels
    indexed = Image.fromarray(np.asarray(labels), "P")
    indexed.putpalette([200, 10, 10] * 256)
    indexed.save(items[0].given)
    assert np.array_equal(CompositeDataset(items, SMALL, GIVEN)[0].labels, expected)


def test_submasks_are_numbered_without_gaps(items):
    labels = np.asarray(Image.open(items[0].given))
    expected = CompositeDataset(items, SMALL, GIVEN)[0].labels
    save(items[0].given, np.where(labels == 1, 7, np.where(labels == 2, 30, 0)).astype(np.uint8))
    assert np.array_equal(CompositeDataset(items, SMALL, GIVEN)[0].labels, expected)


def test_a_file_of_one_bit_holds_one_submask(items):
    Image.fromarray(np.asarray(Image.open(items[0].given)) > 0).save(items[0].given)
    sample = CompositeDataset(items, SMALL, GIVEN)[0]
    assert np.array_equal(sample.labels, sample.soft_mask >= 128)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file, which submasks.method=given needs for A/a-0_x_1_1.jpg; .* --regions"),
        (np.ones((140, 150), np.uint8), "is 150 x 140 pixels but the composite is 160 x 140"),
        (np.full((140, 160), 33, np.uint8), "has the label 33; submasks are numbered from 1 to 32"),
        (np.ones((140, 160, 3), np.uint8), "is RGB; labels are grey values"),
        (np.ones((140, 160), np.uint16), "has more than 8 bits"),
    ],
)
def test_refuses(items, content, message):
    items[0].given.unlink()
    if content is not None:
        save(items[0].given, content)
    with pytest.raises(UserError, match=message) as caught:
        CompositeDataset(items, SMALL, GIVEN)[0]
    assert str(items[0].given) in str(caught.value)


def test_ones_own_image_has_none(small_config):
    config = small_config(submasks={"method": "given"})
    base = small_config(submasks={"method": "given"}, model={"cascade": False, "fusion": False})
    image, mask = np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 255, np.uint8)
    assert Harmonizer(build_model(base), base, torch.device("cpu"))(image, mask).shape == (64, 64, 3)  # reads none
    with pytest.raises(UserError, match=r"submasks.method: these weights were trained with given submasks"):
        Harmonizer(build_model(config), config, torch.device("cpu"))
