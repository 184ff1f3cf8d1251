"""What `tallystick doctor` looks at: each finding says what is there, and what to do where it is not right."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import asyncpg

from tallystick.app.books import open_books
from tallystick.app.credentials import Credentials
from tallystick.base.database import open_pool
from tallystick.base.errors import TallystickError
from tallystick.catalog.read import load_book
from tallystick.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    state: Literal["ok", "note", "fault"]
    detail: str


async def examine(
    read_settings: Callable[[], Settings], *, python: tuple[int, ...], which: Callable[[str], str | None]
) -> list[Finding]:
    """Every finding, in the order in which a paid call needs the things."""
    settings = read_settings()
    findings = [
        Finding("python", "ok", ".".join(str(part) for part in python[:3])),
        Finding("settings", "ok", f"read; data in {settings.data_dir}"),
        *_money_findings(settings),
    ]
    try:
        async with (
            open_books(settings) as dsn,
            await open_pool(dsn, size_max=2, application="tallystick-doctor") as pool,
        ):
            findings += await _database_findings(pool)
            findings += await _catalog_findings(pool, settings)
    except (TallystickError, OSError, asyncpg.PostgresError) as error:
        findings.append(Finding("database", "fault", str(error) or type(error).__name__))
    findings += [
        Finding(tool, "note", f"not installed; only {purpose} needs it")
        for tool, purpose in (("nginx", "the gateway's benchmark"), ("chromium", "the tests of pages"))
        if which(tool) is None
    ]
    return findings


def _money_findings(settings: Settings) -> list[Finding]:
    def closed(name: str, value: str | None, open_detail: str, mend: str) -> Finding:
        return Finding(name, "ok", open_detail) if value else Finding(name, "note", f"closed; set {mend} to open it")

    mode = "test" if settings.stripe_api_key and "_test_" in settings.stripe_api_key else "live"
    return [
        closed("purchases", settings.stripe_api_key, f"open, Stripe in {mode} mode", "STRIPE_API_KEY"),
        closed("webhook", settings.stripe_webhook_secret, "open", "STRIPE_WEBHOOK_SECRET"),
        closed("deductions", settings.services_tokens, "open", "TALLYSTICK_SERVICES_TOKENS"),
        closed("sealed credentials", settings.sealing_keys, "keys given", "TALLYSTICK_SEALING_KEYS"),
    ]


async def _database_findings(pool: asyncpg.Pool) -> list[Finding]:
    version, fsync, commit = await pool.fetchrow(
        "select current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')"
    )
    findings = [Finding("database", "ok", f"PostgreSQL {version}, schema up to date")]
    if fsync != "on" or commit == "off":
        findings.append(
            Finding("durability", "fault", f"fsync={fsync}, synchronous_commit={commit}: a crash could lose paid calls")
        )
    return findings


async def _catalog_findings(pool: asyncpg.Pool, settings: Settings) -> list[Finding]:
    async with pool.acquire() as connection:
        book = await load_book(connection, Credentials(pool, settings.sealing_keys))
    sold = book.models(datetime.now(UTC))
    if not sold:
        return [Finding("catalog", "note", "no model is for sale; `tallystick apply FILE.toml` publishes some")]
    return [Finding("catalog", "ok", f"{len(sold)} models for sale, {len(book.packs())} packs")]
