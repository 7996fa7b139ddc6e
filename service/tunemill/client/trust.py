"""The way to a provider as the environment has it: whose certificates are believed, and through which proxy.

Certificates are those that the SDK believes, read once for all clients of a process. Reading them takes a tenth of a
second, so that whoever is only reached unencrypted does without.
"""

import functools
import os
import ssl
import urllib.request

from httpx2 import create_ssl_context
from yarl import URL


def context_for(url: URL, proxy: URL | None) -> ssl.SSLContext:
    """The context to reach this address with. Where nothing is encrypted on the way, one that believes nobody."""
    if url.scheme == "http" and (proxy is None or proxy.scheme == "http"):
        return _of_nobody()
    # The two variables are the SDK's (httpx2's): another file is another trust.
    return _of_the_sdk(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


def proxy_for(url: URL) -> URL | None:
    """The environment's proxy for this address, as the SDK finds it. (aiohttp would look for it at every request.)"""
    host = url.host or ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(f"{host}:{url.port}") or urllib.request.proxy_bypass(host):
        return None
    return URL(proxy if "://" in proxy else f"http://{proxy}")


@functools.lru_cache(maxsize=4)
def _of_the_sdk(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    del cert_file, cert_dir  # what they name is found by the SDK's HTTP client itself
    return create_ssl_context()


@functools.cache
def _of_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
