import pickle

import pytest
import torch

from frih import FRIH
from frih.common.errors import UserError
from frih.models import build_model
from frih.models.checkpoint import find_checkpoint, load_checkpoint, load_model, load_weights, save_checkpoint


@pytest.fixture
def saved(tmp_path, small_config):
    config = small_config()
    path = tmp_path / "checkpoints" / "last.pt"
    model = build_model(config)
    save_checkpoint(path, config, model, {"step": 3})
    return path, config, model


def refusal(call, *args) -> str:
    with pytest.raises(UserError) as caught:
        call(*args)
    return str(caught.value)


def test_a_model_is_rebuilt_from_its_checkpoint_alone(saved):
    path, config, model = saved
    found, found_config = load_model(path)
    assert found_config == config
    assert not found.training
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), model.state_dict().values(), strict=True))
    assert load_checkpoint(path)["training"] == {"step": 3}


def test_a_failed_writing_leaves_the_old_checkpoint_whole(saved, monkeypatch):
    path, config, model = saved
    before = path.read_bytes()

    def full_disk(content, file):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, config, model, {"step": 4})
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_damaged_checkpoints_are_named(saved, share):
    path = saved[0]
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    message = refusal(load_model, path)
    assert message.startswith(f"{path}: is damaged, incomplete or no checkpoint")
    assert "\n" not in message


class Hostile:
    def __reduce__(self):
        return exec, ("import pathlib, tempfile; pathlib.Path(tempfile.gettempdir(), 'frih-was-run').touch()",)


def test_a_hostile_checkpoint_is_not_run(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = saved[0]
    torch.save({"format": "frih-1", "model": Hostile()}, path)
    assert "incomplete or no checkpoint" in refusal(load_model, path)
    path.write_bytes(pickle.dumps(Hostile()))
    assert "incomplete or no checkpoint" in refusal(load_model, path)
    assert not (tmp_path / "frih-was-run").exists()


def test_checkpoints_of_other_programs(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "theirs.pt")
    assert "not a checkpoint of this version of FRIH" in refusal(load_model, tmp_path / "theirs.pt")
    assert "no such checkpoint" in refusal(load_model, tmp_path / "nothing.pt")


def test_a_checkpoint_that_lacks_a_part(saved):
    path = saved[0]
    content = load_checkpoint(path)
    torch.save({**content, "training": None, "model": 5}, path)
    assert "incomplete checkpoint of FRIH (without model, training)" in refusal(load_model, path)
    torch.save({**content, "model": {**content["model"], "base.output.to_rgb.bias": [0.0] * 3}}, path)
    assert "damaged checkpoint of FRIH (base.output.to_rgb.bias is no tensor)" in refusal(load_model, path)
    del content["model"]
    torch.save(content, path)
    assert "incomplete checkpoint of FRIH (without model)" in refusal(load_model, path)


def test_a_configuration_that_is_no_json(saved):
    path = saved[0]
    torch.save({**load_checkpoint(path), "config": "{"}, path)
    assert "is damaged (its configuration is no JSON); take another" in refusal(load_model, path)


def test_weights_of_another_model(saved):
    path, _, model = saved
    weights = dict(model.state_dict())
    wider = FRIH(base_widths=[5] * 7, base_decoder_width=4, cascade_widths=[4] * 7, head_width=4)
    assert "has in another shape base.encoder.0.0.weight" in refusal(load_weights, wider, weights, path)
    alone = FRIH(base_widths=[4] * 7, base_decoder_width=4, cascade=False, fusion=False)
    assert "has, and the model has not, cascade." in refusal(load_weights, alone, weights, path)
    assert "lacks cascade." in refusal(load_weights, model, alone.state_dict(), path)
    del weights["head.conv1.weight"]
    assert "lacks head.conv1.weight" in refusal(load_weights, model, weights, path)


def test_weights_of_the_first_stage_alone_may_be_taken_if_said(saved):
    path, _, model = saved
    base = FRIH(base_widths=[4] * 7, base_decoder_width=4, cascade=False, fusion=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert load_weights(model, base.state_dict(), path, partly=True) == ["cascade", "head"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, base.state_dict()[name] if name.startswith("base.") else before[name])
    incomplete = {name: value for name, value in base.state_dict().items() if name != "base.output.to_rgb.bias"}
    with pytest.raises(UserError, match=r"lacks base\.output\.to_rgb\.bias"):
        load_weights(model, incomplete, path, partly=True)


def test_finding_a_runs_checkpoint(saved):
    path = saved[0]
    run = path.parent.parent
    assert find_checkpoint(path) == find_checkpoint(run) == path
    assert refusal(find_checkpoint, run, "best").endswith("no such checkpoint; the run has last")
    assert "no such run folder" in refusal(find_checkpoint, run / "nowhere")
