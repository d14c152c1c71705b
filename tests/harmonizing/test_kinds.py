import numpy as np
import pytest

from frih.harmonizing.kinds import KINDS, kinds_of, notes
from frih.models.findings import Limit

SOME = np.full((100, 100, 3), 0.1)
"""A change of 25 levels."""


def image_of(outside, inside, mask, *, stripes=60):
    """Of two colours, the background with stripes of so many levels above and below, which a spread needs."""
    image = np.empty((*mask.shape, 3), np.int16)
    image[:] = outside
    image[::2] += stripes
    image[1::2] -= stripes
    image[mask] = inside
    return image.clip(0, 255).astype(np.uint8)


def box(top, bottom, left, right):
    mask = np.zeros((100, 100), bool)
    mask[top:bottom, left:right] = True
    return mask


USUAL = box(30, 60, 30, 60)  # 9 %
SKY = box(0, 40, 0, 100)
GREEN, RED = (90, 130, 90), (160, 120, 110)  # 42 levels apart: the root of (70² + 10² + 20²) / 3


@pytest.mark.parametrize(
    ("outside", "inside", "mask", "stripes", "kinds"),
    [
        (GREEN, RED, USUAL, 60, ()),
        (GREEN, RED, box(50, 59, 50, 61), 60, ("tiny",)),  # 99 of 10000
        (GREEN, RED, box(50, 60, 50, 60), 60, ("small",)),
        (GREEN, RED, box(50, 60, 10, 59), 60, ("small",)),  # 490
        (GREEN, RED, box(50, 60, 10, 60), 60, ()),  # 500
        (GREEN, RED, box(1, 62, 0, 100), 60, ("large",)),  # 61 %, two sides
        (GREEN, RED, SKY, 60, ("three sides",)),
        (GREEN, RED, USUAL | box(0, 60, 45, 46) | box(59, 60, 0, 46), 60, ()),
        ((50, 80, 40), (20, 50, 20), USUAL, 40, ("dark",)),
        ((190, 230, 190), (195, 235, 200), USUAL, 25, ("bright", "alike", "plain")),
        ((100, 106, 100), (150, 155, 150), USUAL, 60, ("grey",)),
        (GREEN, (200, 100, 110), USUAL, 60, ("colourful",)),  # 100 of 255
        (GREEN, (100, 140, 100), USUAL, 60, ("alike",)),  # 10 levels
        ((60, 100, 60), (190, 230, 190), USUAL, 60, ("unlike",)),  # 130 levels
        (GREEN, RED, USUAL, 25, ("plain",)),
        (GREEN, RED, USUAL, 26, ()),
    ],
)
def test_kinds_by_hand(outside, inside, mask, stripes, kinds):
    assert kinds_of(image_of(outside, inside, mask, stripes=stripes), mask, SOME) == kinds


@pytest.mark.parametrize(
    ("levels", "kinds"),
    [(0, ("little change",)), (7.9, ("little change",)), (8.1, ()), (-39, ()), (-41, ("much change",))],
)
def test_kinds_by_what_the_network_changes_inside_the_mask(levels, kinds):
    change = np.where(USUAL[..., None], levels, 255) / np.full(3, 255)
    assert kinds_of(image_of(GREEN, RED, USUAL), USUAL, change) == kinds


def test_nothing_to_compare_is_of_no_kind():
    for mask in (np.zeros((8, 8), bool), np.ones((8, 8), bool)):
        assert kinds_of(np.zeros((8, 8, 3), np.uint8), mask, np.zeros((8, 8, 3))) == ()


def test_a_note_for_each_kind_that_is_a_limit():
    def limit(kind, share):
        return Limit(kind=kind, text="For the card.", images=120, worse_10=share, overall=0.304)

    image = image_of(GREEN, (100, 140, 100), SKY)
    assert kinds_of(image, SKY, SOME) == ("three sides", "alike")
    limits = [limit("alike", 0.412), limit("dark", 0.9), limit("person", 0.8), limit("a kind of later versions", 0.8)]
    assert notes(image, SKY, SOME, limits) == (
        f"{KINDS['alike'].text}; these weights made 41 % of 120 such composites worse by more than a tenth (30 % of all)",
    )
    assert notes(image, SKY, SOME, []) == ()
