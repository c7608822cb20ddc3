"""What is done to a conversation where Redis is the only copy: one change, or several made in one.

While Redis is away changes pile up and are replayed afterwards. They are kept merged, so that what
waits for a conversation is never more than what the conversation may hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from memory.records import Message, Position, Summary, Transcript


@dataclass
class Change:
    messages: list[Message] = field(default_factory=list)
    counted: int = 0
    """Turns to count."""
    summary: str | None = None
    clear: bool = False
    """Clear the conversation before the rest."""
    token: str = ""
    """Tells it from every other change, so that it is done once however often it is sent: who makes
    it (16 hex digits) and which of theirs it is (16 more). Given when it is its turn."""
    sent: bool = False
    """It may have happened already: it is sent again as it is, and nothing is merged into it."""

    @property
    def only_clears(self) -> bool:
        return self.clear and not (self.messages or self.counted or self.summary is not None)

    def absorb(self, later: Change, max_messages: int) -> None:
        if later.clear:
            self.clear, self.messages, self.counted, self.summary = True, [], 0, None
        known = {message.id for message in self.messages}
        self.messages += [message for message in later.messages if message.id not in known]
        del self.messages[:-max_messages]
        self.counted += later.counted
        self.summary = self.summary if later.summary is None else later.summary


def applied(
    transcript: Transcript, change: Change, max_messages: int, *, answers: int | None = None
) -> Transcript:
    """The transcript after ``change``; ``answers`` is the count where Redis has told it."""
    if change.clear:
        transcript = Transcript(messages=[])
    known = {message.id for message in transcript.messages}
    new = [message for message in change.messages if message.id not in known]
    if answers is None:
        answers = transcript.position.answers + change.counted
    summary = transcript.summary
    if change.summary is not None:
        version = summary.version + 1 if summary else 1
        summary = Summary(text=change.summary, upto=0, turns=answers, version=version)
    here = transcript.position
    return Transcript(
        messages=[*transcript.messages, *new][-max_messages:],
        summary=summary,
        position=Position(revision=here.revision, turn=here.turn, answers=answers),
    )
