"""The page of scripts/demo.py as a Hugging Face Space; docs/demo.md says how to push it."""

from demo import build, serve

from frih import Harmonizer

serve(build(Harmonizer.load()))
