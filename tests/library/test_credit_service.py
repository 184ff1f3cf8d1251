import asyncio
from decimal import Decimal

import pytest

import tallystick
from tallystick.accounts import user
from tallystick.accounts.organization import resolve_payer
from tallystick.base.errors import Conflict, InsufficientCreditsError, InvalidInput, NotFound, Unavailable
from tallystick.base.ids import new_id
from tallystick.ledger import verify as ledger_verify
from tallystick.ledger.account import PlatformAccount, count_lanes, platform_account
from tallystick.ledger.post import Transfer, post
from tallystick.library.answers import DeductFailure, Deduction, DeductResponse
from tallystick.library.credit_service import CreditService
from tallystick.payments.errors import PurchasesClosed


async def test_a_new_user_has_nothing(service, ada):
    found = await service.get_balance(ada.user_id)
    assert (found.balance, found.available, found.held) == (0, 0, 0)
    assert (found.last_purchase_at, found.last_deduction_at) == (None, None)
    assert (await service.history(ada.user_id)).transactions == []


async def test_a_user_and_their_organization_are_one_payer(service, ada, fund):
    await fund(ada.user_id)
    done = await service.deduct(ada.organization_id, 0.05, "call-1")
    assert (done.deducted, done.balance, done.request_id) == (Decimal("0.05"), Decimal("4.95"), "call-1")
    assert (await service.get_balance(ada.user_id)).balance == Decimal("4.95")
    assert await service.deduct(ada.user_id, Decimal("0.05"), "call-1") == await service.deduct(
        ada.user_id, 0.05, "call-1"
    )
    assert (await service.get_balance(ada.user_id)).balance == Decimal("4.95")


async def test_the_same_id_for_another_amount_is_a_conflict(service, ada, fund):
    await fund(ada.user_id)
    await service.deduct(ada.user_id, 1, "call-1")
    with pytest.raises(Conflict):
        await service.deduct(ada.user_id, 2, "call-1")
    assert (await service.get_balance(ada.user_id)).balance == 4


async def test_ids_of_two_organizations_do_not_meet(service, ada, fund, pool):
    eve = await user.sign_up(pool, email="eve@example.com", password="correct horse")
    for one in (ada, eve):
        await fund(one.user_id)
    await service.deduct(ada.user_id, 1, "call-1")
    await service.deduct(eve.user_id, 2, "call-1")
    assert (await service.get_balance(ada.user_id)).balance == 4
    assert (await service.get_balance(eve.user_id)).balance == 3


async def test_too_little_says_what_there_is_and_what_it_takes(service, ada, fund):
    await fund(ada.user_id, "0.03")
    with pytest.raises(InsufficientCreditsError) as short:
        await service.deduct(ada.user_id, 0.05)
    assert (short.value.balance, short.value.required) == (Decimal("0.03"), Decimal("0.05"))
    assert (await service.get_balance(ada.user_id)).balance == Decimal("0.03")


async def test_a_refused_id_may_be_used_again_once_there_is_money(service, ada, fund):
    with pytest.raises(InsufficientCreditsError):
        await service.deduct(ada.user_id, 1, "call-1")
    await fund(ada.user_id)
    assert (await service.deduct(ada.user_id, 1, "call-1")).balance == 4


async def test_funds_for_three_and_two_hundred_at_once_are_exactly_three(service, ada, fund, pool):
    await fund(ada.user_id, "3")
    done = await asyncio.gather(*(service.deduct(ada.user_id, 1) for _ in range(200)), return_exceptions=True)
    assert sum(isinstance(one, DeductResponse) for one in done) == 3
    assert sum(isinstance(one, InsufficientCreditsError) for one in done) == 197
    assert (await service.get_balance(ada.user_id)).balance == 0
    async with pool.acquire() as connection:
        assert [await check.run(connection) for check in ledger_verify.checks] == [[] for _ in ledger_verify.checks]


async def test_one_id_sent_fifty_times_at_once_is_one_charge(service, ada, fund):
    await fund(ada.user_id)
    await asyncio.gather(*(service.deduct(ada.user_id, 1, "call-1") for _ in range(50)))
    assert (await service.get_balance(ada.user_id)).balance == 4


async def test_in_a_batch_each_stands_alone(service, ada, fund):
    await fund(ada.user_id, "1")
    given = [
        {"user_id": ada.user_id, "amount": 0.4, "request_id": "a"},
        {"user_id": "user_nobody", "amount": 0.1},
        {"user_id": ada.user_id, "amount": -1},
        {"user_id": ada.user_id, "amount": 50},
        {"user_id": 7, "amount": 1},
        {"user_id": ada.user_id, "amount": 0.1, "request_idd": "typo"},
        "no object",
        Deduction(user_id=ada.user_id, amount=Decimal("0.5"), request_id="b"),
        {"user_id": ada.user_id, "amount": 0.4, "request_id": "a"},
    ]
    done = await service.deduct_batch(given)
    codes = [r.error.code if isinstance(r, DeductFailure) else r.request_id for r in done.results]
    assert codes == [
        "a",
        "not_found",
        "invalid_amount",
        "insufficient_credits",
        "invalid_request",
        "invalid_request",
        "invalid_request",
        "b",
        "a",
    ]
    assert (len(done.succeeded), len(done.failed)) == (3, 6)
    assert (await service.get_balance(ada.user_id)).balance == Decimal("0.1")


@pytest.mark.parametrize("size", [0, 1001])
async def test_a_batch_has_a_size(service, ada, size):
    with pytest.raises(InvalidInput, match="deductions"):
        await service.deduct_batch([{"user_id": ada.user_id, "amount": 1}] * size)


async def test_the_largest_batch(service, ada, fund):
    await fund(ada.user_id, "1")
    done = await service.deduct_batch([{"user_id": ada.user_id, "amount": 0.001}] * 1000)
    assert len(done.succeeded) == 1000
    assert (await service.get_balance(ada.user_id)).balance == 0


@pytest.mark.parametrize("user_id", ["user_nobody", "org_nobody", "\x00", "x" * 100, "ü"])
async def test_an_unknown_payer_is_not_found(service, user_id):
    with pytest.raises((NotFound, InvalidInput)):
        await service.deduct(user_id, 1)
    with pytest.raises(NotFound):
        await service.get_balance(user_id)


async def test_history_is_newest_first_in_pages_without_gap_or_repetition(service, ada, fund):
    await fund(ada.user_id)
    for number in range(1, 8):
        await service.deduct(ada.user_id, Decimal(number) / 100)
    pages, cursor = [], None
    while True:
        page = await service.history(ada.user_id, limit=3, cursor=cursor)
        pages.append([line.amount for line in page.transactions])
        cursor = page.next_cursor
        if cursor is None:
            break
    cents = [Decimal(n) / 100 for n in (-7, -6, -5, -4, -3, -2, -1)]
    assert pages == [cents[:3], cents[3:6], [cents[6], Decimal(5)]]


async def test_history_of_one_type(service, ada, fund):
    await fund(ada.user_id)
    done = await service.deduct(ada.user_id, 1, "call-1")
    only = await service.history(ada.user_id, only="deduction")
    assert [(line.type, line.amount, line.id) for line in only.transactions] == [("deduction", -1, done.id)]
    assert [line.type for line in (await service.history(ada.user_id, only="grant")).transactions] == ["grant"]
    assert (await service.history(ada.user_id, only="purchase")).transactions == []
    for wrong in ({"only": "usage"}, {"limit": 0}, {"limit": 501}, {"cursor": "x"}):
        with pytest.raises(InvalidInput):
            await service.history(ada.user_id, **wrong)


async def test_credits_are_added_once_per_operation(service, ada):
    operation = new_id()
    for _ in range(2):
        found = await service.add_credits(ada.user_id, 5, source="promotion:welcome", operation=operation)
    assert found.balance == 5


async def test_nothing_is_sold_without_a_payment_provider(service, ada):
    with pytest.raises(PurchasesClosed):
        await service.purchase(ada.user_id, 25)


async def test_connect_opens_and_closes_all_of_it(dsn, ada, fund, stripe_address):
    await fund(ada.user_id)
    async with CreditService.connect(dsn, stripe_api_key="sk_test_x", stripe_api_base=stripe_address) as opened:
        assert isinstance(opened, tallystick.CreditService)
        assert (await opened.deduct(ada.user_id, 1)).balance == 4
        started = await opened.purchase(ada.user_id, 25)
        assert started.session_id.startswith("cs_test_")
    with pytest.raises(Unavailable):
        await opened._lanes.deduct(new_id(), 1048576, 1)


@pytest.mark.parametrize("kind", ["refund", "dispute", "collection"])
async def test_history_tells_what_went_back(service, ada, fund, pool, kind):
    await fund(ada.user_id)
    async with pool.acquire() as connection, connection.transaction():
        _organization, account = await resolve_payer(connection, ada.user_id)
        lanes = await count_lanes(connection)
        clearing = platform_account(PlatformAccount.STRIPE_CLEARING, account % lanes)
        taken = Transfer(debit=account, credit=clearing, amount=10**9)
        await post(connection, operation=new_id(), kind=kind, transfers=[taken], fingerprint="x")
    lines = (await service.history(ada.user_id)).transactions
    assert [(line.type, line.amount) for line in lines] == [(kind, -1), ("grant", 5)]
    assert len((await service.history(ada.user_id, only=kind)).transactions) == 1
