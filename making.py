"""The parts of a server, each made from the settings and the parts below it."""

from __future__ import annotations

from pathlib import Path

from agent.chat import ChatAgent
from agent.finding import Finder
from agent.models import choose_model
from agent.own.making import make_own
from agent.tools.loading import load_tools
from agent.tools.tool import Tool
from embedded.store import EmbeddedStore
from memory import RedisConversationMemory
from mongo.client import DRIVERS
from mongo.store import MongoStore
from server import __version__
from server.chat_server import ChatServer
from server.choices import Choices
from server.facts import Facts
from server.identity.check import load_check
from server.identity.guest_secrets import GuestSecrets
from server.identity.identity import Identity
from server.limits import Limits
from server.observability.traced import traced, traced_store
from server.observability.traces import Traces
from server.settings import SYSTEM_PROMPT, Settings
from server.turns.slot import Slot
from server.workers.worker import Worker
from spool.store import SpooledStore
from stores.contract import Store

PAGE = Path(__file__).resolve().parent / "web" / "page" / "dist"


def make_traces(settings: Settings) -> Traces:
    if settings.otel_exporter_otlp_endpoint is None:
        return Traces()
    # Here, because nobody is to pay for loading it who has no collector (see main.py as well).
    from server.observability.otel import CollectedTraces

    return CollectedTraces(settings.otel_exporter_otlp_endpoint, __version__)


def make_store(settings: Settings, slot: Slot) -> Store:
    if settings.mongodb_uri:
        mongo = MongoStore(
            settings.mongodb_uri,
            settings.mongodb_database,
            driver=DRIVERS[settings.mongodb_driver],
            on_change=lambda away: store.changed(away),
        )
        store = SpooledStore(
            mongo,
            data_dir=settings.data_dir,
            slot=slot.folder,
            slot_id=slot.id,
            owner=slot.owner,
            lease_ms=int(settings.turn_lease_seconds * 1000),
            redis_url=settings.redis_url,
        )
        return store
    return EmbeddedStore(settings.data_dir / "mnemosio.db")


def make_memory(settings: Settings, store: Store) -> RedisConversationMemory:
    return RedisConversationMemory(
        max_messages_per_conversation=settings.memory_max_messages,
        redis_url=settings.redis_url,
        ttl_hours=settings.memory_ttl_hours,
        archive=store,
    )


def make_server(
    settings: Settings,
    slot: Slot,
    store: Store,
    memory: RedisConversationMemory,
    facts: Facts,
    agent: ChatAgent,
    finder: Finder,
    guests: GuestSecrets | None,
    worker: Worker | None,
    traces: Traces,
) -> ChatServer:
    return ChatServer(
        store=traced_store(store, traces),
        memory=traced(memory, "memory", traces),
        facts=facts,
        agent=agent,
        finder=finder,
        identity=make_identity(settings, guests),
        guests=guests,
        slot=slot,
        limits=make_limits(settings),
        redis_url=settings.redis_url,
        lease_seconds=settings.turn_lease_seconds,
        sweep_seconds=settings.turn_sweep_seconds,
        cors_origins=settings.cors_origins,
        trusted_proxies=settings.trusted_proxies,
        page=PAGE,
        worker=worker,
        traces=traces,
        choices=make_choices(settings),
    )


def make_choices(settings: Settings) -> Choices:
    # The default is worth a name only where there is another to choose.
    models = dict.fromkeys((settings.openai_model, *settings.models) if settings.models else ())
    return Choices(models=tuple(models), system_prompts=tuple(settings.system_prompts))


def make_limits(settings: Settings) -> Limits:
    return Limits(
        message_chars=settings.max_message_chars,
        attachments=settings.max_attachments,
        attachment_bytes=settings.max_attachment_bytes,
        attachment_bytes_per_user=settings.max_attachment_bytes_per_user,
        messages_per_minute=settings.rate_limit_messages_per_minute,
        calls_per_minute=settings.rate_limit_calls_per_minute,
        user_tokens_per_day=settings.user_tokens_per_day,
        tokens_per_day=settings.tokens_per_day,
        running_turns=settings.max_running_turns,
        queued_turns=settings.max_queued_turns,
        queued_turns_per_user=settings.max_queued_turns_per_user,
        turn_attempts=settings.turn_max_attempts,
        connections_per_user=settings.max_connections_per_user,
        connections_per_address=settings.max_connections_per_address,
        open_conversations=settings.max_open_conversations,
        calls_under_way=settings.max_calls_under_way,
        outbox_bytes=settings.max_outbox_bytes,
        connect_seconds=settings.connect_timeout_seconds,
    )


def make_finder(settings: Settings, store: Store) -> Finder:
    if settings.embedding_model is None:
        return Finder(store.search)
    # Here, because nobody is to pay for loading numpy who has no embedding model.
    from agent.embedding import make_meaning

    key = settings.embedding_api_key
    if key is None and settings.embedding_base_url in (None, settings.openai_base_url):
        key = settings.openai_api_key  # which is nobody else's business
    meaning = make_meaning(
        store.search,
        model=settings.embedding_model,
        api_key=key.get_secret_value() if key else None,
        base_url=settings.embedding_base_url or settings.openai_base_url,
    )
    return Finder(store.search, meaning)


def make_facts(settings: Settings, store: Store) -> Facts:
    return Facts(store.facts, store.conversations.positions, enabled=settings.user_memory)


async def make_agent(
    settings: Settings,
    store: Store,
    memory: RedisConversationMemory,
    facts: Facts,
    finder: Finder,
    traces: Traces,
) -> ChatAgent:
    key = settings.openai_api_key
    model = choose_model(
        api_key=key.get_secret_value() if key else None,
        base_url=settings.openai_base_url,
        model_name=settings.openai_model,
        idle_timeout=settings.turn_idle_timeout_seconds,
        others=settings.models,
    )
    tools: list[Tool] = []
    if settings.tools:
        tools = load_tools(settings.tools, Path.cwd(), timeout=settings.tool_timeout_seconds)
    own = None
    if settings.agent:
        own = await make_own(
            settings.agent,
            Path.cwd(),
            offers={"model": model.chat, "tools": [tool.plain for tool in tools]},
            idle_timeout=settings.turn_idle_timeout_seconds,
            traces=traces,
        )
    # An agent of one's own has its own; what was set all the same is meant for it.
    is_told = own is None or settings.system_prompt != SYSTEM_PROMPT
    return ChatAgent(
        memory,
        model,
        attachments=traced(store.attachments, "store.attachments", traces),
        system_prompt=settings.system_prompt if is_told else "",
        system_prompts=settings.system_prompts,
        context_token_budget=settings.context_token_budget,
        summary_every_turns=settings.summary_every_turns,
        idle_timeout=settings.turn_idle_timeout_seconds,
        titles=settings.titles,
        own=own,
        person=facts if facts.enabled else None,
        facts_token_budget=settings.user_memory_tokens,
        tools=tools,
        tool_max_rounds=settings.tool_max_rounds,
        finder=finder,
        recall=settings.recall,
        search=settings.search_tools,
        traces=traces,
    )


async def make_guest_secrets(settings: Settings, store: Store) -> GuestSecrets | None:
    """None where there are no guests, or where their secret is given."""
    if not settings.auth_allow_guests or settings.guest_secret:
        return None
    guests = GuestSecrets(store, settings.data_dir)
    await guests.load()
    return guests


def make_identity(settings: Settings, guests: GuestSecrets | None) -> Identity:
    jwt_secret = settings.auth_jwt_secret
    given = settings.guest_secret if settings.auth_allow_guests else None
    identity = Identity(
        guest_secret=given.get_secret_value() if given else None,
        jwt_secret=jwt_secret.get_secret_value() if jwt_secret else None,
        jwks_url=settings.auth_jwks_url,
        public_key=settings.auth_jwt_public_key,
        audience=settings.auth_jwt_audience,
        issuer=settings.auth_jwt_issuer,
        leeway_seconds=settings.auth_jwt_leeway_seconds,
        check=load_check(settings.auth_check, Path.cwd()) if settings.auth_check else None,
    )
    if guests is not None:
        identity.trust_guests_of(guests.current)
    return identity
