"""nginx in two roles, each a process of its own: the model stand-in that answers at once, and the plain proxy that
everything is compared with."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.processes import Tree, free_port, listens, running, wait_until

INPUT_TOKENS: Final = 25
OUTPUT_TOKENS: Final = 30
ANSWER: Final = (
    '{"id":"chatcmpl-B1xQ0cJ5vVbq3mZk8sT2","object":"chat.completion","created":1767225600,"model":"bench-model",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"A split stick cannot be altered by one side '
    'alone: each holds half of the same notches, so both must agree before a debt can change.","refusal":null},'
    '"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":25,"completion_tokens":30,"total_tokens":55,'
    '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,'
    '"audio_tokens":0}},"service_tier":"default","system_fingerprint":"fp_bench"}'
)
_FRAME: Final = """\
daemon off;
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  {servers}
}}
"""
_STAND_IN: Final = """\
server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type application/json; return 200 '{answer}'; }}
  }}
"""
# The ordinary proxy of the manual: HTTP/1.1 and kept connections upstream; events are passed on as they come.
_PROXY: Final = """\
upstream model {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://model;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    port: int
    tree: Tree

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def is_installed() -> bool:
    return shutil.which("nginx") is not None


@contextlib.contextmanager
def stand_in(folder: Path) -> Iterator[Nginx]:
    """A model that answers every call at once with the same body, for next to no CPU."""
    port = free_port()
    with _nginx(folder / "model", port, _STAND_IN.format(port=port, answer=ANSWER)) as nginx:
        yield nginx


@contextlib.contextmanager
def proxy(folder: Path, upstream: int) -> Iterator[Nginx]:
    """A plain reverse proxy in front of the port `upstream`."""
    port = free_port()
    with _nginx(folder / f"proxy-{upstream}", port, _PROXY.format(port=port, upstream=upstream)) as nginx:
        yield nginx


@contextlib.contextmanager
def _nginx(folder: Path, port: int, servers: str) -> Iterator[Nginx]:
    folder.mkdir()
    configuration, log = folder / "nginx.conf", folder / "nginx.log"
    user = "user root;\n" if os.geteuid() == 0 else ""
    configuration.write_text(_FRAME.format(folder=folder, user=user, servers=servers))
    command = [shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
    with running(command, log) as process:
        wait_until(lambda: listens(port), process, log)
        yield Nginx(port, Tree(process.pid))
