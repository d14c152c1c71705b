"""Words in messages and tables."""


def counted(number: int, noun: str) -> str:
    """As "1 image", "2 images"."""
    return f"{number} {noun}{'s' * (number != 1)}"
