"""Argo Workflow (argoproj.io/v1alpha1), and how Kubeflow Pipelines compiles one.

Argo writes accelerators into a template's container. KFP v2 runs every step through the
same templates: the task of a driver carries the step's container in the argument
``container``, a reference to a parameter of the workflow whose JSON holds
``resources.accelerator.{type, count}``, and its node selector in ``kubernetes-config``.

Each step is held once. Loops, retries and steps that cannot be resolved are growth, which
is decided when their pods come.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from joulegate.core.workloads.asked import Asked
from joulegate.core.workloads.demand import Group, Unresolved
from joulegate.core.workloads.pods import GPU_PRODUCT, Template, groups_of
from joulegate.core.workloads.reading import (
    MOST,
    Manifest,
    annotations_of,
    flag,
    items,
    mapping,
    name,
    namespace,
    optional,
    seconds_ns,
)
from joulegate.core.workloads.surroundings import Reference, Surroundings, look_up

_DEEPEST: Final = 100  # templates that call each other
_PARAMETER: Final = re.compile(r"\{\{\s*workflow\.parameters\.([A-Za-z0-9_.-]{1,253})\s*\}\}")
_DIGITS: Final = 9  # more say no more: it is beyond every limit already
_NVIDIA: Final = ("nvidia.com/", "nvidia-")  # a resource, or the name of a board as GKE writes it

_Held = Counter[tuple[str | None, Fraction]]
"""Steps by (GPU model, boards)."""


@dataclass(slots=True)
class _Walk:
    """One walk from the entry point through everything that it calls."""

    templates: Mapping[str, Manifest]
    parameters: Mapping[str, str]
    namespace: str
    around: Surroundings
    known: dict[str, _Held] = field(default_factory=dict)
    above: list[str] = field(default_factory=list)


def workflow(whole: Manifest, spec: Manifest, around: Surroundings) -> Asked:
    """Every step that is reached from the entry point and the exit handler, once."""
    body = _body(whole, spec, around)
    templates = {
        name(each.get("name"), "a template's name"): each for each in items(body.get("templates"), "templates")
    }
    walk = _Walk(templates, _parameters(spec) or _parameters(body), namespace(whole), around)
    held = _called(walk, spec.get("entrypoint") or body.get("entrypoint"), "spec.entrypoint")
    if (last := body.get("onExit")) is not None:
        held = held + _called(walk, last, "spec.onExit")
    if sum(boards * steps for (_, boards), steps in held.items()) > MOST:
        raise Unresolved(f"the workflow asks for more than {MOST} accelerators")
    return Asked(
        groups=tuple(Group(model, boards, steps) for (model, boards), steps in held.items()),
        deadline_ns=seconds_ns(body, "spec"),
        suspended=flag(spec, "suspend", "spec"),
        annotations=annotations_of({"metadata": body.get("podMetadata")}),
    )


def _body(whole: Manifest, spec: Manifest, around: Surroundings) -> Manifest:
    """The spec, or that of the WorkflowTemplate that it refers to."""
    if spec.get("workflowTemplateRef") is None:
        return spec
    found = mapping(spec["workflowTemplateRef"], "spec.workflowTemplateRef")
    scoped = flag(found, "clusterScope", "spec.workflowTemplateRef")
    kind = "ClusterWorkflowTemplate" if scoped else "WorkflowTemplate"
    wanted = name(found.get("name"), "spec.workflowTemplateRef.name")
    template = look_up(around, Reference("argoproj.io/v1alpha1", kind, wanted, None if scoped else namespace(whole)))
    below = mapping(template.get("spec"), f"the spec of {kind} {wanted}")
    return {**below, **{key: value for key, value in spec.items() if value is not None}}


def _parameters(spec: Manifest) -> dict[str, str]:
    arguments = optional(spec.get("arguments"), "spec.arguments")
    found = items(arguments.get("parameters"), "spec.arguments.parameters")
    return {str(each.get("name")): each["value"] for each in found if isinstance(each.get("value"), str)}


def _called(walk: _Walk, called: object, where: str) -> _Held:
    wanted = name(called, where)
    if wanted not in walk.templates:
        raise Unresolved(f"{where}: there is no template {wanted}")
    return _of_template(walk, wanted)


def _of_template(walk: _Walk, wanted: str) -> _Held:
    if wanted in walk.known:
        return walk.known[wanted]
    if wanted in walk.above or wanted not in walk.templates:
        return Counter()  # a loop, or a template that stands elsewhere: growth
    if len(walk.above) >= _DEEPEST:
        raise Unresolved(f"templates call each other more than {_DEEPEST} deep")
    walk.above.append(wanted)
    found = _of_inline(walk, walk.templates[wanted], f"template {wanted}")
    walk.above.pop()
    walk.known[wanted] = found
    return found


def _of_inline(walk: _Walk, template: Manifest, where: str) -> _Held:
    held = _own(walk, template, where)
    for task in _tasks(template, where):
        held += _compiled(walk, task)
        called, inline = task.get("template"), task.get("inline")
        if isinstance(called, str):
            held += _of_template(walk, called)
        elif inline is not None and len(walk.above) < _DEEPEST:
            walk.above.append("")
            held += _of_inline(walk, mapping(inline, f"{where}: inline"), where)
            walk.above.pop()
    return Counter({step: min(count, MOST + 1) for step, count in held.items()})


def _tasks(template: Manifest, where: str) -> Iterator[Manifest]:
    dag = optional(template.get("dag"), f"{where}: dag")
    yield from items(dag.get("tasks"), f"{where}: dag.tasks")
    steps = template.get("steps")
    if steps is not None and not isinstance(steps, list):
        raise Unresolved(f"{where}: steps is not a list")
    for together in steps or ():  # a list of lists; one step by itself is read too
        yield from items(together if isinstance(together, list) else [together], f"{where}: steps")


def _own(walk: _Walk, template: Manifest, where: str) -> _Held:
    """What the template's own pod asks for; nothing where that is known only when it runs."""
    held: _Held = Counter()
    pod = _pod(template, where)
    if not pod["containers"] or _is_open(pod) or template.get("podSpecPatch") is not None:
        return held
    for group in groups_of(Template(pod, where, walk.namespace), 1, walk.around):
        held[group.gpu_model, group.accelerators] += group.replicas
    return held


def _pod(template: Manifest, where: str) -> dict[str, Any]:
    containers = [mapping(template[key], where) for key in ("container", "script") if template.get(key) is not None]
    together = optional(template.get("containerSet"), f"{where}: containerSet")
    for source, key in ((together, "containers"), (template, "sidecars")):
        containers += items(source.get(key), f"{where}: {key}")
    inits = list(items(template.get("initContainers"), f"{where}: initContainers"))
    kept = {key: template[key] for key in ("nodeSelector", "affinity") if key in template}
    return {**kept, "containers": containers, "initContainers": inits}


def _is_open(pod: Manifest) -> bool:
    """Whether a value that sizes the pod is filled in only when it runs."""
    sizes = [container.get("resources") for key in ("containers", "initContainers") for container in pod[key]]
    return "{{" in json.dumps([sizes, pod.get("nodeSelector"), pod.get("affinity")])


def _compiled(walk: _Walk, task: Manifest) -> _Held:
    """The step that a driver of KFP starts."""
    held: _Held = Counter()
    arguments = optional(task.get("arguments"), "a task's arguments")
    given = {
        each.get("name"): each.get("value")
        for each in items(arguments.get("parameters"), "a task's arguments.parameters")
    }
    container = _json(walk, given.get("container"))
    boards = _accelerators(container)
    if boards:
        selector = _json(walk, given.get("kubernetes-config")).get("nodeSelector")
        labels = selector.get("labels") if isinstance(selector, Mapping) else None
        model = labels.get(GPU_PRODUCT) if isinstance(labels, Mapping) else None
        held[model if isinstance(model, str) else None, Fraction(boards)] += 1
    return held


def _json(walk: _Walk, value: object) -> Manifest:
    """The JSON of an argument or of the parameter that it refers to; nothing where it is none."""
    text = value if isinstance(value, str) else ""
    match = _PARAMETER.fullmatch(text.strip())
    try:
        found = json.loads(walk.parameters.get(match.group(1), "") if match else text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _accelerators(container: Manifest) -> int:
    resources = container.get("resources")
    accelerator = resources.get("accelerator") if isinstance(resources, Mapping) else None
    if not isinstance(accelerator, Mapping):
        return 0
    kind = accelerator.get("resourceType") or accelerator.get("type")
    count = accelerator.get("resourceCount") or accelerator.get("count")
    text = str(count) if isinstance(count, str | int) and not isinstance(count, bool) else ""
    if not isinstance(kind, str) or not kind.lower().startswith(_NVIDIA) or not text.isascii() or not text.isdigit():
        return 0  # a placeholder, or an accelerator of somebody else: growth when its pod comes
    return min(int(text[:_DIGITS]), MOST + 1)
