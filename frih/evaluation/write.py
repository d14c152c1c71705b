"""Figures as JSON files."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frih.common.files import write_whole
from frih.evaluation.statistics import Difference, Interval


def as_json(found: Mapping[str, Mapping[str, Mapping[str, Interval | Difference]]]) -> dict[str, Any]:
    """The intervals of every group, by score; ends are null where there is none."""
    return {
        kind: {
            group: {score: finite(interval._asdict()) for score, interval in cell.items()}
            for group, cell in parts.items()
        }
        for kind, parts in found.items()
    }


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Values for JSON: NaN and infinity become null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON for people and programs."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
