"""What the driver's errors mean for a caller."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import BulkWriteError

from memory.errors import Unavailable
from mongo.errors import wrapped

DISK_FULL, NO_SUCH_CODE = 14031, 9


@pytest.mark.parametrize(
    ("details", "passes"),
    [
        ({"writeConcernErrors": [{"code": 64}], "writeErrors": []}, True),
        ({"writeErrors": [{"index": 1, "code": DISK_FULL}]}, True),
        ({"writeErrors": [{"index": 1, "code": NO_SUCH_CODE}]}, False),
        ({}, False),
    ],
)
def test_a_group_of_writes_fails_as_one_of_them_would(
    details: dict[str, Any], passes: bool
) -> None:
    assert isinstance(wrapped(BulkWriteError(details)), Unavailable) is passes
