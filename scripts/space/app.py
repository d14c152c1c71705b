"""The page of scripts/demo.py as a Hugging Face Space; docs/demo.md says how to push it."""

from demo import build, serve, temporary_files

from frih import Harmonizer

with temporary_files():  # removed when the Space stops
    serve(build(Harmonizer.load()))
