"""The command line, run in this process."""

from typing import Any

import pytest

Run = Any


@pytest.fixture
def normlab(normlab_command: Run) -> Run:
    """Run a command line in this process: exit code, standard output, standard error."""
    return normlab_command
