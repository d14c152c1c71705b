import json
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import pack
from frih.data.dataset import CompositeDataset, require_foreground
from frih.data.iharmony4 import read_split
from frih.data.images import open_mask, open_reduced, open_rgb
from frih.data.loader import GlobalBatchSampler, evaluation_loader, training_loader
from frih.data.transforms import render, whole
from frih.submasks import extract_submasks
from frih.tools.composites.online import Restyler, read_categories
from tests.conftest import ellipse, save, smooth_image

SMALL = DataConfig(size=128, workers=0)


@pytest.fixture
def images(dataset):
    return CompositeDataset(read_split(dataset, "train").items, SMALL, SubmaskConfig(), seed=5)


def same(a, b) -> bool:
    return a.item == b.item and all(np.array_equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_a_whole_image_is_resized_as_a_whole(images):
    sample = images[3]
    for image, array in (
        (open_rgb(sample.item.composite), sample.composite),
        (open_rgb(sample.item.real), sample.real),
        (open_mask(sample.item.mask), sample.soft_mask),
    ):
        assert np.array_equal(render(image, whole(image), 128), array)


def test_labels_are_those_of_the_resized_composite_and_the_thresholded_mask(images):
    for key in (3, (0, 3), (1, 3)):
        sample = images[key]
        assert np.array_equal(sample.labels, extract_submasks(sample.composite, sample.soft_mask >= 128))
        assert np.array_equal(sample.labels > 0, sample.mask)


def test_randomness_comes_from_seed_epoch_and_index_alone(images, dataset):
    items = read_split(dataset, "train").items
    again = CompositeDataset(items, SMALL, SubmaskConfig(), seed=5)
    np.random.seed(99)  # noqa: NPY002  (the global state must not matter)
    assert same(images[2, 1], again[2, 1])
    other = CompositeDataset(items, SMALL, SubmaskConfig(), seed=6)
    views = [images[2, 1], images[3, 1], other[2, 1]]
    assert not any(same(views[i], views[j]) for i in range(3) for j in range(i))


def test_unpacking_scales_and_thresholds(images):
    samples = [images[i] for i in range(2)]
    batch = pack(samples).unpack(torch.device("cpu"))
    assert batch.composite.shape == batch.real.shape == (2, 3, 128, 128)
    assert batch.mask.shape == (2, 1, 128, 128)
    assert batch.labels.shape == (2, 128, 128)
    assert batch.labels.dtype == torch.uint8
    np.testing.assert_allclose(batch.composite[1].permute(1, 2, 0).numpy() * 255, samples[1].composite, atol=1e-4)
    assert np.array_equal(batch.mask[:, 0].numpy(), [sample.soft_mask >= 128 for sample in samples])
    assert any(set(np.unique(sample.soft_mask)) - {0, 255} for sample in samples)
    assert batch.items == [sample.item for sample in samples]


def collect(loader) -> list:
    return [(packed.items, packed.labels, packed.composite) for packed in loader]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_same_stream(images, workers):
    def stream(count):
        order = GlobalBatchSampler(len(images), 4, seed=0, world=World())
        order.seek(1, 0)
        return collect(training_loader(images, order, count, pin=False))

    expected, found = stream(0), stream(workers)
    assert len(expected) == 2
    for (items, labels, composite), (items2, labels2, composite2) in zip(expected, found, strict=True):
        assert items == items2
        assert torch.equal(labels, labels2)
        assert torch.equal(composite, composite2)


def test_processes_share_the_batches_of_one(images):
    whole_order = GlobalBatchSampler(10, 4, seed=3, world=World())
    shares = [GlobalBatchSampler(10, 4, seed=3, world=World(rank, 2)) for rank in range(2)]
    for order in (whole_order, *shares):
        order.seek(4, 0)
    batches = list(whole_order)
    assert len(batches) == len(whole_order) == 2
    for batch, even, odd in zip(batches, *shares, strict=True):
        assert (even, odd) == (batch[0::2], batch[1::2])
    assert len({index for batch in batches for _, index in batch}) == 8  # no image twice in an epoch
    assert {epoch for batch in batches for epoch, _ in batch} == {4}


def test_seeking_goes_on_where_an_epoch_was_left():
    order = GlobalBatchSampler(10, 2, seed=3, world=World())
    everything = list(order)
    order.seek(0, 3)
    assert list(order) == everything[3:]
    order.seek(1, 0)
    assert list(order) != everything


def test_batches_that_cannot_be():
    with pytest.raises(UserError, match="11 is more than the 10 training images"):
        GlobalBatchSampler(10, 11, seed=0, world=World())
    with pytest.raises(UserError, match="7 does not divide among 2 processes; 6 or 8 would"):
        GlobalBatchSampler(10, 7, seed=0, world=World(0, 2))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_evaluation_meets_every_image_once_whatever_the_number_of_processes(images, size):
    names = []
    for rank in range(size):
        for packed in evaluation_loader(images, 3, 0, World(rank, size)):
            assert len(packed.items) <= 3
            names += [item.composite_name for item in packed.items]
    assert sorted(names) == sorted(item.composite_name for item in images.items)


# images that do not fit


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_is_named_by_one_user_error(images, workers):
    path = images.items[4].composite
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError) as caught:
        collect(evaluation_loader(images, 2, workers, World()))
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("which", ["mask", "real"])
def test_images_of_different_sizes_are_refused(images, which):
    item = images.items[0]
    path = getattr(item, which)
    Image.open(path).resize((50, 40)).save(path)
    with pytest.raises(UserError, match=r"is 50 x 40 pixels but .* is 160 x 140") as caught:
        images[0]
    assert str(caught.value).startswith(str(path))


def test_an_empty_mask_has_no_submask(images):
    item = images.items[0]
    save(item.mask, np.zeros((140, 160), np.uint8))
    for key in (0, (0, 0)):
        assert not images[key].labels.any()
    assert not pack([images[0]]).unpack(torch.device("cpu")).mask.any()


def test_some_mask_needs_foreground(images, monkeypatch):
    opened = []
    monkeypatch.setattr("frih.data.dataset.open_mask", lambda path: opened.append(path) or open_mask(path))
    require_foreground(images.items, "the training images")
    assert opened == [images.items[0].mask]  # a good data set costs one
    masks = list(dict.fromkeys(item.mask for item in images.items))
    for path in masks[:-1]:
        save(path, np.zeros((140, 160), np.uint8))
    opened.clear()
    require_foreground(images.items, "the training images")
    assert opened == masks
    save(masks[-1], np.zeros((140, 160), np.uint8))
    with pytest.raises(UserError, match="no mask of the training images has foreground, not one value of 128 or more"):
        require_foreground(images.items, "the training images")
    require_foreground([], "the validation images")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("which", ["composite", "mask", "real"])
def test_what_is_no_file_is_named_and_never_opened(images, make, which):
    path = getattr(images.items[4], which)
    path.unlink()
    make(path)
    with pytest.raises(UserError, match=re.escape(f"{path}: is ")):
        collect(evaluation_loader(images, 2, 0, World()))


# workers that fail


def test_a_killed_worker_is_one_user_error_and_no_hang(images):
    order = GlobalBatchSampler(len(images), 1, seed=0, world=World())
    others = multiprocessing.active_children()
    batches = iter(training_loader(images, order, 1, pin=False))
    next(batches)
    (worker,) = (process for process in multiprocessing.active_children() if process not in others)
    worker.kill()
    worker.join()  # its death is not raised here, amid other work, but where batches are asked for
    with pytest.raises(UserError, match=r"a loader process was killed, .*; take fewer data\.workers"):
        for _ in batches:
            pass


def test_loader_processes_give_way_to_the_one_that_trains(images):
    others = multiprocessing.active_children()
    batches = iter(evaluation_loader(images, 1, 1, World()))
    next(batches)
    (worker,) = (process for process in multiprocessing.active_children() if process not in others)
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + 5, 19)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_defect_names_the_sample(images, workers, monkeypatch):
    def fail(*rest, **options):
        raise ZeroDivisionError("oh")

    loader = evaluation_loader(images, 2, workers, World())
    monkeypatch.setattr("frih.data.dataset.extract_submasks", fail)
    name = re.escape(str(images.items[0].composite))
    with pytest.raises(RuntimeError, match=rf"{name}, sample 0: the loader failed on it"):
        collect(loader)


def test_a_program_that_leaves_a_loader_behind_ends(dataset):
    program = f"""
from frih.config import DataConfig, SubmaskConfig
from frih.data.iharmony4 import read_split
from frih.data.dataset import CompositeDataset
from frih.data.loader import GlobalBatchSampler, World, training_loader
images = CompositeDataset(read_split({str(dataset)!r}, "train").items, DataConfig(size=128), SubmaskConfig())
left_behind = iter(training_loader(images, GlobalBatchSampler(10, 1, seed=0, world=World()), 1, pin=False))
next(left_behind)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


# large images, decoded reduced


@pytest.fixture
def large(dataset):
    """The first composite, five times as large."""
    item = read_split(dataset, "train").items[0]
    for path in (item.composite, item.mask, item.real):
        with Image.open(path) as image:
            image.resize((800, 700), Image.Resampling.BICUBIC).save(path)
    return item


def test_training_may_decode_reduced_and_sees_the_same_box(large, monkeypatch):
    reductions = []

    def watched(path, reduction):
        opened = open_reduced(path, reduction)
        reductions.append(opened.reduction)
        return opened

    monkeypatch.setattr("frih.data.dataset.open_reduced", watched)
    nearly_all = SMALL.model_copy(update={"crop_scale": (0.9, 1.0)})
    exact, quick = (
        CompositeDataset([large], nearly_all.model_copy(update={"draft": draft}), SubmaskConfig())
        for draft in (False, True)
    )
    for epoch in range(4):
        a, b = exact[epoch, 0], quick[epoch, 0]
        assert np.array_equal(a.soft_mask, b.soft_mask)
        for ours, theirs in ((a.composite, b.composite), (a.real, b.real)):
            assert np.abs(ours.astype(int) - theirs).mean() < 1
        assert reductions == [1, 1, 2, 2]
        reductions.clear()
    assert same(exact[0], quick[0])
    assert reductions == [1, 1, 1, 1]  # whole images are for evaluation: always exact


# submasks kept on disk


def test_kept_labels_are_those_that_would_be_computed(images, tmp_path):
    folder = tmp_path / "new/cache"
    caching = CompositeDataset(
        images.items, SMALL.model_copy(update={"label_cache": str(folder)}), SubmaskConfig(), seed=5
    )
    caching[1, 0]
    assert not folder.exists()  # boxes are not kept
    for _ in range(2):
        assert all(same(caching[i], images[i]) for i in range(3))
        assert len(list(folder.rglob("*.z"))) == 3


# composites made while training


@pytest.fixture
def alike(images):
    """The photos are of one scene and object in different light, so that they can lend each other colours."""
    scene = 60 + 0.5 * smooth_image(seed=1, width=160, height=140)
    for number, path in enumerate(sorted({item.real for item in images.items})):
        save(path, (scene * (0.75 + 0.1 * number)).astype(np.uint8))
    for path in {item.mask for item in images.items}:
        save(path, ellipse(160, 140, grow=3))
    return images


def online(images, share, seed=5, **keys):
    return CompositeDataset(
        images.items, SMALL.model_copy(update={"online": share, **keys}), SubmaskConfig(), seed, Restyler
    )


def test_online_composites_follow_from_seed_epoch_and_index(alike):
    images = alike
    made = [online(images, 1.0)[0, index] for index in range(6)]
    assert all(same(a, online(images, 1.0)[0, index]) for index, a in enumerate(made))
    stored = [images[0, index] for index in range(6)]
    anew = [i for i in range(6) if not np.array_equal(made[i].composite, stored[i].composite)]
    assert len(anew) > 2
    for a, b in zip(made, stored, strict=True):
        assert np.array_equal(a.real, b.real)  # the box is the same with and without
        assert np.array_equal(a.soft_mask, b.soft_mask)
    for index in anew:
        outside = made[index].soft_mask == 0
        assert outside.any()
        assert np.array_equal(made[index].composite[outside], made[index].real[outside])
        assert not np.array_equal(made[index].composite, made[index].real)
        assert np.array_equal(made[index].labels, extract_submasks(made[index].composite, made[index].mask))


def test_online_composites_differ_from_epoch_to_epoch_and_by_seed(alike):
    still = {"crop_scale": (1.0, 1.0), "crop_ratio": (160 / 140, 160 / 140), "flip": 0.0}
    stored = online(alike, 0.0, **still)[0, 5]
    for seeds, epochs in (([5], range(12)), (range(12), [0])):
        made = [online(alike, 1.0, seed, **still)[epoch, 5] for seed in seeds for epoch in epochs]
        assert all(np.array_equal(stored.real, one.real) for one in made)
        assert len({one.composite.tobytes() for one in made} - {stored.composite.tobytes()}) > 1


def test_a_share_of_the_composites_is_made_anew(alike):
    all_anew, some_anew = online(alike, 1.0), online(alike, 0.4)
    chosen = []
    for epoch in range(3):
        for index in range(4, 10):
            stored, some, anew = (one[epoch, index].composite for one in (alike, some_anew, all_anew))
            if not np.array_equal(anew, stored):
                chosen.append(np.array_equal(some, anew))
                assert chosen[-1] or np.array_equal(some, stored)
    assert 0.15 < np.mean(chosen) < 0.65


def test_validation_images_are_never_made_anew(alike):
    assert all(same(online(alike, 1.0)[index], alike[index]) for index in range(3))


def test_a_share_of_the_foregrounds_is_left_unchanged(alike):
    """Turned on, it moves nothing else: the other samples are those of before, with data.online or without."""
    for share in (0.0, 1.0):
        before, some, every = (online(alike, share, unchanged=part) for part in (0.0, 0.4, 1.0))
        chosen = []
        for key in [(epoch, index) for epoch in range(4) for index in range(10)]:
            a, b, c = before[key], some[key], every[key]
            assert np.array_equal(c.composite, c.real)
            assert np.array_equal(c.labels, extract_submasks(c.real, c.mask))
            assert same(b, a) or same(b, c)
            assert not same(a, c)
            chosen.append(same(b, c))
        assert 0.15 < np.mean(chosen) < 0.65
        assert all(same(every[index], before[index]) for index in range(3))  # never in validation
        assert len({tuple(chosen[epoch * 10 : epoch * 10 + 10]) for epoch in range(4)}) > 1  # others in each epoch


def test_without_a_lender_the_stored_composite_is_taken(images):
    alone = CompositeDataset(images.items[:2], SMALL.model_copy(update={"online": 1.0}), SubmaskConfig(), 5, Restyler)
    assert len({item.real_name for item in alone.items}) == 1
    assert same(alone[0, 0], images[0, 0])


def lenders_of(images, monkeypatch):
    """Names of the objects that each of the first images asks for colours."""
    asked = []

    def read(self, item):
        asked.append((item.subset, item.mask_name))
        return np.random.default_rng(len(asked)).integers(0, 256, (50, 3), np.uint8)

    monkeypatch.setattr("frih.tools.composites.online.Restyler._read_colors", read)
    found = {}
    for index in range(10):
        images.restyle.kept.clear()
        for epoch in range(4):
            _ = images[epoch, index]
        found[index] = set(asked)
        asked.clear()
    return found


def test_colours_are_lent_within_a_subset_or_by_category_where_a_manifest_tells(alike, monkeypatch):
    root = Path(alike.items[0].root)
    for item, lenders in zip(alike.items, lenders_of(online(alike, 1.0), monkeypatch).values(), strict=True):
        assert {subset for subset, _ in lenders} <= {item.subset}
        assert item.mask_name not in {name for _, name in lenders}
    masks = sorted({item.mask_name for item in alike.items})
    category = {name: "odd" if number % 2 else "even" for number, name in enumerate(masks)}
    entries = [{"photo": name[:-6], "object": 1, "category": category[name]} for name in masks]
    (root / "manifest.json").write_text(json.dumps({"settings": {}, "photos": entries}))
    subsets = set()
    for item, lenders in zip(alike.items, lenders_of(online(alike, 1.0), monkeypatch).values(), strict=True):
        assert lenders
        assert {category[name] for _, name in lenders} == {category[item.mask_name]}
        assert item.mask_name not in {name for _, name in lenders}
        subsets |= {(item.subset, subset) for subset, _ in lenders}
    assert ("A", "B") in subsets  # a made set has the same photos in all its subsets
    for content in ("{}", "[]", "{", '{"photos": {"a": 1}}', '{"photos": [1]}'):
        (root / "manifest.json").write_text(content)
        assert read_categories(root) == {}


def test_lenders_are_read_once_while_they_are_kept(alike, monkeypatch):
    images, reads = online(alike, 1.0), []
    read = Restyler._read_colors
    monkeypatch.setattr(Restyler, "_read_colors", lambda self, item: reads.append(item.mask_name) or read(self, item))
    first = [images[epoch, index] for epoch in range(3) for index in range(10)]
    assert len(reads) == len(set(reads)) > 3
    monkeypatch.setattr("frih.tools.composites.online.KEPT_OBJECTS", 1)
    few = online(alike, 1.0)
    assert all(same(a, few[epoch, index]) for a, (epoch, index) in zip(first, np.ndindex(3, 10), strict=True))
    assert len(few.restyle.kept) == 1


def test_a_reference_of_another_size_than_its_mask_is_named(alike):
    path = alike.items[0].real
    Image.open(path).resize((50, 40)).save(path)
    with pytest.raises(UserError, match=r"is 50 x 40 pixels but .* is 160 x 140"):
        online(alike, 1.0).restyle._read_colors(alike.items[0])


def test_every_fifth_online_composite_may_be_of_colour_regions(alike, monkeypatch):
    counts = []

    def watched(real, mask, attempts, *, fast):
        counts.extend({len(attempt.references) for attempt in attempts})
        return iter(())

    monkeypatch.setattr("frih.tools.composites.online.restyle_each", watched)
    images = online(alike, 1.0, regions=2)
    for epoch, index in np.ndindex(20, 6):
        _ = images[epoch, index]
    assert set(counts) == {1, 2}
    assert 0.08 < np.mean(np.equal(counts, 2)) < 0.35
    counts.clear()
    for index in range(10):
        _ = online(alike, 1.0)[0, index]
    assert set(counts) == {1}


def test_the_stream_is_the_same_for_any_number_of_workers_with_all_keys_set(alike, tmp_path):
    everything = online(alike, 0.7, unchanged=0.2, regions=2, label_cache=str(tmp_path / "cache"))

    def streams(workers):
        order = GlobalBatchSampler(10, 4, seed=0, world=World())
        return collect(training_loader(everything, order, workers, pin=False)) + collect(
            evaluation_loader(everything, 4, workers, World())
        )

    expected, found = streams(0), streams(2)
    assert len(expected) == 5
    for (items, labels, composite), (items2, labels2, composite2) in zip(expected, found, strict=True):
        assert items == items2
        assert torch.equal(labels, labels2)
        assert torch.equal(composite, composite2)
