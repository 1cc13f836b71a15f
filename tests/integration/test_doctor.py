"""`sidecar doctor`: silent where all is well, and for each planted fault it finds that one."""

import fcntl
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from examiner import NOBODY
from patients import ENVIRONMENT, REAL, Examiner, Patient
from processes import Process, Serve
from sidecar.devnet.hyperliquid.files import STREAMS
from sidecar.doctor.table import CHECKS, SETTINGS
from sidecar.node.ipc import IpcDirectory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root plants what others may not read")
Plant = Callable[[Patient], None]


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    with closing(Examiner()) as examiner:
        yield examiner


@pytest.fixture
def patient(examiner: Examiner) -> Iterator[Patient]:
    with ExitStack() as stack:
        path = Path(tempfile.mkdtemp(prefix="doctor-"))
        stack.callback(shutil.rmtree, path)
        path.chmod(0o755)
        yield Patient(path, stack, examiner)


def unknown_key(patient: Patient) -> None:
    patient.native()
    patient.config("[server]\nprot = 1\n[orders]\n")


def impossible_value(patient: Patient) -> None:
    patient.settings["server-port"] = "70000"


def misspelt_variable(patient: Patient) -> None:
    patient.native()
    patient.environment["SIDECAR_SERVER_PROT"] = "1"


def open_config(patient: Patient) -> None:
    patient.native()
    patient.config("[log]\nlevel = 'info'\n").chmod(0o666)


def open_tokens(patient: Patient) -> None:
    patient.native()
    tokens = patient.path / "tokens"
    tokens.write_text(f"desk read {'0' * 64}\n")
    tokens.chmod(0o644)
    patient.settings["server-tokens-file"] = str(tokens)


def hidden_tokens(patient: Patient) -> None:
    open_tokens(patient)
    Path(patient.settings["server-tokens-file"]).chmod(0o600)
    patient.as_nobody = True


def no_source(patient: Patient) -> None:
    patient.settings["source-path"] = str(patient.path / "elsewhere")


def hidden_source(patient: Patient) -> None:
    patient.native()
    patient.ipc.root.chmod(0o700)
    patient.as_nobody = True


def native_for_hyperliquid(patient: Patient) -> None:
    patient.hyperliquid()
    patient.settings["source-kind"] = "native"
    del patient.settings["source-snapshot"]


def remote_source(patient: Patient) -> None:
    patient.native()
    line = f"23 22 0:9 / {patient.ipc.root} rw - nfs4 host:/node rw\n"
    patient.plant("proc/self/mountinfo", f"22 1 8:1 / / rw - ext4 /dev/sda rw\n{line}")


def unknown_format(patient: Patient) -> None:
    patient.native()
    patient.ipc.chain_file.write_text(
        '{"format":"node-log/9","chain":"x","genesis_ns":0,"block_ms":1}'
    )


def retired_log(patient: Patient) -> None:
    patient.native(segment_blocks=5)
    min(patient.ipc.log.iterdir()).unlink()


def late_snapshot(patient: Patient) -> None:
    """The log does not go back to the newest one."""
    retired_log(patient)
    patient.snapshot(1)


def damaged_snapshot(patient: Patient) -> None:
    patient.native()
    patient.snapshot(1)
    path = patient.snapshot(2)
    path.write_bytes(path.read_bytes()[:-1])


def no_submission(patient: Patient) -> None:
    patient.native()
    patient.ipc.submit_socket.unlink()


def dead_submission(patient: Patient) -> None:
    no_submission(patient)
    patient.listen(patient.ipc.submit_socket).close()


def closed_submission(patient: Patient) -> None:
    patient.native()
    patient.ipc.submit_socket.chmod(0o700)
    patient.as_nobody = True


def node_stopped(patient: Patient) -> None:
    with ExitStack() as stack:
        patient.stack, before = stack, patient.stack
        patient.native()
    patient.stack = before
    patient.ipc.submit_socket.unlink()
    patient.listen(patient.ipc.submit_socket)


def blocks_from_the_future(patient: Patient) -> None:
    patient.native(late_s=-60)


def blocks_of_the_past(patient: Patient) -> None:
    patient.native(late_s=60)


def no_diffs(patient: Patient) -> None:
    patient.hyperliquid()
    (patient.data / "node_raw_book_diffs_by_block").rename(patient.path / "gone")


def diffs_by_event(patient: Patient) -> None:
    patient.hyperliquid()
    diffs = patient.data / "node_raw_book_diffs_by_block"
    diffs.rename(patient.data / "node_raw_book_diffs")


def rows_of_events(patient: Patient) -> None:
    patient.hyperliquid()
    hourly = patient.data / "node_fills_by_block" / "hourly"
    (hourly / "29990101").mkdir()
    (hourly / "29990101" / "1").write_text('{"coin":"BTC"}\n')


def hyperliquid_for_native(patient: Patient) -> None:
    patient.native()
    snapshot = patient.path / "l4.json"
    snapshot.write_text("[1,[]]")
    patient.settings |= {"source-kind": "hyperliquid", "source-snapshot": str(snapshot)}


def full_disk(patient: Patient) -> None:
    patient.native()
    patient.mount("size=8m")


def no_inodes(patient: Patient) -> None:
    patient.native()
    patient.mount("size=128m,nr_inodes=8")


def crowded_disk(patient: Patient) -> None:
    """Node and checkpoints on one of 512 MiB."""
    patient.mount("size=512m")
    patient.ipc = IpcDirectory(patient.own / "ipc")
    patient.settings["source-path"] = str(patient.ipc.root)
    patient.native()


def buffered_files(patient: Patient) -> None:
    patient.hyperliquid(behind_s=0.5)


def nothing_to_start_from(patient: Patient) -> None:
    patient.hyperliquid()
    del patient.settings["source-snapshot"]


def half_snapshot(patient: Patient) -> None:
    patient.hyperliquid()
    Path(patient.settings["source-snapshot"]).write_text("[1,[")


def no_info_server(patient: Patient) -> None:
    patient.hyperliquid()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    patient.settings["source-info-url"] = f"http://127.0.0.1:{port}/info"


def closed_snapshot_directory(patient: Patient) -> None:
    patient.hyperliquid()
    patient.settings["source-snapshot-directory"] = str(patient.directory("l4"))
    patient.as_nobody = True


def few_instances(patient: Patient) -> None:
    patient.native()
    patient.plant("proc/sys/fs/inotify/max_user_instances", "0\n")


def few_watches(patient: Patient) -> None:
    patient.native()
    patient.plant("proc/sys/fs/inotify/max_user_watches", "8\n")


def few_descriptors(patient: Patient) -> None:
    patient.native()
    patient.descriptors = 100


def short_backlog(patient: Patient) -> None:
    patient.native()
    patient.plant("proc/sys/net/core/somaxconn", "128\n")


def small_buffers(patient: Patient) -> None:
    patient.native()
    patient.plant("proc/sys/net/core/wmem_max", "4096\n")


def taken_port(patient: Patient) -> None:
    patient.native()
    taken = patient.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    patient.settings["server-port"] = str(taken.getsockname()[1])


def taken_operator_port(patient: Patient) -> None:
    taken_port(patient)
    patient.settings["operator-port"] = patient.settings["server-port"]
    patient.settings["server-port"] = "0"


def foreign_address(patient: Patient) -> None:
    patient.native()
    patient.settings["server-host"] = "192.0.2.1"


def closed_socket_directory(patient: Patient) -> None:
    patient.native()
    patient.settings["server-host"] = f"unix:{patient.directory('run')}/api.sock"
    patient.as_nobody = True


def exposed_operator(patient: Patient) -> None:
    patient.native()
    patient.settings["operator-host"] = "0.0.0.0"


def no_checkpoints(patient: Patient) -> None:
    patient.native()
    del patient.settings["checkpoint-directory"]


def closed_checkpoints(patient: Patient) -> None:
    patient.native()
    os.chown(patient.own, 0, 0)
    patient.as_nobody = True


def another_sidecar(patient: Patient) -> None:
    patient.native()
    fd = os.open(patient.own, os.O_RDONLY)
    patient.stack.callback(os.close, fd)
    fcntl.flock(fd, fcntl.LOCK_EX)


def little_memory(patient: Patient) -> None:
    patient.native()
    patient.plant("proc/meminfo", "MemAvailable:   16000 kB\n")


def little_memory_by_unified_groups(patient: Patient) -> None:
    patient.native()
    patient.plant("proc/self/cgroup", "0::/system.slice/sidecar.service\n")
    patient.plant("sys/fs/cgroup/system.slice/sidecar.service/memory.max", "max\n")
    patient.plant("sys/fs/cgroup/system.slice/memory.max", "16000000\n")


def little_memory_by_groups(patient: Patient) -> None:
    patient.native()
    patient.plant("proc/self/cgroup", "4:memory:/docker/1\n")
    patient.plant("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "16000000\n")


def many_workers(patient: Patient) -> None:
    patient.native()
    cores = len(os.sched_getaffinity(0))
    if cores >= 64:
        pytest.skip("there are as many cores as there can be workers")
    patient.settings["workers"] = str(cores + 1)


def no_such_core(patient: Patient) -> None:
    patient.native()
    patient.settings["process-cpus"] = "4000"


def too_urgent(patient: Patient) -> None:
    patient.native()
    patient.settings["process-nice"] = "-20"
    patient.as_nobody = True


def swapped(patient: Patient) -> None:
    patient.native()
    patient.plant("proc/17/cmdline", "/opt/sidecar/bin/python\0/opt/sidecar/bin/sidecar\0serve\0")
    patient.plant("proc/17/status", "VmSwap:\t    2048 kB\n")


def old_package(patient: Patient) -> None:
    patient.native()
    dist = patient.directory("lib") / "rich-1.0.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: rich\nVersion: 1.0\n")
    patient.libraries = [str(dist.parent)]


def broken_loop(patient: Patient) -> None:
    patient.native()
    (patient.directory("lib") / "uvloop.py").write_text("raise ImportError('planted')\n")
    patient.libraries = [str(patient.path / "lib")]


FAULTS: list[tuple[Plant, str, str]] = [
    (unknown_key, "error", "settings"),
    (impossible_value, "error", "settings"),
    (misspelt_variable, "error", "settings"),
    (open_config, "warning", "config-mode"),
    (open_tokens, "warning", "tokens"),
    (hidden_tokens, "error", "tokens"),
    (no_source, "error", "source"),
    (hidden_source, "error", "source"),
    (remote_source, "warning", "source-filesystem"),
    (unknown_format, "error", "log-format"),
    (retired_log, "error", "start"),
    (late_snapshot, "error", "start"),
    (damaged_snapshot, "warning", "start"),
    (no_submission, "error", "submission"),
    (dead_submission, "error", "submission"),
    (closed_submission, "error", "submission"),
    (node_stopped, "error", "motion"),
    (blocks_from_the_future, "error", "block-times"),
    (blocks_of_the_past, "error", "block-times"),
    (no_diffs, "error", "streams"),
    (diffs_by_event, "error", "streams"),
    (buffered_files, "warning", "buffering"),
    (nothing_to_start_from, "error", "snapshot"),
    (half_snapshot, "error", "snapshot"),
    (no_info_server, "error", "info-server"),
    (closed_snapshot_directory, "error", "snapshot-directory"),
    (few_instances, "warning", "inotify"),
    (few_watches, "warning", "inotify"),
    (few_descriptors, "warning", "descriptors"),
    (short_backlog, "warning", "backlog"),
    (small_buffers, "warning", "tcp-buffers"),
    (full_disk, "warning", "disk"),
    (no_inodes, "warning", "disk"),
    (crowded_disk, "warning", "shared-disk"),
    (taken_port, "error", "server-port"),
    (taken_operator_port, "error", "operator-port"),
    (foreign_address, "error", "server-port"),
    (closed_socket_directory, "error", "server-port"),
    (exposed_operator, "warning", "exposure"),
    (no_checkpoints, "warning", "checkpoints"),
    (closed_checkpoints, "error", "checkpoints"),
    (another_sidecar, "error", "lock"),
    (little_memory, "warning", "memory"),
    (little_memory_by_unified_groups, "warning", "memory-limit"),
    (little_memory_by_groups, "warning", "memory-limit"),
    (many_workers, "warning", "cores"),
    (no_such_core, "error", "cores"),
    (too_urgent, "error", "nice"),
    (swapped, "warning", "swap"),
    (old_package, "error", "packages"),
    (broken_loop, "error", "uvloop"),
]


@pytest.mark.parametrize(
    ("plant", "severity", "check"), FAULTS, ids=[plant.__name__ for plant, *_ in FAULTS]
)
def test_a_planted_fault_is_found_and_nothing_else(
    patient: Patient, plant: Plant, severity: str, check: str
) -> None:
    plant(patient)
    found = patient.findings()
    assert [(one["severity"], one["check"]) for one in found] == [(severity, check)], found
    assert all(one["remedy"] and one["where"] and one["what"] for one in found)


@pytest.mark.parametrize("plant", [native_for_hyperliquid, hyperliquid_for_native])
def test_one_kind_of_node_for_the_other(patient: Patient, plant: Plant) -> None:
    """All that is looked for in the wrong place is missing, too."""
    plant(patient)
    found = patient.findings()
    assert found[0]["check"] == "source-kind"
    assert found[0]["value"] == f'source.kind = "{patient.settings["source-kind"]}"'


def test_rows_that_are_no_blocks(patient: Patient) -> None:
    """Of a stream that does not grow."""
    rows_of_events(patient)
    assert {one["check"] for one in patient.findings()} == {"rows", "motion"}


def test_who_holds_a_port_is_named(patient: Patient) -> None:
    taken_port(patient)
    patient.root = Path("/")
    found = {one["check"]: one["value"] for one in patient.findings()}
    assert f"process {os.getpid()}: " in found["server-port"]


def test_a_port_that_systemd_holds_for_the_service_is_free(patient: Patient) -> None:
    taken_port(patient)
    for name in REAL:
        patient.plant(name, Path("/", name).read_text())
    port = int(patient.settings["server-port"])
    assert [one["check"] for one in patient.findings()] == ["server-port"]
    inode = next(
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()
        if f":{port:04X} 00000000:0000 0A" in line
    )
    patient.plant("proc/1/cmdline", "/sbin/init\0")
    (patient.root / "proc/1/fd").mkdir()
    (patient.root / "proc/1/fd/9").symlink_to(f"socket:[{inode}]")
    assert not patient.findings()


def test_all_unknown_keys_are_named_at_once(patient: Patient) -> None:
    patient.config("[server]\nprot = 1\nhots = 2\n[orders]\n[sauce]\n")
    patient.environment["SIDECAR_SERVER_PROT"] = "1"
    found = {one["value"]: one["remedy"] for one in patient.findings()}
    assert found.keys() == {"server.prot", "server.hots", "sauce", "SIDECAR_SERVER_PROT"}
    assert found["server.prot"] == "write server.port"
    assert found["SIDECAR_SERVER_PROT"] == "set SIDECAR_SERVER_PORT"


def test_it_speaks_to_people(patient: Patient) -> None:
    """Findings, passed checks with -v, and exit codes."""
    no_checkpoints(patient)
    root = ("--root", str(patient.root))
    code, output = patient.doctor(*root, "-v")
    lines = output.splitlines()
    assert code == 0
    assert "warning  checkpoints: no checkpoints are kept" in output
    assert "ok       motion: new blocks come" in lines
    for name in ("streams", "disk", "nice"):  # no such node, no such setting
        assert not any(line.startswith(f"ok       {name}:") for line in lines)
    assert lines[-1].startswith("0 errors, 2 warnings; ")
    assert patient.doctor(*root, "--strict")[0] == 1


def test_it_changes_nothing(patient: Patient) -> None:
    patient.native()
    shutil.rmtree(patient.own)
    assert not patient.findings()
    assert not patient.own.exists()


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[Process, Path]]:
    """A running development chain, which is a Hyperliquid node, too; everybody may look at it."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as name:
        path = Path(name)
        path.chmod(0o755)
        ipc, data = path / "ipc", path / "data"
        flags = ("--block-ms", "50", "--hyperliquid", str(data), "--info-port", "0")
        chain = Process(path / "output", "devnet", "--path", str(ipc), *flags)
        try:
            chain.wait_for('"info server"')
            while not IpcDirectory(ipc).submit_socket.exists() or len(
                list(data.glob("*/*/*/*"))
            ) < len(STREAMS):
                assert chain.running
                time.sleep(0.01)
            yield chain, path
        finally:
            chain.kill()


@pytest.fixture
def chain(patient: Patient, node: tuple[Process, Path]) -> Process:
    """The patient's node is that one, which no test changes."""
    chain, path = node
    patient.ipc, patient.data = IpcDirectory(path / "ipc"), path / "data"
    patient.settings["source-path"] = str(patient.ipc.root)
    return chain


def test_it_is_silent_beside_a_healthy_chain(patient: Patient, chain: Process) -> None:
    assert not patient.findings()


def test_it_is_silent_beside_a_healthy_hyperliquid_node(patient: Patient, chain: Process) -> None:
    port = chain.wait_for(r'"port": (\d+), "event": "info server"')[1]
    patient.settings |= {
        "source-kind": "hyperliquid",
        "source-path": str(patient.data),
        "source-info-url": f"http://127.0.0.1:{port}/info",
    }
    assert not patient.findings()


def test_a_healthy_machine_in_a_word(patient: Patient, chain: Process) -> None:
    patient.as_nobody = True
    patient.ipc.submit_socket.chmod(0o777)
    code, output = patient.doctor("--root", str(patient.root), "--strict")
    if any(f" {name}: " in output for name in ENVIRONMENT):
        pytest.skip("nobody may not read this Python environment")
    assert re.fullmatch(r"healthy: \d+ checks\n", output), output
    assert code == 0


def test_a_sidecar_that_runs_is_not_in_its_own_way(
    patient: Patient, chain: Process, serve: Serve
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    os.chown(patient.own, os.geteuid(), NOBODY)  # whose checkpoints are believed
    patient.own.chmod(0o770)
    own = ("--checkpoint-directory", str(patient.own))
    server = serve("--source-path", str(patient.ipc.root), "--operator-port", port, *own)
    patient.settings |= {"server-port": str(server.port), "operator-port": port}
    assert [one["check"] for one in patient.findings()] == ["running"]
    assert server.stop() == 0
    assert not patient.findings()


DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "doctor.md"


def test_the_document_has_every_check() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| ([a-z, ]+) \| .+ \| .+ \|$", DOCUMENT.read_text(), re.MULTILINE
    )
    assert [name for name, _ in rows] == [SETTINGS, *(check.name for check in CHECKS)]
    told = dict(rows)
    assert all(severity in told[check] for _, severity, check in FAULTS)
