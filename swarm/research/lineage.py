"""Candidates as git commits of a session's own repository; `best` is a branch; rebase of open candidates."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from swarm.errors import DiskFull, SwarmError

_IDENTITY = {
    "GIT_AUTHOR_NAME": "nightswarm",
    "GIT_AUTHOR_EMAIL": "nightswarm@localhost",
    "GIT_COMMITTER_NAME": "nightswarm",
    "GIT_COMMITTER_EMAIL": "nightswarm@localhost",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


class Lineage:
    """A bare git repository. Every method blocks for some milliseconds: call it from a thread."""

    def __init__(self, repository: Path, editable: str) -> None:
        """Open or make it. ``editable`` is the candidate's file within the tree, with slashes."""
        self._repository = repository
        self._editable = editable
        if not (repository / "HEAD").exists():
            repository.mkdir(parents=True, exist_ok=True)
            self._git("init", "--quiet", "--bare", "--initial-branch=best")

    def commit(
        self,
        name: str,
        source: str,
        message: str,
        *,
        parent: str | None,
        at: float,
        files: Mapping[str, str] | None = None,
    ) -> str:
        """Commit ``source`` as the editable file of ``parent``'s tree and keep it as refs/candidates/``name``.

        Its date is ``at``, unix seconds, so that a session run again in virtual time has the same commits.
        Without a parent the tree is ``files`` (path -> text) and the source. Returns the commit's hash.
        """
        with tempfile.TemporaryDirectory() as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            if parent is not None:
                self._git("read-tree", parent, env=index)
            for path, text in {**(files or {}), self._editable: source}.items():
                blob = self._git("hash-object", "-w", "--stdin", text=text)
                self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
            tree = self._git("write-tree", env=index)
        parents = () if parent is None else ("-p", parent)
        date = f"@{int(at)} +0000"
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        commit = self._git("commit-tree", tree, *parents, "-F", "-", text=message, env=dates)
        self._git("update-ref", f"refs/candidates/{name}", commit)
        return commit

    def source(self, commit: str) -> str:
        """The editable file at ``commit``, whole."""
        return self._git("cat-file", "blob", f"{commit}:{self._editable}", strip=False)

    def set_best(self, commit: str) -> None:
        """Move the branch `best`."""
        self._git("update-ref", "refs/heads/best", commit)

    def diff(self, old: str, new: str) -> str:
        """Unified diff of the editable file."""
        return self._git("diff", "--no-color", old, new, "--", self._editable, strip=False)

    def checkout(self, commit: str, folder: Path) -> Path:
        """Write the whole tree of ``commit`` into ``folder`` (made when missing). Returns the editable file's path."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch) / "index"), "GIT_WORK_TREE": str(folder.resolve())}
            self._git("read-tree", commit, env=index)
            self._git("checkout-index", "--all", "--force", env=index)
        return folder / self._editable

    def merge(self, base: str, ours: str, theirs: str) -> str | None:
        """Three-way merge of file texts: the change base -> theirs applied to ours; None where they conflict."""
        return merged(base, ours, theirs)

    def pack(self) -> None:
        """Put what came since the last call into one file of differences; seconds where that is thousands."""
        self._git("repack", "-d", "-l", "-q")
        self._git("pack-refs", "--all")

    def _git(
        self,
        *arguments: str,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        strip: bool = True,
    ) -> str:
        try:
            done = subprocess.run(
                ["git", "--git-dir", str(self._repository), *arguments],
                input=text,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, **_IDENTITY, **(env or {})},
            )
        except FileNotFoundError as error:
            raise SwarmError(
                "git is not installed; candidates are git commits, so install git and try again"
            ) from error
        if done.returncode != 0:
            fault = done.stderr.strip().splitlines()[-1:] or ["no message"]
            if "No space left" in done.stderr:
                raise DiskFull("the disk is full; free some space and start the session again: nothing is lost")
            raise SwarmError(f"git {arguments[0]} failed in {self._repository}: {fault[0]}")
        return done.stdout.strip() if strip else done.stdout


def merged(base: str, ours: str, theirs: str) -> str | None:
    """Three-way merge by ``git merge-file``, which needs no repository; None where the changes conflict."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = []
        for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
            path = Path(scratch) / name
            path.write_text(text, encoding="utf-8")
            paths.append(str(path))
        done = subprocess.run(["git", "merge-file", "-p", *paths], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None
