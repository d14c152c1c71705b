import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.config import DataConfig, SubmaskConfig
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.data.images import read_mask, read_rgb
from frih.evaluation import Evaluation, draw_stages, evaluation, evenly
from frih.evaluation.tables import intervals, summarize
from frih.evaluation.unfinished import FinishedRows
from frih.metrics import PROTOCOLS, Scoring, score
from frih.models import build_model
from tests.conftest import ellipse, save, smooth_image


@pytest.fixture
def images(dataset):
    return CompositeDataset(read_split(dataset, "train").items, DataConfig(size=128, workers=0), SubmaskConfig())


@pytest.fixture
def model(small_config):
    return build_model(small_config())


class Kept:
    """Thumbnails, in memory."""

    def __init__(self):
        self.stages = {}

    def __call__(self, subset, name, stages):
        assert all(image.dtype == np.uint8 for image in stages.values())
        assert len({image.shape[:2] for image in stages.values()}) == 1
        self.stages[subset, name] = stages


def assert_near(rows, expected):
    for a, b in zip(rows, expected, strict=True):
        assert a[:5] == b[:5]
        assert a.scores == pytest.approx(b.scores, rel=1e-6)


def test_input_rows_are_an_independent_computation(images):
    rows = Evaluation(images).of_input()["idih"]
    assert [(row.subset, row.name, row.real) for row in rows] == [
        (i.subset, i.composite_name, i.real_name) for i in images.items
    ]
    for row, item in zip(rows, images.items, strict=True):
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
def test_a_models_rows_do_not_depend_on_the_batch(images, model, batch):
    rows, expected = (Evaluation(images, batch=size).of_model(model)["idih"] for size in (batch, 2))
    assert_near(rows, expected)


def test_a_models_rows_are_those_of_its_images(images, model):
    row = Evaluation(images).of_model(model)["idih"][2]
    sample = images[2]
    with torch.no_grad():
        out = model.eval()(
            torch.from_numpy(sample.composite).permute(2, 0, 1)[None].float() / 255,
            torch.from_numpy(sample.mask)[None, None].float(),
            torch.from_numpy(sample.labels)[None],
        )
    for prefix, image in (("", out.refined), ("coarse_", out.coarse)):
        array = image[0].clamp(0, 1).permute(1, 2, 0).numpy().astype(float) * 255
        expected = score(array, sample.real, sample.soft_mask / 255, metrics=["ssim"])
        assert {name: row.scores[prefix + name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert row.scores["input_mse"] == Evaluation(images).of_input()["idih"][2].scores["mse"]
    assert list(row.scores)[:5] == ["mse", "psnr", "fmse", "ssim", "input_mse"]


def test_the_model_keeps_its_mode_and_its_statistics(images, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    Evaluation(images).of_model(model)
    draw_stages(model, images, [0], torch.device("cpu"))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_all_protocols_at_once(images):
    together = Evaluation(images, Scoring(tuple(PROTOCOLS), ())).of_input()
    assert list(together) == list(PROTOCOLS)
    for protocol in ("ht", "pctnet"):
        assert together[protocol] == Evaluation(images, Scoring((protocol,), ())).of_input()[protocol]


def test_an_empty_mask_has_rows_without_fmse(images, model):
    save(images.items[0].mask, np.zeros((140, 160), np.uint8))
    row = Evaluation(images).of_model(model)["idih"][0]
    assert (row.fg_ratio, row.submasks) == (0, 0)
    assert math.isnan(row.scores["fmse"])
    assert row.scores["mse"] == row.scores["input_mse"]  # the image came back unchanged


class Changed(torch.nn.Module):
    """A network that returns the composite with noise, whose standard deviation is given in levels."""

    refines = False

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise = noise / 255

    def forward(self, composite, mask, labels):
        changed = composite + self.noise * torch.randn(composite.shape, generator=torch.Generator().manual_seed(0))
        return changed, changed


@pytest.mark.parametrize(("noise", "share"), [(0, 0.0), (0.01, 0.0), (100, 1.0)])
@pytest.mark.parametrize("protocol", ["idih", "frih", "pctnet"])
def test_a_network_that_leaves_composites_alone_harms_none_and_one_that_adds_noise_all(images, noise, share, protocol):
    save(images.items[0].mask, np.zeros((140, 160), np.uint8))
    images.items[-1].composite.write_bytes(images.items[-1].real.read_bytes())  # needs no change
    rows = Evaluation(images, Scoring((protocol,), ())).of_model(Changed(noise))[protocol]
    assert rows[-1].scores["input_fmse"] == 0
    judged = [row for row in rows if not math.isnan(row.scores["fmse"])]
    assert 0 < len(judged) < len(rows)
    summary, found = summarize(rows, protocol), intervals(rows)
    for kind in ("subsets", "ratios"):
        cells = [cell for cell in summary[kind].values() if "fmse" in cell]
        assert {cell[score] for cell in cells for score in ("worse", "worse_10")} == {share}
    assert found["subsets"]["All"]["worse"].images == len(judged)


def test_predictions_are_compared_with_their_composites_too(images, predictions):
    """Real images harm none; real images turned over harm all."""
    for share in (0.0, 1.0):
        rows = Evaluation(images).of_predictions({"theirs": predictions})["theirs"]["idih"]
        assert summarize(rows, "idih")["subsets"]["All"]["worse"] == share
        assert {row.scores["mse"] == 0 for row in rows} == {share == 0}
        assert min(row.scores["input_mse"] for row in rows) > 0
        for path in predictions.iterdir():
            Image.open(path).point(lambda value: 255 - value).save(path)
    assert "worse" not in summarize(Evaluation(images).of_input()["idih"], "idih")["subsets"]["All"]


# several processes, simulated in one


class Several(World):
    """One of two processes, both of which are threads; their messages go through here."""

    both = threading.Barrier(2)
    values: dict = {}  # noqa: RUF012

    def gather(self, value):
        self.values[self.rank] = value
        self.both.wait(60)
        found = [self.values[0], self.values[1]]
        self.both.wait(60)
        return found

    def any(self, *flags):
        return [any(pair) for pair in zip(*self.gather(flags), strict=True)]


def in_two_processes(work):
    """What each of two processes returns."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, [Several(rank, 2) for rank in range(2)], timeout=120))


@pytest.mark.parametrize("count", [10, 7, 1])
def test_processes_share_the_images_and_have_all_rows(images, count):
    part = CompositeDataset(images.items[:count], images.data, SubmaskConfig())
    alone = Evaluation(part).of_input()
    results = in_two_processes(lambda world: Evaluation(part, world=world).of_input())
    assert results == [alone, alone]


# going on after a kill


def test_an_evaluation_goes_on_where_it_was_stopped(images, model, tmp_path, monkeypatch):
    whole = Evaluation(images, batch=3).of_model(model)
    finished = FinishedRows(tmp_path, {"what": 1})
    seen, limit, original = [], 6, Evaluation.score

    def counting(self, sample, systems):
        seen.append(sample.item.name)
        if len(seen) > limit:
            raise KeyboardInterrupt
        return original(self, sample, systems)

    monkeypatch.setattr(Evaluation, "score", counting)
    with pytest.raises(KeyboardInterrupt):
        Evaluation(images, batch=3, finished=finished).of_model(model)
    before = len(finished.read())
    assert 0 < before <= 6
    seen.clear()
    limit = len(images)
    rows = Evaluation(images, batch=3, finished=finished).of_model(model)
    assert len(seen) == len(images) - before
    assert_near(rows["idih"], whole["idih"])
    rows = in_two_processes(lambda world: Evaluation(images, world=world, finished=finished).of_model(model))
    assert len(seen) == len(images) - before  # all were there already
    assert rows[0] == rows[1]


# images that cannot be evaluated


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_predictions_of_a_network_that_are_not_finite_are_counted_and_named(images, model, value):
    torch.nn.init.constant_(model.base.output.to_rgb.bias, value)
    with pytest.raises(UserError) as caught:
        Evaluation(images).of_model(model)
    assert str(caught.value) == (
        "10 images cannot be evaluated, so there is no result:\n"
        "A/a-0_x_1_1.jpg: cannot be evaluated: the image holds values that are not finite\n"
        "A/a-0_x_1_2.jpg: cannot be evaluated: the image holds values that are not finite\n"
        "A/a-1_x_1_1.jpg: cannot be evaluated: the image holds values that are not finite\n"
        "... and 7 more"
    )


def test_after_many_faults_no_more_images_are_looked_at(images, monkeypatch):
    monkeypatch.setattr(evaluation, "FAULTS", 2)
    for item in images.items:
        item.mask.write_bytes(b"")
    with pytest.raises(UserError, match=r"^2 images cannot be evaluated"):
        Evaluation(images).of_input()


def test_good_images_are_kept_beside_bad_ones(images, tmp_path):
    images.items[2].real.write_bytes(b"")  # of two composites
    finished = FinishedRows(tmp_path, {})
    with pytest.raises(UserError, match=r"^2 images cannot be evaluated"):
        Evaluation(images, finished=finished).of_input()
    assert sorted(finished.read()) == [0, 1, 4, 5, 6, 7, 8, 9]


# predictions in files


@pytest.fixture
def predictions(images, tmp_path):
    """The real images, as if someone had predicted them, in one folder."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for item in images.items:
        image = Image.open(item.real).resize((128, 128), Image.Resampling.BILINEAR)
        image.save((folder / item.composite_name).with_suffix(".png"))
    return folder


def test_several_predictions_are_scored_as_each_by_itself(images, predictions, tmp_path):
    for item in images.items:
        target = tmp_path / "others" / item.subset / item.composite_name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(item.composite.read_bytes())
    kept = {"theirs": Kept(), "others": Kept()}
    folders = {"theirs": predictions, "others": tmp_path / "others"}
    both = Evaluation(images, Scoring(("idih", "ht")), show=kept).of_predictions(folders)
    for name, folder in folders.items():
        assert both[name] == Evaluation(images, Scoring(("idih", "ht"))).of_predictions({name: folder})[name]
        assert list(kept[name].stages["A", "a-0_x_1_1.jpg"]) == ["composite", "mask", "submasks", "prediction", "real"]
    assert all(row.scores["mse"] == row.scores["input_mse"] for row in both["others"]["idih"])


def test_predictions_that_do_not_fit_are_refused_before_anything_is_evaluated(images, predictions, monkeypatch):
    (predictions / "a-1_x_1_2.png").unlink()
    monkeypatch.setattr(Evaluation, "score", lambda *_: pytest.fail("was evaluated"))
    with pytest.raises(UserError, match=r"1 of 10 are missing, A/a-1_x_1_2\.jpg"):
        Evaluation(images).of_predictions({"theirs": predictions})


def test_predictions_that_cannot_be_read_are_counted_and_named(images, predictions):
    Image.fromarray(np.zeros((128, 128), np.uint16)).save(predictions / "a-1_x_1_2.png")
    (predictions / "a-0_x_1_1.png").write_bytes((predictions / "a-0_x_1_1.png").read_bytes()[:100])
    with pytest.raises(UserError) as caught:
        Evaluation(images).of_predictions({"theirs": predictions})
    assert str(caught.value).startswith("2 images cannot be evaluated, so there is no result:\n")
    assert "a-1_x_1_2.png: has more than 8 bits a channel" in str(caught.value)
    assert "a-0_x_1_1.png: cannot be read as an image" in str(caught.value)


# at the original size


@pytest.fixture
def large(tmp_path):
    """Images of odd sizes, the masks' borders grey: 3 composites of 3 photos."""
    folder = tmp_path / "large/A"
    for place in ("composite_images", "masks", "real_images"):
        (folder / place).mkdir(parents=True)
    for number, (width, height) in enumerate([(301, 457), (640, 333), (1023, 767)]):
        real, mask = smooth_image(seed=number, width=width, height=height), ellipse(width, height, grow=2)
        save(folder / f"real_images/{number}.png", real)
        save(folder / f"masks/{number}_1.png", mask)
        composite = np.where(mask[..., None] >= 128, 0.8 * real, real).astype(np.uint8)
        save(folder / f"composite_images/{number}_1_1.png", composite)
    (folder / "A_test.txt").write_text("".join(f"{number}_1_1.png\n" for number in range(3)))
    return CompositeDataset(read_split(folder.parent, "test").items, DataConfig(size=128, workers=0), SubmaskConfig())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_original_sizes(large, protocol):
    rows = Evaluation(large, Scoring((protocol,)), original=True).of_input()[protocol]
    for row, item in zip(rows, large.items, strict=True):
        composite, real, mask = read_rgb(item.composite), read_rgb(item.real), read_mask(item.mask)
        assert np.any((mask > 0) & (mask < 255)), "the borders are grey"
        assert row.scores == score(composite, real, mask / 255, protocol, ["ssim"])
        assert row.fg_ratio == np.mean(mask >= 128)


def test_predictions_of_original_sizes(large, tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for item in large.items:
        (folder / item.composite_name).write_bytes(item.real.read_bytes())
    rows = Evaluation(large, original=True).of_predictions({"theirs": folder})["theirs"]["idih"]
    assert {row.scores["mse"] for row in rows} == {0.0}
    Image.new("RGB", (128, 128)).save(folder / "1_1_1.png")
    with pytest.raises(UserError, match=r"1_1_1\.png is 128 x 128, but its composite is 640 x 333$"):
        Evaluation(large, original=True).of_predictions({"theirs": folder})
    rows = Evaluation(large).of_predictions({"theirs": folder})["theirs"]["idih"]  # at the network's size it fits
    assert len(rows) == 3


def test_what_harmonizes_at_the_original_size(large):
    def darken(image, mask):
        assert image.shape[:2] == mask.shape
        return image // 2

    rows = Evaluation(large, original=True).of_harmonizer(darken)["idih"]
    for row, item in zip(rows, large.items, strict=True):
        expected = score(
            read_rgb(item.composite) // 2, read_rgb(item.real), read_mask(item.mask) / 255, "idih", ["ssim"]
        )
        assert {name: row.scores[name] for name in expected} == expected
        assert row.scores["input_mse"] > 0


# images to look at


def test_thumbnails_of_a_model(images, model, small_config):
    kept = Kept()
    Evaluation(images, show={"": kept}).of_model(model)
    assert len(kept.stages) == 10
    stages = kept.stages["A", "a-1_x_1_2.jpg"]
    assert list(stages) == ["composite", "mask", "submasks", "coarse", "refined", "real"]
    drawn = draw_stages(model, images, [3], torch.device("cpu"))[0]
    assert [image.shape for image in drawn.values()] == [(128, 128, 3), (128, 128), *[(128, 128, 3)] * 4]
    assert np.array_equal(drawn["real"], images[3].real)
    assert list(drawn) == list(stages)
    assert all(np.array_equal(stages[name], image) for name, image in drawn.items())
    baseline = build_model(small_config(model={"cascade": False, "fusion": False}))
    Evaluation(images, show={"": kept}).of_model(baseline)
    stages = kept.stages["A", "a-1_x_1_2.jpg"]
    assert list(stages) == ["composite", "mask", "submasks", "prediction", "real"]
    drawn = draw_stages(baseline, images, [3], torch.device("cpu"))[0]
    assert list(drawn) == ["composite", "mask", "result", "real"]
    assert np.array_equal(drawn["result"], stages["prediction"])
    Evaluation(images, show={"": kept}).of_input()
    assert list(kept.stages["A", "a-1_x_1_2.jpg"]) == ["composite", "mask", "submasks", "real"]


def test_evenly():
    assert [evenly(100, 4), evenly(3, 8), evenly(0, 8)] == [[0, 25, 50, 75], [0, 1, 2], []]
