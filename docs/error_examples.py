"""One example of every error of the project, for docs/errors.md. Where an error's text is made where it is raised, the
example is provoked rather than written down, so that the page shows what a person sees.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from docs.kubernetes_error_examples import KUBERNETES
from docs.migration_error_examples import MIGRATIONS
from eggycore import metrics, plan, supervisor, types
from eggycore.budgets import StartTimeout
from eggycore.cli.broken_command import BrokenCommand
from eggycore.cli.config_running import NobodyAnswers, NoHealthPort, NotEggycore, NotLetIn
from eggycore.config.configuration import SettingsMissing, UnknownVariable
from eggycore.config.current import NoCurrentConfig
from eggycore.config.declared import DeclarationFailed
from eggycore.config.reference import NoReferenceBlock
from eggycore.config.telling import ListenerOverran
from eggycore.errors import (
    CheckFailed,
    ConfigError,
    ConfigProblem,
    ConfigRefused,
    Degraded,
    EggycoreError,
    NotLeader,
)
from eggycore.log.errors import LogTargetError
from eggycore.opening import CloseOverran, InitializerDied, OpenTimeout
from eggycore.plugin_errors import (
    AsyncHook,
    DuplicatePlugin,
    HookFailed,
    IncompatiblePlugin,
    NoHooks,
    OptionsOnHook,
    PluginErrors,
    PluginImportFailed,
    SharedHook,
    UnknownHooks,
    UnknownPlugin,
    UnmarkedHook,
    WrongHookArguments,
    WrongResult,
)
from eggycore.probation import ReadinessLost, UndoneBefore
from eggycore.project import AppNotFound, NoApp, ProjectError, SeveralApps
from eggycore.reloading import ReloadTooLate
from eggycore.resources import ResourceMissing
from eggycore.runtime import NotConfigured
from eggycore.runtimes import NoRuntime
from eggycore.server.grpc import GRPCMissing
from eggycore.server.holder import Holder
from eggycore.server.ports import CannotListen, HostNotHere, HostUnknown, PortForbidden, PortTaken
from eggycore.server.servicers import ServicerRecorder
from eggycore.types import Origin
from eggycore.web.responses import UnusableAnswer
from eggycore.web.routes import Router
from eggycore_cache.errors import (
    BadKey,
    BadValue,
    CacheClosed,
    CacheDown,
    EncryptionKeyRefused,
    FactoryCancelled,
    FactoryNeedsItself,
    NoCache,
    NoSyncClient,
    NotANumber,
    NotSerializable,
    PackageMissing,
    UnknownSerializer,
    ValueTooLarge,
)
from eggycore_cache.redis_errors import trouble_of_reply
from eggycore_cache.targets import parse_url
from eggycore_cache.tls import TlsFileUnusable
from eggycore_db.bulk_errors import BulkInterrupted, BulkRefused
from eggycore_db.databases import UnknownDatabase
from eggycore_db.dsn import parse_dsn
from eggycore_db.errors import (
    DatabaseClosed,
    DatabaseNotUp,
    DatabaseUnavailable,
    DatabaseUnusable,
    NoDatabase,
    OutsideWorker,
    PoolExhausted,
    QueryTimeout,
    TableNotMade,
    TableTaken,
)
from eggycore_db.errors import Holder as ConnectionHolder
from eggycore_db.fences import Fenced, FenceOutsideTransaction
from eggycore_db.transaction_errors import (
    TransactionAborted,
    TransactionConflict,
    TransactionLeftOpen,
    TransactionOfAnotherTask,
)
from eggycore_k8s_watch.leases import VersionUnusable
from eggycore_k8s_watch.manifest_documents import read_text
from eggycore_k8s_watch.manifest_errors import ManifestsRefused
from eggycore_k8s_watch.mounted import MountMissing
from eggycore_monitoring.service import PrometheusClientMissing

FOLDER = Path("/srv/forms")
SERVER = "postgresql://db.example:5432/forms"
MAIL = Origin("mail", "eggycore-mail", "1.2.0")
DB = Origin("db", "eggycore-db", "0.1.0")
MAIL_COMPONENT = f"initializer 'mail' of {MAIL}"
OUTBOX = f"service 'outbox' of {MAIL}"
STACK = "mail/client.py, line 31, in connect\n    await self._greeting()"


def provoked(provoke: Callable[[], object]) -> EggycoreError:
    """The error that a call raises."""
    try:
        provoke()
    except EggycoreError as error:
        return error
    raise AssertionError("it raised nothing")


def _closed_router() -> None:
    router = Router()
    router.close()
    router.get("/late", _handler)


async def _handler(request: object) -> None:
    """Answers nothing."""


def _blocking(request: object) -> None:
    """Not async."""


class _Forms:
    """A servicer."""


def _late_servicer() -> None:
    recorder = ServicerRecorder()
    recorder.close()
    recorder.add(lambda servicer, server: None, _Forms())


def _misspelt_requirement() -> None:
    outbox = types.Initializer(name="outbox", open=_never, requires=("databse",))
    database = types.Initializer(name="database", open=_never)
    plan.make_plan([plan.Planned(outbox, MAIL), plan.Planned(database, DB)])


def _never() -> AbstractAsyncContextManager[object]:
    raise NotImplementedError("a plan opens nothing")


SECTIONS: dict[str, tuple[EggycoreError, ...]] = {
    "The app and its folder": (
        NoApp(FOLDER),
        SeveralApps(("forms (forms-app 1.0.0)", "polls (polls-app 2.1.0)"), "forms"),
        AppNotFound("froms", FOLDER, "froms", ("forms",)),
        ProjectError(FOLDER / "pyproject.toml", "[tool.eggycore] plugins is not a list of names."),
    ),
    "Plugins": (
        UnknownPlugin("chache", "--plugins", ("cache", "db")),
        PluginImportFailed(MAIL, ModuleNotFoundError("No module named 'aiosmtplib'")),
        IncompatiblePlugin(MAIL, "eggycore>=2", "0.1.0"),
        DuplicatePlugin(MAIL, ("eggycore-mail 1.2.0", "other-mail 0.3.0")),
        UnknownHooks(MAIL, ("register_service",), ("register_services", "register_settings")),
        WrongHookArguments(MAIL, "register_services", ("app",), ("runtime",)),
        AsyncHook(MAIL, "init_infra"),
        NoHooks(MAIL),
        OptionsOnHook(MAIL, "init_infra", ("tryfirst",)),
        SharedHook(MAIL, "register_settings", Origin("post", "eggycore-post", "1.0.0")),
        UnmarkedHook(MAIL, "register_services"),
        HookFailed(MAIL, "init_infra", KeyError("smtp")),
        WrongResult(MAIL, "register_services", "str", "a Service, several, or nothing"),
        PluginErrors((AsyncHook(MAIL, "init_infra"), UnmarkedHook(MAIL, "register_services"))),
        BrokenCommand("mail", ("eggycore-mail 1.2.0",), ModuleNotFoundError("No module named 'aiosmtplib'")),
    ),
    "Configuration": (
        ConfigError(
            (
                ConfigProblem(
                    key="BUSINESS_HTTP_PORT",
                    value="eighty",
                    reason="not a whole number",
                    origin="environment",
                    owner="eggycore",
                    action="Set it to a number from 0 to 65535.",
                ),
                ConfigProblem(
                    key="K8S_CONFIGMAP_NAME",
                    reason="required while ENABLE_K8S_CONFIG_WATCH is true",
                    owner="plugin k8s-watch (eggycore-k8s-watch 0.1.0)",
                    action="Name the ConfigMap to watch.",
                ),
            )
        ),
        DeclarationFailed("plugin mail (eggycore-mail 1.2.0)", "the default of MAIL_HOST", "KeyError"),
        SettingsMissing("MailSettings", ("Config", "LogSettings")),
        UnknownVariable("LOG_LEVLE", ("LOG_FORMAT", "LOG_LEVEL")),
        NoCurrentConfig(),
        NoReferenceBlock("docs/settings.md"),
        NoHealthPort("HEALTH_CHECK_PORT is 0 or wrong here"),
        NobodyAnswers("http://127.0.0.1:8081", "connection refused"),
        NotLetIn("http://127.0.0.1:8081", has_token=True, sent=False),
        NotEggycore("http://127.0.0.1:8080", "404 Not Found"),
        NotConfigured(),
        ConfigRefused("MAIL_HOST cannot change while mails are being sent"),
        NotLeader(),
        ReadinessLost(("database",), ("DATABASE_PASSWORD",)),
        UndoneBefore(("database",), ("DATABASE_PASSWORD",)),
        ReloadTooLate(),
        ListenerOverran("plugin db (eggycore-db 0.1.0)", 20.0, STACK),
    ),
    "Logging": (LogTargetError("/var/log/forms/forms.log", "LOG_FILE", errno.ENOSPC),),
    "Plan": (
        provoked(_misspelt_requirement),
        provoked(lambda: Router().get("forms", _handler)),
        provoked(lambda: Router().get("/forms", _blocking)),
        provoked(_closed_router),
        provoked(_late_servicer),
        provoked(lambda: metrics.Registry().counter("mails", "Mails sent.")),
    ),
    "Listening": (
        PortTaken(8080, "BUSINESS_HTTP_PORT", "127.0.0.1", Holder(4711, "python -m http.server 8080")),
        PortForbidden(80, "BUSINESS_HTTP_PORT"),
        HostUnknown("forms.internal", "Name or service not known"),
        HostNotHere("192.0.2.1"),
        CannotListen("127.0.0.1", 8080, "BUSINESS_HTTP_PORT", "Too many open files"),
        GRPCMissing("grpc_reflection"),
    ),
    "Up, down and between": (
        OpenTimeout(MAIL_COMPONENT, 30.0, STACK),
        StartTimeout(60.0, "opening mail", ("initializer 'mail'",), STACK),
        InitializerDied(MAIL_COMPONENT, "it raised ConnectionResetError"),
        supervisor.ServiceDied(OUTBOX, "it raised KeyError", 5, types.Restart()),
        supervisor.ServiceOverran(OUTBOX, 20.0, STACK),
        CloseOverran(MAIL_COMPONENT, 5.0, STACK),
    ),
    "In use": (
        ResourceMissing("Mailer", ("Database", "Runtime")),
        NoRuntime(0),
        UnusableAnswer("set"),
        CheckFailed("the last mail is 300 s old"),
        Degraded("one of two mail hosts answers"),
    ),
    "Database": (
        provoked(lambda: parse_dsn("postgresql://forms:secret@db")),
        DatabaseUnusable(FOLDER / "data" / "forms.db", "missing folder", "unable to open database file"),
        TableTaken("forms", "forms.store.Forms", "polls.store.Forms"),
        TableNotMade("forms", "forms.store.Forms", 'near "ordr": syntax error'),
        NoDatabase(),
        DatabaseClosed("/srv/forms/forms.db"),
        OutsideWorker("MainThread"),
        TransactionLeftOpen("forms.store.rename"),
        UnknownDatabase("order", ("orders", "users")),
        DatabaseNotUp(SERVER, "refused", "Connection refused"),
        DatabaseUnavailable(SERVER, "password", 'password authentication failed for user "forms"', "forms"),
        PoolExhausted(
            SERVER, 10.0, 2, (ConnectionHolder("a transaction opened at /srv/forms/store.py:31 in Task-7", 12.4),)
        ),
        QueryTimeout(SERVER, "forms.store.report", 35.0),
        TransactionConflict("deadlock detected", 2, "forms.store.rename"),
        TransactionAborted("/srv/forms/store.py:31"),
        Fenced("billing", 48213, 48377),
        FenceOutsideTransaction("billing"),
        TransactionOfAnotherTask("Task-9", "Task-7", "/srv/forms/store.py:31"),
        BulkInterrupted("forms", 5000, 3000, 2, 1000, 3000, DatabaseUnavailable.lost(SERVER, "server closed it")),
        BulkRefused("Form", "has no field titel", "Did you mean title?", "Name fields of the model."),
    ),
    "Migrations": MIGRATIONS,
    "Monitoring": (PrometheusClientMissing(),),
    "Cache": (
        BadKey("form 7", "has a space or control character in it"),
        BadValue("form:7", "str"),
        ValueTooLarge("form:7", 70_000_000, 64_000_000, "CACHE_MAX_SIZE"),
        CacheClosed(),
        CacheDown("cache.example:11211", "refused the connection"),
        trouble_of_reply("cache.example:6379", "WRONGPASS invalid username-password pair or user is disabled."),
        NotANumber("hits"),
        NotSerializable("form:7", "Form", "json", "Type is not JSON serializable: Form"),
        UnknownSerializer("jsn"),
        PackageMissing("msgpack", "msgpack", "The serializer msgpack"),
        EncryptionKeyRefused(2, 2),
        FactoryCancelled("form:7"),
        FactoryNeedsItself("form:7"),
        NoCache(),
        NoSyncClient(),
        TlsFileUnusable("CACHE_TLS_CA", FOLDER / "ca.pem", "No such file or directory"),
        provoked(lambda: parse_url("memcache://cache.example")),
    ),
    "Kubernetes": (*KUBERNETES, MountMissing(Path("/etc/forms")), VersionUnusable("forms", "shop", "v1:abc")),
    "Kubernetes manifests": (
        ManifestsRefused(
            "the health probes are switched off.",
            "ENABLE_HEALTH_CHECK is false, and the kubelet could not tell whether a pod serves.",
            "Set ENABLE_HEALTH_CHECK=true.",
        ),
        provoked(lambda: read_text("kind: Deployment\nmetadata:\n\tname: forms\n", "deploy/forms.yaml")),
    ),
}
