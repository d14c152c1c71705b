"""Counts what a recipe's network costs, part by part: parameters, multiply-adds, time and memory (Table 6 and more).

    python scripts/complexity.py [configs/frih.yaml configs/ablations/baseline.yaml ...] [--foreground 0.2] [--submasks 8]

--literal also measures the paper's second stage as it is printed, at full size for every submask, beside the "default", this
project's with the same weights and result; on a CPU that takes minutes. The image is noise; its foreground is a centred square
cut into bands. Real submasks are scattered and touch more tiles: benchmarks/model.py measures them. Time is the median of some
rounds, memory the most held at once beyond the model.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from frih import FRIH, __version__
from frih.common.devices import choose_device, device_name
from frih.common.errors import UserError, extra, run_command
from frih.common.files import write_whole
from frih.common.paths import path_argument
from frih.common.progress import progress_bar
from frih.config import Config
from frih.config.recipes import load_config
from frih.models import build_model

with extra("train"):
    from frih.evaluation.layout import Table
    from frih.evaluation.tables import efficiency
    from frih.tools.experiments.complexity import (
        Costs,
        Inputs,
        made_image,
        multiply_adds,
        parameters,
        peak_memory,
        seconds,
    )

BAR = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
FORMS = ("default", "literal")
PARTS = {"base": "base network", "cascade": "cascade", "head": "fusion head", "all": "all"}
COUNTS = (1, 2, 4, 8, 10)
SHARES = (0.05, 0.1, 0.2, 0.4, 1.0)


def main() -> int:
    """Measures what the command line names, prints it, and writes it."""
    args = parse()
    device = choose_device(args.device, "--device", kinds=("cuda",))
    where = device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    own = parameters(FRIH())["all"] / 1e6
    sections, measured = [efficiency({"FRIH, counted": (None, own, "")})], dict[str, Any]()
    configs = {str(recipe): load_config(recipe) for recipe in args.recipes}
    forms = {name: FORMS if args.literal and config.model.cascade else FORMS[:1] for name, config in configs.items()}
    with progress_bar(total=sum(measurements(forms[name], configs[name]) for name in configs), bar_format=BAR) as bar:
        for name, config in configs.items():
            inputs = made_image(config.data.size, args.foreground, args.submasks, device)
            found = measured[name] = {form: measure(config, form, inputs, args.rounds, bar) for form in forms[name]}
            sections.append(by_part(name, config, found, args.foreground, args.submasks))
            if config.model.cascade:
                grid = {form: against_image(config, form, bar) for form in forms[name]}
                sections.append(grid_table(grid))
                measured[name] = {**found, "grid": grid}
    heading = f"frih {__version__}, PyTorch {torch.__version__}, {platform.machine()}, {where}, float32, batch 1"
    print("\n\n".join([heading, *(section.folded() for section in sections)]))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        about = {"heading": heading, "foreground": args.foreground, "submasks": args.submasks}
        write_whole(args.out / "complexity.md", "\n\n".join([heading, *(one.markdown() for one in sections)]) + "\n")
        write_whole(args.out / "complexity.json", json.dumps({**about, "recipes": measured}, indent=2) + "\n")
        print(f"\nwritten: complexity.md, complexity.json in {args.out}")
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=path_argument, metavar="RECIPE", default=[Path("configs/frih.yaml")])
    parser.add_argument("--foreground", type=float, default=0.2, metavar="SHARE", help="of the image (default: 0.2)")
    parser.add_argument("--submasks", type=int, default=8, metavar="K", help="of the image (default: 8)")
    parser.add_argument("--literal", action="store_true", help="also the literal second stage, which takes minutes")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="measurements of time (default: 3)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument(
        "--out", type=path_argument, metavar="DIR", help="write complexity.md and complexity.json there"
    )
    args = parser.parse_args()
    if not 0 < args.foreground <= 1:
        raise UserError(f"--foreground: must be above 0 and at most 1, not {args.foreground}")
    if not 1 <= args.submasks <= 255 or args.rounds < 1:
        raise UserError("--submasks: must be 1 to 255; --rounds: 1 or more")
    return args


def measurements(forms: Sequence[str], config: Config) -> int:
    """Number of measurements of a recipe."""
    return sum(3 + len(COUNTS) * len(shares(form)) * config.model.cascade for form in forms)


def measure(config: Config, form: str, inputs: Inputs, rounds: int, bar: "tqdm[Any]") -> dict[str, Costs]:
    """Costs of a network in one form, by kind."""
    build = partial(_build, config, dense=form == "literal")
    model = build().to(inputs[0].device).eval()
    found = {"parameters": parameters(model)}
    for kind, measured in (
        ("multiply_adds", partial(multiply_adds, model, inputs)),
        ("seconds", partial(seconds, model, inputs, rounds)),
        ("bytes", partial(peak_memory, build, inputs)),
    ):
        bar.set_description(f"{form}: {kind.replace('_', '-')}")
        found[kind] = measured()
        bar.update()
    return found


def against_image(config: Config, form: str, bar: "tqdm[Any]") -> list[list[float]]:
    """Multiply-adds of the whole: a list for each K, by share of foreground."""
    model = _build(config, dense=form == "literal").eval()
    bar.set_description(f"{form}: other images")
    grid = []
    for count in COUNTS:
        grid.append(list[float]())
        for share in shares(form):
            grid[-1].append(multiply_adds(model, made_image(config.data.size, share, count))["all"])
            bar.update()
    return grid


def shares(form: str) -> tuple[float, ...]:
    """Shares of foreground to measure. The literal form does not depend on them."""
    return SHARES[:1] if form == "literal" else SHARES


def by_part(name: str, config: Config, found: dict[str, dict[str, Costs]], share: float, count: int) -> Table:
    """A line a part."""
    forms = list(found)
    lines = [
        [
            PARTS[part],
            f"{number / 1e6:.3f} M",
            *(f"{found[form]['multiply_adds'][part] / 1e9:.3f} G" for form in forms),
            *(f"{1e3 * found[form]['seconds'][part]:.1f} ms" for form in forms),
            *(f"{found[form]['bytes'][part] / 1e6:.0f} MB" if found[form]["bytes"] else "-" for form in forms),
        ]
        for part, number in found["default"]["parameters"].items()
    ]
    kinds = ("multiply-adds", "time", "memory")
    groups = ["parameters", *(f"{kind}, {form}" if len(forms) > 1 else kind for kind in kinds for form in forms)]
    title = f"{name}: an image of {config.data.size} x {config.data.size}, foreground {share:.0%}, K = {count}"
    return Table("", groups, [], lines, (), title)


def grid_table(grid: dict[str, list[list[float]]]) -> Table:
    """Multiply-adds against K and foreground."""
    rows = zip(*grid.values(), strict=True)
    lines = [
        [str(count), *(f"{value / 1e9:.2f} G" for row in both for value in row)]
        for count, both in zip(COUNTS, rows, strict=True)
    ]
    groups = [*(f"{share:.0%}" for share in SHARES), *[form for form in grid if form == "literal"]]
    return Table("K", groups, [], lines, (), "Multiply-adds by share of foreground")


def _build(config: Config, *, dense: bool) -> FRIH:
    model = config.model.model_copy(update={"dense": dense})
    return build_model(config.model_copy(update={"model": model}))


if __name__ == "__main__":
    run_command(main)
