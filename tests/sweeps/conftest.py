"""The images of all tests of sweeps."""

from __future__ import annotations

import pytest
from sweeps.sweep_images import prepared_digits

from housetrain.data.prepare import Prepared


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """300 threes and eights of 12x12 pixels."""
    return prepared_digits(tmp_path_factory.mktemp("digits"))
