"""`eggycore k8s manifests`: what is written follows from the app's own settings, as they would be in a pod."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import yaml

kit = import_module("plugins.eggycore-k8s-watch.tests.manifest_world")
world = pytest.fixture(kit.world)
container, environment = kit.container, kit.environment
PLUGINS = ("--plugins", "db,cache,monitoring,k8s-watch")


def test_all_kinds_are_written_for_an_app_with_a_database_and_metrics(world) -> None:
    made = world.manifests(*PLUGINS)
    assert list(made) == [
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ConfigMap",
        "Job",
        "Service",
        "Deployment",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "ServiceMonitor",
    ]
    assert {one["metadata"]["namespace"] for one in made.values()} == {"default"}


def test_what_the_app_does_not_need_is_not_written(world) -> None:
    assert list(world.manifests("--plugins", "", "--replicas", "1")) == [
        "ServiceAccount",
        "Service",
        "Deployment",
        "PodDisruptionBudget",
        "NetworkPolicy",
    ]


def test_the_output_is_the_same_each_time_and_says_which_command_made_it(world) -> None:
    words = ("manifests", "--set", "SHOP_TOKEN=abc", "--set", "SHOP_LIMIT=5", "--image", "shop:1", "--mesh")
    first, second = (world.run(*words).stdout for _ in range(2))
    assert first == second
    assert first.splitlines()[0] == (
        "# Made by: eggycore k8s manifests --set SHOP_TOKEN=... --set SHOP_LIMIT=5 --image shop:1 --mesh"
    )
    assert "abc" not in first


def test_probes_are_on_the_real_port_and_paths(world) -> None:
    pod = container(world.manifests("--set", "HEALTH_CHECK_PORT=8181"))
    assert {name: pod[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        "startupProbe": {"path": "/startupz", "port": 8181},
        "readinessProbe": {"path": "/readyz", "port": 8181},
        "livenessProbe": {"path": "/livez", "port": 8181},
    }
    assert pod["readinessProbe"]["failureThreshold"] == 1


@pytest.mark.parametrize(("setting", "seconds"), [("5m", 300), ("20m", 1200), ("1s", 1)])
def test_the_startup_probe_outlasts_startup_timeout(world, setting: str, seconds: int) -> None:
    made = world.manifests("--set", f"STARTUP_TIMEOUT={setting}")
    probe = container(made)["startupProbe"]
    assert seconds + 30 <= probe["periodSeconds"] * probe["failureThreshold"] < seconds + 33
    assert made["Deployment"]["spec"]["progressDeadlineSeconds"] > seconds + 30


def test_startup_timeout_is_that_of_a_pod_when_nobody_sets_it(world) -> None:
    probe = container(world.manifests())["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 330


@pytest.mark.parametrize(("setting", "grace"), [("25s", 30), ("59500ms", 65), ("2m", 125)])
def test_the_grace_period_is_shutdown_timeout_and_five_seconds(world, setting: str, grace: int) -> None:
    made = world.manifests("--set", f"SHUTDOWN_TIMEOUT={setting}")
    assert made["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace


def test_ports_are_those_that_the_app_listens_on(world) -> None:
    made = world.manifests(*PLUGINS, "--set", "BUSINESS_HTTP_PORT=8000")
    assert container(made)["ports"] == [
        {"name": "http", "containerPort": 8000},
        {"name": "health", "containerPort": 8081},
        {"name": "metrics", "containerPort": 9091},
    ]  # and not gRPC, for which nothing is recorded
    assert made["Service"]["spec"]["ports"] == [
        {"name": "http", "port": 8000, "targetPort": 8000, "appProtocol": "http"},
        {"name": "metrics", "port": 9091, "targetPort": 9091},
    ]
    assert made["ServiceMonitor"]["spec"]["endpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "30s"}]


def test_metrics_and_probes_that_share_a_port_are_one_port(world) -> None:
    made = world.manifests(*PLUGINS, "--set", "METRICS_PORT=8081")
    assert [port["containerPort"] for port in container(made)["ports"]] == [8080, 8081]
    (metrics,) = (port for port in made["Service"]["spec"]["ports"] if port["port"] == 8081)
    assert made["ServiceMonitor"]["spec"]["endpoints"][0]["port"] == metrics["name"]


def test_a_port_is_named_once_in_a_rollout_that_loses_nothing(world) -> None:
    spec = world.manifests()["Deployment"]["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert spec["minReadySeconds"] == 10
    assert "lifecycle" not in spec["template"]["spec"]["containers"][0]


def test_the_pod_has_no_more_rights_than_it_needs(world) -> None:
    made = world.manifests()
    spec, (one,) = made["Deployment"]["spec"]["template"]["spec"], [container(made)]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["enableServiceLinks"] is False
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert one["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert one["resources"]["limits"].keys() == {"memory"}


def test_secrets_are_references_and_those_that_must_be_set_are_not_optional(world) -> None:
    made = world.manifests("--set", "SHOP_TOKEN=hunter2")
    secrets = {name: one["valueFrom"]["secretKeyRef"] for name, one in environment(made).items() if "SHOP" in name}
    assert secrets == {
        "SHOP_KEY": {"name": "eggyapp-shop", "key": "SHOP_KEY", "optional": True},
        "SHOP_TOKEN": {"name": "eggyapp-shop", "key": "SHOP_TOKEN"},
    }
    assert "Secret" not in made


def test_a_secret_that_is_required_and_not_set_here_is_a_reference(world) -> None:
    made = world.manifests(*PLUGINS)
    references = {
        name: one["valueFrom"]["secretKeyRef"]
        for name, one in environment(made).items()
        if "valueFrom" in one and "secretKeyRef" in one["valueFrom"]
    }
    required = [name for name, one in references.items() if not one.get("optional")]
    assert required == ["DATABASE_DSN", "SHOP_TOKEN"]  # in Kubernetes no database in a file is taken for granted


def test_a_comment_says_how_the_secret_is_made(world) -> None:
    text = world.run("manifests", *PLUGINS, "--kind", "Deployment").stdout
    assert (
        "        # Secrets come from the Secret eggyapp-shop, which no manifest holds. Make it of a file of KEY=value\n"
        "        # lines, with DATABASE_DSN and SHOP_TOKEN, and if you like with those that are optional here:\n"
        "        # kubectl --namespace default create secret generic eggyapp-shop --from-env-file=FILE\n"
    ) in text


def test_no_secret_is_written_wherever_it_is_set(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "hunter2-env")
    (world.folder / "key").write_text("hunter2-file")
    monkeypatch.setenv("SHOP_KEY_FILE", "key")
    (world.folder / ".env").write_text("DATABASE_DSN=postgresql://shop:hunter2-dotenv@db/shop\n")
    result = world.run("manifests", *PLUGINS, "--set", "MANAGEMENT_TOKEN=hunter2-set")
    assert result.exit_code == 0, result.stderr
    assert "hunter2" not in result.stdout + result.stderr


def test_reloadable_settings_go_to_the_configmap_and_the_others_to_the_pod(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_GREETING", "good day: # not a comment")
    (world.folder / ".env").write_text("SHOP_LIMIT=7\n")
    made = world.manifests("--set", "LOG_LEVEL=warn")
    assert made["ConfigMap"]["data"] == {"LOG_LEVEL": "warn", "SHOP_GREETING": "good day: # not a comment"}
    plain = {name: one["value"] for name, one in environment(made).items() if "value" in one}
    assert plain == {
        "ENABLE_K8S_CONFIG_WATCH": "true",
        "ENVIRONMENT": "production",
        "K8S_CONFIGMAP_NAME": "eggyapp-shop",
        "SHOP_LIMIT": "7",
    }


def test_without_the_plugin_that_watches_everything_is_in_the_pod(world) -> None:
    made = world.manifests("--plugins", "", "--set", "LOG_LEVEL=warn", "--set", "SHOP_LIMIT=7")
    plain = {name: one["value"] for name, one in environment(made).items() if "value" in one}
    assert plain == {"ENVIRONMENT": "production", "LOG_LEVEL": "warn", "SHOP_LIMIT": "7"}
    assert "ConfigMap" not in made


def test_files_in_config_are_the_image_s_and_still_decide(world) -> None:
    (world.folder / "config").mkdir()
    (world.folder / "config" / "production.toml").write_text("health_check_port = 8555\nlog_level = 'error'\n")
    (world.folder / "config" / "development.toml").write_text("health_check_port = 8666\n")
    made = world.manifests()
    assert container(made)["livenessProbe"]["httpGet"]["port"] == 8555
    assert made["ConfigMap"]["data"] == {}
    assert "HEALTH_CHECK_PORT" not in environment(made)


def test_environment_is_production_unless_the_command_line_says_otherwise(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "development")
    assert environment(world.manifests())["ENVIRONMENT"]["value"] == "production"
    assert environment(world.manifests("--set", "ENVIRONMENT=staging"))["ENVIRONMENT"]["value"] == "staging"


def test_what_another_machine_says_of_its_cluster_stays_there(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_KUBECONFIG", "/home/me/.kube/config")
    monkeypatch.setenv("K8S_NAMESPACE", "shop")
    made = world.manifests()
    assert "K8S_KUBECONFIG" not in environment(made)
    assert {one["metadata"]["namespace"] for one in made.values()} == {"shop"}


def test_the_pod_knows_its_name(world) -> None:
    fields = {
        name: one["valueFrom"]["fieldRef"]["fieldPath"]
        for name, one in environment(world.manifests()).items()
        if "fieldRef" in one.get("valueFrom", {})
    }
    assert fields == {"NODE_NAME": "spec.nodeName", "POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}


def test_the_role_allows_the_one_configmap_and_nothing_else(world) -> None:
    made = world.manifests("--namespace", "shop", "--set", "K8S_LEADERSHIP=alone")
    assert made["Role"]["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "verbs": ["get", "list", "watch"],
            "resourceNames": ["eggyapp-shop"],
        }
    ]
    assert made["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": "eggyapp-shop", "namespace": "shop"}]
    spec = made["Deployment"]["spec"]["template"]["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("eggyapp-shop", True)


def test_the_role_allows_the_one_lease_and_to_make_it(world) -> None:
    rules = world.manifests("--set", "K8S_LEADERSHIP=lease", "--set", "K8S_LEASE_NAME=billing")["Role"]["rules"]
    assert [rule for rule in rules if rule["resources"] == ["leases"]] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "update"],
            "resourceNames": ["billing"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    ]


@pytest.mark.parametrize("mode", ["lease", "alone"])
def test_leadership_by_a_lease_needs_rights_where_something_asks_for_it(world, mode: str) -> None:
    app = (world.folder / "eggyapp_shop.py").read_text().replace("import Secret,", "import Secret, Service,")
    service = "    return Service(name='bills', run=read, leader_only=True)\n"
    (world.folder / "eggyapp_shop.py").write_text(app + service)
    rules = world.manifests("--set", f"K8S_LEADERSHIP={mode}")["Role"]["rules"]
    assert (["leases"] in [rule["resources"] for rule in rules]) is (mode == "lease")
    by_default = world.manifests()["Role"]["rules"]
    assert {"leases"} == {name for rule in by_default for name in rule["resources"]} - {"configmaps"}
    (named,) = (rule for rule in by_default if "resourceNames" in rule and rule["resources"] == ["leases"])
    assert named["resourceNames"] == ["eggyapp-shop"]


def test_a_label_selector_needs_a_role_without_a_name(world) -> None:
    made = world.manifests("--set", "K8S_CONFIGMAP_SELECTOR=app=shop", "--set", "K8S_LEADERSHIP=alone")
    assert made["Role"]["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}
    ]
    assert "ConfigMap" not in made


def test_a_mounted_configmap_is_mounted_as_a_folder_and_needs_no_token(world) -> None:
    made = world.manifests(
        "--set", "K8S_CONFIG_DIR=/etc/shop", "--set", "K8S_LEADERSHIP=alone", "--set", "LOG_LEVEL=warn"
    )
    spec = made["Deployment"]["spec"]["template"]["spec"]
    assert {"name": "config", "mountPath": "/etc/shop", "readOnly": True} in container(made)["volumeMounts"]
    assert {"name": "config", "configMap": {"name": "eggyapp-shop"}} in spec["volumes"]
    assert spec["automountServiceAccountToken"] is False
    assert made["ConfigMap"]["data"] == {"LOG_LEVEL": "warn"}
    assert "Role" not in made


def test_the_job_migrates_with_the_same_settings_and_stays_out_of_the_service(world) -> None:
    made = world.manifests(*PLUGINS)
    job = made["Job"]
    assert container(made, "Job")["command"] == ["eggycore", "db", "migrate", *PLUGINS]
    assert environment(made, "Job") == environment(made)
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    selector = made["Service"]["spec"]["selector"].items()
    assert not selector <= job["spec"]["template"]["metadata"]["labels"].items()
    assert selector <= made["Deployment"]["spec"]["template"]["metadata"]["labels"].items()


def test_another_image_makes_another_job_because_a_job_cannot_be_changed(world) -> None:
    names = [world.manifests(*PLUGINS, "--image", image)["Job"]["metadata"]["name"] for image in ("a:1", "a:1", "a:2")]
    assert names[0] == names[1] != names[2]


def test_without_migrations_there_is_no_job(world) -> None:
    assert "Job" not in world.manifests(*PLUGINS, "--set", "DATABASE_MIGRATIONS=off")


def test_the_mesh_leaves_the_ports_of_kubelet_and_prometheus_alone(world) -> None:
    made = world.manifests(*PLUGINS, "--mesh")
    assert made["Deployment"]["spec"]["template"]["metadata"]["annotations"] == {
        "config.linkerd.io/proxy-await": "enabled",
        "config.linkerd.io/skip-inbound-ports": "8081,9091",
        "proxy.istio.io/config": "holdApplicationUntilProxyStarts: true",
        "sidecar.istio.io/rewriteAppHTTPProbers": "false",
        "traffic.sidecar.istio.io/excludeInboundPorts": "8081,9091",
    }
    job = made["Job"]["spec"]["template"]["metadata"]
    assert job["labels"]["sidecar.istio.io/inject"] == "false"
    assert job["annotations"] == {"linkerd.io/inject": "disabled"}


@pytest.mark.parametrize("words", [(), ("--mesh",)])
def test_callers_reach_business_ports_prometheus_the_metrics_and_sidecars_each_other(world, words) -> None:
    ingress = world.manifests(*PLUGINS, *words)["NetworkPolicy"]["spec"]["ingress"]
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    between_sidecars = [{"ports": [{"port": 4143}, {"port": 15008}]}] if words else []
    assert ingress == [
        {"ports": [{"port": 8080}]},
        *between_sidecars,
        {"from": [monitoring], "ports": [{"port": 9091}]},
    ]


def test_replicas_are_the_autoscaler_s(world) -> None:
    made = world.manifests("--replicas", "3")
    assert "replicas" not in made["Deployment"]["spec"]
    autoscaler = made["HorizontalPodAutoscaler"]["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (3, 9)
    alone = world.manifests("--replicas", "1")
    assert alone["Deployment"]["spec"]["replicas"] == 1
    assert "HorizontalPodAutoscaler" not in alone


def test_one_replica_with_a_database_file_is_replaced_and_never_doubled(world) -> None:
    made = world.manifests(*PLUGINS, "--set", "DATABASE_ALLOW_EMBEDDED=true")
    assert made["Deployment"]["spec"]["replicas"] == 1
    assert made["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}


def test_only_the_kinds_asked_for_are_written(world) -> None:
    assert list(world.manifests("--kind", "service", "--kind", "Deployment")) == ["Service", "Deployment"]


def test_a_folder_gets_one_file_for_each_object(world) -> None:
    result = world.run("manifests", "-o", "out/kubernetes", "--set", "K8S_LEADERSHIP=alone")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "9 objects are in out/kubernetes.\n"
    folder = Path("out/kubernetes")
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 9
    assert "networkpolicy.yaml" in files
    for path in folder.iterdir():
        text = path.read_text()
        assert text.startswith("# Made by: eggycore k8s manifests")
        assert f"{yaml.safe_load(text)['kind'].lower()}.yaml" == path.name
    result = world.run("manifests", "-o", "out/kubernetes", "--plugins", "", "--replicas", "1")
    assert (
        "note: out/kubernetes/role.yaml is of an earlier run, and the app needs it no more: remove it.\n"
        in result.stderr
    )


def test_a_setting_that_names_a_file_asks_for_a_volume(world) -> None:
    result = world.run("manifests", *PLUGINS, "--set", "DATABASE_MIGRATIONS_FOLDER=/srv/migrations")
    assert result.exit_code == 0
    assert result.stderr == "note: DATABASE_MIGRATIONS_FOLDER names a file: mount a volume there.\n"


def test_a_file_of_the_pod_need_not_be_on_this_machine(world) -> None:
    settings = ("--set", "DATABASE_TLS_CA=/etc/db/ca.pem", "--set", "DATABASE_TLS=verify-full")
    assert environment(world.manifests(*PLUGINS, *settings))["DATABASE_TLS_CA"]["value"] == "/etc/db/ca.pem"
