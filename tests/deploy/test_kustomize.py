"""What the tests of the manifests look at is what kustomize makes of them; kubectl has it built in."""

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.manifests import BASE, COMPONENTS, KUBERNETES, REHEARSAL, Manifest, rendered

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@pytest.mark.parametrize("folder", [BASE, REHEARSAL], ids=lambda folder: folder.name)
def test_kustomize_puts_the_manifests_together_as_the_tests_do(folder: Path) -> None:
    """Generated maps and secrets, patches, images and namespace, key by key."""
    assert _by_name(_kustomized(folder)) == _by_name(rendered(folder))


def test_the_components_can_be_added_to_the_base(tmp_path: Path) -> None:
    """In a kustomization of somebody's own, a line for each."""
    shutil.copytree(KUBERNETES, tmp_path / "theirs")
    names = ", ".join(f"theirs/components/{folder.name}" for folder in COMPONENTS)
    kinds = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    (tmp_path / "kustomization.yaml").write_text(f"{kinds}resources: [theirs/base]\ncomponents: [{names}]\n")
    added = [manifest for folder in COMPONENTS for manifest in rendered(folder)]
    assert _by_name(_kustomized(tmp_path)) == _by_name([*rendered(BASE), *added])


def _kustomized(folder: Path) -> list[Manifest]:
    made = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, check=False, timeout=60, env={"HOME": "/tmp"}
    )
    assert made.returncode == 0, made.stderr
    return [manifest for manifest in yaml.safe_load_all(made.stdout) if manifest is not None]


def _by_name(manifests: list[Manifest]) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and name, with the values of secrets as they are read."""
    return {(each["kind"], each["metadata"]["name"]): _plain(each) for each in manifests}


def _plain(manifest: Manifest) -> Manifest:
    """A Secret's values may be written plainly or in base64."""
    if manifest["kind"] != "Secret":
        return manifest
    encoded = {name: base64.b64decode(value).decode() for name, value in manifest.get("data", {}).items()}
    return {"name": manifest["metadata"]["name"], "values": {**encoded, **manifest.get("stringData", {})}}
