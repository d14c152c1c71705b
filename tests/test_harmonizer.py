import numpy as np
import pytest
import torch
from PIL import Image

from frih import Harmonizer
from frih.checkpoint import save_checkpoint
from frih.errors import UserError
from frih.models import build_model
from frih.submasks import extract_submasks
from tests.conftest import ellipse, save, smooth_picture


@pytest.fixture
def checkpoint(tmp_path, small_config):
    config = small_config()
    save_checkpoint(tmp_path / "model.pt", config, build_model(config), {})
    return tmp_path / "model.pt"


@pytest.fixture
def harmonizer(checkpoint):
    return Harmonizer.load(checkpoint, device="cpu")


@pytest.mark.parametrize("size", [(128, 128), (200, 91), (40, 300)])
def test_any_size_in_the_same_size_out_and_the_background_untouched(harmonizer, size):
    picture, mask = smooth_picture(seed=0, width=size[0], height=size[1]), ellipse(*size, grow=3)
    result = harmonizer(picture, mask)
    assert (result.shape, result.dtype) == (picture.shape, np.uint8)
    assert np.array_equal(result[mask == 0], picture[mask == 0])
    assert not np.array_equal(result[mask == 255], picture[mask == 255])


def test_at_the_networks_size_the_result_is_the_networks(harmonizer):
    picture, mask = (
        smooth_picture(seed=0, width=128, height=128),
        (ellipse(128, 128, grow=3) >= 128).astype(np.uint8) * 255,
    )
    labels = extract_submasks(picture, mask > 0, candidates=2)
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        out = harmonizer.model(x, torch.from_numpy(mask > 0)[None, None].float(), torch.from_numpy(labels)[None])
    expected = (out.refined[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(harmonizer(picture, mask).astype(int) - expected).max() <= 1


def test_paths_images_and_arrays_are_all_taken(harmonizer, tmp_path):
    picture, mask = smooth_picture(seed=0, width=60, height=50), ellipse(60, 50, grow=3)
    save(tmp_path / "p.png", picture)
    save(tmp_path / "m.png", mask)
    expected = harmonizer(picture, mask)
    assert np.array_equal(harmonizer(str(tmp_path / "p.png"), tmp_path / "m.png"), expected)
    assert np.array_equal(harmonizer(Image.fromarray(picture), Image.fromarray(mask)), expected)
    binary = mask >= 128
    assert np.array_equal(harmonizer(picture, binary), harmonizer(picture, binary.astype(np.uint8) * 255))


def test_without_foreground_the_picture_comes_back(harmonizer):
    picture = smooth_picture(seed=0, width=60, height=50)
    assert np.array_equal(harmonizer(picture, np.zeros((50, 60), bool)), picture)


def test_what_does_not_fit(harmonizer, tmp_path):
    picture = smooth_picture(seed=0, width=60, height=50)
    with pytest.raises(UserError, match="is 10 x 10 pixels but the picture is 60 x 50"):
        harmonizer(picture, np.zeros((10, 10), bool))
    with pytest.raises(UserError, match=r"image: must be \(H, W, 3\) uint8"):
        harmonizer(picture.astype(float), np.zeros((50, 60), bool))
    with pytest.raises(UserError, match=r"mask: must be \(H, W\)"):
        harmonizer(picture, picture)
    with pytest.raises(UserError, match="no such file"):
        harmonizer(tmp_path / "nothing.png", np.zeros((50, 60), bool))
    with pytest.raises(UserError, match="convert it to 8-bit sRGB"):
        harmonizer(Image.fromarray(picture).convert("CMYK"), np.zeros((50, 60), bool))
