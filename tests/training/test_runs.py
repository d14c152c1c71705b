"""Runs that are stopped, killed, damaged and gone on with."""

import os
import signal

import pytest
import torch
from PIL import Image

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.config.recipes import to_yaml
from frih.models.checkpoint import load_checkpoint, save_checkpoint
from frih.training.runs import describe_changes, exclusive, resumed_config
from tests.training.conftest import (
    assert_same,
    assert_same_weights,
    before_each_step,
    lines,
    resume,
    step_of,
    stop_at,
    untimed,
)

LONG = {"train": {"epochs": 4, "milestones": [4]}, "validation": {"fraction": 0.0, "images": 0}}
"""Eight steps, two an epoch."""


def names(run) -> set[str]:
    return {path.name for path in (run / "checkpoints").iterdir()}


def test_what_may_change_within_a_run(make, tmp_path):
    run = make().run
    changed = resumed_config(run, ["data.workers=3"])
    assert changed.data.workers == 3
    assert describe_changes(run, changed) == "data.workers: 0 -> 3"
    assert describe_changes(run, resumed_config(run, [])) == ""
    with pytest.raises(UserError, match=rf"train\.batch: is fixed by the run; .* begin .* train\.init_from={run}$"):
        resumed_config(run, ["train.batch=9"])
    with pytest.raises(UserError, match="holds no run"):
        resumed_config(tmp_path / "nowhere", [])
    with pytest.raises(UserError, match="already holds a run; go on with it by --resume"):
        make()


def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not_been(make):
    sections = {**LONG, "train": {"epochs": 3, "milestones": [2]}, "logging": {"every": 3}}
    whole = make("whole", **sections)
    whole.fit()
    # within an epoch of two steps, and at the end of one
    for step, number in ((1, signal.SIGINT), (3, signal.SIGUSR1), (4, signal.SIGTERM)):
        trainer = make(f"stopped-{step}", **sections)
        stop_at(trainer, step, number)
        assert not trainer.fit()
        assert step_of(trainer.run) == step
        assert resume(trainer.run).fit()
        assert_same(trainer.run, whole.run)


def test_more_epochs_end_as_if_they_had_been_asked_for_from_the_start(make):
    sections = {**LONG, "logging": {"every": 3}}
    whole = make("whole", **{**sections, "train": {"epochs": 4, "milestones": [1, 2], "ema": 0.5}})
    assert whole.fit()
    trainer = make(**{**sections, "train": {"epochs": 2, "milestones": [1, 4], "ema": 0.5}})
    assert trainer.fit()
    resume(
        trainer.run, "train.epochs=4", "train.milestones=[1,2]", "data.workers=1"
    )  # and killed before its first step
    resumed = resume(trainer.run)
    assert resumed.fit()
    assert resumed.step == 8
    assert_same_weights(trainer.run, whole.run)
    mine, theirs = (load_checkpoint(one / "checkpoints/last.pt") for one in (trainer.run, whole.run))
    for part in ("average", "training"):
        assert mine[part].pop("data", None) == theirs[part].pop("data", None)
        mine[part].pop("meter", None), theirs[part].pop("meter", None)
        torch.testing.assert_close(mine[part], theirs[part], rtol=0, atol=0)
    assert [line for line in untimed(trainer.run) if line["step"] != 4] == untimed(whole.run)  # 4 was its end
    written = (trainer.run / "config.yaml").read_text()
    remarks = ["# step 4: train.epochs 2 -> 4", "# step 4: train.milestones (1, 4) -> (1, 2)"]
    assert written == to_yaml(resumed.config) + "\n".join([*remarks, ""])
    resume(trainer.run, "train.epochs=5")
    assert (trainer.run / "config.yaml").read_text().splitlines()[-3:] == [*remarks, "# step 8: train.epochs 4 -> 5"]


def test_a_validated_run_goes_on_for_more_epochs_from_anywhere(make):
    whole = make("whole", train={"epochs": 3, "milestones": [1]})
    assert whole.fit()
    for step in (0, 2):
        trainer = make(f"from-{step}", train={"epochs": 2, "milestones": [1]})
        if step:
            stop_at(trainer, step)
            trainer.fit()
        assert resume(trainer.run, "train.epochs=3").fit()
        assert_same(trainer.run, whole.run)
        assert step_of(trainer.run, "best.pt") == step_of(whole.run, "best.pt")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["train.epochs=1"],
            r"train\.epochs: 1 end at step 2, but .*last\.pt is at step 3; give 2 or more, or go back",
        ),
        (["train.milestones=[4]"], r"train\.milestones: those before step 3 of .* were \[1\], and may not become \[\]"),
        (["train.milestones=[]", "train.epochs=9"], r"train\.milestones: .* begin another run .*: train\.init_from="),
    ],
)
def test_what_was_done_stays_as_it_was(make, overrides, told):
    trainer = make(**{**LONG, "train": {"epochs": 4, "milestones": [1, 3]}})
    stop_at(trainer, 3)
    trainer.fit()
    before = (trainer.run / "config.yaml").read_text()
    with pytest.raises(UserError, match=told):
        resume(trainer.run, *overrides)
    assert (trainer.run / "config.yaml").read_text() == before
    assert resume(trainer.run, "train.milestones=[1]", "train.epochs=2").step == 3


def test_a_run_killed_before_its_first_checkpoint_starts_again(make):
    resumed = resume(make().run)
    assert resumed.step == 0
    assert resumed.fit()
    before = lines(resumed.run)
    assert resume(resumed.run).fit()  # a finished run has nothing left to do
    assert lines(resumed.run) == before


@pytest.mark.parametrize(
    ("saving", "kept"),
    [
        ({"keep": 1}, {"last.pt": 8}),
        (
            {"keep": 3, "keep_epochs": 2},
            {"last.pt": 8, "step-00000007.pt": 7, "step-00000006.pt": 6, "epoch-0002.pt": 4, "epoch-0004.pt": 8},
        ),
    ],
)
def test_checkpoints_before_the_last_are_kept_and_some_for_good(make, saving, kept):
    trainer = make(**LONG, checkpoint={"every_steps": 1, **saving})
    assert trainer.fit()
    assert {name: step_of(trainer.run, name) for name in names(trainer.run)} == kept


@pytest.mark.parametrize(("minutes", "steps"), [(1e-9, [0, 1, 2, 3, 4, 5, 6, 7]), (60, [0, 0, 2, 2, 4, 4, 6, 6])])
def test_checkpoints_are_written_by_time(make, minutes, steps):
    """And at the end of each epoch."""
    trainer = make(**LONG, checkpoint={"every_minutes": minutes})
    saved = []
    before_each_step(trainer, lambda step, batch: saved.append(step_of(trainer.run)))
    assert trainer.fit()
    assert saved == steps


def test_only_the_process_that_writes_knows_when_it_is_time(make):
    told = []

    class Second(World):
        def any(self, *flags):
            told.append(flags)
            return super().any(*flags)

    assert make(**LONG, checkpoint={"every_minutes": 1e-9}, world=Second(rank=1)).fit()
    assert told == [(False, False)] * 8


def test_a_run_stopped_at_its_last_step_is_not_complete_before_it_is_validated(make):
    trainer = make(validation={"every": 2})
    stop_at(trainer, 2)
    assert not trainer.fit()
    assert "best.pt" not in names(trainer.run)
    resumed = resume(trainer.run)
    assert resumed.step == 2
    assert resumed.fit()
    assert "best.pt" in names(trainer.run)


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
    for share in (0, 0.3, 0.6, 0.99):
        last.write_bytes(content[: int(share * len(content))])
        with pytest.raises(UserError, match=r"last\.pt: is damaged, .*the one before it, .*step-00000004\.pt"):
            resume(trainer.run)
    resumed = resume(before)
    assert resumed.step == 4
    assert resumed.fit()
    assert_same(trainer.run, whole.run)


def test_a_run_that_ends_between_a_validation_and_its_checkpoint_logs_that_once(make, full_disk, monkeypatch):
    sections = {"train": {"epochs": 4, "milestones": [4]}, "validation": {"every": 2}}
    whole = make("whole", **sections)
    whole.fit()
    trainer = make(**sections)
    full_disk(lambda path: ".last.pt" in path.name and "val/All/psnr" in lines(trainer.run)[-1])
    with pytest.raises(UserError, match="No space left"):
        trainer.fit()
    monkeypatch.undo()
    assert "val/All/psnr" in untimed(trainer.run)[-1]
    assert resume(trainer.run).fit()
    assert_same(trainer.run, whole.run)
    assert step_of(trainer.run, "best.pt") == step_of(whole.run, "best.pt")


def test_a_full_disk_stops_and_leaves_the_last_checkpoint(make, full_disk):
    trainer = make(**LONG, checkpoint={"every_steps": 1})
    full_disk(lambda path: ".last.pt" in path.name and trainer.step == 2)
    with pytest.raises(
        UserError, match=r"checkpoints: cannot be written \(No space left on device\); .*before step 2 are whole"
    ):
        trainer.fit()
    assert names(trainer.run) == {"last.pt", "step-00000001.pt"}
    assert step_of(trainer.run) == 1


def test_a_folder_that_is_removed_is_made_again(make, capsys):
    trainer = make(**LONG)

    def remove(step, batch):
        if step == 3:
            (trainer.run / "config.yaml").unlink()
            for path in (trainer.run / "checkpoints").iterdir():
                path.unlink()
            (trainer.run / "checkpoints").rmdir()

    before_each_step(trainer, remove)
    assert trainer.fit()
    assert "was removed while the run goes on" in capsys.readouterr().out
    assert resume(trainer.run).step == 8


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing", "empty"])
def test_a_last_checkpoint_that_is_no_file_begins_no_run_anew(make, kind):
    trainer = make(**LONG, checkpoint={"every_steps": 1})
    stop_at(trainer, 2)
    trainer.fit()
    last = trainer.run / "checkpoints/last.pt"
    last.unlink()
    {"folder": last.mkdir, "pipe": lambda: os.mkfifo(last), "missing": lambda: None, "empty": last.touch}[kind]()
    told = "no such checkpoint; the run has step-00000001" if kind == "missing" else r"take the one before it, .*01\.pt"
    with pytest.raises(UserError, match=rf"last\.pt: .*{told}"):
        resume(trainer.run)
    if kind in ("folder", "pipe"):
        with pytest.raises(UserError, match=r"last\.pt: is no file"):
            resumed_config(last, [])
    else:
        assert resume(last.with_name("step-00000001.pt")).step == 1


def test_what_is_not_the_runs_own_is_noticed(make, dataset):
    trainer = make()
    assert trainer.fit()
    config = trainer.run / "config.yaml"
    written = config.read_text()
    config.write_text(written.replace("warmup_steps: 0", "warmup_steps: 5"))
    with pytest.raises(UserError, match=r"train\.warmup_steps: is 5 in the run's config\.yaml, but .* trained with 0"):
        resume(trainer.run)
    config.write_text(written)
    path = dataset / "A/real_images/a-0_x.jpg"
    Image.open(path).save(path, quality=30)
    with pytest.raises(UserError, match=r"data\.root: .* does not hold the images with which .*last\.pt was trained"):
        resume(trainer.run)
    save_checkpoint(trainer.run / "checkpoints/last.pt", trainer.config, trainer.network, {"step": 3})
    with pytest.raises(UserError, match=r"holds weights alone, .* begin one: train\.init_from="):
        resume(trainer.run)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_images_without_foreground(make, dataset, tmp_path, part):
    for item in getattr(make("other"), part).items:
        Image.new("L", (160, 140)).save(item.mask)
    with pytest.raises(UserError, match=f"no mask of the {part} images has foreground"):
        make()
    assert not (tmp_path / "run").exists()


def test_two_jobs_in_one_folder(tmp_path):
    run = tmp_path / "run"
    with (
        exclusive(run, World()),
        pytest.raises(UserError, match=f"run: process {os.getpid()} on .* is at work there"),
        exclusive(run, World()),
    ):
        pass
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints/.last.pt.123.part").write_bytes(b"half")
    with exclusive(run, World()):
        assert not list((run / "checkpoints").iterdir())


def test_a_run_with_a_validation_list_goes_on_with_that_list_alone(make, dataset, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("A/composite_images/a-1_x_1_2.jpg\n")
    sections = {"train": {"epochs": 2, "milestones": [2]}, "validation": {"list": str(listed), "every": 1, "images": 0}}
    whole = make("whole", **sections)
    assert [item.name for item in whole.validation.items] == ["A/a-1_x_1_2.jpg"]
    assert all(item.real_name != "a-1_x.jpg" for item in whole.training.items)
    whole.fit()
    trainer = make(**sections)
    stop_at(trainer, 1)
    trainer.fit()
    moved = listed.rename(tmp_path / "moved.txt")
    assert resume(trainer.run, f"validation.list={moved}").fit()
    assert_same(trainer.run, whole.run)
    for changed in ("A/composite_images/a-2_x_1_1.jpg\n", "A/composite_images/a-1_x_1_1.jpg\n"):
        listed.write_text(changed)
        with pytest.raises(
            UserError, match=r"or .*list\.txt \(validation\.list\) does not name those that it held out"
        ):
            resume(trainer.run)
    with pytest.raises(UserError, match="does not hold the images"):
        resume(trainer.run, "validation.list=null")
