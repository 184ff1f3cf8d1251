"""The table of who may do what, walked in full with real requests: every caller, every route."""

import json
import re
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import httpx
import pytest

from tallystick.accounts import api_key, credential, invitation, member, organization, session
from tallystick.accounts.api_key import Scope
from tallystick.accounts.authenticate import KeyRing
from tallystick.accounts.member import Role
from tallystick.accounts.password import hash_password
from tallystick.api.app import create_api
from tallystick.api.dependencies import ApiDependencies
from tallystick.base.changes import Changes
from tallystick.base.ids import text_id
from tallystick.base.sealed import Sealer
from tallystick.catalog.publish import apply
from tallystick.catalog.read import load_book
from tallystick.notices import endpoint
from tallystick.notices.emit import emit
from tallystick.notices.fence import Fence
from tallystick.payments.orders.order import Buyer
from tallystick.payments.orders.place import place
from tallystick.payments.orders.purchase_terms import Purchase
from tallystick.reservations.lanes import Lanes
from tests.api.role_requests import BODIES, QUERIES

URL = "http://pay.example.com"
SERVICE = "service-token-of-the-tests"
HOOK = "https://hooks.example.org/"
SEALER = Sealer({"k1": bytes(32)})
CATALOG = '[[feature]]\nname = "ad_generations"\ntitle = "Ad generations"\nlimits = { free = 1000 }\n'
# How the table names what a path's parameters stand for.
NAMES = {
    "organization_id": "organization",
    "user_id": "member",
    "key_id": "key",
    "invitation_id": "invitation",
    "provider": "credential",
    "order_id": "order",
    "webhook_id": "webhook",
    "delivery_id": "delivery",
}


def read_table(text):
    """The routes, each with what every caller is answered; `-` where a caller makes no sense."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    _method, _path, *callers = lines[0]
    return {" ".join(line[:2]): dict(zip(callers, line[2:], strict=True)) for line in lines[1:]}


ANSWERS = read_table(Path(__file__).with_name("roles.txt").read_text())


def routes():
    """Every route of the application, documented or not, as method and path."""

    def walk(found):
        for one in found:
            yield from walk(one.original_router.routes) if hasattr(one, "original_router") else [one]

    parts = dict.fromkeys(["pool", "lanes", "changes", "keyring", "book"])
    app = create_api(ApiDependencies(**parts, public_url=URL))
    return {f"{method} {named(one.path)}" for one in walk(app.routes) for method in one.methods - {"HEAD"}}


def named(path):
    for parameter, name in NAMES.items():
        path = path.replace("{" + parameter + "}", "{" + name + "}")
    return path


class World:
    """Two organizations, with people and keys in them, and things that belong to each."""

    def __init__(self, connection, pool):
        self.connection = connection
        self.pool = pool
        self.numbers = count()
        self.people = {}
        self.headers = {"nobody": {}, "service": {"x-tallystick-services-token": SERVICE}}

    async def build(self):
        self.password_hash = await hash_password("correct horse")
        await apply(self.connection, CATALOG, now=datetime.now(UTC))
        self.acme = await organization.create(self.connection, name="Acme")
        self.other = await organization.create(self.connection, name="Other")
        for role in Role:
            await self.person(role, self.acme, role)
        await self.person("stranger", self.other, Role.OWNER)
        self.headers["theirs"] = self.headers["owner"]
        for name, scopes in (("key", []), ("billing_key", [Scope.BILLING])):
            made = await api_key.create(
                self.connection, organization=self.acme.id, name=name, scopes=scopes, by="operator:ada"
            )
            self.headers[name] = {"authorization": f"Bearer {made.secret}"}
        return self

    async def person(self, name, where, role):
        personal = await organization.create(self.connection, name=name)
        user_id = text_id("user")
        await self.connection.execute(
            "insert into app_user (id, email, password_hash, personal_organization) values ($1, $2, $3, $4)",
            user_id, f"{name}@example.com", self.password_hash, personal.id,
        )  # fmt: skip
        await member.add(self.connection, organization=personal.id, user_id=user_id, role=Role.OWNER)
        await member.add(self.connection, organization=where.id, user_id=user_id, role=role)
        token = (await session.start(self.connection, user_id, password_hash=self.password_hash)).token
        self.people[name] = user_id
        self.headers[str(name)] = {"authorization": f"Bearer {token}"}
        return user_id

    async def new(self, thing, where):
        """One of the things that a path or a body can name, to be used up."""
        number, owner = next(self.numbers), self.people["stranger" if where is self.other else "owner"]
        match thing:
            case "organization":
                return where.id
            case "member":
                return await self.person(f"m{number}", where, Role.VIEWER)
            case "key":
                return (await api_key.create(self.connection, organization=where.id, name="k")).key.id
            case "invitation" | "token":
                made = await invitation.invite(
                    self.connection, where.id, email=f"i{number}@example.com", role=Role.VIEWER, by=owner,
                    public_url=URL,
                )  # fmt: skip
                mail = await self.connection.fetchval("select body from mail where key = $1", made.id)
                [link] = [line for line in mail.splitlines() if "/invitations/" in line]
                return made.id if thing == "invitation" else link.rpartition("/")[2]
            case "credential":
                name = f"p{number}"
                await credential.put(self.connection, SEALER, owner=where.id, name=name, secret="sk-of-the-tests")
                return name
            case "order":
                buyer = Buyer(organization=where.id, account=where.account, user_id=owner)
                purchase = Purchase(amount_minor=500, currency="usd", credits=5 * 10**9)
                return (await place(self.pool, buyer, purchase, request_id=None, livemode=False)).id
            case "webhook" | "delivery":
                made = await endpoint.create(
                    self.connection, SEALER, organization=where.id, url=HOOK, types=["*"], by="operator:ada"
                )
                if thing == "webhook":
                    return made.endpoint.id
                await emit(self.connection, where.id, "order.paid", {}, key=str(number))
                return await self.connection.fetchval(
                    "insert into webhook_delivery (notice, endpoint) select max(seq), $1 from notice returning id",
                    made.endpoint.id,
                )
            case "how":
                return "paid"
            case "fresh":
                return f"f{number}"
        raise AssertionError(f"nothing is known of {thing}: add it here")


@pytest.fixture
async def world(pool):
    async with pool.acquire() as connection:
        yield await World(connection, pool).build()


async def somewhere(_host, _port):
    return ["93.184.215.14"]


@pytest.fixture
async def client(dsn, pool, world):
    book = await load_book(world.connection, lambda _reference: None)
    lanes, changes = Lanes(dsn), Changes(dsn)
    await lanes.start()
    app = create_api(
        ApiDependencies(
            pool=pool, lanes=lanes, changes=changes, keyring=KeyRing(pool, changes), book=lambda: book,
            public_url=URL, service_tokens=(SERVICE,), sealer=SEALER, webhook_fence=Fence(resolve=somewhere),
        )
    )  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as made:
        yield made
    await lanes.stop()


async def ask(client, world, route, caller):
    """The status of one request, which is about Acme, or with `theirs` about something of another organization."""
    method, path = route.split()
    body = json.dumps(BODIES.get(route, {}))
    for name in set(re.findall(r"\{([a-z]+)\}", path + body)):
        value = await world.new(name, world.other if caller == "theirs" else world.acme)
        path, body = (text.replace("{" + name + "}", value) for text in (path, body))
    query = {"organization": world.acme.id, "user_id": world.acme.id} | QUERIES.get(route, {})
    if "/invitations/{token}" in route or method in {"GET", "DELETE"}:
        body = ""
    headers = {"content-type": "application/json"} | world.headers[caller]
    client.cookies.clear()
    return str((await client.request(method, path, params=query, content=body, headers=headers)).status_code)


def test_every_route_is_in_the_table_and_no_other():
    assert set(ANSWERS) == routes()


@pytest.mark.parametrize("route", ANSWERS)
async def test_every_caller_is_answered_as_the_table_says(client, world, route):
    expected = {caller: answer for caller, answer in ANSWERS[route].items() if answer != "-"}
    assert {caller: await ask(client, world, route, caller) for caller in expected} == expected


def test_a_route_that_is_missing_in_the_table_is_found():
    assert read_table("method path a b\n# why\nGET /x 200 -\n") == {"GET /x": {"a": "200", "b": "-"}}
