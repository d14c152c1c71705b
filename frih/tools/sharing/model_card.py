"""The model card of shared weights: what they are, how to use them, and the figures of the run's own evaluations."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frih.common.errors import UserError
from frih.evaluation.layout import MAIN, figure, heading
from frih.evaluation.tables import WORSE
from frih.metrics import HARM, PAPER

STAGES = {"input_": "the composites as they are", "coarse_": "coarse (base network)", "": "**result**"}
"""What the figures of an evaluation are of, by their prefix."""

Summary = Mapping[str, Any]
"""An evaluation's ``summary.json``."""


def model_card(about: Mapping[str, Any], evaluations: Sequence[Summary], *, name: str = "USER/NAME") -> str:
    """A README in Markdown, with the metadata that the Hub reads.

    Args:
        about: the weights' description (:func:`frih.models.weights.describe`).
        evaluations: of these weights (:func:`find_evaluations`).
        name: the repository's name, for the examples.
    """
    config, step = about["config"], about["step"]
    trained_with = {key: config["train"][key] for key in ("epochs", "batch", "precision")}
    return f"""---
license: apache-2.0
library_name: frih
pipeline_tag: image-to-image
tags:
- image-harmonization
- image-composition
---

# FRIH: weights at step {step}

Image harmonization: the colours of a pasted foreground are adjusted until it belongs to its background. These are weights of an
open implementation of *FRIH: Fine-Grained Region-Aware Image Harmonization* (Peng, Luo, Liu, Zhang; AAAI 2024), not those of
the paper's authors.

| | |
| --- | --- |
| network | {_network(config["model"])} |
| works at | {config["data"]["size"]} x {config["data"]["size"]} pixels |
| recipe | {", ".join(f"{key} {value}" for key, value in trained_with.items())}; all of it in `config.json` |
| step | {step} |
| weights in | {about["precision"]} |
| made by | {", ".join(f"{key} {value}" for key, value in about["versions"].items())} |
| checkpoint's SHA-256 | `{about["source_sha256"]}` |

## Use

Install the software with its extra `hub` (in a checkout: `pip install ".[hub]"`):

```python
from frih import Harmonizer

harmonizer = Harmonizer.load("hf://{name}")  # or this folder
result = harmonizer("composite.jpg", "mask.png")
```

`model.safetensors` holds only numbers and text; loading it runs no code.

## Evaluation

{_evaluation(evaluations)}

## Limits

- It only changes colours inside the mask: no shadows, no reflections, no geometry, no new borders.
- It sees the image at {config["data"]["size"]} x {config["data"]["size"]} pixels.
- On images unlike those it was trained on it can make a composite worse. Look at the results.
- Figures of the same name differ between protocols: compare figures of one protocol only.

## Licence

Apache-2.0, as the software. The images that the weights were trained on have terms of their own.
"""


def find_evaluations(checkpoint: Path, step: int) -> tuple[Summary, ...]:
    """The evaluations in a run's folder that are of this checkpoint, at this step.

    Raises:
        UserError: a ``summary.json`` there cannot be read.
    """
    found = map(_read, sorted((checkpoint.parent.parent / "evaluation").rglob("summary.json")))
    wanted = (checkpoint.name, step)
    return tuple(
        one for one in found if (Path(str(one["about"].get("checkpoint"))).name, one["about"].get("step")) == wanted
    )


def _read(path: Path) -> Summary:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        summary = None
    if not (isinstance(summary, dict) and isinstance(summary.get("about"), dict)):
        raise UserError(f"{path}: is no summary of an evaluation; evaluate again, or remove it")
    return summary


def _network(model: Mapping[str, Any]) -> str:
    if not model["cascade"]:
        return "base network alone (the paper's *Baseline*)"
    return "base network and cascade" + (", with fusion" if model["fusion"] else ", without fusion")


def _evaluation(evaluations: Sequence[Summary]) -> str:
    if not evaluations:
        return "No evaluation was found with these weights, so there are no figures. `evaluate.py` makes them."
    return "\n\n".join(map(_table, evaluations))


def _table(summary: Summary) -> str:
    judged = any(score in cell for cell in summary["subsets"].values() for score in HARM)
    scores = MAIN if judged else PAPER
    lines = [["sub-dataset", "images", "", *map(heading, scores)], ["---", "---:", "---", *["---:"] * len(scores)]]
    for group, cell in summary["subsets"].items():
        for prefix, label in STAGES.items():
            if f"{prefix}mse" in cell:
                figures = [figure(metric, cell.get(prefix + metric)) for metric in scores]
                lines.append([group, str(cell["images"]), label, *figures])
    about, table = summary["about"], "\n".join("| " + " | ".join(line) + " |" for line in lines)
    size = f"{about.get('size')} x {about.get('size')} pixels" if isinstance(about.get("size"), int) else "own sizes"
    return (
        f"Split `{about.get('split')}`, {_without_folders(str(about.get('data')))}; protocol `{summary['protocol']}`, {size}:"
        f"\n\n{table}" + f"\n\n{WORSE}" * judged
    )


def _without_folders(text: str) -> str:
    """A text with each absolute path shortened to its last name: the folders of a machine are private."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in text.split(" "))
