import pickle
from io import BytesIO

import pytest
import torch

from frih import FRIH
from frih.common.errors import UserError
from frih.models import build_model
from frih.models.checkpoint import find_checkpoint, load_checkpoint, load_model, load_weights, save_checkpoint
from tests.conftest import SMALL


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
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_is_rebuilt_from_its_checkpoint_alone(saved):
    path, config, model = saved
    found, found_config = load_model(path)
    assert found_config == config
    assert not found.training
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), model.state_dict().values(), strict=True))
    assert load_checkpoint(path)["training"] == {"step": 3}


def test_a_failed_writing_leaves_the_old_checkpoint_whole(saved, full_disk):
    path, config, model = saved
    before = path.read_bytes()
    full_disk(lambda file: file.parent == path.parent)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, config, model, {"step": 4})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_damaged_checkpoints_are_named(saved, share):
    path = saved[0]
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert refusal(load_model, path).startswith(f"{path}: is damaged, incomplete or no checkpoint")


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"import pathlib; pathlib.Path({str(self.path)!r}).touch()",)


@pytest.mark.parametrize("name", ["last.pt", "model.safetensors"])
@pytest.mark.parametrize("container", [{"format": "frih-1"}, None])
def test_a_hostile_checkpoint_is_not_run(tmp_path, name, container):
    path, proof = tmp_path / name, tmp_path / "was-run"
    if container:
        torch.save({**container, "model": Hostile(proof)}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile(proof)))
    assert "is damaged, incomplete or no" in refusal(load_model, path)
    assert not proof.exists()
    torch.load(BytesIO(path.read_bytes()), weights_only=False) if container else pickle.loads(path.read_bytes())
    assert proof.exists()  # the trap works


def test_checkpoints_of_other_programs(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "theirs.pt")
    assert "not a checkpoint of this version of FRIH" in refusal(load_model, tmp_path / "theirs.pt")
    for name in ("nothing.pt", "nothing.safetensors"):
        assert "no such checkpoint" in refusal(load_model, tmp_path / name)


def test_a_checkpoint_that_lacks_a_part(saved):
    path = saved[0]
    content = load_checkpoint(path)
    odd = {**content["model"], "base.output.to_rgb.bias": [0.0] * 3}
    for change, message in (
        ({"training": None, "model": 5}, "incomplete checkpoint of FRIH (without model, training)"),
        ({"model": odd}, "damaged checkpoint of FRIH (base.output.to_rgb.bias is no tensor)"),
        ({"config": "{"}, "is damaged (its configuration is no JSON); take another"),
    ):
        torch.save({**content, **change}, path)
        assert message in refusal(load_model, path)
    del content["model"]
    torch.save(content, path)
    assert "incomplete checkpoint of FRIH (without model)" in refusal(load_model, path)


def test_weights_of_another_model(saved):
    path, _, model = saved
    weights = dict(model.state_dict())
    wider = FRIH(**{**SMALL["model"], "base_widths": [5] * 7})
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
