"""Findings of the doctor.

Belongs here: the class. Does not belong here: the checks (doctor, process_checks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """The result of one check: a problem blocks work, a note does not; both have a fix."""

    about: str
    state: Literal["ok", "note", "problem"]
    said: str
    remedy: str = ""
