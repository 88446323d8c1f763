"""A real Slurm of two nodes on this machine, bound to the loopback interface."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
MISSING = [name for name in PROGRAMS if not shutil.which(name)]
OF_ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacct", "sacctmgr")
NO_ACCOUNTING = [name for name in OF_ACCOUNTING if not shutil.which(name)]

CONFIGURATION = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=10000
{accounting}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
JobCompType=jobcomp/none
ReturnToService=2
MailProg=/bin/true
MaxArraySize={array}
MaxJobCount=5000
KillWait=2
BatchStartTimeout=1
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=3 RealMemory=30000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=3 RealMemory=30000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

NO_RECORDS = "AccountingStorageType=accounting_storage/none"
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations,limits,qos
"""

DATABASE = """\
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
CommunicationParameters=NoInAddrAny
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


class Cluster:
    """The cluster; a context manager that ends every process that it started.

    Args:
        folder: takes configuration, logs and state; its path is short, for it holds a socket.
        accounting: whether a database records the jobs.
        array: MaxArraySize.
    """

    def __init__(self, folder: Path, accounting: bool = False, array: int = 1001) -> None:
        self.folder, self.accounting, self.array = folder, accounting, array
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self.processes: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Cluster":
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def begin(self) -> None:
        for name in ("state", "n1", "n2"):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        control, first, second, port = free_ports(4)
        recorded = ACCOUNTING.format(folder=self.folder, port=port) if self.accounting else NO_RECORDS
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=socket.gethostname(), folder=self.folder, control=control, first=first, second=second,
                accounting=recorded, array=self.array,
            )
        )  # fmt: skip
        files = {"key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed", "socket": "socket"}
        places = [f"--{flag}={self.folder}/munge.{ending}" for flag, ending in files.items()]
        self.start("munged", "--foreground", "--force", *places)
        wait_until((self.folder / "munge.socket").exists)
        if self.accounting:
            self.start_database(port)
        self.start("slurmctld", "-D", "-c")
        for node in ("n1", "n2"):
            self.start_node(node)
        wait_until(lambda: self.ask("sinfo", "--noheader", "--format=%t %D").strip() == "idle 2")

    def __exit__(self, *_: object) -> None:
        try:
            if "n2" in self.processes:  # what a job started outlives slurmd
                self.ask("scancel", "--user=root")
                wait_until(lambda: not self.ask("squeue", "--noheader"))
        finally:
            for name in reversed(self.processes):
                self.processes[name].kill()
                self.processes[name].wait()

    def start(self, program: str, *words: str, name: str = "", **environment: str) -> None:
        with open(self.folder / f"{name or program}.out", "ab") as out:
            self.processes[name or program] = subprocess.Popen(
                [program, *words],
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def start_database(self, port: int) -> None:
        """Start a database and what writes Slurm's records to it, and enter this cluster."""
        (database,) = free_ports(1)
        data, access = self.folder / "data", self.folder / "slurmdbd.conf"
        where = ("--no-defaults", "--user=root", f"--datadir={data}")
        subprocess.run(["mariadb-install-db", *where, "--skip-test-db"], check=True, capture_output=True)
        users = self.folder / "users.sql"
        user = "slurm@'127.0.0.1'"
        users.write_text(f"create user {user} identified by 'slurm';\ngrant all on slurm.* to {user};\n")
        own = (f"--socket={self.folder}/db.socket", f"--port={database}", "--bind-address=127.0.0.1")
        small = ("--innodb-buffer-pool-size=32M", "--skip-name-resolve", f"--init-file={users}")
        self.start("mariadbd", *where, *own, *small)
        wait_until((self.folder / "db.socket").exists)
        access.write_text(DATABASE.format(host=socket.gethostname(), folder=self.folder, port=port, database=database))
        access.chmod(0o600)
        self.start("slurmdbd", "-D")
        wait_until(lambda: "here" in self.ask("sacctmgr", "-i", "add", "cluster", "here"))

    def start_node(self, node: str) -> None:
        self.start("slurmd", "-D", "-N", node, name=node, SLURMD_NODENAME=node)

    def crash(self, node: str) -> None:
        """Kill slurmd and all that it started, as if the node lost its power."""
        wanted = {f"SLURMD_NODENAME={node}", f"SLURM_CONF={self.environment['SLURM_CONF']}"}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if wanted <= set((process / "environ").read_text(errors="replace").split("\0")):
                    os.kill(int(process.name), signal.SIGKILL)
        self.processes[node].wait()

    def ask(self, *words: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(words, env={**os.environ, **self.environment}, capture_output=True, text=True)
        return done.stdout


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def main() -> None:
    """Start the cluster, say how to use it, and end it with Ctrl-C."""
    if MISSING:
        raise SystemExit(f"Slurm: {', '.join(MISSING)} not installed; on Debian: apt-get install slurm-wlm munge")
    with tempfile.TemporaryDirectory(prefix="slurm") as folder, Cluster(Path(folder) / "c") as cluster:
        print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
