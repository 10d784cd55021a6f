"""HTTP through the proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY).
Requests to this machine's own addresses go directly, because no proxy reaches them.
"""

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from llmill.contract.errors import UserError

SCHEMES = ("http", "https")
THIS_MACHINE = ("all://localhost", "all://127.0.0.1", "all://[::1]")


def client(only: str | None = None, **options: Any) -> httpx.Client:
    """Return an httpx client with these options; `only` is the one address that it is for. Raises
    `UserError` for a proxy that cannot be used.
    """
    if only is not None and _is_here(only):
        return httpx.Client(transport=httpx.HTTPTransport(), **options)
    try:
        return httpx.Client(mounts=dict.fromkeys(THIS_MACHINE), **options)
    except ImportError:
        raise UserError(
            f"{_socks_variable()}: a SOCKS proxy needs the package socksio (`pip install "
            "socksio`); or unset it, or name an HTTP proxy"
        ) from None
    except (ValueError, httpx.InvalidURL) as error:
        raise UserError(
            f"invalid proxy ({error}); check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
        ) from None


def through(url: str) -> str:
    """Return `, through the proxy ADDRESS (VARIABLE)` if a proxy is used for this URL, else ""."""
    try:
        parts = urlsplit(url)
        direct = _is_here(url) or proxy_bypass(parts.hostname or "")
    except ValueError:  # not an address
        return ""
    proxies = getproxies()
    scheme = next((each for each in (parts.scheme, "all") if proxies.get(each)), None)
    if direct or scheme is None or parts.scheme not in SCHEMES:
        return ""
    return f", through the proxy {_without_key(proxies[scheme])} ({_variable(scheme)})"


def _is_here(url: str) -> bool:
    """Return whether this is an address of this machine only."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _socks_variable() -> str:
    """Return `NAME = ADDRESS` of the variable that names a SOCKS proxy."""
    proxies = getproxies()
    scheme = next(each for each in (*SCHEMES, "all") if proxies.get(each, "").startswith("socks"))
    return f"{_variable(scheme)} = {_without_key(proxies[scheme])}"


def _variable(scheme: str) -> str:
    """Return the variable's name as it is set; of both cases, the lower-case one is read."""
    name = f"{scheme}_proxy"
    return name if name in os.environ else name.upper()


def _without_key(proxy: str) -> str:
    """Return a proxy's address without the name and password in it."""
    scheme, _, rest = proxy.rpartition("://")
    return f"{scheme or 'http'}://{rest.rpartition('@')[2]}"
