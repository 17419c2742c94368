"""Signals as CloudEvents, and back."""

from __future__ import annotations

import base64
import json
import string
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleetprompt.engine.core.cloudevents import admitted, attributes, rfc3339, uri_reference
from fleetprompt.engine.core.cloudevents_http import binary, mode, percent_decoded, percent_encoded, read, structured
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.signal import Signal

NOW = 1_767_225_600.0
EVENT = {"specversion": "1.0", "id": "1", "source": "/ci", "type": "build.done"}
JSON_EVENT = {"content-type": "application/cloudevents+json"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

text = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=40)
uri = st.text(string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;=", min_size=1, max_size=40)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
extension_names = st.from_regex(r"x[a-z0-9]{1,10}", fullmatch=True)
signals = st.builds(
    Signal,
    id=text,
    type=st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,3}", fullmatch=True),
    source=uri,
    at=st.integers(0, 4_000_000_000_000_000).map(lambda micro: micro / 1_000_000),
    data=json_values,
    subject=st.just("") | text,
    tenant=text,
    key=st.just("") | text,
    correlation=st.just("") | text,
    causation=st.just("") | text,
    traceparent=st.sampled_from(["", TRACE]),
    sequence=st.integers(0, 10**17),
    replay_of=st.just("") | text,
    extensions=st.dictionaries(extension_names, text, max_size=3),
)


def at_door(body: Any, headers: dict[str, str] = JSON_EVENT) -> Signal:
    return read(headers.items(), json.dumps(body).encode(), NOW)


def refused(body: Any, headers: dict[str, str] = JSON_EVENT) -> InvalidInput:
    with pytest.raises(InvalidInput) as error:
        at_door(body, headers)
    return error.value


@given(signals)
@example(Signal(id="0", type="a", source="0", at=5.642007))
def test_a_signal_survives_structured_mode(signal: Signal) -> None:
    headers, body = structured(signal)
    assert read(headers.items(), body, NOW) == signal


@given(signals)
def test_a_signal_survives_binary_mode(signal: Signal) -> None:
    headers, body = binary(signal)
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert read(headers.items(), body, NOW) == signal


@given(signals, st.dictionaries(extension_names, st.booleans() | st.integers(-(2**31), 2**31 - 1), max_size=3))
def test_extensions_keep_their_type_in_json(signal: Signal, extensions: dict[str, bool | int]) -> None:
    event = json.loads(structured(signal)[1]) | extensions
    assert at_door(event).extensions == {**signal.extensions, **extensions}


def test_what_an_event_looks_like() -> None:
    signal = Signal(
        id="s1", type="deploy.done", source="run/r1", at=NOW + 0.25, data={"n": 1}, subject="shop", tenant="acme",
        key="k", correlation="c", causation="p", traceparent=TRACE, sequence=12, by="ana", replay_of="s0",
        extensions={"severity": 3},
    )  # fmt: skip
    assert json.loads(structured(signal)[1]) == {
        "specversion": "1.0", "id": "s1", "source": "run/r1", "type": "deploy.done", "time": "2026-01-01T00:00:00.25Z",
        "datacontenttype": "application/json", "subject": "shop", "correlationid": "c", "causationid": "p",
        "traceparent": TRACE, "tenant": "acme", "key": "k", "replayof": "s0", "sequence": "12", "severity": 3,
        "data": {"n": 1},
    }  # fmt: skip
    headers, body = binary(signal)
    assert (headers["ce-type"], headers["content-type"], headers["ce-severity"], body) == (
        "deploy.done", "application/json", "3", b'{"n":1}',
    )  # fmt: skip


def test_extensions_never_pose_as_what_the_engine_says() -> None:
    signal = Signal(id="s1", type="a", source="b", at=NOW, extensions={"id": "other", "tenant": "other", "sequence": 9})
    known = attributes(signal)
    assert (known["id"], known["tenant"], "sequence" in known) == ("s1", "default", False)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("missing", ["absent", "null"])
def test_what_has_to_be_there_is_named(name: str, missing: str) -> None:
    event: dict[str, Any] = {**EVENT, name: None}
    if missing == "absent":
        del event[name]
    error = refused(event)
    assert error.where == name
    assert name in error.message
    headers = {f"ce-{key}": value for key, value in event.items() if value is not None}
    with pytest.raises(InvalidInput) as other:
        read(headers.items(), b"", NOW)
    assert other.value.where == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", "0.3"),
        ("specversion", 1.0),
        ("id", ""),
        ("id", 7),
        ("id", "a\x00"),
        ("id", "x" * 2049),
        ("source", ""),
        ("source", "a b"),
        ("source", "ä"),
        ("source", "%zz"),
        ("type", ["a"]),
        ("subject", ""),
        ("subject", "a\x9f"),
        ("time", "yesterday"),
        ("time", "2026-02-30T00:00:00Z"),
        ("time", "2026-01-01T00:00:00"),
        ("time", "2026-01-01T00:00:61Z"),
        ("time", "0000-01-01T00:00:00Z"),
        ("time", "0001-01-01T00:00:00+23:59"),
        ("time", "9999-12-31T23:59:59-00:01"),
        ("time", 1767225600),
        ("traceparent", "x"),
        ("tenant", True),
        ("key", {"a": 1}),
        ("sequence", -1),
        ("sequence", "x"),
        ("sequence", True),
        ("datacontenttype", "json"),
        ("datacontenttype", 5),
        ("dataschema", "a b"),
        ("correlationid", 5),
        ("myext", 2**31),
        ("myext", 1.5),
        ("myext", [1]),
        ("MyExt", "x"),
        ("my-ext", "x"),
        ("data_base64", "%%"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: Any) -> None:
    assert (
        refused({**EVENT, "data": "x", name: value} if name != "data_base64" else {**EVENT, name: value}).where == name
    )


def test_what_carries_no_event_is_refused() -> None:
    assert refused(EVENT, {"content-type": "application/json"}).where == "specversion"
    assert "JSON object" in refused([EVENT]).message
    assert refused([EVENT], {"content-type": "application/cloudevents-batch+json"}).hint == "send each event by itself"
    assert "not taken" in refused(EVENT, {"content-type": "application/cloudevents+avro"}).message
    for body in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(InvalidInput):
            read(JSON_EVENT.items(), body, NOW)
    assert "at most 32" in refused(EVENT | {f"x{n}": "1" for n in range(33)}).message


def test_how_a_request_carries_events() -> None:
    assert mode({"Content-Type": "Application/CloudEvents+JSON; charset=UTF-8"}.items()) == "structured"
    assert mode({"CE-Id": "1", "content-type": "application/json"}.items()) == "binary"
    assert mode({"content-type": "application/cloudevents-batch+json"}.items()) == "batch"
    assert mode({"content-type": "application/json"}.items()) is None


def test_data_is_json_or_text() -> None:
    encoded = base64.b64encode(b'{"a": 1}').decode()
    assert at_door({**EVENT, "data_base64": encoded}).data == {"a": 1}
    plain = at_door({**EVENT, "datacontenttype": "text/plain", "data": "x"})
    assert (plain.data, plain.extensions) == ("x", {"datacontenttype": "text/plain"})
    assert read((binary_of := binary(plain))[0].items(), binary_of[1], NOW) == plain
    assert binary_of[1] == b"x"
    assert at_door({**EVENT, "datacontenttype": "text/plain", "data_base64": base64.b64encode(b"x").decode()}) == plain
    assert refused({**EVENT, "datacontenttype": "image/png", "data_base64": encoded}).where == "data_base64"
    assert refused({**EVENT, "datacontenttype": "text/plain", "data": {"a": 1}}).where == "data"
    assert refused({**EVENT, "data": 1, "data_base64": encoded}).where == "data_base64"
    assert at_door({**EVENT, "data": None, "datacontenttype": "text/plain"}).extensions == {}


def binary_event(*more: tuple[str, str], body: bytes = b"") -> Signal:
    return read([*((f"ce-{name}", value) for name, value in EVENT.items()), *more], body, NOW)


def test_binary_mode_reads_what_others_write() -> None:
    assert binary_event(("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80")).subject == "Euro € 😀"
    assert binary_event(("ce-subject", '"a \\" b"')).subject == 'a " b'
    assert binary_event(("CE-Subject", "ä".encode().decode("latin-1"))).subject == "ä"
    assert binary_event(("ce-time", "2026-01-01T01:00:00.5+01:00")).at == NOW + 0.5
    assert binary_event().at == NOW
    assert binary_event(("content-type", "application/json"), body=b"[1]").data == [1]
    assert binary_event(body=b"[1]").data == [1]
    assert binary_event(("content-type", "application/json")).data is None


@pytest.mark.parametrize(
    ("headers", "body", "where"),
    [
        ([("ce-subject", "%ff")], b"", "subject"),
        ([("ce-subject", "a"), ("ce-subject", "b")], b"", "subject"),
        ([("ce-datacontenttype", "text/plain")], b"x", "datacontenttype"),
        ([("content-type", "text/plain")], b"\xff", "data"),
        ([("content-type", "image/png")], b"x", "data"),
        ([("ce-my_ext", "x")], b"", "my_ext"),
    ],
)
def test_binary_mode_names_what_is_wrong(headers: list[tuple[str, str]], body: bytes, where: str) -> None:
    with pytest.raises(InvalidInput) as error:
        binary_event(*headers, body=body)
    assert error.value.where == where


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_percent_encoding_is_undone(text: str) -> None:
    encoded = percent_encoded(text)
    assert all(0x21 <= ord(char) <= 0x7E and char != '"' for char in encoded)
    assert percent_decoded(encoded) == text


@given(st.text())
def test_any_header_is_decoded_or_refused(text: str) -> None:
    try:
        percent_decoded(text)
    except ValueError:
        pass


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_source_becomes_a_uri_reference_once(text: str) -> None:
    once = uri_reference(text)
    assert uri_reference(once) == once
    assert at_door({**EVENT, "source": once}).source == once


@given(st.binary(max_size=200), st.sampled_from(["application/cloudevents+json", "application/json", "text/plain"]))
def test_any_body_is_an_event_or_refused(body: bytes, media: str) -> None:
    headers = [("content-type", media), *((f"ce-{name}", value) for name, value in EVENT.items())]
    try:
        signal = read(headers, body, NOW)
    except InvalidInput:
        return
    assert signal.id


@given(
    st.dictionaries(st.sampled_from([*EVENT, "time", "data", "data_base64", "subject", "x"]) | st.text(), json_values)
)
def test_any_document_is_an_event_or_refused(event: dict[str, Any]) -> None:
    with suppress(InvalidInput):
        at_door({**EVENT, **event})


def test_times_are_utc_and_exact() -> None:
    assert rfc3339(0.0) == "1970-01-01T00:00:00Z"
    assert rfc3339(NOW + 0.000001) == "2026-01-01T00:00:00.000001Z"
    assert (
        at_door({**EVENT, "time": "2016-12-31T23:59:60Z"}).at == at_door({**EVENT, "time": "2017-01-01T00:00:00z"}).at
    )
    assert at_door({**EVENT, "time": "2026-01-01t00:00:00.123456789-00:30"}).at == NOW + 1800 + 0.123456


def test_an_event_from_outside_says_neither_whose_it_is_nor_who_sent_it() -> None:
    event = at_door({**EVENT, "tenant": "other", "sequence": "9", "replayof": "x", "time": "2099-01-01T00:00:00Z"})
    signal = admitted(event, tenant="acme", by="ci", now=NOW)
    assert (signal.tenant, signal.by, signal.sequence, signal.replay_of, signal.at) == ("acme", "ci", 0, "", NOW)
    assert signal.extensions == {"originid": "1"}


def test_events_are_told_apart_by_source_and_id() -> None:
    def id_of(tenant: str = "acme", **more: str) -> str:
        return admitted(at_door({**EVENT, **more}), tenant=tenant, by="", now=NOW).id

    ids = {id_of(), id_of(id="2"), id_of(source="/cd"), id_of("other")}
    assert len(ids) == 4
    assert id_of() in ids
