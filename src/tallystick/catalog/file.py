"""Read a catalog file (TOML) into documents; every problem is told at once, one sentence each. Pure."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Final, TypeVar, get_args, get_type_hints

import msgspec

from tallystick.catalog.coupon_entries import read_coupon
from tallystick.catalog.document import ANY, Document, EntryKind, kind_of, name_of
from tallystick.catalog.entries import read_cost_profile, read_pack, read_price, read_provider, read_route
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.plan_entries import read_feature, read_meter, read_plan
from tallystick.catalog.references import reference_problems
from tallystick.catalog.tables import (
    TABLES,
    CostProfileTable,
    CouponTable,
    FeatureTable,
    MeterTable,
    PackTable,
    PlanTable,
    PriceTable,
    ProviderTable,
    RouteTable,
    Table,
)
from tallystick.catalog.timeline import Wanted

_NAMED_BY: Final[dict[EntryKind, tuple[str, ...]]] = {
    "provider": ("name",),
    "route": ("alias",),
    "pack": ("slug",),
    "meter": ("name",),
    "feature": ("name",),
    "plan": ("slug",),
    "coupon": ("code",),
}

T = TypeVar("T", bound=Table)

Catalog = Mapping[EntryKind, Mapping[str, list[Wanted]]]
"""What a file wants: kind -> name -> the documents of that name, dated or not. Every kind is present."""


def parse(text: str) -> Catalog:
    """The catalog that `text` describes. Raises CatalogError with every problem found."""
    try:
        # Through a float 0.1 would already be 0.1000000000000000055.
        tables = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CatalogError([f"the file is not valid TOML: {error}"]) from error
    except ArithmeticError as error:
        raise CatalogError(["the file holds a number out of range"]) from error
    reader = _Reader()
    # Short for a price of everything, so that a first catalog needs no table for it.
    if "markup" in tables and isinstance(tables.get("price", []), list):
        general = {"provider": ANY, "model": ANY, "markup": tables.pop("markup")}
        tables["price"] = [general, *tables.get("price", [])]
    for name in sorted(tables.keys() - TABLES.keys()):
        reader.problems.append(f"there is no table {name}; the tables are {', '.join(TABLES)}")
    reader.read(tables, "provider", ProviderTable, read_provider)
    reader.read(tables, "cost_profile", CostProfileTable, read_cost_profile)
    reader.read(tables, "price", PriceTable, read_price)
    reader.read(tables, "route", RouteTable, read_route)
    reader.read(tables, "pack", PackTable, read_pack)
    reader.read(tables, "meter", MeterTable, read_meter)
    reader.read(tables, "feature", FeatureTable, read_feature)
    reader.read(tables, "plan", PlanTable, read_plan)
    reader.read(tables, "coupon", CouponTable, read_coupon)
    reader.problems.extend(reference_problems(reader.catalog, reader.named))
    if reader.problems:
        raise CatalogError(reader.problems)
    return reader.catalog


class _Reader:
    def __init__(self) -> None:
        self.problems: list[str] = []
        self.catalog: dict[EntryKind, dict[str, list[Wanted]]] = {
            "provider": {},
            "cost_profile": {},
            "price": {},
            "route": {},
            "pack": {},
            "meter": {},
            "feature": {},
            "plan": {},
            "coupon": {},
        }
        self.named: dict[EntryKind, set[str]] = {kind: set() for kind in self.catalog}
        """Every name that is written, the entry right or wrong."""

    def read(
        self, tables: Mapping[str, object], kind: EntryKind, table: type[T], document: Callable[[T, str], Document]
    ) -> None:
        rows = tables.get(kind, [])
        if not isinstance(rows, list):
            self.problems.append(f"{kind} must be written as [[{kind}]]")
            return
        for number, row in enumerate(rows, 1):
            name = _name(kind, row)
            where = f"{kind} number {number}" if name is None else f"{kind} {name}"
            self.named[kind].update(() if name is None else (name,))
            try:
                written = msgspec.convert(_with_midnight(row), table)
                self._add(where, document(written, where), _moment(written, where))
            except msgspec.ValidationError as error:
                self.problems.append(f"{where}: {_sentence(error, table)}")
            except CatalogError as error:
                self.problems.extend(error.problems)

    def _add(self, where: str, document: Document, effective_from: datetime | None) -> None:
        versions = self.catalog[kind_of(document)].setdefault(name_of(document), [])
        if any(version.effective_from == effective_from for version in versions):
            raise CatalogError([f"{where}: is there twice{_dated(effective_from)}"])
        versions.append(Wanted(document=document, effective_from=effective_from))


def _name(kind: EntryKind, row: object) -> str | None:
    """ "openai/gpt-4o", or None where the row does not even say what it is about."""
    keys = _NAMED_BY.get(kind, ("provider", "model"))
    named = [row.get(key) for key in keys] if isinstance(row, dict) else []
    texts = [text for text in named if isinstance(text, str) and text]
    return "/".join(texts) if len(texts) == len(keys) else None


def _with_midnight(row: object) -> object:
    """A day alone stands for its first moment, UTC."""
    if not isinstance(row, dict):
        return row
    day = row.get("effective_from")
    if not isinstance(day, date) or isinstance(day, datetime):
        return row
    return row | {"effective_from": datetime.combine(day, time(), UTC)}


def _moment(table: Table, where: str) -> datetime | None:
    written: datetime | None = getattr(table, "effective_from", None)
    if written is not None and written.tzinfo is None:
        raise CatalogError([f"{where}: effective_from needs an offset, such as {written.isoformat()}Z"])
    return written and written.astimezone(UTC)


def _dated(effective_from: datetime | None) -> str:
    return f" with effective_from {effective_from.isoformat()}" if effective_from else ""


def _sentence(error: msgspec.ValidationError, table: type[Table]) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.tiers[0].input`" with the field first, and the words it may have."""
    problem, _, path = str(error).partition(" - at ")
    field = path.strip("`").removeprefix("$").lstrip(".")
    words = problem.replace("Object contains unknown field", "there is no field").replace(
        "Object missing", "is missing"
    )
    words = words[:1].lower() + words[1:]
    choices = [*_choices(get_type_hints(table).get(field.partition("[")[0]))]
    if problem.startswith("Invalid enum value") and len(choices) > 1:
        words += f"; it is one of {', '.join(choices)}"
    return f"{field}: {words}" if field else words


def _choices(hint: object) -> Iterator[str]:
    """The words that a type admits; a Literal's parts are words, another type's are types."""
    for part in get_args(hint):
        yield from (part,) if isinstance(part, str) else _choices(part)
