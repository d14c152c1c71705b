import hashlib
import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from frih import Harmonizer
from frih.common.errors import UserError
from frih.models import build_model
from frih.models.checkpoint import find_checkpoint, load_checkpoint, load_model, save_checkpoint
from frih.models.weights import SHARED_NAME
from frih.tools.sharing.export import export
from tests.conftest import SMALL, random_batch
from tests.models.test_checkpoint import refusal


@pytest.fixture
def checkpoint(tmp_path, small_config):
    config = small_config(data={"root": "/home/someone/images"}, run="/home/someone/run")
    save_checkpoint(tmp_path / "run.pt", config, build_model(config), {"step": 3})
    return tmp_path / "run.pt"


@pytest.fixture
def weights(checkpoint, tmp_path):
    export(checkpoint, tmp_path / "model.safetensors", "safetensors")
    return tmp_path / "model.safetensors"


def rewritten(path, **about):
    """The same file with other metadata; a value of None removes the entry."""
    with safe_open(path, framework="pt") as file:
        before = json.loads(file.metadata()["frih"])
    after = {key: value for key, value in {**before, **about}.items() if value is not None}
    save_file(load_file(path), path, {"frih": json.dumps(after)})


def test_the_same_network_comes_back(checkpoint, weights):
    model, config = load_model(checkpoint)
    found, found_config = load_model(weights)
    assert not found.training
    assert all(torch.equal(found.state_dict()[name], value) for name, value in model.state_dict().items())
    assert (found_config.model, found_config.submasks) == (config.model, config.submasks)
    assert load_checkpoint(weights)["training"] == {"step": 3}
    assert Harmonizer.load(weights, device="cpu").config == found_config


def test_the_metadata_name_the_source_and_no_folders(checkpoint, weights):
    with safe_open(weights, framework="pt") as file:
        about = json.loads(file.metadata()["frih"])
    assert about["step"] == 3
    assert about["versions"] == load_checkpoint(checkpoint)["versions"]
    assert about["source_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert about["config"]["data"]["size"] == 128
    assert b"someone" not in weights.read_bytes()


def test_the_same_weights_give_the_same_bytes(checkpoint, weights, tmp_path):
    export(checkpoint, tmp_path / "again.safetensors", "safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == weights.read_bytes()


def test_half_precision_is_loaded_to_float32(checkpoint, tmp_path):
    export(checkpoint, tmp_path / "half.safetensors", "safetensors", half=True)
    stored = load_file(tmp_path / "half.safetensors")
    assert stored["head.conv1.weight"].dtype == torch.float16
    assert {value.ndim for value in stored.values() if value.dtype == torch.float32} == {1}
    model, _ = load_model(checkpoint)
    found, _ = load_model(tmp_path / "half.safetensors")
    for name, value in model.state_dict().items():
        expected = value.half().float() if value.ndim > 1 else value
        assert torch.equal(found.state_dict()[name], expected)
    batch = random_batch()
    with torch.no_grad():
        out = found(batch.composite, batch.mask, batch.labels)
    assert out.refined.dtype == torch.float32


def test_values_that_half_precision_cannot_hold(tmp_path, small_config):
    config = small_config()
    model = build_model(config)
    layer = model.base.encoder[2]
    layer[1].running_var[:3] = torch.tensor([130_189.0, 65_505.0, 1e-9])  # float16 would make inf, 65504 and 0 of them
    save_checkpoint(tmp_path / "run.pt", config, model, {})
    export(tmp_path / "run.pt", tmp_path / "half.safetensors", "safetensors", half=True)
    found = load_model(tmp_path / "half.safetensors")[0].base.encoder[2]
    assert torch.equal(found[1].running_var, layer[1].running_var)
    with torch.no_grad():
        layer[0].weight[0, 0, 0, 0] = 1e5
    save_checkpoint(tmp_path / "run.pt", config, model, {})
    message = refusal(lambda: export(tmp_path / "run.pt", tmp_path / "large.safetensors", "safetensors", half=True))
    assert message == "base.encoder.2.0.weight: holds 100000, too large for float16; export without --half"
    assert not (tmp_path / "large.safetensors").exists()


@pytest.mark.parametrize("share", [0.0, 0.00005, 0.05, 0.5, 0.9999, 1.1])
def test_files_of_another_length_are_damaged(weights, share):
    content = weights.read_bytes()
    weights.write_bytes((content + content)[: int(share * len(content))])
    assert refusal(load_model, weights).startswith(f"{weights}: is damaged, incomplete or no safetensors file")


@pytest.mark.parametrize("length", [2**62, 2**40, 99_000_000])
def test_a_header_said_to_be_huge_is_refused(tmp_path, length):
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{" + b" " * 1000)
    assert "is damaged" in refusal(load_model, path)


def test_weights_of_other_programs(tmp_path):
    path = tmp_path / "theirs.safetensors"
    for metadata in (None, {"format": "pt"}, {"frih": "["}, {"frih": "[1]"}, {"frih": '{"format": "weights-9"}'}):
        save_file({"weight": torch.zeros(2)}, path, metadata)
        assert refusal(load_model, path).startswith(f"{path}: does not hold weights of this version of FRIH")


@pytest.mark.parametrize(
    ("about", "section", "message"),
    [
        ({"step": "three", "versions": None}, {}, "metadata lack step, versions"),
        ({"step": -1, "versions": [1]}, {}, "metadata lack step, versions"),
        ({"step": True}, {}, "metadata lack step"),
        ({"step": 10**400}, {}, "metadata lack step"),
        ({}, {"model": None}, "is damaged (its configuration has no valid value of model); take another"),
        (
            {},
            {"train": {"epochs": "3"}},
            "is damaged (its configuration has no valid value of train.epochs); take another",
        ),
        (
            {},
            {f"key{i}": 0 for i in range(10**5)},
            "is damaged, incomplete or no safetensors file; take another (its config",
        ),
        (
            {},
            {"model": {**SMALL["model"], "base_widths": [2048] * 7}},
            "it has in another shape base.encoder.0.0.weight",
        ),
        ({}, {"colour": {"space": "lab"}}, "colour"),
        (
            {},
            {"model": {**SMALL["model"], "head_width": 5}},
            "is a checkpoint of another model: it has in another shape",
        ),
    ],
)
def test_metadata_that_do_not_fit(weights, about, section, message):
    config = json.loads(load_checkpoint(weights)["config"])
    rewritten(weights, **about, config={**config, **section})
    assert message in refusal(load_model, weights)


def test_deep_metadata(weights):
    for text in (
        "[" * 10**5,
        '{"format": "weights-1", "config": ' + '{"a":' * 900 + "1" + "}" * 900 + ', "step": 1, "versions": {}}',
    ):
        save_file(load_file(weights), weights, {"frih": text})
        assert refusal(load_model, weights).startswith(f"{weights}: ")


NAME, VARIANCE = "head.conv1.weight", "base.encoder.2.1.running_var"


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        (NAME, lambda value: value.to(torch.int8), "int8 where weights are float32"),
        (NAME, lambda value: value.bool(), "bool where weights are float32"),
        (NAME, lambda value: value.cfloat(), "complex64 where weights are float32"),
        (NAME, lambda value: value.double() + 1e300, "weights that are not finite (NaN or infinite)"),
        (NAME, lambda value: value.view(torch.uint8).view(torch.float4_e2m1fn_x2), None),
        (VARIANCE.replace("var", "mean"), lambda value: value / 0, "weights that are not finite (NaN or infinite)"),
        (VARIANCE, lambda value: -value, "variances that are negative"),
    ],
)
def test_weights_that_would_give_garbage(weights, name, damage, told):
    tensors = load_file(weights)
    with safe_open(weights, framework="pt") as file:
        about = file.metadata()
    save_file({**tensors, name: damage(tensors[name])}, weights, about)
    with pytest.raises(UserError) as caught:
        Harmonizer.load(weights, device="cpu")
    if told:
        assert str(caught.value) == f"{weights}: holds {told}, in {name}; take another"


def test_a_shared_folder_is_found(weights, tmp_path):
    assert weights.name == SHARED_NAME
    assert find_checkpoint(tmp_path) == weights
