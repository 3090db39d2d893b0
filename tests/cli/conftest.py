from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from vgen_process import Finished, run_vgen


@pytest.fixture
def vgen(tmp_path: Path) -> Callable[..., Finished]:
    """Give tests :func:`run_vgen` in an empty folder."""
    return lambda *arguments, **options: run_vgen(*arguments, **{"cwd": tmp_path, **options})
