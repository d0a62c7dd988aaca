"""Lets everything go that waits at a gate of Joulegate: ``python -m joulegate_operators.leaving``, after an uninstall.

The chart runs it once its webhooks are gone: nobody would lift these gates any more, and nobody decides any more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from kubernetes import client

from joulegate.core.errors import JoulegateError
from joulegate.core.workloads import Unresolved, given_to_kueue, is_gated, is_kept_from_kueue, lifted
from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json, KubeError, asked, connect
from joulegate_operators.seen import PODS, RESOURCES, Resource
from joulegate_operators.settings import Settings

_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_TIMES: Final = 5
"""Looks at a kind: an object that changes while its gate is lifted is tried again."""


def let_go(kube: client.ApiClient) -> int:
    """Lift every gate; how many objects there were. Raises :class:`KubeError` where some could not be changed."""
    return sum(_of_kind(kube, resource) for resource in (PODS, *RESOURCES))


def _of_kind(kube: client.ApiClient, resource: Resource) -> int:
    done = 0
    for _ in range(_TIMES):
        missed = 0
        for source in _waiting(kube, resource):
            metadata = source["metadata"]
            change = _change(source)
            change["metadata"] = {**change.get("metadata", {}), "resourceVersion": metadata["resourceVersion"]}
            try:
                asked(kube, "PATCH", resource.path_to(metadata["namespace"], metadata["name"]), change)
                done += 1
            except KubeError as error:
                if error.status not in (_NOT_FOUND, _CONFLICT):
                    raise
                missed += 1
        if not missed:
            return done
    raise KubeError(f"some {resource.plural} change too fast to be let go; run this again", _CONFLICT)


def _change(source: Json) -> Json:
    change: dict[str, Any] = lifted(source) if is_gated(source) else {}
    if is_kept_from_kueue(source):
        said = {
            **change.get("metadata", {}).get("annotations", {}),
            **given_to_kueue(source)["metadata"]["annotations"],
        }
        change = {**change, "metadata": {"annotations": said}}
    return change


def _waiting(kube: client.ApiClient, resource: Resource) -> Iterator[Json]:
    """The objects of a kind that wait at a gate of ours; none of a kind that the cluster does not have."""
    group, _, version = resource.api_version.rpartition("/")
    call: Any = client.CoreV1Api(kube).list_pod_for_all_namespaces
    if resource is not PODS:
        custom = client.CustomObjectsApi(kube)
        call = partial(custom.list_cluster_custom_object, group=group, version=version, plural=resource.plural)
    try:
        found = Informer(resource.plural, call, lambda item: item).listed()
    except KubeError as error:
        if error.status != _NOT_FOUND:
            raise
        return
    for item in found.values():
        source = {"apiVersion": resource.api_version, "kind": resource.kind, **item}
        try:
            if is_gated(source) or is_kept_from_kueue(source):
                yield source
        except Unresolved as error:
            sys.stderr.write(f"joulegate leaving: {resource.plural} {item['metadata']['name']} is left: {error}\n")


def main() -> int:
    """Let go by the settings of the environment; returns the exit status."""
    try:
        count = let_go(connect(Settings.from_environment(os.environ).kubeconfig))
    except JoulegateError as error:
        sys.stderr.write(f"joulegate leaving: {error}\n")
        return 1
    sys.stdout.write(f"{count} objects were let go\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
