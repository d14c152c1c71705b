"""Words in messages and tables."""


def counted(number: int, noun: str) -> str:
    """As "1 image", "2 images"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def printable(text: str) -> str:
    """A name from outside on one line: control characters, and bytes of a file name that are no text, become escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
