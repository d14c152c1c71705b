import json
import os
import signal

import pytest
import torch
from PIL import Image

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.models.checkpoint import load_checkpoint, save_checkpoint
from frih.training.runs import describe_changes, exclusive, resume_run, resumed_config, start_run
from frih.training.trainer import Trainer

LONG = {"train": {"epochs": 4, "milestones": [4]}, "validation": {"fraction": 0.0}}
"""Eight steps, two an epoch."""


@pytest.fixture
def make(dataset, tmp_path, small_config):
    """Starts a small run in a folder of the given name."""

    def start(name: str = "run", **sections) -> Trainer:
        sections["data"] = {"root": str(dataset), **sections.get("data", {})}
        return start_run(small_config(run=str(tmp_path / name), **sections), World())

    return start


def resume(run, *overrides) -> Trainer:
    return resume_run(resumed_config(run, list(overrides)), World(), run)


def log(run) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines]


def names(run) -> set[str]:
    return {path.name for path in (run / "checkpoints").iterdir()}


def assert_same(run, other) -> None:
    assert log(run) == log(other)
    mine, theirs = (load_checkpoint(one / "checkpoints/last.pt") for one in (run, other))
    assert all(torch.equal(value, theirs["model"][name]) for name, value in mine["model"].items())


def stop_at(trainer: Trainer, step: int, number: int = signal.SIGTERM) -> None:
    train_step = trainer.train_step

    def interrupted(batch):
        if trainer.step + 1 == step:
            os.kill(os.getpid(), number)
        return train_step(batch)

    trainer.train_step = interrupted


def test_what_may_change_within_a_run(make, tmp_path):
    run = make().run
    assert resumed_config(run, ["data.workers=3"]).data.workers == 3
    with pytest.raises(UserError, match=r"train\.epochs"):
        resumed_config(run, ["train.epochs=9"])
    with pytest.raises(UserError, match="holds no run"):
        resumed_config(tmp_path / "nowhere", [])


def test_a_folder_that_holds_a_run_is_not_overwritten(make):
    make()
    with pytest.raises(UserError, match="already holds a run; go on with it by --resume"):
        make()


def test_what_is_changed_is_told(make):
    run = make().run
    assert describe_changes(run, resumed_config(run, ["data.workers=3"])) == "data.workers: 0 -> 3"
    assert describe_changes(run, resumed_config(run, [])) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_each_signal_stops_and_saves(make, number):
    trainer = make(**LONG)
    stop_at(trainer, 3, number)
    assert not trainer.fit()
    assert load_checkpoint(trainer.run / "checkpoints/last.pt")["training"]["step"] == 3


def test_checkpoints_before_the_last_are_kept_and_some_for_good(make):
    run = make(**LONG, checkpoint={"every_steps": 1, "keep": 3, "keep_epochs": 2}).run
    assert resume(run).fit()
    assert names(run) == {"last.pt", "step-00000007.pt", "step-00000006.pt", "epoch-0002.pt", "epoch-0004.pt"}
    steps = {name: load_checkpoint(run / "checkpoints" / name)["training"]["step"] for name in names(run)}
    assert steps == {
        "last.pt": 8,
        "step-00000007.pt": 7,
        "step-00000006.pt": 6,
        "epoch-0002.pt": 4,
        "epoch-0004.pt": 8,
    }


def test_one_checkpoint_alone_can_be_kept(make):
    trainer = make(**LONG, checkpoint={"every_steps": 1, "keep": 1})
    assert trainer.fit()
    assert names(trainer.run) == {"last.pt"}


def test_checkpoints_are_written_by_time(make, monkeypatch):
    trainer = make(**LONG, checkpoint={"every_minutes": 5.0})
    saved, clock = [], iter(range(0, 10**6, 200))
    monkeypatch.setattr(trainer.checkpoints, "age", lambda: 60 * 5.1 if next(clock) % 600 == 0 else 1.0)
    save = trainer.save
    monkeypatch.setattr(trainer, "save", lambda best=False: (saved.append(trainer.step), save(best=best)))
    trainer.fit()
    assert 1 in saved
    assert {2, 4, 6, 8} < set(saved)


def test_only_the_process_that_writes_knows_when_it_is_time(make, tmp_path):
    trainer = make(**LONG, checkpoint={"every_minutes": 5.0})
    trainer.checkpoints.written -= 301
    assert trainer._overdue()
    trainer.world = World(1, 2)  # never writes, so its own clock says nothing
    assert not trainer._overdue()


def test_a_run_stopped_at_its_last_step_is_not_complete_before_it_is_validated(make):
    sections = {"train": {"epochs": 2, "milestones": [2]}, "validation": {"fraction": 0.25, "every": 2}}
    trainer = make(**sections)
    stop_at(trainer, 2)
    assert not trainer.fit()
    assert not (trainer.run / "checkpoints/best.pt").exists()
    resumed = resume(trainer.run)
    assert resumed.step == 2
    assert resumed.fit()
    assert (trainer.run / "checkpoints/best.pt").exists()


def test_what_a_run_goes_back_to_is_its_last_checkpoint_at_once(make):
    trainer = make(**LONG, checkpoint={"every_steps": 1, "keep": 3})
    stop_at(trainer, 5)
    trainer.fit()
    before = trainer.run / "checkpoints/step-00000003.pt"
    resume(before)  # and killed before its first step
    assert resume(trainer.run).step == 3
    again = resume(before)
    stop_at(again, 4)
    again.fit()
    assert names(trainer.run) == {"last.pt", "step-00000003.pt", "step-00000004.pt"}


def test_from_a_damaged_checkpoint_the_way_back_is_told_and_leads_to_the_same_end(make):
    whole = make("whole", **LONG)
    whole.fit()
    trainer = make(**LONG, checkpoint={"every_steps": 1})
    stop_at(trainer, 5)
    trainer.fit()
    last, before = trainer.run / "checkpoints/last.pt", trainer.run / "checkpoints/step-00000004.pt"
    content = last.read_bytes()
    for kilobyte in range(0, len(content) // 1024 + 1, 40):
        last.write_bytes(content[: 1024 * kilobyte])
        with pytest.raises(UserError, match=r"last\.pt: is damaged, .*the one before it, .*step-00000004\.pt"):
            resume(trainer.run)
    resumed = resume(before)
    assert resumed.step == 4
    assert resumed.fit()
    assert_same(trainer.run, whole.run)


def test_a_run_killed_after_its_validation_logs_that_once(make, monkeypatch):
    sections = {"train": {"epochs": 4, "milestones": [4]}, "validation": {"fraction": 0.25, "every": 2}}
    whole = make("whole", **sections)
    whole.fit()
    trainer = make(**sections)
    save = trainer.save

    def killed(best=False):
        if trainer.validated == 2 and not best:
            raise KeyboardInterrupt
        save(best=best)

    monkeypatch.setattr(trainer, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert "val/All/psnr" in log(trainer.run)[-1]
    assert resume(trainer.run).fit()
    assert_same(trainer.run, whole.run)
    mine, theirs = (load_checkpoint(one / "checkpoints/best.pt") for one in (trainer.run, whole.run))
    assert mine["training"]["step"] == theirs["training"]["step"]


def test_weights_alone_are_no_run(make):
    trainer = make(**LONG)
    save_checkpoint(trainer.run / "checkpoints/last.pt", trainer.config, trainer.network, {"step": 3})
    with pytest.raises(UserError, match=r"holds weights alone, .* begin one: train\.init_from="):
        resume(trainer.run)


def test_other_images_are_noticed(make, dataset):
    trainer = make(**LONG)
    stop_at(trainer, 1)
    trainer.fit()
    path = dataset / "A/real_images/a-0_x.jpg"
    Image.open(path).save(path, quality=30)
    with pytest.raises(UserError, match=r"data\.root: .* does not hold the images with which .*last\.pt was trained"):
        resume(trainer.run)


def test_a_configuration_that_was_edited_is_noticed(make):
    trainer = make(**LONG)
    stop_at(trainer, 1)
    trainer.fit()
    path = trainer.run / "config.yaml"
    path.write_text(path.read_text().replace("epochs: 4", "epochs: 5"))
    with pytest.raises(UserError, match=r"train\.epochs: is 5 in the run's config\.yaml, but .* was trained with 4"):
        resume(trainer.run)


def test_a_full_disk_stops_and_leaves_the_last_checkpoint(make, full_disk):
    trainer = make(**LONG)
    stop_at(trainer, 1)
    trainer.fit()
    full_disk(lambda path: ".last.pt" in path.name)
    resumed = resume(trainer.run)
    with pytest.raises(
        UserError, match=r"checkpoints: cannot be written \(No space left on device\); .*before step 2 are whole"
    ):
        resumed.fit()
    assert names(trainer.run) == {"last.pt", "step-00000001.pt"}
    assert load_checkpoint(trainer.run / "checkpoints/last.pt")["training"]["step"] == 1


def test_a_folder_that_is_removed_is_made_again(make, capsys):
    trainer = make(**LONG)
    train_step = trainer.train_step

    def removing(batch):
        if trainer.step == 2:
            (trainer.run / "config.yaml").unlink()
            for path in (trainer.run / "checkpoints").iterdir():
                path.unlink()
            (trainer.run / "checkpoints").rmdir()
        return train_step(batch)

    trainer.train_step = removing
    assert trainer.fit()
    assert "was removed while the run goes on" in capsys.readouterr().out
    assert resume(trainer.run).step == 8


def test_two_jobs_in_one_folder(make, tmp_path):
    run = tmp_path / "run"
    with (
        exclusive(run, World()),
        pytest.raises(UserError, match=f"run: process {os.getpid()} on .* is at work there"),
        exclusive(run, World()),
    ):
        pass
    (run / "checkpoints").mkdir()
    (run / "checkpoints/.last.pt.123.part").write_bytes(b"half")
    with exclusive(run, World()):
        assert not list((run / "checkpoints").iterdir())
