import pytest
import torch

from frih.tools.machine.device import Device
from frih.tools.machine.record import Record
from frih.tools.machine.setting import options_for, prepare


@pytest.fixture
def make_setting(dataset, tmp_path, small_config):
    """Makes a setting of a tiny network on a tiny data set; keyword arguments are options."""

    def make(**given):
        config = small_config(data={"root": str(dataset)})
        options = options_for(False, **{"precisions": ("fp32",), "batches": (1, 2), "quick": True, **given})
        return prepare(Device(torch.device("cpu")), config, tmp_path / "work", options)

    (tmp_path / "work").mkdir()
    return make


@pytest.fixture
def setting(make_setting):
    return make_setting()


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "machine.json", {}, 10.0, Device(torch.device("cpu")))
