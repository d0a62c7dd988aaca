"""Dynamic resource allocation: which GPU a claimed device is.

ResourceSlices say it, in ``resource.k8s.io/v1`` with the attributes on the device
itself as in v1beta2, and in v1beta1 under ``basic``. The newest version that
the cluster serves is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from kubernetes import client

from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json, KubeError, listed
from joulegate_operators.node.allocation import Place
from joulegate_operators.node.pod_resources import Claimed

GROUP: Final = "resource.k8s.io"
VERSIONS: Final = ("v1", "v1beta2", "v1beta1")

_SLICES: Final = re.compile(r"(\d+)g\.")
_NOT_FOUND: Final = 404
_REMEMBERED: Final = 4_096


@dataclass(frozen=True, slots=True)
class Slice:
    """One ResourceSlice: its pool, its generation, and where each device is."""

    driver: str
    pool: str
    generation: int
    places: Mapping[str, Place]


def slice_of(item: Json) -> Slice:
    """Read a ResourceSlice of any served version."""
    spec = item["spec"]
    places = {}
    for device in spec.get("devices") or ():
        attributes = {**(device.get("basic") or {}).get("attributes", {}), **(device.get("attributes") or {})}
        place = _place({name.rpartition("/")[2]: _value(value) for name, value in attributes.items()})
        if place is not None:
            places[device["name"]] = place
    pool = spec.get("pool") or {}
    return Slice(spec["driver"], pool.get("name", ""), int(pool.get("generation", 0)), places)


def _value(value: Json) -> str:
    return str(next(iter(value.values()), ""))


def _place(attributes: Mapping[str, str]) -> Place | None:
    uuid = attributes.get("uuid", "")
    if attributes.get("type") == "mig" or uuid.startswith("MIG-"):
        slices = _SLICES.match(attributes.get("profile", ""))
        parent = attributes.get("parentUUID", "")
        return Place(parent, uuid, int(slices[1]) if slices else 1) if parent else None
    return Place(uuid) if uuid.startswith("GPU-") else None


class NodeClaims:
    """The ResourceSlices of one node, and the claims that were asked about."""

    def __init__(self, api: client.ApiClient, node: str, version: str) -> None:
        """``version`` is what :func:`served_version` found."""
        self._api = client.CustomObjectsApi(api)
        self._version = version
        call = partial(self._api.list_cluster_custom_object, GROUP, version, "resourceslices")
        self.informer: Informer[Slice] = Informer(
            "resource slices", call, slice_of, field_selector=f"spec.nodeName={node}"
        )
        self._watching: dict[Claimed, bool] = {}

    @property
    def missing(self) -> str | None:
        """Why the first list has not come; None where it has."""
        if self.informer.synced.is_set():
            return None
        return self.informer.error or "the ResourceSlices of this node are not known yet"

    def place(self, claimed: Claimed) -> Place | None:
        """Where the device is, by the newest generation of its pool."""
        fitting = [
            found
            for found in self.informer.objects().values()
            if found.driver == claimed.driver and found.pool == claimed.pool and claimed.device in found.places
        ]
        newest = max(fitting, key=lambda found: found.generation, default=None)
        return newest.places[claimed.device] if newest else None

    def only_watches(self, claimed: Claimed) -> bool:
        """Whether the claim has administrative access; one that cannot be read holds its device."""
        if claimed not in self._watching:
            namespace, _, name = claimed.claim.partition("/")
            call = partial(
                self._api.get_namespaced_custom_object, GROUP, self._version, namespace, "resourceclaims", name
            )
            try:
                claim = listed(call)
            except KubeError:
                return False
            if len(self._watching) >= _REMEMBERED:
                self._watching.clear()
            self._watching[claimed] = _has_admin_access(claim, claimed)
        return self._watching[claimed]


def _has_admin_access(claim: Json, claimed: Claimed) -> bool:
    allocation = (claim.get("status") or {}).get("allocation") or {}
    results = (allocation.get("devices") or {}).get("results") or ()
    return any(
        bool(result.get("adminAccess"))
        for result in results
        if (result.get("driver"), result.get("pool"), result.get("device"))
        == (claimed.driver, claimed.pool, claimed.device)
    )


class NoClaims:
    """A cluster without dynamic resource allocation, or of which that is not known yet."""

    def __init__(self, missing: str | None = None) -> None:
        """``missing`` is why it is not known."""
        self.missing = missing

    def place(self, claimed: Claimed) -> Place | None:  # noqa: ARG002 -- the protocol
        """Nowhere."""
        return None

    def only_watches(self, claimed: Claimed) -> bool:  # noqa: ARG002 -- the protocol
        """No."""
        return False


def served_version(api: client.ApiClient) -> str | None:
    """The newest version of the group that the cluster serves; None where there is none.

    Raises :class:`KubeError` where the cluster does not answer.
    """
    custom = client.CustomObjectsApi(api)
    for version in VERSIONS:
        try:
            listed(partial(custom.list_cluster_custom_object, GROUP, version, "resourceslices"), limit=1)
        except KubeError as error:
            if error.status != _NOT_FOUND:
                raise
        else:
            return version
    return None
