"""What is let in through a webhook, by whoever knows the secret and by whoever does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.plan import Trigger
from fleetprompt.engine.core.signal import TRIGGER_WEBHOOK
from fleetprompt.engine.triggers.webhook import (
    MAX_FIELDS,
    TOLERANCE,
    Accepted,
    Filtered,
    Refusal,
    body_limit,
    receive,
    secret_of,
    to_signal,
)

NOW = 1_767_225_600.0
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
BODY = b'{"id": 7, "env": "prod"}'
REFERENCE = "${{ secrets.HOOK }}"


def hook(**config: Any) -> Trigger:
    return Trigger("webhook", {"path": "alerts", "secret": REFERENCE} | config)


def open_hook(**config: Any) -> Trigger:
    return Trigger("webhook", {"path": "alerts"} | config)


def standard(
    body: bytes = BODY, *, at: float = NOW, secret: str = SECRET, id: str = "msg_1", media: str = "application/json"
) -> dict[str, str]:
    signature = Webhook(secret).sign(id, datetime.fromtimestamp(at, UTC), body.decode())
    return {
        "Content-Type": media,
        "Webhook-Id": id,
        "Webhook-Timestamp": str(int(at)),
        "Webhook-Signature": signature,
    }


def github(body: bytes = BODY, *, secret: str = SECRET, delivery: str = "d-1") -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Hub-Signature-256": f"sha256={digest}",
        "X-GitHub-Delivery": delivery,
    }


def decide(
    trigger: Trigger,
    headers: dict[str, str],
    body: bytes = BODY,
    *,
    now: float = NOW,
    secret: str = SECRET,
    query: Any = (),
) -> Accepted | Filtered | Refusal:
    return receive(trigger, secret, headers.items(), body, now, query)


def accepted(*args: Any, **more: Any) -> Accepted:
    answer = decide(*args, **more)
    assert isinstance(answer, Accepted), answer
    return answer


def refusal(*args: Any, **more: Any) -> Refusal:
    answer = decide(*args, **more)
    assert isinstance(answer, Refusal), answer
    return answer


def test_a_request_that_standard_webhooks_signed_is_taken() -> None:
    taken = accepted(hook(), standard(), query=[("a", "1"), ("b", "1"), ("b", "2")])
    assert (taken.body, taken.scheme, taken.key) == ({"id": 7, "env": "prod"}, "standard", "msg_1")
    assert taken.query == {"a": "1", "b": ["1", "2"]}
    assert taken.headers == {
        "content-type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW)),
    }


def test_a_request_that_github_signed_is_taken() -> None:
    taken = accepted(hook(), github())
    assert (taken.scheme, taken.key) == ("github", "d-1")
    assert "x-hub-signature-256" not in taken.headers


def test_one_of_several_signatures_is_enough() -> None:
    headers = standard()
    right = headers["Webhook-Signature"]
    for header in (f"v1,AAAA {right}", f"v1a,{right[3:]} {right}", f"v1,not-base64 , v2 {right}", f"{right} v1,AAAA"):
        assert accepted(hook(), headers | {"Webhook-Signature": header}).scheme == "standard"
    assert refusal(hook(), headers | {"Webhook-Signature": f"v1a,{right[3:]}"}).why == "wrong_signature"


def test_a_secret_without_its_prefix_or_padding_is_the_same_secret() -> None:
    odd = "whsec_" + base64.b64encode(b"0123456789abcdefghijk-1").decode()
    assert odd.endswith("=")
    for secret in (odd, odd.removeprefix("whsec_"), odd.rstrip("="), f" {odd}\n"):
        assert accepted(hook(), standard(secret=odd), secret=secret).scheme == "standard"


@pytest.mark.parametrize("late", [TOLERANCE, -TOLERANCE, 0.0])
def test_within_five_minutes_a_request_is_fresh(late: float) -> None:
    assert isinstance(decide(hook(), standard(), now=NOW + late), Accepted)


@pytest.mark.parametrize("late", [TOLERANCE + 1, -TOLERANCE - 1, 86_400.0])
def test_a_recorded_request_is_worth_nothing_later(late: float) -> None:
    answer = refusal(hook(), standard(), now=NOW + late)
    assert (answer.why, answer.status) == ("stale", 401)


@pytest.mark.parametrize("stamp", ["", "nan", "inf", "1e9", "-5", "1767225600.5", "١٧٦٧", "9" * 40, " 1767225600"])
def test_timestamps_that_are_none_are_refused(stamp: str) -> None:
    assert refusal(hook(), standard() | {"Webhook-Timestamp": stamp}).why == "wrong_signature"


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp"])
def test_what_is_signed_has_to_be_there(name: str) -> None:
    headers = standard()
    del headers[name]
    assert refusal(hook(), headers).why == "wrong_signature"


def test_a_declared_secret_is_never_left_out() -> None:
    assert refusal(hook(), {"Content-Type": "application/json"}).why == "unsigned"
    assert refusal(hook(), {"Authorization": "Bearer x"}).status == 401
    answer = refusal(hook(), standard(), secret="")
    assert (answer.why, answer.status, answer.code) == ("bad_secret", 503, "INTERNAL")
    empty = hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    assert refusal(hook(), {"X-Hub-Signature-256": f"sha256={empty}"}, secret="").why == "bad_secret"


def test_a_secret_that_is_none_of_standard_webhooks_signs_for_github_alone() -> None:
    assert refusal(hook(), standard(), secret="not base64!").why == "bad_secret"
    assert refusal(hook(), standard(), secret="whsec_").why == "bad_secret"
    assert accepted(hook(), github(secret="not base64!"), secret="not base64!").scheme == "github"


def test_a_hook_can_ask_for_one_way_of_signing() -> None:
    assert refusal(hook(scheme="standard"), github()).why == "unsigned"
    assert refusal(hook(scheme="github"), standard()).why == "unsigned"
    assert accepted(hook(scheme="standard"), standard() | github()).scheme == "standard"
    assert accepted(hook(scheme="github"), standard() | github()).scheme == "github"


def test_a_wrong_signature_is_not_made_good_by_another_header() -> None:
    assert refusal(hook(), github() | standard(secret="whsec_AAAA")).why == "wrong_signature"


def test_what_was_signed_for_one_scheme_is_nothing_in_the_other() -> None:
    """`<id>.<timestamp>.<body>` as the body of a request signed GitHub's way, with the same secret."""
    headers = standard()
    signed = f"msg_1.{int(NOW)}.".encode() + BODY
    digest = base64.b64decode(headers["Webhook-Signature"][3:]).hex()
    for secret in (SECRET, SECRET.removeprefix("whsec_")):
        posing = {"Content-Type": "text/plain", "X-Hub-Signature-256": f"sha256={digest}"}
        assert refusal(hook(), posing, signed, secret=secret).why == "wrong_signature"


def test_an_id_cannot_be_stretched_into_the_body() -> None:
    """What is signed is joined with full stops, so an id holds none."""
    headers = standard(b"1767225600.x", id="a")
    assert refusal(hook(), headers | {"Webhook-Id": f"a.{int(NOW)}"}, b"x").why == "wrong_signature"


@given(st.data())
def test_any_other_bit_is_another_request(data: st.DataObject) -> None:
    body = data.draw(st.binary(min_size=1, max_size=40).filter(lambda raw: raw.isascii()))
    headers = standard(body, media="text/plain")
    assert isinstance(decide(hook(), headers, body), Accepted)
    place = data.draw(st.integers(0, len(body) * 8 - 1))
    other = bytearray(body)
    other[place // 8] ^= 1 << place % 8
    assert refusal(hook(), headers, bytes(other)).why == "wrong_signature"
    signed = github(body)
    assert refusal(hook(), signed, bytes(other)).why == "wrong_signature"
    assert refusal(hook(), headers | {"Webhook-Id": "msg_2"}, body).why == "wrong_signature"
    assert refusal(hook(), headers | {"Webhook-Timestamp": str(int(NOW) + 1)}, body).why == "wrong_signature"


names = st.sampled_from(
    ["webhook-id", "webhook-timestamp", "webhook-signature", "X-Hub-Signature-256", "content-type", "x"]
)


@given(
    st.lists(
        st.tuples(
            names, st.text(st.characters(max_codepoint=255)) | st.sampled_from(["v1,", "sha256=", "application/json"])
        )
    ),
    st.binary(max_size=64),
)
def test_whoever_does_not_know_the_secret_gets_nothing_in(headers: list[tuple[str, str]], body: bytes) -> None:
    assert isinstance(receive(hook(), SECRET, headers, body, NOW), Refusal)


@given(
    st.lists(st.tuples(st.sampled_from(["content-type", "content-encoding", "x"]), st.text(max_size=20))),
    st.sampled_from(
        ["", "application/json", "text/plain", "application/x-www-form-urlencoded", "text/x; charset=utf-16"]
    ),
    st.binary(max_size=64),
)
def test_any_body_is_taken_as_json_or_refused(extra: list[tuple[str, str]], media: str, body: bytes) -> None:
    answer = receive(open_hook(), "", [("content-type", media), *extra], body, NOW)
    if isinstance(answer, Accepted):
        assert json.loads(json.dumps(answer.data)) == answer.data


def test_a_header_that_is_signed_is_there_once() -> None:
    headers = [*standard().items(), ("webhook-id", "msg_2")]
    answer = receive(hook(), SECRET, headers, BODY, NOW)
    assert isinstance(answer, Refusal)
    assert (answer.why, answer.status) == ("bad_headers", 400)


# Bodies


def test_a_body_is_as_large_as_the_hook_allows() -> None:
    assert body_limit(open_hook()) == 1024 * 1024
    assert refusal(open_hook(), {}, b" " * (1024 * 1024 + 1)).status == 413
    assert refusal(open_hook(max_body=10), {}, b"x" * 11).why == "too_large"
    assert accepted(open_hook(max_body=10), {"Content-Type": "text/plain"}, b"x" * 10).body == "x" * 10
    assert refusal(hook(max_body=10), {}, b"x" * 11).why == "too_large"


@pytest.mark.parametrize(
    ("media", "body", "value"),
    [
        ("application/json", b"[1]", [1]),
        ("application/json; charset=utf-8", b'"a"', "a"),
        ("application/cloudevents+json", b"{}", {}),
        (
            "Application/X-WWW-Form-URLEncoded",
            b"a=1&b=2&b=3&c=&d=%C3%A9+x",
            {"a": "1", "b": ["2", "3"], "c": "", "d": "é x"},
        ),
        ("application/x-www-form-urlencoded", b"payload=%7B%22a%22%3A1%7D", {"a": 1}),
        ("application/x-www-form-urlencoded", b"payload=no+json", {"payload": "no json"}),
        ("text/plain", "größer".encode(), "größer"),
        ("text/plain; charset=ISO-8859-1", "größer".encode("latin-1"), "größer"),
        ("", b'{"a": 1}', {"a": 1}),
        ("", b"just text", "just text"),
        ("application/json", b"", None),
        ("", b"", None),
    ],
)
def test_json_forms_and_text_are_read(media: str, body: bytes, value: Any) -> None:
    headers = {"Content-Type": media} if media else {}
    assert accepted(open_hook(), headers, body).body == value


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        ({"Content-Type": "application/json"}, b"{", "bad_body"),
        ({"Content-Type": "application/json"}, b'{"a": NaN}', "bad_body"),
        ({"Content-Type": "application/json"}, b'"\\ud800"', "bad_body"),
        ({"Content-Type": "application/json"}, b'"\xff"', "bad_body"),
        ({"Content-Type": "application/json"}, b"[" * 100_000, "bad_body"),
        ({"Content-Type": "application/json"}, b"1" * 100_000, "bad_body"),
        ({"Content-Type": "text/plain"}, b"\xff", "bad_body"),
        ({"Content-Type": "text/plain; charset=utf-16"}, b"ab", "bad_media"),
        ({}, b"\xff", "bad_body"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=%FF", "bad_body"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"&".join([b"a=1"] * (MAX_FIELDS + 1)), "bad_body"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"x", "bad_media"),
        ({"Content-Type": "application/octet-stream"}, b"x", "bad_media"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"{}", "bad_media"),
    ],
)
def test_other_bodies_are_refused(headers: dict[str, str], body: bytes, why: str) -> None:
    assert refusal(open_hook(), headers, body).why == why


def test_a_body_is_not_looked_into_before_its_signature() -> None:
    headers = standard(b"{", secret="whsec_AAAA")
    assert refusal(hook(), headers, b"{").why == "wrong_signature"


# Keys, filters, records


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("${{ body.id }}", "7"),
        ("${{ headers['x-run'] }}/${{ query.a }}", "r1/1"),
        ("${{ data.body.env }}", "prod"),
        ("${{ body }}", '{"env":"prod","id":7}'),
        ("${{ none }}", "msg_1"),
    ],
)
def test_a_key_is_what_the_hook_says(key: str, found: str) -> None:
    headers = standard() | {"X-Run": "r1"}
    assert accepted(hook(key=key), headers, query=[("a", "1")]).key == found


def test_a_key_that_is_not_in_the_request_is_told_of() -> None:
    answer = refusal(hook(key="${{ body.nope }}"), standard())
    assert (answer.why, answer.status) == ("bad_key", 422)
    assert "nope" in answer.message


def test_long_and_unprintable_keys_stay_apart() -> None:
    keys = {accepted(open_hook(key="${{ body }}"), {"Content-Type": "text/plain"}, text).key for text in KEYS}
    assert len(keys) == len(KEYS)
    assert all(len(key) <= 200 and key.isprintable() for key in keys)


KEYS = [b"a" * 500, b"a" * 501, b"a\x00", b"a\x01", b"a"]


def test_without_a_key_every_request_is_a_new_one() -> None:
    assert accepted(open_hook(), {"Content-Type": "application/json"}).key == ""


def test_what_the_hook_does_not_want_is_filtered() -> None:
    assert decide(hook(**{"if": "body.env == 'test'"}), standard()) == Filtered("standard")
    assert accepted(hook(**{"if": "body.env == 'prod' and headers['content-type'] == 'application/json'"}), standard())
    assert refusal(hook(**{"if": "false"}), standard(secret="whsec_AAAA")).why == "wrong_signature"


def test_a_condition_that_cannot_be_evaluated_is_left_to_routing() -> None:
    """There its failure is on record, and can be made good once the file is mended."""
    assert accepted(hook(**{"if": "body.nope.deeper == 1"}), standard()).body["id"] == 7


def test_what_could_be_used_again_is_not_on_record() -> None:
    private = {
        "Authorization": "Bearer s", "Cookie": "s", "X-Api-Key": "s", "X-Gitlab-Token": "s", "Proxy-Authorization": "s",
        "X-Slack-Signature": "s", "X-Shopify-Hmac-Sha256": "s", "X-Secret": "s",
    }  # fmt: skip
    taken = accepted(hook(), standard() | private | {"X-Token-Count": "3", "User-Agent": "curl"})
    assert "s" not in taken.headers.values()
    assert taken.headers["user-agent"] == "curl"


def test_a_request_becomes_a_signal() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    taken = accepted(hook(), standard() | {"traceparent": trace})
    signal = to_signal(taken, path="alerts", id="s1", at=NOW, tenant="acme", by="hook")
    assert (signal.type, signal.subject, signal.tenant, signal.key) == (
        TRIGGER_WEBHOOK,
        "alerts",
        "acme",
        "webhook/alerts:msg_1",
    )
    assert signal.traceparent == trace
    assert signal.data == {"body": {"id": 7, "env": "prod"}, "headers": taken.headers, "query": {}}
    assert (
        to_signal(accepted(hook(), standard() | {"traceparent": "x"}), path="a", id="s", at=0, tenant="t").traceparent
        == ""
    )


@given(
    st.from_regex(r"[a-z]+(/[a-z]+)?", fullmatch=True),
    st.from_regex(r"[a-z]+(/[a-z]+)?", fullmatch=True),
    st.text(),
    st.text(),
)
def test_keys_of_different_hooks_are_different(one: str, other: str, key: str, second: str) -> None:
    def full(path: str, key: str) -> str:
        taken = Accepted(body=None, headers={}, query={}, scheme="none", key=key)
        return to_signal(taken, path=path, id="s", at=0, tenant="t").key

    if (one, key) != (other, second) and key and second:
        assert full(one, key) != full(other, second)


def test_a_secret_is_found_by_its_name() -> None:
    known = {"HOOK": "one", "B": "two"}

    def get(name: str) -> str:
        if name not in known:
            raise NotFound(name)
        return known[name]

    assert secret_of(hook(), get) == "one"
    assert secret_of(hook(secret="${{ secrets.HOOK }}-${{ secrets.B }}"), get) == "one-two"
    assert secret_of(open_hook(), get) == ""
    with pytest.raises(NotFound):
        secret_of(hook(secret="${{ secrets.NOPE }}"), get)
