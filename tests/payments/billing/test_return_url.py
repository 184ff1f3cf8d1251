"""Where customers may be sent back to: the hosts that are allowed, and nothing that only looks like one."""

import pytest

from tallystick.base.errors import InvalidInput
from tallystick.payments.billing.return_url import check_return_url, host_of

HOSTS = ("app.example.com", "Pay.Example.com:8443", "localhost:3000", "127.0.0.1", "[::1]:8080")


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com",
        "https://app.example.com/",
        "https://APP.example.com:443/settings/billing?success=1&session={CHECKOUT_SESSION_ID}#top",
        "https://pay.example.com:8443/a",
        "http://localhost:3000/back",
        "http://127.0.0.1/back",
        "http://127.0.0.1:80/back",
        "http://[::1]:8080/",
    ],
)
def test_what_is_allowed_is_taken_as_it_is(url):
    assert check_return_url("returnUrl", url, HOSTS) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app.example.com",
        "//app.example.com/",
        "http://app.example.com/",
        "ftp://app.example.com/",
        "javascript://app.example.com/%0aalert(1)",
        "data:text/html,hello",
        "https:app.example.com",
        "https:///app.example.com",
        "https://",
        "https://evil.example/app.example.com",
        "https://app.example.com.evil.example/",
        "https://evil.example#app.example.com",
        "https://evil.example?app.example.com",
        "https://app.example.com@evil.example/",
        "https://user:password@app.example.com/",
        "https://app.example.com:8443/",
        "https://pay.example.com/",
        "https://app.example.com:/",
        "https://app.example.com./",
        "https://.app.example.com/",
        "https://app%2eexample.com/",
        "https://app\u3002example.com/",
        "https://\u0430pp.example.com/",
        "https://evil.example\\@app.example.com/",
        "https://app.example.com\\@evil.example/",
        "https://app.example.com/a b",
        "https://app.example.com/\t",
        "https://app.example.com/\n",
        " https://app.example.com/",
        "https://app.example.com/\x00",
        "https://app.example.com/<script>",
        'https://app.example.com/"',
        "https://0x7f000001/",
        "http://2130706433/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "https://app.example.com/" + "a" * 2000,
    ],
)
def test_everything_else_is_refused_and_the_field_is_named(url):
    with pytest.raises(InvalidInput) as refused:
        check_return_url("returnUrl", url, HOSTS)
    assert refused.value.details["field"] == "returnUrl"


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("https://Pay.example.com", "pay.example.com"),
        ("https://pay.example.com:443", "pay.example.com"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("not an address", ""),
    ],
)
def test_by_default_it_is_the_host_of_our_own_pages(public_url, host):
    assert host_of(public_url) == host
