"""Every law of `tests.laws` for every layer and model."""

from __future__ import annotations

import pytest

from tests.laws import LAWS, SUBJECTS, Law, Subject


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__.replace("_", " "))
def test_law(law: Law, subject: Subject) -> None:
    law(subject)
