import json
import os
import pickle
from io import BytesIO

import pytest
import torch

from frih import FRIH
from frih.common.errors import UserError
from frih.config import CheckpointConfig
from frih.models import build_model
from frih.models.checkpoint import (
    Checkpoints,
    find_checkpoint,
    load_checkpoint,
    load_model,
    load_weights,
    save_checkpoint,
)
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
        (
            {"training": None, "model": 5},
            "no checkpoint of FRIH; take another (model: input should be a valid dictionary)",
        ),
        ({"model": odd}, "take another (model.base.output.to_rgb.bias: input should be an instance of Tensor)"),
        ({"config": "{"}, "is damaged (its configuration is no JSON); take another"),
    ):
        torch.save({**content, **change}, path)
        assert message in refusal(load_model, path)
    del content["model"]
    torch.save(content, path)
    assert "take another (model: field required)" in refusal(load_model, path)


def test_checkpoints_are_in_the_order_of_their_steps_whatever_the_clock_said(tmp_path):
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(keep=3))
    for step in (8, 9, 10, 11):
        checkpoints.save({"step": step}, step, None)
        for path in tmp_path.iterdir():
            os.utime(path, (100 - step, 100 - step))  # the clock runs back
    assert [path.name for path in checkpoints.before()] == ["step-00000010.pt", "step-00000009.pt"]
    (tmp_path / "last.pt").write_bytes(b"")
    assert refusal(load_checkpoint, tmp_path / "last.pt").endswith(
        f"take the one before it, {tmp_path}/step-00000010.pt"
    )
    (tmp_path / "step-00000010.pt").write_bytes(b"")
    assert refusal(load_checkpoint, tmp_path / "step-00000010.pt").endswith(f"{tmp_path}/step-00000009.pt")
    checkpoints.go_back_to(tmp_path / "step-00000009.pt", 9)  # 10 is given up, and the first to go
    assert [path.name for path in checkpoints.before()] == ["step-00000010.pt", "step-00000009.pt"]
    checkpoints.save({"step": 10}, 10, None)
    checkpoints.save({"step": 11}, 11, None)
    assert [path.name for path in checkpoints.before()] == ["step-00000010.pt", "step-00000009.pt"]


HUGE = {"base_widths": [2048] * 7, "cascade_widths": [2048] * 7, "head_width": 2048}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model": HUGE}, "is a checkpoint of another model: it has in another shape base.encoder.0.0.weight and"),
        ({"model": {**HUGE, "base_widths": [10**6] * 7}}, ""),
        ({"model": {"network": "firh"}}, "model.network: there is no network firh"),
        ({"model": None}, "is damaged (its configuration has no valid value of model)"),
        ({f"key{i}": 1 for i in range(10**5)}, "take another (its configuration has 1"),
        ({"model": {"base_widths": "wide"}}, "is damaged (its configuration has no valid value of model.base_widths)"),
        ({"model": [1], "train": 5}, "is damaged (its configuration has no valid value of model, train)"),
        ({"seed": -1, "run": 3}, "is damaged (its configuration has no valid value of run, seed)"),
        ({f"key{i}": 1 for i in range(9)}, "whose keys key0, key1, key2 and 6 more this one"),
        ([], "is damaged (its configuration is no JSON)"),
        ("[" * 10**5, "is damaged (its configuration is no JSON)"),
        ('{"model": ' + '{"a":' * 10**5, "is damaged (its configuration is no JSON)"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_configuration_that_claims_too_much_or_is_none(saved, monkeypatch, config, told):
    monkeypatch.setattr("frih.models.checkpoint.build_model", lambda _: pytest.fail("took memory"))
    path = saved[0]
    text = config if isinstance(config, str) else json.dumps(config)
    torch.save({**load_checkpoint(path), "config": text}, path)
    message = refusal(load_model, path)
    assert message.startswith(str(path))
    assert told in message


NAME, VARIANCE, COUNT = "head.conv1.weight", "base.encoder.2.1.running_var", "base.encoder.2.1.num_batches_tracked"


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        (NAME, lambda value: value * torch.nan, "weights that are not finite (NaN or infinite)"),
        (NAME, lambda value: value.double() + 1e300, "weights that are not finite (NaN or infinite)"),
        (NAME, lambda value: value.int(), "int32 where weights are float32"),
        (NAME, lambda value: value.bool(), "bool where weights are float32"),
        (NAME, lambda value: value.cfloat(), "complex64 where weights are float32"),
        (NAME, lambda value: value.to_sparse(), "a tensor without its values"),
        (NAME, lambda value: value[:1, :1, :1, :1].clone().expand(value.shape), "a tensor without its values"),
        (VARIANCE, lambda value: value * torch.inf, "weights that are not finite (NaN or infinite)"),
        (VARIANCE, lambda value: value - 1.001, "variances that are negative"),
        (
            VARIANCE.replace("var", "mean"),
            lambda value: value + torch.nan,
            "weights that are not finite (NaN or infinite)",
        ),
        (COUNT, lambda value: value.float(), "float32 where weights are int64"),
        (COUNT, lambda value: value.bool(), "bool where weights are int64"),
    ],
)
def test_weights_that_would_give_garbage(saved, name, damage, told):
    path, _, model = saved
    content = load_checkpoint(path)
    changed = {**content["model"], name: damage(content["model"][name])}
    torch.save({**content, "model": changed}, path)
    expected = f"{path}: holds {told}, in {name}; take another"
    assert refusal(load_model, path) == expected
    assert refusal(load_weights, model, changed, path) == expected  # as train.init_from and --resume do


def test_weights_in_half_precision_are_taken(saved):
    path, _, model = saved
    content = load_checkpoint(path)
    halves = {
        name: value.half() if value.is_floating_point() else value.int() for name, value in content["model"].items()
    }
    torch.save({**content, "model": halves}, path)
    found = load_model(path)[0]
    assert torch.equal(found.head.conv1.weight, model.head.conv1.weight.half().float())


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
