"""benchmarks/peers.py: the networks have the published sizes and do what they say; table and plot show what was measured."""

import colorsys
import re
import sys
from functools import partial

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch.utils.flop_counter import FlopCounterMode

from frih import FRIH
from frih.common.errors import UserError
from tests.conftest import ROOT, SMALL

sys.path.append(str(ROOT / "benchmarks"))
import costs
import peers
from costs import Cost
from peer_networks import PEERS
from peer_networks.duconet import Style, to_lab
from peer_networks.harmonizer import FILTERS, brightness, saturation
from peer_networks.pctnet import transform
from peer_networks.plot import draw
from peer_networks.published import PUBLISHED


@pytest.mark.parametrize("name", PEERS)
def test_networks_have_the_published_size_and_cost(name):
    with torch.device("meta"):
        model = PEERS[name]().eval()
        image, mask = torch.rand(2, 3, 256, 256), torch.rand(2, 1, 256, 256)
    with FlopCounterMode(display=False) as counter:
        out = model(image, mask, mask[:, 0])
    assert out.refined.shape == image.shape
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    assert parameters == pytest.approx(PUBLISHED[name].parameters, rel=0.005)
    assert counter.get_total_flops() / 4e9 == pytest.approx(PUBLISHED[name].multiply_adds, rel=0.01)


@pytest.mark.parametrize("name", PEERS)
def test_networks_compute_an_image(name):
    torch.manual_seed(0)
    size = 256 if name in ("iDIH256", "DoveNet") else 32
    image, mask = torch.rand(1, 3, size, size), torch.zeros(1, 1, size, size)
    mask[..., size // 4 : size // 2, size // 4 :] = 1
    with torch.inference_mode():
        out = PEERS[name]().eval()(image, mask, mask[:, 0].byte())
    assert out.coarse is out.refined
    assert out.refined.isfinite().all()
    assert (out.refined - image).abs().max() > 0.01
    if name in ("Harmonizer", "PCT-Net ViT"):
        assert torch.equal(out.refined * (1 - mask), image * (1 - mask))


def test_a_colour_transformation_is_a_matrix_and_an_offset_for_each_pixel():
    image, parameters = torch.rand(1, 3, 2, 2) / 4, torch.rand(1, 12, 2, 2) / 4
    out = transform(image, parameters)
    for y, x in np.ndindex(2, 2):
        matrix, offset = parameters[0, :9, y, x].view(3, 3), parameters[0, 9:, y, x]
        torch.testing.assert_close(out[0, :, y, x], matrix @ image[0, :, y, x] + offset)


def test_filters_do_nothing_at_zero():
    image = 0.1 + 0.8 * torch.rand(2, 3, 5, 7)
    for change in FILTERS:
        torch.testing.assert_close(change(image, torch.zeros(2, 1, 1, 1)), image, atol=1e-4, rtol=0)


def test_brightness_and_saturation_change_what_they_are_named_after():
    pixel, argument = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1), torch.full((1, 1, 1, 1), -0.5)
    hue, saturated, value = colorsys.rgb_to_hsv(0.2, 0.3, 0.4)
    assert brightness(pixel, argument).flatten().tolist() == pytest.approx(
        colorsys.hsv_to_rgb(hue, saturated, value / 2)
    )
    hue, light, saturated = colorsys.rgb_to_hls(0.2, 0.3, 0.4)
    for amount, expected in ((-0.5, saturated / 2), (0.2, saturated / (1 - 0.2))):
        out = saturation(pixel, torch.full_like(argument, amount))
        assert out.flatten().tolist() == pytest.approx(colorsys.hls_to_rgb(hue, light, expected), abs=1e-4)


def test_lab_is_that_of_scikit_image():
    image = torch.rand(1, 3, 4, 5)
    light, a, b = np.moveaxis(rgb2lab(image[0].permute(1, 2, 0).numpy()), -1, 0)
    expected = np.stack([light / 100, (a + 128) / 255, (b + 128) / 255])
    np.testing.assert_allclose(to_lab(image)[0].numpy(), expected, atol=1e-3)


def test_styles_are_those_of_each_image():
    style, x, codes = Style(4).eval(), torch.rand(3, 4, 6, 6), torch.rand(3, 256)
    alone = [style(one[None], code[None]) for one, code in zip(x, codes, strict=True)]
    torch.testing.assert_close(style(x, codes), torch.cat(alone))


def cost(parameters: int, billions: float, *times: float) -> Cost:
    return Cost(parameters, billions * 1e9, list(times), 34e6)


MEASURED = {
    "base network": cost(9_300_000, 1.48, 0.028, 0.030, 0.056),
    "FRIH": cost(11_980_000, 4.17, 0.084, 0.120, 0.168),
    "iDIH256": cost(8_300_000, 1.66, 0.050, 0.060, 0.100),
    "Harmonizer": cost(4_730_000, 0.51, 0.045, 0.045, 0.045),
    "iSSAM256": cost(2_190_000, 14.9, 0.25, 0.25, 0.25),
    "PCT-Net CNN": cost(2_190_000, 14.9, 0.25, 0.25, 0.25),
    "DoveNet": cost(54_800_000, 6.87, 0.05, 0.05, 0.05),
}


def test_the_table_says_time_an_image_and_ratios_turn_by_turn(capsys):
    peers.print_table(2, MEASURED)
    lines = {line.split("  ")[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    row = lines["FRIH"]
    assert row[:8] == [
        "FRIH",
        "11.98",
        "M",
        "4.17",
        "G",
        "60.0",
        "ms",
        "1.68",
    ]  # 0.084 / 0.050, 0.120 / 0.060, 0.168 / 0.100
    assert row[8:] == ["3.00", "34", "MB", "38.19", "evaluator", "unpublished"]
    peers.print_table(1, {"FRIH": MEASURED["FRIH"]})
    assert "120.0 ms" in capsys.readouterr().out


@pytest.mark.parametrize("costs", [{1: MEASURED}, {1: MEASURED, 16: MEASURED}], ids=["two panels", "three panels"])
def test_names_in_the_plot_cover_nothing(costs, tmp_path):
    figure = draw(costs, tmp_path / "plot.png", "seconds")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    legend, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert whole.x0 <= legend.x0
    assert legend.x1 <= whole.x1
    assert [axes.get_xlabel() for axes in figure.axes[:-1]] == [
        f"seconds an image, batch {size} (ms)" for size in costs
    ]
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert [text.get_text() for text in axes.texts] == list(MEASURED)
        for number, box in enumerate(boxes):
            assert not box.count_overlaps(boxes[:number])
            assert axes.bbox.x0 <= box.x0
            assert box.x1 <= axes.bbox.x1


def test_the_program_measures_what_is_chosen(dataset, monkeypatch, capsys):
    monkeypatch.setattr(costs, "peak_memory", lambda *_: 5e6)  # which takes a process of its own
    monkeypatch.setattr(
        peers, "VARIANTS", {name: partial(FRIH, **SMALL["model"]) for name in ("FRIH", "iDIH256", "DucoNet")}
    )
    call = ["peers.py", "--root", str(dataset), "--images", "2", "--batches", "1", "3", "--rounds", "1", "--processor"]
    monkeypatch.setattr(sys, "argv", [*call, "--only", "FRIH", "iDIH256"])
    assert peers.main() == 0
    first, second = capsys.readouterr().out.split("inference, batch 1")[1].split("inference, batch 3")
    for table in (first, second):
        names = {line.split()[0] for line in table.splitlines()[2:] if line}
        assert names == {"FRIH", "iDIH256"}
        assert re.search(r" 1\.00 +5 MB +36\.99   whole image\n", table)
    monkeypatch.setattr(sys, "argv", [*call, "--only", "FRIHH"])
    with pytest.raises(UserError, match="--only: no network FRIHH; there are FRIH, iDIH256, DucoNet"):
        peers.main()
