"""The settings: read once from the environment and ``.env``, all checked before anything starts.

The only reader of the environment (but for ``memory``'s own lazily opened default object). A limit
of 0 is switched off. A field's description says what its value may be; it is the second half of the
line that names a bad one, so it is written to stand after "must be".
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticUseDefault
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server import urls
from server.identity.keys import KeyRefused, load_public_key
from server.system_prompts import MAX_NAME_CHARS, PromptsRefused, read_system_prompts

HOME = Path(__file__).resolve().parent.parent

JWT_SETTINGS = (
    "auth_jwt_secret",
    "auth_jwks_url",
    "auth_jwt_public_key",
    "auth_check",
    "auth_jwt_audience",
    "auth_jwt_issuer",
)
"""Where one of these is set, users are meant to sign in: guests are then let in only when asked."""

HIDDEN = (
    "openai_api_key",
    "embedding_api_key",
    "auth_jwt_secret",
    "auth_jwt_public_key",
    "guest_secret",
)
"""Never shown: secrets, and where somebody may have put the private key by mistake."""

# RFC 7518 asks of an HS256 key as many bytes as its hash has; shorter ones can be guessed offline.
STRONG_SECRET_BYTES = 32

NAMED = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
"""Something of the operator's own code, as module:attribute."""

SYSTEM_PROMPT = (
    "You are a helpful assistant. Answer in the language of the question, and say so when you "
    "don't know something."
)


class SettingsError(Exception):
    """Some settings are not usable."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        """One line each: the setting, what it was, what it may be. No secrets in them."""


def _whole(default: int, least: int, most: int) -> Any:
    what = f"a whole number from {least} to {most}"
    return Field(default, ge=least, le=most, description=what)


def _number(default: float, least: float, most: float, unit: str = "seconds") -> Any:
    what = f"a number of {unit} from {least:g} to {most:g}"
    return Field(default, ge=least, le=most, allow_inf_nan=False, description=what)


def _listed(value: object) -> object:
    """What is separated by commas."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _prompts(value: object) -> object:
    return read_system_prompts(Path(value)) if isinstance(value, str) else value


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    origins = [part.strip().rstrip("/") for part in value.split(",")]
    return tuple(origin for origin in origins if origin)


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, env_file_encoding="utf-8-sig", hide_input_in_errors=True
    )

    host: str = Field(
        "127.0.0.1",
        pattern=r"^[A-Za-z0-9_.:%-]+$",
        description="an address or host name to listen on, such as 127.0.0.1 or 0.0.0.0",
    )
    port: int = _whole(8000, 0, 65535)
    workers: int = _whole(1, 1, 64)
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        (), description="addresses or networks such as 127.0.0.1,10.0.0.0/8, separated by commas"
    )

    redis_url: str = Field(
        "redis://localhost:6379/0",
        repr=False,
        description="redis:// or rediss:// (TLS), such as redis://user:password@host:6379/0; after "
        "a ? db, client_name and, with TLS, ssl_… options such as ssl_ca_certs",
    )
    memory_max_messages: int = _whole(50, 1, 10_000)
    memory_ttl_hours: float = _number(24, 0.001, 8_760, "hours")
    summary_every_turns: int = _whole(10, 0, 10_000)
    context_token_budget: int = _whole(8_000, 0, 10_000_000)
    user_memory: bool = Field(False, description="true or false")
    user_memory_tokens: int = _whole(500, 50, 100_000)

    mongodb_uri: str | None = Field(
        None,
        repr=False,
        description="mongodb:// or mongodb+srv://, such as mongodb://user:password@host:27017",
    )
    mongodb_database: str = Field(
        "mnemosio",
        pattern=r"^[^/\\. \"$*<>:|?\x00-\x1f]{1,63}$",
        description='a database name: 1 to 63 characters, none of / \\ . " $ * < > : | ? or space',
    )
    mongodb_driver: Literal["pymongo", "motor"] = Field("pymongo", description="pymongo or motor")
    data_dir: Path = Field(HOME / "data", description="a directory, or where one can be made")

    openai_api_key: SecretStr | None = Field(None, description="a key without spaces")
    openai_base_url: str | None = Field(
        None, repr=False, description="http:// or https://, such as https://api.openai.com/v1"
    )
    openai_model: str = Field("gpt-4.1-mini", description="a model's name")
    tools: str | None = Field(
        None,
        pattern=NAMED,
        description="module:list, such as myproject.tools:tools",
    )
    tool_timeout_seconds: float = _number(30, 0.1, 3_600)
    tool_max_rounds: int = _whole(8, 1, 100)
    titles: bool = Field(True, description="true or false")
    recall: bool = Field(True, description="true or false")
    search_tools: bool = Field(True, description="true or false")
    embedding_model: str | None = Field(None, description="a model's name")
    embedding_base_url: str | None = Field(
        None, repr=False, description="http:// or https://, such as http://localhost:11434/v1"
    )
    embedding_api_key: SecretStr | None = Field(None, description="a key without spaces")
    system_prompt: str = Field(SYSTEM_PROMPT, repr=False, description="some text")
    models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        (), description="names of models, of up to 128 characters, separated by commas"
    )
    system_prompts: Annotated[Mapping[str, str], NoDecode, BeforeValidator(_prompts)] = Field(
        {}, repr=False, description='a file of TOML lines such as pirate = "Talk like a pirate."'
    )
    agent: str | None = Field(
        None,
        pattern=NAMED,
        description="module:attribute, such as myproject.agent:graph",
    )

    auth_jwt_secret: SecretStr | None = Field(None, description="some secret text")
    auth_jwks_url: str | None = Field(
        None, description="http:// or https://, such as https://example.com/.well-known/jwks.json"
    )
    auth_jwt_public_key: str | None = Field(
        None,
        description="a public key as PEM text: RSA of 2048 bits or more, EC P-256 or Ed25519; "
        "and unset where AUTH_JWKS_URL is set",
    )
    auth_check: str | None = Field(
        None,
        pattern=NAMED,
        description="module:function, such as myproject.auth:check",
    )
    auth_jwt_audience: str | None = Field(None, description="some text")
    auth_jwt_issuer: str | None = Field(None, description="some text")
    auth_jwt_leeway_seconds: float = _number(10, 0, 300)
    # Derived from the fields above it where unset, so it stands below them.
    auth_allow_guests: bool = Field(
        default_factory=lambda data: all(data[name] is None for name in JWT_SETTINGS),
        validate_default=True,
        description="true, or false where AUTH_JWT_SECRET, AUTH_JWKS_URL, AUTH_JWT_PUBLIC_KEY or "
        "AUTH_CHECK is set (nobody could connect otherwise)",
    )
    guest_secret: SecretStr | None = Field(None, description="some secret text")
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = Field(
        (), description='origins such as https://example.com, separated by commas, or "*"'
    )

    max_message_chars: int = _whole(100_000, 0, 1_000_000)
    max_attachments: int = _whole(4, 0, 8)  # 0: none are taken
    max_attachment_bytes: int = _whole(700_000, 0, 1_000_000)
    max_attachment_bytes_per_user: int = _whole(100_000_000, 0, 10**12)
    max_running_turns: int = _whole(1_000, 0, 1_000_000)
    max_queued_turns: int = _whole(20, 0, 10_000)
    max_queued_turns_per_user: int = _whole(100, 0, 100_000)
    max_connections_per_user: int = _whole(50, 0, 1_000_000)
    max_connections_per_address: int = _whole(0, 0, 1_000_000)
    max_open_conversations: int = _whole(100, 0, 100_000)
    max_calls_under_way: int = _whole(100, 0, 100_000)
    max_outbox_bytes: int = _whole(4_000_000, 0, 1_000_000_000)
    rate_limit_messages_per_minute: int = _whole(60, 0, 1_000_000)
    rate_limit_calls_per_minute: int = _whole(1_200, 0, 1_000_000)
    user_tokens_per_day: int = _whole(0, 0, 1_000_000_000_000)
    tokens_per_day: int = _whole(0, 0, 1_000_000_000_000)
    connect_timeout_seconds: float = _number(10, 0, 3_600)
    turn_lease_seconds: float = _number(10, 0.5, 3_600)
    turn_sweep_seconds: float = _number(0.7, 0.05, 60)
    turn_max_attempts: int = _whole(10, 0, 1_000)
    turn_idle_timeout_seconds: float = _number(60, 0, 3_600)
    drain_grace_seconds: float = _number(10, 0, 3_600)

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field("info", description="debug, info, warning or error")
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = Field(
        "text", description="text or json"
    )

    otel_exporter_otlp_endpoint: str | None = Field(
        None, repr=False, description="http:// or https://, such as http://localhost:4318"
    )

    @property
    def warnings(self) -> list[str]:
        """What to log at the start: weak settings."""
        lines = []
        for name in ("auth_jwt_secret", "guest_secret"):
            secret: SecretStr | None = getattr(self, name)
            text = secret.get_secret_value() if secret else ""
            if text.lstrip().startswith("-----BEGIN"):
                lines.append(f"{name.upper()} is a PEM key: AUTH_JWT_PUBLIC_KEY is for those")
            elif text and len(text.encode()) < STRONG_SECRET_BYTES:
                lines.append(f"{name.upper()} is short: {STRONG_SECRET_BYTES} bytes are advised")
        if not (self.openai_api_key or self.openai_base_url):
            lines += self._without_provider()
        return lines + self._open_doors()

    def _without_provider(self) -> list[str]:
        """What is set, and comes to nothing while the demo model is all there is."""
        lines = []
        if self.tools and not self.agent:  # an agent that asks for no tools is told of later
            lines.append("TOOLS is not used: the demo model takes none. Set OPENAI_API_KEY")
        if self.models and not self.agent:
            lines.append("MODELS is offered, but the demo model answers. Set OPENAI_API_KEY")
        if self.user_memory and self.agent:
            lines.append("USER_MEMORY notes nothing: it takes a model. Set OPENAI_API_KEY")
        if self.embedding_model and not (self.embedding_api_key or self.embedding_base_url):
            lines.append("EMBEDDING_MODEL has no provider: set EMBEDDING_BASE_URL or a key")
        return lines

    def _open_doors(self) -> list[str]:
        """Each setting is sound by itself; together they let in more than one may have meant."""
        lines = []
        if self.auth_allow_guests and self.openai_api_key and not _is_loopback(self.host):
            lines.append(
                f"Anyone who reaches HOST {self.host} can spend your OPENAI_API_KEY as a guest: "
                "set AUTH_ALLOW_GUESTS=false and one of AUTH_JWT_SECRET, AUTH_JWKS_URL, "
                "AUTH_JWT_PUBLIC_KEY or AUTH_CHECK; or HOST=127.0.0.1"
            )
        if self.auth_check:
            unread = [name.upper() for name in JWT_SETTINGS[:3] if getattr(self, name)]
            if unread:
                lines.append(f"AUTH_CHECK decides alone: {', '.join(unread)} is not used")
            if "*" in self.cors_origins:
                lines.append(
                    "CORS_ORIGINS=* with AUTH_CHECK: pages of any site may connect; your check is "
                    "shown their token, but no cookies. Name the sites instead"
                )
        if any(ipaddress.ip_network(network).prefixlen == 0 for network in self.trusted_proxies):
            lines.append(
                "TRUSTED_PROXIES has every address: anyone can pass for any address by an "
                "X-Forwarded-For of their own. Name your proxies instead"
            )
        return lines

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise PydanticUseDefault
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        return urls.redis_url(value)

    @field_validator("mongodb_uri")
    @classmethod
    def _mongodb_uri(cls, value: str | None) -> str | None:
        return value and urls.mongodb_uri(value)

    @field_validator(
        "openai_base_url", "embedding_base_url", "auth_jwks_url", "otel_exporter_otlp_endpoint"
    )
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        return value and urls.http_url(value)

    @field_validator("openai_api_key", "embedding_api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else ""
        if any(c.isspace() or not c.isprintable() for c in text):
            raise ValueError
        return value

    @field_validator("data_dir")
    @classmethod
    def _directory(cls, value: Path) -> Path:
        path = value.expanduser().absolute()
        if path.exists() and not path.is_dir():
            raise ValueError
        return path

    @field_validator("auth_jwt_public_key")
    @classmethod
    def _public_key(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        pem = value.replace("\\n", "\n")  # how one line of an environment holds several
        try:
            load_public_key(pem)
        except KeyRefused as error:
            raise ValueError from error
        if info.data.get("auth_jwks_url"):
            raise ValueError
        return pem

    @field_validator("auth_allow_guests")
    @classmethod
    def _somebody_may_connect(cls, value: bool, info: ValidationInfo) -> bool:
        # A key that did not pass is absent from the data; its own line says what is wrong.
        if not value and all(info.data.get(name, "bad") is None for name in JWT_SETTINGS[:4]):
            raise ValueError
        return value

    @field_validator("models")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(name) > MAX_NAME_CHARS for name in value):
            raise ValueError
        return tuple(dict.fromkeys(value))

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(each, strict=False)) for each in value)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(urls.origin(each) for each in value)


def load_settings(home: Path = HOME) -> Settings:
    """Settings from the environment, then ``.env`` in the current directory, then ``home``'s.

    Raises ``SettingsError`` with a line for each that is not usable.
    """
    try:
        files = (home / ".env", ".env")
        return Settings(_env_file=files)  # type: ignore[call-arg]  # known to pydantic's plugin
    except ValidationError as error:
        raise SettingsError(_lines(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f".env can't be read: {error}"]) from None


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for details in error.errors():
        # A default that derives from a bad setting: that one has its own line.
        if details["type"] == "default_factory_not_called":
            continue
        name = str(details["loc"][0])
        was = _shown(name, details["input"])
        what = Settings.model_fields[name].description
        why = details.get("ctx", {}).get("error")
        reason = f": {why}" if isinstance(why, PromptsRefused) else ""
        lines.append(f"{name.upper()} is {was}; it must be {what}{reason}")
    return lines


def _shown(name: str, value: object) -> str:
    if not isinstance(value, str):
        return "unset"
    if name in HIDDEN:
        return "set (it is not shown)"
    before, at, after = value.rpartition("@")
    if at:  # a URL's user and password stand before it, further secrets in its query
        scheme = re.match(r"[a-z+]+://", before)
        value = f"{scheme[0] if scheme else ''}…@{after}"
    value = value.partition("?")[0] if "://" in value else value
    return json.dumps(value if len(value) <= 80 else value[:80] + "…", ensure_ascii=False)
