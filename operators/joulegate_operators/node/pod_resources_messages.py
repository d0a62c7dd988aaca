"""The messages of the kubelet's pod-resources API, version 1, built when this is imported.

Names and numbers are those that the kubelet documents (package ``v1``, service
``PodResourcesLister``); only the fields that are read here are written down, and
unknown ones are passed over, as protocol buffers do. No code is generated.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE: Final = "v1"
_STRING: Final = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_MESSAGE: Final = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_ONE: Final = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_MANY: Final = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED

_MESSAGES: Final[dict[str, tuple[tuple[str, int, str | None, bool], ...]]] = {
    # message: (field, number, its message or None for a string, whether it is a list)
    "ListPodResourcesRequest": (),
    "ListPodResourcesResponse": (("pod_resources", 1, "PodResources", True),),
    "PodResources": (
        ("name", 1, None, False),
        ("namespace", 2, None, False),
        ("containers", 3, "ContainerResources", True),
    ),
    "ContainerResources": (
        ("name", 1, None, False),
        ("devices", 2, "ContainerDevices", True),
        ("dynamic_resources", 5, "DynamicResource", True),
    ),
    "ContainerDevices": (("resource_name", 1, None, False), ("device_ids", 2, None, True)),
    "DynamicResource": (
        ("claim_name", 2, None, False),
        ("claim_namespace", 3, None, False),
        ("claim_resources", 4, "ClaimResource", True),
    ),
    "ClaimResource": (
        ("driver_name", 2, None, False),
        ("pool_name", 3, None, False),
        ("device_name", 4, None, False),
        ("share_id", 5, None, False),
    ),
    "AllocatableResourcesRequest": (),
    "AllocatableResourcesResponse": (("devices", 1, "ContainerDevices", True),),
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="joulegate/podresources.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, many in fields:
            message.field.add(
                name=field,
                number=number,
                label=_MANY if many else _ONE,
                type=_STRING if kind is None else _MESSAGE,
                type_name=None if kind is None else f".{_PACKAGE}.{kind}",
            )
    return file


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def message(name: str) -> Any:  # noqa: ANN401 -- a class that protobuf makes
    """The class of a message."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


SERVICE: Final = f"{_PACKAGE}.PodResourcesLister"
ListRequest: Final = message("ListPodResourcesRequest")
ListResponse: Final = message("ListPodResourcesResponse")
AllocatableRequest: Final = message("AllocatableResourcesRequest")
AllocatableResponse: Final = message("AllocatableResourcesResponse")
