"""What the build must be told so that pip finds in it what pip finds here: one option a line, for the engine's build.

    python3 deploy/pip_from_here.py ENGINE FOLDER       FOLDER is where the configuration is put together

`pip config list` says which indexes, certificates and folders of wheels this machine goes by. The configuration and
the certificates go along as secrets, so that they are in no layer; folders are mounted read-only where they are.
Nothing is printed for a machine that is told nothing. Standard library only: it runs before there is an environment.
"""

import ast
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

_LINE = re.compile(r"^(?P<of>global|install|wheel|:env:)\.(?P<key>[a-z-]+)=(?P<value>.+)$")
_BY_RANK = ("wheel", "global", "install", ":env:")  # what comes later wins
_PASSED_ON = ("index-url", "extra-index-url", "find-links", "trusted-host", "no-index", "proxy", "timeout", "retries")
_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_WITHOUT_FOLDERS = "docker"


def main(engine: str, folder: Path) -> None:
    """Write FOLDER/pip.conf and print the options."""
    told = pip_configuration(_pip_config_list())
    passed_on = {key: told[key] for key in _PASSED_ON if key in told}
    certificates = next((path for path in _certificates(told, os.environ) if path.is_file()), None)
    if passed_on:
        configuration = folder / "pip.conf"
        configuration.write_text(pip_conf(passed_on), encoding="utf-8")
        _say("--secret", f"id=pip.conf,src={configuration}")
    if certificates is not None:
        _say("--secret", f"id=ca.crt,src={certificates.resolve()}")
    folders = sorted(local_folders(passed_on))
    if engine == _WITHOUT_FOLDERS and folders:
        named = ", ".join(map(str, folders))
        sys.stderr.write(f"note: pip is told to look in {named}, which a build with docker cannot read\n")
        return
    for path in folders:
        _say("--volume", f"{path}:{path}:ro")


def pip_configuration(listed: str) -> dict[str, str]:
    """What `pip config list` says, by key. The environment wins over files."""
    matches = [match for line in listed.splitlines() if (match := _LINE.match(line.strip()))]
    matches.sort(key=lambda match: _BY_RANK.index(match["of"]))
    return {match["key"]: str(ast.literal_eval(match["value"])).strip() for match in matches}


def pip_conf(values: Mapping[str, str]) -> str:
    """A configuration file; a value of several addresses goes over several lines, as pip wants it."""
    lines = [f"{key} = " + "\n    ".join(value.split()) for key, value in values.items()]
    return "\n".join(["[global]", *lines, ""])


def local_folders(values: Mapping[str, str]) -> Iterator[Path]:
    """The folders of this machine that the indexes are in. An index in `simple` has its files beside it."""
    for key in ("find-links", "index-url", "extra-index-url"):
        for place in values.get(key, "").split():
            address = urllib.parse.urlsplit(place)
            if address.scheme not in ("", "file"):
                continue
            path = Path(urllib.parse.unquote(address.path))
            path = path.parent if path.name == "simple" else path
            if path.is_absolute() and path.is_dir():
                yield path


def _certificates(told: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[Path]:
    """Where the bundle may be that this machine trusts, if it was told of one."""
    for value in (told.get("cert", ""), *(environment.get(name, "") for name in _CERTIFICATES)):
        if value:
            yield Path(value)


def _pip_config_list() -> str:
    """Nothing where there is no pip."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    return listed.stdout


def _say(*options: str) -> None:
    sys.stdout.write("\n".join(options) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
