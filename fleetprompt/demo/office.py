"""What the examples talk to besides the checkout service: a feed of orders, a desk for answers to customers, a place to
deploy to, and the handbook over HTTP.

Everything that changes something honours `Idempotency-Key` and is counted: `GET /deployments` and `GET /replies` say
what has really happened. `python -m fleetprompt.demo.office --directory DIR` serves it alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.server import HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fleetprompt.demo import shop
from fleetprompt.demo.fixtures import BASE, REPOSITORY
from fleetprompt.demo.records import Records
from fleetprompt.demo.service import LOOPBACK, JsonHandler

RECORDS = "office.db"
BROKEN = "deploy.broken"
"""While a file of this name is there, deployments are accepted and the old version goes on."""
PAGE = 40
"""Orders in each batch of the feed."""
FIRST = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
"""When the feed begins."""
BATCHES = 2
ODD_AMOUNT, UNKNOWN_CUSTOMER = (7, 19, 31), (12, 26)
"""Positions in the first batch of orders without an amount, and of customers whom nobody knows."""
TICKETS: Mapping[str, Mapping[str, Any]] = {
    "T-1001": {
        "customer": "ada.berg@example.org",
        "subject": "Charged twice",
        "text": "I was charged twice for the espresso beans. I sent the order once more because nothing happened.",
    },
    "T-1002": {
        "customer": "hiro.hansen@example.org",
        "subject": "Coupon does not work",
        "text": "The shop says `internal error` when I enter AUTUMN-FREESHIP. Is the shop broken?",
    },
}


class Office:
    """The state behind the routes, in one folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records = Records(directory / RECORDS)

    def answer(
        self, method: str, parts: list[str], query: Mapping[str, str], key: str, body: Any
    ) -> tuple[int, Any] | None:
        """The answer to a request; None where there is no such route. Raises `ValueError`."""
        match method, parts:
            case "GET", ["feed", "orders"]:
                return 200, batch(query.get("since", ""))
            case "GET", ["tickets", number]:
                found = TICKETS.get(number)
                return (200, {"id": number, **found}) if found else (404, {"error": f"there is no ticket {number}"})
            case "POST", ["replies"]:
                return self._reply(key, body)
            case "GET", ["replies"]:
                return 200, {"replies": self.records.all("reply")}
            case "GET", ["replies", sought]:
                return self._looked_up("reply", sought)
            case "POST", ["deployments"]:
                return self._deploy(key, body)
            case "GET", ["deployments"]:
                return 200, {"deployments": self.records.all("deployment")}
            case "GET", ["deployments", sought]:
                return self._looked_up("deployment", sought)
            case "GET", ["version"]:
                return 200, {"service": "checkout", "version": self.version}
            case "GET", ["handbook", name] if re.fullmatch(r"[a-z]+", name):
                return self._page(name)
            case _:
                return None

    @property
    def version(self) -> str:
        """What runs now: the last deployment that came up."""
        up = [each for each in self.records.all("deployment") if each["up"]]
        return up[-1]["version"] if up else BASE

    def _deploy(self, key: str, body: Any) -> tuple[int, Any]:
        version = body.get("version") if isinstance(body, dict) else None
        if not isinstance(version, str) or not re.fullmatch(r"\d+\.\d+\.\d+", version):
            return 422, {"error": "version must be like 2.15.0"}
        up = not (self.directory / BROKEN).exists()
        return self._once("deployment", key, {"version": version, "before": self.version, "up": up})

    def _reply(self, key: str, body: Any) -> tuple[int, Any]:
        if not isinstance(body, dict) or body.get("ticket") not in TICKETS or not body.get("text"):
            return 422, {"error": "a reply has the ticket that it answers, and a text"}
        return self._once("reply", key, {"ticket": body["ticket"], "text": str(body["text"])[:5000]})

    def _once(self, kind: str, key: str, answer: dict[str, Any]) -> tuple[int, Any]:
        """Do it unless that was done under the same key; the answer is the same then."""
        key = key or uuid.uuid4().hex
        if (before := self.records.read(kind, key)) is not None:
            return 200, before
        number = len(self.records.all(kind)) + 1
        answer = {"number": number, "key": key, "at": shop.stamp(datetime.now(UTC)), **answer}
        self.records.write(kind, key, answer)
        return 201, answer

    def _looked_up(self, kind: str, key: str) -> tuple[int, Any]:
        found = self.records.read(kind, unquote(key))
        return (200, found) if found else (404, {"error": f"there was no {kind} with that key"})

    def _page(self, name: str) -> tuple[int, Any]:
        path = self.directory / REPOSITORY / "docs" / f"{name}.md"
        if not path.is_file():
            return 404, {"error": f"the handbook has no page {name}"}
        return 200, {"page": name, "text": path.read_text(encoding="utf-8")}


def batch(since: str) -> dict[str, Any]:
    """The orders after a moment, a page of them: those of the first one are not all in order. The same every time."""
    orders = [order for number in range(BATCHES) for order in _orders(number)]
    page = [order for order in orders if order["updated_at"] > since][:PAGE]
    amounts = sum(order["amount_cents"] or 0 for order in page)
    last = page[-1]["updated_at"] if page else since
    return {"orders": page, "max_updated_at": last, "control": {"count": len(page), "amount_cents": amounts}}


def _orders(number: int) -> list[dict[str, Any]]:
    chance = random.Random(number)
    rows: list[dict[str, Any]] = []
    for position in range(PAGE):
        sku, _, price = shop.PRODUCTS[chance.randrange(len(shop.PRODUCTS))]
        odd = number == 0 and position in ODD_AMOUNT
        stranger = number == 0 and position in UNKNOWN_CUSTOMER
        rows.append(
            {
                "order_id": 1000 * (number + 1) + position,
                "customer_id": 900 + position if stranger else chance.randrange(80) + 1,
                "sku": sku,
                "quantity": 1,
                "amount_cents": None if odd else price,
                "updated_at": shop.stamp(FIRST + timedelta(hours=number, seconds=90 * position)),
            }
        )
    return rows


class OfficeHandler(JsonHandler):
    """The routes alone."""

    office: Office

    def answer(self, method: str, parts: list[str], query: dict[str, str]) -> tuple[int, Any]:
        body = self.body() if method == "POST" else None
        found = self.office.answer(method, parts, query, self.headers.get("Idempotency-Key") or "", body)
        return found or (404, {"error": f"there is no {method} {self.path}"})


class OfficeServer(HTTPServer):
    """One request at a time, until the process that started it is gone."""

    def __init__(self, office: Office, port: int, parent: int) -> None:
        super().__init__((LOOPBACK, port), type("BoundOfficeHandler", (OfficeHandler,), {"office": office}))
        self.parent = parent

    def service_actions(self) -> None:
        if os.getppid() != self.parent:
            raise SystemExit(0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            sys.stderr.write(f"request failed: {error!r}\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m fleetprompt.demo.office", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where it keeps what has happened")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 is any free one")
    options = parser.parse_args(arguments)
    server = OfficeServer(Office(options.directory), options.port, os.getppid())
    sys.stdout.write(json.dumps({"url": f"http://{LOOPBACK}:{server.server_port}"}) + "\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
