"""benchmarks/parts.py: every operator belongs to one part, and no multiply-add is lost."""

import sys

import torch

from frih import FRIH
from tests.conftest import ROOT, SMALL, random_batch

sys.path.append(str(ROOT / "benchmarks"))
import parts

from frih.tools.experiments.complexity import multiply_adds
from frih.tools.machine.device import Device


def test_the_parts_have_all_multiply_adds(monkeypatch, capsys):
    monkeypatch.setattr(parts, "FRIH", lambda: FRIH(**SMALL["model"]))
    batch = random_batch(ks=(2,))
    device = Device(torch.device("cpu"))
    cells = parts.profile([batch], device, torch.float32, 1e9, 1e9, train=False)
    costs = multiply_adds(FRIH(**SMALL["model"]).eval(), (batch.composite, batch.mask, batch.labels))
    found = {part: sum(c.multiply_adds for (one, _), c in cells.items() if one == part) for part, _ in cells}
    assert found["base network"] == costs["base"]
    assert found["head"] == costs["head"]
    assert found["encoder"] + found["transfers"] + found["decoder, fuse"] == costs["cascade"]
    assert {kind for _, kind in cells} <= set(parts.COLUMNS)
    cells = parts.profile([batch], device, torch.float32, 1e9, 1e9, train=True)
    backward = sum(c.multiply_adds for (part, _), c in cells.items() if part == "backward pass")
    assert backward > costs["all"]
    parts.print_table("training", cells, 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["base", "list"]
    assert len({len(line) for line in lines[2:]}) == 1
