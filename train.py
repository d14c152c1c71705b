"""Trains FRIH: one process on a CPU or a GPU, or several by torchrun.

    python train.py configs/frih.yaml data.root=/datasets/iHarmony4 [key.sub=value ...]
    torchrun --nproc-per-node 8 train.py configs/frih.yaml data.root=/datasets/iHarmony4
    python train.py --resume runs/frih

Texts and paths are taken as they are, other values are YAML. "./" before a path with "=" tells it from a key.
Ctrl-C (or SIGTERM, SIGUSR1) finishes the step, saves, and exits with status 130 (torchrun then exits with its own, 1); a second
Ctrl-C stops at once. --resume goes on from there, or from the checkpoint that is given, with any number of processes.
"""

import argparse
from pathlib import Path
from shlex import quote

from frih.common.distributed import connect
from frih.common.errors import STOPPED, UserError, alike, extra, run_command
from frih.common.paths import path_argument
from frih.config.recipes import load_config
from frih.config.words import split_words, taken_for_keys

with extra("train"):
    from frih.tools.composites.online import Restyler
    from frih.training.runs import describe_changes, exclusive, resume_run, resumed_config, run_folder, start_run


def main() -> int:
    """Starts or resumes a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "recipe", nargs="*", metavar="RECIPE key.sub=value", help="a YAML file, and keys that differ from it"
    )
    parser.add_argument("--resume", type=path_argument, metavar="RUN", help="go on with the run in this folder")
    args = parser.parse_intermixed_args()
    with alike():
        recipes, overrides = split_words(args.recipe)
        if len(recipes) != (args.resume is None):
            raise UserError(
                "give either one recipe, as configs/frih.yaml, or --resume RUN; then key.sub=value as needed"
                + taken_for_keys(overrides)
            )
        config = resumed_config(args.resume, overrides) if args.resume else load_config(recipes[0], overrides)
        changes = describe_changes(args.resume, config) if args.resume else ""
    run = run_folder(args.resume) if args.resume else Path(config.run or "runs/frih")
    with connect(config.train.device) as world, exclusive(run, world):
        if world.is_main and changes:
            print(changes)
        trainer = (
            resume_run(config, world, args.resume, Restyler) if args.resume else start_run(config, world, Restyler)
        )
        finished = trainer.fit()
        if world.is_main:
            state = "complete; next: python evaluate.py" if finished else "stopped and saved; go on with --resume"
            print(f"{run}: step {trainer.step} of {trainer.steps}, {state} {quote(str(run))}")
    return 0 if finished else STOPPED


if __name__ == "__main__":
    run_command(main)
