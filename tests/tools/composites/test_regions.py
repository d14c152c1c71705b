"""Colour regions on objects whose regions are known."""

import numpy as np
import pytest
from skimage.color import lab2rgb

from frih.tools.composites.color_transfer import TRANSFERS
from frih.tools.composites.regions import APART, divide, transfer_regions
from frih.tools.composites.restyling import ONE_COLOR, Attempt, restyle, restyle_each
from tests.conftest import ellipse

COLORS = ((0.2, 0.2, 0.3), (0.6, 0.3, 0.2), (0.7, 0.7, 0.6))
"""By rising lightness."""


@pytest.fixture
def striped():
    """A noisy image of three stripes, from the lightest to the darkest, and which stripe each pixel is of."""
    stripes = 2 - np.arange(90)[:, None].repeat(60, axis=1) // 30
    noise = np.random.default_rng(0).uniform(-0.08, 0.08, (90, 60, 3))
    return np.asarray(COLORS)[stripes] + noise, stripes


def test_regions_are_numbered_from_the_darkest_and_noise_does_not_tear_them(striped):
    image, stripes = striped
    region = np.ones((90, 60), bool)
    region[:, :7] = region[40:45] = False
    labels = divide(image, region, 3)
    assert labels.shape == (region.sum(),)
    assert (labels == stripes[region]).mean() > 0.98
    assert np.array_equal(labels, divide(image, region, 3))


def test_the_surroundings_do_not_matter(striped):
    image, _ = striped
    region = ellipse(60, 90, grow=3) > 0
    other = np.where(region[..., None], image, 1)
    assert np.array_equal(divide(image, region, 3), divide(other, region, 3))


@pytest.mark.parametrize(("spread", "count"), [(0, 1), (0.4 * APART, 1), (0.8 * APART, 2), (3 * APART, 3)])
def test_colours_that_are_near_make_fewer_regions(spread, count):
    lab = np.zeros((30, 60, 3))
    lab[..., 0] = 50 + spread * (np.arange(60) // 20 - 1)
    labels = divide(lab2rgb(lab), np.ones((30, 60), bool), 3)
    assert len(np.unique(labels)) == count


@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_an_object_of_few_pixels(pixels):
    region = np.zeros((5, 5), bool)
    region.flat[:pixels] = True
    assert len(divide(np.random.default_rng(0).random((5, 5, 3)), region, 3)) == pixels


@pytest.mark.parametrize("transfer", TRANSFERS.values(), ids=TRANSFERS.keys())
def test_each_region_takes_the_colours_of_its_own_reference(striped, transfer):
    image, stripes = striped
    source, labels = image.reshape(-1, 3), stripes.ravel()
    shifts = ((0.08, 0, 0), (0, 0.08, 0), (0, 0, 0.08))
    references = [np.clip(source + shift, 0, 1) for shift in shifts]
    restyled = transfer_regions(source, labels, references, transfer)
    for rank, reference in enumerate(references):
        taken = labels == rank
        assert np.allclose(restyled[taken].mean(axis=0), reference[taken].mean(axis=0), atol=0.01)
        assert np.abs(restyled[taken] - source[taken]).mean(axis=0).argmax() == rank


def photo_of(image, grow=3):
    return (255 * image).round().astype(np.uint8), ellipse(image.shape[1], image.shape[0], grow=grow)


def test_no_single_shift_undoes_a_composite_of_regions(striped):
    image, _ = striped
    real, mask = photo_of(image)
    source = image[mask > 0]
    references = [source + shift for shift in ((0.1, 0.1, 0.1), (-0.1, 0, 0.1), (-0.1, -0.1, -0.1))]
    left = []
    for attempt in (Attempt("reinhard", references), Attempt("reinhard", references[:1])):
        made = restyle(real, mask, attempt).image
        assert np.array_equal(made[mask == 0], real[mask == 0])
        change = (made.astype(float) - real)[mask == 255]
        left.append(((change - change.mean(axis=0)) ** 2).mean() / (change**2).mean())
    assert left[0] > 0.3
    assert left[1] < 0.05


def test_seams_between_regions_are_soft_where_the_photo_has_no_edge():
    """A slow ramp of grey has no edge; one half is brightened, the other darkened, and they must meet without a step."""
    lightness = np.linspace(30, 70, 120)
    image = lab2rgb(np.stack([np.broadcast_to(lightness, (40, 120)), *np.zeros((2, 40, 120))], axis=-1))
    real, mask = photo_of(image)
    mask[:] = 255
    source = image.reshape(-1, 3)
    references = [np.clip(source - 0.08, 0, 1), np.clip(source + 0.08, 0, 1)]
    labels = divide(image, mask > 0, 2)
    torn = transfer_regions(source, labels, references, TRANSFERS["reinhard"]).reshape(40, 120, 3)
    made = restyle(real, mask, Attempt("reinhard", references)).image / 255
    steps = [np.abs(np.diff(one[20, :, 1])).max() for one in (torn, made)]
    assert steps[0] > 0.1
    assert steps[1] < steps[0] / 3
    assert made[20, 100, 1] - image[20, 100, 1] > 0.04 > -0.04 > made[20, 20, 1] - image[20, 20, 1]


def test_a_region_that_looks_unreal_by_itself_is_a_fault(striped):
    image, _ = striped
    real, mask = photo_of(image)
    source = image[mask > 0]
    green = np.clip(source + np.where(np.arange(3) == 1, 0.25, 0), 0, 1)
    assert restyle(real, mask, Attempt("reinhard", [source + 0.05, source, green])).fault is not None


def test_a_foreground_of_one_colour_is_a_fault():
    real = np.full((40, 40, 3), 120, np.uint8)
    mask = ellipse(40, 40, grow=3)
    reference = np.random.default_rng(0).random((500, 3))
    attempts = [Attempt(transfer, [reference, reference, reference]) for transfer in TRANSFERS]
    assert {made.fault for made in restyle_each(real, mask, attempts)} == {ONE_COLOR}


@pytest.mark.parametrize("transfer", TRANSFERS.values(), ids=TRANSFERS.keys())
def test_references_of_one_colour_lend_it(striped, transfer):
    image, stripes = striped
    greys = [np.full((300, 3), grey) for grey in (0.25, 0.4, 0.6)]
    restyled = transfer_regions(image.reshape(-1, 3), stripes.ravel(), greys, transfer)
    for rank, grey in enumerate((0.25, 0.4, 0.6)):
        assert np.allclose(restyled[stripes.ravel() == rank].mean(axis=0), grey, atol=0.03)
