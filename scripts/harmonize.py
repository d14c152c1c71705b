"""Harmonizes your own images with a trained network: ``frih harmonize`` with the weights as first argument.

    python scripts/harmonize.py CHECKPOINT IMAGE MASK --out OUT

CHECKPOINT is a run's folder, a file or a folder of weights, or hf://USER/NAME. More is in docs/harmonize.md.
"""

import argparse

from frih.cli import add_arguments, harmonize_files, parse
from frih.common.errors import run_command


def main() -> int:
    """Harmonizes the images of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", metavar="CHECKPOINT")
    add_arguments(parser, weights=False)
    return harmonize_files(parse(parser))


if __name__ == "__main__":
    run_command(main)
