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
    absent = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=_path()) is None]
    return f"{', '.join(absent)}: not installed (slurm-wlm, munge)" if absent else None


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Inside, the cluster runs; gives what an environment needs for its commands."""
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
    environment = {**os.environ, "PATH": _path()}
    own = ("socket", "key-file", "log-file", "pid-file", "seed-file")
    munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in own]
    commands = (
        ["munged", "--foreground", "--force", *munge],
        ["slurmctld", "-D", "-f", conf],
        ["slurmd", "-D", "-f", conf, "-N", host],
    )
    SYSTEM.parent.mkdir(exist_ok=True)
    SYSTEM.unlink(missing_ok=True)  # a link that a killed run left
    SYSTEM.symlink_to(conf)
    with contextlib.ExitStack() as stack:
        stack.callback(SYSTEM.unlink)
        for command in commands:
            log = stack.enter_context((folder / f"{command[0]}.out").open("wb"))
            started = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(_end, started)
            time.sleep(1)
        _wait_until_idle(environment, folder)
        yield {"PATH": environment["PATH"]}


def _path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    for _ in range(60):
        done = subprocess.run(
            ["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True, text=True
        )
        if done.stdout.strip() == "idle":
            return
        time.sleep(1)
    logs = "".join(file.read_text()[-1000:] for file in sorted(folder.glob("*.log")))
    raise TimeoutError(f"{done.stdout}{done.stderr}\n{logs}")


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
