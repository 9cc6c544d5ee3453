"""`eggycore k8s`: manifests made from the app's settings, and those written by hand compared with them."""

from __future__ import annotations

from pathlib import Path

import click

from eggycore.cli.options import RuntimeOptions, echo_json, json_option, runtime_options

__all__ = ["group"]

# What reads the app and YAML is imported in the commands: `eggycore k8s --help` is not to wait for it.

_KINDS = (
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Job",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
)


@click.group("k8s", epilog="Example: eggycore k8s manifests | kubectl apply -f -")
def group() -> None:
    """Write Kubernetes manifests for the app, and check those that exist."""


@group.command(
    short_help="Write the manifests of the app.",
    epilog="Example: eggycore k8s manifests --image registry.local/forms:1.4 --namespace shop -o deploy/kubernetes",
)
@click.option("--image", metavar="IMAGE", help="The container image. [NAME:VERSION of the app]")
@click.option("--namespace", metavar="NAMESPACE", help="Where the objects go. [K8S_NAMESPACE, else default]")
@click.option("--replicas", type=click.IntRange(min=1), metavar="N", help="How many pods serve at least. [2]")
@click.option("--mesh", is_flag=True, help="For pods with a sidecar of Istio or Linkerd.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(_KINDS, case_sensitive=False),
    multiple=True,
    help="Only this kind; repeatable.",
)
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    default="-",
    show_default=True,
    help="One file for each object into this folder; - writes all to stdout.",
)
@runtime_options
def manifests(
    options: RuntimeOptions,
    image: str | None,
    namespace: str | None,
    replicas: int | None,
    mesh: bool,
    kinds: tuple[str, ...],
    output: str,
) -> None:
    """Write the manifests that the app needs, from its own settings as they would be in a pod.

    What the environment, .env and --set say goes into the manifests; files in config/ are the image's. Secrets are
    references. ENVIRONMENT is production unless --set says otherwise.
    """
    from eggycore_k8s_watch.manifests import Wish, make_manifests

    wish = Wish(image=image, namespace=namespace, replicas=replicas, mesh=mesh, kinds=kinds)
    made = make_manifests(options, wish)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    if output == "-":
        click.echo(made.stream(), nl=False)
        return
    folder = Path(output)
    old = () if kinds else made.write(folder)
    if kinds:
        made.write(folder)
    click.echo(f"{len(made.objects)} objects are in {folder}.", err=True)
    for path in old:
        click.echo(f"note: {path} is of an earlier run, and the app needs it no more: remove it.", err=True)


@group.command(
    short_help="Find where manifests disagree with the app.",
    epilog="Example: kustomize build overlays/production | eggycore k8s check -",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@runtime_options
@json_option
def check(options: RuntimeOptions, files: tuple[str, ...], as_json: bool) -> None:
    """Find where manifests disagree with the app: probes, ports, deadlines, variables, secrets, rights.

    FILE is a file, a folder, or - for standard input. Exit code 1 when a finding is red.
    """
    from dataclasses import asdict

    from eggycore_k8s_watch.manifest_check import check_manifests, render_findings
    from eggycore_k8s_watch.manifest_documents import read_files

    documents = read_files(files)
    findings = check_manifests(options, documents)
    if as_json:
        echo_json([asdict(finding) for finding in findings])
    else:
        click.echo(render_findings(findings, len(documents)))
    if any(finding.state == "red" for finding in findings):
        click.get_current_context().exit(1)
