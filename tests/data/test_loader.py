import numpy as np
import pytest
import torch
from PIL import Image

from frih.config import DataConfig, SubmaskConfig
from frih.data.iharmony4 import read_split
from frih.data.loader import GlobalBatches, Pictures, evaluation_loader, pack, training_loader
from frih.data.pictures import open_mask, open_rgb
from frih.data.transforms import render, whole
from frih.distributed import World
from frih.errors import UserError
from frih.submasks import extract_submasks
from tests.conftest import save

SMALL = DataConfig(size=128, workers=0)


@pytest.fixture
def pictures(dataset):
    return Pictures(read_split(dataset, "train").items, SMALL, SubmaskConfig(), seed=5)


def same(a, b) -> bool:
    return a.item == b.item and all(np.array_equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_a_whole_picture_is_resized_as_a_whole(pictures):
    sample = pictures[3]
    for image, array in (
        (open_rgb(sample.item.composite), sample.composite),
        (open_rgb(sample.item.real), sample.real),
        (open_mask(sample.item.mask), sample.soft_mask),
    ):
        assert np.array_equal(render(image, whole(image), 128), array)


def test_labels_are_those_of_the_resized_composite_and_the_thresholded_mask(pictures):
    for key in (3, (0, 3), (1, 3)):
        sample = pictures[key]
        assert np.array_equal(sample.labels, extract_submasks(sample.composite, sample.soft_mask >= 128))
        assert np.array_equal(sample.labels > 0, sample.mask)


def test_randomness_comes_from_seed_epoch_and_index_alone(pictures, dataset):
    items = read_split(dataset, "train").items
    again = Pictures(items, SMALL, SubmaskConfig(), seed=5)
    np.random.seed(99)  # noqa: NPY002  (the global state must not matter)
    assert same(pictures[2, 1], again[2, 1])
    other = Pictures(items, SMALL, SubmaskConfig(), seed=6)
    views = [pictures[2, 1], pictures[3, 1], other[2, 1]]
    assert not any(same(views[i], views[j]) for i in range(3) for j in range(i))


def test_unpacking_scales_and_thresholds(pictures):
    samples = [pictures[i] for i in range(2)]
    batch = pack(samples).unpack(torch.device("cpu"))
    assert batch.composite.shape == batch.real.shape == (2, 3, 128, 128)
    assert batch.mask.shape == batch.soft_mask.shape == (2, 1, 128, 128)
    assert batch.labels.shape == (2, 128, 128)
    assert batch.labels.dtype == torch.uint8
    np.testing.assert_allclose(batch.composite[1].permute(1, 2, 0).numpy() * 255, samples[1].composite, atol=1e-4)
    assert torch.equal(batch.mask, (batch.soft_mask >= 128 / 255).float())
    assert 0 < batch.soft_mask.sub(batch.mask).abs().max() < 0.51
    assert batch.fg_ratio == pytest.approx([float(np.mean(sample.mask)) for sample in samples])
    assert batch.name == [sample.item.composite_name for sample in samples]


def collect(loader) -> list:
    return [(packed.items, packed.labels, packed.composite) for packed in loader]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_same_stream(pictures, workers):
    def stream(count):
        order = GlobalBatches(len(pictures), 4, seed=0, world=World())
        order.seek(1, 0)
        return collect(training_loader(pictures, order, count, pin=False))

    expected, found = stream(0), stream(workers)
    assert len(expected) == 2
    for (items, labels, composite), (items2, labels2, composite2) in zip(expected, found, strict=True):
        assert items == items2
        assert torch.equal(labels, labels2)
        assert torch.equal(composite, composite2)


def test_processes_share_the_batches_of_one(pictures):
    whole_order = GlobalBatches(10, 4, seed=3, world=World())
    shares = [GlobalBatches(10, 4, seed=3, world=World(rank, 2)) for rank in range(2)]
    for order in (whole_order, *shares):
        order.seek(4, 0)
    batches = list(whole_order)
    assert len(batches) == len(whole_order) == 2
    for batch, even, odd in zip(batches, *shares, strict=True):
        assert (even, odd) == (batch[0::2], batch[1::2])
    assert len({index for batch in batches for _, index in batch}) == 8  # no picture twice in an epoch
    assert {epoch for batch in batches for epoch, _ in batch} == {4}


def test_seeking_goes_on_where_an_epoch_was_left():
    order = GlobalBatches(10, 2, seed=3, world=World())
    everything = list(order)
    order.seek(0, 3)
    assert list(order) == everything[3:]
    order.seek(1, 0)
    assert list(order) != everything


def test_batches_that_cannot_be():
    with pytest.raises(UserError, match="11 is more than the 10 training pictures"):
        GlobalBatches(10, 11, seed=0, world=World())
    with pytest.raises(UserError, match="7 does not divide among 2 processes; 6 would"):
        GlobalBatches(10, 7, seed=0, world=World(0, 2))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_evaluation_meets_every_picture_once_whatever_the_number_of_processes(pictures, size):
    names = []
    for rank in range(size):
        for packed in evaluation_loader(pictures, 3, 0, World(rank, size)):
            assert len(packed.items) <= 3
            names += [item.composite_name for item in packed.items]
    assert sorted(names) == sorted(item.composite_name for item in pictures.items)


# pictures that do not fit


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_picture_is_named_by_one_user_error(pictures, workers):
    path = pictures.items[4].composite
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError) as caught:
        collect(evaluation_loader(pictures, 2, workers, World()))
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("which", ["mask", "real"])
def test_pictures_of_different_sizes_are_refused(pictures, which):
    item = pictures.items[0]
    path = getattr(item, which)
    Image.open(path).resize((50, 40)).save(path)
    with pytest.raises(UserError, match=r"is 50 x 40 pixels but .* is 160 x 140") as caught:
        pictures[0]
    assert str(caught.value).startswith(str(path))


def test_an_empty_mask_has_no_submask(pictures):
    item = pictures.items[0]
    save(item.mask, np.zeros((140, 160), np.uint8))
    for key in (0, (0, 0)):
        assert not pictures[key].labels.any()
    assert pack([pictures[0]]).unpack(torch.device("cpu")).fg_ratio == [0.0]
