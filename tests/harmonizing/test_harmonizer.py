import doctest
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frih import Harmonizer
from frih.common.errors import UserError
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from frih.submasks import extract_submasks
from tests.conftest import FORMS, ellipse, form, no_weight_is_zero, save, smooth_image


@pytest.fixture
def harmonizer(tmp_path, small_config):
    """Of a network that changes something."""
    config = small_config()
    save_checkpoint(tmp_path / "model.pt", config, no_weight_is_zero(build_model(config)), {})
    return Harmonizer.load(tmp_path / "model.pt", device="cpu")


@pytest.fixture
def image():
    return smooth_image(seed=0, width=60, height=50)


@pytest.fixture
def mask():
    return ellipse(60, 50, grow=3)


@pytest.mark.parametrize("size", [(128, 128), (200, 91), (40, 300), (1, 1), (1, 500), (300, 1)])
def test_any_size_in_the_same_size_out_and_the_background_untouched(harmonizer, size):
    image, mask = smooth_image(seed=0, width=size[0], height=size[1]), ellipse(*size, grow=3)
    mask[size[1] // 3 :, size[0] // 3 :] = 255
    result = harmonizer(image, mask)
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    assert np.array_equal(result[mask == 0], image[mask == 0])
    assert not np.array_equal(result[mask > 128], image[mask > 128])


def test_at_the_networks_size_the_result_is_the_networks(harmonizer):
    image = smooth_image(seed=0, width=128, height=128)
    mask = (ellipse(128, 128, grow=3) >= 128).astype(np.uint8) * 255
    labels = extract_submasks(image, mask > 0, candidates=2)
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        out = harmonizer.model(x, torch.from_numpy(mask > 0)[None, None].float(), torch.from_numpy(labels)[None])
    expected = (out.refined[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    result, details = harmonizer(image, mask, return_details=True)
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert np.array_equal(details.labels, labels)
    assert np.array_equal(details.composite, image)
    assert np.abs(image + 255 * details.change - expected).max() <= 0.51
    coarse = (out.coarse[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    assert np.abs(details.coarse - coarse).max() <= 0.51


@pytest.mark.parametrize(
    ("dtype", "top"), [(np.uint16, 65535), (np.float32, 1), (np.float64, 1), (np.float16, 1), (">u2", 65535)]
)
def test_arrays_keep_their_type_and_their_depth(harmonizer, image, mask, dtype, top):
    deep = (image / 255 * top).astype(dtype)
    result = harmonizer(deep, mask)
    assert result.dtype == dtype
    assert np.array_equal(result[mask == 0], deep[mask == 0])
    result = result.astype(float) / top * 255
    np.testing.assert_allclose(result, harmonizer(image, mask), atol=1.1)
    inside = result[mask == 255]
    assert np.abs(inside - inside.round()).max() > 0.1  # not by way of 8 bits


def test_alpha_profile_and_metadata_are_kept(harmonizer, image, mask):
    alpha = 128 + np.arange(50 * 60, dtype=np.uint8).reshape(50, 60, 1) % 128
    given = Image.fromarray(np.concatenate([image, alpha], axis=2))
    given.info.update(icc_profile=b"profile", dpi=(300, 300))
    given.getexif()[0x010F] = "maker"
    result = harmonizer(given, mask)
    assert (result.mode, result.size) == ("RGBA", (60, 50))
    assert np.array_equal(np.asarray(result), harmonizer(np.asarray(given), mask))
    assert np.array_equal(np.asarray(result)[..., 3:], alpha)
    assert np.array_equal(np.asarray(result)[..., :3], harmonizer(image, mask))
    assert result.info["icc_profile"] == b"profile"
    assert result.getexif()[0x010F] == "maker"


def test_paths_images_and_arrays_are_all_taken(harmonizer, image, mask, tmp_path):
    save(tmp_path / "p.png", image)
    save(tmp_path / "m.png", mask)
    expected = harmonizer(image, mask)
    for result in (
        harmonizer(str(tmp_path / "p.png"), tmp_path / "m.png"),
        harmonizer(Image.fromarray(image), Image.fromarray(mask)),
    ):
        assert result.mode == "RGB"
        assert np.array_equal(np.asarray(result), expected)


def test_masks_of_all_kinds_say_the_same(harmonizer, image, mask):
    expected = harmonizer(image, mask)
    cut_out = np.concatenate([image, mask[..., None]], axis=2)
    deep = mask.astype(np.uint16) * 257
    for same in (
        cut_out,
        mask[..., None],
        deep,
        mask / 255,
        Image.fromarray(cut_out),
        Image.fromarray(deep),
        Image.fromarray(mask).convert("RGB"),
        np.dstack([mask] * 3),
        np.dstack([deep] * 3),
        np.dstack([mask] * 3 + [np.full_like(mask, 255)]),
        Image.fromarray(mask.astype(np.int32)),
    ):
        assert np.array_equal(harmonizer(image, same), expected)
    binary = mask >= 128
    expected = harmonizer(image, binary.astype(np.uint8) * 255)
    for same in (binary, Image.fromarray(binary), binary.astype(float)):
        assert np.array_equal(harmonizer(image, same), expected)


def test_an_inverted_mask(harmonizer, image, mask):
    assert np.array_equal(harmonizer(image, 255 - mask, invert_mask=True), harmonizer(image, mask))
    assert np.array_equal(harmonizer(image, mask == 0, invert_mask=True), harmonizer(image, mask > 0))


def test_a_cut_out_may_fade(harmonizer, image, mask):
    """Its alpha is never a label, however faint; with no value of 128 it is no foreground."""
    faint = np.dstack([image, (mask > 0) * np.uint8(100)])
    for cut_out in (faint, Image.fromarray(faint)):
        assert np.array_equal(harmonizer(image, cut_out), image)


def test_a_new_colour_is_not_the_transparent_one(harmonizer, image, mask):
    own = Image.fromarray(image)
    own.info["transparency"] = (255, 0, 255)  # which no pixel has
    assert "transparency" not in harmonizer(own, Image.fromarray(mask)).info


def test_what_is_no_mask(harmonizer, image, mask):
    """A photo, instances in colours, classes by number or by palette; as arrays, PIL images and with opaque alpha."""
    red = mask[..., None] * np.array([1, 0, 0], np.uint8)
    classes = Image.fromarray((mask > 0).astype(np.uint8) * 15)
    classes.putpalette([0, 0, 0] * 15 + [192, 128, 128])
    opaque = np.full_like(mask, 255)
    for wrong in (image, red, red / 255, red * np.uint16(257), np.dstack([red, opaque])):
        with pytest.raises(UserError, match="mask: is coloured, so it is no mask"):
            harmonizer(image, wrong)
        if wrong.dtype == np.uint8:
            with pytest.raises(UserError, match="mask: is coloured, so it is no mask"):
                harmonizer(image, Image.fromarray(wrong))
    with pytest.raises(UserError, match="mask: is coloured, so it is no mask"):
        harmonizer(image, classes)
    numbers = (mask > 0) * np.uint8(15)
    for wrong, says in (
        (numbers, "largest value is 15"),
        (Image.fromarray(numbers), "largest value is 15"),
        (Image.fromarray(numbers.astype(np.int32)), "largest value is 15"),
        (mask.astype(np.uint16), "largest value is 255 of 65535"),
        (Image.fromarray(mask.astype(np.uint16)), "largest value is 255 of 65535"),
    ):
        with pytest.raises(UserError, match=f"mask: is a mask whose {says}"):
            harmonizer(image, wrong)


def test_images_that_look_the_same_are_changed_alike(harmonizer, image, mask):
    """Whatever is stored under pixels that are not seen, there and in the colour that stands for transparent."""
    hidden = smooth_image(seed=1, width=60, height=50)[..., 0] > 128
    alpha = np.where(hidden, 0, 255).astype(np.uint8)
    black, white = (np.where(hidden[..., None], value, image).astype(np.uint8) for value in (0, 255))
    first, second = (harmonizer(np.dstack([one, alpha]), mask) for one in (black, white))
    assert np.array_equal(first[~hidden], second[~hidden])
    assert not np.array_equal(first[~hidden][:, :3], image[~hidden])
    for result, given in ((first, black), (second, white)):
        assert np.array_equal(result[hidden][:, :3], given[hidden])
    keyed = Image.fromarray(np.where(hidden[..., None], (1, 2, 3), np.maximum(image, 9)).astype(np.uint8))
    keyed.info["transparency"] = (1, 2, 3)
    result = harmonizer(keyed, mask)
    assert result.mode == "RGBA"
    assert np.array_equal(np.asarray(result)[~hidden], first[~hidden])


def test_a_file_is_turned_upright(harmonizer, image, mask, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(np.rot90(image)).save(tmp_path / "turned.png", exif=exif)
    result = harmonizer(tmp_path / "turned.png", mask)
    assert np.array_equal(np.asarray(result), harmonizer(image, mask))
    assert result.getexif().get(0x0112, 1) == 1


def test_strength(harmonizer, image, mask):
    deep = image / 255
    half, whole = harmonizer(deep, mask, 0.5), harmonizer(deep, mask)
    inside = (whole > 0) & (whole < 1)
    np.testing.assert_allclose((half - deep)[inside], (whole - deep)[inside] / 2, atol=1e-6)
    assert np.array_equal(harmonizer(image, mask, 0.0), image)
    with pytest.raises(UserError, match=r"strength: must be from 0 .* not 1\.5"):
        harmonizer(image, mask, 1.5)


def test_without_foreground_the_image_comes_back_and_with_nothing_else_it_is_harmonized(harmonizer, image):
    result, details = harmonizer(image, np.zeros((50, 60), bool), return_details=True)
    assert np.array_equal(result, image)
    assert not details.labels.any()
    assert not np.array_equal(harmonizer(image, np.ones((50, 60), bool)), image)


def test_frames(harmonizer, image, mask):
    other = smooth_image(seed=1, width=60, height=50)
    frames = harmonizer.frames(iter([image, other]), repeat(mask))
    assert np.array_equal(next(frames), harmonizer(image, mask))
    assert np.array_equal(next(frames), harmonizer(other, mask))
    with pytest.raises(StopIteration):
        next(frames)
    with pytest.raises(UserError, match="there are only 1, fewer than images"):
        list(harmonizer.frames([image, other], [mask]))
    with pytest.raises(UserError, match=r"image 1, counted from 0: mask: is 10 x 10"):
        list(harmonizer.frames([image, other], [mask, mask[:10, :10]]))


def test_the_examples_of_the_documentation_run(harmonizer, image, mask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("composite.png", "mask.png", "photos/a.png", "photos/b.png", "masks/a.png", "masks/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name, mask if "mask" in name else image)
    names = {"Harmonizer": Harmonizer, "harmonizer": harmonizer, "np": np, "Path": Path}
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(Harmonizer, globs=names):
        runner.run(example)
    assert (runner.failures, runner.tries) == (0, 7)
    for name in ("result.png", "a-harmonized.png", "b-harmonized.png"):
        with Image.open(name) as result:
            assert result.size == (60, 50)


def test_a_batch_equals_single_calls_to_the_bit(harmonizer, image, mask, tmp_path):
    """Of files, PIL images and arrays of different sizes, and one without foreground."""
    save(tmp_path / "a.png", image)
    large = smooth_image(seed=1, width=150, height=140)
    images = [image, tmp_path / "a.png", Image.fromarray(large), large / 255, image]
    masks = [mask, mask, *[Image.fromarray(ellipse(150, 140, grow=2))] * 2, mask * np.uint8(0)]
    expected = [harmonizer(*pair, 0.7) for pair in zip(images, masks, strict=True)]
    for found, single in zip(harmonizer.batch(iter(images), iter(masks), 0.7), expected, strict=True):
        assert type(found) is type(single)
        assert np.array_equal(np.asarray(found), np.asarray(single))


def test_what_the_network_sees_at_once_is_within_rounding(harmonizer, mask):
    """As on a GPU."""
    images = [smooth_image(seed=seed, width=60, height=50) for seed in range(3)]
    seen = [harmonizer._see(one, mask) for one in images]
    for found, one in zip(harmonizer._predict(seen), seen, strict=True):
        [alone] = harmonizer._predict([one])
        for part in ("composite", "coarse", "refined"):
            np.testing.assert_allclose(getattr(found, part), getattr(alone, part), atol=1e-5)


@pytest.mark.parametrize("size", [(60, 50), (700, 900)])
def test_results_do_not_depend_on_the_form_of_the_code(harmonizer, size):
    image, mask = smooth_image(seed=0, width=size[0], height=size[1]), ellipse(*size, grow=3)
    results = []
    for name in FORMS:
        with form(name):
            results.append(harmonizer(image / 255, mask))
    assert np.array_equal(*results)


def test_a_bad_image_does_not_cost_those_before_it(harmonizer, image, mask, tmp_path):
    found = harmonizer.batch([image, image, tmp_path / "b.png", image], repeat(mask))
    assert np.array_equal(next(found), harmonizer(image, mask))
    assert np.array_equal(next(found), harmonizer(image, mask))
    with pytest.raises(UserError, match=r"image 2, counted from 0: .*b\.png: no such file"):
        next(found)
    found = harmonizer.batch([image, image], [mask])
    assert np.array_equal(next(found), harmonizer(image, mask))
    with pytest.raises(UserError, match="there are only 1, fewer than images"):
        next(found)
    with pytest.raises(UserError, match="strength"):
        harmonizer.outcomes([], [], 2)


def test_outcomes(harmonizer, image, mask, tmp_path):
    (one, details), error, (other, _) = harmonizer.outcomes(
        [image, tmp_path / "b.png", image], repeat(255 - mask), invert_mask=True
    )
    expected, known = harmonizer(image, mask, return_details=True)
    assert np.array_equal(one, expected)
    assert np.array_equal(other, expected)
    assert np.array_equal(details.labels, known.labels)
    assert str(error) == f"{tmp_path / 'b.png'}: no such file"


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((120, 100), "the shapes agree, so resize the mask to 60 x 50"),
        ((50, 60), "one of them lies on its side"),
        ((10, 10), "it was most likely squashed to a square, as networks do; if so, resize it to 60 x 50"),
        ((10, 30), r"their shapes differ too \(0\.333 : 1 and 1\.2 : 1\)"),
    ],
)
def test_masks_of_another_size(harmonizer, image, size, says):
    with pytest.raises(UserError, match=f"mask: is {size[0]} x {size[1]} pixels but image is 60 x 50; {says}"):
        harmonizer(image, np.zeros(size[::-1], bool))


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "PA", "I", "I;16", "F", "CMYK", "YCbCr", "LAB", "HSV", "RGBa"])
def test_images_without_room_for_new_colours(harmonizer, mask, mode):
    with pytest.raises(UserError, match=rf"image: .*\(mode {mode}\).*save it as RGB"):
        harmonizer(Image.new(mode, (60, 50)), mask)


def test_weights_that_diverged_are_refused(tmp_path, small_config):
    model = build_model(small_config())
    with torch.no_grad():
        model.head.output.to_rgb.bias[1] = torch.nan
    save_checkpoint(tmp_path / "model.pt", small_config(), model, {})
    with pytest.raises(UserError, match=r"model\.pt: holds weights that are not finite .* take another"):
        Harmonizer.load(tmp_path / "model.pt")


@pytest.mark.parametrize("part", ["base", "head"])
def test_a_prediction_that_is_not_finite_is_refused(harmonizer, image, mask, part):
    """Weights that are finite, and too large: clamped, such an image would be white or black."""
    torch.nn.init.constant_(getattr(harmonizer.model, part).output.to_rgb.weight, 3e38)
    with pytest.raises(UserError, match=r"image: the network's prediction is not finite .* take other weights"):
        harmonizer(image, mask)


def test_arrays_that_are_no_images(harmonizer, image, mask):
    for wrong, says in (
        (image.astype(float), r"floating point must be in \[0, 1\], not"),
        (np.where(mask[..., None] > 0, np.nan, image / 255), "image: holds values that are not finite"),
        (image.astype(int), "must be of uint8, uint16, or floating point of 16 to 64 bits"),
        (image / np.longdouble(255), "not (float128|float96)"),
        (image.tolist(), "must be a file's path, a PIL image or a NumPy array, not list"),
        (image > 9, "not bool"),
        (image[..., 0], r"image: must be \(H, W, 3\)"),
        (image[:0], r"image: must be \(H, W, 3\)"),
    ):
        with pytest.raises(UserError, match=says):
            harmonizer(wrong, mask)
    for wrong, says in (
        (image[:, :, :2], r"mask: must be \(H, W\)"),
        (mask[:0], r"mask: must be \(H, W\)"),
        (mask // 255, "is a mask of 0 and 1; its foreground must be 255"),
        (np.full((50, 60), np.inf), "mask: holds values that are not finite"),
        (mask.astype(int), "mask: must be of uint8"),
        (None, "mask: must be a file's path, .* not NoneType"),
    ):
        with pytest.raises(UserError, match=says):
            harmonizer(image, wrong)


def test_files_that_cannot_be_taken(harmonizer, image, mask, tmp_path):
    with pytest.raises(UserError, match=r"nothing\.png: no such file"):
        harmonizer(tmp_path / "nothing.png", mask)
    frames = [Image.fromarray(image), Image.fromarray(255 - image)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match=r"moving\.gif: holds 2 images"):
        harmonizer(tmp_path / "moving.gif", mask)
    save(tmp_path / "p.png", image)
    (tmp_path / "p.png").write_bytes((tmp_path / "p.png").read_bytes()[:-200])
    with pytest.raises(UserError, match=r"p\.png: cannot be read as an image"):
        harmonizer(tmp_path / "p.png", mask)
    with pytest.raises(UserError, match=r"p\.png: cannot be read as an image"):
        harmonizer(image, tmp_path / "p.png")


def test_a_bomb_is_refused(harmonizer, mask, tmp_path, monkeypatch):
    Image.new("RGB", (60, 50)).save(tmp_path / "p.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # warns: taken all the same
    harmonizer(tmp_path / "p.png", mask)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match="megapixels; make it smaller"):
        harmonizer(tmp_path / "p.png", mask)


def test_the_network_can_see_another_size(tmp_path, harmonizer, image, mask):
    larger = Harmonizer.load(tmp_path / "model.pt", "cpu", size=256)
    result, details = larger(image, mask, return_details=True)
    assert details.composite.shape == (256, 256, 3)
    assert result.shape == image.shape
    assert np.array_equal(result[mask == 0], image[mask == 0])
    assert not np.array_equal(result, harmonizer(image, mask))
    for size in (0, 200):
        with pytest.raises(UserError, match=f"size: must be a multiple of 128, .* not {size}"):
            Harmonizer.load(tmp_path / "model.pt", "cpu", size=size)
