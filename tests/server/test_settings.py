"""What the environment may say, and what is said when it is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from server.settings import HOME, Settings, SettingsError, load_settings

Load = Callable[..., Settings]
NAMES = [name.upper() for name in Settings.model_fields]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """Settings from nothing but the given variables, in an empty directory."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def load(**environment: str) -> Settings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return load_settings(tmp_path / "home")

    return load


def lines_of(load: Load, **environment: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(**environment)
    return refused.value.lines


def pem_of(key: Any) -> str:
    encoded: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


def test_everything_has_a_default(load: Load) -> None:
    settings = load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.redis_url == "redis://localhost:6379/0"
    assert settings.data_dir == HOME / "data"
    assert settings.auth_allow_guests
    assert settings.warnings == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HOST", "0.0.0.0", "0.0.0.0"),
        ("HOST", "::1", "::1"),
        ("PORT", "0", 0),
        ("WORKERS", "4", 4),
        ("TRUSTED_PROXIES", "127.0.0.1, 10.1.2.3/8,::1", ("127.0.0.1/32", "10.0.0.0/8", "::1/128")),
        ("AUTH_CHECK", "my.project:check", None),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318", None),
        ("REDIS_URL", "rediss://me:p%40ss@cache.example:6380/2", None),
        ("REDIS_URL", "redis://h?db=2&client_name=chat", None),
        ("REDIS_URL", "rediss://h/0?ssl_ca_certs=/a/b.pem&ssl_cert_reqs=required", None),
        ("MONGODB_URI", "mongodb://a:1,b:2/?replicaSet=rs0", None),
        ("MONGODB_URI", "mongodb+srv://me:pw@cluster.example", None),
        ("OPENAI_BASE_URL", "http://localhost:11434/v1", None),
        ("SUMMARY_EVERY_TURNS", "0", 0),
        ("TITLES", "false", False),
        ("USER_TOKENS_PER_DAY", "100000", 100_000),
        ("TOKENS_PER_DAY", "0", 0),
        ("AUTH_JWT_LEEWAY_SECONDS", "0", 0.0),
        ("TURN_LEASE_SECONDS", "1.5", 1.5),
        ("MEMORY_TTL_HOURS", "0.5", 0.5),
        ("CORS_ORIGINS", "*", ("*",)),
        (
            "CORS_ORIGINS",
            "https://a.example, http://b.example:81/",
            ("https://a.example", "http://b.example:81"),
        ),
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("LOG_FORMAT", "json", "json"),
        ("PORT", "", 8000),
        ("REDIS_URL", " ", "redis://localhost:6379/0"),
        ("CORS_ORIGINS", "", ()),
        ("MODELS", "larger, smaller,larger,", ("larger", "smaller")),
        ("SYSTEM_PROMPTS", "", {}),
        ("SYSTEM_PROMPT", "", Settings.model_fields["system_prompt"].default),
    ],
)
def test_a_good_value_is_taken(load: Load, name: str, value: str, expected: Any) -> None:
    settings = load(**{name: value})
    assert getattr(settings, name.lower()) == (value if expected is None else expected)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("HOST", "http://x", 'HOST is "http://x"; it must be an address or host name'),
        ("PORT", "70000", 'PORT is "70000"; it must be a whole number from 0 to 65535'),
        ("PORT", "-1", 'PORT is "-1"; it must be a whole number from 0 to 65535'),
        ("PORT", "80.5", 'PORT is "80.5"; it must be a whole number'),
        ("PORT", "8\n0", r'PORT is "8\n0"; it must be a whole number'),
        ("WORKERS", "0", 'WORKERS is "0"; it must be a whole number from 1 to 64'),
        ("TRUSTED_PROXIES", "nginx", 'TRUSTED_PROXIES is "nginx"; it must be addresses or networ'),
        ("AUTH_CHECK", "check", 'AUTH_CHECK is "check"; it must be module:function, such as'),
        ("REDIS_URL", "http://h", 'REDIS_URL is "http://h"; it must be redis:// or rediss://'),
        ("REDIS_URL", "redis://h:port", 'REDIS_URL is "redis://h:port"; it must be'),
        ("REDIS_URL", "redis://h/first", 'REDIS_URL is "redis://h/first"; it must be'),
        ("REDIS_URL", "redis://h/0?db=first", 'REDIS_URL is "redis://h/0"; it must be'),
        ("REDIS_URL", "redis://h/0?protocol=3", 'REDIS_URL is "redis://h/0"; it must be'),
        ("REDIS_URL", "redis://h/0?foo", 'REDIS_URL is "redis://h/0"; it must be'),
        ("REDIS_URL", "redis://h?ssl_ca_certs=x", 'REDIS_URL is "redis://h"; it must be'),
        ("REDIS_URL", "rediss://h?ssl_cert_reqs=no", 'REDIS_URL is "rediss://h"; it must be'),
        (
            "MEMORY_MAX_MESSAGES",
            "0",
            'MEMORY_MAX_MESSAGES is "0"; it must be a whole number from 1',
        ),
        (
            "MEMORY_TTL_HOURS",
            "0",
            'MEMORY_TTL_HOURS is "0"; it must be a number of hours from 0.001',
        ),
        ("MONGODB_URI", "host:27017", 'MONGODB_URI is "host:27017"; it must be mongodb:// or'),
        ("MONGODB_URI", "mongodb://", 'MONGODB_URI is "mongodb://"; it must be mongodb:// or'),
        ("MONGODB_DATABASE", "a.b", 'MONGODB_DATABASE is "a.b"; it must be a database name'),
        ("DATA_DIR", "/dev/null", 'DATA_DIR is "/dev/null"; it must be a directory'),
        (
            "OPENAI_API_KEY",
            "two words",
            "OPENAI_API_KEY is set (it is not shown); it must be",
        ),
        ("OPENAI_BASE_URL", "localhost", 'OPENAI_BASE_URL is "localhost"; it must be http:// or'),
        ("AUTH_JWKS_URL", "file:///x", 'AUTH_JWKS_URL is "file:///x"; it must be http:// or'),
        ("AUTH_JWT_PUBLIC_KEY", "x", "AUTH_JWT_PUBLIC_KEY is set (it is not shown); it must be a"),
        ("AUTH_ALLOW_GUESTS", "maybe", 'AUTH_ALLOW_GUESTS is "maybe"; it must be true, or false'),
        ("AUTH_ALLOW_GUESTS", "false", 'AUTH_ALLOW_GUESTS is "false"; it must be true, or false'),
        ("AUTH_JWT_AUDIENCE", "x", "AUTH_ALLOW_GUESTS is unset; it must be true, or false where"),
        ("CORS_ORIGINS", "example.com", 'CORS_ORIGINS is "example.com"; it must be origins such'),
        ("CORS_ORIGINS", "http://a/b", 'CORS_ORIGINS is "http://a/b"; it must be origins such'),
        ("TURN_LEASE_SECONDS", "0", 'TURN_LEASE_SECONDS is "0"; it must be a number of seconds'),
        ("DRAIN_GRACE_SECONDS", "nan", 'DRAIN_GRACE_SECONDS is "nan"; it must be a number of sec'),
        ("DRAIN_GRACE_SECONDS", "inf", 'DRAIN_GRACE_SECONDS is "inf"; it must be a number of sec'),
        ("LOG_LEVEL", "loud", 'LOG_LEVEL is "loud"; it must be debug, info, warning or error'),
        ("LOG_FORMAT", "xml", 'LOG_FORMAT is "xml"; it must be text or json'),
    ],
)
def test_a_bad_value_is_named_in_one_line(load: Load, name: str, value: str, line: str) -> None:
    (said,) = lines_of(load, **{name: value})
    assert said.startswith(line)
    assert "\n" not in said


def test_all_bad_values_are_named_at_once(load: Load) -> None:
    lines = lines_of(load, PORT="x", LOG_LEVEL="y", MAX_RUNNING_TURNS="-1", TURN_MAX_ATTEMPTS="z")
    names = [line.split()[0] for line in lines]
    assert names == ["PORT", "MAX_RUNNING_TURNS", "TURN_MAX_ATTEMPTS", "LOG_LEVEL"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "http://me:hunter2@host/0"),
        ("REDIS_URL", "redis//me:hun@ter2@host"),
        ("REDIS_URL", "http://host/0?password=hunter2"),
        ("MONGODB_URI", "mongo://me:hunter2@host"),
        ("OPENAI_API_KEY", "hunter2 hunter2"),
        ("OPENAI_BASE_URL", "ftp://me:hunter2@host"),
        ("AUTH_JWT_PUBLIC_KEY", "hunter2"),
    ],
)
def test_a_bad_value_is_named_without_its_secrets(load: Load, name: str, value: str) -> None:
    (said,) = lines_of(load, **{name: value})
    assert said.startswith(name)
    assert "hun" not in said
    assert "ter2" not in said


def test_settings_can_be_printed_without_their_secrets(load: Load) -> None:
    settings = load(
        REDIS_URL="redis://me:hunter2@host",
        MONGODB_URI="mongodb://me:hunter2@host",
        OPENAI_API_KEY="hunter2",
        AUTH_JWT_SECRET="hunter2",
        GUEST_SECRET="hunter2",
    )
    assert "hunter2" not in repr(settings)
    assert settings.auth_jwt_secret is not None
    assert settings.auth_jwt_secret.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [
        ({}, True),
        ({"AUTH_JWT_SECRET": ""}, True),
        ({"AUTH_JWT_SECRET": "s"}, False),
        ({"AUTH_JWKS_URL": "https://example.com/jwks.json"}, False),
        ({"AUTH_CHECK": "my.project:check"}, False),
        ({"AUTH_JWT_SECRET": "s", "AUTH_ALLOW_GUESTS": "true"}, True),
        ({"AUTH_JWT_SECRET": "s", "AUTH_ALLOW_GUESTS": ""}, False),
        ({"AUTH_JWT_LEEWAY_SECONDS": "3"}, True),
    ],
)
def test_guests_are_let_in_by_default_only_where_nobody_signs_in(
    load: Load, environment: dict[str, str], allowed: bool
) -> None:
    assert load(**environment).auth_allow_guests is allowed


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["RSA", "EC", "Ed25519"],
)
def test_a_public_key_may_stand_in_one_line(load: Load, key: Any) -> None:
    pem = pem_of(key.public_key())
    assert load(AUTH_JWT_PUBLIC_KEY=pem.replace("\n", "\\n")).auth_jwt_public_key == pem


@pytest.mark.parametrize("kind", ["small RSA", "another curve", "private"])
def test_a_key_of_another_kind_is_refused(load: Load, kind: str) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = {
        "small RSA": pem_of(rsa.generate_private_key(65537, 1024).public_key()),
        "another curve": pem_of(ec.generate_private_key(ec.SECP384R1()).public_key()),
        "private": curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }[kind]
    (said,) = lines_of(load, AUTH_JWT_PUBLIC_KEY=pem)
    assert said.startswith("AUTH_JWT_PUBLIC_KEY is set (it is not shown)")


def test_a_public_key_and_a_key_set_exclude_each_other(load: Load) -> None:
    pem = pem_of(ed25519.Ed25519PrivateKey.generate().public_key())
    (said,) = lines_of(load, AUTH_JWT_PUBLIC_KEY=pem, AUTH_JWKS_URL="https://example.com/jwks.json")
    assert said.endswith("and unset where AUTH_JWKS_URL is set")


def test_system_prompts_are_read_from_their_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "here/prompts.toml").write_text(
        'pirate = "Talk like a pirate."\n"für Kinder" = """\nShort words.\n"""\n', encoding="utf-8"
    )
    prompts = load(SYSTEM_PROMPTS="prompts.toml").system_prompts
    assert prompts == {"pirate": "Talk like a pirate.", "für Kinder": "Short words.\n"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "it can't be read (No such file or directory)"),
        (b"pirate = Arr", "it is no TOML (Invalid value (at line 1, column 10))"),
        (b"pirate = 5", "what pirate is, is no text"),
        (b'pirate = " "', "what pirate is, is no text"),
        (b'[pirate]\ntext = "Arr"', "what pirate is, is no text"),
        (b'"" = "Arr"', "a name has 1 to 128 characters"),
        (b'pirate = "Arr\xff"', "it is no UTF-8"),
    ],
)
def test_a_file_of_system_prompts_that_is_none_is_one_line_with_the_reason(
    load: Load, tmp_path: Path, text: bytes | None, why: str
) -> None:
    if text is not None:
        (tmp_path / "here/prompts.toml").write_bytes(text)
    assert lines_of(load, SYSTEM_PROMPTS="prompts.toml") == [
        'SYSTEM_PROMPTS is "prompts.toml"; it must be a file of TOML lines such as '
        f'pirate = "Talk like a pirate.": {why}'
    ]


def test_the_environment_wins_over_the_current_directory_and_that_over_mains(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / "home/.env").write_text("PORT=1\nHOST=one\nLOG_LEVEL=error\nOTHER=x\n")
    (tmp_path / "here/.env").write_text("\ufeffPORT=2\nHOST=two\n", encoding="utf-8")
    settings = load(PORT="3")
    assert (settings.port, settings.host, settings.log_level) == (3, "two", "error")


def test_an_empty_variable_unsets_what_env_files_say(load: Load, tmp_path: Path) -> None:
    (tmp_path / "here/.env").write_text("AUTH_JWT_SECRET=hunter2\n")
    assert load(AUTH_JWT_SECRET="").auth_jwt_secret is None


def test_an_unreadable_env_file_is_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / "here/.env").write_bytes(b"PORT=\xff\xfe\n")
    (said,) = lines_of(load)
    assert said.startswith(".env can't be read")


def test_a_short_secret_is_warned_of(load: Load) -> None:
    assert load(AUTH_JWT_SECRET="s" * 31, GUEST_SECRET="s" * 32).warnings == [
        "AUTH_JWT_SECRET is short: 32 bytes are advised"
    ]


def test_a_pem_key_as_a_secret_is_warned_of(load: Load) -> None:
    [said] = load(
        AUTH_JWT_SECRET=pem_of(ed25519.Ed25519PrivateKey.generate().public_key())
    ).warnings
    assert said == "AUTH_JWT_SECRET is a PEM key: AUTH_JWT_PUBLIC_KEY is for those"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HOST": "0.0.0.0", "OPENAI_API_KEY": "sk-1"}, "can spend your OPENAI_API_KEY as a guest"),
        ({"HOST": "192.0.2.1", "OPENAI_API_KEY": "sk-1"}, "can spend your OPENAI_API_KEY"),
        ({"HOST": "chat.example", "OPENAI_API_KEY": "sk-1"}, "set AUTH_ALLOW_GUESTS=false"),
        ({"HOST": "::", "OPENAI_API_KEY": "sk-1"}, "can spend your OPENAI_API_KEY"),
        ({"HOST": "127.0.0.1", "OPENAI_API_KEY": "sk-1"}, None),
        ({"HOST": "localhost", "OPENAI_API_KEY": "sk-1"}, None),
        ({"HOST": "::1", "OPENAI_API_KEY": "sk-1"}, None),
        ({"HOST": "0.0.0.0"}, None),
        ({"HOST": "0.0.0.0", "OPENAI_API_KEY": "sk-1", "AUTH_CHECK": "m:f"}, None),
        ({"CORS_ORIGINS": "*", "AUTH_CHECK": "m:f"}, "CORS_ORIGINS=* with AUTH_CHECK"),
        ({"CORS_ORIGINS": "https://example.com", "AUTH_CHECK": "m:f"}, None),
        ({"CORS_ORIGINS": "*"}, None),
        ({"AUTH_CHECK": "m:f", "AUTH_JWT_SECRET": "s" * 32}, "AUTH_JWT_SECRET is not used"),
        ({"TRUSTED_PROXIES": "0.0.0.0/0"}, "TRUSTED_PROXIES has every address"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8, ::/0"}, "TRUSTED_PROXIES has every address"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8"}, None),
    ],
)
def test_what_lets_in_more_than_was_meant_is_warned_of(
    load: Load, environment: dict[str, str], said: str | None
) -> None:
    warnings = load(**environment).warnings
    assert [said in line for line in warnings] == ([True] if said else [])
    assert "sk-1" not in str(warnings)


def test_the_example_names_every_setting_once_with_its_default(load: Load, tmp_path: Path) -> None:
    example = (HOME / ".env.example").read_text()
    named = re.findall(r"^# ([A-Z_]+)=", example, flags=re.MULTILINE)
    assert sorted(named) == sorted(NAMES)

    defaults = load()
    (tmp_path / "here/.env").write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", example, flags=re.M))
    assert load() == defaults


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({}, "TOOLS is not used: the demo model takes none. Set OPENAI_API_KEY"),
        ({"AGENT": "my.agent:graph"}, None),  # it may ask for them
        ({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}, None),
    ],
)
def test_tools_that_nobody_will_use_are_warned_of(
    load: Load, given: dict[str, str], warned: str | None
) -> None:
    found = [line for line in load(TOOLS="my.tools:tools", **given).warnings if "TOOLS" in line]
    assert found == ([warned] if warned else [])


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({"MODELS": "gpt-5"}, "MODELS is offered, but the demo model answers. Set OPENAI_API_KEY"),
        ({"USER_MEMORY": "true"}, None),  # the demo model notes a little
        (
            {"USER_MEMORY": "true", "AGENT": "my.agent:graph"},
            "USER_MEMORY notes nothing: it takes a model. Set OPENAI_API_KEY",
        ),
        (
            {"EMBEDDING_MODEL": "e"},
            "EMBEDDING_MODEL has no provider: set EMBEDDING_BASE_URL or a key",
        ),
        ({"EMBEDDING_MODEL": "e", "EMBEDDING_BASE_URL": "http://127.0.0.1:11434/v1"}, None),
    ],
)
def test_what_comes_to_nothing_without_a_provider_is_warned_of(
    load: Load, given: dict[str, str], warned: str | None
) -> None:
    assert load(**given).warnings == ([warned] if warned else [])
    assert load(OPENAI_API_KEY="k", **given).warnings == []
