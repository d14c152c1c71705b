"""Starts and resumes runs: folders in which a trainer works, one job at a time."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from frih.common.distributed import World
from frih.common.errors import SharedError, UserError
from frih.common.files import is_part, locked, made, write_whole
from frih.config import Config
from frih.config.recipes import differences, load_config, to_yaml, with_overrides
from frih.data.dataset import Restyling
from frih.data.held_out import with_held_out
from frih.data.iharmony4 import Listing, read_split
from frih.models.checkpoint import find_checkpoint
from frih.training.images import fingerprint
from frih.training.summary import describe_run
from frih.training.trainer import MAY_CHANGE, SCHEDULE, Trainer


def start_run(config: Config, world: World, restyling: Restyling | None = None) -> Trainer:
    """Makes the folder of a new run and its trainer.

    Raises:
        UserError: the folder already holds a run; the images cannot be listed.
    """
    run = Path(config.run or "runs/frih")
    with world.together():
        if world.is_main and (run / "config.yaml").exists():
            raise UserError(
                f"{run}: already holds a run; go on with it by --resume {run}, or give another by run=FOLDER"
            )
    listing = _listing(config, world)
    trainer = Trainer(config, world, run, listing, restyling)
    with world.together():
        summary = describe_run(trainer, listing, trainer.load_initial_weights())
    with world.together():  # once all have them: what fails before leaves no run behind
        if world.is_main:
            trainer.write_config()
            print(summary, flush=True)
    return trainer


def resume_run(config: Config, world: World, run: Path, restyling: Restyling | None = None) -> Trainer:
    """Resumes a run from its last checkpoint, or from its start if it has none yet.

    Args:
        config: as :func:`resumed_config` reads it.
        world: this process's place in the run.
        run: its folder, or the checkpoint to go back to.
        restyling: what makes composites anew for ``data.online``.

    Raises:
        UserError: the checkpoint is damaged, or the images or the configuration are not those it was trained with.
    """
    folder, listing = run_folder(run), _listing(config, world)
    trainer = Trainer(config, world, folder, listing, restyling)
    with world.together():
        if run.is_file() or any((folder / "checkpoints").glob("*.pt")):
            checkpoint = run if run.is_file() else find_checkpoint(folder)
            trainer.load(checkpoint)
            begins = f"after step {trainer.step:,} of {trainer.steps:,}, from {checkpoint.name}"
        else:
            begins = trainer.load_initial_weights() or "at the start: there is no checkpoint yet"
        summary = describe_run(trainer, listing, begins)
    with world.together():
        if world.is_main:
            _note_schedule(folder, config, trainer.step)
            print(summary, flush=True)
    return trainer


def resumed_config(run: Path, overrides: Sequence[str]) -> Config:
    """The configuration of a resumed run.

    Args:
        run: its folder, or one of its checkpoints.
        overrides: ``key=value``, of the keys in :data:`~frih.training.trainer.MAY_CHANGE` and
            :data:`~frih.training.trainer.SCHEDULE`.

    Raises:
        UserError: no run is there, or an override would make it another run.
    """
    if run.suffix == ".pt" and run.exists() and not run.is_file():
        raise UserError(f"{run}: is no file; give a run's folder, or one of its checkpoints")
    folder = run_folder(run)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder}: holds no run (no config.yaml); start one by: python train.py RECIPE run={folder}")
    otherwise = f"with another setting begin another run with its weights: train.init_from={folder}"
    stored = load_config(folder / "config.yaml")
    return with_overrides(stored, overrides, only=(*MAY_CHANGE, *SCHEDULE), otherwise=otherwise)


def describe_changes(run: Path, config: Config) -> str:
    """The keys in which a configuration differs from the run's, a line each."""
    changes = differences(load_config(run_folder(run) / "config.yaml"), config)
    return "\n".join(f"{key}: {old} -> {new}" for key, (old, new) in changes.items())


@contextmanager
def exclusive(run: Path, world: World) -> Iterator[None]:
    """Locks a run's folder for this job, and removes half-written files of a killed one.

    Raises:
        UserError: another job is in it, or the folder cannot be made.
    """
    with ExitStack() as stack:
        with world.together():
            if world.is_main:
                stack.enter_context(made(run))
                stack.enter_context(locked(run / ".lock"))
                for path in (*run.iterdir(), *(run / "checkpoints").glob("*")):
                    if is_part(path):
                        path.unlink(missing_ok=True)
        yield


def run_folder(run: Path) -> Path:
    """The folder of a run, given that folder or one of its checkpoints."""
    return run.absolute().parent.parent if run.suffix == ".pt" else run


def _note_schedule(folder: Path, config: Config, step: int) -> None:
    """Writes other epochs and milestones into the run's ``config.yaml``, with a remark on what they were."""
    path = folder / "config.yaml"
    stored = load_config(path)
    changes = {key: pair for key, pair in differences(stored, config).items() if key in SCHEDULE}
    if changes:
        remarks = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# step ")]
        remarks += [f"# step {step}: {key} {old} -> {new}" for key, (old, new) in changes.items()]
        train = stored.train.model_copy(update={key.removeprefix("train."): new for key, (_, new) in changes.items()})
        write_whole(path, to_yaml(stored.model_copy(update={"train": train})) + "\n".join([*remarks, ""]))


def _listing(config: Config, world: World) -> Listing:
    """The training split, the same in every process.

    Raises:
        UserError: it cannot be listed, or machines hold different ones.
    """
    with world.together():
        listing = with_held_out(read_split(config.data.root, "train", config.data.subsets), config)
    if len(set(world.gather(fingerprint(listing)))) > 1:
        raise SharedError(f"data.root: {config.data.root} does not hold the same images on every machine; copy it anew")
    return listing
