"""The shop's database: a catalogue, customers and orders, and the one way to place an order.

The seeded data is deterministic but for the clock: order times are relative to `now`, so the shop always looks busy.
Failed orders are rows too: what a fault costs can be asked of the database and need not be guessed from logs.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

COUPONS_SINCE = (2, 14)
"""The release that introduced coupons, and with them the fault."""

SCHEMA = """
CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL);
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, country TEXT NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    sku TEXT NOT NULL REFERENCES products (sku),
    quantity INTEGER NOT NULL,
    coupon TEXT,
    amount_cents INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('placed', 'failed')),
    error TEXT,
    created_at TEXT NOT NULL
);
CREATE INDEX orders_by_time ON orders (created_at);
"""

PRODUCTS = (
    ("ESP-250", "Espresso beans, 250 g", 790),
    ("ESP-1000", "Espresso beans, 1 kg", 2690),
    ("FIL-500", "Filter roast, 500 g", 1450),
    ("DEC-250", "Decaf, 250 g", 850),
    ("GRD-HAND", "Hand grinder", 8900),
    ("SCL-01", "Brewing scale", 4500),
    ("KTL-GOOSE", "Gooseneck kettle", 6400),
    ("PPR-100", "Paper filters, 100 pieces", 520),
    ("MUG-SET4", "Mugs, set of four", 3200),
    ("SUB-MONTH", "Monthly subscription", 1990),
)
GIVEN = ("Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Femi", "Greta", "Hiro", "Ines", "Jonas")
FAMILY = ("Berg", "Costa", "Demir", "Eze", "Fischer", "Garcia", "Hansen", "Ito")
COUNTRIES = ("DE", "FR", "IT", "PT", "TR", "NG", "JP", "DK")


class OrderRefused(Exception):
    """The order cannot be placed as it is; the customer is told why."""


DOUBLE = 26 * 3600.0
"""Seconds since the first of the two orders of a customer who says that she was charged twice."""


@dataclass(frozen=True)
class Order:
    """What a customer asks for."""

    request_id: str
    customer_id: int
    sku: str
    quantity: int = 1
    coupon: str | None = None

    @classmethod
    def read(cls, request_id: str, body: Any) -> Order:
        """The order in a request's JSON body, or `OrderRefused`."""
        if not isinstance(body, dict):
            raise OrderRefused("the body must be a JSON object")
        customer, sku = body.get("customer_id"), body.get("sku")
        quantity, coupon = body.get("quantity", 1), body.get("coupon")
        if type(customer) is not int or not isinstance(sku, str):
            raise OrderRefused("customer_id (an integer) and sku (a string) are required")
        if type(quantity) is not int or not 1 <= quantity <= 99:
            raise OrderRefused("quantity must be between 1 and 99")
        if coupon is not None and (not isinstance(coupon, str) or len(coupon) > 40):
            raise OrderRefused("coupon must be a string of at most 40 characters")
        return cls(request_id, customer, sku, quantity, coupon)


def stamp(at: datetime) -> str:
    """UTC with milliseconds: the one text form of a time in the shop, which sorts as it reads."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def connect(path: Path) -> sqlite3.Connection:
    """A connection that any one thread at a time may use; every statement commits by itself."""
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def create(path: Path, *, now: datetime | None = None, orders: int = 500, hours: float = 6, seed: int = 7) -> None:
    """Create the shop with `orders` orders spread over the last `hours`; one in a hundred was declined by the bank. The
    day before, one customer has ordered the same twice."""
    now = now or datetime.now(UTC)
    chance = random.Random(seed)
    people = [(given, family) for given in GIVEN for family in FAMILY]
    ages = sorted((chance.uniform(20, hours * 3600) for _ in range(orders)), reverse=True)
    rows = [_by_ada(now, seconds) for seconds in (DOUBLE, DOUBLE - 70)]
    for number, age in enumerate(ages, start=1):
        sku, _, price = chance.choices(PRODUCTS, weights=range(len(PRODUCTS), 0, -1))[0]
        quantity = chance.choices((1, 2, 3), weights=(7, 2, 1))[0]
        coupon = "AUTUMN-10" if chance.random() < 0.1 else None
        amount = price * quantity * (90 if coupon else 100) // 100
        declined = number % 100 == 50
        status, error = ("failed", "CardDeclined: the bank refused the payment") if declined else ("placed", None)
        customer, when = chance.randrange(len(people)) + 1, stamp(now - timedelta(seconds=age))
        rows.append((f"{chance.getrandbits(48):012x}", customer, sku, quantity, coupon, amount, status, error, when))
    with closing(connect(path)) as shop:
        shop.execute("PRAGMA journal_mode = WAL")
        shop.executescript(SCHEMA)
        shop.execute("BEGIN IMMEDIATE")
        shop.executemany("INSERT INTO products VALUES (?, ?, ?)", PRODUCTS)
        shop.executemany(
            "INSERT INTO customers (name, email, country) VALUES (?, ?, ?)",
            [
                (f"{given} {family}", f"{given}.{family}@example.org".lower(), COUNTRIES[index % len(COUNTRIES)])
                for index, (given, family) in enumerate(people)
            ],
        )
        shop.executemany(
            "INSERT INTO orders (request_id, customer_id, sku, quantity, coupon, amount_cents, status, error,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        shop.execute("COMMIT")


def _by_ada(now: datetime, seconds: float) -> tuple[Any, ...]:
    """One of the two orders that her ticket is about: the same, placed once more because nothing had happened."""
    sku, _, price = PRODUCTS[0]
    when = stamp(now - timedelta(seconds=seconds))
    return (f"ada{seconds:09.0f}", 1, sku, 1, None, price, "placed", None, when)


def place_order(shop: sqlite3.Connection, order: Order, *, release: str) -> dict[str, Any]:
    """Price the order, store it, and return its receipt."""
    product = shop.execute("SELECT price_cents FROM products WHERE sku = ?", (order.sku,)).fetchone()
    if product is None:
        raise OrderRefused(f"there is no product {order.sku!r}")
    amount = discounted(product[0] * order.quantity, order.coupon, release)
    cursor = shop.execute(
        "INSERT INTO orders (request_id, customer_id, sku, quantity, coupon, amount_cents, status, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, 'placed', ?)",
        (*_columns(order), amount, stamp(datetime.now(UTC))),
    )
    return {"order": cursor.lastrowid, "amount_cents": amount, "status": "placed"}


def discounted(cents: int, coupon: str | None, release: str) -> int:
    """The price after the coupon, whose percentage is the last part of its code: AUTUMN-10."""
    if not coupon:
        return cents
    if tuple(int(part) for part in release.split(".")[:2]) < COUPONS_SINCE:
        raise OrderRefused("coupons are not accepted")
    percent = int(coupon.rsplit("-", 1)[1])
    return cents * (100 - max(0, min(percent, 100))) // 100


def record_failure(shop: sqlite3.Connection, order: Order, error: BaseException) -> None:
    """Remember an order that was lost, at its price without discount."""
    shop.execute(
        "INSERT INTO orders (request_id, customer_id, sku, quantity, coupon, amount_cents, status, error, created_at)"
        " SELECT ?, ?, sku, ?, ?, price_cents * ?, 'failed', ?, ? FROM products WHERE sku = ?",
        (
            order.request_id,
            order.customer_id,
            order.quantity,
            order.coupon,
            order.quantity,
            f"{type(error).__name__}: {error}"[:200],
            stamp(datetime.now(UTC)),
            order.sku,
        ),
    )


def statistics(shop: sqlite3.Connection, minutes: float, *, now: datetime | None = None) -> dict[str, Any]:
    """Placed and failed orders of the last `minutes`."""
    since = stamp((now or datetime.now(UTC)) - timedelta(minutes=minutes))
    placed, failed = shop.execute(
        "SELECT count(*) FILTER (WHERE status = 'placed'), count(*) FILTER (WHERE status = 'failed')"
        " FROM orders WHERE created_at >= ?",
        (since,),
    ).fetchone()
    total = placed + failed
    return {
        "minutes": minutes,
        "since": since,
        "placed": placed,
        "failed": failed,
        "failure_rate": round(failed / total, 4) if total else 0.0,
    }


def _columns(order: Order) -> tuple[str, int, str, int, str | None]:
    return order.request_id, order.customer_id, order.sku, order.quantity, order.coupon
