import json
import math
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from frih import Harmonizer
from frih.common.errors import UserError
from frih.evaluation.rows import write_rows
from frih.metrics import Row
from frih.models import build_model
from frih.models.checkpoint import load_model, save_checkpoint
from frih.models.folding import fold_normalization
from frih.models.locate import locate
from frih.models.weights import describe
from frih.tools.report import Thumbnails
from frih.tools.sharing.examples import Example, choose
from frih.tools.sharing.hub import Card, from_pretrained, push_to_hub, save_pretrained
from frih.tools.sharing.model_card import Facts, find_evaluations, model_card


@pytest.fixture
def run(tmp_path, small_config):
    config = small_config(data={"root": "/home/someone/images"})
    model = build_model(config)
    save_checkpoint(tmp_path / "run/checkpoints/last.pt", config, model, {"step": 40})
    with torch.no_grad():
        model.head.output.to_rgb.bias += 1
    save_checkpoint(tmp_path / "run/checkpoints/best.pt", config, model, {"step": 30})
    return tmp_path / "run"


def evaluate(run, name="test", *, checkpoint="last", step=40, psnr=31.416):
    cell = {"images": 2, "mse": 12.345, "psnr": psnr, "input_mse": 99.0, "input_psnr": 28.0, "input_fmse": 400.0}
    summary = {
        "protocol": "idih",
        "photos": 1,
        "subsets": {"A": cell, "All": cell},
        "about": {
            "checkpoint": str(run / f"checkpoints/{checkpoint}.pt"),
            "step": step,
            "split": "test",
            "data": "2 composites of /home/someone/images (A 2), listed by A_test.txt",
            "size": 128,
        },
    }
    path = run / "evaluation" / name / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(summary))
    return path


def same(one, other) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_folder_to_share(run, tmp_path):
    save_pretrained(run, tmp_path / "shared")
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    model, config = from_pretrained(tmp_path / "shared")
    original, original_config = load_model(run / "checkpoints/last.pt")
    assert same(model, original)
    assert config.model == original_config.model
    assert json.loads((tmp_path / "shared/config.json").read_text())["step"] == 40
    assert same(Harmonizer.load(tmp_path / "shared", device="cpu").model, fold_normalization(original))
    assert all(b"someone" not in path.read_bytes() for path in (tmp_path / "shared").iterdir())


def test_the_best_checkpoint_can_be_shared(run, tmp_path):
    save_pretrained(run, tmp_path / "shared", best=True, half=True)
    assert same(from_pretrained(str(tmp_path / "shared"))[0].half(), load_model(run / "checkpoints/best.pt")[0].half())


def test_the_card_has_the_figures_of_the_same_weights_alone(run, tmp_path):
    evaluate(run)
    evaluate(run, "earlier", step=20, psnr=22.22)
    evaluate(run, "test-best", checkpoint="best", step=30, psnr=33.33)
    save_pretrained(run, tmp_path / "shared", name="user/name")
    card = (tmp_path / "shared/README.md").read_text()
    assert "|  | images | fMSE↓ | PSNR↑ | MSE↓ |" in card
    assert "| All | 2 | 400 → - | 28.00 → **31.42** | 99.0 → **12.3** |" in card
    assert "22.22" not in card
    assert "33.33" not in card
    assert (
        "**test** (1 photo): 2 composites of images (A 2), listed by A\\_test.txt; protocol `idih`, 128 x 128 pixels."
        in card
    )
    assert 'Harmonizer.load("hf://user/name")' in card
    assert "| step | 40 |" in card
    header = yaml.safe_load(card.split("---\n")[1])
    assert (header["license"], header["library_name"]) == ("apache-2.0", "frih")


def test_a_card_without_evaluations_has_no_figures(run, tmp_path):
    save_pretrained(run, tmp_path / "shared")
    assert (
        "No evaluation was found with these weights, so there are no figures"
        in (tmp_path / "shared/README.md").read_text()
    )


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"cascade": False, "fusion": False}, "base network alone (the paper's *Baseline*)"),
        ({"fusion": False}, "base network and cascade, without fusion"),
        ({}, "base network and cascade, with fusion"),
    ],
)
def test_the_card_says_which_network_it_is(run, small_config, model, says):
    content = {"training": {}, "versions": {}}
    about = describe(content, small_config(model=model), run / "checkpoints/last.pt")
    assert f"| network | {says} |" in model_card(about, Facts())


def test_an_evaluation_that_cannot_be_read(run):
    path = evaluate(run)
    for text in (path.read_text()[:50], "[]", "{}"):
        path.write_text(text)
        with pytest.raises(UserError, match="is no summary of an evaluation") as caught:
            find_evaluations(run / "checkpoints/last.pt", 40)
        assert str(caught.value).startswith(str(path))


GREEN, RED = (40, 160, 60), (200, 50, 40)


def evaluated(folder, sha256, fmse):
    """An evaluation's folder of two sub-datasets, with images: of each composite its fMSE and its result's."""
    rows = []
    for name, (before, after) in fmse.items():
        scores = {"psnr": 30.0, "fmse": after, "mse": after / 10, "input_psnr": 28.0, "input_fmse": before}
        rows.append(Row(*name.split("/"), f"{name[2]}.jpg", 0.1, 1, {**scores, "input_mse": before / 10}))
        colors = {"composite": RED, "real": GREEN, "prediction": GREEN if after < before else RED}
        stages = {stage: np.full((60, 90, 3), color, np.uint8) for stage, color in colors.items()}
        Thumbnails(folder).add(*name.split("/"), {"mask": np.full((60, 90), 255, np.uint8), **stages})
    write_rows(folder / "rows.csv", rows)
    cell = {"images": 4, "fmse": 90.25, "input_fmse": 100.0, "coarse_fmse": 95.0, "worse": 0.5, "worse_10": 0.25}
    shares = {"0-5": {"images": 3, "worse_10": 1 / 3}, "5-15": {"images": 0}, "15-100": {"images": 1, "worse_10": 0.0}}
    interval = {"mean": 90.25, "low": 80.0, "high": 99.96, "images": 4, "photos": 3}
    summary = {
        "protocol": "idih",
        "photos": 3,
        "subsets": {"A": {**cell, "fmse": 150.4, "psnr": 27.0, "input_psnr": 27.0}, "B": cell, "All": cell},
        "ratios": {**shares, "All": cell},
        "intervals": {
            "subsets": {
                "A": {"fmse": {**interval, "low": None, "high": None}},
                "All": {"fmse": interval, "coarse_fmse": interval, "worse": {"low": 0.125, "high": 1.0}},
            }
        },
        "about": {"sha256": sha256, "data": "4 composites of /home/someone/free (A 2, B 2)", "size": "original"},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_the_card_has_all_that_it_is_given(run, tmp_path):
    about = tmp_path / "about.md"
    about.write_text("Trained on *my photos*, CC0.\n")
    checkpoint = run / "checkpoints/last.pt"
    sha256 = describe({"training": {}, "versions": {}}, load_model(checkpoint)[1], checkpoint)["source_sha256"]
    fmse = {"A/a_x_1.jpg": (400, 100), "A/b_x_1.jpg": (300, 299), "B/c_x_1.jpg": (200, 500), "B/c_x_2.jpg": (9, 200)}
    folder = evaluated(tmp_path / "free", sha256, fmse)
    card = Card(about, {"Photos | mine": folder}, [folder])
    save_pretrained(run, tmp_path / "shared", half=True, card=card)
    text = (tmp_path / "shared/README.md").read_text()
    assert "## Training\n\nTrained on *my photos*, CC0.\n\n|" in text
    assert "**Photos \\| mine** (3 photos): 4 composites of free (A 2, B 2); protocol `idih`, own sizes." in text
    for line in (
        "|  | images | fMSE↓ | PSNR↑ | MSE↓ | worse↓ | >10% worse↓ |",
        "| A | 4 | **100** → 150 | 27.00 → 27.00 | - | 50 % | 25 % |",  # no better one, no interval of one photo
        "| All | 4 | 100 → **90.2** [80.0, 100.0] | - | - | 50 % [12 %, 100 %] | 25 % |",
        "The first stage alone: fMSE↓ 95.0 [80.0, 100.0]. Worse by more than a tenth, by the foreground's share of the image: "
        "0-5 %: 33 % of 3; 15-100 %: 0 % of 1.",
    ):
        assert f"{line}\n" in text
    assert "someone" not in text
    assert "![composites, masks, results and real images](images.jpg)" in text
    size = (tmp_path / "shared/model.safetensors").stat().st_size
    assert f"| file | {size / 1e6:.1f} MB, float16 |" in text
    with Image.open(tmp_path / "shared/images.jpg") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape[0] == 26 + 4 * (22 + 256 + 6)  # four rows under captions
    results = pixels[26 + 22 + 128 :: 22 + 256 + 6, 6 + 2 * 262 + 128]  # the middle of each row's third image
    expected = [GREEN, GREEN, RED, RED]  # -300, -1, +191 ... +300: the third best is left to the worst
    assert np.abs(results - expected).max() < 12


def test_examples_are_the_extremes_of_different_foregrounds(tmp_path):
    gains = {"a_1_1": 90, "a_1_2": 80, "b_1_1": 70, "c_1_1": 60, "d_1_1": 50, "e_1_1": -1, "f_1_1": -20, "f_1_2": -30}
    rows = [
        Row("A", f"{name}.jpg", "r.jpg", 0.1, 1, {"fmse": 100.0 - gain, "input_fmse": 100.0})
        for name, gain in gains.items()
    ]
    rows.append(rows[0]._replace(name="g_1_1.jpg", scores={"fmse": math.nan, "input_fmse": math.nan}))
    chosen = choose([Example(tmp_path, row) for row in rows])
    assert [one.row.name[:5] for one in chosen] == ["a_1_1", "b_1_1", "c_1_1", "d_1_1", "e_1_1", "f_1_2"]


def test_measured_limits_and_strength_come_from_the_weights_description(run, small_config):
    about = describe({"training": {}, "versions": {}}, small_config(), run / "checkpoints/last.pt")
    text = model_card(about, Facts())
    assert "128 x 128 pixels.\n- On images unlike" in text
    assert "| works at | 128 x 128 pixels |\n| recipe" in text
    measured = {"strength": 0.75, "limits": [{"text": "Where it is tiny, 40 % became worse."}, {"text": "A_B."}]}
    text = model_card({**about, **measured}, Facts())
    assert "128 x 128 pixels.\n- Where it is tiny, 40 % became worse.\n- A\\_B.\n- On images unlike" in text
    assert "| works at | 128 x 128 pixels |\n| strength | 0.75 of the change, by default |\n| recipe" in text


def test_what_a_card_cannot_be_made_of(run, tmp_path):
    other = evaluated(tmp_path / "other", "0" * 64, {"A/a_1_1.jpg": (2, 1)})
    (tmp_path / "latin.md").write_bytes("é".encode("latin-1"))
    for card, message in (
        (Card(evaluations={"other": other}), f"{other}: is no evaluation of these weights; evaluate them"),
        (Card(images=[other]), f"{other}: is no evaluation of these weights"),
        (Card(evaluations={"none": tmp_path}), f"{tmp_path / 'summary.json'}: no such file; give a folder that"),
        (Card(tmp_path / "latin.md"), f"{tmp_path / 'latin.md'}: is no text in UTF-8"),
    ):
        with pytest.raises(UserError) as caught:
            save_pretrained(run, tmp_path / "shared", card=card)
        assert str(caught.value).startswith(message)
    assert not (tmp_path / "shared").exists()


def test_the_shipped_weights_card_loads_them_without_a_name(run, tmp_path, monkeypatch):
    monkeypatch.setattr("frih.tools.sharing.hub.PRETRAINED", tmp_path / "pretrained")
    save_pretrained(run, tmp_path / "pretrained")
    text = (tmp_path / "pretrained/README.md").read_text()
    assert "harmonizer = Harmonizer.load()\n" in text
    assert "*Not stated: on which images these weights were trained" in text


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The Hub's package without a network, over a cache that holds nothing yet."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return hub


def test_what_was_downloaded_is_found_without_a_network(run, hub, tmp_path):
    folder, commit = tmp_path / "cache/models--user--name", "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(commit)
    save_pretrained(run, folder / "snapshots" / commit)
    original, _ = load_model(run / "checkpoints/last.pt")
    assert same(from_pretrained("user/name")[0], original)
    assert same(from_pretrained("hf://user/name")[0], original)
    assert same(from_pretrained(f"user/name@{commit}")[0], original)
    assert same(Harmonizer.load("hf://user/name", device="cpu").model, fold_normalization(original))
    assert locate("hf://user/name") == folder / "snapshots" / commit / "model.safetensors"
    with pytest.raises(UserError, match=r"^user/name@v2: no model\.safetensors to be had from the Hub: "):
        from_pretrained("user/name@v2")


def test_what_the_hub_has_not(hub):
    with pytest.raises(UserError, match=r"^user/other: no model\.safetensors to be had from the Hub: [^\n]+$"):
        from_pretrained("user/other")


@pytest.mark.parametrize("name", ["no name at all", "a/b/c", "alone", ""])
def test_what_names_no_repository(hub, name):
    with pytest.raises(UserError, match=rf"^{name or 'hf://'}: names no repository on the Hub; write user/name"):
        Harmonizer.load(f"hf://{name}")


def test_a_runs_folder_is_never_looked_for_on_the_hub(monkeypatch):
    monkeypatch.setattr("frih.models.locate.download", lambda _: pytest.fail("asked the Hub"))
    with pytest.raises(UserError, match=r"runs/nothing: no such run folder"):
        Harmonizer.load("runs/nothing")


def test_publishing(run, hub, tmp_path, monkeypatch):
    class Api:
        def __init__(self, **_):
            pass

        def create_repo(self, name, *, private, exist_ok):
            assert (name, private, exist_ok) == ("user/name", True, True)
            return f"https://hub.example/{name}"

        def upload_folder(self, *, repo_id, folder_path):
            assert repo_id == "user/name"
            shutil.copytree(folder_path, tmp_path / "uploaded")

    monkeypatch.setattr(hub, "HfApi", Api)
    evaluate(run)
    assert push_to_hub(run, "user/name", private=True) == "https://hub.example/user/name"
    assert same(from_pretrained(tmp_path / "uploaded")[0], load_model(run / "checkpoints/last.pt")[0])
    assert 'load("hf://user/name")' in (tmp_path / "uploaded/README.md").read_text()


def test_publishing_without_a_network(run, hub):
    with pytest.raises(UserError, match=r"^user/name: the Hub did not take it: "):
        push_to_hub(run, "user/name")


def test_without_the_package(run, tmp_path, monkeypatch):
    monkeypatch.setattr("frih.common.errors.find_spec", lambda _: None)
    save_pretrained(run, tmp_path / "shared")
    assert from_pretrained(tmp_path / "shared")
    with pytest.raises(UserError, match=r'huggingface_hub: not installed; pip install "\.\[hub\]"'):
        Harmonizer.load("hf://user/name")
