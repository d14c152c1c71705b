"""What a training step must not do, and networks other than FRIH."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.data.batches import pack
from frih.evaluation import Evaluation
from frih.models import Harmonized, Network, build_model, refine
from frih.models.build import NETWORKS
from frih.models.checkpoint import load_model
from frih.training.runs import start_run

WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero", "aten::bincount"}
"""What a GPU would have to be waited for: values and lengths that the CPU needs to go on."""


class NoWaiting(TorchDispatchMode):
    """Notes which of them are called."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name in WAITING:
            self.found.append(func._schema.name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_ordinary_step_waits_for_no_device(dataset, tmp_path, small_config, monkeypatch, precision):
    config = small_config(
        run=str(tmp_path / "run"),
        data={"root": str(dataset)},
        train={"batch": 2, "clip_norm": 1.0, "on_nonfinite": "skip", "precision": precision},
    )
    trainer = start_run(config, World())
    # the optimizer of a GPU
    trainer.optimizer = torch.optim.Adam(trainer.network.parameters(), lr=0.1, fused=True)
    batch = pack([trainer.training[(0, index)] for index in range(2)]).unpack(torch.device("cpu"))
    assert batch.labels.max() > 1
    trainer.train_step(batch)
    mode, find = NoWaiting(), refine.find

    def find_on_the_cpu(labels, device):
        """The labels are on the CPU in any case, and no GPU is waited for."""
        before = list(mode.found)
        found = find(labels, device)
        assert "aten::nonzero" in mode.found
        mode.found[:] = before
        return found

    monkeypatch.setattr(refine, "find", find_on_the_cpu)
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    with mode:
        trainer.train_step(batch)
    # the histogram of submasks is counted where the labels are
    assert mode.found == ["aten::bincount"]
    assert not all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))


class Shift(Network):
    """Adds a colour to the foreground."""

    refines = False

    def __init__(self, start: float) -> None:
        super().__init__()
        self.color = nn.Parameter(torch.full((3, 1, 1), start))

    def forward(self, composite, mask, labels):
        shifted = composite + self.color * mask
        return Harmonized(shifted, shifted)


def test_another_network_trains_validates_and_is_loaded(dataset, tmp_path, small_config, monkeypatch):
    monkeypatch.setitem(NETWORKS, "shift", lambda config: Shift(**config.model.arguments))
    config = small_config(
        run=str(tmp_path / "run"),
        data={"root": str(dataset)},
        model={"network": "shift", "arguments": {"start": 0.5}},
        train={"batch": 2, "lr": 0.05},
    )
    trainer = start_run(config, World())
    assert trainer.fit()
    assert (trainer.network.color < 0.5).all()
    model, again = load_model(tmp_path / "run/checkpoints/last.pt")
    assert torch.equal(model.color, trainer.network.color)
    assert again.model.arguments == {"start": 0.5}
    rows = Evaluation(trainer.validation).of_model(model)["idih"]
    assert len(rows) == len(trainer.validation)


def test_an_unknown_network_is_told_with_those_there_are(small_config):
    with pytest.raises(UserError, match=r"model\.network: there is no network firh; did you mean 'frih'"):
        build_model(small_config(model={"network": "firh"}))
