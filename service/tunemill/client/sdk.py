"""What the SDK sends with, made as the environment has it; what it has wrongly is a mistake with a name."""

import os
from typing import Any

import openai
from yarl import URL

from tunemill.client.trust import context_for, proxy_for
from tunemill.errors import ArgumentError


def http_client_for(base_url: str, **options: Any) -> openai.DefaultAioHttpClient:
    """What the SDK is to send with to this address. Raises ArgumentError for certificates or a proxy that cannot be
    used."""
    address = URL(base_url)
    try:
        return openai.DefaultAioHttpClient(
            follow_redirects=False, verify=context_for(address, proxy_for(address)), **options
        )
    except OSError as error:  # of the files and of OpenSSL
        found = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)}
        name, value = next(iter(found.items()), ("SSL_CERT_FILE", ""))
        mend = "name a file of certificates (PEM), or unset it"
        problem = f"certificates cannot be read from there ({error.strerror or error})"
        raise ArgumentError(problem, mend=mend, key=name, value=value) from error
    except ValueError as error:  # its text, and the variable's, may hold a password
        mend = "write it like http://host:port, or unset it"
        raise ArgumentError(
            "names a proxy that cannot be used", mend=mend, key=f"{address.scheme.upper()}_PROXY or ALL_PROXY"
        ) from error
