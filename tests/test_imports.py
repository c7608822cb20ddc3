"""Who may import whom, by reading every import of every package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ("main", "serving", "making")
PACKAGES = ("server", "agent", "memory", "mongo", "embedded", "stores", "redislink", "spool")

# What the stores may know of memory: the records. How memory works is none of their business.
RECORDS = ("memory.records", "memory.errors", "memory.archive", "memory.facts")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "main": ("serving", "server"),
    "serving": ("making", *PACKAGES),
    "making": PACKAGES,
    "server": (
        *("server", "agent", "memory", "redislink", "stores.contract"),
        *("stores.attachments", "stores.erasures", "stores.facts", "stores.usage"),
    ),
    "agent": ("agent", "memory"),
    "memory": ("memory", "redislink"),
    "redislink": ("redislink",),
    "spool": ("spool", "embedded", "stores", "redislink", "memory.locks", *RECORDS),
    "stores": ("stores", "memory.locks", *RECORDS),
    "mongo": ("mongo", "stores", *RECORDS),
    "embedded": ("embedded", "stores", *RECORDS),
}

# Where each library is named: nobody else depends on it.
MAY_NAME: dict[str, tuple[str, ...]] = {
    "redis": ("redislink",),
    "motor": ("mongo.client",),
    "pymongo": ("mongo",),
    "bson": ("mongo",),
    "gridfs": (),
    "sqlite3": ("embedded", "spool.file"),
    "aiosqlite": ("embedded",),
    "langchain_openai": ("agent",),
    "openai": ("agent",),
    "langchain_core": ("agent", "memory"),
    "socketio": ("server",),
    "engineio": ("server",),
    "numpy": ("agent.meaning",),
    "jwt": ("server.identity.identity", "server.identity.keys"),
    "multidict": ("server.identity",),
    "prometheus_client": ("server.observability",),
    "opentelemetry": ("server.observability.otel",),
    "pydantic_settings": ("server.settings",),
    "dotenv": ("server.settings", "memory.environment"),
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the program by its dotted name; a package under its own name."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    found = {}
    for path in [*files, *(ROOT / f"{name}.py" for name in PROGRAM)]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(name: str) -> Iterator[str]:
    """What the module imports, wherever in it; ``from a import b`` means ``a.b`` if a module."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively: the full name is easier to find"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else str(node.module)


def within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def test_there_is_something_to_check() -> None:
    assert {"server", "agent", "memory", "mongo", "embedded"} <= modules().keys()
    assert "memory.records" in imports("stores.contract")


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    wrong = [
        f"{name} imports {imported}"
        for name in modules()
        if within(name, package)
        for imported in imports(name)
        if within(imported, *PROGRAM, *PACKAGES) and not within(imported, *MAY_IMPORT[package])
    ]
    assert not wrong


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    edges = {
        name: {other for other in imports(name) if other in modules() and other != name}
        for name in modules()
    }
    # What imports nothing that is left can't be in a circle; what remains at the end is one.
    while leaves := {name for name, others in edges.items() if not others}:
        edges = {name: others - leaves for name, others in edges.items() if name not in leaves}
    assert not edges


@pytest.mark.parametrize("library", MAY_NAME)
def test_a_library_is_named_only_where_it_belongs(library: str) -> None:
    wrong = [
        name
        for name in modules()
        if any(within(imported, library) for imported in imports(name))
        and not within(name, *MAY_NAME[library], *PROGRAM)
    ]
    assert not wrong


def test_who_looks_after_workers_imports_nothing_of_what_a_server_is_made_of() -> None:
    needed = {"server.workers.supervisor"}
    while (
        more := {other for name in needed for other in imports(name) if other in modules()} - needed
    ):
        needed |= more
    wrong = {
        name
        for name in needed
        if within(name, *PACKAGES[1:], "server.chat_server", "serving", "making")
    }
    assert not wrong


def reads_environment(module: ast.Module) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names and named(node.value, "os"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and taken(node) & names)
        for node in ast.walk(module)
    )


def named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def taken(node: ast.ImportFrom) -> set[str]:
    return {alias.name for alias in node.names}


def test_only_memory_used_alone_reads_the_environment_beside_the_settings() -> None:
    # server.settings reads it through pydantic-settings, which nobody else may name (see above).
    # Memory reads REDIS_URL where it is given no address, and the default object its two settings.
    readers = {name for name, module in modules().items() if reads_environment(module)}
    assert readers <= {"memory.facade", "memory.environment"}
