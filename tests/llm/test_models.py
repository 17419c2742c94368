"""What names of models stand for, and that nothing stands in for what was asked for by its name."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from stub_server import Stub, start_stub

from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound
from fleetprompt.engine.definition.problems import InvalidFile
from fleetprompt.engine.llm import prices
from fleetprompt.engine.llm.discovery import Place, discover, is_loopback, places
from fleetprompt.engine.llm.models import VENDORS, KnownModels
from fleetprompt.engine.llm.providers import PROVIDERS, Room
from fleetprompt.engine.llm.settings import ModelSettings, PriceSettings
from fleetprompt.engine.ports.model import ModelTarget
from fleetprompt.settings import load_project


def known(environment: Mapping[str, str] = {}, where: tuple[Place, ...] = (), **aliases: ModelSettings) -> KnownModels:
    """The models of an installation, with one secret, `KEY`."""

    def secret(name: str) -> str:
        if name != "KEY":
            raise NotFound(f"secret `{name}` is not defined")
        return "sk-secret"

    return KnownModels(aliases, environment, Room(), secret=secret, where=where)


def local(base: str) -> Place:
    return Place("test", base, f"{base}/models")


async def test_an_alias_has_all_that_its_table_says() -> None:
    models = known(
        cheap=ModelSettings(
            model="openai/gpt-4o-mini",
            secret="KEY",
            fallback=["openai/gpt-5.4-mini"],
            price=PriceSettings(input_usd_per_mtok=0.15, output_usd_per_mtok=0.6, cached_usd_per_mtok=0.0),
            headers={"x-team": "ops"},
            idle=5,
            first=6,
            timeout=7,
            context=1000,
        )
    )
    found = await models.find("cheap")
    assert (found.name, found.model, found.mode, found.credential) == ("cheap", "openai/gpt-4o-mini", "live", "KEY")
    assert (found.idle, found.first, found.timeout, found.context) == (5, 6, 7, 1000)
    assert found.headers == {"x-team": "ops"}
    assert found.price is not None
    assert (found.price.input, found.price.output, found.price.cached) == (150, 600, 0)
    assert found.price.source == "fleet.toml"
    assert models.fallbacks("cheap") == ("openai/gpt-5.4-mini",)
    assert models.reveal(found) == "sk-secret"


async def test_prices_and_context_come_from_the_table() -> None:
    found = await known({"OPENAI_API_KEY": "x"}).find("openai/gpt-4o-mini")
    assert found.price is not None
    assert (found.price.input, found.price.output, found.price.cached) == (150, 600, 75)
    assert found.price.source.startswith("litellm 1.")
    assert found.context == 128_000
    unknown = await known({"OPENAI_API_KEY": "x"}).find("openai/nobody-knows")
    assert (unknown.price, unknown.context) == (None, None)


@pytest.mark.parametrize("vendor", [name for name, about in VENDORS.items() if about.model])
async def test_a_key_in_the_environment_makes_a_default(vendor: str) -> None:
    about = VENDORS[vendor]
    models = known({about.keys[-1]: "sk-env"})
    found = await models.find("")
    assert found.model == f"{vendor}/{about.model}"
    assert (found.name, found.mode, found.credential) == ("default", "live", f"env:{about.keys[-1]}")
    assert models.reveal(found) == "sk-env"
    assert found.price is not None, "a default that nobody can price is no use under a limit"
    assert found.price.output > 0


async def test_the_order_of_default(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        where = (local(stub.base),)
        alias = {"default": ModelSettings(model="openai/mine", api_base="https://models.example/v1")}
        everything = {"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "y"}
        assert (await known(everything, where, **alias).find("")).model == "openai/mine"
        assert (await known(everything, where).find("")).model == "openai/gpt-5.4-mini"
        found = await known({}, where).find("")
        assert (found.model, found.mode, found.api_base, found.credential) == ("openai/stub", "local", stub.base, "")
        assert found.price == prices.LOCAL
        found = await known({}).find("")
        assert (found.model, found.mode, found.price) == ("simulated/script", "simulated", None)


@pytest.mark.parametrize(
    ("name", "error", "says", "hint"),
    [
        ("openai/gpt-5.4-mini", InvalidInput, "needs a key, and there is none", "OPENAI_API_KEY"),
        ("anthropic/claude-haiku-4-5", InvalidInput, "needs a key", "ANTHROPIC_API_KEY"),
        ("bare", InvalidInput, "`bare` (openai/gpt-4o-mini) needs a key", "OPENAI_API_KEY"),
        ("named", NotFound, "takes its key from MY_KEY, which is not set", "set MY_KEY"),
        ("lost", NotFound, "secret `LOST` is not defined", ""),
        ("bear", NotFound, "there is no model `bear`", "did you mean `bare`?"),
        ("gpt-4o-mini", NotFound, "there is no model `gpt-4o-mini`", "write `openai/gpt-4o-mini`"),
        ("opnai/gpt-4o-mini", NotFound, "nobody knows the provider `opnai`", "did you mean `openai`?"),
    ],
)
async def test_what_cannot_be_had_is_an_error_with_its_remedy(
    stub: Stub, name: str, error: type[FleetError], says: str, hint: str
) -> None:
    models = known(
        {"MISTRAL_API_KEY": "there is another one"},
        (local(stub.base),),
        bare=ModelSettings(model="openai/gpt-4o-mini"),
        named=ModelSettings(model="openai/gpt-4o-mini", api_key_env="MY_KEY"),
        lost=ModelSettings(model="openai/gpt-4o-mini", secret="LOST"),
    )
    with pytest.raises(error) as refused:
        await models.find(name)
    assert says in refused.value.message
    assert hint in refused.value.hint


async def test_a_key_of_the_environment_is_only_for_its_own_server() -> None:
    environment = {"OPENAI_API_KEY": "x"}
    own = ModelSettings(model="openai/mine", api_base="https://models.example/v1")
    found = await known(environment, own=own).find("own")
    assert (found.credential, found.mode) == ("", "live")
    here = ModelSettings(model="openai/mine", api_base="http://localhost:9999/v1")
    found = await known(environment, here=here).find("here")
    assert (found.credential, found.mode, found.price) == ("", "local", prices.LOCAL)
    found = await known(environment | {"OPENAI_API_BASE": "https://gateway.example/v1"}).find("openai/gpt-4o-mini")
    assert (found.api_base, found.credential) == ("https://gateway.example/v1", "env:OPENAI_API_KEY")


async def test_a_local_server_named_by_the_environment_comes_first(stub: Stub) -> None:
    environment = {"OPENAI_API_KEY": "x", "OPENAI_API_BASE": stub.base}
    found = await KnownModels({}, environment, Room()).find("")
    assert (found.model, found.mode, found.api_base) == ("openai/stub", "local", stub.base)
    assert found.credential == "env:OPENAI_API_KEY"
    assert [place.kind for place in places("https://elsewhere.example/v1")] == [
        "Ollama",
        "LM Studio",
        "vLLM",
        "llama.cpp",
    ]


def test_loopback_is_told_by_the_address_alone() -> None:
    assert all(
        map(is_loopback, ("http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:8/v1", "http://127.9.9.9"))
    )
    assert not any(
        map(is_loopback, ("", "http://127.0.0.1.example/v1", "http://10.0.0.1", "http://localhost.example", "x"))
    )


class Answers(BaseHTTPRequestHandler):
    """Says what `told` says, or nothing for a long time."""

    told: bytes | None = b""

    def do_GET(self) -> None:
        if self.told is None:
            time.sleep(2)
            return
        self.send_response(200)
        self.send_header("content-length", str(len(self.told)))
        self.end_headers()
        self.wfile.write(self.told)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("told", "models"),
    [
        ({"models": [{"name": "nomic-embed-text"}, {"name": "qwen3:8b"}]}, ("qwen3:8b",)),
        ({"data": [{"id": "a"}, {"id": "b"}]}, ("a", "b")),
        ({"data": [{"id": "only-embeddings"}]}, ()),
        ({"data": "no list"}, ()),
        ({"data": [3, None]}, ()),
        ([], ()),
        (b"<html>", ()),
        (None, ()),
    ],
)
async def test_a_port_where_something_else_listens_is_no_model_server(told: Any, models: tuple[str, ...]) -> None:
    body = told if told is None or isinstance(told, bytes) else json.dumps(told).encode()
    handler = type("Handler", (Answers,), {"told": body})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}/v1"
        found = await discover([local("http://127.0.0.1:9/v1"), local(base)])
        assert [(server.base, server.models) for server in found] == ([(base, models)] if models else [])
    finally:
        server.shutdown()


async def test_servers_are_looked_for_once_and_probed_once(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        models = known({}, (local(stub.base),))
        servers = await models.local()
        assert await models.local() is servers
        found = await models.find("")
        first, second = await models.probe(found), await models.probe(found)
        assert first.ok
        assert first is second
        assert len(stub.requests()) == 1
        mute = await models.find("default")
        failing = ModelTarget(name="mute", model="openai/stub-eof", api_base=mute.api_base, mode="local")
        assert not (await models.probe(failing)).ok
        await models.close()


async def test_providers_are_chosen_by_what_a_name_begins_with() -> None:
    models = known({"OPENAI_API_KEY": "x"})
    kinds = [
        type(models.provider(await models.find(name))).__name__
        for name in ("openai/gpt-4o", "simulated/script", "replay/x")
    ]
    assert kinds == ["LiteLLM", "Script", "Replay"]
    assert {"litellm", "simulated", "replay"} <= set(PROVIDERS.names())


WRONG = """\
[models.cheap]
model = "gpt-4o-mini"
api_base = "127.0.0.1:80"
secret = "A"
api_key_env = "B"
fallback = ["cheap", "gone"]

[models.dear]
model = "openai/gpt-5.5"
idle = 0
timout = 5
price = {input_usd_per_mtok = "much"}

[models.nothing]
headers = {x = "y"}
"""


def test_every_fault_of_the_settings_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def said(text: str) -> list[str]:
        Path("fleet.toml").write_text(text)
        with pytest.raises(InvalidFile) as refused:
            load_project()
        return [f"{p.line}:{p.column} {p.code} {p.message}" for p in refused.value.problems]

    lone = [
        "2:1 bad-value `gpt-4o-mini` does not say whose model it is",
        "3:1 bad-value `127.0.0.1:80` is not an address",
        "4:1 bad-value the key comes from `api_key_env` or from `secret`, not from both",
        "6:1 bad-value `cheap` cannot be asked in its own place",
        "6:1 bad-value there is no model `gone`",
    ]
    assert said(WRONG) == [
        *lone,
        "10:1 wrong-type `models.dear.idle` must be seconds, such as 60",
        "11:1 unknown-key there is no setting `timout` in [models.dear]",
        "12:10 wrong-type `models.dear.price.input_usd_per_mtok` must be an amount in USD, such as 0.15",
        "14:9 missing-key `model` is missing in [models.nothing]",
    ]
    assert said(WRONG[: WRONG.index("[models.dear]")]) == lone
    assert said("models = 3") == ["1:1 wrong-type `models` must be a table: write [models], and its entries below it"]
    assert said("models.a = 3") == [
        "1:8 wrong-type `models.a` must be a table: write [models.a], and its entries below it"
    ]


def test_settings_become_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        '[models.default]\nmodel = "openai/qwen3"\napi_base = "http://127.0.0.1:11434/v1"\nprice = {image_usd = 0.04}\n'
    )
    Path("fleet.toml").write_text(text)
    settings = load_project().settings.models["default"]
    assert (settings.model, settings.api_base, settings.idle) == ("openai/qwen3", "http://127.0.0.1:11434/v1", 60)
    assert settings.price is not None
    assert settings.price.price.image == 40_000_000
