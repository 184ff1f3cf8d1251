"""Names, races between addresses, and TLS that believes only whom it should."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from http_server import LIMITS, RawServer, ask, chunked, says, upstream, whole
from msgspec.structs import replace

from tallystick.base.errors import UpstreamFailed, UpstreamTimeout

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def certify(folder: Path, *names: str, until: dt.datetime = NOW + DAY) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate that signs itself, and the file to believe it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    numbers = [x509.IPAddress(ipaddress.ip_address(each)) for each in names if each[0].isdigit()]
    spoken = [x509.DNSName(each) for each in names if not each[0].isdigit()]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 2 * DAY)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([*numbers, *spoken]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context, file


async def test_tls_keeps_connections_and_carries_every_kind_of_answer(tmp_path: Path) -> None:
    context, file = certify(tmp_path, "127.0.0.1")
    heard: list[tuple[str | None, str | None]] = []
    context.sni_callback = lambda sock, name, _context: heard.append((name, sock.version()))
    async with RawServer(context) as server, upstream(trust=ssl.create_default_context(cafile=file)) as caller:
        body = b"y" * 2_000_000
        server.then(says(whole()), says(chunked(b"a", body)), says(whole()))
        assert await ask(caller, server) == (200, b"hello")
        assert await ask(caller, server, body) == (200, b"a" + body)
        assert await ask(caller, server) == (200, b"hello")
        assert server.accepted == 1
    assert len(heard) == 1


async def test_tls_speaks_http_1_and_names_the_host(tmp_path: Path) -> None:
    context, file = certify(tmp_path, "localhost")
    heard: list[Any] = []
    context.sni_callback = lambda _sock, name, _context: heard.append(name)
    async with RawServer(context) as server, upstream(trust=ssl.create_default_context(cafile=file)) as caller:

        async def note(peer: Any) -> None:
            heard.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())

        server.then(note, says(whole()))
        reply = await caller.post(f"https://localhost:{server.port}", "/", b"", None)
        assert await reply.whole(100) == b"hello"
    assert heard == ["localhost", "http/1.1"]
    assert b"\r\nhost: localhost:" in server.requests[0]


@pytest.mark.parametrize(
    ("names", "until", "believed"),
    [
        (["127.0.0.1"], NOW + DAY, False),
        (["127.0.0.2", "example.org"], NOW + DAY, True),
        (["127.0.0.1"], NOW - DAY, True),
    ],
    ids=["unknown", "another name", "expired"],
)
async def test_a_stranger_is_told_nothing(tmp_path: Path, names: list[str], until: dt.datetime, believed: bool) -> None:
    context, file = certify(tmp_path, *names, until=until)
    trust = ssl.create_default_context(cafile=file) if believed else None
    async with RawServer(context) as server, upstream(trust=trust) as caller:
        server.then(says(whole()))
        with pytest.raises(UpstreamFailed):
            await ask(caller, server)
        assert server.requests == []


async def test_a_server_without_tls(server: RawServer) -> None:
    server.then(says(whole()))
    async with upstream(replace(LIMITS, connect_s=0.5)) as caller:
        with pytest.raises(UpstreamFailed):
            await caller.post(f"https://127.0.0.1:{server.port}", "/", b"", None)
    assert server.requests == []


async def test_one_who_accepts_and_says_nothing(server: RawServer) -> None:
    async def keep_quiet(_peer: Any) -> None:
        await asyncio.sleep(5)

    server.then(keep_quiet)
    async with upstream(replace(LIMITS, connect_s=0.2)) as caller:
        with pytest.raises(UpstreamTimeout):
            await caller.post(f"https://127.0.0.1:{server.port}", "/", b"", None)
        assert caller._pool._slots.taken == 0


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "http://no-such-host.invalid", f"http://{'x' * 70}.invalid", "http://localhost:1"],
)
async def test_nobody_there(url: str) -> None:
    async with upstream() as caller:
        with pytest.raises(UpstreamFailed) as failure:
            await caller.post(url, "/", b"", None)
        assert url.removeprefix("http://") not in failure.value.message


Resolve = Callable[[list[tuple[str, int]]], None]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Let the resolver answer with these addresses, whatever it is asked."""

    def use(places: list[tuple[str, int]]) -> None:
        async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
            asked.append(1)
            await asyncio.sleep(0.01)
            return [
                (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
                for host, port in places
            ]

        asked: list[int] = []
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
        use.asked = asked  # type: ignore[attr-defined]

    return use


@pytest.mark.asyncio(loop_factories=["asyncio"])
class TestAddresses:
    """On asyncio's loop only: uvloop's is compiled, and its resolver cannot be replaced."""

    async def test_one_that_refuses_is_passed_over(self, server: RawServer, resolve: Resolve) -> None:
        server.then(says(whole()))
        resolve([("127.0.0.1", 1), ("127.0.0.1", server.port)])
        async with upstream() as caller:
            assert (await caller.post("http://some.example", "/", b"", None)).status == 200

    async def test_one_that_is_silent_is_overtaken(self, server: RawServer, resolve: Resolve) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            blocked = [socket.socket() for _ in range(4)]
            for each in blocked:
                each.setblocking(False)
                each.connect_ex(full.getsockname())
            server.then(says(whole()))
            resolve([full.getsockname(), ("127.0.0.1", server.port)])
            async with upstream() as caller:
                assert (await caller.post("http://some.example", "/", b"", None)).status == 200
            for each in blocked:
                each.close()

    async def test_none_of_them(self, resolve: Resolve) -> None:
        resolve([("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)])
        async with upstream() as caller:
            with pytest.raises(UpstreamFailed):
                await caller.post("http://some.example", "/", b"", None)

    async def test_many_calls_ask_the_resolver_once(self, server: RawServer, resolve: Resolve) -> None:
        server.then(*[says(whole())] * 6)
        resolve([("127.0.0.1", server.port)])
        async with upstream() as caller:
            url = f"http://some.example:{server.port}"
            replies = await asyncio.gather(*(caller.post(url, "/", b"", None) for _ in range(6)))
            assert [reply.status for reply in replies] == [200] * 6
        assert resolve.asked == [1]  # type: ignore[attr-defined]


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_ipv6() -> None:
    async with RawServer(host="::1") as server, upstream() as caller:
        server.then(says(whole()))
        assert await ask(caller, server) == (200, b"hello")
        assert b"\r\nhost: [::1]:%d\r\n" % server.port in server.requests[0]
