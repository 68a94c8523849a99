"""Rows like those of TPC-DS, few and always the same. Columns are filled by what their names say."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

__all__ = ["KEYS", "tables"]

REFERENCE = ("date_dim", "time_dim", "store", "warehouse", "ship_mode", "reason", "promotion", "call_center",
             "catalog_page", "web_site", "web_page", "income_band", "household_demographics", "customer_demographics",
             "item")
SHARDED = {
    "customer_address": "ca_address_sk", "customer": "c_customer_sk", "store_sales": "ss_customer_sk",
    "store_returns": "sr_customer_sk", "catalog_sales": "cs_item_sk", "catalog_returns": "cr_item_sk",
    "web_sales": "ws_bill_customer_sk", "web_returns": "wr_item_sk", "inventory": "inv_item_sk",
}
FACTS = ("store_sales", "store_returns", "catalog_sales", "catalog_returns", "web_sales", "web_returns")
BY_ITEM = dict(zip(FACTS, ("ss_item_sk", "sr_item_sk", "cs_item_sk", "cr_item_sk", "ws_item_sk", "wr_item_sk"),
                   strict=True))
BY_ORDER = dict(zip(FACTS, ("ss_ticket_number", "sr_ticket_number", "cs_order_number", "cr_order_number",
                            "ws_order_number", "wr_order_number"), strict=True))
DIMENSIONS = {"item": "i_item_sk", "date_dim": "d_date_sk", "store": "s_store_sk", "promotion": "p_promo_sk",
              "household_demographics": "hd_demo_sk", "customer_demographics": "cd_demo_sk"}


def _keys(sharded: dict[str, str], reference: tuple[str, ...] = REFERENCE) -> dict[str, tuple[tuple[str, str], ...]]:
    return {**dict.fromkeys(reference, ()), **{table: ((key, "int"),) for table, key in sharded.items()}}


KEYS = _keys(SHARDED)
LAYOUTS = {"mixed": KEYS, "item": _keys({**SHARDED, **BY_ITEM, "item": "i_item_sk"}),
           "order": _keys({**SHARDED, **BY_ORDER}), "dimensions": _keys({**SHARDED, **DIMENSIONS}, ()),
           "unsharded": _keys(SHARDED, ())}
"""Choices of keys: sales by customer or item, by item, by order; small tables split, too, or on the coordinator."""

SIZES = {"store": 6, "warehouse": 3, "ship_mode": 4, "reason": 5, "promotion": 5, "call_center": 3, "catalog_page": 5,
         "web_site": 3, "web_page": 5, "income_band": 6, "household_demographics": 24, "customer_demographics": 30,
         "item": 60, "customer_address": 60, "customer": 100, "store_sales": 1500, "store_returns": 300,
         "catalog_sales": 900, "catalog_returns": 200, "web_sales": 900, "web_returns": 200}
FIRST_DAY, DAYS = date(1998, 12, 1), 1160
PARENTS = {"date": DAYS, "time": 48, "item": 60, "customer": 100, "cdemo": 30, "hdemo": 24, "addr": 60, "store": 6,
           "promo": 5, "warehouse": 3, "ship_mode": 4, "reason": 5, "call_center": 3, "catalog_page": 5,
           "web_page": 5, "web_site": 3, "income_band": 6}
WORDS: dict[str, list[str] | list[str | None]] = {
    "s_city": ["Midway", "Fairview"], "s_county": ["Williamson County", "Walker County"],
    "s_state": ["TN", "GA"], "w_state": ["TN", "GA"],
    "ca_state": ["TN", "GA", "CA", "TX", None], "ca_city": ["Midway", "Fairview", "Oakland"],
    "ca_county": ["Williamson County", "Walker County", "Rush County"], "ca_country": ["United States"],
    "ca_location_type": ["condo", "apartment"], "ca_zip": ["85669", "86197", "24128", "35709", "88274"],
    "s_zip": ["85669", "24128"], "cd_gender": ["M", "F"], "cd_marital_status": ["S", "M", "W"],
    "cd_education_status": ["College", "Advanced Degree", "2 yr Degree", "Unknown"],
    "cd_credit_rating": ["Good", "Low Risk"],
    "hd_buy_potential": [">10000", "0-500", "501-1000", "Unknown"], "i_category": ["Books", "Sports", "Music", "Home"],
    "i_class": ["romance", "fishing", "rock", "curtains", "reference"], "i_color": ["pink", "red", "navajo"],
    "i_brand": ["brand#1", "brand#2", "brand#3"], "i_units": ["Ounce", "Each"], "i_size": ["small", "large"],
    "i_manufact": ["ought", "able"], "p_channel_dmail": ["Y", "N"], "p_channel_email": ["Y", "N"],
    "p_channel_tv": ["Y", "N"], "p_channel_event": ["Y", "N"], "t_meal_time": ["breakfast", "dinner"],
    "sm_type": ["EXPRESS", "REGULAR"], "sm_carrier": ["DHL", "UPS"], "s_store_name": ["ese", "ought"],
    "c_preferred_cust_flag": ["Y", "N"], "c_last_name": ["Smith", "Jones", "Lee"],
    "c_first_name": ["Ann", "Bob", "Eve"],
    "web_company_name": ["pri", "able"], "cc_county": ["Williamson County"], "s_company_name": ["Unknown"],
    "c_birth_country": ["CHILE", "PERU", None], "s_gmt_offset": ["-5.00"], "ca_gmt_offset": ["-5.00", "-6.00"],
    "w_gmt_offset": ["-5.00"], "cc_gmt_offset": ["-5.00"], "web_gmt_offset": ["-5.00"],
    "cc_state": ["TN", "GA"], "web_state": ["TN"],
    "cp_department": ["DEPARTMENT"], "cp_type": ["bi-annual", "quarterly"], "w_country": ["United States"],
}
Row = tuple[object, ...]


def _schema() -> dict[str, list[tuple[str, str]]]:
    found = {}
    text = Path(__file__).with_name("tpcds_schema.sql").read_text()
    for table, body in re.findall(r"create table (\w+) \((.*)\);", text):
        columns = re.findall(r"(\w+) (int|date|numeric|char|varchar)\b", body)
        found[table] = [(name, kind) for name, kind in columns if "_" in name]
    return found


def _value(source: random.Random, name: str, kind: str, number: int) -> object:
    """A value for a column of that name in row ``number``."""
    if name in WORDS:
        return source.choice(WORDS[name])
    if parent := next((p for p in PARENTS if re.search(rf"_{p}(_sk|_demo_sk)$", name)), None):
        nullable = not name.endswith("item_sk") and not name.startswith("inv")
        return None if nullable and source.random() < 0.03 else source.randrange(1, PARENTS[parent] + 1)
    if name.endswith(("order_number", "ticket_number")):
        return number // 3 + 1
    if kind == "numeric":
        return f"{source.randrange(100, 20000) / 100:.2f}"
    if name.endswith("quantity"):
        return None if source.random() < 0.03 else source.randrange(1, 100)
    if kind == "int":
        return source.randrange(1, 13) if "birth_month" in name else source.randrange(1, 7)
    if re.search("_channel_(?!details)|_flag|_active", name):
        return source.choice("YN")
    if kind == "date":
        return FIRST_DAY if "start" in name or source.random() < 0.5 else None
    if name.endswith("_id"):
        return f"AAAA{number // 2:08}"
    return f"{name[2:8]} {number % 7}"


def _dimension(table: str, columns: list[tuple[str, str]], source: random.Random) -> list[Row]:
    """The first column counts from 1."""
    return [(number, *(_value(source, name, kind, number) for name, kind in columns[1:]))
            for number in range(1, SIZES[table] + 1)]


def _dates() -> list[Row]:
    found: list[Row] = []
    for number in range(1, DAYS + 1):
        day = FIRST_DAY + timedelta(days=number)
        months, quarter = (day.year - 1900) * 12 + day.month - 1, (day.month - 1) // 3 + 1
        free = "Y" if day.isoweekday() > 5 else "N"
        found.append((number, f"AAAA{number:08}", day, months, 5000 + number // 7, months // 3, day.year,
                      day.isoweekday() % 7, day.month, day.day, quarter, day.year, months // 3, 5000 + number // 7,
                      f"{day:%A}", f"{day.year}Q{quarter}", "N", free, "N", number - day.day + 1, number, number - 365,
                      number - 91, *"NNNNN"))
    return found


def tables() -> Iterator[tuple[str, list[Row]]]:
    """Rows by table."""
    source = random.Random(5)
    for table, columns in _schema().items():
        if table == "date_dim":
            yield table, _dates()
        elif table == "time_dim":
            yield table, [(n, f"AAAA{n:08}", 1800 * n, (n - 1) // 2, 30 * (n % 2), 0, "AM" if n < 25 else "PM", "first",
                           "morning", source.choice(WORDS["t_meal_time"])) for n in range(1, 49)]
        elif table == "inventory":
            yield table, [(day, item, house, source.randrange(1, 1000)) for day in range(100, 500, 21)
                          for item in range(1, 61, 2) for house in (1, 2)]
        elif table in REFERENCE or table in ("customer", "customer_address"):
            yield table, _dimension(table, columns, source)
        else:
            yield table, _facts(table, columns, source)


def _facts(table: str, columns: list[tuple[str, str]], source: random.Random) -> list[Row]:
    """Sales and returns: a return is of a sale's ticket number and item now and then; no item twice in an order."""
    found: dict[tuple[object, object], Row] = {}
    names = [name for name, _ in columns]
    order, item = (next(n for n, name in enumerate(names) if name.endswith(end)) for end in ("_number", "item_sk"))
    for number in range(SIZES[table]):
        seed = random.Random(number // 3 * 31 + number % 3)
        row = [_value(source, name, kind, number) for name, kind in columns]
        row[item] = seed.randrange(1, 61)
        if "returns" in table:
            row[order] = number + 1
            row[item] = random.Random(number * 31).randrange(1, 61)
        found.setdefault((row[order], row[item]), tuple(row))
    return list(found.values())
