"""Checkpoints of the right format whose trainer's state cannot be."""

import copy
import math
from functools import partial

import pytest
import torch

from frih.common.errors import UserError
from frih.models.checkpoint import load_checkpoint
from frih.training.state import check_state, read_state
from tests.training.conftest import resume

NAN = torch.tensor(math.nan)


def without(*path):
    def remove(content):
        for name in path[:-1]:
            content = content[name]
        del content[path[-1]]

    return remove


def put(value, *path):
    def change(content):
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    return change


def scaled(factor, *path):
    def change(content):
        for name in path:
            content = content[name]
        content.mul_(factor)

    return change


DAMAGES = {
    "training.step": [
        without("training", "step"),
        *(put(step, "training", "step") for step in (-3, 10**9, "2", 2.0, True)),
    ],
    "training.validated": [put(-1, "training", "validated"), put(3, "training", "validated")],
    "training.best": [*(put(best, "training", "best") for best in (math.nan, math.inf, 1e9, "30", None))],
    "training.skips": [
        without("training", "skips"),
        *(put(one, "training", "skips") for one in ([1], [0, 1], [-1, -1], 3)),
    ],
    "training.meter": [without("training", "meter"), put([], "training", "meter")],
    "training.meter.names": [put(["loss"], "training", "meter", "names")],
    "training.meter.sums": [
        *(
            put(one, "training", "meter", "sums")
            for one in (torch.zeros(1, 3), torch.zeros(()), torch.zeros(0, 12), [[0.0]])
        ),
        scaled(NAN, "training", "meter", "sums"),
    ],
    "training.costs": [
        *(put(one, "training", "costs") for one in (torch.zeros(2, 3, 2), torch.full((2, 5, 2), -1.0), [[0.0]])),
    ],
    "training.optimizer": [put(None, "training", "optimizer")],
    "training.optimizer.state": [
        put({}, "training", "optimizer"),
        put([], "training", "optimizer", "state"),
        without("training", "optimizer", "state", 3),
        put({}, "training", "optimizer", "state", 10**6),
    ],
    "training.optimizer.state.0": [
        without("training", "optimizer", "state", 0, "exp_avg"),
        put(torch.zeros(3), "training", "optimizer", "state", 0, "exp_avg"),
        put(torch.zeros(1).expand(10**9), "training", "optimizer", "state", 0, "exp_avg"),
        put("2", "training", "optimizer", "state", 0, "step"),
        put(torch.tensor(9.0), "training", "optimizer", "state", 0, "step"),
        scaled(NAN, "training", "optimizer", "state", 0, "exp_avg"),
        scaled(-1, "training", "optimizer", "state", 0, "exp_avg_sq"),
    ],
    "training.scaler": [without("training", "scaler", "scale"), put({}, "training", "scaler")],
    "training.scaler.scale": [*(put(one, "training", "scaler", "scale") for one in (0.0, -1.0, 2.0, math.inf, "1"))],
    "training.data": [without("training", "data"), put(5, "training", "data")],
    "average": [put(None, "average"), put([], "average"), without("average")],
    "model": [put({1: torch.zeros(1)}, "model"), put(None, "model")],
    "versions": [put(["1.0"], "versions"), put({"frih": 1}, "versions"), without("versions")],
    "config": [put(b"{}", "config"), without("config")],
}


def test_what_a_state_may_lack(trainer):
    content = load_checkpoint(trainer.run / "checkpoints" / "last.pt")
    parameters, path = list(trainer.network.parameters()), trainer.run
    check = partial(
        check_state,
        meter=trainer.meter,
        parameters=parameters,
        images=len(trainer.training),
        fp16=False,
        last=2,
        path=path,
    )
    moments = content["training"]["optimizer"]["state"]
    moments[0]["step"].zero_()  # fused Adam makes moments in a step that is then left out
    check(read_state(content["training"], path))
    del moments[3]
    with pytest.raises(UserError, match=r"optimizer\.state"):
        check(read_state(content["training"], path))
    check(read_state(content["training"], path), partly=True)  # another network may not use all of its parameters
    moments.clear()
    check(read_state(content["training"], path))


@pytest.fixture
def trainer(make):
    trainer = make(
        train={"epochs": 1, "ema": 0.5}, validation={"fraction": 0.0, "images": 0}, checkpoint={"every_steps": 1}
    )
    assert trainer.fit()
    return trainer


def test_each_damage_is_named_with_the_checkpoint_before(trainer):
    last, before = (trainer.run / "checkpoints" / name for name in ("last.pt", "step-00000001.pt"))
    content = load_checkpoint(last)

    def load(changed):
        if changed["training"] is content["training"]:
            torch.save(changed, last)
            trainer.load(last)
        state = read_state(changed["training"], last)
        check_state(state, trainer.meter, list(trainer.network.parameters()), len(trainer.training), False, 2, last)

    load(content)
    for where, damages in DAMAGES.items():
        for damage in damages:
            changed = {**content, "training": copy.deepcopy(content["training"])}
            damage(changed)
            if not where.startswith("training"):
                changed["training"] = content["training"]
            with pytest.raises(UserError) as caught:
                load(changed)
            told = f"{last}: is damaged, incomplete or no checkpoint of FRIH; take the one before it, {before} ({where}"
            assert str(caught.value).startswith(told)
    torch.save({**content, "training": {**content["training"], "step": 3}}, last)
    with pytest.raises(UserError, match=r"training\.step cannot be"):
        resume(trainer.run)
    torch.save(content, last)
    assert resume(trainer.run).step == 2
