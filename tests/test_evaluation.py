import math

import numpy as np
import pytest
import torch
from PIL import Image

from frih.config import DataConfig, SubmaskConfig
from frih.data.iharmony4 import read_split
from frih.data.loader import Pictures
from frih.data.pictures import read_mask, read_rgb
from frih.distributed import World
from frih.errors import UserError
from frih.evaluation import draw_stages, evaluate_input, evaluate_model, evaluate_predictions, evenly
from frih.metrics import score
from frih.models import build_model
from tests.conftest import save

HOW = {"protocol": "idih", "workers": 0, "world": World()}


@pytest.fixture
def pictures(dataset):
    return Pictures(read_split(dataset, "train").items, DataConfig(size=128, workers=0), SubmaskConfig())


@pytest.fixture
def model(small_config):
    return build_model(small_config())


def test_input_rows_are_an_independent_computation(pictures):
    rows = evaluate_input(pictures, batch=4, **HOW)
    assert [(row.subset, row.name) for row in rows] == [(i.subset, i.composite_name) for i in pictures.items]
    for row, item in zip(rows, pictures.items, strict=True):
        composite, real, mask = (
            np.asarray(Image.fromarray(read(path)).resize((128, 128), Image.Resampling.BILINEAR), dtype=float)
            for read, path in ((read_rgb, item.composite), (read_rgb, item.real), (read_mask, item.mask))
        )
        error = (composite - real) ** 2
        assert row.scores["mse"] == pytest.approx(error.mean(), rel=1e-9)
        assert row.scores["psnr"] == pytest.approx(10 * math.log10(real.max() ** 2 / (error.mean() + 1e-6)), rel=1e-9)
        weight = mask / 255
        assert row.scores["fmse"] == pytest.approx((error * weight[..., None]).sum() / (3 * weight.sum()), rel=1e-9)
        assert row.fg_ratio == np.mean(mask >= 128)
        assert row.submasks >= 1


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_models_rows_do_not_depend_on_the_batch(pictures, model, batch):
    rows = evaluate_model(model, pictures, batch=batch, **HOW)
    one = evaluate_model(model, pictures, batch=2, **HOW)
    for a, b in zip(rows, one, strict=True):
        assert a.scores == pytest.approx(b.scores, rel=1e-5)


def test_a_models_rows_are_those_of_its_pictures(pictures, model):
    row = evaluate_model(model, pictures, batch=4, **HOW)[2]
    sample = pictures[2]
    with torch.no_grad():
        out = model.eval()(
            torch.from_numpy(sample.composite).permute(2, 0, 1)[None].float() / 255,
            torch.from_numpy(sample.mask)[None, None].float(),
            torch.from_numpy(sample.labels)[None],
        )
    for prefix, picture in (("", out.refined), ("coarse_", out.coarse)):
        array = picture[0].clamp(0, 1).permute(1, 2, 0).numpy().astype(float) * 255
        expected = score(array, sample.real, sample.soft_mask / 255)
        assert {name: row.scores[prefix + name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert row.scores["input_mse"] == evaluate_input(pictures, batch=4, **HOW)[2].scores["mse"]
    assert "ssim" in row.scores


def test_the_model_keeps_its_mode_and_its_statistics(pictures, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    evaluate_model(model, pictures, batch=4, ssim=False, **HOW)
    draw_stages(model, pictures, [0], torch.device("cpu"))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_processes_share_the_pictures_and_gather_the_rows(pictures):
    """What each of two processes gathers, played in one."""

    class Half(World):
        def gather(self, value):
            assert value == shares[self.rank]
            return shares

    whole = evaluate_input(pictures, batch=4, **HOW)
    shares = [whole[0::2], whole[1::2]]
    for rank in range(2):
        assert evaluate_input(pictures, batch=4, **{**HOW, "world": Half(rank, 2)}) == whole


def test_an_empty_mask_has_rows_without_fmse(pictures, model):
    save(pictures.items[0].mask, np.zeros((140, 160), np.uint8))
    row = evaluate_model(model, pictures, batch=4, **HOW)[0]
    assert (row.fg_ratio, row.submasks) == (0, 0)
    assert math.isnan(row.scores["fmse"])
    assert row.scores["mse"] == row.scores["input_mse"]  # the picture came back unchanged


def test_predictions_that_are_not_finite_are_named(pictures, model):
    torch.nn.init.constant_(model.base.to_rgb.bias, math.nan)
    with pytest.raises(UserError, match=r"A/a-0_x_1_1\.jpg: cannot be evaluated"):
        evaluate_model(model, pictures, batch=4, **HOW)


# predictions in files


@pytest.fixture
def predictions(pictures, tmp_path):
    """The real pictures, as if someone had predicted them, in one folder."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for item in pictures.items:
        image = Image.open(item.real).resize((128, 128), Image.Resampling.BILINEAR)
        image.save((folder / item.composite_name).with_suffix(".png"))
    return folder


def test_predictions_of_the_evaluated_size(pictures, predictions):
    rows = evaluate_predictions(predictions, pictures, batch=4, **HOW)
    assert {row.scores["mse"] for row in rows} == {0.0}
    assert min(row.scores["input_mse"] for row in rows) > 0


def test_predictions_in_folders_by_subset_and_of_the_composites_size(pictures, tmp_path):
    for item in pictures.items:
        target = tmp_path / "theirs" / item.subset / item.composite_name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(item.real.read_bytes())
    rows = evaluate_predictions(tmp_path / "theirs", pictures, batch=4, **HOW)
    assert {row.scores["mse"] for row in rows} == {0.0}


def refusal(pictures, folder) -> str:
    with pytest.raises(UserError) as caught:
        evaluate_predictions(folder, pictures, batch=4, **HOW)
    return str(caught.value)


def test_predictions_that_are_missing_doubled_or_of_another_size(pictures, predictions):
    path = predictions / "a-1_x_1_2.png"
    Image.open(path).resize((60, 60)).save(path)
    assert (
        refusal(pictures, predictions)
        == f"{path}: is 60 x 60 pixels; it must be 128 x 128 or, as its composite, 160 x 140"
    )
    path.with_suffix(".jpg").write_bytes(b"")
    assert "both predict A/a-1_x_1_2.jpg" in refusal(pictures, predictions)
    path.with_suffix(".jpg").unlink()
    path.unlink()
    assert "has no picture for A/a-1_x_1_2.jpg; " in refusal(pictures, predictions)
    assert "no such folder" in refusal(pictures, predictions / "nowhere")


def test_one_file_for_composites_of_two_subsets(pictures, predictions):
    items = [pictures.items[0], pictures.items[0]._replace(subset="B")]
    assert "sort the pictures into a folder a subset" in refusal(
        Pictures(items, pictures.data, SubmaskConfig()), predictions
    )


def test_stages_are_drawn(pictures, model):
    row = draw_stages(model, pictures, [3], torch.device("cpu"))[0]
    assert [picture.shape for picture in row] == [(128, 128, 3), (128, 128), *[(128, 128, 3)] * 4]
    assert np.array_equal(row[0], pictures[3].composite)
    assert np.array_equal(row[5], pictures[3].real)


def test_evenly():
    assert evenly(100, 4) == [0, 25, 50, 75]
    assert evenly(3, 8) == [0, 1, 2]
    assert evenly(0, 8) == []
