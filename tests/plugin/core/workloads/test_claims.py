"""Claims of devices: per pod or shared, alternatives, and what nobody can count."""

from __future__ import annotations

from typing import Any

import pytest

from joulegate.core.workloads import Unresolved, demand_of
from tests.plugin.core.workloads.manifests import World, claim, claim_template, job, manifest


def claiming(parallelism: int = 1, **reference: str) -> dict[str, Any]:
    made = job(None, parallelism=parallelism)
    made["spec"]["template"]["spec"]["resourceClaims"] = [{"name": "gpu", **reference}]
    return made


def world(template: dict[str, Any] | None = None, named: dict[str, Any] | None = None) -> World:
    objects = {("ResourceClaimTemplate", "vision", "gpus"): template, ("ResourceClaim", "vision", "shared"): named}
    return World({key: value for key, value in objects.items() if value is not None})


def test_each_pod_has_a_claim_of_its_own_from_a_template_and_all_share_one_that_is_named() -> None:
    around = world(claim_template(count=2), claim(count=2))
    assert demand_of(claiming(4, resourceClaimTemplateName="gpus"), around).accelerators == 8
    assert demand_of(claiming(4, resourceClaimName="shared"), around).accelerators == 2


@pytest.mark.parametrize(
    ("template", "boards"),
    [
        (claim_template(), 1),
        (claim_template("mig.nvidia.com"), 1),
        (claim_template(count=3, allocationMode="ExactCount"), 3),
        (claim_template(adminAccess=True), 0),
        (claim_template("compute-domain-default-channel.nvidia.com"), 0),
    ],
)
def test_a_claim_counts_the_boards_that_it_takes(template: dict[str, Any], boards: int) -> None:
    assert demand_of(claiming(resourceClaimTemplateName="gpus"), world(template)).accelerators == boards


def test_of_alternatives_the_largest_counts_and_the_betas_are_read_too() -> None:
    first = [{"deviceClassName": "gpu.nvidia.com", "count": n, "name": f"a{n}"} for n in (1, 4, 2)]
    spec = {"spec": {"devices": {"requests": [{"name": "gpu", "firstAvailable": first}]}}}
    several = manifest("resource.k8s.io/v1", "ResourceClaimTemplate", spec)
    assert demand_of(claiming(resourceClaimTemplateName="gpus"), world(several)).accelerators == 4
    flat = {"spec": {"devices": {"requests": [{"name": "gpu", "deviceClassName": "gpu.nvidia.com", "count": 2}]}}}
    beta = manifest("resource.k8s.io/v1beta1", "ResourceClaimTemplate", flat)
    assert demand_of(claiming(resourceClaimTemplateName="gpus"), world(beta)).accelerators == 2


def test_the_model_is_read_from_the_selector_of_a_claim() -> None:
    expression = "device.attributes['gpu.nvidia.com'].productName == 'NVIDIA A100-SXM4-80GB'"
    template = claim_template(selectors=[{"cel": {"expression": expression}}])
    (group,) = demand_of(claiming(resourceClaimTemplateName="gpus"), world(template)).groups
    assert group.gpu_model == "NVIDIA A100-SXM4-80GB"


@pytest.mark.parametrize(
    ("template", "named"),
    [
        (None, "ResourceClaimTemplate gpus in vision does not exist"),
        (claim_template(allocationMode="All"), "ExactCount"),
        (claim_template("tpu.example.com"), "devices of the class tpu.example.com"),
        (claim_template(count=-1), "count"),
        (manifest("resource.k8s.io/v1", "ResourceClaimTemplate", []), "not an object"),
    ],
)
def test_a_claim_that_nobody_can_count_says_what_would_help(template: dict[str, Any] | None, named: str) -> None:
    with pytest.raises(Unresolved, match=named):
        demand_of(claiming(resourceClaimTemplateName="gpus"), world(template))
    with pytest.raises(Unresolved, match="neither or both"):
        demand_of(claiming(), world(template))
    with pytest.raises(Unresolved, match="outside its cluster"):
        demand_of(claiming(resourceClaimTemplateName="gpus"))
