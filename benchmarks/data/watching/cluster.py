"""A Kubernetes API server and a mounted ConfigMap, both changed on command: cluster.py FOLDER

It prints the path of a kubeconfig. Then each line says what to give a new mark: "api NAME" the ConfigMap of that name
in the namespace bench, "mount" the folder FOLDER/mount, in kubelet's way. The answer is the mark, which is the moment
before the change on the monotonic clock, in nanoseconds.

It runs on the python of the development environment, which has what the tests' servers need.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.servers.kubernetes import KubernetesAPI
from tests.servers.kubernetes_volume import Volume


def main(folder: Path) -> None:
    """Do what stdin says, until it ends."""
    with KubernetesAPI() as api:
        volume = Volume(folder / "mount", {"MARK": "0"})
        print(api.kubeconfig(folder, namespace="bench"), flush=True)
        for line in sys.stdin:
            what, *name = line.split()
            mark = time.monotonic_ns()
            if what == "api":
                api.put("configmaps", "bench", *name, data={"MARK": str(mark)})
            else:
                volume.write({"MARK": str(mark)})
            print(mark, flush=True)


main(Path(sys.argv[1]))
