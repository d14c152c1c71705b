"""What was measured of weights, from the file of ``scripts/limits.py`` to the harmonizer."""

import json

import numpy as np
import pytest

from frih import Harmonizer
from frih.common.errors import UserError
from frih.common.files import sha256_of
from frih.harmonizing.kinds import KINDS
from frih.models import build_model
from frih.models.checkpoint import load_checkpoint, load_model, save_checkpoint
from frih.models.findings import Findings, add_findings
from frih.tools.sharing.export import export
from frih.tools.sharing.hub import save_pretrained
from tests.conftest import no_weight_is_zero, run_here, smooth_image
from tests.models.test_checkpoint import refusal
from tests.models.test_weights import rewritten

LIMIT = {"kind": "large", "text": "Where it is large, they do harm.", "images": 120, "worse_10": 0.41, "overall": 0.3}


@pytest.fixture
def run(tmp_path, small_config):
    config = small_config()
    save_checkpoint(tmp_path / "run/checkpoints/last.pt", config, no_weight_is_zero(build_model(config)), {})
    return tmp_path / "run"


@pytest.fixture
def measured(run, tmp_path):
    path = tmp_path / "limits.json"
    weights = sha256_of(run / "checkpoints/last.pt")
    path.write_text(json.dumps({"strength": 0.8, "limits": [LIMIT], "weights": weights}))
    return path


def test_findings_go_with_weights_and_again_with_their_exports(run, measured, tmp_path):
    expected = {"strength": 0.8, "limits": [LIMIT]}
    save_pretrained(run, tmp_path / "shared", half=True, limits=measured)
    about = json.loads((tmp_path / "shared/config.json").read_text())
    assert {key: about[key] for key in expected} == expected
    save_pretrained(tmp_path / "shared", tmp_path / "again")
    export(tmp_path / "again/model.safetensors", tmp_path / "third.safetensors", "safetensors")
    assert load_checkpoint(tmp_path / "third.safetensors")["findings"] == expected
    assert Harmonizer.load(tmp_path / "third.safetensors", "cpu").findings == Findings.model_validate(expected)


def test_without_a_measurement_nothing_is_known(run, tmp_path):
    save_pretrained(run, tmp_path / "shared")
    about = json.loads((tmp_path / "shared/config.json").read_text())
    assert not {"strength", "limits", "findings"} & about.keys()
    for weights in (run, tmp_path / "shared"):
        assert Harmonizer.load(weights, "cpu").findings == Findings(strength=1.0, limits=[])


def test_the_weights_own_strength_and_their_notes(run, measured, tmp_path):
    export(run / "checkpoints/last.pt", tmp_path / "model.safetensors", "safetensors", limits=measured)
    plain, told = Harmonizer.load(run, "cpu"), Harmonizer.load(tmp_path / "model.safetensors", "cpu")
    image = smooth_image(seed=0, width=128, height=128)
    large, half = np.zeros((128, 128), bool), np.zeros((128, 128), bool)
    large[:100], half[:64, 1:-1] = True, True
    result, details = told(image, large, return_details=True)
    assert np.array_equal(result, plain(image, large, 0.8))
    assert not np.array_equal(result, plain(image, large))
    assert np.array_equal(told(image, large, strength=1), plain(image, large))
    assert np.array_equal(next(told.frames([image], [large])), result)
    assert [note.partition(";")[0] for note in details.notes] == [KINDS["large"].text]
    assert told(image, half, return_details=True)[1].notes == ()
    assert plain(image, large, return_details=True)[1].notes == ()


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"strength": 1.5}, "strength: input should be less than or equal to 1"),
        ({"strength": 0}, "strength: input should be greater than 0"),
        ({"strength": float("nan")}, "strength: input should be"),
        ({"strength": "1"}, "strength: input should be a valid number"),
        ({"strength": True}, "strength: input should be a valid number"),
        ({"limits": {}}, "limits: input should be a valid list"),
        ({"limits": [LIMIT] * 101}, "limits: list should have at most 100 items"),
        ({"limits": [LIMIT, {**LIMIT, "worse_10": -0.1}]}, "limits.1.worse_10: input should be greater than or equal"),
        ({"limits": [{**LIMIT, "images": 0}]}, "limits.0.images: input should be greater than or equal to 1"),
        ({"limits": [{**LIMIT, "text": "\x1b[2J"}]}, "limits.0.text: value error, text of one line was expected"),
        ({"limits": [{**LIMIT, "text": "a" * 301}]}, "limits.0.text: string should have at most 300 characters"),
        ({"limits": [{"kind": "large"}]}, "limits.0.text: field required"),
    ],
)
def test_damaged_findings(run, measured, tmp_path, about, message):
    weights = tmp_path / "model.safetensors"
    export(run / "checkpoints/last.pt", weights, "safetensors")
    rewritten(weights, **about)
    said = refusal(load_checkpoint, weights)
    assert said.startswith(f"{weights}: its metadata are damaged ({message}")
    assert said.endswith("; call scripts/limits.py and export again")
    measured.write_text(json.dumps({**json.loads(measured.read_text()), **about}))
    said = refusal(lambda: add_findings({}, measured, run / "checkpoints/last.pt"))
    assert said.startswith(f"{measured}: is no measurement of weights (")


def test_measurements_that_are_none_or_of_other_weights(run, measured, tmp_path):
    last = run / "checkpoints/last.pt"
    other = tmp_path / "other.pt"
    other.write_bytes(b"other")
    assert refusal(lambda: add_findings({}, measured, other)) == (
        f"{measured}: was measured of other weights than {other}; call scripts/limits.py with these"
    )
    for text in ("", "[]", "{}", "[" * 10**5, '{"strength": 0.8'):
        measured.write_text(text)
        with pytest.raises(UserError, match="is no measurement of weights"):
            export(last, tmp_path / "model.safetensors", "safetensors", limits=measured)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_measured_shrink_becomes_a_key_of_the_exported_network(run, measured, tmp_path, capsys):
    measured.write_text(json.dumps({**json.loads(measured.read_text()), "shrink": [4.0, 12.0, 1.2]}))
    out = tmp_path / "model.safetensors"
    assert run_here("scripts/export.py", run, "--out", out, "--limits", measured) == 0
    assert "differs from the original by at most" in capsys.readouterr().out
    model, config = load_model(out)
    assert config.model.shrink == model.shrink == (4, 12, 1.2)
    with pytest.raises(UserError, match="which makes another network"):
        save_pretrained(run, tmp_path / "shared", limits=measured)
    measured.write_text(json.dumps({**json.loads(measured.read_text()), "shrink": [4.0, 12.0, 3.0]}))
    with pytest.raises(UserError, match=r"limits\.json: is no measurement of weights \(shrink.2"):
        export(run / "checkpoints/last.pt", tmp_path / "other.safetensors", "safetensors", limits=measured)
