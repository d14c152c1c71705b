"""What was measured of weights and travels with them: their best strength, and the kinds of images on which they do harm.

``scripts/limits.py`` measures it and writes a file; ``scripts/export.py --limits`` puts it into the metadata of shared weights,
as ``strength`` and ``limits``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from frih.common.errors import UserError
from frih.common.files import sha256_of
from frih.config.keys import Ramp


def _on_one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text of one line was expected")
    return text


Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_on_one_line)]


class Limit(BaseModel):
    """A kind of composites on which weights do harm."""

    model_config = ConfigDict(strict=True, frozen=True)

    kind: Words
    """Its name: one of :data:`frih.harmonizing.kinds.KINDS`, or a category of a data set, which no image tells."""
    text: Words
    """A sentence for people."""
    images: Annotated[int, Field(ge=1, lt=2**53)]
    """Composites of this kind that were measured."""
    worse_10: Share
    """Share of them that were made worse by more than a tenth (fMSE)."""
    overall: Share
    """The same share of all composites."""


class Findings(BaseModel):
    """What was measured of weights; without a measurement, the network's whole change and no limits."""

    model_config = ConfigDict(strict=True, frozen=True)

    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of the network's change that is made by default."""
    limits: Annotated[list[Limit], Field(max_length=100)] = []


class Measured(Findings):
    """The file of a measurement."""

    shrink: Ramp | None = None
    """The value of ``model.shrink`` that was found, if the weights had none."""

    weights: str
    """SHA-256 of the measured file."""


def add_findings(content: Mapping[str, Any], path: Path, weights: Path) -> dict[str, Any]:
    """The content of a checkpoint with what was measured of it: ``findings`` for its metadata, and ``model.shrink``.

    Args:
        content: of :func:`frih.models.checkpoint.load_checkpoint`.
        path: ``limits.json`` of ``scripts/limits.py``.
        weights: the checkpoint's file, which was measured.

    Raises:
        UserError: the measurement is damaged, or of other weights.
    """
    try:
        found = Measured.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{path}: is no measurement of weights ({fault(error)}); call scripts/limits.py again"
        ) from None
    if found.weights != sha256_of(weights):
        raise UserError(f"{path}: was measured of other weights than {weights}; call scripts/limits.py with these")
    findings = found.model_dump(mode="json", exclude={"weights", "shrink"})
    if found.shrink is None:
        return {**content, "findings": findings}
    config = json.loads(content["config"])
    config["model"]["shrink"] = list(found.shrink)
    return {**content, "findings": findings, "config": json.dumps(config)}


def fault(error: ValidationError) -> str:
    """The first entry that is not as it must be, and why."""
    first = error.errors(include_input=False, include_url=False)[0]
    return ": ".join(filter(None, [".".join(str(part)[:80] for part in first["loc"]), first["msg"].lower()]))
