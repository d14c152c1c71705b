import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from frih import FRIH, Harmonizer
from frih.common.errors import UserError
from frih.config import Config
from frih.models import build_model
from frih.models.checkpoint import load_model, save_checkpoint
from frih.models.folding import fold_normalization
from frih.submasks import extract_submasks
from frih.tools.sharing import export as exporting
from frih.tools.sharing.export import FORMATS, TOLERANCE, check, export, open_exported, read_input
from tests.conftest import SMALL, ellipse, no_weight_is_zero, random_batch, save, smooth_image

ROOT = Path(__file__).parents[3]
BATCHES = [(3, 1, 0), (2,), (0,), (1, 4, 2, 1, 3)]
"""Numbers of submasks: other counts of images than the graph was traced with, and none at all."""


def trained(path: Path, **model: object) -> tuple[FRIH, Config]:
    """A checkpoint of a small network whose every weight matters: batch normalisation as if it had seen images."""
    config = Config.model_validate_json(json.dumps({**SMALL, "model": {**SMALL["model"], **model}}))
    network = build_model(config)
    rng = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values, low, high in (
                (layer.running_mean, -0.5, 0.5),
                (layer.running_var, 0.5, 2),
                (layer.weight, 0.5, 2),
                (layer.bias, -0.5, 0.5),
            ):
                nn.init.uniform_(values, low, high, generator=rng)
    save_checkpoint(path, config, network, {"step": 7})
    return network.eval(), config


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with a checkpoint and its network in every format; traced once, which takes seconds."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("exported")
    network, config = trained(folder / "run.pt")
    program = exporting.trace(network, config.data.size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "trace", lambda *_: program)
        for kind, suffix in FORMATS.items():
            export(folder / "run.pt", folder / f"model{suffix}", kind)
    return folder


def arrays(ks, seed=1):
    batch = random_batch(ks=ks, seed=seed)
    return [part.numpy() for part in (batch.composite, batch.mask, batch.labels)]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_exported_network_is_the_literal_one(exported, kind):
    network, config = load_model(exported / "run.pt")
    literal = build_model(config.model_copy(update={"model": config.model.model_copy(update={"dense": True})})).eval()
    literal.load_state_dict(network.state_dict())
    run = open_exported(exported / f"model{FORMATS[kind]}", kind)
    for ks in BATCHES:
        inputs = arrays(ks)
        with torch.no_grad():
            expected = literal(*map(torch.from_numpy, inputs))
        for found, wanted in zip(run(inputs), expected, strict=True):
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=2e-5)
    assert max(check(run, network, config)) < 2e-5


def test_another_network_is_traced_as_well(tmp_path):
    network, config = trained(tmp_path / "run.pt", residual=False, norm="none")
    no_weight_is_zero(network)
    save_checkpoint(tmp_path / "run.pt", config, network, {"step": 7})
    export(tmp_path / "run.pt", tmp_path / "model.pt2", "torch")
    assert max(check(open_exported(tmp_path / "model.pt2", "torch"), network, config)) < 2e-5


def test_the_check_sees_another_network(exported):
    network, config = load_model(exported / "run.pt")
    run = open_exported(exported / "model.onnx", "onnx")
    with torch.no_grad():
        network.head.output.to_rgb.bias += 0.01
    worst = check(run, network, config)
    assert worst.coarse < 2e-5
    assert worst.refined == pytest.approx(0.01 * 0.229, rel=0.01)  # the largest standard deviation of its colour space
    assert worst.refined > TOLERANCE


def test_onnx_says_what_it_is(exported):
    import onnx

    proto = onnx.load(exported / "model.onnx")
    assert [(one.domain, one.version) for one in proto.opset_import] == [("", 18)]
    shapes = {
        one.name: [axis.dim_param or axis.dim_value for axis in one.type.tensor_type.shape.dim]
        for one in (*proto.graph.input, *proto.graph.output)
    }
    assert shapes == {
        "composite": ["batch", 3, 128, 128],
        "mask": ["batch", 1, 128, 128],
        "labels": ["batch", 128, 128],
        "coarse": ["batch", 3, 128, 128],
        "refined": ["batch", 3, 128, 128],
    }
    about = json.loads({one.key: one.value for one in proto.metadata_props}["frih"])
    assert about["step"] == 7
    assert Config.model_validate_json(json.dumps(about["config"])).model == load_model(exported / "run.pt")[1].model
    assert str(ROOT).encode() not in (exported / "model.onnx").read_bytes()


def test_pt2_says_what_it_is(exported):
    files = {"frih.json": ""}
    torch.export.load(str(exported / "model.pt2"), extra_files=files)
    assert json.loads(files["frih.json"])["step"] == 7
    assert str(ROOT).encode() not in (exported / "model.pt2").read_bytes()


def test_the_example_of_the_document(exported, tmp_path):
    """Without torch it gives what Harmonizer gives: within 0.02 levels before rounding."""
    text = (ROOT / "docs/export.md").read_text()
    (code,) = re.findall(r"```python\n(.*?import onnxruntime.*?)```", text, re.DOTALL)
    image, mask = smooth_image(seed=0, width=200, height=150), ellipse(200, 150, grow=3)
    save(tmp_path / "composite.jpg", image)
    save(tmp_path / "mask.png", mask)
    (tmp_path / "model.onnx").write_bytes((exported / "model.onnx").read_bytes())
    code = "import sys; sys.modules['torch'] = sys.modules['scipy'] = None  # not installed\n" + code
    code += "exact = np.array(image) / 255\nadd_change(change, exact, np.array(cover))\nnp.save('exact.npy', exact)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    harmonizer = Harmonizer.load(exported / "run.pt", "cpu")
    with Image.open(tmp_path / "composite.jpg") as composite, Image.open(tmp_path / "result.png") as result:
        expected = harmonizer(np.array(composite) / 255, mask)
        assert np.abs(np.asarray(result).astype(int) - np.asarray(harmonizer(composite, mask))).max() <= 1
        assert np.abs(expected * 255 - np.array(composite)).max() > 1
    assert np.abs(np.load(tmp_path / "exact.npy") - expected).max() * 255 < 0.02


def test_the_script_says_step_and_difference(exported, tmp_path, monkeypatch, capsys):
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder in (images, masks):
        folder.mkdir()
    save(images / "a.jpg", smooth_image(seed=0, width=200, height=150))
    save(masks / "a.png", ellipse(200, 150, grow=3))
    out = tmp_path / "new/model.safetensors"
    printed = script(monkeypatch, capsys, exported / "run.pt", "--out", out, "--check", images, masks)
    assert printed[0] == f"{out}: 0.1 MB, of {exported / 'run.pt'} at step 7"
    assert printed[1].startswith("on 1 images it differs from the original by at most 0.0e+00 (coarse) and 0.0e+00")
    assert load_model(out)


def test_command_lines_that_make_no_sense(exported, tmp_path, monkeypatch, capsys):
    run, out = exported / "run.pt", tmp_path / "model.safetensors"
    for arguments, message in (
        ([run], "give either --out PATH or --push"),
        ([run, "--out", tmp_path / "model.bin"], "name it *.safetensors, *.onnx, *.pt2, or give --format"),
        ([run, "--out", tmp_path / "model.onnx", "--half"], "--half: is for safetensors"),
        ([run, "--out", out, "--about", "a.md"], "are for a model card; give --format hub or --push"),
        ([run, "--out", out, "--format", "hub", "--evaluations", "a=b", "a=c"], "a is there already; give another"),
        ([tmp_path / "nothing", "--out", out], "no such run folder or checkpoint"),
        ([run, "--out", out, "--check", tmp_path / "images", tmp_path], f"{tmp_path / 'images'}: no such folder"),
    ):
        with pytest.raises(SystemExit) as caught:
            script(monkeypatch, capsys, *arguments)
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def script(monkeypatch, capsys, *arguments) -> list[str]:
    """The lines that scripts/export.py prints."""
    monkeypatch.setattr(sys, "argv", ["scripts/export.py", *map(str, arguments)])
    try:
        runpy.run_path(str(ROOT / "scripts/export.py"), run_name="__main__")
    except SystemExit as finished:
        if finished.code:
            raise
    return capsys.readouterr().out.splitlines()


def test_a_base_network_alone_as_onnx(tmp_path):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    network, config = trained(tmp_path / "run.pt", cascade=False, fusion=False)
    export(tmp_path / "run.pt", tmp_path / "model.onnx", "onnx")
    run = open_exported(tmp_path / "model.onnx", "onnx")
    assert max(check(run, network, config)) < 2e-5
    coarse, refined = run(arrays((2,)))
    assert np.array_equal(coarse, refined)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_folding_changes_the_form_and_not_the_result(tmp_path, norm):
    network, _ = trained(tmp_path / "run.pt", norm=norm)
    folded = fold_normalization(network)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == (norm == "batch")
    inputs = list(map(torch.from_numpy, arrays((3, 1, 0))))
    with torch.no_grad():
        for found, wanted in zip(folded(*inputs), network(*inputs), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)


def test_images_come_as_in_evaluation(tmp_path, small_config):
    config = small_config()
    image, mask = smooth_image(seed=0, width=128, height=128), ellipse(128, 128, grow=3)
    save(tmp_path / "p.png", image)
    save(tmp_path / "m.png", mask)
    composite, cover, labels = read_input(tmp_path / "p.png", tmp_path / "m.png", config)
    assert np.array_equal(np.rint(composite[0].transpose(1, 2, 0) * 255), image)
    assert np.array_equal(cover[0, 0], mask >= 128)
    assert np.array_equal(labels[0], extract_submasks(image, mask >= 128, candidates=2))


def test_packages_that_are_not_installed(tmp_path, monkeypatch):
    trained(tmp_path / "run.pt")
    monkeypatch.setattr("frih.common.errors.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r'onnx, onnxscript, onnxruntime: not installed; pip install "\.\[export\]"'):
        export(tmp_path / "run.pt", tmp_path / "model.onnx", "onnx")


def test_a_torch_that_cannot_write_onnx(tmp_path, monkeypatch):
    trained(tmp_path / "run.pt")
    monkeypatch.setattr("frih.tools.sharing.export.need", lambda *_, **__: None)
    monkeypatch.setattr(torch, "__version__", "2.6.0+cu124")
    with pytest.raises(UserError, match=r"torch 2\.6\.0\+cu124 cannot write it; take 2\.7 or newer"):
        export(tmp_path / "run.pt", tmp_path / "model.onnx", "onnx")
