"""A real slurm of one node on this machine, with keys, sockets and state in a folder of its own.

Its configuration is linked from `/etc/slurm`, since Snakemake takes slurm's variables out of the
environment of a job.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "squeue", "scontrol", "scancel", "srun")

SYSTEM = Path("/etc/slurm/slurm.conf")
CONF = """
ClusterName=mill
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=60
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000
PartitionName=mill Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why there can be no cluster here, or None."""
    if os.geteuid():
        return "slurm's daemons are started as root"
    if SYSTEM.exists():
        return "this machine belongs to a cluster"
    if any(process.info["name"] == "slurmd" for process in psutil.process_iter(["name"])):
        return "another node of slurm runs on this machine"
    absent = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=_path()) is None]
    return f"{', '.join(absent)}: not installed (slurm-wlm, munge)" if absent else None


class Cluster:
    """What runs, with what an environment needs for its commands."""

    def __init__(self, folder: Path, host: str):
        self.folder, self.host = folder, host
        self.environment = {"PATH": _path()}
        self._daemons: dict[str, subprocess.Popen] = {}

    def start(self, command: list[str | Path]) -> None:
        """Start a daemon."""
        name = str(command[0])
        with (self.folder / f"{name}.out").open("ab") as log:
            environment = {**os.environ, **self.environment}
            self._daemons[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        time.sleep(1)

    def start_node(self) -> None:
        """Start the node's daemon, and wait until jobs may go to it."""
        self.start(["slurmd", "-D", "-f", self.folder / "slurm.conf", "-N", self.host])
        self.wait_for_node("idle", "mix", "alloc")

    def kill_node(self) -> None:
        """Kill the node's daemon with all that its jobs run, as a machine dies, and wait until the
        controller has noticed.
        """
        node = self._daemons.pop("slurmd")
        begun = psutil.Process(node.pid).create_time()
        node.kill()
        node.wait()
        for step in psutil.process_iter(["name", "create_time"]):
            if step.info["name"] != "slurmstepd" or step.info["create_time"] < begun:
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                # The step first: it must not live to tell the controller that its job failed.
                for process in [step, *step.children(recursive=True)]:
                    process.kill()
        self.wait_for_node("down")

    def wait_for_node(self, *states: str) -> None:
        """Wait until the controller says that the node is in one of the states."""
        environment = {**os.environ, **self.environment}
        for _ in range(120):
            done = subprocess.run(
                ["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True, text=True
            )
            if done.stdout.strip().rstrip("*") in states:
                return
            time.sleep(1)
        logs = "".join(file.read_text()[-1000:] for file in sorted(self.folder.glob("*.log")))
        raise TimeoutError(f"{done.stdout}{done.stderr}\n{logs}")

    def end(self) -> None:
        """End every daemon, the last first."""
        for process in reversed(self._daemons.values()):
            _end(process)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Inside, the cluster runs."""
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    conf = folder / "slurm.conf"
    controller, node = _free_port(), _free_port()
    conf.write_text(CONF.format(folder=folder, host=host, controller=controller, node=node))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    own = ("socket", "key-file", "log-file", "pid-file", "seed-file")
    munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in own]
    SYSTEM.parent.mkdir(exist_ok=True)
    SYSTEM.unlink(missing_ok=True)  # a link that a killed run left
    SYSTEM.symlink_to(conf)
    cluster = Cluster(folder, host)
    try:
        cluster.start(["munged", "--foreground", "--force", *munge])
        cluster.start(["slurmctld", "-D", "-f", conf])
        cluster.start_node()
        yield cluster
    finally:
        cluster.end()
        SYSTEM.unlink()


def _path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
