"""The compose file, alert rules and dashboard fit the program and each other."""

import json
import re
from pathlib import Path

import pytest
import yaml

from config import load_settings
from stream.metrics import Exposition

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OURS = ("topic-init", "text-worker", "image-worker", "demo-posts", "demo-images")


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def exported_names() -> set[str]:
    exposition = Exposition()
    names = {sample.name for metric in exposition.registry.collect() for sample in metric.samples}
    for metric in exposition.registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        names |= {metric.name + suffix for suffix in suffixes.get(metric.type, ("",))}
    return names


def used_names(expression: str) -> set[str]:
    found = re.findall(r"(?<![:\w])feedsight_[a-z_]+", re.sub(r"\w+:feedsight_\w+:\w+", "", expression))
    return set(found)


def rules() -> list[dict]:
    groups = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_images_are_pinned_to_a_version(services):
    for name, service in services.items():
        if name not in OURS:
            assert re.search(r":v?\d+\.\d+", service["image"]), f"{name} is not pinned"


def test_our_containers_have_no_privileges(services):
    for name in OURS:
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
    assert re.search(r"^USER 10001", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_workers_wait_for_the_topics_and_have_time_to_drain(services):
    for name in ("text-worker", "image-worker"):
        needs = services[name]["depends_on"]
        assert needs["kafka"]["condition"] == "service_healthy"
        assert needs["topic-init"]["condition"] == "service_completed_successfully"
        grace_s = int(services[name]["stop_grace_period"].removesuffix("s"))
        assert grace_s > load_settings(environ={}).lane.drain_timeout_s + 10


def test_ports_are_published_on_loopback_only(services):
    for service in services.values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")


def test_the_settings_in_the_compose_file_are_right(services):
    for name in OURS:
        environ = {key: str(value) for key, value in services[name]["environment"].items()}
        assert load_settings(environ=environ).kafka.bootstrap == "kafka:19092"


def test_files_that_the_compose_file_and_the_image_use_are_there(services):
    for name in OURS:
        for volume in services[name].get("volumes", ()):
            source = re.match(r"\$\{\w+:-(.+?)\}:", volume)
            if source:
                assert (ROOT / source[1]).exists(), volume
    for path in re.findall(r"examples/[\w/.]+", (ROOT / "Dockerfile").read_text()):
        assert (ROOT / path).exists(), path


def test_rules_and_dashboard_use_metrics_that_exist():
    dashboard = json.loads((DEPLOY / "grafana/dashboards/feedsight.json").read_text())
    expressions = [rule["expr"] for rule in rules()]
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    known = exported_names()
    for expression in expressions:
        assert used_names(expression) <= known, expression


def test_every_alert_has_a_severity_and_a_runbook_section():
    headings = set(re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE))
    alerts = [rule for rule in rules() if "alert" in rule]
    assert headings == {alert["alert"] for alert in alerts}
    for alert in alerts:
        assert alert["for"]
        assert alert["labels"]["severity"] in ("info", "warning", "critical")
        assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"


def test_the_dashboard_reads_the_provisioned_source():
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    uid = sources["datasources"][0]["uid"]
    dashboard = json.loads((DEPLOY / "grafana/dashboards/feedsight.json").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {uid}
