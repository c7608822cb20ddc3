"""Which embedding model there is, and how it is reached. Loaded only where there is one."""

from __future__ import annotations

import openai
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from agent.meaning import BATCH_TURNS, EmbeddedMeaning, VectorStore
from agent.models import NO_KEY, OPENAI_URL

_TIMEOUT = openai.Timeout(30.0, connect=2.0)


def make_meaning(
    store: VectorStore, *, model: str, api_key: str | None, base_url: str | None
) -> EmbeddedMeaning:
    """On any endpoint that speaks OpenAI's ``/embeddings``."""
    client = openai.DefaultAsyncHttpxClient(timeout=_TIMEOUT)
    embeddings = OpenAIEmbeddings(
        model=model,
        api_key=SecretStr(api_key or NO_KEY),
        base_url=base_url or OPENAI_URL,
        http_async_client=client,
        # It would count with OpenAI's vocabulary, which it downloads first.
        check_embedding_ctx_length=False,
        chunk_size=2 * BATCH_TURNS,
        max_retries=0,
        timeout=_TIMEOUT,
        # As numbers: not every endpoint knows base64, which the SDK asks for by itself.
        model_kwargs={"encoding_format": "float"},
    )
    return EmbeddedMeaning(store, embeddings, model, client.aclose)
