"""Ports that cannot be listened on: the whole message a person gets."""

from __future__ import annotations

import errno
import os
import shlex
import socket
import subprocess
import sys

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.server import holder, ports
from eggycore.server.holder import Holder, port_holder
from eggycore.server.http import HTTPServer
from eggycore.server.ports import (
    CannotListen,
    HostNotHere,
    HostUnknown,
    PortForbidden,
    PortTaken,
    bind_error,
    bind_port,
)

LISTEN = """
import socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process():
    """Another process that listens; its pid and its port."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, "--password=hunter2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process.pid, int(process.stdout.readline())
        process.stdin.close()


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def test_a_port_of_another_process_is_diagnosed_with_its_pid_and_command(other_process):
    pid, port = other_process
    server = HTTPServer(host="127.0.0.1", port=port)
    with pytest.raises(PortTaken) as caught:
        await server.start()
    error = caught.value
    assert (error.port, error.setting, error.holder.pid) == (port, "BUSINESS_HTTP_PORT", pid)
    assert error.holder.command.startswith(f"{shlex.quote(sys.executable)} -c")
    assert "hunter2" not in error.holder.command
    assert render(diagnose(error)) == (
        f"Port {port} (BUSINESS_HTTP_PORT) is already in use.\n"
        f"  cause:  Process {pid} listens there: {error.holder.command}\n"
        f"  action: Stop it with `kill {pid}`, or set BUSINESS_HTTP_PORT to another port."
    )


async def test_who_binds_too_and_listens_second_is_told_as_well():
    """The system lets several bind one port, until one of them listens: two instances that start together."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = HTTPServer(host="127.0.0.1", port=port)
    others: list[socket.socket] = []

    async def listen_first(app: object) -> None:
        others.append(socket.create_server(("127.0.0.1", port)))

    server.app.on_startup.append(listen_first)
    with pytest.raises(PortTaken):
        await server.start()
    await server.stop()
    others[0].close()


def test_a_port_of_this_process_is_diagnosed_as_such(taken):
    with pytest.raises(PortTaken) as caught:
        bind_port("127.0.0.1", taken, "HEALTH_CHECK_PORT")
    assert caught.value.holder.pid == os.getpid()
    assert render(diagnose(caught.value)) == (
        f"Port {taken} (HEALTH_CHECK_PORT) is already in use.\n"
        "  cause:  This very process listens there already.\n"
        "  action: Set HEALTH_CHECK_PORT to a port of its own."
    )


@pytest.mark.parametrize(
    ("platform", "command"),
    [("linux", "ss -ltnp 'sport = :{port}'"), ("darwin", "lsof -nP -iTCP:{port} -sTCP:LISTEN")],
)
def test_a_port_whose_holder_is_not_told_comes_with_the_command_that_finds_it(taken, monkeypatch, platform, command):
    monkeypatch.setattr(ports, "port_holder", lambda port: None)
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(PortTaken) as caught:
        bind_port("127.0.0.1", taken, "BUSINESS_HTTP_PORT")
    assert render(diagnose(caught.value)) == (
        f"Port {taken} (BUSINESS_HTTP_PORT) is already in use.\n"
        "  cause:  The system does not tell which process has it.\n"
        f"  action: Find it with `{command.format(port=taken)}` and stop it, or set BUSINESS_HTTP_PORT to another port."
    )


def test_a_port_taken_on_every_address_is_found_as_well():
    with socket.create_server(("0.0.0.0", 0)) as listening, pytest.raises(PortTaken):
        bind_port("127.0.0.1", listening.getsockname()[1], "BUSINESS_HTTP_PORT")


def failing_with(monkeypatch, code):
    def refuse(family, address):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(ports, "_bound", refuse)


def test_a_port_that_is_not_allowed_is_diagnosed(monkeypatch):
    failing_with(monkeypatch, errno.EACCES)  # who runs the tests may be root
    with pytest.raises(PortForbidden) as caught:
        bind_port("127.0.0.1", 80, "BUSINESS_HTTP_PORT")
    assert render(diagnose(caught.value)) == (
        "Port 80 (BUSINESS_HTTP_PORT) may not be listened on by this user.\n"
        "  cause:  Ports below 1024 are reserved for root, unless the system allows them.\n"
        "  action: Set BUSINESS_HTTP_PORT to a port from 1024 up, and let the balancer or Service map 80 to it."
    )


def test_a_host_that_nobody_knows_is_diagnosed(monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")  # no test asks a name server

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(HostUnknown) as caught:
        bind_port("nowhere.invalid", 0, "BUSINESS_HTTP_PORT")
    assert render(diagnose(caught.value)) == (
        "The host 'nowhere.invalid' (BIND_HOST) is not known.\n"
        "  cause:  Its address cannot be found: Name or service not known.\n"
        "  action: Set BIND_HOST to 127.0.0.1 for this machine alone, or to 0.0.0.0 for every network it is on."
    )


def test_a_host_of_another_machine_is_diagnosed():
    with pytest.raises(HostNotHere) as caught:
        bind_port("192.0.2.1", 0, "BUSINESS_HTTP_PORT")  # reserved for documentation, nobody's
    assert render(diagnose(caught.value)) == (
        "The host '192.0.2.1' (BIND_HOST) is not an address of this machine.\n"
        "  action: Set BIND_HOST to 127.0.0.1 for this machine alone, or to 0.0.0.0 for every network it is on."
    )


def test_any_other_reason_is_told_as_the_system_tells_it(monkeypatch):
    failing_with(monkeypatch, errno.EMFILE)
    with pytest.raises(CannotListen) as caught:
        bind_port("127.0.0.1", 80, "BUSINESS_HTTP_PORT")
    assert render(diagnose(caught.value)) == (
        "Nothing can listen on 127.0.0.1:80 (BUSINESS_HTTP_PORT).\n"
        "  cause:  The system says: Too many open files.\n"
        "  action: Set BUSINESS_HTTP_PORT or BIND_HOST to something the system allows."
    )


def test_every_address_of_a_host_gets_the_same_port(monkeypatch):
    monkeypatch.setattr(ports, "_addresses", lambda host, port: [(socket.AF_INET, f"127.0.0.{n}") for n in (1, 2)])
    bound = bind_port("localhost", 0, "BUSINESS_HTTP_PORT")
    assert len({one.getsockname()[1] for one in bound}) == 1
    assert [one.getsockname()[0] for one in bound] == ["127.0.0.1", "127.0.0.2"]
    for one in bound:
        one.close()


def test_an_address_family_that_is_switched_off_does_not_matter_while_another_is_there(monkeypatch):
    addresses = [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET, "127.0.0.1")]
    monkeypatch.setattr(ports, "_addresses", lambda host, port: addresses)
    [bound] = bind_port("localhost", 0, "BUSINESS_HTTP_PORT")
    assert bound.getsockname()[0] == "127.0.0.1"
    bound.close()


def test_what_was_bound_is_closed_when_the_rest_cannot_be(monkeypatch, taken):
    addresses = [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1")]
    monkeypatch.setattr(ports, "_addresses", lambda host, port: addresses)
    with pytest.raises(PortTaken):
        bind_port("localhost", taken, "BUSINESS_HTTP_PORT")
    ports._bound(socket.AF_INET, ("127.0.0.2", taken)).close()


def test_why_another_server_could_not_bind_is_found_out(taken):
    assert isinstance(bind_error("127.0.0.1", taken, "BUSINESS_GRPC_PORT"), PortTaken)
    error = bind_error("127.0.0.1", 0, "BUSINESS_GRPC_PORT")
    assert isinstance(error, CannotListen)
    assert diagnose(error).cause == "The system says: it failed, and succeeded when it was tried again."


async def test_a_failed_start_may_be_tried_again(taken, stack):
    server = HTTPServer(host="127.0.0.1", port=taken)
    with pytest.raises(PortTaken):
        await server.start()
    server._port = 0
    await server.start()
    stack.push_async_callback(server.stop, 0)
    assert server.address[1] not in (0, taken)


@pytest.fixture
def proc(tmp_path):
    """A /proc in which process 7 listens on port 8080."""
    (tmp_path / "net").mkdir()
    row = "   0: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  0  0 {inode} 1"
    rows = [
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        row.format(port=8080, state="01", inode=41),
        row.format(port=8080, state="0A", inode=42),
        row.format(port=9090, state="0A", inode=43),
    ]
    (tmp_path / "net" / "tcp").write_text("\n".join(rows) + "\n")
    for pid, inode in ((6, 43), (7, 42)):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "fd" / "3").symlink_to(f"socket:[{inode}]")
        (tmp_path / str(pid) / "cmdline").write_text("python\0-m\0http server\0")
    return tmp_path


def test_the_holder_is_found_by_the_inode_of_its_listening_socket(proc):
    assert port_holder(8080, proc) == Holder(7, "python -m 'http server'")
    assert port_holder(8081, proc) is None


def test_a_kernel_thread_or_a_zombie_is_named_by_its_comm(proc):
    (proc / "7" / "cmdline").write_text("")
    (proc / "7" / "comm").write_text("python\n")
    assert port_holder(8080, proc) == Holder(7, "python")


def test_a_long_command_is_cut(proc):
    (proc / "7" / "cmdline").write_text("python\0" + "x" * 500)
    command = port_holder(8080, proc).command
    assert (len(command), command[-4:]) == (holder._COMMAND_LIMIT, "x...")


def test_nothing_is_told_where_there_is_no_proc(tmp_path):
    assert port_holder(8080, tmp_path / "none") is None


def test_a_process_that_may_not_be_looked_into_is_passed_over(proc, monkeypatch):
    def forbidden(process):
        return iter(()) if process.name == "7" else iter(["socket:[43]"])

    monkeypatch.setattr(holder, "_open_files", forbidden)
    assert port_holder(8080, proc) is None
