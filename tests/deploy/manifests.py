"""The manifests as tests look at them: read, and put together as kustomize does it, as far as ours need it."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
BASE = KUBERNETES / "base"
REHEARSAL = KUBERNETES / "overlays" / "rehearsal"
COMPONENTS = sorted(path.parent for path in (KUBERNETES / "components").glob("*/kustomization.yaml"))
KUSTOMIZATIONS = sorted(KUBERNETES.glob("**/kustomization.yaml"))

Manifest: TypeAlias = dict[str, Any]


def documents(path: Path) -> list[Any]:
    """All of a file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document is not None]


def rendered(folder: Path) -> list[Manifest]:
    """What `kubectl kustomize FOLDER` yields: resources, generated maps, JSON patches, images, namespace."""
    (kustomization,) = documents(folder / "kustomization.yaml")
    found: list[Manifest] = []
    for resource in kustomization.get("resources", ()):
        path = folder / resource
        found += rendered(path) if path.is_dir() else documents(path)
    found += _generated(kustomization, folder)
    for patch in kustomization.get("patches", ()):
        _apply(found, patch["target"], documents(folder / patch["path"])[0])
    for image in kustomization.get("images", ()):
        _name_images(found, image)
    if namespace := kustomization.get("namespace"):
        for manifest in found:
            if manifest["kind"] != "Namespace":
                manifest["metadata"]["namespace"] = namespace
    return found


def one(manifests: list[Manifest], kind: str, name: str = "tunemill") -> Manifest:
    """The one of this kind and name."""
    (found,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods_of(manifests: list[Manifest]) -> Iterator[Manifest]:
    """The pod templates in them."""
    yield from (manifest["spec"]["template"] for manifest in manifests if manifest["kind"] in {"Job", "Deployment"})


def _generated(kustomization: Manifest, folder: Path) -> Iterator[Manifest]:
    for generator in kustomization.get("configMapGenerator", ()):
        data = {name: (folder / name).read_text(encoding="utf-8") for name in generator["files"]}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}
    for generator in kustomization.get("secretGenerator", ()):
        literals = dict(literal.split("=", 1) for literal in generator["literals"])
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": generator["name"]}, "stringData": literals}


def _apply(manifests: list[Manifest], target: Manifest, operations: list[Manifest]) -> None:
    """RFC 6902's `add` to a list's end, which is all that ours do."""
    manifest = one(manifests, target["kind"], target["name"])
    for operation in operations:
        assert operation["op"] == "add", operation
        *way, last = operation["path"].strip("/").split("/")
        place: Any = manifest
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        assert last == "-", operation
        place.append(deepcopy(operation["value"]))


def _name_images(manifests: list[Manifest], image: Manifest) -> None:
    for pod in pods_of(manifests):
        for container in pod["spec"]["containers"]:
            if container["image"].partition(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
