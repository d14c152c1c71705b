"""The model card of shared weights: what they are, how to use them, and the figures of the run's own evaluations, no others."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frih.common.errors import UserError
from frih.evaluation.layout import MAIN, figure, heading
from frih.evaluation.tables import WORSE
from frih.metrics import HARM, PAPER

STAGES = {"input_": "the composites as they are", "coarse_": "coarse (base network)", "": "**result**"}
"""What an evaluation has figures of, by the prefix of their names."""

Summary = Mapping[str, Any]
"""An evaluation's ``summary.json``."""


def model_card(about: Mapping[str, Any], evaluations: Sequence[Summary], *, name: str = "USER/NAME") -> str:
    """A README in Markdown, under the metadata that the Hub reads.

    Args:
        about: of the weights, as :func:`frih.models.weights.describe` makes it.
        evaluations: of these weights; see :func:`find_evaluations`.
        name: of the repository, for the examples.
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

With the software and its extra `hub` installed (in a checkout: `pip install ".[hub]"`):

```python
from frih import Harmonizer

harmonizer = Harmonizer.load("hf://{name}")  # or this folder
result = harmonizer("composite.jpg", "mask.png")
```

`model.safetensors` holds numbers and text alone; loading it runs no code.

## Evaluation

{_evaluation(evaluations)}

## Limits

- It changes colours inside the mask, and nothing else: no shadows, no reflections, no geometry, no borders cut anew.
- It sees the image at {config["data"]["size"]} x {config["data"]["size"]} pixels.
- It has learnt from the images it was trained on; on others it can make a composite worse. Look at what it makes.
- Figures of the same name differ between evaluators: compare those of one protocol alone.

## Licence

Apache-2.0, as the software. The images that the weights were trained on have terms of their own.
"""


def find_evaluations(checkpoint: Path, step: int) -> tuple[Summary, ...]:
    """The evaluations of a run's checkpoint: those in the run's folder that say they are of it, at this step.

    Raises:
        UserError: a ``summary.json`` there cannot be read.
    """
    paths = sorted((checkpoint.parent.parent / "evaluation").rglob("summary.json"))
    return tuple(summary for summary in map(_read, paths) if _is_of(summary, checkpoint, step))


def _read(path: Path) -> Summary:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        summary = None
    if not (isinstance(summary, dict) and isinstance(summary.get("about"), dict)):
        raise UserError(f"{path}: is no summary of an evaluation; evaluate again, or remove it")
    return summary


def _is_of(summary: Summary, checkpoint: Path, step: int) -> bool:
    about = summary["about"]
    return Path(str(about.get("checkpoint"))).name == checkpoint.name and about.get("step") == step


def _network(model: Mapping[str, Any]) -> str:
    if not model["cascade"]:
        return "base network alone (the paper's *Baseline*)"
    return "base network and cascade" + (", with fusion" if model["fusion"] else ", without fusion")


def _evaluation(evaluations: Sequence[Summary]) -> str:
    if not evaluations:
        return "None was found beside these weights, so there are no figures here. `evaluate.py` makes them."
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
    """Folders of one's own machine are nobody else's business: their last names stand for them."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in text.split(" "))
