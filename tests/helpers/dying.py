"""Ends the process at a moment that does not depend on how busy the machine is."""

import os
import signal
import sys
from pathlib import Path

import cde_retrievers

LIBRARY = str(Path(cde_retrievers.__file__).parent)


def die_after(lines: int) -> None:
    """Kill this process once this thread has run so many lines of the library, in functions that are still to begin."""

    def count(frame, event, argument):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        lines -= event == "line"
        if lines < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return count

    sys.settrace(count)
