"""Shuts hostile code in: no network, a root of its own, one writable folder, no way back to privileges.

On Linux with user namespaces this module does it itself, with the system calls that bubblewrap uses, so that a
process which has already imported torch can fork and step in. Where only bubblewrap may (some distributions give
namespaces to named programs alone), it runs the command under that. Elsewhere: no sandbox, and every result says so.

    python trainer/sandbox.py LAYOUT_JSON -- COMMAND...     run COMMAND inside, exec'd in place
    python trainer/sandbox.py probe                         exit 0 where namespaces work

Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from trainer.contract import Sandbox

# Linux constants, from <linux/sched.h>, <linux/mount.h>, <linux/prctl.h>, <linux/securebits.h>.
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC = (
    0x20000,
    0x10000000,
    0x20000000,
    0x40000000,
    0x8000000,
)
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_BIND, MS_PRIVATE = 2, 4, 8, 0x4000, 0x1000, 0x40000
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 1, 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
SYS_MOUNT_SETATTR = 442  # the same number on every architecture
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS = 1, 24, 28, 38
SECUREBITS_LOCKED = 0x2F  # NOROOT and NO_SETUID_FIXUP on, KEEP_CAPS off, each of them locked
LAST_CAPABILITY = 63
CAPABILITY_VERSION_3 = 0x20080522

SYSTEM_PATHS = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/passwd",
    "/etc/group", "/etc/alternatives", "/sys/devices/system/cpu",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
GPU_PATHS = ("/sys/bus/pci", "/sys/devices", "/sys/module", "/proc/driver/nvidia")
OWN_TMP = ("/tmp", "/dev/shm")  # noqa: S108 - fresh ones, inside the sandbox
TMP_MB = 256  # size of each of the sandbox's own, MiB


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What one sandboxed process can see."""

    scratch: str  # absolute; the one writable folder, and the working directory
    root: str  # absolute; an empty folder to build the new root on
    readable: tuple[str, ...] = ()  # absolute; visible at the same path, never writable
    hidden: tuple[str, ...] = ()  # absolute folders inside the readable ones, shown empty
    gpu: bool = False  # let the CUDA devices in

    def to_json(self) -> str:
        """The layout as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """Read back what to_json wrote."""
        values = json.loads(text)
        return cls(**{**values, "readable": tuple(values["readable"]), "hidden": tuple(values["hidden"])})


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What this machine allows."""

    method: str  # namespaces, bubblewrap, landlock or none
    kind: Sandbox  # what a result will say
    remedy: str  # one line; empty where the sandbox is full


@lru_cache(maxsize=1)
def probe() -> Probe:
    """Find out by trying, once per process (some tens of milliseconds)."""
    from trainer.contract import Sandbox

    me = [sys.executable, "-I", "-S", str(Path(__file__)), "probe"]
    if sys.platform == "linux":
        if _succeeds(me):
            return Probe(method="namespaces", kind=Sandbox.FULL, remedy="")
        bwrap = find_bubblewrap()
        if bwrap and _succeeds([bwrap, "--unshare-all", "--ro-bind", "/", "/", "true"]):
            return Probe(method="bubblewrap", kind=Sandbox.FULL, remedy="")
        remedy = "install bubblewrap, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
        if _succeeds([sys.executable, "-I", "-S", str(Path(__file__).with_name("landlock.py")), "probe"]):
            return Probe(method="landlock", kind=Sandbox.PARTIAL, remedy=remedy)
    else:
        remedy = "run trials on Linux to shut candidates in; here they run with limits only"
    return Probe(method="none", kind=Sandbox.NONE, remedy=remedy)


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


def python_paths() -> tuple[str, ...]:
    """What a Python process of this interpreter needs to read: its prefixes and this package."""
    paths = {sys.prefix, sys.base_prefix, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    paths |= {p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")}  # .pth files add some
    paths |= {str(Path(sys.executable).resolve().parent), str(Path(__file__).parent)}
    return tuple(sorted(str(Path(p).resolve()) for p in paths))


def find_bubblewrap() -> str | None:
    """Where the system's own bwrap is; nobody else's is trusted."""
    return shutil.which("bwrap", path="/usr/bin:/usr/local/bin:/bin")


def package_paths(package: str) -> tuple[str, ...]:
    """Folders of an installed package, found without importing it; empty where it is not installed."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return tuple(str(Path(p).resolve()) for p in places or ())


def bubblewrap_argv(layout: Layout, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` in `layout` under bubblewrap."""
    argv = [find_bubblewrap() or "bwrap", "--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]
    argv += ["--tmpfs", "/tmp"]  # noqa: S108 - a fresh one, inside the sandbox
    for path in (*SYSTEM_PATHS, *layout.readable):
        argv += ["--ro-bind-try", path, path]
    for path in layout.hidden:
        argv += ["--tmpfs", path]
    if layout.gpu:
        for path in (*gpu_devices(), *GPU_PATHS):
            argv += ["--dev-bind-try", path, path]
    return [*argv, "--bind", layout.scratch, layout.scratch, "--chdir", layout.scratch, "--", *command]


def landlock_view(layout: Layout) -> dict[str, object]:
    """The same for trainer/landlock.py, which builds no root: what can be read, and what written."""
    gpu = layout.gpu
    return {
        "readable": [*SYSTEM_PATHS, "/proc/cpuinfo", "/proc/meminfo", *layout.readable, *(GPU_PATHS if gpu else ())],
        "devices": [*DEVICES, *(gpu_devices() if gpu else ())],
        "hidden": layout.hidden,
        "scratch": layout.scratch,
    }


def gpu_devices() -> list[str]:
    """Device files of the NVIDIA driver, sorted."""
    return sorted(str(p) for p in Path("/dev").glob("nvidia*"))


# ---------------------------------------------------------------------------------------------------------
# Stepping in (Linux)
# ---------------------------------------------------------------------------------------------------------


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (Linux)."""
    if sys.platform == "linux":
        _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def limit(*, cpu_seconds: int, file_mb: int) -> None:
    """Hard limits on this process and its children that back the harness's own measuring."""
    for kind, value in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_mb << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 1024),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))


def enter(layout: Layout) -> None:
    """Continue in a new process that is shut in as `layout` says and holds no privilege.

    The caller must be single-threaded. It stays behind, waits, and ends as the new process ends; only the new
    process returns from here. Raises OSError where the machine does not allow it; the caller must then exit.
    """
    libc = _libc()
    uid, gid = os.getuid(), os.getgid()
    _check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC), "unshare")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    child = os.fork()
    if child:
        _end_as(child)
    die_with_parent()
    os.setpgid(0, 0)
    _build_root(layout)
    os.chdir(layout.root)
    _check(libc.syscall(SYS_PIVOT_ROOT[platform.machine()], b".", b"."), "pivot_root")
    _check(libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir(layout.scratch)
    _drop_privileges()


def _end_as(child: int) -> None:
    """Wait for `child` and end the same way, holding nothing open meanwhile."""
    os.closerange(0, 1024)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL) if os.WTERMSIG(status) != signal.SIGKILL else None
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _build_root(layout: Layout) -> None:
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    root = layout.root
    _mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=755")
    for path in OWN_TMP:
        Path(root + path).mkdir(parents=True)
        _mount("tmpfs", root + path, "tmpfs", MS_NOSUID | MS_NODEV, f"size={TMP_MB}m,mode=1777")
    gpu = (*gpu_devices(), *GPU_PATHS) if layout.gpu else ()
    for path in (*SYSTEM_PATHS, *layout.readable, *gpu, *DEVICES):
        _show(root, path)
    for path in layout.hidden:
        if Path(root + path).is_dir():
            _mount("tmpfs", root + path, "tmpfs", MS_NOSUID | MS_NODEV, "size=4k,mode=755")
    for path in ("/proc", layout.scratch):
        Path(root + path).mkdir(parents=True, exist_ok=True)
    _mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _set_attributes(root, AT_RECURSIVE, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0)
    for path in OWN_TMP:
        _set_attributes(root + path, 0, 0, MOUNT_ATTR_RDONLY)
    _mount(layout.scratch, root + layout.scratch, None, MS_BIND)


def _set_attributes(path: str, flags: int, add: int, clear: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(add, clear, 0, 0)  # struct mount_attr
    size = ctypes.sizeof(attributes)
    code = _libc().syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, ctypes.byref(attributes), size)
    _check(code, "mount_setattr (needs Linux 5.12)")


def _drop_privileges() -> None:
    """No capability now, none after an exec, none through a set-uid program."""
    libc = _libc()
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails above the kernel's last one, rightly
    _check(libc.prctl(PR_SET_SECUREBITS, SECUREBITS_LOCKED, 0, 0, 0), "securebits")
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _check(libc.capset(ctypes.byref(header), ctypes.byref(nothing)), "capset")
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    kind_bytes = kind.encode() if kind else None
    code = _libc().mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), options.encode() or None)
    _check(code, f"mount {target}")


def _show(root: str, path: str) -> None:
    """Bind `path` at the same place under `root`; a link stays a link, what is not there is left out."""
    source, target = Path(path), Path(root + path)
    if target.exists() or target.is_symlink() or not os.path.lexists(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    if source.is_dir():
        target.mkdir()
    else:
        target.touch()
    _mount(path, str(target), None, MS_BIND | MS_REC)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(code: int, what: str) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def try_it() -> int:
    """Exit status 0 where a process can be shut in here."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name in ("root", "scratch"):
            (Path(folder) / name).mkdir()
        child = os.fork()
        if child == 0:
            try:
                enter(Layout(scratch=f"{folder}/scratch", root=f"{folder}/root"))
            except OSError as error:
                print(f"no namespaces: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(argv: Sequence[str]) -> NoReturn:
    """Run a command inside, or find out whether that works."""
    if list(argv) == ["probe"]:
        sys.exit(try_it())
    layout, dashes, *command = argv
    if dashes != "--" or not command:
        raise SystemExit("usage: sandbox.py LAYOUT_JSON -- COMMAND...")
    enter(Layout.from_json(layout))
    try:
        os.execvp(command[0], command)  # noqa: S606 - a list of arguments, on purpose without a shell
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}; install it, or correct `command` in task.toml")


if __name__ == "__main__":
    main(sys.argv[1:])
