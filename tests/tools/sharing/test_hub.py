import json
import shutil

import pytest
import torch
import yaml

from frih import Harmonizer
from frih.common.errors import UserError
from frih.models import build_model
from frih.models.checkpoint import load_model, save_checkpoint
from frih.models.locate import locate
from frih.models.weights import describe
from frih.tools.sharing.hub import from_pretrained, push_to_hub, save_pretrained
from frih.tools.sharing.model_card import find_evaluations, model_card


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
    assert same(Harmonizer.load(tmp_path / "shared", device="cpu").model, original)
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
    assert (
        "| All | 2 | the composites as they are | 99.00 | 28.00 | 400.00 |\n| All | 2 | **result** | 12.35 | 31.42 | - |"
        in card
    )
    assert "22.22" not in card
    assert "33.33" not in card
    assert (
        "Split `test`, 2 composites of images (A 2), listed by A_test.txt; protocol `idih`, 128 x 128 pixels:" in card
    )
    assert 'Harmonizer.load("hf://user/name")' in card
    assert "weights at step 40" in card
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
    assert f"| network | {says} |" in model_card(
        describe(content, small_config(model=model), run / "checkpoints/last.pt"), []
    )


def test_an_evaluation_that_cannot_be_read(run):
    path = evaluate(run)
    for text in (path.read_text()[:50], "[]", "{}"):
        path.write_text(text)
        with pytest.raises(UserError, match="is no summary of an evaluation") as caught:
            find_evaluations(run / "checkpoints/last.pt", 40)
        assert str(caught.value).startswith(str(path))


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
    assert same(Harmonizer.load("hf://user/name", device="cpu").model, original)
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
