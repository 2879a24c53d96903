"""docker-compose.yml: what must hold of an installation that nobody edits first."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import ApiSettings
from neftune_store.settings import StoreSettings
from worker.settings import GenerateSettings, WorkerSettings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"init", "migrate", "bucket"}
# init gives files to the users that read them; SeaweedFS's image keeps its data as root.
ROOT_INSIDE = {"init", "bucket", "storage"}
OURS = {
    "api": ApiSettings,
    "worker": WorkerSettings,
    "worker-cpu": WorkerSettings,
    "generate": GenerateSettings,
    "generate-cpu": GenerateSettings,
    "reconciler": StoreSettings,
}


def services(*but: str) -> list[str]:
    return [name for name in SERVICES if name not in but]


def mounts(name: str) -> list[dict[str, Any]]:
    return [mount for mount in SERVICES[name].get("volumes", []) if isinstance(mount, dict)]


def with_defaults(value: str) -> str:
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", value)


def environment(name: str) -> dict[str, str]:
    return {key: with_defaults(value) for key, value in SERVICES[name].get("environment", {}).items()}


def comes_after(name: str) -> set[tuple[str, str]]:
    """All that a service waits for, through others too."""
    found: set[tuple[str, str]] = set()
    for other, how in SERVICES[name].get("depends_on", {}).items():
        found |= {(other, how["condition"])} | comes_after(other)
    return found


def test_it_follows_the_compose_specification():
    tool = Path(sys.executable).with_name("check-jsonschema")
    checked = subprocess.run(
        [tool, "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_only_the_proxy_is_published_and_only_on_loopback():
    published = {name: SERVICES[name]["ports"] for name in SERVICES if "ports" in SERVICES[name]}
    assert list(published) == ["proxy"]
    assert [with_defaults(port) for port in published["proxy"]] == ["127.0.0.1:8443:443"]


def test_without_a_gpu_the_whole_service_comes_with_the_worker():
    brought = {name for name, _ in comes_after("worker-cpu")} | {"worker-cpu", "generate-cpu"}
    assert set(SERVICES) - brought == {"worker", "generate"}


def test_the_proxy_reaches_the_api_and_nothing_else():
    on_front = [name for name in SERVICES if "front" in SERVICES[name].get("networks", [])]
    assert on_front == ["api", "proxy"]
    assert SERVICES["proxy"]["networks"] == ["front"]
    assert ("api", "service_healthy") in comes_after("proxy")
    assert environment("api")["TRUSTED_PROXIES"] == "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"


def test_the_proxy_lets_through_what_the_api_takes_and_little_more():
    largest, most = int(environment("api")["MAX_DATASET_BYTES"]), int(environment("proxy")["MAX_BODY_BYTES"])
    assert largest == ApiSettings.model_fields["max_dataset_bytes"].default
    assert largest + 1024 * 1024 < most < largest * 1.01  # the frame of a form
    assert f"{{$MAX_BODY_BYTES:{most}}}" in (ROOT / "docker" / "Caddyfile").read_text("utf-8")


def test_stores_have_no_way_out():
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "redis", "storage", "migrate"):
        assert SERVICES[name]["networks"] == ["inside"]
    assert SERVICES["init"]["network_mode"] == "none"


def test_who_fetches_models_and_who_delivers_webhooks_have_one():
    assert COMPOSE["networks"]["outward"] in (None, {})
    for name in ("worker", "worker-cpu", "reconciler"):
        assert SERVICES[name]["networks"] == ["inside", "outward"]


@pytest.mark.parametrize("name", services())
def test_a_service_holds_no_rights_it_does_not_need(name: str):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == {"init": ["CHOWN"], "proxy": ["NET_BIND_SERVICE"]}.get(name, [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["pids_limit"] > 0
    assert "privileged" not in service


@pytest.mark.parametrize("name", services(*ROOT_INSIDE))
def test_a_service_is_not_root(name: str):
    uid = int(SERVICES[name]["user"].split(":")[0])
    assert uid > 0


@pytest.mark.parametrize("name", services())
def test_a_service_is_started_again_unless_its_work_is_done(name: str):
    assert SERVICES[name]["restart"] == ("no" if name in ONCE else "unless-stopped")


@pytest.mark.parametrize(
    "name", ["proxy", "postgres", "redis", "storage", "worker", "worker-cpu", "generate", "generate-cpu"]
)
def test_a_service_tells_how_it_is(name: str):
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("name", OURS)
def test_nothing_of_ours_starts_before_the_schema_is_up_to_date(name: str):
    assert {
        ("init", "service_completed_successfully"),
        ("postgres", "service_healthy"),
        ("migrate", "service_completed_successfully"),
        ("storage", "service_healthy"),
        ("bucket", "service_completed_successfully"),
        ("redis", "service_healthy"),
    } <= comes_after(name)


@pytest.mark.parametrize("name", services())
def test_no_secret_stands_in_the_file(name: str):
    for key in SERVICES[name].get("environment", {}):
        assert key.endswith("_FILE") or not re.search("PASSWORD|SECRET|KEY|TOKEN|DATABASE_URL|REDIS_URL", key)


@pytest.mark.parametrize("name", services("init"))
def test_a_service_sees_one_folder_of_secrets_and_cannot_write_it(name: str):
    secret = [mount for mount in mounts(name) if mount.get("source", "").startswith("secrets-")]
    assert all(mount["read_only"] for mount in secret)
    assert len(secret) == (0 if name in {"bucket", "proxy"} else 1)
    assert "secrets-vault" not in {mount["source"] for mount in secret}


@pytest.mark.parametrize("name", services())
def test_named_volumes_are_declared(name: str):
    assert {mount["source"] for mount in mounts(name) if "source" in mount} <= set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", OURS)
def test_settings_are_ones_the_service_knows(name: str, monkeypatch: pytest.MonkeyPatch):
    # Given what the file and the secrets set, and nothing else
    given = environment(name) | {"DATABASE_URL": "postgresql://n:p@postgres/n", "REDIS_URL": "redis://redis"}
    for key in os.environ:
        monkeypatch.delenv(key)
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    # Then its settings can be read, and each name is one of them
    OURS[name]()
    assert {key.lower() for key in environment(name)} <= set(OURS[name].model_fields)


@pytest.mark.parametrize("name", ["worker", "worker-cpu"])
def test_a_worker_reads_benchmarks_and_asks_no_judge_inside_unless_told(name: str):
    # A word without a slash is a volume, and one of ours; a path is a folder of the host.
    (mount,) = [mount for mount in SERVICES[name]["volumes"] if isinstance(mount, str)]
    assert mount.startswith("${BENCHMARKS_DIR:-")
    volume, folder, mode = with_defaults(mount).split(":")
    assert (volume in COMPOSE["volumes"], folder, mode) == (True, environment(name)["BENCHMARKS_DIR"], "ro")
    assert environment(name)["JUDGE_ALLOW"] == ""


@pytest.mark.parametrize("name", ["worker", "generate"])
def test_two_processes_with_models_never_share_a_work_folder(name: str):
    folders = [mount for mount in mounts(name) if mount["target"] == environment(name)["WORK_DIR"]]
    assert [mount.get("source") for mount in folders] == [None]


def test_only_what_is_for_gpus_asks_for_one_and_the_others_wait_to_be_named():
    with_gpu = [name for name in SERVICES if "deploy" in SERVICES[name]]
    assert with_gpu == ["worker", "generate"]
    for name in with_gpu:
        devices = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
        assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert [name for name in SERVICES if "profiles" in SERVICES[name]] == ["generate-cpu", "worker-cpu"]
    assert {tuple(SERVICES[name]["profiles"]) for name in ("generate-cpu", "worker-cpu")} == {("cpu",)}


@pytest.mark.parametrize("name", ["generate", "generate-cpu"])
def test_who_answers_is_reached_by_the_api_and_looked_after_where_it_listens(name: str):
    port = environment(name)["GENERATE_LISTEN"].rpartition(":")[2]
    assert f"127.0.0.1:{port}/healthz" in SERVICES[name]["healthcheck"]["test"][-1]
    assert SERVICES[name]["command"] == ["python", "-m", "worker.generate"]
    assert set(SERVICES[name]["networks"]) & set(SERVICES["api"]["networks"])


def test_a_worker_has_time_to_drain():
    assert {SERVICES[name]["stop_grace_period"] for name in ("worker", "worker-cpu")} == {"120s"}


@pytest.mark.parametrize("name", services())
def test_images_are_pinned_or_built_here(name: str):
    service = SERVICES[name]
    if "build" in service:
        assert f" AS {service['build']['target']}\n" in (ROOT / "Dockerfile").read_text("utf-8")
    else:
        assert re.search(r":\d+(\.\d+)?[-\w.]*$", service["image"])


def test_an_empty_endpoint_means_the_bucket_of_the_cloud(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S3_ENDPOINT_URL", "")
    settings = StoreSettings(database_url="postgresql://n:p@postgres/n", storage_url="s3://mine")
    assert settings.s3_endpoint_url is None
