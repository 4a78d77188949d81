"""The sources, sentence by sentence: which study asks each, and what came out."""

from normlab.sentences.rows import Asked, Row
from normlab.sentences.scoreboard import Scoreboard
from normlab.sentences.setups import StudyScale

__all__ = ["Asked", "Row", "Scoreboard", "StudyScale"]
