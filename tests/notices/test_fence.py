"""No customer's URL makes this server call what only it can reach."""

import asyncio
import socket

import pytest

from tallystick.base.errors import InvalidInput
from tallystick.notices.fence import Fence, is_public
from tallystick.notices.post import post
from tests.notices.receiver import receiver

PUBLIC = "93.184.215.14"


def resolving(*answers: list[str]) -> Fence:
    """A fence whose names mean these addresses, one answer after the other."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return Fence(resolve=resolve)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.10", "0.0.0.0",
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1",
        "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "5f00::1", "4000::1",
    ],
)  # fmt: skip
async def test_an_address_inside_is_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(InvalidInput) as refused:
        await resolving([PUBLIC, address]).vet("https://hooks.example.com/")
    assert refused.value.field == "url"


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.com", "http://hooks.example.com/", "ftp://hooks.example.com/", "file:///etc/passwd",
        "gopher://hooks.example.com/", "https://", "https:///path", "https://user@hooks.example.com/",
        "https://user:pass@hooks.example.com/", "https://hooks.example.com\\@evil.example/", "https://hooks.example.com#x",
        "https://hooks.example.com/ x", "https://hooks.example.com/\n", "\thttps://hooks.example.com/", "https://hö.example/",
        "https://hooks.example.com:22/", "https://hooks.example.com:0/", "https://hooks.example.com:80/",
        "https://hooks.example.com:99999/", "https://[fe80::1%25eth0]/", "https://[::1/", "https://hooks.example.com:/",
        "https://hooks.example.com:443:443/", "https://hooks.example.com/" + "x" * 2000,
    ],
)  # fmt: skip
async def test_an_odd_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await resolving([PUBLIC]).vet(url)
    assert refused.value.field == "url"


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "0"],
)
async def test_this_machine_is_refused_however_it_is_written(host: str) -> None:
    """By the resolver of this machine."""
    with pytest.raises(InvalidInput):
        await Fence().vet(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com", "https://hooks.example.com/a/b?token=x&y=%20", "https://hooks.example.com:8443/",
        "HTTPS://Hooks.Example.com/", "https://93.184.215.14/",
    ],
)  # fmt: skip
async def test_an_https_address_of_the_internet_is_allowed(url: str) -> None:
    assert (await resolving([PUBLIC]).vet(url)).addresses == (PUBLIC,)


async def test_a_name_that_means_nothing_is_refused() -> None:
    async def nobody(_host: str, _port: int) -> list[str]:
        raise socket.gaierror("no such host")

    for fence in (Fence(resolve=nobody), resolving([])):
        with pytest.raises(InvalidInput, match="cannot be found"):
            await fence.vet("https://hooks.example.com/")


async def test_a_name_that_turns_inside_after_it_was_saved_is_not_called() -> None:
    async with receiver() as inside:
        fence = resolving([PUBLIC], ["127.0.0.1"])
        url = f"https://hooks.example.com:{inside.port}/"
        await fence.vet(url)
        answer = await post(fence, url, b"{}", {})
        assert (answer.status, answer.text) == (None, "url must lead to the public internet")
        assert inside.received == []


async def test_the_vetted_address_is_called_whatever_the_name_means_next() -> None:
    """This machine stands for the public one: the name is asked for once, and what it would mean then is not called."""
    asked = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with receiver() as vetted:
        answer = await post(
            Fence(loopback=True, resolve=resolve), f"http://nowhere.invalid:{vetted.port}/", b"{}", {"x-test": "1"}
        )
        assert (answer.status, asked) == (204, ["nowhere.invalid"])
        (got,) = vetted.received
        assert got.headers["Host"] == f"nowhere.invalid:{vetted.port}"


async def test_development_allows_this_machine_and_nothing_else_inside() -> None:
    fence = Fence(loopback=True)
    assert (await fence.vet("http://127.0.0.1:8080/hooks")).addresses == ("127.0.0.1",)
    for url in ("http://10.0.0.1/", "https://10.0.0.1/", "http://93.184.215.14/", "https://169.254.169.254/"):
        with pytest.raises(InvalidInput):
            await fence.vet(url)


async def test_a_redirect_is_not_followed() -> None:
    async with receiver() as first, receiver() as second:
        first.answers = [(307, {"location": second.url()}, "")]
        answer = await post(Fence(loopback=True), first.url(), b"{}", {})
        assert (answer.status, second.received) == (307, [])


async def test_of_a_long_answer_only_the_beginning_is_read() -> None:
    written = 0

    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n")
        try:
            while written < 100_000_000:
                writer.write(b"\x00secret \x1b[31m\n" * 1000)
                written += 14_000
                await writer.drain()
        except ConnectionError:
            writer.close()

    async with await asyncio.start_server(endless, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await post(Fence(loopback=True), f"http://127.0.0.1:{port}/", b"{}", {})
    assert (answer.status, len(answer.text)) == (200, 200)
    assert answer.text.isprintable()
    assert written < 50_000_000


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-le"])
async def test_a_receiver_that_speaks_no_http_is_an_answer_too(said: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await post(Fence(loopback=True), f"http://127.0.0.1:{port}/?token=s3cret", b"{}", {})
    assert not answer.taken
    assert answer.text.startswith("No answer")
    assert "s3cret" not in answer.text
