"""Settings of the service: environment variables ``JOULEGATE_*``, read once, all faults told together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import parse_duration_ns
from joulegate.home import home

PREFIX: Final = "JOULEGATE_"


class ClusterMode(StrEnum):
    """How long an operator counts as registered after it has reported: for a while, or for good."""

    SHARED = "shared"
    MANAGED = "managed"


class Unbudgeted(StrEnum):
    """What happens to work that no budget binds."""

    ALLOW = "Allow"
    WARN = "Warn"
    DENY = "Deny"


class Settings(BaseSettings):
    """What the service was told. Every field is the variable ``JOULEGATE_`` + its name in capitals."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Field(default_factory=home, description="Folder of state: token, address, database.")
    database: str = Field("", description="Address of the database; empty is an SQLite file in the home folder.")
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; loopback unless told otherwise.")
    port: int = Field(8765, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    tokens_file: Path | None = Field(
        None, description="Rows of token hash, principal, roles, grants; by default `tokens` in the home folder."
    )
    tenant: str = Field("default", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Tenant that this service serves.")
    cluster: str = Field("local", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="Cluster it decides for.")
    site: str = Field("default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="Site of that cluster.")
    unbudgeted: Unbudgeted = Field(Unbudgeted.ALLOW, description="What happens to work that no budget binds.")
    default_duration: str = Field(
        "4h", description="Time of work whose manifest gives none and that never ran; basis `default`."
    )
    default_gpu_model: str = Field(
        "NVIDIA H100 80GB HBM3",
        min_length=1,
        description="GPU of work whose manifest names none, best the one that draws most; basis `default`.",
    )
    controllers: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "system:kube-controller-manager",
            "system:serviceaccount:kube-system:job-controller",
            "system:serviceaccount:kube-system:cronjob-controller",
            "system:serviceaccount:kube-system:replicaset-controller",
            "system:serviceaccount:kube-system:statefulset-controller",
            "system:serviceaccount:kube-system:daemon-set-controller",
            "system:serviceaccount:kube-system:deployment-controller",
            "system:serviceaccount:kube-system:replication-controller",
            "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
            "system:serviceaccount:argo:argo",
            "system:serviceaccount:kubeflow:argo",
            "system:serviceaccount:kubeflow:kubeflow-trainer-controller-manager",
            "system:serviceaccount:kubeflow-system:kubeflow-trainer-controller-manager",
            "system:serviceaccount:jobset-system:jobset-controller-manager",
            "system:serviceaccount:lws-system:lws-controller-manager",
            "system:serviceaccount:kuberay-operator:kuberay-operator",
            "system:serviceaccount:kserve:kserve-controller-manager",
            "system:serviceaccount:kubeflow:kserve-controller-manager",
            "system:serviceaccount:knative-serving:controller",
            "system:serviceaccount:kueue-system:kueue-controller-manager",
        ),
        description="Users, between commas, whose objects may be children of an admitted owner.",
    )
    queue_managers: Annotated[tuple[str, ...], NoDecode] = Field(
        ("system:serviceaccount:kueue-system:kueue-controller-manager",),
        description="Users, between commas, whose own queue says when work goes: what they let go always passes.",
    )
    system_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        ("kube-system", "kube-public", "kube-node-lease", "joulegate-system"),
        description="Namespaces, between commas, that are never governed.",
    )
    kube_api: str = Field(
        "",
        pattern=r"^(|in-cluster|https?://[^\s/]+)$",
        description="The cluster's API: `in-cluster`, its address, or empty where there is no cluster.",
    )
    cluster_mode: ClusterMode = Field(
        ClusterMode.SHARED,
        description="`managed`: the cluster's objects are the only source for good once its operator has reported.",
    )
    kube_ca_file: Path | None = Field(None, description="Authority that signed the certificate of the cluster's API.")
    kube_token_file: Path | None = Field(None, description="Token for the cluster's API; read anew for each question.")
    kube_certificate_file: Path | None = Field(None, description="Certificate for the cluster's API.")
    kube_key_file: Path | None = Field(None, description="Key of that certificate, where it is not in the same file.")
    kube_audience: str = Field(
        "joulegate", min_length=1, description="Audience that tokens of the cluster have to be made for."
    )
    meter_accounts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("system:serviceaccount:joulegate-system:joulegate-node",),
        description="Users of the cluster, between commas, whose tokens speak for the node that they are bound to.",
    )
    operator_accounts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("system:serviceaccount:joulegate-system:joulegate-operator",),
        description="Users of the cluster, between commas, whose tokens are the operator's.",
    )
    two_person: bool = Field(
        default=False, description="Whether changes of limits, factors, prices and sites wait for a second person."
    )
    close_delay: str = Field(
        "4d", description="How long after its end a period is closed: late facts have come by then."
    )
    check_every: str = Field("1h", description="How often every balance is counted again from the entries.")
    log_key_file: Path | None = Field(
        None, description="Keys that sign the log; by default `log/keys` in the home folder. Never in the database."
    )
    anchors: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None,
        description="Where checkpoints are kept outside the database, between commas: file:FOLDER, git:FOLDER; "
        "by default file:log/anchor in the home folder.",
    )
    checkpoint_s: int = Field(60, ge=1, le=86_400, description="Seconds between two checkpoints of a log that grows.")
    admission_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of admission over TLS, beside the main one; empty for none."
    )
    admission_host: str = Field("127.0.0.1", min_length=1, description="Address that admission listens on.")
    admission_certificate_file: Path | None = Field(None, description="Certificate of admission; read when it changes.")
    admission_key_file: Path | None = Field(None, description="Key of that certificate.")
    admission_client_ca_file: Path | None = Field(
        None, description="Authority of the API server's client certificate; without it nobody proves to be one."
    )
    admission_clients: Annotated[tuple[str, ...], NoDecode] = Field(
        ("kube-apiserver",), description="Common names, between commas, of certificates that are the API server's."
    )
    unproven_percent: int = Field(
        20, ge=0, le=100, description="Share of a limit that callers who proved nothing may hold unconfirmed."
    )
    delegates: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "system:serviceaccount:kubeflow:ml-pipeline",
            "system:serviceaccount:kubeflow:ml-pipeline-scheduledworkflow",
            "system:serviceaccount:kubeflow:jupyter-web-app-service-account",
            "system:serviceaccount:kubeflow:katib-controller",
            "system:serviceaccount:argocd:argocd-application-controller",
        ),
        description="Users, between commas, who act for a namespace: its own account is then the subject.",
    )
    delegated_account: str = Field(
        "default-editor", min_length=1, description="The account of a namespace for which delegates act."
    )
    concurrency: int = Field(320, ge=1, le=2_000, description="Requests that are worked on at once.")

    @field_validator("default_duration", "close_delay", "check_every")
    @classmethod
    def _is_duration(cls, text: str) -> str:
        try:
            duration_ns = parse_duration_ns(text, "")
        except InvalidInputError as error:
            raise ValueError(error.message) from error
        if duration_ns == 0:
            raise ValueError("must be more than nothing")
        return text

    @field_validator(
        "controllers",
        "queue_managers",
        "system_namespaces",
        "meter_accounts",
        "operator_accounts",
        "admission_clients",
        "delegates",
        "anchors",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 -- the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- see above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- see above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options of the command before the environment, and nothing else."""
        return init_settings, env_settings

    @property
    def database_url(self) -> str:
        """The database in force."""
        return self.database or f"sqlite:///{self.home / 'joulegate.db'}"

    @property
    def tokens_path(self) -> Path:
        """The file of principals in force."""
        return self.tokens_file or self.home / "tokens"

    @property
    def log_key_path(self) -> Path:
        """The file of signing keys in force."""
        return self.log_key_file or self.home / "log" / "keys"

    @property
    def anchor_places(self) -> tuple[str, ...]:
        """The anchors in force."""
        return (f"file:{self.home / 'log' / 'anchor'}",) if self.anchors is None else self.anchors

    @property
    def close_delay_ns(self) -> int:
        """How long after its end a period is closed."""
        return parse_duration_ns(self.close_delay, "close_delay")

    @property
    def check_every_ns(self) -> int:
        """How often the trial balance is run."""
        return parse_duration_ns(self.check_every, "check_every")

    @property
    def default_duration_ns(self) -> int:
        """Time of work that nothing is known of."""
        return parse_duration_ns(self.default_duration, "default_duration")


def load(options: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this process; ``options`` go before the environment.

    Raises :class:`InvalidInputError` that names every variable that is wrong.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise InvalidInputError(_faults(error)) from error


def listed() -> Iterator[tuple[str, str, str]]:
    """Every setting in force: variable, value (without a password), meaning. `joulegate config` asks for this."""
    settings = load()
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        text = ",".join(value) if isinstance(value, tuple) else str("" if value is None else value)
        shown = without_password(text) if name == "database" else text
        yield PREFIX + name.upper(), shown, field.description or ""


def without_password(url: str) -> str:
    """The address of a database as it may be shown."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{user.partition(':')[0]}:***@{place}" if at and ":" in user else url


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{PREFIX}{str(fault['loc'][0]).upper()}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_url=False)
    )
