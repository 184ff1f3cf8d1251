"""The versions of one name over time, and what must be appended to make it say something else. Pure.

The version in force at T is the newest with effective_from <= T, then the one published last. Nothing is edited, so
that a version that was in force once is in force at that time for ever.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import get_args

import msgspec

from tallystick.catalog.document import Document, EntryKind
from tallystick.catalog.errors import CatalogError


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One row of catalog_entry. A retired version says that from then on there is nothing under this name."""

    id: int
    kind: EntryKind
    name: str
    effective_from: datetime
    document: Document
    retired: bool = False
    source: str
    published_at: datetime | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A document that a name should have: from `effective_from` on, or from now on when that is None."""

    document: Document
    effective_from: datetime | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One version to append: `before` is what would be in force at that moment without it, `after` what will be."""

    kind: EntryKind
    name: str
    effective_from: datetime
    before: Version | None
    after: Document | None
    source: str


Names = Mapping[EntryKind, Mapping[str, Sequence[Version]]]


def by_name(versions: Iterable[Version]) -> Names:
    """The versions of each kind and name; a kind that has none is there too."""
    names: dict[EntryKind, dict[str, list[Version]]] = {kind: {} for kind in get_args(EntryKind)}
    for version in versions:
        names[version.kind].setdefault(version.name, []).append(version)
    return names


def in_force(versions: Sequence[Version], at: datetime) -> Version | None:
    """The version in force at `at`, a retired one included, or None before the first."""
    started = [version for version in versions if version.effective_from <= at]
    return max(started, key=lambda version: (version.effective_from, version.id), default=None)


def living(versions: Sequence[Version], at: datetime) -> Version | None:
    """The version in force at `at`, unless the name is retired then."""
    version = in_force(versions, at)
    return None if version is None or version.retired else version


def latest(versions: Sequence[Version]) -> Version | None:
    """The version that was published last, whenever it takes effect: it says whose word the name follows."""
    return max(versions, key=lambda version: version.id, default=None)


def changes(
    kind: EntryKind, name: str, versions: Sequence[Version], wanted: Sequence[Wanted], *, source: str, now: datetime
) -> list[Change]:
    """What to append so that from `now` on the name says what is wanted; empty when it already does.

    With nothing wanted, the name is retired. A wanted document with a date in the future leaves what is in force
    until then. One with a date in the past is refused where it would change the past; only a name that has no
    version yet may start in the past.
    """
    moments = {now} | {version.effective_from for version in versions if version.effective_from > now}
    moments |= {
        entry.effective_from
        for entry in wanted
        if entry.effective_from is not None and (entry.effective_from > now or not versions)
    }
    kept = living(versions, now)
    appended: list[Change] = []
    known = list(versions)
    for moment in sorted(moments):
        before = in_force(known, moment)
        after = _wanted_at(wanted, moment)
        if wanted and after is None:
            # Until its first date the name goes on as it is now, whoever said so.
            if _document(before) == _document(kept):
                continue
            after = Wanted(document=kept.document) if kept else None
        if _says(before, after.document if after else None, source):
            continue
        if versions and moment == now and after is not None and after.effective_from is not None:
            _refuse_the_past(kind, name, after.effective_from, now)
        change = Change(
            kind=kind,
            name=name,
            effective_from=moment,
            before=None if before is None or before.retired else before,
            after=after.document if after else None,
            source=source,
        )
        appended.append(change)
        known.append(as_version(change, id_=_next_id(known)))
    return appended


def as_version(change: Change, id_: int) -> Version:
    """The version that a change appends."""
    # A retired version keeps the words it retires.
    document = change.after or (change.before.document if change.before else None)
    if document is None:
        raise ValueError(f"{change.kind} {change.name}: a change from nothing to nothing")
    return Version(
        id=id_,
        kind=change.kind,
        name=change.name,
        effective_from=change.effective_from,
        document=document,
        retired=change.after is None,
        source=change.source,
    )


def _document(version: Version | None) -> Document | None:
    return None if version is None or version.retired else version.document


def _wanted_at(wanted: Sequence[Wanted], moment: datetime) -> Wanted | None:
    dated = [entry for entry in wanted if entry.effective_from is not None and entry.effective_from <= moment]
    if dated:
        return max(dated, key=lambda entry: entry.effective_from or moment)
    return next((entry for entry in wanted if entry.effective_from is None), None)


def _says(version: Version | None, document: Document | None, source: str) -> bool:
    if version is None or version.retired:
        return document is None
    # The same words from another source still change whose word it is: an import must not override the file later.
    return version.document == document and version.source == source


def _refuse_the_past(kind: EntryKind, name: str, effective_from: datetime, now: datetime) -> None:
    if effective_from < now:
        date = effective_from.isoformat()
        raise CatalogError(
            [f"{kind} {name}: effective_from {date} is in the past; leave it out, or name a time that is still to come"]
        )


def _next_id(versions: Sequence[Version]) -> int:
    return max((version.id for version in versions), default=0) + 1
