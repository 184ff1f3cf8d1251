import pytest

from tallystick.base.errors import UpstreamFailed
from tallystick.gateway.http.address import Address, split
from tallystick.gateway.http.request import post_head
from tallystick.gateway.upstream import Upstream, UpstreamLimits

HERE = Address("example.org", 443, tls=True)


@pytest.mark.parametrize(
    ("url", "address", "path"),
    [
        ("https://api.example.org/v1", Address("api.example.org", 443, tls=True), "/v1"),
        ("http://API.example.org:8080", Address("api.example.org", 8080, tls=False), ""),
        ("http://[::1]:81/a/", Address("::1", 81, tls=False), "/a/"),
        (
            "https://b\u00fccher.example/sch\u00f6n%20er b",
            Address("xn--bcher-kva.example", 443, tls=True),
            "/sch%C3%B6n%20er%20b",
        ),
    ],
)
def test_an_address_is_split(url: str, address: Address, path: str) -> None:
    assert split(url) == (address, path)


@pytest.mark.parametrize("url", ["", "example.org", "ftp://example.org", "https://", "http://x:y", "http://x:70000"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError):
        split(url)


@pytest.mark.parametrize(
    ("address", "authority"),
    [
        (Address("a", 443, tls=True), "a"),
        (Address("a", 80, tls=True), "a:80"),
        (Address("a", 80, tls=False), "a"),
        (Address("::1", 8080, tls=False), "[::1]:8080"),
    ],
)
def test_the_port_is_told_where_it_is_not_the_usual_one(address: Address, authority: str) -> None:
    assert address.authority == authority


def test_a_head() -> None:
    found = post_head(HERE, "/v1/x", {"a-b": "c d"})
    assert found == b"POST /v1/x HTTP/1.1\r\nhost: example.org\r\na-b: c d\r\ncontent-length: "


@pytest.mark.parametrize("path", ["", "x", "/a b", "/a\r\nx: y", "/\u00e9", "/a\n", "/a\x7f"])
def test_a_path_that_cannot_be_sent(path: str) -> None:
    with pytest.raises(ValueError):
        post_head(HERE, path, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", "b\r\nc: d"), ("a", "b\n"), ("a", "\u00e9"), ("a", ""), ("a", " b"), ("a", "b\x00"),
        ("a b", "c"), ("", "c"), ("A", "c"), ("a:", "c"), ("a\r\n", "c"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_sent(name: str, value: str) -> None:
    with pytest.raises(ValueError):
        post_head(HERE, "/", {name: value})


@pytest.mark.parametrize(
    ("url", "credential"), [("http://127.0.0.1:1", "a b"), ("http://127.0.0.1:1", "a\r\nx: y"), ("ftp://x", "a")]
)
async def test_what_an_operator_set_wrongly_is_a_failure(url: str, credential: str) -> None:
    with pytest.raises(UpstreamFailed):
        await Upstream(UpstreamLimits()).post(url, "/", b"", credential)
