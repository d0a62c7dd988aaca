"""Measured steps of Kubeflow pipelines; the only import of kfp.

A measured component is the same component with ``python3 -m joulegate.run ... --``
put before its own command, so what runs locally and what is compiled for a
cluster is one and the same command line. Nothing inside the step changes.
"""

import copy
from collections.abc import Callable
from typing import Any, Final

from kfp.dsl import base_component, component_factory, pipeline_task

from joulegate.core.errors import InvalidInputError
from joulegate.core.records import Kind

_RUNNER: Final = ("python3", "-m", "joulegate.run")
"""Written ``python3 -m``, because KFP's local runner replaces ``python3`` by its own interpreter."""

_STEP: Final = ["sh", "-ec"]
"""How the part of a lightweight component's command begins that runs the step; before it KFP installs packages."""


class MeasuredComponent(base_component.BaseComponent):  # type: ignore[misc]  # kfp has no types
    """A component whose step is measured and never cached: a cached step runs nothing that could be measured."""

    def __init__(self, component: base_component.BaseComponent, options: list[str]) -> None:
        """Copy ``component`` and put the runner with ``options`` before its command."""
        spec = copy.deepcopy(component.component_spec)
        container = spec.implementation.container
        if container is None:
            raise InvalidInputError("runs no command of its own: measure its steps", spec.name)
        container.command = _wrapped(spec.name, container.command, [*_RUNNER, *options, "--"])
        super().__init__(component_spec=spec)
        self._component = component

    def __call__(self, *args: Any, **kwargs: Any) -> pipeline_task.PipelineTask:  # noqa: ANN401 -- what the component takes
        """Make a task as the component does, with caching off."""
        task = super().__call__(*args, **kwargs)
        # Outside a pipeline KFP runs the task at once; it is final then, and was not cached.
        if task.state is pipeline_task.TaskState.FUTURE:
            task.set_caching_options(False)
        return task

    def execute(self, **kwargs: Any) -> Any:  # noqa: ANN401 -- what the function returns
        """Run the function behind the component in this process, unmeasured."""
        return self._component.execute(**kwargs)


def measured(
    component: base_component.BaseComponent | None = None,
    *,
    kind: str = Kind.OTHER,
    name: str | None = None,
    model: str | None = None,
    variant: str | None = None,
) -> Any:  # noqa: ANN401 -- a component, or a decorator that makes one
    """The component with its step measured; with keywords alone, a decorator to stand above ``@dsl.component``.

    ``kind`` is one of :class:`~joulegate.core.records.Kind`; ``name`` replaces the
    task's name; ``model`` and ``variant`` go into the record, and may be
    :func:`from_input`. Works for lightweight and container components whose image
    has Joulegate installed (or ``packages_to_install=["joulegate"]``). The step's
    exit code is the command's own. Raises :class:`InvalidInputError` for another
    kind, for a pipeline, and for a container component that names no command.
    """
    if kind not in set(Kind):
        raise InvalidInputError(f"{kind!r} is not one of {', '.join(Kind)}", "kind")
    options = ["--kind", str(kind)]
    for option, value in (("--name", name), ("--model", model), ("--variant", variant)):
        options += [option, value] if value is not None else []

    def wrap(wrapped: base_component.BaseComponent) -> MeasuredComponent:
        return MeasuredComponent(wrapped, options)

    decorator: Callable[[base_component.BaseComponent], MeasuredComponent] = wrap
    return decorator if component is None else wrap(component)


def from_input(name: str) -> str:
    """The value of the step's own input parameter ``name``, known when the step runs."""
    return f"{{{{$.inputs.parameters['{name}']}}}}"


def _wrapped(name: str, command: list[Any] | None, runner: list[str]) -> list[Any]:
    if not command:
        raise InvalidInputError("names no command, so what its image runs cannot be put behind the runner", name)
    begins = [at for at in range(len(command)) if command[at : at + 2] == _STEP]
    at = begins[-1] if begins and component_factory.EXECUTOR_MODULE in str(command[begins[-1] + 2 :][:1]) else 0
    return [*command[:at], *runner, *command[at:]]
