"""The model card of shared weights: how to use them, what they do to images, their limits, and what they were trained on."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frih.common.errors import UserError
from frih.common.wording import counted
from frih.evaluation.layout import heading, markdown_text
from frih.evaluation.statistics import LEVEL
from frih.evaluation.tables import RATIOS, WORSE
from frih.metrics import HARM, METRICS

SCORES = ("fmse", "psnr", "mse")
"""What the tables show of the composites and of the results."""
NOT_STATED = (
    "*Not stated: on which images these weights were trained, and under which licence these are. Whoever exports them says it "
    "with `scripts/export.py --about FILE`.*"
)

Summary = Mapping[str, Any]
"""An evaluation's ``summary.json``."""


class Facts(NamedTuple):
    """What a card says beyond the weights' own description."""

    evaluations: Mapping[str, Summary] = {}
    """Evaluations of these weights, by their titles."""
    training: str = ""
    """Markdown: what the weights were trained on, with the licence of the data."""
    examples: tuple[str, Sequence[Summary]] | None = None
    """The file of the sheet of images (:mod:`frih.tools.sharing.examples`), and the evaluations that they are of."""
    load: str = 'Harmonizer.load("hf://USER/NAME")  # or this folder'
    """Python that loads the weights."""
    parameters: int = 0
    size: int = 0
    """Of the file of weights, in bytes."""


def model_card(about: Mapping[str, Any], facts: Facts) -> str:
    """A README in Markdown, with the metadata that the Hub reads.

    Args:
        about: the weights' description (:func:`frih.models.weights.describe`), with the ``strength`` and the ``limits``, each
            with its ``text``, if they were measured.
        facts: everything else.
    """
    config, side = about["config"], about["config"]["data"]["size"]
    examples = f"\n{_examples(*facts.examples)}\n" if facts.examples else ""
    limits = "".join(f"\n- {markdown_text(limit['text'])}" for limit in about.get("limits", ()))
    strength = (
        f"\n| strength | {about['strength']:g} of the change, by default |" if about.get("strength", 1) < 1 else ""
    )
    return f"""---
license: apache-2.0
library_name: frih
pipeline_tag: image-to-image
tags:
- image-harmonization
- image-composition
---

# FRIH: weights for image harmonization

They adjust the colours of a pasted foreground until it belongs to its background. They are weights of an open implementation of
*FRIH: Fine-Grained Region-Aware Image Harmonization* (Peng, Luo, Liu, Zhang; AAAI 2024), not those of the paper's authors.
{examples}
## Use

```python
from frih import Harmonizer

harmonizer = {facts.load}
result = harmonizer("composite.jpg", "mask.png")
```

`model.safetensors` holds only numbers and text; loading it runs no code.

## Evaluation

{_evaluation(facts.evaluations, shrinks=bool(config["model"].get("shrink")))}

## Limits

- They only change colours inside the mask: no shadows, no reflections, no geometry, no new borders.
- They see the image at {side} x {side} pixels.{limits}
- On images unlike those they were trained on they can make a composite worse. Look at the results.

## Training

{facts.training.strip() or NOT_STATED}

| | |
| --- | --- |
| network | {_network(config["model"])} |
| parameters | {facts.parameters / 1e6:.2f} M |
| file | {facts.size / 1e6:.1f} MB, {about["precision"]} |
| works at | {side} x {side} pixels |{strength}
| recipe | {_recipe(config["train"])}; all of it in `config.json` |
| step | {about["step"]} |
| made by | {", ".join(f"{key} {value}" for key, value in about["versions"].items())} |
| SHA-256 of the checkpoint | `{about["source_sha256"]}` |

## Licence

The weights: Apache-2.0, as the software. The images that they were trained on have terms of their own.
"""


def find_evaluations(checkpoint: Path, step: int) -> dict[str, Summary]:
    """The evaluations in a run's folder that are of this checkpoint, at this step, by their folders' names.

    Raises:
        UserError: a ``summary.json`` there cannot be read.
    """
    folder = checkpoint.parent.parent / "evaluation"
    found = {path.parent.relative_to(folder).as_posix(): _read(path) for path in sorted(folder.rglob("summary.json"))}
    wanted = (checkpoint.name, step)
    return {
        name: one
        for name, one in found.items()
        if (Path(str(one["about"].get("checkpoint"))).name, one["about"].get("step")) == wanted
    }


def of_these_weights(folders: Mapping[str, Path], about: Mapping[str, Any]) -> dict[str, Summary]:
    """Evaluations of these weights, by their titles.

    Args:
        folders: by title.
        about: the weights' description.

    Raises:
        UserError: a ``summary.json`` is missing, cannot be read, or is of other weights.
    """
    found = {title: _read(folder / "summary.json") for title, folder in folders.items()}
    for title, one in found.items():
        if one["about"].get("sha256") != about["source_sha256"]:
            raise UserError(f"{folders[title]}: is no evaluation of these weights; evaluate them, or leave it out")
    return found


def _described(summary: Summary) -> str:
    """What was evaluated, without the folders of this machine: they are private."""
    words = str(summary["about"].get("data")).split(" ")
    return " ".join(Path(word).name if word.startswith("/") else word for word in words)


def _read(path: Path) -> Summary:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a folder that evaluate.py wrote") from None
    except ValueError:
        summary = None
    if not (isinstance(summary, dict) and isinstance(summary.get("about"), dict)):
        raise UserError(f"{path}: is no summary of an evaluation; evaluate again, or remove it")
    return summary


def _network(model: Mapping[str, Any]) -> str:
    if model["network"] != "frih":
        return str(model["network"])
    if not model["cascade"]:
        return "base network alone (the paper's *Baseline*)"
    return "base network and cascade" + (", with fusion" if model["fusion"] else ", without fusion")


def _recipe(train: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {train[key]}" for key in ("epochs", "batch", "precision"))


def _examples(path: str, evaluations: Sequence[Summary]) -> str:
    sets = "; ".join(markdown_text(_described(one)) for one in evaluations)
    return (
        f"![composites, masks, results and real images]({path})\n\nThree composites with the largest gain, then three with the "
        f"largest harm, by fMSE, each foreground once; of {sets}."
    )


def _evaluation(evaluations: Mapping[str, Summary], shrinks: bool) -> str:
    if not evaluations:
        return "No evaluation was found with these weights, so there are no figures. `evaluate.py` makes them."
    legend = (
        "From the composites as they are to the results; the better one is bold. In brackets: the result's interval "
        f"({100 * LEVEL:.0f} %, bootstrap over real photos). {WORSE} Compare figures of one protocol only."
    )
    return "\n\n".join([*(_table(title, one, shrinks) for title, one in evaluations.items()), legend])


def _table(title: str, summary: Summary, shrinks: bool) -> str:
    about, cells, found = summary["about"], summary["subsets"], summary.get("intervals", {}).get("subsets", {})
    size = f"{about['size']} x {about['size']} pixels" if isinstance(about.get("size"), int) else "own sizes"
    photos = f" ({counted(summary['photos'], 'photo')})" if "photos" in summary else ""
    scores = [*SCORES, *(score for score in HARM if score in cells["All"])]
    lines = [["", "images", *map(heading, scores)], ["---", "---:", *["---:"] * len(scores)]]
    for group, cell in cells.items():
        if len(cells) == 2 and group != "All":
            continue  # one sub-dataset, which is all
        figures = [_change(score, cell, found.get(group, {}).get(score)) for score in scores]
        lines.append([markdown_text(group), str(cell["images"]), *figures])
    what, protocol = markdown_text(_described(summary)), summary["protocol"]
    lead = f"**{markdown_text(title)}**{photos}: {what}; protocol `{protocol}`, {size}."
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    remarks = " ".join(filter(None, [_first_stage(cells["All"], found.get("All", {}), shrinks), _by_ratio(summary)]))
    return "\n\n".join(filter(None, [lead, table, remarks]))


def _change(score: str, cell: Mapping[str, float], interval: Mapping[str, float | None] | None) -> str:
    """As ``1700 → **816** [760, 880]``."""
    after, before = cell.get(score), cell.get(f"input_{score}")
    if after is None:
        return "-" if before is None else f"{_short(score, before)} → -"
    low, high = (interval.get("low"), interval.get("high")) if interval else (None, None)
    bracket = "" if low is None or high is None else f" [{_short(score, low)}, {_short(score, high)}]"
    if before is None:
        return f"{_short(score, after)}{bracket}"
    gain = (after - before) * (1 if METRICS[score].better == "higher" else -1)
    old, new = _short(score, before), _short(score, after)
    old, new = (f"**{old}**", new) if gain < 0 else (old, f"**{new}**") if gain > 0 else (old, new)
    return f"{old} → {new}{bracket}"


def _first_stage(cell: Mapping[str, float], intervals: Mapping[str, Mapping[str, float | None]], shrinks: bool) -> str:
    known = [score for score in SCORES if f"coarse_{score}" in cell]
    figures = [
        f"{heading(score)} {_change(f'coarse_{score}', cell, intervals.get(f'coarse_{score}'))}" for score in known
    ]
    alone = "The first stage alone, whose change `model.shrink` does not reduce" if shrinks else "The first stage alone"
    return f"{alone}: {', '.join(figures)}." if figures else ""


def _by_ratio(summary: Summary) -> str:
    """The harm by the foreground's size."""
    cells = {name: summary.get("ratios", {}).get(name, {}) for name in RATIOS}
    parts = [
        f"{name} %: {_short('worse_10', cell['worse_10'])} of {cell['images']}"
        for name, cell in cells.items()
        if "worse_10" in cell
    ]
    if len(parts) < 2:
        return ""
    return f"Worse by more than a tenth, by the foreground's share of the image: {'; '.join(parts)}."


def _short(score: str, value: float) -> str:
    """A figure with few digits: shares in percent, errors with three digits or whole."""
    if math.isnan(value):
        return "-"
    name = score.removeprefix("coarse_")
    if name in HARM:
        return f"{100 * value:.0f} %"
    if name == "psnr":
        return f"{value:.2f}"
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
