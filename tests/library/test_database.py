import pytest

from tallystick import CreditService, Tallystick
from tallystick.base.errors import Misconfigured, Unavailable

NOBODY = "postgresql://tallystick@127.0.0.1:1/tallystick"


@pytest.mark.parametrize(("url", "error"), [(NOBODY, Unavailable), ("mysql://somewhere/else", Misconfigured)])
@pytest.mark.parametrize("opens", [Tallystick.open, CreditService.connect])
async def test_a_database_that_cannot_be_used_is_told_in_our_own_errors(
    opens, url: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match="database"):
        async with opens(url):
            pass
