"""Real nginx and haproxy with the shipped configurations, in a directory of their own: ports,
paths and the certificate are replaced, nothing else.
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

SHIPPED = Path(__file__).resolve().parents[2] / "systemd" / "proxy"
START_TIMEOUT_S = 20.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"  # not everybody's has sbin
_AS_ROOT = os.geteuid() == 0

NGINX_MAIN = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include {site};
}}
"""


def program(name: str) -> str | None:
    """Where a program is, if it is installed."""
    return shutil.which(name, path=_PATH)


class Certificate(NamedTuple):
    """A self-signed one for 127.0.0.1, its key, and both in one file."""

    cert: Path
    key: Path
    both: Path

    def client(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """What trusts it, and speaks that version of TLS."""
        context = ssl.create_default_context(cafile=self.cert)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


def make_certificate(directory: Path) -> Certificate:
    """By openssl."""
    made = Certificate(*(directory / name for name in ("cert.pem", "key.pem", "both.pem")))
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    names = ("-subj", "/CN=sidecar", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    files = ("-keyout", str(made.key), "-out", str(made.cert))
    subprocess.run(
        ("openssl", "req", "-x509", *key, *names, *files), check=True, capture_output=True
    )
    made.both.write_bytes(made.cert.read_bytes() + made.key.read_bytes())
    return made


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of the given parts, which it has to have, replaced."""
    for old, new in changes.items():
        assert old in text, f"the shipped file has no {old!r}"
        text = text.replace(old, new)
    return text


def nginx_files(
    directory: Path, certificate: Certificate, changes: Mapping[str, str]
) -> tuple[str, ...]:
    """Writes the site and what Debian's nginx.conf is around it; the command that runs it."""
    site = replaced(
        (SHIPPED / "nginx.conf").read_text(),
        {
            "/etc/ssl/sidecar/fullchain.pem": str(certificate.cert),
            "/etc/ssl/sidecar/privkey.pem": str(certificate.key),
            "/var/log/nginx/": f"{directory}/",
            **changes,
        },
    )
    (directory / "site.conf").write_text(site)
    user = "user root;" if _AS_ROOT else ""
    main = NGINX_MAIN.format(user=user, site=directory / "site.conf")
    (directory / "nginx.conf").write_text(main)
    return (program("nginx") or "", "-p", str(directory), "-c", str(directory / "nginx.conf"))


def haproxy_files(
    directory: Path, certificate: Certificate, changes: Mapping[str, str]
) -> tuple[str, ...]:
    """Writes the configuration; the command that runs it."""
    drop_root = {} if _AS_ROOT else dict.fromkeys(("chroot /", "user h", "group h"), "# ")
    text = replaced(
        (SHIPPED / "haproxy.cfg").read_text(),
        {"/etc/haproxy/sidecar.pem": str(certificate.both), **drop_root, **changes},
    )
    (directory / "haproxy.cfg").write_text(text)
    return (program("haproxy") or "", "-W", "-f", str(directory / "haproxy.cfg"))


class Proxy:
    """One of them, running, in front of `upstream`: HOST:PORT or unix:PATH."""

    def __init__(
        self,
        name: str,
        directory: Path,
        upstream: str,
        certificate: Certificate,
        changes: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self._directory = directory
        given = {"127.0.0.1:8010": upstream, **(changes or {})}
        if name == "nginx":
            given["listen [::]:443"] = f"listen [::1]:{self.port}"
            given["listen 443"] = f"listen 127.0.0.1:{self.port}"
            command = nginx_files(directory, certificate, given)
            self._reload_signal = signal.SIGHUP
        else:
            given["*:443,[::]:443"] = f"127.0.0.1:{self.port},[::1]:{self.port}"
            given["log /dev/log local0"] = "log stdout format raw local0"
            given["maxconn 11000"] = "maxconn 1000"  # descriptors that not everybody has
            command = haproxy_files(directory, certificate, given)
            self._reload_signal = signal.SIGUSR2
        with (directory / "output.log").open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def ws_url(self) -> str:
        return f"wss://127.0.0.1:{self.port}/ws"

    @property
    def logs(self) -> str:
        """All that it has written."""
        paths = sorted(self._directory.glob("*.log"))
        return "".join(path.read_text(errors="replace") for path in paths)

    def reload(self) -> None:
        """As `systemctl reload` has it done."""
        self._process.send_signal(self._reload_signal)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (self._listens() and self._hears_signals()):
            assert self._process.poll() is None, self.logs
            assert time.monotonic() < deadline, self.logs
            time.sleep(0.01)
        return self

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def _hears_signals(self) -> bool:
        """haproxy's master starts itself again once its worker runs, and is deaf meanwhile."""
        if self._reload_signal is signal.SIGUSR2 and "Loading success" not in self.logs:
            return False
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (self._reload_signal - 1) & 1)

    def __exit__(self, *exc: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
