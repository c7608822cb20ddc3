"""Counting tokens without a tokenizer: an approximation that learns from what a provider reports.

Exact counting would need the model's vocabulary, which tiktoken downloads at first use.
"""

from __future__ import annotations

from collections.abc import Iterable

from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately

# Latin text comes out near 1; Chinese or Thai near 4, as the approximation takes 4 characters for
# a token. Beyond these bounds a report is not believed.
LOWEST_RATIO = 0.5
HIGHEST_RATIO = 4.0

# An image is no text, however long its base64. Providers charge by its width and height: OpenAI 85
# to 1,445, Anthropic up to 1,600; which of them it is, and how they scale it, is not known here.
TOKENS_PER_IMAGE = 1_000

# Below this the provider's own frame around the messages outweighs the messages.
SMALLEST_LESSON = 200

# A tenth of the way to each report: a conversation in another language moves it within a few dozen
# turns, and a single odd report hardly at all.
SMOOTHING = 0.1


# What the approximation takes.
CHARS_A_TOKEN = 4


class TokenCounter:
    """Approximate tokens of messages, corrected by the ratio seen so far."""

    def __init__(self) -> None:
        self.ratio = 1.0

    def count(self, messages: Iterable[BaseMessage]) -> int:
        return round(_approximately(messages) * self.ratio)

    def count_text(self, text: str) -> int:
        """Of a part of a message."""
        return round(len(text) / CHARS_A_TOKEN * self.ratio)

    def learn(self, messages: Iterable[BaseMessage], reported: int) -> None:
        """A provider says that these messages were ``reported`` tokens."""
        messages = list(messages)
        if any(isinstance(message.content, list) for message in messages):
            return  # what of it was text can't be told from what its images cost
        approximate = _approximately(messages)
        if approximate < SMALLEST_LESSON or reported <= 0:
            return
        seen = min(max(reported / approximate, LOWEST_RATIO), HIGHEST_RATIO)
        self.ratio += SMOOTHING * (seen - self.ratio)


def _approximately(messages: Iterable[BaseMessage]) -> int:
    return count_tokens_approximately(messages, tokens_per_image=TOKENS_PER_IMAGE)
