"""`eggycore k8s check`: what manifests written by hand say together is compared with what the app does."""

from __future__ import annotations

import json
from importlib import import_module

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

kit = import_module("plugins.eggycore-k8s-watch.tests.manifest_world")
world = pytest.fixture(kit.world)
GOOD, changed, findings, line_of, WATCHING, LIVE, ROLE = (
    kit.GOOD,
    kit.changed,
    kit.findings,
    kit.line_of,
    kit.WATCHING,
    kit.LIVE,
    kit.ROLE,
)
PLUGINS = ("--plugins", "db,cache,monitoring,k8s-watch")


def test_manifests_that_agree_with_the_app_are_green(world) -> None:
    result = world.check(GOOD)
    assert result.stdout == "3 objects, and no disagreement with the app was found.\n"
    assert result.exit_code == 0


@pytest.mark.parametrize("words", [(), PLUGINS, (*PLUGINS, "--mesh"), ("--plugins", "", "--replicas", "1")])
def test_what_manifests_writes_check_finds_right(world, words: tuple[str, ...]) -> None:
    text = world.run("manifests", *words).stdout
    options = [word for word in words if word not in ("--mesh", "--replicas", "1")]
    assert findings(world, text, *options) == []


def test_findings_are_told_with_place_reason_and_action_and_counted(world) -> None:
    text = changed("value: info}", "value: loud}").replace(", limits: {memory: 256Mi}", "")
    result = world.check(text)
    assert result.exit_code == 1
    assert result.stdout == (
        f"RED: manifests.yaml:{line_of(text, 'LOG_LEVEL')}, Deployment shop\n"
        "  LOG_LEVEL 'loud': not one of the choices.\n"
        "  The app refuses it, and does not start.\n"
        "  -> Set it to one of debug, info, warn, error, fatal.\n"
        "\n"
        f"warning: manifests.yaml:{line_of(text, 'resources')}, Deployment shop\n"
        "  There is no limit of memory.\n"
        "  A leak takes the memory of the node, and the kernel kills whom it likes.\n"
        "  -> Set resources.limits.memory.\n"
        "\n"
        "3 objects: 1 red, 1 warning.\n"
    )


def test_warnings_alone_are_no_failure(world) -> None:
    assert world.check(changed(", limits: {memory: 256Mi}", "")).exit_code == 0


def test_environment_that_is_not_set_is_told(world) -> None:
    text = changed("        - {name: ENVIRONMENT, value: production}\n", "")
    assert [one["what"] for one in findings(world, text)] == ["ENVIRONMENT is not set."]


def test_what_a_configmap_that_is_not_here_may_hold_is_not_called_missing(world) -> None:
    text = changed("        - {name: SHOP_TOKEN, valueFrom: {secretKeyRef: {name: shop, key: token}}}\n", "")
    text = text.replace("configMapRef: {name: shop-env}", "secretRef: {name: shop-more}")
    (finding,) = findings(world, text)
    assert (finding["state"], finding["why"]) == (
        "warning",
        "As far as it can be seen here, the app would not start. It may be in Secret shop-more, which is not here.",
    )


def test_what_another_configmap_says_by_key_is_not_called_missing(world) -> None:
    entries = "\n".join(
        [
            "value: info}",
            "        - {name: DATABASE_HOST, value: db}",
            "        - {name: DATABASE_NAME, value: shop}",
            "        - {name: DATABASE_USER, valueFrom: {configMapKeyRef: {name: elsewhere, key: user}}}",
        ]
    )
    assert findings(world, changed("value: info}", entries), "--plugins", "db") == []
    missing = "\n".join(entries.split("\n")[:-1])
    (finding,) = findings(world, changed("value: info}", missing), "--plugins", "db")
    assert finding["what"] == "DATABASE_USER: missing, and DATABASE_HOST and DATABASE_NAME are set."


def test_a_service_whose_variables_are_settings_is_told(world) -> None:
    text = changed("      enableServiceLinks: false\n", "").replace(
        "kind: Service\nmetadata: {name: shop,", "kind: Service\nmetadata: {name: metrics,"
    )
    (finding,) = findings(world, text, "--plugins", "monitoring")
    assert (finding["state"], finding["what"]) == ("red", "The Service metrics sets METRICS_PORT in the pod.")


def test_an_autoscaler_and_replicas_get_into_each_other_s_way(world) -> None:
    text = changed("  selector: {matchLabels: {app: shop}}", "  replicas: 2\n  selector: {matchLabels: {app: shop}}")
    text += (
        "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: shop}\n"
        "spec: {scaleTargetRef: {kind: Deployment, name: shop}, maxReplicas: 5}\n"
    )
    (finding,) = findings(world, text)
    assert finding["what"] == "replicas is 2, and HorizontalPodAutoscaler shop sets it too."
    assert finding["line"] == line_of(text, "replicas: 2")


def test_a_budget_that_lets_no_pod_go_is_told(world) -> None:
    text = (
        f"{GOOD}---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: shop}}\n"
        "spec: {minAvailable: 1, selector: {matchLabels: {app: shop}}}\n"
    )
    assert [one["what"] for one in findings(world, text)] == ["The budget lets no pod go."]


@pytest.mark.parametrize("way", ["replicas", "autoscaler"])
def test_replicas_on_a_database_in_a_file_are_told(world, way: str) -> None:
    text = changed("value: info}", 'value: info}\n        - {name: DATABASE_ALLOW_EMBEDDED, value: "true"}')
    if way == "replicas":
        text = text.replace(
            "  selector: {matchLabels: {app: shop}}", "  replicas: 3\n  selector: {matchLabels: {app: shop}}"
        )
    else:
        text += (
            "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: shop}\n"
            "spec: {scaleTargetRef: {kind: Deployment, name: shop}, maxReplicas: 3}\n"
        )
    (finding,) = findings(world, text, "--plugins", "db")
    assert finding["what"] == "There are up to 3 replicas, and the database is a file (DATABASE_ALLOW_EMBEDDED)."


def test_a_database_that_nobody_names_is_told(world) -> None:
    (finding,) = findings(world, GOOD, "--plugins", "db")
    assert finding["what"] == "DATABASE_DSN: an SQLite file, which every replica would have for itself."


def test_a_mount_that_never_changes_is_told(world) -> None:
    text = changed(
        "        resources:",
        "        volumeMounts: [{name: files, mountPath: /app/config/production.yaml, subPath: production.yaml}]\n"
        "        resources:",
    ).replace("      containers:", "      volumes: [{name: files, configMap: {name: shop-files}}]\n      containers:")
    (finding,) = findings(world, text)
    assert (finding["state"], finding["what"]) == ("red", "/app/config/production.yaml is mounted with subPath.")


def test_a_hook_before_the_stop_counts_in_the_grace_period(world) -> None:
    text = changed("        resources:", "        lifecycle: {preStop: {sleep: {seconds: 10}}}\n        resources:")
    found = findings(world, text)
    assert [(one["state"], one["what"]) for one in found] == [
        ("red", "The pod has 30 s to stop, and the app takes up to 25 s after 10 s of preStop (SHUTDOWN_TIMEOUT)."),
        ("warning", "preStop waits 10 s, and then the app serves on for 5 s (SHUTDOWN_DRAIN_DELAY)."),
    ]


def test_a_monitor_that_asks_another_port_is_told(world) -> None:
    monitor = (
        "---\napiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: shop}\n"
        "spec: {selector: {matchLabels: {app: shop}}, endpoints: [{port: http}]}\n"
    )
    (finding,) = findings(world, GOOD + monitor, "--plugins", "monitoring")
    assert finding["what"] == "Prometheus asks /metrics on port 8080, and the metrics are on 9091 (METRICS_PORT)."


@pytest.mark.parametrize("command", ["        command: [eggycore, db, migrate]\n", ""])
def test_a_job_is_asked_for_its_variables_and_not_for_probes(world, command: str) -> None:
    text = """\
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  template:
    spec:
      enableServiceLinks: false
      containers:
      - name: migrate
        command: [eggycore, db, migrate]
        env:
        - {name: ENVIRONMENT, value: production}
        - {name: LOG_LEVEL, value: loud}
        - {name: SHOP_TOKEN, valueFrom: {secretKeyRef: {name: shop, key: token}}}
        resources: {limits: {memory: 64Mi}}
"""
    text = text.replace("        command: [eggycore, db, migrate]\n", command)
    assert [one["what"] for one in findings(world, text)] == ["LOG_LEVEL 'loud': not one of the choices."]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("command: [eggycore, run]", 'command: [eggycore, run, --plugins, "k8s-watch,monitoring"]'),
        ("command: [eggycore, run]", 'args: [eggycore, run, "--plugins=k8s-watch,monitoring"]'),
        ("value: info}", 'value: info}\n        - {name: EGGYCORE_PLUGINS, value: "k8s-watch,monitoring"}'),
    ],
)
def test_the_plugins_are_those_that_the_container_selects(world, old: str, new: str) -> None:
    text = changed(old, new).replace(
        "containerPort: 8080}", "containerPort: 8080}\n        - {name: m, containerPort: 9091}"
    )
    assert findings(world, text) == []
    assert [one["what"] for one in findings(world, text, "--plugins", "")] == [
        "Nothing of the app listens on containerPort 9091."
    ]


def test_another_deployment_beside_the_app_is_left_alone(world) -> None:
    redis = (
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: redis}\nspec:\n  template:\n    spec:\n"
        "      containers: [{name: redis, image: redis:7, ports: [{containerPort: 6379}]}]\n"
    )
    assert findings(world, GOOD + redis) == []


def test_a_container_without_a_command_is_known_by_its_variables_and_ports(world) -> None:
    text = changed("        command: [eggycore, run]\n", "").replace("value: info}", "value: loud}")
    assert [one["what"] for one in findings(world, text)] == ["LOG_LEVEL 'loud': not one of the choices."]


def test_files_without_the_app_are_told(world) -> None:
    (finding,) = findings(world, GOOD.split("---\n")[2])
    assert (finding["state"], finding["what"]) == ("warning", "No object here runs the app.")


def test_dotenv_and_environment_of_this_machine_are_not_those_of_the_pod(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.folder / ".env").write_text("HEALTH_CHECK_PORT=9999\nSHOP_TOKEN=x\n")
    monkeypatch.setenv("SHUTDOWN_TIMEOUT", "10m")
    assert findings(world, GOOD) == []


def test_files_in_config_are_those_of_the_pod(world) -> None:
    (world.folder / "config").mkdir()
    (world.folder / "config" / "production.toml").write_text("health_check_port = 8555\n")
    assert "readinessProbe asks port 8081, and the probes are on 8555 (HEALTH_CHECK_PORT)." in [
        one["what"] for one in findings(world, GOOD)
    ]


def test_several_files_a_folder_and_standard_input_are_read(world) -> None:
    folder = world.folder / "manifests"
    folder.mkdir()
    for number, part in enumerate(GOOD.split("---\n")):
        (folder / f"{number}.yaml").write_text(part)
    (folder / "notes.txt").write_text("no manifest")
    clean = "3 objects, and no disagreement with the app was found.\n"
    assert world.run("check", "manifests").stdout == clean
    assert world.run("check", *(str(path) for path in sorted(folder.glob("*.yaml")))).stdout == clean
    assert world.run("check", "-", stdin=GOOD).stdout == clean


def test_the_items_of_a_list_are_objects(world) -> None:
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": list(yaml.safe_load_all(GOOD))})
    assert world.check(text).stdout == "3 objects, and no disagreement with the app was found.\n"


def _paths(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every field and item of an object."""
    fields = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, one in fields for found in ((*path, key), *_paths(one, (*path, key)))]


ODD = st.sampled_from(
    [None, "", 0, -1, True, 1.5, [], {}, "x", "8081", "\u00b2", ["a"], {"a": 1}, [None], [[1]], 10**30]
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.lists(st.tuples(st.integers(0, 10_000), ODD), min_size=1, max_size=3))
def test_no_shape_of_a_field_keeps_the_check_from_its_end(world, at: list[tuple[int, object]]) -> None:
    documents = list(yaml.safe_load_all(f"{WATCHING}{LIVE}  LOG_LEVEL: info\n{ROLE}"))
    for number, odd in at:
        paths = [path for path in _paths(documents) if path[1:] not in ((), ("kind",), ("apiVersion",))]
        *way, last = paths[number % len(paths)]
        place = documents
        for key in way:
            place = place[key]
        place[last] = odd
    result = world.check(yaml.safe_dump_all(documents), "--json")
    assert result.exit_code in (0, 1), result.output
    assert isinstance(json.loads(result.stdout), list)
