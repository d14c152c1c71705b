"""Counted costs against what one counts by hand."""

import json
import math
import sys
from functools import partial
from itertools import pairwise

import pytest
import torch

from frih import FRIH
from frih.models.tiles import TILE, find
from frih.models.upsampled import strips
from frih.tools.experiments.complexity import made_image, multiply_adds, parameters, peak_memory, seconds
from tests.conftest import run_here

BASE, CASCADE, DECODER, HEAD, SIZE = [3, 4, 5, 6, 7, 8, 9], [2, 3, 4, 5, 6, 7, 8], 5, 6, 128
small = partial(FRIH, base_widths=BASE, base_decoder_width=DECODER, cascade_widths=CASCADE, head_width=HEAD)


def test_parameters_are_the_papers():
    counts = parameters(FRIH())
    assert counts["base"] / 1e6 == pytest.approx(9.30, abs=0.01)
    assert (counts["cascade"] + counts["head"]) / 1e6 == pytest.approx(2.68, abs=0.01)
    assert counts["all"] / 1e6 == pytest.approx(11.98, abs=0.01)


def test_a_baseline_has_one_part():
    model = FRIH(cascade=False, fusion=False)
    assert parameters(model).keys() == {"base", "all"}
    costs = multiply_adds(model.eval(), made_image(128, 0.1, 1))
    assert costs["base"] == costs["all"]


def base_by_hand() -> int:
    """Each output pixel of a 4x4 convolution takes 16 products a channel; each input pixel of a transposed one gives 16."""
    total, sides = 0, [SIZE >> i for i in range(8)]
    for i, (fan_in, fan_out) in enumerate(zip([4, *BASE], BASE, strict=False)):
        total += sides[i + 1] ** 2 * 16 * fan_in * fan_out
    widths = [*reversed(BASE), DECODER]
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        total += sides[7 - i] ** 2 * 16 * fan_in * fan_out
    return total + SIZE**2 * DECODER * 3  # to_rgb


OUTS = [CASCADE[0], *CASCADE[:-1]]
"""Channels of DC_1 ... DC_7."""


def cascade_by_hand(pairs: int, tiles: int | None = None, near: int | None = None) -> int:
    """``tiles``: of all pairs, in which the last decoder layers run; ``near``: in which the first encoder layers do."""
    total, sides = 0, [SIZE >> i for i in range(8)]
    for i, (fan_in, own) in enumerate(zip([4, *CASCADE], CASCADE, strict=False)):
        pixels, side = sides[i + 1] ** 2, TILE >> (i + 1)  # side of a tile
        total += (
            pixels * 9 * (BASE[i] + own) * own + pixels * own * own
        )  # transfers and their part of F_i: once an image
        if near is not None and i < 3:
            encoded = (pixels + near * side**2) * fan_in  # the image with an empty submask, and around the submasks
        elif i == 0:
            encoded = pixels * 3 + pairs * pixels  # the image once, each submask
        else:
            encoded = pairs * pixels * fan_in
        total += encoded * 16 * own
        decoded = tiles * (side + 4) ** 2 if tiles is not None and i < 3 else pairs * pixels
        previous = OUTS[i + 1] if i < 6 else 0
        total += decoded * (previous + own) * own  # fuse
        total += decoded * 16 * own * OUTS[i]  # decoder
    return total


def head_by_hand(pairs: int) -> int:
    fused = sum([CASCADE[0], *CASCADE[:-1]])
    return pairs * SIZE**2 * (9 * fused * HEAD + 9 * HEAD * HEAD + HEAD * 3)


def head_in_tiles_by_hand(tiles: int, pairs: int) -> int:
    """The first convolution on what is upsampled first, and at the other layers' own resolution; then rows and columns."""
    first, second, side, every = (TILE + 2) ** 2, TILE**2, TILE + 4, 0
    total = tiles * first * 9 * sum(OUTS[:3]) * HEAD
    for i in (1, 2):  # DC_2 and DC_3
        low = (TILE >> i) + (4 if i == 1 else 2)
        total += tiles * (side * low * low + side * side * low) * OUTS[i]
    for i in range(3, 7):
        taps = strips(SIZE >> i, SIZE, torch.float32, torch.device("cpu")).weight.shape[-1]
        total += min(tiles * taps**2, pairs * (SIZE >> i) ** 2) * OUTS[i] * 9 * HEAD  # mixing channels
        total += tiles * (TILE + 2) * 3 * taps * taps * 3 * HEAD  # down
        every += taps
    total += tiles * first * every * 3 * HEAD  # along
    return total + tiles * second * (9 * HEAD * HEAD + HEAD * 3)


@pytest.mark.parametrize("pairs", [1, 3])
def test_multiply_adds_of_the_literal_form(pairs):
    costs = multiply_adds(small(dense=True).eval(), made_image(SIZE, 0.2, pairs))
    assert costs["base"] == base_by_hand()
    assert costs["cascade"] == cascade_by_hand(pairs)
    assert costs["head"] == head_by_hand(pairs)
    assert costs["all"] == costs["base"] + costs["cascade"] + costs["head"]


@pytest.mark.parametrize(("pairs", "share"), [(1, 0.2), (3, 0.2), (3, 1.0)])
def test_multiply_adds_of_the_default_form(pairs, share):
    inputs = made_image(SIZE, share, pairs)
    found = find(inputs[2], torch.device("cpu"))
    tiles, near = len(found.tiles.pair), found.near and len(found.near.pair)
    assert (near is None) == (pairs == 1 or share == 1.0)  # they are most tiles of so small an image
    costs = multiply_adds(small().eval(), inputs)
    assert costs["base"] == base_by_hand()
    assert costs["cascade"] == cascade_by_hand(pairs, tiles, near)
    assert costs["head"] == head_in_tiles_by_hand(tiles, pairs)
    assert costs["all"] == costs["base"] + costs["cascade"] + costs["head"]


@pytest.mark.parametrize(("share", "count"), [(0.05, 1), (0.2, 8), (1.0, 10)])
def test_made_images(share, count):
    _, mask, labels = made_image(256, share, count)
    assert mask.mean().item() == pytest.approx(share, rel=0.02)
    assert torch.equal(mask[0, 0] > 0, labels[0] > 0)
    areas = labels.flatten().bincount()[1:]
    assert len(areas) == count
    assert areas.max() - areas.min() <= round(256 * math.sqrt(share))  # bands of heights that differ by one at most


def test_time_and_memory_are_of_the_parts_and_leave_the_model_as_it_was():
    model, inputs = small().eval(), made_image(SIZE, 0.2, 2)
    expected = model(*inputs).refined
    times = seconds(model, inputs, rounds=1)
    assert times.keys() == {"base", "cascade", "head", "all"}
    assert 0 < times["base"] + times["cascade"] + times["head"] <= times["all"]
    assert torch.equal(model(*inputs).refined, expected)
    assert not any("forward" in vars(part) for part in (model.base, model.cascade, model.head))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not known")
def test_memory_grows_with_what_the_literal_head_holds():
    pairs = 6
    costs = peak_memory(partial(small, dense=True), made_image(SIZE, 0.5, pairs))
    upsampled = pairs * sum([CASCADE[0], *CASCADE[:-1]]) * SIZE**2 * 4
    assert upsampled < costs["head"] < 10 * upsampled
    assert costs["all"] == max(costs["base"], costs["cascade"], costs["head"]) == costs["head"]


@pytest.mark.parametrize(("options", "forms"), [([], ["default"]), (["--literal"], ["default", "literal"])])
def test_the_program_measures_the_literal_form_only_if_asked(tmp_path, monkeypatch, capsys, options, forms):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        f"data: {{size: {SIZE}}}\nmodel: {{base_widths: {BASE}, base_decoder_width: {DECODER}, "
        f"cascade_widths: {CASCADE}, head_width: {HEAD}}}\n"
    )
    monkeypatch.setattr("frih.tools.experiments.complexity.multiply_adds", lambda model, _: parameters(model))
    monkeypatch.setattr("frih.tools.experiments.complexity.peak_memory", lambda build, _: parameters(build()))
    program = ["scripts/complexity.py", recipe, "--rounds", "1", "--out", tmp_path, *options]
    assert run_here(*program) == 0
    printed = capsys.readouterr()
    assert ("literal" in printed.out) == (len(forms) > 1)
    assert "100%" in printed.err
    found = json.loads((tmp_path / "complexity.json").read_text())["recipes"][str(recipe)]
    assert [*found] == [*forms, "grid"]
    assert [*found["grid"]] == forms
    assert found["default"]["parameters"] == parameters(small())
