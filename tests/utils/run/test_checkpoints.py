"""How far a run has come, as files say it."""

from dataclasses import fields

import pytest

from utils.run.checkpoints import Progress


@pytest.mark.parametrize("name", [field.name for field in fields(Progress)])
@pytest.mark.parametrize("value", [(1,), "1", None, float("nan")])
def test_nonsense_in_any_field_is_refused(name, value):
    with pytest.raises(ValueError, match="is no progress of a run"):
        Progress(**{name: value})
