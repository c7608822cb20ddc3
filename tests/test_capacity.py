"""The capacity benchmark: what is held, what is looked for, and how it is shown."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.capacity import chart, peers, report
from benchmarks.capacity.generator import Seen
from benchmarks.capacity.levels import Result
from benchmarks.capacity.search import Found, search
from benchmarks.report import Missing


def seen_at(users: int, *, rate: float = 1.0, gap: float = 0.05, foreign: float = 0.0) -> Result:
    cpu = {"server": 0.5, "provider": 0.1, "generator": 0.1, "foreign": foreign}
    tokens = round(users * 50 * 10 * rate)
    times = (0.01, 0.02), (0.02, gap), (0.001, 0.002)
    return Result(Seen(users, 10.0, tokens, tokens, users, *times, 0, {}, cpu, 1e8, False))


def test_what_is_not_in_real_time_says_why() -> None:
    assert seen_at(50).is_real_time
    assert seen_at(50, rate=0.9, gap=0.3).faults == ["90% of the pace", "gaps of 300 ms"]


def test_the_users_held_are_those_below_the_first_failure() -> None:
    found = Found({50: [seen_at(50)], 100: [seen_at(100, rate=0.5)], 200: [seen_at(200)]})
    assert found.held == 50
    assert Found({50: [seen_at(50, gap=1.0)]}).held == 0


def test_most_passes_decide_and_a_disturbed_one_only_where_all_were() -> None:
    bad, disturbed = seen_at(50, rate=0.5), seen_at(50, rate=0.5, foreign=1.0)
    for passes, held in (
        ([seen_at(50), bad, seen_at(50)], 50),
        ([bad, bad, seen_at(50)], 0),
        ([disturbed, disturbed, seen_at(50)], 50),
        ([disturbed], 0),
    ):
        assert Found({50: passes}).held == held


@pytest.mark.parametrize(
    ("holds", "bisections", "levels"),
    [
        pytest.param(1_000, 2, [50, 200, 400], id="all"),
        pytest.param(310, 0, [50, 200, 400], id="no bisection"),
        pytest.param(370, 2, [50, 200, 400, 600, 300, 350], id="not yet saturated"),
        pytest.param(310, 2, [50, 200, 400, 300, 350], id="between"),
        pytest.param(20, 9, [50, 25, 10, 20], id="below the first"),
    ],
)
def test_a_search_rises_to_the_first_failure_and_looks_far_above_and_below_it(
    holds: int, bisections: int, levels: list[int]
) -> None:
    found = Found()
    for users in search(found, [50, 200, 400], bisections):
        found.results[users] = [seen_at(users, rate=min(1.0, holds / users))]
    assert list(found.results) == levels


def test_the_table_has_what_was_measured_and_names_who_is_left_out() -> None:
    found = {
        "ours": Found({50: [seen_at(50)], 200: [seen_at(200)]}),
        "plain": Found({20: [seen_at(20)], 50: [seen_at(50, rate=0.5)]}),
        "direct": Found({50: [seen_at(50)]}),
    }
    rows = {row.what: row for row in report.rows(found, {"node": "there is no Node with npm"})}
    users = rows["users in real time"]
    assert (users.here, users.floors[0].value) == (200, 20)
    assert users.lines()[1].endswith("bare Node left out: there is no Node with npm")
    assert rows["tokens a second at most"].here == 10_000
    cpu = rows["server CPU for 1,000 tokens, at these users"]
    assert (cpu.here, cpu.floors[0].value, cpu.floors[0].ratio) == (50, 500, 0.1)
    assert rows["200 users: lag of a token, p99"].floors == ()
    assert not rows["tokens lost or doubled"].is_fault
    del found["ours"].results[200]
    assert "200 users: lag of a token, p99" not in {row.what for row in report.rows(found, {})}


def test_the_chart_is_a_picture_of_the_values() -> None:
    drawn = chart.drawn({"Users < all": {"ours": 400.0, "other": 100.0}}, "ours", "a note")
    root = ElementTree.fromstring(drawn)
    name = "{http://www.w3.org/2000/svg}"
    bars = [float(bar.attrib["width"]) for bar in root.iter(f"{name}rect")]
    assert math.isclose(bars[0], 4 * bars[1], rel_tol=0.01)
    texts = [text.text for text in root.iter(f"{name}text")]
    assert texts == ["Users < all", "ours", "400", "other", "100", "a note"]


async def test_a_peer_is_installed_once_and_again_when_its_versions_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peers, "PEERS", tmp_path / "peers")
    (tmp_path / "peers" / "some").mkdir(parents=True)
    versions = tmp_path / "peers" / "some" / "versions"
    versions.write_text("1")
    count = ["sh", "-c", "echo . >> count"]
    for wanted, installed in (("1", 1), ("1", 1), ("2", 2)):
        versions.write_text(wanted)
        folder = await peers.installed("some", "versions", count)
        assert (folder / "count").read_text().count(".") == installed
    versions.write_text("3")
    with pytest.raises(Missing, match="some could not be installed"):
        await peers.installed("some", "versions", ["false"])
