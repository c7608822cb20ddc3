"""An embedding model that is a table of words' vectors: ``wordllama``'s, for the benchmark only."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from agent.meaning import EmbeddedMeaning, packed
from benchmarks.report import Missing
from memory.records import Turn
from stores.contract import Store

NAME = "wordllama"


class WordVectors(Embeddings):
    """A text's vector is the mean of its words'. Raises ``Missing``."""

    def __init__(self) -> None:
        package = find_spec("wordllama")
        if package is None or package.origin is None:
            raise Missing("wordllama is not installed")
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        folder = Path(package.origin).parent
        tokenizer = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
        weights = load_file(folder / "weights" / "l2_supercat_256.safetensors")
        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        self._table = next(iter(weights.values())).astype(np.float32)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        encoded = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [
            [float(x) for x in self._table[each.ids].mean(axis=0)] if each.ids else []
            for each in encoded
        ]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


async def meaning_of(store: Store, user_id: str, turns: Sequence[Turn]) -> EmbeddedMeaning:
    """With vectors of all these turns."""
    model = WordVectors()
    for turn in turns:
        answer = turn.answer.content if turn.answer else ""
        question, reply = model.embed_documents([turn.question.content, answer or " "])
        await store.search.keep_vectors(turn, NAME, packed(question), packed(reply))

    async def close() -> None:
        return None

    return EmbeddedMeaning(store.search, model, NAME, close)
