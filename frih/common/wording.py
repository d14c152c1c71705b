"""Words in messages and tables."""


def counted(number: int, noun: str) -> str:
    """As "1 image", "2 images"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """As "12 s", "12 min", "12.0 h", "12.0 days"."""
    if seconds > 48 * 3600:
        return f"{seconds / 86400:.1f} days"
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def printable(text: str) -> str:
    """A name from outside on one line: control characters, and bytes of a file name that are no text, become escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
