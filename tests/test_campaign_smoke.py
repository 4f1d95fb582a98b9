"""A sample of every campaign in tests/campaigns: a few points each, so that it cannot rot unseen."""

from __future__ import annotations

from pathlib import Path

import campaign_page
from figures import Figures
from needs import needs_strace
from servers import serving
from shapes import quick_case
from test_kills import changing_points, kill_everywhere


def test_the_page_of_figures_is_what_the_results_make() -> None:
    assert campaign_page.main(["--check"]) == 0


def test_a_killed_run_damages_nothing(tmp_path: Path) -> None:
    needs_strace()
    shape, action = "single file, tied", "apply --replace"
    with quick_case(tmp_path, shape, action) as case, serving(tmp_path / "log") as server:
        points = changing_points(case, server)
        assert len(points) > 60
        late = [p for p in points if p.call in ("renameat2", "unlinkat")]
        kill_everywhere(case, server, (*points[::12], *late[::4]), Figures())
