"""Rows like those of TPC-H, few and always the same; every one of its 22 queries finds some."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta

__all__ = ["KEYS", "tables"]

KEYS: dict[str, tuple[tuple[str, str], ...]] = {
    "region": (), "nation": (), "part": (("p_partkey", "int"),), "supplier": (("s_suppkey", "int"),),
    "partsupp": (("ps_partkey", "int"),), "customer": (("c_custkey", "int"),), "orders": (("o_orderkey", "int"),),
    "lineitem": (("l_orderkey", "int"),),
}
PARTS, SUPPLIERS, CUSTOMERS, ORDERS = 200, 25, 200, 1200
REGIONS = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"]
NATIONS = [("ALGERIA", 0), ("BRAZIL", 1), ("CANADA", 1), ("FRANCE", 3), ("GERMANY", 3), ("INDIA", 2), ("JAPAN", 2),
           ("KENYA", 0), ("SAUDI ARABIA", 4), ("UNITED STATES", 1)]
COLORS = ["green", "forest", "almond", "blue", "red"]
TYPES = ["ECONOMY ANODIZED STEEL", "PROMO BURNISHED BRASS", "MEDIUM POLISHED TIN", "STANDARD PLATED BRASS"]
CONTAINERS = ["MED BOX", "SM CASE", "LG PACK", "MED BAG", "SM PKG", "LG BOX"]
BRANDS = ["Brand#23", "Brand#12", "Brand#34", "Brand#45"]
SIZES = [15, 3, 9, 14, 5, 49]
SEGMENTS = ["BUILDING", "AUTOMOBILE", "MACHINERY"]
PRIORITIES = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"]
MODES = ["MAIL", "SHIP", "AIR", "AIR REG", "RAIL"]
Row = tuple[object, ...]


def _money(source: random.Random, low: int, high: int) -> str:
    return f"{source.randrange(low, high) / 100:.2f}"


def _phone(nation: int, number: int) -> str:
    return f"{(13, 31, 23, 29, 30, 18, 17, 10, 11, 12)[nation]}-{number % 900 + 100}-555-0000"


def tables() -> Iterator[tuple[str, list[Row]]]:
    """Rows by table, in an order that foreign keys allow."""
    source = random.Random(11)
    yield "region", [(number, name, "comment") for number, name in enumerate(REGIONS)]
    yield "nation", [(number, name, region, "comment") for number, (name, region) in enumerate(NATIONS)]
    yield "part", [
        (n, f"{source.choice(COLORS)} {source.choice(COLORS)}", "Manufacturer#1", BRANDS[n % 4], source.choice(TYPES),
         source.choice(SIZES), source.choice(CONTAINERS), _money(source, 90000, 200000), "comment")
        for n in range(1, PARTS + 1)]
    yield "supplier", [
        (n, f"Supplier#{n:09}", f"address {n}", n % len(NATIONS), _phone(n % len(NATIONS), n),
         _money(source, -90000, 999999), "Customer Complaints" if n % 9 == 0 else "comment")
        for n in range(1, SUPPLIERS + 1)]
    yield "partsupp", [
        (part, (part + step * 7) % SUPPLIERS + 1, source.randrange(1, 9999), _money(source, 100, 100000), "comment")
        for part in range(1, PARTS + 1) for step in range(3)]
    yield "customer", [
        (n, f"Customer#{n:09}", f"address {n}", n % len(NATIONS), _phone(n % len(NATIONS), n),
         _money(source, -90000, 999999), source.choice(SEGMENTS), "comment") for n in range(1, CUSTOMERS + 1)]
    yield from _orders(source)


def _orders(source: random.Random) -> Iterator[tuple[str, list[Row]]]:
    orders: list[Row] = []
    items: list[Row] = []
    for order in range(1, ORDERS + 1):
        day = date(1992, 6, 1) + timedelta(days=source.randrange(2200))
        lines = [_line(source, order, number, day) for number in range(1, source.randrange(2, 8))]
        items += lines
        comment = "special packages requests" if order % 17 == 0 else "comment"
        orders.append((order, source.randrange(1, CUSTOMERS // 3) * 3 + 1 if order % 5 else 1, source.choice("FOP"),
                       _money(source, 100000, 50000000), day, source.choice(PRIORITIES), f"Clerk#{order % 9}", 0,
                       comment))
    yield "orders", orders
    yield "lineitem", items


def _line(source: random.Random, order: int, number: int, day: date) -> Row:
    part = source.randrange(1, PARTS + 1)
    shipped = day + timedelta(days=source.randrange(1, 100))
    received = shipped + timedelta(days=source.randrange(1, 30))
    return (order, part, (part + source.randrange(3) * 7) % SUPPLIERS + 1, number, source.randrange(1, 51),
            _money(source, 90000, 9000000), f"0.{source.randrange(0, 11):02}", f"0.0{source.randrange(0, 9)}",
            source.choice("RAN"), source.choice("OF"), shipped, day + timedelta(days=source.randrange(30, 90)), received,
            "DELIVER IN PERSON" if order % 2 else "NONE", source.choice(MODES), "comment")
