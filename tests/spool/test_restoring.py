"""A conversation put together from its card, from what memory has, and from a turn in hand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from memory.errors import Unavailable
from memory.records import Feedback, Position, Transcript, Turn, question_of
from spool.card import Card
from spool.restoring import WHOLE_TURNS, restored
from tests.spool.knowing import about, bare, card, closed_turn, open_turn, remembered


def turns_of(
    known: Card, transcript: Transcript | None, held: Turn | None = None, *, may_lack: bool = False
) -> list[Turn]:
    return restored(known, transcript, held, may_lack=may_lack)[1]


def numbers(turns: list[Turn]) -> list[tuple[int, int]]:
    return [(turn.n, turn.place) for turn in turns]


THREE = [closed_turn(1), closed_turn(2), closed_turn(3)]


def test_numbers_come_from_the_card_and_texts_from_memory() -> None:
    conversation, turns = restored(
        card(about(3), bare(THREE[2])), remembered(*THREE), None, may_lack=False
    )
    assert numbers(turns) == [(1, 1), (2, 2), (3, 3)]
    for turn, was in zip(turns, THREE, strict=True):
        assert (turn.id, turn.question, turn.answer) == (was.id, was.question, was.answer)
        assert (turn.answers, turn.open, turn.status) == (was.answers, False, "completed")
    assert conversation == about(3)


def test_what_a_user_thinks_of_an_answer_stays_with_it() -> None:
    liked = closed_turn(1, feedback=Feedback(value=1, comment="Right.", at=5))
    turns = turns_of(card(about(1), bare(closed_turn(1))), remembered(liked))
    assert [turn.feedback for turn in turns] == [liked.feedback]


def test_an_open_turn_is_as_its_card_has_it() -> None:
    running = open_turn(2, status="running")
    waiting = open_turn(3)
    known = card(about(1), bare(THREE[0]), running, waiting)
    conversation, turns = restored(known, remembered(THREE[0]), None, may_lack=False)
    assert numbers(turns) == [(1, 1), (2, 2), (3, 3)]
    assert turns[1:] == [running, waiting]
    # It may lag behind what has been accepted.
    assert conversation.position == Position(turn=3, answers=1)


def test_of_an_open_turn_memory_may_have_the_answer_and_the_card_decides() -> None:
    running = open_turn(2, status="running")
    answered = closed_turn(2)
    turns = turns_of(card(about(2), bare(THREE[0]), running), remembered(THREE[0], answered))
    assert turns[1] == running
    assert turns[0].answers == 1  # that of the open turn is counted when it ends


def test_a_turn_in_hand_is_known_better_than_the_card_knows_it() -> None:
    noted = open_turn(2, status="running")
    held = replace(noted, attempt=2, owner="slot-2:boot-1")
    known = card(about(2, 1), bare(THREE[0]), noted)
    assert turns_of(known, remembered(THREE[0]), held)[-1] == held
    unknown = open_turn(3)
    assert turns_of(known, remembered(THREE[0]), unknown)[-1] == unknown
    # Unless it is in hand since before the card was noted.
    before = replace(noted, attempt=0, status="queued")
    assert turns_of(known, remembered(THREE[0]), before)[-1] == noted


def test_what_stands_before_a_turn_that_has_run_is_closed_whatever_the_card_says() -> None:
    stale = open_turn(1, status="running")
    running = open_turn(2, status="running")
    turns = turns_of(card(about(2, 1), stale, running), remembered(THREE[0]))
    assert [turn.open for turn in turns] == [False, True]
    assert turns[0].answer == THREE[0].answer


def test_a_stale_open_turn_that_memory_does_not_know_is_a_gap() -> None:
    stale = open_turn(1, status="running")
    running = open_turn(2, status="running")
    with pytest.raises(Unavailable):
        turns_of(card(about(2, 1), stale, running), None)


def test_what_an_edit_has_superseded_is_left_out_though_the_card_still_has_it() -> None:
    running = open_turn(3, status="running")
    edit = open_turn(5, place=2, revision=1, rewrites=True, status="running")
    known = card(about(4, 2), bare(THREE[0]), bare(THREE[1]), running, open_turn(4), edit)
    conversation, turns = restored(known, remembered(THREE[0], edit), None, may_lack=False)
    assert numbers(turns) == [(1, 1), (5, 2)]
    assert turns[-1] == edit
    assert conversation.position == Position(revision=1, turn=2, answers=1)


def test_a_last_question_that_no_card_has_must_have_its_answer() -> None:
    """Else it may still be answered, on another server."""
    waiting = open_turn(2)
    assert len(turns_of(card(about(2)), remembered(*THREE[:2]))) == 2
    with pytest.raises(Unavailable):
        turns_of(card(about(2, 1)), remembered(THREE[0], waiting))


@pytest.mark.parametrize("since", [0, 1, 2])
@pytest.mark.parametrize("remembers", [True, False])
def test_after_an_edit_that_was_noted_nowhere_no_number_is_made_up(
    remembers: bool, since: int
) -> None:
    """This server has seen two turns. Another one has edited the first, and so many more were
    answered there; of that only the conversation's record was heard here."""
    edit = closed_turn(3, place=1, revision=1, rewrites=True, answers=1)
    more = [closed_turn(3 + n, place=1 + n, revision=1, answers=1 + n) for n in (1, 2)][:since]
    known = card(about(1 + since, revision=1), *THREE[:2])
    transcript = remembered(edit, *more) if remembers else None
    for may_lack in (True, False):
        with pytest.raises(Unavailable):
            turns_of(known, transcript, may_lack=may_lack)
    # Nor where not even that was heard, and memory tells of it.
    if remembers:
        with pytest.raises(Unavailable):
            turns_of(card(about(2), *THREE[:2]), transcript)


def test_numbers_after_edits_are_counted_back_from_the_last_one() -> None:
    # Places 1 to 3 were asked as 1, 5 and 6: the third question was edited, and then the second.
    after_edits = [
        closed_turn(1, revision=0),
        closed_turn(5, place=2, revision=2, answers=2),
        closed_turn(6, place=3, revision=2, answers=3),
    ]
    known = card(about(3, revision=2), bare(after_edits[2]))
    conversation, turns = restored(known, remembered(*after_edits), None, may_lack=False)
    assert [turn.place for turn in turns] == [1, 2, 3]
    assert turns[-1].n == 6
    assert len({turn.n for turn in turns}) == 3
    assert [turn.answers for turn in turns] == [1, 2, 3]
    assert conversation.position == Position(revision=2, turn=3, answers=3)


def test_a_card_that_lags_behind_memory_is_counted_on_from() -> None:
    edited = [closed_turn(4, place=1, answers=1), closed_turn(5, place=2, answers=2)]
    known = card(about(1, revision=0), bare(edited[0]))
    turns = turns_of(known, remembered(*edited))
    assert numbers(turns) == [(4, 1), (5, 2)]


def test_memory_that_lags_behind_the_card_is_not_all_of_it() -> None:
    with pytest.raises(Unavailable):
        turns_of(card(about(3), bare(THREE[2])), remembered(*THREE[:2]))
    # Also where nobody can be asked: an answer would be missing for good.
    with pytest.raises(Unavailable):
        turns_of(card(about(3), bare(THREE[2])), remembered(*THREE[:2]), may_lack=True)


def test_texts_that_this_process_has_seen_stand_in_for_memory() -> None:
    known = card(about(3), *THREE)
    for transcript in (None, remembered(*THREE[:2])):
        assert turns_of(known, transcript) == THREE


def test_without_memory_there_must_be_no_gap_unless_some_may_be_lacking() -> None:
    lacking = card(about(4), closed_turn(1), closed_turn(3), closed_turn(4))
    with pytest.raises(Unavailable):
        turns_of(lacking, None)
    # What stands before the gap would be out of order: it is left out as well.
    assert numbers(turns_of(lacking, None, may_lack=True)) == [(3, 3), (4, 4)]


@pytest.mark.parametrize("may_lack", [False, True])
def test_there_is_no_gap_before_what_is_open(may_lack: bool) -> None:
    """Others went on with it since, and nobody can say with what: as if nothing had been said in
    between, it would be shown, and the next question answered."""
    known = card(about(4), closed_turn(1), open_turn(4, status="running"))
    with pytest.raises(Unavailable):
        turns_of(known, None, may_lack=may_lack)
    assert numbers(turns_of(card(about(2), closed_turn(1), open_turn(2)), None)) == [(1, 1), (2, 2)]


def test_a_text_that_is_unknown_is_a_gap() -> None:
    known = card(about(3), closed_turn(1), bare(closed_turn(2)), closed_turn(3))
    with pytest.raises(Unavailable):
        turns_of(known, None)
    assert numbers(turns_of(known, None, may_lack=True)) == [(3, 3)]
    last_unknown = card(about(3), *THREE[:2], bare(THREE[2]))
    with pytest.raises(Unavailable):
        turns_of(last_unknown, None, may_lack=True)


def test_as_many_as_memory_keeps_are_enough() -> None:
    turns = [closed_turn(n) for n in range(11, 11 + WHOLE_TURNS)]
    assert turns_of(card(about(turns[-1].n), *turns), None) == turns
    with pytest.raises(Unavailable):
        turns_of(card(about(turns[-1].n), *turns[1:]), None)


def test_the_answer_whose_question_was_trimmed_is_left_out() -> None:
    turns = turns_of(card(about(3), bare(THREE[2])), remembered(*THREE, latest=5))
    assert numbers(turns) == [(2, 2), (3, 3)]
    assert [turn.answers for turn in turns] == [2, 3]


def test_a_question_that_is_missing_in_the_middle_is_a_gap() -> None:
    whole = remembered(*THREE)
    holed = replace(whole, messages=[each for each in whole.messages if each.seq != 3])
    with pytest.raises(Unavailable):
        turns_of(card(about(3), bare(THREE[2])), holed)


def test_a_turn_without_an_answer_is_one_that_was_stopped() -> None:
    silent = closed_turn(2, answer=None, answers=1)
    after = closed_turn(3, answers=2)
    turns = turns_of(card(about(3, 2), bare(after)), remembered(THREE[0], silent, after))
    assert [turn.status for turn in turns] == ["completed", "stopped", "completed"]
    assert turns[1].answer is None


def test_a_repeated_message_is_told_again_that_it_had_to_wait() -> None:
    known = replace(card(about(3), bare(THREE[2])), waited=frozenset({"turn-2"}))
    turns = turns_of(known, remembered(*THREE))
    assert [turn.accepted for turn in turns] == ["running", "queued", "running"]
    last_waited = card(about(3), replace(bare(THREE[2]), accepted="queued"))
    assert turns_of(last_waited, remembered(*THREE))[-1].accepted == "queued"


def test_one_that_was_stopped_before_those_that_wait_before_it_leaves_no_gap() -> None:
    waiting = open_turn(2)
    stopped = closed_turn(3, status="stopped", answer=None, answers=None, attempt=0)
    known = card(about(3, 1), waiting, bare(stopped))
    conversation, turns = restored(
        known, remembered(THREE[0], waiting, stopped), None, may_lack=False
    )
    assert numbers(turns) == [(1, 1), (2, 2), (3, 3)]
    # What it is counted as is only known when the one before it has ended.
    assert [turn.answers for turn in turns] == [1, None, None]
    assert conversation.position == Position(turn=3, answers=1)


def test_nor_does_it_where_this_process_alone_knows_the_texts() -> None:
    waiting = open_turn(2)
    stopped = closed_turn(3, status="stopped", answer=None, answers=None, attempt=0)
    known = card(about(3, 1), THREE[0], waiting, stopped)
    assert turns_of(known, None) == [THREE[0], waiting, stopped]
    first_waits = card(about(2, 0), open_turn(1), replace(stopped, n=2, place=2))
    assert numbers(turns_of(first_waits, None)) == [(1, 1), (2, 2)]
    with pytest.raises(Unavailable):
        turns_of(card(about(3, 1), waiting, stopped), None)


def test_numbers_that_are_known_are_counted_back_from() -> None:
    # The fourth question was edited while the third waited: it is number 5, and the third is 3.
    third, edit = closed_turn(3), closed_turn(5, place=4, revision=1, rewrites=True, answers=4)
    known = card(about(4, revision=1), third, bare(edit))
    turns = turns_of(known, remembered(*THREE, edit))
    assert numbers(turns) == [(1, 1), (2, 2), (3, 3), (5, 4)]


def test_a_conversation_in_which_nothing_was_said_is_known_whole() -> None:
    assert restored(card(about()), None, None, may_lack=False) == (about(), [])
    first = open_turn(1, status="running")
    assert turns_of(card(about()), None, first) == [first]


@pytest.mark.parametrize("may_lack", [False, True])
def test_a_card_that_only_tells_whose_it_is_is_not_enough(may_lack: bool) -> None:
    with pytest.raises(Unavailable):
        turns_of(card(about(3)), None, may_lack=may_lack)
    # There is a turn before the one that is known to be open.
    with pytest.raises(Unavailable):
        turns_of(card(about(2, 1), open_turn(2)), None, may_lack=may_lack)


def test_where_nothing_was_ever_edited_a_turns_number_is_its_place() -> None:
    conversation, turns = restored(card(about(3)), remembered(*THREE), None, may_lack=False)
    assert numbers(turns) == [(1, 1), (2, 2), (3, 3)]
    assert conversation.position == Position(turn=3, answers=3)
    with pytest.raises(Unavailable):  # its last number may be any
        turns_of(card(about(3, revision=1)), remembered(*THREE))
    with pytest.raises(Unavailable):  # memory lags
        turns_of(card(about(3)), remembered(*THREE[:2]))


def test_two_turns_of_one_number_do_not_fit_together() -> None:
    # Memory has a third turn that the card does not know, and the card another.
    known = card(about(2), bare(THREE[1]), open_turn(3, place=4))
    with pytest.raises(Unavailable):
        turns_of(known, remembered(*THREE), may_lack=True)


def test_a_message_of_no_place_is_none_of_the_transcripts() -> None:
    stray = replace(question_of(open_turn(9)), seq=None)
    whole = remembered(*THREE)
    known = Transcript(messages=[*whole.messages, stray], position=whole.position)
    assert numbers(turns_of(card(about(3), bare(THREE[2])), known))[-1] == (3, 3)
