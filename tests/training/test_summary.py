"""What a run says at its start, while it goes on, and after a validation."""

import pytest
import torch

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.data.iharmony4 import read_split
from frih.training.runs import exclusive, start_run
from frih.training.summary import COLUMNS, describe_rate, describe_run, describe_validation
from tests.training.conftest import lines, resume, stop_at


def test_a_run_says_what_it_does_and_where_it_goes_on(make, dataset, capsys):
    trainer = make(train={"epochs": 3, "milestones": [2], "lr": 0.01})
    said = capsys.readouterr().out
    parameters = f"{sum(p.numel() for p in trainer.network.parameters()):,} parameters"
    assert said.startswith(
        f"run            {trainer.run}\ndevice         CPU, 1 thread; fp32\nnetwork        {parameters}: "
    )
    assert f"5 composites of {dataset} (A 3, B 2) 3 to train on;" in " ".join(said.split())
    assert said.endswith(
        "               3 to train on; 2 held out, evaluated every epoch\n"
        "augmentation   crops of 50 to 100 % of the area, 50 % flipped\n"
        "steps          1 an epoch, 3 in 3 epochs; 2 images a step\n"
        "learning rate  0.01; falls tenfold after epoch 2\n"
        f"TensorBoard    tensorboard --logdir {trainer.run}\n"
    )
    stop_at(trainer, 2)
    trainer.fit()
    capsys.readouterr()
    resume(trainer.run)
    assert "\nbegins         after step 2 of 3, from last.pt\n" in capsys.readouterr().out


def test_only_the_main_process_says_it(make, capsys):
    make(world=World(rank=1))
    assert capsys.readouterr().out == ""


def test_a_large_run_fits_a_terminal(make, small_config, monkeypatch):
    trainer = make()
    sections = {"batch": 128, "accumulate": 2, "epochs": 180, "milestones": [160, 175], "lr": None, "device": "auto"}
    trainer.config = small_config(train=sections, data={"online": 0.15, "unchanged": 0.1, "share": 0.5})
    trainer.world = World(0, 8, torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    said = describe_run(trainer, read_split(trainer.training.items[0].root, "train"), "with weights").splitlines()
    assert said[1] == "device         NVIDIA H100 80GB HBM3, 8 processes; fp32 (TF32)"
    assert "               3 to train on (data.share=0.5); 2 held out, evaluated every epoch" in said
    assert "augmentation   crops of 50 to 100 % of the area, 50 % flipped, 15 % made anew," in said
    assert "steps          1 an epoch, 180 in 180 epochs; 128 images a step, 16 in each" in said
    assert "learning rate  0.008; falls tenfold after epochs 160 and 175" in said
    assert all(len(line) <= COLUMNS for line in said if str(trainer.run.parent) not in line)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"lr": 0.1, "milestones": []}, "0.1; never falls: no train.milestones"),
        ({"lr": 0.1, "milestones": [160]}, "0.1; never falls: train.milestones=[160] do not lie within 20 epochs"),
        ({"lr": 0.1, "milestones": [20]}, "0.1; never falls: train.milestones=[20] do not lie within 20 epochs"),
        ({"lr": 0.1, "milestones": [8, 15]}, "0.1; falls tenfold after epochs 8 and 15"),
        (
            {"batch": 16, "milestones": [19, 30], "warmup_steps": 10},
            "0.001 (0.008 at batch 128) after 10 steps of warm-up; falls tenfold after epoch 19, not after 30: the "
            "run ends before",
        ),
    ],
)
def test_when_the_learning_rate_falls(small_config, keys, said):
    assert describe_rate(small_config(train={"epochs": 20, **keys})) == said


def validated(epoch: float | None, psnr: float | None, fmse: float, worse: float = 0.25) -> dict:
    figures = {"val/All/psnr": psnr, "val/All/fmse": fmse, "val/All/worse": worse}
    return {"step": 10 * (epoch or 3), **({"epoch": epoch} if epoch else {}), **figures}


FIRST, SECOND = validated(5.0, 32.28, 930.54), validated(10.0, 31.99, 945.55)


@pytest.mark.parametrize(
    ("line", "earlier", "said"),
    [
        (FIRST, [], "epoch 5, validation: PSNR 32.28 dB\n    fMSE 930.54, worse 25.0%"),
        (
            SECOND,
            [FIRST],
            "epoch 10, validation: PSNR 31.99 dB, 0.29 below the best (epoch 5)\n    fMSE 945.55 (+15.01), worse 25.0%",
        ),
        (
            validated(15.0, 33, 900),
            [FIRST, SECOND],
            "epoch 15, validation: PSNR 33.00 dB, the best so far, 0.72 above epoch 5\n    fMSE 900.00 (-30.54), worse 25.0%",
        ),
        (SECOND, [validated(5.0, None, 1)], "epoch 10, validation: PSNR 31.99 dB\n    fMSE 945.55, worse 25.0%"),
        (
            SECOND,
            [validated(None, 32, 945.55)],
            "epoch 10, validation: PSNR 31.99 dB, 0.01 below the best (step 30)\n    fMSE 945.55 (+0.00), worse 25.0%",
        ),
    ],
    ids=["first", "below", "best", "none finite", "older log"],
)
def test_a_validation_is_compared_with_the_best(line, earlier, said):
    assert describe_validation(line, earlier) == said


def test_the_bar_and_the_log_tell_the_epoch_and_a_resumed_run_knows_the_best(make, capsys):
    trainer = make(train={"epochs": 4, "milestones": [4]}, validation={"fraction": 0.25})
    stop_at(trainer, 2)
    trainer.fit()
    assert resume(trainer.run).fit()
    assert [(line["step"], line["epoch"]) for line in lines(trainer.run) if "train/loss" in line] == [
        (step, step) for step in (1, 2, 3, 4)
    ]
    validations = [line for line in lines(trainer.run) if "val/All/psnr" in line]
    out, err = capsys.readouterr()
    assert "epoch 4/4 |" in err
    assert "00:00 left" in err
    assert all(describe_validation(line, validations[:i]) in out for i, line in enumerate(validations))


def test_a_refused_run_leaves_no_folder(small_config, dataset, tmp_path):
    run = tmp_path / "runs/new/one"
    for sections in (
        {"data": {"root": str(tmp_path / "nowhere")}},
        {"data": {"root": str(dataset)}, "train": {"batch": 64}},
        {"data": {"root": str(dataset)}, "train": {"init_from": str(tmp_path)}},
    ):
        with pytest.raises(UserError), exclusive(run, World()):
            start_run(small_config(run=str(run), **sections), World())
        assert not (tmp_path / "runs").exists()
    with exclusive(run, World()):
        start_run(small_config(run=str(run), data={"root": str(dataset)}, train={"batch": 2}), World())
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml"]
