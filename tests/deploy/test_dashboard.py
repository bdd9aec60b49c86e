"""Every query of the dashboard and every alert, run by Prometheus on the metrics of a daemon."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")

from edgecnn_bench.soak.daemon_process import DaemonProcess, free_port

OF_SENSORS = "edgecnn_temperature_celsius"
"""Not every machine has what this shows."""
PATIENCE = 120.0


@pytest.fixture(scope="module")
def deploy(root: Path) -> Path:
    return root / "deploy"


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory,
    make_bundle: Callable[..., Path],
    make_clip: Callable[..., Path],
) -> Iterator[tuple[DaemonProcess, int]]:
    """Two looped clips at a limited rate, and a sink that cannot be reached."""
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    camera = {"pipeline": str(make_bundle()), "loop": True, "rate": 5}
    site = {
        "cameras": {
            name: {**camera, "source": str(make_clip(folder / f"{name}.mp4", frames=50))}
            for name in ("gate", "yard")
        },
        "sinks": {"log": {"kind": "jsonl", "file": str(folder / "events.jsonl")}},
        "http": {"listen": f"127.0.0.1:{port}"},
        "state": str(folder / "state"),
    }
    file = folder / "site.yaml"
    file.write_text(yaml.safe_dump(site))
    (folder / "state").mkdir(mode=0o700)
    with DaemonProcess(file, folder / "state", port, log=folder / "log") as daemon:
        yield daemon, port


@pytest.fixture(scope="module")
def prometheus(
    daemon: tuple[DaemonProcess, int], deploy: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], list[Any]]]:
    """Debian's Prometheus with the configuration beside it, scraping; runs a query."""
    if not (program := shutil.which("prometheus")):
        pytest.skip("needs prometheus")
    process, target = daemon
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = yaml.safe_load((deploy / "compose/prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    job["authorization"]["credentials_file"] = str(process.state / "viewer.token")
    config["global"]["scrape_interval"] = "1s"
    shutil.copy(deploy / "compose/prometheus/rules.yml", folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    server = subprocess.Popen(
        [
            program, "--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
        ],
        cwd=folder,
    )  # fmt: skip

    def query(expression: str) -> list[Any]:
        address = f"http://127.0.0.1:{port}/api/v1/query"
        words = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{address}?{words}", timeout=10) as answer:
            result: list[Any] = json.load(answer)["data"]["result"]
        return result

    try:
        wait_until(lambda: query("count_over_time(edgecnn_ready[10m])")[0]["value"][1] >= "4")
        yield query
    finally:
        server.kill()
        server.wait()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if true():
                return
        except (OSError, IndexError):
            pass
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.2)


def test_the_daemon_is_scraped_with_the_viewers_token(
    prometheus: Callable[[str], list[Any]],
) -> None:
    (up,) = prometheus('up{job="edgecnn"}')
    assert up["value"][1] == "1"
    assert len(prometheus("edgecnn_camera_fps")) == 2


def test_every_query_of_the_dashboard_shows_something(
    prometheus: Callable[[str], list[Any]], deploy: Path
) -> None:
    dashboard = json.loads((deploy / "grafana" / "edgecnn.json").read_text())
    queries = [each["expr"] for panel in dashboard["panels"] for each in panel["targets"]]
    assert len(queries) > 15
    for query in queries:
        if OF_SENSORS in query and not prometheus(OF_SENSORS):
            continue
        result = prometheus(re.sub(r"\$\w+", ".*", query))
        assert result, query
        assert all(series["value"][1] != "NaN" for series in result), query


def test_the_dashboard_asks_for_what_it_names(deploy: Path) -> None:
    dashboard = json.loads((deploy / "grafana" / "edgecnn.json").read_text())
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    text = json.dumps(dashboard["panels"])
    assert set(re.findall(r"\$(\w+)", text)) == variables
    sources = {panel["datasource"]["uid"] for panel in dashboard["panels"]}
    provisioned = yaml.safe_load(
        (deploy / "compose/grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    assert sources == {each["uid"] for each in provisioned["datasources"]}


def test_the_alerts_are_rules_about_metrics_that_exist(
    prometheus: Callable[[str], list[Any]], deploy: Path
) -> None:
    if not (promtool := shutil.which("promtool")):
        pytest.skip("needs promtool")
    file = deploy / "compose/prometheus/rules.yml"
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for group in yaml.safe_load(file.read_text())["groups"]:
        for rule in group["rules"]:
            prometheus(rule["expr"])  # an error of Prometheus is an error here
            for metric in set(re.findall(r"\b(?:edgecnn_\w+|up)\b(?=[{\[ ])", rule["expr"])):
                assert metric == OF_SENSORS or prometheus(metric), metric
