"""The folder of the clone, from which templates, the image and the rehearsal take their files."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
