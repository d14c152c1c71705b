"""What a run computes, writes, and says when something goes wrong."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from frih.common.errors import UserError
from frih.config.recipes import to_yaml
from frih.data.batches import pack
from frih.losses import harmonization_loss
from frih.models.checkpoint import load_model
from frih.models.weights import SHARED_NAME
from frih.tools.sharing.export import export
from frih.training.trainer import Trainer
from tests.training.conftest import assert_same_weights, before_each_step, lines, step_of, weights

NO_VALIDATION = {"fraction": 0.0, "images": 0}


def held_out(trainer: Trainer, count: int):
    """A batch of images held out for validation."""
    return pack([trainer.validation[i] for i in range(count)]).unpack(torch.device("cpu"))


def test_a_run_leaves_all_that_its_folder_should_hold(make, capsys):
    trainer = make()
    assert trainer.fit()
    run = trainer.run
    assert (run / "config.yaml").read_text() == to_yaml(trainer.config)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.pt", "best.pt", "step-00000001.pt"}
    model, config = load_model(run / "checkpoints/last.pt")
    assert config == trainer.config
    torch.testing.assert_close(model.state_dict(), trainer.network.state_dict(), rtol=0, atol=0)
    train = [line for line in lines(run) if "train/loss" in line]
    validation = [line for line in lines(run) if "val/All/psnr" in line]
    assert [line["step"] for line in train] == [line["step"] for line in validation] == [1, 2]
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


def test_best_is_the_highest_validation_psnr(make):
    trainer = make(train={"epochs": 4, "milestones": [4]})
    best = []
    before_each_step(trainer, lambda step, batch: best.append(step_of(trainer.run, "best.pt")))
    trainer.fit()
    best.append(step_of(trainer.run, "best.pt"))
    scores = [line["val/All/psnr"] for line in lines(trainer.run) if "val/All/psnr" in line]
    assert best == [0, *(1 + scores.index(max(scores[:step])) for step in range(1, 5))]


def test_the_learning_rate_falls_at_milestones_and_rises_in_warm_up(make):
    trainer = make(train={"epochs": 6, "milestones": [3, 5], "warmup_steps": 2, "lr": 1e-3}, validation=NO_VALIDATION)
    assert trainer.fit()
    rates = [1000 * line["train/lr"] for line in lines(trainer.run)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_a_step_is_adams_on_the_mean_loss_over_the_batch(make):
    trainer, other = (make(name, train={"lr": 0.01}) for name in ("trainer", "other"))
    batch = held_out(other, 2)
    optimizer = torch.optim.Adam(other.network.parameters(), lr=0.01)
    out = other.network(batch.composite, batch.mask, batch.labels)
    harmonization_loss(out, batch.real, batch.mask, batch.labels).total.mean().backward()
    optimizer.step()
    trainer.train_step(batch)
    for (name, mine), theirs in zip(trainer.network.named_parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


def test_gradients_are_clipped_if_asked(make):
    trainer = make(train={"clip_norm": 1e-3})
    trainer.train_step(held_out(trainer, 1))
    norm = torch.cat([p.grad.flatten() for p in trainer.network.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)
    assert trainer.meter.read()["train/grad_norm"] > 0.01  # what is logged is the norm before


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"cascade": False, "fusion": False}},
        {"model": {"fusion": False}, "submasks": {"method": "whole"}},
        {"submasks": {"method": "kmeans", "candidates": 1, "clusters": 3}},
        {"train": {"end_to_end": False}},
        {"train": {"precision": "bf16"}},
        {"train": {"precision": "fp16", "epochs": 6}},  # its scale starts too high, but not for every step
    ],
    ids=str,
)
def test_every_ablation_and_precision_trains(make, sections):
    trainer = make(**sections, validation=NO_VALIDATION)
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    assert trainer.fit()
    after = weights(trainer.run)
    assert all(not torch.equal(after[name], value) for name, value in before.items())
    assert all(value.isfinite().all() for value in after.values())
    assert {after[name].dtype for name in before} == {torch.float32}


def test_starting_from_the_first_stages_weights(make, capsys):
    baseline = make("baseline", model={"cascade": False, "fusion": False})
    baseline.save()
    trainer = make("separate", train={"end_to_end": False, "init_from": str(baseline.run)}, seed=1)
    assert "none for cascade, head" in capsys.readouterr().out
    for name, value in weights(baseline.run).items():
        assert torch.equal(trainer.network.state_dict()[name], value)
    assert trainer.step == 0


def test_weights_of_another_network_name_the_keys_to_give(make):
    theirs = make("theirs", model={"residual": "base", "head_width": 6, "dense": True}, validation=NO_VALIDATION)
    theirs.save()
    with pytest.raises(UserError) as caught:
        make("ours", train={"init_from": str(theirs.run)}, validation=NO_VALIDATION)
    assert str(caught.value) == (
        f"{theirs.run}/checkpoints/last.pt: is a checkpoint of another model: it has in another shape head.conv1.weight and "
        '4 more. Its network has model.residual="base" (here true), model.head_width=6 (here 4): give the same, or take other '
        "weights"
    )
    assert not (theirs.run.parent / "ours").exists()


def test_starting_from_weights_on_the_hub(make, tmp_path, monkeypatch):
    theirs = make("theirs", validation=NO_VALIDATION)
    theirs.save()
    weights = tmp_path / SHARED_NAME
    export(theirs.run / "checkpoints/last.pt", weights, "safetensors")
    monkeypatch.setattr("frih.models.locate.download", {"user/name@v1": weights}.__getitem__)
    ours = make("ours", train={"init_from": "hf://user/name@v1"}, seed=1, validation=NO_VALIDATION)
    assert torch.equal(ours.network.head.conv1.weight, theirs.network.head.conv1.weight)
    assert "init_from: hf://user/name@v1\n" in (ours.run / "config.yaml").read_text()


def test_empty_masks_train(make):
    trainer = make()
    batch = held_out(trainer, 2)
    empty = batch._replace(mask=torch.zeros_like(batch.mask), labels=torch.zeros_like(batch.labels))
    losses = trainer.train_step(empty)
    assert losses.total.isfinite().all()
    assert losses.refine.tolist() == [0, 0]
    assert all(p.isfinite().all() for p in trainer.network.parameters())


def test_a_batch_in_parts_has_the_same_gradient(make):
    sections = {"model": {"norm": "none"}, "validation": NO_VALIDATION}
    whole, parts = (
        make(f"{count}", train={"lr": 0.01, "batch": 4, "accumulate": count}, **sections) for count in (1, 4)
    )
    batch = next(iter(whole.loader)).unpack(torch.device("cpu"))
    assert len(batch.items) == 4
    losses = [trainer.train_step(batch) for trainer in (whole, parts)]
    torch.testing.assert_close(*(one.total for one in losses))
    for mine, theirs in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_batches_that_do_not_divide_name_those_that_would(make):
    with pytest.raises(UserError, match=r"4 does not divide among 1 processes in 3 parts each .*; 3 or 6 would"):
        make(train={"batch": 4, "accumulate": 3}, validation=NO_VALIDATION)


def test_averaged_weights_are_saved_validated_and_evaluated(make):
    trainer = make(train={"epochs": 3, "milestones": [3], "ema": 0.75})
    history = []

    def record(*_):
        history.append({name: value.detach().clone() for name, value in trainer.network.named_parameters()})

    before_each_step(trainer, record)
    assert trainer.fit()
    record()
    model, _ = load_model(trainer.run / "checkpoints/last.pt")
    for name, value in model.named_parameters():
        literal = history[0][name]
        for after in history[1:]:
            literal = 0.75 * literal + 0.25 * after[name]
        torch.testing.assert_close(value, literal)
    assert not torch.equal(weights(trainer.run)["head.conv1.weight"], model.head.conv1.weight)
    assert torch.equal(trainer.evaluated.head.conv1.weight, model.head.conv1.weight)


def test_what_changes_speed_changes_no_results(make):
    plain, other = make("plain"), make("other", train={"channels_last": False, "tf32": False})
    plain.fit()
    other.fit()
    assert_same_weights(plain.run, other.run, rtol=1e-3, atol=1e-5)


# losses and gradients that are not finite


def poison(trainer: Trainer, *steps: int) -> list[str]:
    """Puts a NaN into one real image of some steps; the returned list collects the names of these images."""
    names = []

    def spoil(step, batch):
        if step in steps:
            batch.real[1, 0, 5, 5] = torch.nan
            names.append(batch.items[1].name)

    before_each_step(trainer, spoil)
    return names


def test_a_loss_that_is_not_finite_stops_with_the_samples_name_and_keeps_the_checkpoint(make):
    trainer = make(train={"epochs": 4, "milestones": [4]})
    names = poison(trainer, 3)
    with pytest.raises(UserError, match=r"step 3: the loss of .* in the loss or its gradient") as caught:
        trainer.fit()
    assert names[0] in str(caught.value)
    assert step_of(trainer.run) == 2


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_that_is_not_finite_can_be_left_out(make, capsys, precision):
    """Such a step changes no weights and no running statistics of batches."""
    trainer = make(
        train={"epochs": 3, "milestones": [3], "on_nonfinite": "skip", "ema": 0.5, "precision": precision},
        validation=NO_VALIDATION,
    )
    states = []

    def spoil(step, batch):
        states.append([value.clone() for value in trainer.network.state_dict().values()])
        if step == 3:
            batch.composite[0] = torch.nan  # statistics of batches would be spoiled for good

    before_each_step(trainer, spoil)
    assert trainer.fit()
    assert all(torch.equal(a, b) for a, b in zip(states[2], states[3], strict=True))
    assert [line["train/skipped"] for line in lines(trainer.run)] == [0, 0, 1, 1, 1, 1]
    assert lines(trainer.run)[2]["train/loss"] is None
    out = capsys.readouterr().out
    assert "step 3: the loss of " in out
    assert "the first such value is in the loss or its gradient" in out
    assert all(value.isfinite().all() for value in weights(trainer.run).values())


def test_too_many_steps_left_out_in_a_row_stop(make, monkeypatch):
    monkeypatch.setattr("frih.training.nonfinite.MOST_IN_A_ROW", 2)
    trainer = make(train={"epochs": 5, "milestones": [5], "on_nonfinite": "skip"})
    names = poison(trainer, 1, 3, 4, 5)
    with pytest.raises(UserError, match=r"step 5: .*3 such steps in a row are too many"):
        trainer.fit()
    assert len(names) == 4


def test_a_gradient_that_is_not_finite_stops_before_it_spoils_the_weights(make):
    trainer = make()
    parameter = next(trainer.network.head.parameters())
    parameter.register_hook(lambda gradient: gradient * torch.nan)
    before = parameter.detach().clone()
    with pytest.raises(UserError, match="step 1: the gradient is not finite"):
        trainer.fit()
    assert torch.equal(parameter, before)


def test_spoilt_running_statistics_are_never_saved(make):
    trainer = make()
    trainer.fit()
    last = (trainer.run / "checkpoints" / "last.pt").read_bytes()
    name, spoilt = next((name, one) for name, one in trainer.network.named_buffers() if name.endswith("running_var"))
    spoilt.fill_(torch.inf)
    with pytest.raises(UserError, match=rf"run: {name} is not finite after step \d+, so no checkpoint is written"):
        trainer.save()
    assert (trainer.run / "checkpoints" / "last.pt").read_bytes() == last


def test_fp16s_scale_falls_only_so_far_before_a_gradient_counts_as_not_finite(make):
    trainer = make(train={"precision": "fp16", "epochs": 30, "milestones": [30]}, validation=NO_VALIDATION)
    next(trainer.network.head.parameters()).register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(UserError, match="step 16: the gradient is not finite"):  # from 2^16 to 1
        trainer.fit()


# profiles


def test_a_profile_tells_where_the_time_goes(make, capsys):
    trainer = make(train={"epochs": 6, "milestones": [6], "profile": 2}, validation=NO_VALIDATION)
    assert trainer.fit()
    parts = (trainer.run / "profile/parts-0.txt").read_text()
    assert parts.strip() in capsys.readouterr().out
    for part in ("data wait", "clustering", "forward, base", "forward, cascade and head", "backward", "optimizer"):
        assert part in parts
    shares = [float(line.split()[-1].rstrip("%")) for line in parts.splitlines() if line.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=5)
    trace = json.loads((trainer.run / "profile/trace-0.json").read_text())
    assert {"forward", "backward"} <= {event["name"] for event in trace["traceEvents"]}


@pytest.mark.parametrize(("epochs", "told"), [(3, "each of 3 steps"), (1, "nothing was profiled; that begins after 3")])
def test_a_run_that_ends_before_its_profile(make, capsys, epochs, told):
    trainer = make(train={"epochs": epochs, "milestones": [9], "profile": 50}, validation=NO_VALIDATION)
    assert trainer.steps == 2 * epochs
    trainer.fit()
    assert told in capsys.readouterr().out
