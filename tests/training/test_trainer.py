import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.config.recipes import to_yaml
from frih.data.batches import pack
from frih.losses import harmonization_loss
from frih.models.checkpoint import load_checkpoint, load_model
from frih.training.runs import resume_run, resumed_config, start_run
from frih.training.trainer import Trainer
from tests.conftest import save

ROOT = Path(__file__).parents[2]


@pytest.fixture
def make(dataset, tmp_path, small_config):
    """Starts a small run in a folder of the given name."""

    def start(name: str = "run", **sections) -> Trainer:
        sections["data"] = {"root": str(dataset), **sections.get("data", {})}
        return start_run(small_config(run=str(tmp_path / name), **sections), World())

    return start


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def untimed(run: Path) -> list[dict]:
    """What does not depend on the machine's speed."""
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines(run)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints/last.pt")["model"]


def assert_same_weights(run: Path, other: Path, **tolerance: float) -> None:
    for (name, mine), theirs in zip(weights(run).items(), weights(other).values(), strict=True):
        torch.testing.assert_close(
            mine, theirs, **(tolerance or {"rtol": 0, "atol": 0}), msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_run_leaves_all_that_its_folder_should_hold(make, capsys):
    trainer = make()
    assert trainer.fit()
    run = trainer.run
    assert (run / "config.yaml").read_text() == to_yaml(trainer.config)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.pt", "best.pt", "step-00000001.pt"}
    train = [line for line in lines(run) if "train/loss" in line]
    validation = [line for line in lines(run) if "val/All/psnr" in line]
    assert [line["step"] for line in train] == [
        1,
        2,
    ]  # 7 images less 2 + 1 held out: 6, of which one batch of 4 an epoch
    assert [line["step"] for line in validation] == [1, 2]
    for line in train:
        assert line["train/loss"] == pytest.approx(line["train/loss_coarse"] + line["train/loss_refine"], rel=1e-5)
        assert line["train/grad_norm"] > 0
        assert line["train/submasks"] >= 1
    assert {"val/A/mse", "val/B/psnr", "val/All/fmse"} <= set(validation[0])
    shares = [line[f"val/{group}/{share}"] for line in validation for group in "AB" for share in ("worse", "worse_10")]
    assert all(0 <= share <= 1 for share in shares)
    worse, worse_10 = (100 * validation[-1][f"val/All/{share}"] for share in ("worse", "worse_10"))
    assert f"worse {worse:.1f}%, worse_10 {worse_10:.1f}%" in capsys.readouterr().out
    board = EventAccumulator(str(run)).Reload()
    assert len(board.Tags()["images"]) == 2
    assert {"train/loss", "train/lr", "val/All/psnr"} <= set(board.Tags()["scalars"])


def test_the_checkpoint_is_the_trained_model(make):
    trainer = make()
    trainer.fit()
    model, config = load_model(trainer.run / "checkpoints/last.pt")
    assert config == trainer.config
    for name, value in model.state_dict().items():
        assert torch.equal(value, trainer.network.state_dict()[name])


def test_best_is_the_highest_validation_psnr(make, monkeypatch):
    trainer = make(train={"epochs": 4, "milestones": [4]})
    saved = []
    save = trainer.save
    monkeypatch.setattr(trainer, "save", lambda best=False: (saved.append((best, trainer.step)), save(best=best)))
    trainer.fit()
    scores = [line["val/All/psnr"] for line in lines(trainer.run) if "val/All/psnr" in line]
    rising = [step for step in range(1, 5) if scores[step - 1] > max([*scores[: step - 1], -1])]
    assert [step for best, step in saved if best] == rising
    assert trainer.best == max(scores)


def test_the_learning_rate_falls_at_milestones_and_rises_in_warm_up(make):
    trainer = make(
        train={"epochs": 6, "milestones": [3, 5], "warmup_steps": 2, "lr": 1.0}, validation={"fraction": 0.0}
    )
    assert len(trainer.order) == 2
    rates = []
    for step in range(trainer.steps):
        trainer.step = step
        rates.append(trainer.learning_rate())
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_a_step_is_adams_on_the_mean_loss_over_the_batch(make):
    trainer = make(train={"lr": 0.01})
    other = make("other", train={"lr": 0.01})
    batch = pack([other.validation[0], other.validation[1]]).unpack(torch.device("cpu"))
    optimizer = torch.optim.Adam(other.network.parameters(), lr=0.01)
    out = other.network(batch.composite, batch.mask, batch.labels)
    harmonization_loss(out, batch.real, batch.mask, batch.labels).total.mean().backward()
    optimizer.step()
    trainer.train_step(batch)
    for (name, mine), theirs in zip(trainer.network.named_parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


def test_gradients_are_clipped_if_asked(make):
    trainer = make(train={"clip_norm": 1e-3})
    trainer.train_step(pack([trainer.validation[0]]).unpack(torch.device("cpu")))
    norm = torch.cat([p.grad.flatten() for p in trainer.network.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)
    assert trainer.meter.read()["train/grad_norm"] > 0.01  # what is logged is the norm before


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precisions_train(make, precision):
    trainer = make(train={"precision": precision, "epochs": 6})
    before = trainer.network.head.conv1.weight.detach().clone()
    assert trainer.fit()
    after = weights(trainer.run)
    assert all(value.isfinite().all() for value in after.values())
    assert after["head.conv1.weight"].dtype == torch.float32
    assert not torch.equal(after["head.conv1.weight"], before)  # fp16's scale starts too high, but not for every step


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"cascade": False, "fusion": False}},
        {"model": {"fusion": False}, "submasks": {"method": "whole"}},
        {"submasks": {"method": "kmeans", "candidates": 1, "clusters": 3}},
        {"train": {"end_to_end": False}},
        {"validation": {"fraction": 0.0}},
    ],
    ids=str,
)
def test_every_ablation_trains(make, sections):
    trainer = make(**sections)
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    assert trainer.fit()
    assert all(not torch.equal(value, before[name]) for name, value in trainer.network.named_parameters())


# stopping and going on


def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not_been(make, monkeypatch):
    sections = {"train": {"epochs": 3, "milestones": [2]}, "validation": {"fraction": 0.0}, "logging": {"every": 3}}
    whole = make("whole", **sections)
    whole.fit()
    for stop_at in (1, 4):  # within an epoch of two steps, and at the end of one
        trainer = make(f"stopped-{stop_at}", **sections)
        step = trainer.train_step

        def interrupted(batch, trainer=trainer, step=step, stop_at=stop_at):
            if trainer.step + 1 == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(batch)

        monkeypatch.setattr(trainer, "train_step", interrupted)
        assert not trainer.fit()
        assert trainer.step == stop_at
        resumed = resume_run(resumed_config(trainer.run, []), World(), trainer.run)
        assert resumed.fit()
        assert untimed(trainer.run) == untimed(whole.run)
        assert_same_weights(trainer.run, whole.run)


def test_a_run_killed_before_its_first_checkpoint_starts_again(make, tmp_path):
    trainer = make()
    resumed = resume_run(resumed_config(trainer.run, []), World(), trainer.run)
    assert resumed.step == 0
    assert resumed.fit()


def test_a_finished_run_has_nothing_left_to_do(make):
    trainer = make()
    trainer.fit()
    before = lines(trainer.run)
    again = resume_run(resumed_config(trainer.run, []), World(), trainer.run)
    assert again.fit()
    assert lines(trainer.run) == before


def test_starting_from_the_first_stages_weights(make, capsys):
    baseline = make("baseline", model={"cascade": False, "fusion": False})
    baseline.fit()
    trainer = make("separate", train={"end_to_end": False, "init_from": str(baseline.run)})
    assert "none for cascade, head" in capsys.readouterr().out
    for name, value in weights(baseline.run).items():
        assert torch.equal(trainer.network.state_dict()[name], value)
    assert trainer.step == 0


# what goes wrong


def poison(trainer: Trainer, *steps: int) -> None:
    """Puts a NaN into one real image of some steps."""
    step = trainer.train_step

    def poisoned(batch):
        if trainer.step + 1 in steps:
            batch.real[1, 0, 5, 5] = torch.nan
            trainer.poisoned = f"{batch.items[1].subset}/{batch.items[1].composite_name}"
        return step(batch)

    trainer.train_step = poisoned


def test_a_loss_that_is_not_finite_stops_with_the_samples_name_and_keeps_the_checkpoint(make):
    trainer = make(train={"epochs": 4, "milestones": [4]})
    poison(trainer, 3)
    with pytest.raises(UserError, match="step 3: the loss of ") as caught:
        trainer.fit()
    assert trainer.poisoned in str(caught.value)
    assert "in the loss or its gradient" in str(caught.value)
    assert load_checkpoint(trainer.run / "checkpoints/last.pt")["training"]["step"] == 2


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_that_is_not_finite_can_be_left_out(make, capsys, precision):
    """It changes neither weights nor the running statistics of batches."""
    trainer = make(
        train={"epochs": 3, "milestones": [3], "on_nonfinite": "skip", "ema": 0.5, "precision": precision},
        validation={"fraction": 0.0},
    )
    seen = {}
    step = trainer.train_step

    def watched(batch):
        if trainer.step + 1 == 3:
            batch.composite[0] = torch.nan  # statistics of batches would be spoiled for good
            seen["before"] = [value.clone() for value in trainer.network.state_dict().values()]
        losses = step(batch)
        if trainer.step == 3:
            seen["after"] = [value.clone() for value in trainer.network.state_dict().values()]
        return losses

    trainer.train_step = watched
    assert trainer.fit()
    assert all(torch.equal(a, b) for a, b in zip(seen["before"], seen["after"], strict=True))
    assert trainer.nonfinite.skips == 1
    assert [line["train/skipped"] for line in lines(trainer.run)] == [0, 0, 1, 1, 1, 1]
    assert lines(trainer.run)[2]["train/loss"] is None
    out = capsys.readouterr().out
    assert "step 3: the loss of " in out
    assert "the first such value is in the loss or its gradient" in out
    assert all(value.isfinite().all() for value in weights(trainer.run).values())


def test_too_many_steps_left_out_in_a_row_stop(make, monkeypatch):
    monkeypatch.setattr("frih.training.nonfinite.MOST_IN_A_ROW", 2)
    trainer = make(train={"epochs": 5, "milestones": [5], "on_nonfinite": "skip"})
    poison(trainer, 1, 3, 4, 5)
    with pytest.raises(UserError, match=r"step 5: .*3 such steps in a row are too many"):
        trainer.fit()
    assert trainer.nonfinite.skips == 4


def test_empty_masks_train(make):
    trainer = make()
    batch = pack([trainer.validation[0], trainer.validation[1]]).unpack(torch.device("cpu"))
    empty = batch._replace(mask=torch.zeros_like(batch.mask), labels=torch.zeros_like(batch.labels))
    losses = trainer.train_step(empty)
    assert losses.total.isfinite().all()
    assert losses.refine.tolist() == [0, 0]
    assert all(p.isfinite().all() for p in trainer.network.parameters())


# several processes


def train(*arguments: str, processes: int = 1) -> subprocess.CompletedProcess:
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, "train.py", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


def test_two_processes_train_as_one_and_go_on_as_one(dataset, tmp_path, small_config):
    """Batch normalisation and empty masks included; stopped between two lines of the log, and by a signal to every process."""
    save(dataset / "A/masks/a-0_x_1.png", np.zeros((140, 160), np.uint8))
    config = small_config(
        train={"epochs": 4, "milestones": [4], "lr": 1e-4},
        data={"root": str(dataset), "workers": 1},
        logging={"every": 3},
        validation={"fraction": 0.2, "every": 4},
    )
    (tmp_path / "recipe.yaml").write_text(to_yaml(config))
    runs = [tmp_path / "one", tmp_path / "two"]
    for processes, run in enumerate(runs, start=1):
        done = train(str(tmp_path / "recipe.yaml"), f"run={run}", processes=processes)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("complete") == 1
    one, two = map(untimed, runs)
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for a, b in zip(one, two, strict=True):
        assert a.pop("train/submask_histogram", None) == b.pop("train/submask_histogram", None)
        assert a == pytest.approx(b, rel=1e-3)
    assert_same_weights(*runs, rtol=1e-3, atol=1e-4)


def test_sigterm_to_a_whole_job_saves_and_the_run_goes_on(dataset, tmp_path, small_config):
    """As a scheduler sends it: to the loader's workers too."""
    config = small_config(
        train={"epochs": 200, "milestones": [200]},
        data={"root": str(dataset), "workers": 1},
        validation={"fraction": 0, "every": 200},
    )
    (tmp_path / "recipe.yaml").write_text(to_yaml(config))
    run = tmp_path / "run"
    command = [sys.executable, "train.py", str(tmp_path / "recipe.yaml"), f"run={run}"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as job:
        for _ in range(600):
            if (run / "metrics.jsonl").exists():
                break
            time.sleep(0.1)
        os.killpg(job.pid, signal.SIGTERM)
        out, err = job.communicate(timeout=60)
    assert job.returncode == 130, err
    assert "stopped and saved; go on with --resume" in out
    assert "Traceback" not in err
    assert load_checkpoint(run / "checkpoints/last.pt")["training"]["step"] == lines(run)[-1]["step"] > 0


def test_a_gradient_that_is_not_finite_stops_before_it_spoils_the_weights(make):
    trainer = make()
    parameter = next(trainer.network.head.parameters())
    parameter.register_hook(lambda gradient: gradient * torch.nan)
    before = parameter.detach().clone()
    with pytest.raises(UserError, match="step 1: the gradient is not finite"):
        trainer.fit()
    assert torch.equal(parameter, before)


def test_fp16s_scale_falls_only_so_far_before_a_gradient_counts_as_not_finite(make):
    trainer = make(train={"precision": "fp16", "epochs": 30, "milestones": [30]}, validation={"fraction": 0.0})
    next(trainer.network.head.parameters()).register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(UserError, match="step 16: the gradient is not finite"):  # from 2^16 to 1
        trainer.fit()


# parts of a step, averages, speed


def test_a_batch_in_parts_has_the_same_gradient(make):
    sections = {"model": {"norm": "none"}, "train": {"lr": 0.01}, "validation": {"fraction": 0.0}}
    whole = make("whole", **sections)
    parts = make("parts", **{**sections, "train": {"lr": 0.01, "accumulate": 4}})
    batch = next(iter(whole.loader)).unpack(torch.device("cpu"))
    assert len(batch.items) == 4
    losses = [trainer.train_step(batch) for trainer in (whole, parts)]
    torch.testing.assert_close(*(one.total for one in losses))
    for mine, theirs in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_batches_that_do_not_divide_name_those_that_would(make):
    with pytest.raises(UserError, match=r"4 does not divide among 1 processes in 3 parts each .*; 3 or 6 would"):
        make(train={"accumulate": 3})


def test_averaged_weights_are_saved_validated_and_evaluated(make):
    trainer = make(train={"epochs": 3, "milestones": [3], "ema": 0.75})
    start = {name: value.clone() for name, value in trainer.network.named_parameters()}
    history = []
    step = trainer.train_step

    def recorded(batch):
        losses = step(batch)
        history.append({name: value.detach().clone() for name, value in trainer.network.named_parameters()})
        return losses

    trainer.train_step = recorded
    assert trainer.fit()
    model, _ = load_model(trainer.run / "checkpoints/last.pt")
    for name, value in model.named_parameters():
        literal = start[name]
        for after in history:
            literal = 0.75 * literal + 0.25 * after[name]
        torch.testing.assert_close(value, literal)
    for name, value in model.named_buffers():
        assert torch.equal(value, dict(trainer.network.named_buffers())[name])
    assert not torch.equal(weights(trainer.run)["head.conv1.weight"], model.head.conv1.weight)
    best, _ = load_model(trainer.run / "checkpoints/best.pt")
    assert trainer.evaluated.head.conv1.weight.shape == best.head.conv1.weight.shape


@pytest.mark.parametrize("key", [{"channels_last": False}, {"tf32": False}], ids=str)
def test_what_changes_speed_changes_no_results(make, key):
    plain, other = make("plain"), make("other", train=key)
    plain.fit()
    other.fit()
    assert_same_weights(plain.run, other.run, rtol=1e-3, atol=1e-5)


def test_a_profile_tells_where_the_time_goes(make, capsys):
    trainer = make(train={"epochs": 6, "milestones": [6], "profile": 2}, validation={"fraction": 0.0})
    assert trainer.fit()
    out = capsys.readouterr().out
    parts = (trainer.run / "profile/parts-0.txt").read_text()
    assert parts.strip() in out
    for part in ("data wait", "clustering", "forward, base", "forward, cascade and head", "backward", "optimizer"):
        assert part in parts
    shares = [float(line.split()[-1].rstrip("%")) for line in parts.splitlines() if line.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=5)
    trace = json.loads((trainer.run / "profile/trace-0.json").read_text())
    assert {"forward", "backward"} <= {event["name"] for event in trace["traceEvents"]}


@pytest.mark.parametrize(("epochs", "told"), [(3, "each of 3 steps"), (1, "nothing was profiled; that begins after 3")])
def test_a_run_that_ends_before_its_profile(make, capsys, epochs, told):
    trainer = make(train={"epochs": epochs, "milestones": [9], "profile": 50}, validation={"fraction": 0.0})
    assert trainer.steps == 2 * epochs
    trainer.fit()
    assert told in capsys.readouterr().out
