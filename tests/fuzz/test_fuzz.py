"""Whatever is said to it, the server answers clearly or hangs up, and serves the honest."""

from __future__ import annotations

from random import Random

from tests.fuzz import judging, values
from tests.fuzz.run import run


async def test_a_few_seconds_of_junk_find_nothing() -> None:
    outcome = await run(seed=20, seconds=4)
    assert not outcome.findings, str(outcome)
    assert outcome.served > 0
    assert len(outcome.attacks) > 5


def test_an_attack_is_made_of_its_seed_alone() -> None:
    def made(seed: str) -> list[str]:
        rng = Random(seed)
        return [values.text_of(values.call(rng, ["x"])) for _ in range(50)]

    assert made("1/1") == made("1/1")
    assert made("1/1") != made("1/2")


def test_what_is_wrong_with_an_answer_is_found() -> None:
    fine = {"code": "invalid", "message": "No.", "retryable": False}
    assert judging.of_answer([{"ok": True, "anything": 1}]) is None
    assert judging.of_answer([{"ok": False, "error": {**fine, "field": "title"}}]) is None
    for error in (
        {**fine, "code": "internal"},
        {**fine, "code": "made up"},
        {**fine, "message": 'Traceback (most recent call last):\n  File "x.py"'},
        {**fine, "message": "cannot connect to mongodb at 127.0.0.1:27017"},
        {**fine, "retryable": "no"},
        {**fine, "stack": "…"},
        {"code": "invalid"},
        "invalid",
    ):
        assert judging.of_answer([{"ok": False, "error": error}]), error
    for answer in (None, [], [1], [{}], [{"ok": 1}], [{"ok": True}, 1]):
        assert judging.of_answer(answer), answer
