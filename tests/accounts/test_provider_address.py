"""Nothing leads a customer's key, or our own requests, into a network that is not the public one."""

import pytest

from tallystick.accounts.provider_address import check_base_url
from tallystick.base.errors import InvalidInput
from tallystick.notices.fence import Fence

PUBLIC = ["93.184.215.14", "2606:4700:4700::1111"]


async def check(url, addresses=PUBLIC):
    async def resolve(_host, _port):
        if isinstance(addresses, Exception):
            raise addresses
        return addresses

    return await check_base_url(url, "baseUrl", own_host="pay.example.com", fence=Fence(resolve=resolve))


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://llm.example.org", "https://llm.example.org"),
        ("https://llm.example.org/", "https://llm.example.org"),
        ("https://LLM.example.org:443/v1/", "https://LLM.example.org:443/v1"),
        ("https://xn--bcher-kva.example/v1", "https://xn--bcher-kva.example/v1"),
        ("https://a.b-c.xn--p1ai", "https://a.b-c.xn--p1ai"),
    ],
)
async def test_an_address_of_the_public_internet_is_taken(url, kept):
    assert await check(url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "", "https://", "http://llm.example.org", "ftp://llm.example.org", "file:///etc/passwd", "//llm.example.org",
        "HTTPS://llm.example.org", " https://llm.example.org", "https://llm.example.org/a b", "https://llm.example.org\n",
        "https://user:pass@llm.example.org", "https://llm.example.org@169.254.169.254", "https://llm.example.org:8443",
        "https://llm.example.org:", "https://llm.example.org:0443", "https://llm.example.org?x=1",
        "https://llm.example.org#x", "https://llm.example.org\\@evil.example.org", "https://llm.example.org/%2e%2e",
        "https://127.0.0.1", "https://127.1", "https://2130706433", "https://0x7f000001", "https://0x7f.0.0.1",
        "https://0177.0.0.1", "https://[::1]", "https://[::ffff:127.0.0.1]", "https://169.254.169.254/latest",
        "https://10.0.0.1", "https://8.8.8.8", "https://localhost", "https://LOCALHOST", "https://a.localhost",
        "https://metadata.google.internal", "https://printer.local", "https://intranet", "https://llm.example.org.",
        "https://.example.org", "https://a..example.org", "https://-a.example.org", "https://b\u00fccher.example",
        "https://1.2.3.4.", "https://pay.example.com", "https://PAY.example.com/v1", "https://a.b.1",
        "https://" + "a" * 64 + ".org", "https://a.org/" + "x" * 400,
    ],
)  # fmt: skip
async def test_every_other_one_is_refused(url):
    with pytest.raises(InvalidInput) as refused:
        await check(url)
    assert refused.value.field == "baseUrl"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1",
        "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:1::1", "2001:db8::1", "fec0::1",
        "168.63.129.16",
    ],
)  # fmt: skip
async def test_a_name_that_leads_inside_is_refused(address):
    # However many good ones stand beside it.
    with pytest.raises(InvalidInput, match="public internet"):
        await check("https://llm.example.org", [*PUBLIC, address])


@pytest.mark.parametrize("found", [[], OSError("no such host"), TimeoutError(), UnicodeError("label too long")])
async def test_a_name_that_is_not_found_is_refused(found):
    with pytest.raises(InvalidInput):
        await check("https://llm.example.org", found)
