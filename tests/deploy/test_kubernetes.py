"""The Kubernetes manifests: they fit the schemas, and they say the same as the program, the image and each other."""

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from deploy.rehearse.kubernetes import Verdict, job_spec
from tests.deploy.manifests import (
    BASE,
    COMPONENTS,
    KUBERNETES,
    KUSTOMIZATIONS,
    REHEARSAL,
    ROOT,
    documents,
    one,
    pods_of,
    rendered,
)
from typer.main import get_command

from tunemill import errors
from tunemill.app.main_job import EXIT_CODES
from tunemill.cli import commands, ending
from tunemill.cli.token import page_token
from tunemill.local import parse_arguments
from tunemill.recipe import check_under_budget, load_recipe

OLDEST, NEWEST = "1.31", "1.37"  # the first in which podFailurePolicy is settled; what came since must not break it
FOLDERS = [BASE, REHEARSAL, *COMPONENTS]
CUSTOM = {"PodMonitor", "PrometheusRule"}  # the operator's own, of which the cluster's schemas know nothing
NOT_APPLIED = {"secret.example.yaml"}
GRACE_SHARE_MAX = 0.5

each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(KUBERNETES)))


@pytest.mark.parametrize(
    ("folder", "version"),
    [(BASE, OLDEST), *((folder, NEWEST) for folder in FOLDERS if folder != BASE)],
    ids=lambda value: value if isinstance(value, str) else str(value.relative_to(KUBERNETES)),
)
def test_every_manifest_fits_its_schema(folder: Path, version: str) -> None:
    """Strictly: a key that Kubernetes does not know is refused, and not ignored."""
    manifests = [manifest for manifest in rendered(folder) if manifest["kind"] not in CUSTOM]
    for manifest in [*manifests, *documents(BASE / "secret.example.yaml")]:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_are_really_looked_at() -> None:
    """Guards the test above: a misspelt key in the Job is found."""
    job = one(rendered(BASE), "Job")
    job["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 90
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, NEWEST, strict=True)


def test_every_file_is_part_of_a_kustomization() -> None:
    """What lies there is applied, and what is applied is there."""
    named: set[Path] = set()
    for path in KUSTOMIZATIONS:
        (kustomization,) = documents(path)
        named.add(path)
        named |= {(path.parent / name).resolve() for name in kustomization.get("resources", ())}
        named |= {path.parent / patch["path"] for patch in kustomization.get("patches", ())}
        for generator in kustomization.get("configMapGenerator", ()):
            named |= {path.parent / name for name in generator["files"]}
    assert [path for path in named if not path.exists()] == []
    there = {path for path in KUBERNETES.rglob("*") if path.is_file() and path.name not in NOT_APPLIED}
    assert there - named == set()


def test_every_exit_code_means_something_to_the_job() -> None:
    """What a restart cannot mend fails the Job; what a person or the cluster stopped is not counted; the rest is."""
    expected = {
        0: Verdict.COMPLETE, 1: Verdict.COUNTED, 2: Verdict.FAIL_JOB, 3: Verdict.FAIL_JOB, 4: Verdict.FAIL_JOB,
        5: Verdict.FAIL_JOB, 6: Verdict.FAIL_JOB, 74: Verdict.FAIL_JOB, 75: Verdict.COUNTED, 130: Verdict.NOT_COUNTED,
        137: Verdict.COUNTED, 143: Verdict.NOT_COUNTED,
    }  # fmt: skip
    job = job_spec()
    assert {code: job.verdict(code) for code in expected} == expected
    assert _exit_codes() <= expected.keys()


def test_an_eviction_is_not_counted_unless_the_run_ended_by_itself() -> None:
    """Killed on its way out it is tried again for nothing; a budget that was reached just then stays reached."""
    job = job_spec()
    assert [job.verdict(code, disrupted=True) for code in (1, 137, 143)] == [Verdict.NOT_COUNTED] * 3
    assert job.verdict(3, disrupted=True) is Verdict.FAIL_JOB
    assert job.verdict(0, disrupted=True) is Verdict.COMPLETE


def test_the_page_tells_of_every_exit_code() -> None:
    """deploy/README.md has a line for each code that the program ends with."""
    page = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    told = {int(code) for line in re.findall(r"^\| ([0-9, ]+) \|", page, re.MULTILINE) for code in line.split(",")}
    assert _exit_codes() <= told


def test_the_run_has_time_to_drain() -> None:
    """SIGKILL comes long after --grace: the journal is closed and the dataset built in what remains."""
    job = job_spec()
    assert float(job.environment["TUNEMILL_GRACE"]) <= GRACE_SHARE_MAX * job.grace_s


@each_folder
def test_every_variable_is_one_that_is_read(folder: Path) -> None:
    """A misspelt variable would be ignored without a word."""
    for pod in pods_of(rendered(folder)):
        for container in pod["spec"]["containers"]:
            assert {entry["name"] for entry in container.get("env", ())} <= _variables()


@each_folder
def test_every_command_line_is_understood(folder: Path) -> None:
    """The arguments are a command's, with its flags."""
    for pod in pods_of(rendered(folder)):
        for container in pod["spec"]["containers"]:
            name, *arguments = container["args"]
            if name == "serve":
                assert parse_arguments(arguments).host == "0.0.0.0"
            else:
                command: Any = get_command(commands.app)
                command.commands[name].make_context(name, list(arguments)).close()


@each_folder
def test_a_pod_may_do_nothing_but_write_to_its_volumes(folder: Path) -> None:
    """As a user of the image, without capabilities, without a token, on a read-only root, with memory set aside."""
    for pod in pods_of(rendered(folder)):
        spec = pod["spec"]
        assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
        security = spec["securityContext"]
        assert (security["runAsNonRoot"], f"{security['runAsUser']}:{security['runAsGroup']}") == (True, _said("USER"))
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
            }  # fmt: skip
            assert {"requests", "limits"} == container["resources"].keys()
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_volume_is_where_the_image_has_it() -> None:
    """What the claim holds is mounted at the image's VOLUME, and the recipe where the arguments look for it."""
    pod = one(rendered(BASE), "Job")["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert mounts.keys() == volumes.keys()
    assert mounts["runs"] in _said("VOLUME")
    assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == "tunemill-runs"
    one(rendered(BASE), "PersistentVolumeClaim", "tunemill-runs")
    recipes = one(rendered(BASE), "ConfigMap", volumes["recipes"]["configMap"]["name"])["data"]
    workdir = _said("WORKDIR")
    assert {f"{mounts['recipes']}/{name}" for name in recipes} == {f"{workdir}/{job_spec().args[1]}"}


def test_what_is_scraped_is_where_it_listens() -> None:
    """Annotations, port, probes, PodMonitor and NetworkPolicy agree with TUNEMILL_LISTEN."""
    template = one(rendered(BASE), "Job")["spec"]["template"]
    container = template["spec"]["containers"][0]
    ((port, number),) = [(each["name"], each["containerPort"]) for each in container["ports"]]
    assert job_spec().environment["TUNEMILL_LISTEN"] == f"0.0.0.0:{number}"
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(number)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port
    labels = template["metadata"]["labels"]
    monitor = one(rendered(KUBERNETES / "components" / "pod-monitor"), "PodMonitor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]] == [port]
    policy = one(rendered(KUBERNETES / "components" / "network-policy"), "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["ingress"][0]["ports"] == [{"port": port}]


def test_the_recipe_can_be_run_under_its_budget() -> None:
    """The ConfigMap's recipe is a recipe, with a budget, and its key is one that the Secret has."""
    loaded = load_recipe(BASE / "recipe.toml")
    check_under_budget(loaded)
    (secret,) = documents(BASE / "secret.example.yaml")
    assert loaded.recipe.budget is not None
    assert loaded.recipe.provider.api_key_env in secret["stringData"]


def test_no_example_holds_a_secret() -> None:
    """The Secret and the file for its values have the same names, and nothing behind them."""
    (secret,) = documents(BASE / "secret.example.yaml")
    lines = (ROOT / "deploy" / "tunemill.env.example").read_text(encoding="utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert secret["stringData"] == values
    assert set(values.values()) == {""}


def test_the_secret_that_the_job_reads_is_the_one_that_is_shown() -> None:
    """By name, in the base and in the rehearsal, which makes its own."""
    (shown,) = documents(BASE / "secret.example.yaml")
    container = one(rendered(BASE), "Job")["spec"]["template"]["spec"]["containers"][0]
    assert [source["secretRef"]["name"] for source in container["envFrom"]] == [shown["metadata"]["name"]]
    made = one(rendered(REHEARSAL), "Secret", shown["metadata"]["name"])
    assert made["stringData"].keys() == shown["stringData"].keys()
    assert page_token(made["stringData"], None) is not None


def test_the_image_is_this_version() -> None:
    """The tag that is pulled is the version that `make image` gives it."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for folder in (BASE, REHEARSAL):
        images = {container["image"] for pod in pods_of(rendered(folder)) for container in pod["spec"]["containers"]}
        assert images == {f"tunemill:{version}"}


def test_a_rehearsal_spends_nothing() -> None:
    """Its Job differs from the real one in where it sends, and in the run folder; the simulator listens there."""
    manifests = rendered(REHEARSAL)
    containers = [one(each, "Job")["spec"]["template"]["spec"]["containers"][0] for each in (rendered(BASE), manifests)]
    real, rehearsed = [{entry["name"]: entry["value"] for entry in container["env"]} for container in containers]
    more = dict(rehearsed.items() - real.items())
    assert more.keys() == {"OPENAI_BASE_URL", "TUNEMILL_RUN_DIR"}
    service = one(manifests, "Service", "simulator")["spec"]
    assert more["OPENAI_BASE_URL"] == f"http://simulator:{service['ports'][0]['port']}/v1"
    deployment = one(manifests, "Deployment", "simulator")["spec"]["template"]
    assert service["selector"].items() <= deployment["metadata"]["labels"].items()
    arguments = deployment["spec"]["containers"][0]["args"]
    assert parse_arguments(arguments[1:]).port == deployment["spec"]["containers"][0]["ports"][0]["containerPort"]


def _exit_codes() -> set[int]:
    """Every one that the program ends with on purpose."""
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    said = {ending.DONE, ending.MISTAKE, ending.UNWRITABLE, ending.INTERRUPTED, ending.TERMINATED}
    return {*raised, *said, *EXIT_CODES.values()}


def _variables() -> set[str]:
    """Every one that `run` reads."""
    command: Any = get_command(commands.app)
    flags = {parameter.envvar for parameter in command.commands["run"].params if parameter.envvar}
    return flags | {"OPENAI_BASE_URL", "OPENAI_API_KEY"}


def _said(instruction: str) -> str:
    """What the Dockerfile's last instruction of this kind says."""
    lines = re.findall(rf"^{instruction} (.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    last: str = lines[-1]
    return last
