"""The checkout service: orders over HTTP, stored through a small pool of database connections.

It has one real fault, in `Checkout.place`. The log is one JSON object per line. The service ends on SIGTERM, and by
itself when the process that started it is gone.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import random
import signal
import socket
import sqlite3
import sys
import threading
import time
import traceback
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from logging.handlers import RotatingFileHandler
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fleetprompt.demo import shop

LOOPBACK = "127.0.0.1"
POOL_SIZE = 5
POOL_WAIT = 0.25
"""Seconds an order waits for a connection before it fails."""
STUCK = 0.5
"""A connection that is out for longer than this many seconds is not coming back."""
BODY_LIMIT = 64 * 1024
LOG_LIMIT = 16 * 1024 * 1024

log = logging.getLogger("checkout")


class PoolExhausted(Exception):
    """Every connection of the pool is in use."""


class ConnectionPool:
    """A fixed number of connections; whoever takes one gives it back."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._taken: dict[int, float] = {}
        for _ in range(size):
            self._idle.put(shop.connect(path))

    def take(self, wait: float) -> sqlite3.Connection:
        try:
            connection = self._idle.get(timeout=wait)
        except queue.Empty:
            message = f"no free connection after {wait * 1000:.0f} ms ({len(self._taken)} of {self.size} in use)"
            raise PoolExhausted(message) from None
        self._taken[id(connection)] = time.monotonic()
        return connection

    def give_back(self, connection: sqlite3.Connection) -> None:
        del self._taken[id(connection)]
        self._idle.put(connection)

    def report(self) -> dict[str, Any]:
        now = time.monotonic()
        ages = [now - since for since in list(self._taken.values())]
        return {
            "size": self.size,
            "in_use": len(ages),
            "stuck": sum(age > STUCK for age in ages),
            "oldest_seconds": round(max(ages, default=0.0), 1),
        }


class Checkout:
    """The application behind the HTTP face."""

    def __init__(self, database: Path, release: str, warmup: float) -> None:
        self.database = database
        self.release = release
        self.counts: Counter[str] = Counter()
        self.started = time.monotonic()
        self.started_at = shop.stamp(datetime.now(UTC))
        self.warm_at = self.started + warmup
        self.pool = ConnectionPool(database, POOL_SIZE)

    def health(self) -> tuple[int, dict[str, Any]]:
        pool = self.pool.report()
        about = {"service": "checkout", "release": self.release, "pid": os.getpid(), "started_at": self.started_at}
        if time.monotonic() < self.warm_at:
            return 503, {"status": "warming_up", "reason": "warming up", "pool": pool, **about}
        if pool["stuck"] >= pool["size"]:
            reason = f"connection pool exhausted: {pool['in_use']} of {pool['size']} connections in use and stuck"
            return 503, {"status": "degraded", "reason": reason, "pool": pool, **about}
        return 200, {"status": "ok", "pool": pool, **about}

    def place(self, order: shop.Order) -> dict[str, Any]:
        connection = self.pool.take(POOL_WAIT)
        try:
            receipt = shop.place_order(connection, order, release=self.release)
        except shop.OrderRefused:
            self.pool.give_back(connection)
            raise
        # The fault: any other exception (a coupon without a number at its end) never comes past this line.
        self.pool.give_back(connection)
        return receipt

    def order(self, request_id: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Place an order and answer for it: 201, 422 refused, 503 no connection, 500 anything else."""
        if time.monotonic() < self.warm_at:
            return 503, {"error": "warming up", "request_id": request_id}
        order = None
        try:
            order = shop.Order.read(request_id, body)
            receipt = self.place(order)
        except shop.OrderRefused as refusal:
            self.counts["refused"] += 1
            log.info("order refused: %s", refusal, extra={"request_id": request_id})
            return 422, {"error": str(refusal), "request_id": request_id}
        except Exception as error:
            exhausted = isinstance(error, PoolExhausted)
            self.counts["failed"] += 1
            self.counts["pool_timeouts"] += exhausted
            log.exception("order %s failed: %s", request_id, error, extra={"request_id": request_id})
            if order is not None:
                with closing(shop.connect(self.database)) as ledger:
                    shop.record_failure(ledger, order, error)
            return 503 if exhausted else 500, {"error": type(error).__name__, "request_id": request_id}
        self.counts["placed"] += 1
        number, amount = receipt["order"], receipt["amount_cents"]
        log.info("order %s placed for %s cents", number, amount, extra={"request_id": request_id})
        return 201, {**receipt, "request_id": request_id}

    def statistics(self, minutes: float) -> dict[str, Any]:
        with closing(shop.connect(self.database)) as reader:
            stats = shop.statistics(reader, minutes)
        return {**stats, "since_start": {name: self.counts[name] for name in ("placed", "failed")}}

    def metrics(self) -> dict[str, Any]:
        names = ("placed", "refused", "failed", "pool_timeouts")
        return {
            "release": self.release,
            "uptime_seconds": round(time.monotonic() - self.started, 3),
            "orders": {name: self.counts[name] for name in names},
            "pool": self.pool.report(),
        }


class JsonHandler(BaseHTTPRequestHandler, ABC):
    """One JSON request, one JSON answer."""

    timeout = 2

    @abstractmethod
    def answer(self, method: str, parts: list[str], query: dict[str, str]) -> tuple[int, Any]:
        """The status and the JSON of an answer. Raises `ValueError` for a request that makes no sense."""

    def body(self) -> Any:
        """The JSON body, an empty object when there is none; ValueError when it is not JSON or too large."""
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= BODY_LIMIT:
            raise ValueError(f"the body may have at most {BODY_LIMIT} bytes")
        return json.loads(self.rfile.read(length)) if length else {}

    def reply(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            status, content = self.answer(self.command, url.path.strip("/").split("/"), query)
        except (ValueError, RecursionError) as error:
            status, content = 400, {"error": str(error)}
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = reply

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are logged by the application, with what it knows about them."""


class CheckoutHandler(JsonHandler):
    """Routes of the checkout service."""

    checkout: Checkout

    def answer(self, method: str, parts: list[str], query: dict[str, str]) -> tuple[int, Any]:
        match method, parts:
            case "GET", ["health"]:
                return self.checkout.health()
            case "POST", ["orders"]:
                return self.checkout.order(self.headers.get("X-Request-Id") or uuid.uuid4().hex[:12], self.body())
            case "GET", ["orders", "stats"]:
                minutes = float(query.get("minutes", "15"))
                if not 0 < minutes <= 7 * 24 * 60:
                    raise ValueError("minutes must be between 0 and one week")
                return 200, self.checkout.statistics(minutes)
            case "GET", ["metrics.json"]:
                return 200, self.checkout.metrics()
            case _:
                return 404, {"error": f"there is no {method} {self.path}"}


class CheckoutServer(ThreadingHTTPServer):
    """Serves on a listening socket that may have been opened by the parent, until stopped or orphaned."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, checkout: Checkout, parent: int) -> None:
        handler = type("BoundCheckoutHandler", (CheckoutHandler,), {"checkout": checkout})
        TCPServer.__init__(self, listener.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = listener.getsockname()
        self.stopping = threading.Event()
        self.parent = parent

    def service_actions(self) -> None:
        if self.stopping.is_set() or (self.parent and os.getppid() != self.parent):
            raise SystemExit(0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("a client went away: %s", sys.exc_info()[1])


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback interface; port 0 is any free one."""
    return socket.create_server((LOOPBACK, port), backlog=128)


def log_line(at: datetime, level: str, logger: str, message: str, **fields: Any) -> str:
    """One line of the log."""
    return json.dumps({"ts": shop.stamp(at), "level": level, "logger": logger, "message": message, **fields})


class JsonFormatter(logging.Formatter):
    """Log records as lines of JSON, exceptions with their type and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {}
        if request_id := getattr(record, "request_id", None):
            fields["request_id"] = request_id
        if record.exc_info and record.exc_info[0]:
            fields["exc_type"] = record.exc_info[0].__name__
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        at = datetime.fromtimestamp(record.created, UTC)
        return log_line(at, record.levelname, record.name, record.getMessage(), **fields)


def write_history(path: Path, *, now: datetime | None = None, hours: float = 6, seed: int = 11) -> None:
    """A log of the past hours: orders, and now and then the payment provider's well-known timeout."""
    now = now or datetime.now(UTC)
    chance = random.Random(seed)
    lines = []
    for number, age in enumerate(range(int(hours * 3600), 60, -90), start=1):
        at = now - timedelta(seconds=age)
        request = f"{chance.getrandbits(48):012x}"
        if number % 40 == 20:
            message = f"payment for order {number} failed: provider did not answer within 3000 ms"
            trace = (
                'Traceback (most recent call last):\n  File "/srv/checkout/payments.py", line 88, in charge\n'
                "    return provider.charge(order, timeout=3.0)\n"
                "PaymentTimeout: provider did not answer within 3000 ms\n"
            )
            extra = {"request_id": request, "exc_type": "PaymentTimeout", "traceback": trace}
            lines.append(log_line(at, "ERROR", "checkout.payments", message, **extra))
        else:
            message = f"order {number} placed for {chance.randrange(500, 9000)} cents"
            lines.append(log_line(at, "INFO", "checkout", message, request_id=request))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m fleetprompt.demo.service", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 is any free one")
    parser.add_argument("--db", type=Path, required=True, help="the shop's database; created when it is missing")
    parser.add_argument("--log", type=Path, required=True, help="the log file, appended to")
    parser.add_argument("--release", default="2.14.0", help="the release to behave as")
    parser.add_argument("--warmup", type=float, default=0.2, help="seconds of warm-up")
    parser.add_argument("--fd", type=int, help="an inherited listening socket, instead of --port")
    parser.add_argument("--parent", type=int, default=0, help="end when this process is no longer the parent")
    options = parser.parse_args(arguments)
    handler = RotatingFileHandler(options.log, maxBytes=LOG_LIMIT, backupCount=1, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    if not options.db.exists():
        shop.create(options.db)
    listener = listen(options.port) if options.fd is None else socket.socket(fileno=options.fd)
    server = CheckoutServer(listener, Checkout(options.db, options.release, options.warmup), options.parent)
    signal.signal(signal.SIGTERM, lambda *_: server.stopping.set())
    signal.signal(signal.SIGINT, lambda *_: server.stopping.set())
    log.info("checkout %s listens on http://%s:%s", options.release, LOOPBACK, server.server_port)
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        log.info("checkout stops")


if __name__ == "__main__":
    main()
