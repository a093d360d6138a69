"""What a Slurm bed is made of and where it comes from: Debian's packages, and uv."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurm-client",
    "munge",
    "openssh-server",
    "openssh-client",
    "rsync",
    "socat",
    "curl",
)


class NoBed(Exception):
    """The bed does not come up; the message says why."""


class NotHere(NoBed):
    """This machine cannot hold a bed: Debian's packages cannot be installed, or device files cannot be made."""


def install() -> None:
    """Debian's packages, where they are missing. Raises NotHere where they cannot be had."""
    missing = [name for name in PACKAGES if "install ok installed" not in _dpkg(name)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NotHere(f"no apt-get to install {' '.join(missing)} with")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", *command], env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise NotHere(f"Debian packages cannot be installed: {said[-1] if said else command[0]}")


def _dpkg(package: str) -> str:
    if shutil.which("dpkg-query") is None:
        return ""
    query = ["dpkg-query", "--show", "--showformat=${Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout


def uv() -> str:
    """Where uv is; it comes with pip where it is not there. SkyPilot's setup of a node is made with it."""
    if found := shutil.which("uv"):
        return found
    folder = Path("/usr/local/lib/nightswarm-uv")
    if not (folder / "bin" / "uv").exists():
        run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "uv")
    return str(folder / "bin" / "uv")


def uv_env(folder: Path) -> dict[str, str]:
    """Where uv finds packages: as this process's own environment says, with the system's certificates."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "UV_DEFAULT_INDEX")
    env = {name: os.environ[name] for name in names if os.environ.get(name)}
    if "UV_DEFAULT_INDEX" not in env and os.environ.get("PIP_INDEX_URL"):
        env["UV_DEFAULT_INDEX"] = os.environ["PIP_INDEX_URL"]
    if bundle := certificates():
        env["SSL_CERT_FILE"] = bundle
    return {**env, "UV_PYTHON_DOWNLOADS": "never", "UV_CACHE_DIR": str(folder / "uvcache")}


def certificates() -> str:
    """The system's bundle: uv has one of its own, which knows no proxy's certificate."""
    for path in (os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"):
        if path and os.access(path, os.R_OK):
            return path
    return ""


def run(*command: str, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        raise NoBed(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")
