"""Which tests share what is slow to set up, and so go to one worker.

pytest-xdist has a mark for that, which says nothing any more: it is written into an attribute of a test that pytest
does not read since 9.2. So whoever hands tests out is told by their names. Long forms are in no group: there are many
of them, and each is worth a setup of its own.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

GROUPS = {
    "tests/acceptance/test_page_in_browser.py": "a run and a browser",
    "tests/local/test_local_llama.py": "a model",
    "tests/torture/test_disks.py::test_a_disk_that_fails_in_mid_run": "whole runs",
    "tests/torture/test_disks.py::test_a_file_system_that_became_read_only": "whole runs",
    "tests/torture/test_disks.py::test_a_small_file_system_fills_up": "whole runs",
    "tests/torture/test_kills_everywhere.py::test_a_few_kills_spread_over_the_kinds": "whole runs",
}


def group_of(name: str) -> str | None:
    """The group of a test, or of all in a file; None where it may run anywhere."""
    return next((group for beginning, group in GROUPS.items() if name.startswith(beginning)), None)


class _Grouped(LoadGroupScheduling):  # type: ignore[misc] # xdist has no types
    """What is in a group goes to one worker; everything else to whoever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid) or nodeid


def scheduler(config: pytest.Config, log: Any) -> LoadGroupScheduling | None:
    """What hands tests out; None, for xdist's own choice, where groups were not asked for."""
    return _Grouped(config, log) if config.getvalue("dist") == "loadgroup" else None
