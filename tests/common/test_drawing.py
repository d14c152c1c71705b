import numpy as np
import pytest

from frih.common.drawing import PALETTE, color_labels, image_sheet


def test_labels_have_colours_of_their_own():
    colors = color_labels(np.arange(11, dtype=np.uint8).reshape(1, 11))[0]
    assert len({tuple(color) for color in colors}) == 11
    assert tuple(colors[0]) == tuple(PALETTE[0])


def test_colours_begin_again_after_the_background():
    colors = color_labels(np.array([[1, 11, 10, 255]], np.uint8))[0]
    assert tuple(colors[0]) == tuple(colors[1])
    assert not any(tuple(color) == tuple(PALETTE[0]) for color in colors)


@pytest.mark.parametrize("captions", [(), ("first", "second")])
def test_a_sheet_holds_every_image_unscaled(captions):
    rng = np.random.default_rng(0)
    rows = [[rng.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(6)] for _ in range(2)]
    rows[0][1] = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    sheet = image_sheet(rows, ["composite", "mask", "submasks", "coarse", "refined", "real"], captions)
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (20, 30, 3))[:, :, 0]
    for image in (rows[0][0], np.repeat(rows[0][1][..., None], 3, axis=2), rows[1][5]):
        assert (windows == image).all(axis=(2, 3, 4)).sum() == 1


def test_images_of_several_sizes_do_not_cover_each_other():
    wide, high = np.full((20, 30, 3), 100, np.uint8), np.full((30, 20, 3), 50, np.uint8)
    sheet = image_sheet([[wide, high], [high, wide]], ["one", "other"])
    assert [(sheet == level).all(axis=2).sum() for level in (100, 50)] == [1200, 1200]
