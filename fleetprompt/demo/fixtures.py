"""Files that the examples work on: the shop's repository with its handbook, and a small data warehouse.

The same every time: commits have the same ids on every machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

from fleetprompt.demo import shop

REPOSITORY = "shop"
WAREHOUSE = "warehouse.db"
HISTORY = Path(__file__).with_name("shop.history")
"""The repository, as `git fast-import` reads it."""
BASE = "2.14.0"
"""The release that runs at first; the next one is ready in the repository."""
TABLES = """
CREATE TABLE customers (customer_id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE stg_orders (
    order_id INTEGER PRIMARY KEY, customer_id INTEGER, sku TEXT, quantity INTEGER, amount_cents INTEGER,
    updated_at TEXT NOT NULL, batch TEXT NOT NULL
);
CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers, sku TEXT NOT NULL,
    quantity INTEGER NOT NULL, amount_cents INTEGER NOT NULL, updated_at TEXT NOT NULL, batch TEXT NOT NULL
);
CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL);
CREATE TABLE loads (batch TEXT PRIMARY KEY, rows INTEGER NOT NULL);
CREATE TABLE quarantine (order_id INTEGER PRIMARY KEY, batch TEXT NOT NULL, reason TEXT NOT NULL, row TEXT NOT NULL);
"""


def make_repository(directory: Path) -> Path:
    """The shop's repository, in place of one that was there. Raises `OSError` where there is no Git."""
    folder = directory / REPOSITORY
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet", "--initial-branch=main", "--template=")
    _git(folder, "fast-import", "--quiet", stdin=HISTORY.read_bytes())
    _git(folder, "reset", "--quiet", "--hard")
    return folder


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> None:
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        subprocess.run(["git", *arguments], cwd=folder, input=stdin, env=kept | plain, capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise OSError(f"the shop's repository cannot be made: git {arguments[0]}: {said[:300]}") from None
    except FileNotFoundError:
        raise OSError("the shop's repository cannot be made: git is not installed") from None


def make_warehouse(directory: Path) -> Path:
    """The warehouse, in place of one that was there: customers and products are known, orders are loaded by runs."""
    path = directory / WAREHOUSE
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    people = [f"{given} {family}" for given in shop.GIVEN for family in shop.FAMILY]
    with closing(shop.connect(path)) as warehouse:
        warehouse.executescript(TABLES)
        warehouse.executemany("INSERT INTO products VALUES (?, ?, ?)", shop.PRODUCTS)
        warehouse.executemany("INSERT INTO customers VALUES (?, ?)", list(enumerate(people, start=1)))
    return path


def make_all(directory: Path) -> None:
    """Everything that is there before a service starts. Git does not look into the folder."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".gitignore").write_text("*\n", encoding="utf-8")
    make_repository(directory)
    make_warehouse(directory)
