"""Every setting: typed, one sentence each, read once at the edge from the environment or tallystick.toml.

The environment wins over the file. In the file a setting has its name in lower case; in the environment the name that
`variable` gives. Only cli and app import this module: everything else is handed the values it needs.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta, Struct

from tallystick.base.errors import Misconfigured
from tallystick.base.sealed import Sealer
from tallystick.notices.smtp import parse_sender, parse_url

FILE_NAME: Final = "tallystick.toml"
# Settings that other tools of the field name the same way keep that name; all others start with TALLYSTICK_.
_COMMON_NAMES: Final = {"database_url", "stripe_api_key", "stripe_api_base", "stripe_webhook_secret", "smtp_url"}
SECRETS: Final = {
    "database_url",
    "redis_url",
    "stripe_api_key",
    "stripe_webhook_secret",
    "services_tokens",
    "sealing_keys",
    "smtp_url",
}

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator can set. Durations are in seconds, sizes in bytes, money in credits."""

    database_url: Annotated[
        str | None, Meta(description="PostgreSQL 15 or later to keep the books in; without it an embedded server.")
    ] = None
    data_dir: Annotated[Path, Meta(description="Folder for the embedded server's data and the gateway's journals.")] = (
        Path("tallystick-data")
    )
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="Port to listen on.")] = 8080
    workers: Annotated[
        int, Meta(ge=1, le=256, description="Processes that answer requests, each on a socket of its own.")
    ] = 1
    public_url: Annotated[
        str | None, Meta(description="Address customers reach this server at; without it http://host:port.")
    ] = None
    sign_up_open: Annotated[bool, Meta(description="Whether anybody may sign up through the API.")] = True

    stripe_api_key: Annotated[
        str | None, Meta(description="Stripe's secret key; without it credits cannot be bought by card.")
    ] = None
    stripe_api_base: Annotated[
        str | None, Meta(description="Another address for Stripe's API, for the offline stand-in.")
    ] = None
    stripe_webhook_secret: Annotated[
        str | None,
        Meta(description="Secrets that sign Stripe's webhooks, comma-separated; without one that endpoint is closed."),
    ] = None
    purchase_min: Annotated[int, Meta(ge=1, description="Smallest amount of credits one purchase may buy.")] = 1
    purchase_max: Annotated[int, Meta(ge=1, description="Largest amount of credits one purchase may buy.")] = 10_000
    debt_policy: Annotated[
        str,
        Meta(
            pattern="^(none|throttle|freeze)$",
            description="What happens to customers as long as they owe credits that they spent before disputing the"
            " payment, or a dispute has what they paid for a plan: none, throttle to few requests a minute, or freeze.",
        ),
    ] = "freeze"
    transfer_to: Annotated[
        str | None,
        Meta(
            description="Bank account that customers transfer to for orders settled by hand, as it is shown to them;"
            " without it only operators make such orders."
        ),
    ] = None
    four_eyes: Annotated[
        bool, Meta(description="Whether two different operators must agree before an order is credited by hand.")
    ] = False
    return_hosts: Annotated[
        str | None,
        Meta(
            description="Hosts that pages of Stripe may lead back to, comma-separated, with a port where it is not"
            " https's own; without it that of the public URL."
        ),
    ] = None

    redis_url: Annotated[
        str | None,
        Meta(
            description="Redis that counts requests and tokens a minute for all workers and hosts together, such as"
            " redis://localhost:6379/0; without it each worker counts its own."
        ),
    ] = None
    services_tokens: Annotated[
        str | None,
        Meta(
            description="Tokens of services that may deduct credits, comma-separated; without one deducting is closed."
        ),
    ] = None
    sealing_keys: Annotated[
        str | None,
        Meta(
            description="Keys that seal provider secrets, as id:base64 of 32 bytes, comma-separated; the first seals."
        ),
    ] = None

    smtp_url: Annotated[
        str | None,
        Meta(
            description="Mail server, such as smtp://user:password@host:587?starttls=true; without it mails are kept,"
            " and not sent."
        ),
    ] = None
    mail_from: Annotated[str | None, Meta(description="Sender of mails, such as Tallystick <billing@example.com>.")] = (
        None
    )
    webhooks_to_loopback: Annotated[
        bool,
        Meta(
            description="Whether customers' webhooks may lead to this machine, by http too; for development, where the"
            " server itself listens on it only."
        ),
    ] = False

    body_max_bytes: Annotated[Count, Meta(description="Largest request body the gateway reads.")] = 20_000_000
    body_timeout_s: Annotated[Seconds, Meta(description="Time a client has to send its request body.")] = 30.0
    max_tokens_default: Annotated[
        Count, Meta(description="Output tokens reserved, and allowed, when a request names no limit.")
    ] = 4096
    clamp_tokens_min: Annotated[
        Count, Meta(description="Fewest output tokens worth a call when the balance cannot hold all that was asked.")
    ] = 64
    choices_max: Annotated[Count, Meta(description="Most choices (n) one request may ask for.")] = 16
    hold_s: Annotated[Seconds, Meta(description="Age at which a hold that was never sent on is released.")] = 900.0
    upstream_connect_s: Annotated[Seconds, Meta(description="Time to connect to a provider.")] = 10.0
    upstream_first_byte_s: Annotated[Seconds, Meta(description="Time until a provider's first byte.")] = 300.0
    upstream_between_s: Annotated[Seconds, Meta(description="Longest silence within a provider's answer.")] = 120.0
    upstream_total_s: Annotated[Seconds, Meta(description="Time a provider's whole answer may take.")] = 800.0
    drain_s: Annotated[
        Seconds, Meta(description="Time the gateway goes on reading a stream to its usage when the client has left.")
    ] = 60.0
    shutdown_s: Annotated[
        Seconds, Meta(description="Time running requests have to end after a stop was asked for.")
    ] = 30.0

    database_connections: Annotated[
        int,
        Meta(
            ge=2,
            le=500,
            description="Most connections of one worker to PostgreSQL, besides one for each lane and one for all.",
        ),
    ] = 10
    log_format: Annotated[str, Meta(pattern="^(json|console)$", description="How log lines look: json or console.")] = (
        "json"
    )
    log_level: Annotated[
        str, Meta(pattern="^(debug|info|warning|error)$", description="The least severe log lines that are written.")
    ] = "info"

    @property
    def address(self) -> str:
        """Where customers reach this server, without a slash at the end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    def listed(self, name: str) -> tuple[str, ...]:
        """A comma-separated setting as its parts, blanks dropped."""
        return tuple(part.strip() for part in (getattr(self, name) or "").split(",") if part.strip())


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return name.upper() if name in _COMMON_NAMES else f"TALLYSTICK_{name.upper()}"


def sentences() -> dict[str, str]:
    """Each setting's name and its one sentence, in the order of the class."""
    found = {}
    for name, hint in get_type_hints(Settings, include_extras=True).items():
        found[name] = next(meta.description for meta in reversed(hint.__metadata__) if meta.description)
    return found


def load(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """The settings of this process. Raises Misconfigured with one sentence that names the setting and its mend.

    Without `file`, tallystick.toml in the current folder is read where there is one.
    """
    values = _from_file(file)
    for name in Settings.__struct_fields__:
        if environment.get(variable(name), "").strip():
            values[name] = environment[variable(name)].strip()
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise Misconfigured(_sentence(error)) from None
    _refuse_contradictions(settings)
    return settings


def _from_file(file: Path | None) -> dict[str, Any]:
    path = file or Path(FILE_NAME)
    if file is None and not path.exists():
        return {}
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"The settings file {path} cannot be read: {error}.") from None
    if unknown := sorted(set(values) - set(Settings.__struct_fields__)):
        raise Misconfigured(f"{path} has an unknown setting {unknown[0]!r}; `tallystick settings` lists all of them.")
    return values


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise msgspec.ValidationError(f"Expected a {kind.__name__}")


def _sentence(error: msgspec.ValidationError) -> str:
    problem, _, place = str(error).partition(" - at ")
    name = place.strip("`").removeprefix("$.")
    return (
        f"{variable(name)} ({name} in {FILE_NAME}) is wrong: {problem[0].lower()}{problem[1:]}."
        if name
        else f"{problem}."
    )


def _refuse_half_a_mail_server(settings: Settings) -> None:
    if settings.mail_from:
        parse_sender(settings.mail_from)
    if settings.smtp_url:
        parse_url(settings.smtp_url)
        if not settings.mail_from:
            raise Misconfigured("SMTP_URL is set and TALLYSTICK_MAIL_FROM is not; give mails a sender.")


def _refuse_contradictions(settings: Settings) -> None:
    if settings.purchase_min > settings.purchase_max:
        raise Misconfigured("TALLYSTICK_PURCHASE_MIN is larger than TALLYSTICK_PURCHASE_MAX; swap them.")
    key = settings.stripe_api_key or ""
    if settings.stripe_api_base and "_live_" in key:
        raise Misconfigured("STRIPE_API_BASE points away from Stripe while STRIPE_API_KEY is a live key; unset one.")
    if settings.database_url and not settings.database_url.startswith(("postgresql://", "postgres://")):
        raise Misconfigured("DATABASE_URL must start with postgresql://.")
    if settings.sealing_keys:
        Sealer.parse(settings.sealing_keys)
    for name in ("services_tokens", "stripe_webhook_secret"):
        if getattr(settings, name) and not settings.listed(name):
            raise Misconfigured(f"{variable(name)} is set but holds nothing; unset it, or give it a value.")
    if settings.webhooks_to_loopback and settings.host not in {"127.0.0.1", "::1", "localhost"}:
        raise Misconfigured("TALLYSTICK_WEBHOOKS_TO_LOOPBACK is for a server that listens on 127.0.0.1 only; unset it.")
    _refuse_half_a_mail_server(settings)
    short = [token for token in settings.listed("services_tokens") if len(token) < 16]
    if short:
        raise Misconfigured(
            "TALLYSTICK_SERVICES_TOKENS holds a token of fewer than 16 characters, which could be guessed."
        )
