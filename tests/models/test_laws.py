"""Every law of `tests.laws` for every layer and model."""

from __future__ import annotations

import pytest

from mpnn.testing import Law, Subject
from tests.laws import LAWS, SUBJECTS


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_law(law: Law, subject: Subject) -> None:
    law(subject)
