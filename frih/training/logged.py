"""A line of a run's log, ``metrics.jsonl``, as it must be read.

It is not with the logger, because importing TensorBoard takes seconds.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, ConfigDict, TypeAdapter

Logged: TypeAlias = dict[str, Any]
"""``step``, and figures by name. One that was not finite is None; a list is a histogram."""


def _with_step(line: Logged) -> Logged:
    step = line.get("step")
    if not (isinstance(step, int) and 0 <= step < 2**53):
        raise ValueError("has no step")
    return line


_Figure = int | float | list[int | float] | None
LOGGED: TypeAdapter[Logged] = TypeAdapter(
    Annotated[dict[str, _Figure], AfterValidator(_with_step)], config=ConfigDict(strict=True, allow_inf_nan=False)
)
