"""Prices: what one unit of a product costs, once or again and again. A lookup key leads to one price at a time."""

from decimal import Decimal, InvalidOperation

from tallystick.sandbox.stripe import product, recurring
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import matching, page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.world import Object, World

_UNIT_AMOUNT_MAX = 99_999_999
_DECIMALS_MAX = 12
_TAX_BEHAVIORS = ("exclusive", "inclusive", "unspecified")


def make(world: World, parameters: Parameters, *, active: bool = True) -> tuple[Object, Object | None]:
    """A price, and its product when that is described on the spot by `product_data`. Neither is stored yet: a call
    whose next parameter is refused must leave nothing behind."""
    currency = parameters.require(parameters.currency(), "currency")
    unit_amount, unit_amount_decimal = _unit_amount(parameters)
    repeated = parameters.level("recurring")
    recurs = None if repeated is None else recurring.read(world, repeated)
    described = parameters.level("product_data")
    new_product = None if described is None else product.make(world, described, active=active)
    named = parameters.text("product")
    if new_product is None:
        named = parameters.require(named, "product")
        world.get("product", named, param=parameters.name("product"))
    elif named is not None:
        raise invalid_parameter(parameters.name("product"), "You may only specify one of: product, product_data.")
    price = {
        "id": world.identifiers.new("price_"),
        "object": "price",
        "active": active,
        "billing_scheme": "per_unit",
        "created": world.now(),
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": parameters.text("lookup_key"),
        "metadata": merged({}, parameters.metadata()),
        "nickname": parameters.text("nickname"),
        "product": named if new_product is None else new_product["id"],
        "recurring": recurs,
        "tax_behavior": parameters.choice("tax_behavior", _TAX_BEHAVIORS) or "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time" if recurs is None else "recurring",
        "unit_amount": unit_amount,
        "unit_amount_decimal": unit_amount_decimal,
    }
    return price, new_product


def store(world: World, price: Object, new_product: Object | None) -> None:
    if new_product is not None:
        world.emit("product.created", world.add(new_product))
    world.emit("price.created", world.add(price))


def create(call: Call) -> Object:
    transferred = call.parameters.flag("transfer_lookup_key")
    active = call.parameters.flag("active")
    price, new_product = make(call.world, call.parameters, active=active is not False)
    call.parameters.choice("billing_scheme", ("per_unit",))
    call.parameters.finish()
    _free_lookup_key(call.world, price, transferred=bool(transferred))
    store(call.world, price, new_product)
    return price


def update(call: Call) -> Object:
    """What may change of a price. Its amount and its interval never do."""
    price, parameters = call.world.get("price", call.id), call.parameters
    transferred, active = parameters.flag("transfer_lookup_key"), parameters.flag("active")
    changed = {**price, "metadata": merged(price["metadata"], parameters.metadata())}
    if active is not None:
        changed["active"] = active
    changed |= {field: parameters.text(field) for field in ("lookup_key", "nickname") if parameters.has(field)}
    parameters.finish()
    _free_lookup_key(call.world, changed, transferred=bool(transferred))
    call.world.change(price, "price.updated", changed)
    return price


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("price", call.id)


def list_all(call: Call) -> Object:
    active = call.parameters.flag("active")
    same = matching(call, product="product", currency="currency", type="type")
    keys, repeated = call.parameters.texts("lookup_keys"), call.parameters.level("recurring")
    wanted = {} if repeated is None else {name: repeated.text(name) for name in ("interval", "meter", "usage_type")}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    return page(
        call,
        call.world.all("price"),
        keep=lambda row: (
            same(row)
            and (active is None or row["active"] == active)
            and (not keys or row["lookup_key"] in keys)
            and all((row["recurring"] or {}).get(name) == value for name, value in wanted.items())
        ),
    )


def _unit_amount(parameters: Parameters) -> tuple[int | None, str]:
    """The amount in whole minor units, None when it is finer than that, and the same as a decimal."""
    whole, fine = (
        parameters.integer("unit_amount", minimum=0, maximum=_UNIT_AMOUNT_MAX),
        parameters.text("unit_amount_decimal"),
    )
    if whole is not None and fine is not None:
        message = "You may only specify one of these parameters: unit_amount, unit_amount_decimal."
        raise invalid_parameter(parameters.name("unit_amount_decimal"), message)
    if fine is None:
        whole = parameters.require(whole, "unit_amount")
        return whole, str(whole)
    try:
        exact = Decimal(fine)
    except InvalidOperation:
        exact = Decimal("NaN")
    exponent = exact.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_DECIMALS_MAX or not 0 <= exact <= _UNIT_AMOUNT_MAX:
        raise invalid_parameter(parameters.name("unit_amount_decimal"), f"Invalid decimal: {fine}")
    shown = format(exact, "f")
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return (int(exact) if exact == int(exact) else None), shown


def _free_lookup_key(world: World, price: Object, *, transferred: bool) -> None:
    """Takes the lookup key of a price away from the one that has it, if the call said so."""
    if price["lookup_key"] is None:
        return
    for other in world.all("price"):
        if other["lookup_key"] == price["lookup_key"] and other["id"] != price["id"]:
            if not transferred:
                message = (
                    f"A price (`{other['id']}`) already uses that lookup key. Set `transfer_lookup_key` to move it."
                )
                raise Refusal(400, message, param="lookup_key")
            world.change(other, "price.updated", {"lookup_key": None})


routes = (
    Route("POST", "/v1/prices", create),
    Route("GET", "/v1/prices", list_all),
    Route("GET", "/v1/prices/{id}", retrieve),
    Route("POST", "/v1/prices/{id}", update),
)
