"""Whose certificates the clients believe, and that they are read no oftener than they must be."""

import ssl
from pathlib import Path

import httpx2
import pytest
from yarl import URL

from tunemill.client.sdk import http_client_for
from tunemill.client.trust import context_for
from tunemill.errors import ArgumentError

HTTP, HTTPS = URL("http://provider.example/v1"), URL("https://provider.example/v1")
# A certificate of nobody's, "CN=nobody", whose key was thrown away.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIUISaIcQfjD7Nc8QDINPV/DM9/Xk4wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MCAXDTI2MTEyMTE3MjYzOFoYDzIxMjYxMDI4MTcy
NjM4WjARMQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATH2gAgEF2ByakSwvGf/dToiT2NzehmBPxQ3lLJOUHlV2eZTLy4pVfCGmrPDxkN
jVkysUVn0ThxxovDrp7k8awSo1MwUTAdBgNVHQ4EFgQU5xOGNn1OCpkLoX4KzXCz
81AdHM0wHwYDVR0jBBgwFoAU5xOGNn1OCpkLoX4KzXCz81AdHM0wDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAul/bK/q0RPCwFSZ0fsIr8jgy/kyU
bBQHiYj5XQcwZJkCIQDW6Y7k0f1pCZA7gFYaP7hHy7I4OczbM4z1I0egyMGLGg==
-----END CERTIFICATE-----
"""


def test_encrypted_ways_share_one_context_that_believes_whom_the_sdk_believes() -> None:
    """To the provider or to a proxy before it: one context, with certificates checked against the name of the host."""
    context = context_for(HTTPS, None)
    assert context is context_for(URL("https://other.example"), None) is context_for(HTTP, URL("https://proxy.example"))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs() == httpx2.create_ssl_context().get_ca_certs()


def test_plain_http_believes_nobody() -> None:
    """Nothing is read for it; what came encrypted all the same would be refused."""
    for proxy in (None, URL("http://proxy.example")):
        context = context_for(HTTP, proxy)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.cert_store_stats()["x509"] == 0


def test_the_variable_of_the_sdk_says_whom_to_believe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file is another trust, also where one was made already."""
    before = context_for(HTTPS, None)
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    names = [authority["subject"] for authority in context_for(HTTPS, None).get_ca_certs()]
    assert names == [((("commonName", "nobody"),),)]
    assert context_for(HTTPS, None) is not before


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SSL_CERT_FILE", "/nowhere/bundle.pem", "SSL_CERT_FILE = '/nowhere/bundle.pem': certificates cannot be read"),
        (
            "HTTPS_PROXY",
            "gopher://me:secret@proxy.example:70",
            "HTTPS_PROXY or ALL_PROXY: names a proxy that cannot",
        ),
    ],
)
def test_what_the_environment_names_wrongly_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """It is named with its variable and how to mend it, without a password."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError) as raised:
        http_client_for(str(HTTPS))
    assert str(raised.value).startswith(said)
    assert "secret" not in str(raised.value)
