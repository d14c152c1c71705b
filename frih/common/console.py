"""What is printed arrives or is lost, but ends no work: where characters or whole streams are missing, and after ``| head``."""

import codecs
import io
import os
import sys
from typing import Any

_PLAIN = str.maketrans(
    {
        "↓": "v",
        "↑": "^",
        "→": ">",
        "←": "<",
        "−": "-",
        "–": "-",
        "·": ".",
        "…": ".",
        "†": "*",
        "‡": "#",
        "Δ": "d",
        "±": "~",
    }
)
"""What stands for a character that a stream's encoding lacks, one for one, so that tables stay aligned."""
_LACKING = "frih-plain"


def prepare_streams() -> None:
    """Makes stdout and stderr take every text of this process.

    A character that the encoding lacks is replaced. What is written to a stream that is closed, or whose reader has ended, is
    lost. Where stdout meets another error, such as a full disk, that is raised once; what comes after is lost.
    """
    codecs.register_error(_LACKING, _plain)
    sys.stdout = _prepared(sys.stdout, "stdout")
    sys.stderr = _prepared(sys.stderr, "stderr")


def _prepared(stream: Any, name: str) -> Any:
    if stream is None:  # closed, as by 2>&-
        return open(os.devnull, "w", encoding="utf-8", errors=_LACKING)  # noqa: PTH123
    if stream is not getattr(sys, f"__{name}__"):  # a program around this one replaced it
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(stream.fileno(), name)),
        encoding=stream.encoding,
        errors=_LACKING,
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Lasting(io.FileIO):
    """A descriptor that takes whatever is written, though it may be lost."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.label, self.lost = name, False

    def write(self, content: Any, /) -> int:
        if not self.lost:
            try:
                return super().write(content) or 0
            except OSError as error:
                self.lost = True
                if self.label == "stdout" and not isinstance(error, BrokenPipeError):
                    raise OSError(error.errno, error.strerror, self.label) from None
        return len(content)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replaces characters by those of :data:`_PLAIN`, and others by their escapes in Python."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
