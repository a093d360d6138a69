"""A real Slurm on this machine's loopback, with GPUs that are only numbers, ready for SkyPilot to use.

    python -m tests.slurm.bed up FOLDER        as root, on Debian; prints what to export
    python -m tests.slurm.bed down FOLDER

Two nodes, each in a partition of its own: h100 and h200. SkyPilot reaches them by ssh as the Slurm cluster "bed".
Outside FOLDER it touches: Debian packages, the user `nightswarm-bed`, names in /etc/hosts (left there), and the
permission to pass through private parent folders of this Python (taken back by ``down``). One bed at a time: SkyPilot's
API server has one port.

What stands in SkyPilot's way on a machine like this, and what is done about it, is said where it is done.
"""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from swarm.executors.sky.registry import PREFIX
from tests.slurm.files import GRES_CONF, PROLOG, SLURM_CONF, SSHD_CONFIG, UV_SHIM
from tests.slurm.packages import NoBed, NotHere, certificates, install, run, uv, uv_env

USER = "nightswarm-bed"
NODES = ("h100-0", "h200-0")
SSH_PORT, SLURM_PORT = 2322, 17817  # and the nodes' daemons above it
SKYLET_PORT = 46590  # that SkyPilot's daemon of a cluster takes where it is free
DAEMONS = ("munged", "sshd", "slurmctld", *(f"slurmd-{node}" for node in NODES))


@dataclass(frozen=True, kw_only=True)
class Bed:
    """A bed in a folder, up or down."""

    folder: Path
    h100: int = 13  # devices of the node h100-0
    h200: int = 3  # devices of the node h200-0

    @property
    def env(self) -> dict[str, str]:
        """What a program needs in its environment to find the bed, and SkyPilot's state of its own there."""
        found = {
            "HOME": str(self.folder / "home"),
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        }
        if bundle := certificates():
            found["SSL_CERT_FILE"] = bundle
        return found

    @property
    def python(self) -> Path:
        """A Python with this environment's packages that the bed's user may run."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def shared(self) -> Path:
        """A folder that the clusters' jobs share, as a cluster's network file system would be."""
        return self.folder / "shared"

    # ── up ────────────────────────────────────────────────────────────────────────────────────────────────

    def up(self) -> None:
        """Install what is missing and start everything; returns when both nodes are idle. Raises NotHere, NoBed."""
        if os.getuid() != 0:
            raise NotHere("a Slurm bed needs root: it installs packages, makes a user and starts daemons")
        install()
        for name in ("run", "log", "state", "dev", "munge", "ssh", "uvcache", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._make_user()
        self._make_devices()
        self._make_keys()
        _name_hosts((*NODES, socket.gethostname()))
        self._open_python()
        self._write_files()
        self._prepare_skypilot()
        self._start_daemons()

    def _make_user(self) -> None:
        home = self.folder / "user"
        try:
            old = pwd.getpwnam(USER).pw_dir
        except KeyError:
            run("useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/bash", USER)
            run("usermod", "--password", "*", USER)  # no password fits; an account that is locked may not log in
        else:
            if old != str(home):
                run("usermod", "--home", str(home), USER)
        if not home.exists():
            shutil.copytree("/etc/skel", home)
        for path in (home, self.shared, self.folder / "uvcache"):
            path.mkdir(exist_ok=True)
            run("chown", "--recursive", f"{USER}:", str(path))

    def _make_devices(self) -> None:
        """Slurm wants a device file of its own for each GPU: copies of /dev/null."""
        for number in range(max(self.h100, self.h200)):
            path = self.folder / "dev" / f"nvidia{number}"
            try:
                os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            except FileExistsError:
                pass
            except PermissionError:
                raise NotHere("a Slurm bed needs device files, and this machine lets nobody make them") from None

    def _make_keys(self) -> None:
        for name in ("host", "user"):
            if not (self.folder / "ssh" / name).exists():
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "ssh" / name))
        key = self.folder / "munge" / "key"
        if not key.exists():
            key.write_bytes(os.urandom(128))
            key.chmod(0o400)
        public = (self.folder / "ssh" / "user.pub").read_text(encoding="ascii")
        (self.folder / "ssh" / "authorized_keys").write_text(public, encoding="ascii")

    def _open_python(self) -> None:
        """A venv that borrows this one's packages, on paths that the bed's user may pass through."""
        packages = Path(psutil.__file__).parents[1].resolve()
        torch = next((Path(p) for p in sys.path if (Path(p) / "torch").is_dir()), packages)
        base = Path(sys.base_prefix).resolve()
        opened = self.folder / "opened.txt"
        for path in (base, torch, self.folder):
            for parent in (path, *path.parents):
                if not parent.stat().st_mode & 0o001:
                    with opened.open("a", encoding="utf-8") as file:
                        file.write(f"{parent}\n")
                    parent.chmod(parent.stat().st_mode | 0o001)
        venv = self.folder / "venv"
        shutil.rmtree(venv, ignore_errors=True)  # one of an earlier checkout may lead nowhere
        run(str(base / "bin" / "python3"), "-m", "venv", "--without-pip", str(venv))
        own = next((venv / "lib").glob("python3*/site-packages"))
        own.rmdir()
        own.symlink_to(torch)  # a link, not a .pth file: what a sandbox shows is the folder it leads to

    def _write_files(self) -> None:
        """Slurm's and sshd's configuration, and what SkyPilot's setup of a node runs."""
        values = {
            "folder": self.folder,
            "user": USER,
            "host": socket.gethostname(),
            "h100": self.h100,
            "h200": self.h200,
            "last_h100": self.h100 - 1,
            "last_h200": self.h200 - 1,
            "cpus": max(64, 4 * max(self.h100, self.h200)),  # SkyPilot asks for 4 and 16 GB a GPU
            "memory": max(1_000_000, 16_384 * max(self.h100, self.h200)),
            "port": SLURM_PORT,
            "port_h100": SLURM_PORT + 1,
            "port_h200": SLURM_PORT + 2,
            "ssh_port": SSH_PORT,
            "skylet_port": SKYLET_PORT,
            "uv": uv(),
            "exports": "".join(f"export {name}={value}\n" for name, value in uv_env(self.folder).items()),
            "prints": "".join(f"echo 'export {name}={value}'\n" for name, value in uv_env(self.folder).items()),
            "ssh_env": f"SLURM_CONF={self.folder}/slurm.conf" + _maybe(" SSL_CERT_FILE=", certificates()),
        }
        for name, text in (
            ("slurm.conf", SLURM_CONF),
            ("gres.conf", GRES_CONF),
            ("sshd_config", SSHD_CONFIG),
            ("uv", UV_SHIM),
            ("prolog", PROLOG),
        ):
            (self.folder / name).write_text(text.format_map(values), encoding="utf-8")
        for name in ("uv", "prolog"):
            (self.folder / name).chmod(0o755)

    def _prepare_skypilot(self) -> None:
        """SkyPilot's own home: how it reaches the cluster, and a catalogue so that it downloads none."""
        home = self.folder / "home"
        if self._api_server() is None:  # what an earlier bed left on its books is gone
            shutil.rmtree(home / ".sky", ignore_errors=True)
        catalogue = home / ".sky" / "catalogs" / "v8" / "common"
        catalogue.mkdir(parents=True, exist_ok=True)
        (catalogue / "accelerators.csv").write_text("AcceleratorName,Clouds\nH100,\"['Slurm']\"\nH200,\"['Slurm']\"\n")
        (catalogue / "metadata.csv").write_text("GPU,MemoryGB,Manufacturer\nH100,80,NVIDIA\nH200,141,NVIDIA\n")
        (home / ".sky" / "config.yaml").write_text("slurm:\n  provision_timeout: 25\n")
        (home / ".slurm").mkdir(exist_ok=True)
        (home / ".slurm" / "config").write_text(
            f"Host bed\n  HostName 127.0.0.1\n  Port {SSH_PORT}\n  User {USER}\n"
            f"  IdentityFile {self.folder}/ssh/user\n  IdentitiesOnly yes\n"
        )

    def _start_daemons(self) -> None:
        """Start those that do not run."""
        Path("/run/sshd").mkdir(exist_ok=True)
        folder, conf = self.folder, str(self.folder / "slurm.conf")
        munge = [f"--{name}={folder}/{path}" for name, path in _MUNGE_FILES.items()]
        commands: dict[str, Sequence[str]] = {
            "munged": ("munged", "--force", *munge),
            "sshd": (_program("sshd"), "-f", str(folder / "sshd_config"), "-E", str(folder / "log" / "sshd.log")),
            "slurmctld": ("slurmctld", "-f", conf),
        }
        for name, (program, *arguments) in commands.items():
            if self._daemon(name) is None:
                run(_program(program), *arguments)
        for node in NODES:
            if self._daemon(f"slurmd-{node}") is None:
                self._start_node(node)
        self.wait_for(lambda: self.node_states() == dict.fromkeys(NODES, "idle"), "idle nodes", seconds=60)

    def _start_node(self, node: str) -> None:
        """Start a node's daemon where it sees no process but its own node's, as on a machine of its own: SkyPilot ends
        what it takes for an older daemon of a new cluster, and would find the other node's.
        """
        serve = f"{_program('slurmd')} -D -f {self.folder}/slurm.conf -N {node} & wait"  # a shell waits for orphans too
        with (self.folder / "log" / f"unshare-{node}.log").open("wb") as log:
            process = subprocess.Popen(
                ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", serve),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "run" / f"slurmd-{node}.pid").write_text(str(process.pid), encoding="ascii")

    # ── looking and acting ────────────────────────────────────────────────────────────────────────────────

    def slurm(self, *command: str) -> str:
        """What one of Slurm's own commands prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout.strip()

    def node_states(self) -> dict[str, str]:
        """Node -> idle, mixed, down, ..."""
        lines = self.slurm("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)  # type: ignore[misc]  # two words a line, as asked for

    def set_node(self, node: str, state: str) -> None:
        """Have an administrator's word on a node: DOWN ends its jobs, RESUME brings it back."""
        self.slurm("scontrol", "update", f"NodeName={node}", f"State={state}", "Reason=test")

    def jobs(self) -> list[str]:
        """Numbers of Slurm's jobs; each SkyPilot cluster is one."""
        return self.slurm("squeue", "--noheader", "--format=%A").split()

    def wait_for(self, true: Callable[[], bool], what: str, *, seconds: float) -> None:
        """Return once ``true()``. Raises NoBed when it takes longer."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise NoBed(f"no {what} after {seconds:.0f} s; see {self.folder}/log")
            time.sleep(0.25)  # other processes are waited for: there is no event to await

    # ── down ──────────────────────────────────────────────────────────────────────────────────────────────

    def down(self) -> None:
        """End everything that ``up`` and SkyPilot started. A second call does nothing."""
        self._stop_api_server()
        if self._daemon("slurmctld") and self.jobs():
            self.slurm("scancel", *self.jobs())
            self.wait_for(lambda: not self.jobs(), "end of Slurm's jobs", seconds=30)
        for name in reversed(DAEMONS):
            if daemon := self._daemon(name):
                if name.startswith("slurmd"):
                    daemon.kill()  # and with it all processes of its node
                _end([daemon, *daemon.children(recursive=True)] if name == "sshd" else [daemon])
        _end([process for process in psutil.process_iter(["username"]) if process.info["username"] == USER])
        for path in (*Path("/tmp").glob(f"{PREFIX}*"), *self.folder.glob("user/.sky_clusters/*")):
            if path.owner() == USER:  # SkyPilot's, of clusters that ended
                shutil.rmtree(path)
        opened = self.folder / "opened.txt"
        if opened.exists():
            for line in opened.read_text(encoding="utf-8").splitlines():
                Path(line).chmod(Path(line).stat().st_mode & ~0o001)
            opened.unlink()

    def _daemon(self, name: str) -> psutil.Process | None:
        """A daemon of this bed that lives; its pid file says which it is."""
        try:
            process = psutil.Process(int((self.folder / "run" / f"{name}.pid").read_text(encoding="ascii")))
            return process if process.name() == ("unshare" if name.startswith("slurmd") else name) else None
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None

    def _stop_api_server(self) -> None:
        """SkyPilot's own stop command, for a server whose home is this bed's: a plain kill leaves its port taken."""
        if server := self._api_server():
            sky = Path(server.cmdline()[0]).with_name("sky")
            env = {**os.environ, **self.env}
            subprocess.run([str(sky), "api", "stop"], env=env, capture_output=True, timeout=60, check=False)

    def _api_server(self) -> psutil.Process | None:
        """SkyPilot's API server with this bed's home, if one runs."""
        for process in psutil.process_iter(["cmdline"]):
            if "sky.server.server" in (process.info["cmdline"] or []):
                return process if process.environ().get("HOME") == self.env["HOME"] else None
        return None


_MUNGE_FILES = {
    "socket": "munge/socket",
    "key-file": "munge/key",
    "pid-file": "run/munged.pid",
    "seed-file": "munge/seed",
    "log-file": "log/munged.log",
}


def _name_hosts(names: Sequence[str]) -> None:
    """SkyPilot resolves the nodes' names and compares addresses: all of them are this machine's loopback."""
    hosts = Path("/etc/hosts")
    for name in names:
        try:
            known = socket.gethostbyname(name)
        except OSError:
            known = ""
        if known != "127.0.0.1":
            hosts.write_text(f"127.0.0.1 {name}\n{hosts.read_text(encoding='utf-8')}", encoding="utf-8")


def _maybe(before: str, text: str) -> str:
    return before + text if text else ""


def _program(name: str) -> str:
    """The full path of a daemon: sshd wants to be called by it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        raise NoBed(f"{name} is not installed")
    return found


def _end(processes: Sequence[psutil.Process]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            if process.is_running():
                process.send_signal(number)
        _, left = psutil.wait_procs(processes, timeout=15)
        if not left:
            return


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["up", folder]:
            bed = Bed(folder=Path(folder).resolve())
            bed.up()
            print("\n".join(f"export {name}={value}" for name, value in bed.env.items()))
        case ["down", folder]:
            Bed(folder=Path(folder).resolve()).down()
        case _:
            sys.exit("usage: python -m tests.slurm.bed up|down FOLDER")
