"""``python -m frih``: the command ``frih``, where it is not on the PATH."""

from frih.cli import main

main()
