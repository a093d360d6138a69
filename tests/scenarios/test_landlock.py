"""Where namespaces are forbidden, trials run under Landlock, and every result says that the sandbox is partial."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer_lab import ROOT, documented_task, foreign_task, prepared, write_trial
from trainer import landlock
from trainer.contract import Outcome, Sandbox, TrialResult, read_result, run_argv

# A user namespace in which no further one may be made, and whose root has no capability left.
FORBID = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --no-new-privs --bounding-set=-all "$@"'
WITHOUT_NAMESPACES = ["unshare", "--map-root-user", "sh", "-c", FORBID, "sh"]


def possible() -> bool:
    tools = shutil.which("unshare") and shutil.which("setpriv")
    return bool(tools) and landlock.abi() >= landlock.NEEDED_ABI and run_without_namespaces(["true"]) == 0


def run_without_namespaces(command: list[str]) -> int:
    return subprocess.run([*WITHOUT_NAMESPACES, *command], cwd=ROOT, check=False, capture_output=True).returncode


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not possible(), reason="needs Landlock ABI 4, unshare, setpriv"
)

SPY = """
import json, os, socket, sys
def outcome(act):
    try:
        act()
    except OSError as error:
        return error.strerror
    return "done"
print("SEEN " + json.dumps({
    "val": outcome(lambda: open(VAL, "rb").read()),
    "outside": outcome(lambda: open(os.path.join(OUTSIDE, "written"), "w")),
    "tcp": outcome(lambda: socket.create_connection(("127.0.0.1", PORT), timeout=5)),
    "signal": outcome(lambda: os.kill(os.getppid(), 15)),
    "scratch": outcome(lambda: open("mine", "w")),
}), flush=True)
"""


def end_of(folder: Path) -> tuple[TrialResult, dict[str, str]]:
    assert run_without_namespaces(run_argv(sys.executable, folder)) == 0
    result = read_result(folder)
    assert result is not None
    log = (folder / "log.txt").read_text()
    return result, json.loads(log.partition("SEEN ")[2].partition("\n")[0] or "{}")


@pytest.mark.parametrize("judged", [True, False])
def test_what_landlock_refuses_is_refused(tmp_path: Path, judged: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        secret = tmp_path / "secret"
        secret.write_text("x")
        spy = f"VAL, OUTSIDE, PORT = {str(secret)!r}, {str(tmp_path)!r}, {server.getsockname()[1]}\n{SPY}"
        if judged:
            task = documented_task("bigram", tmp_path)
            data = prepared(task, tmp_path / "data")
            source = (task / "train.py").read_text().replace("def main():\n", "def main():\n    spy()\n")
            spy = f"def spy():\n{''.join(f'    {line}' for line in spy.splitlines(keepends=True))}\n"
            folder = write_trial(tmp_path / "trial", task, source=spy + source, data_dir=data)
        else:
            task = foreign_task(tmp_path / "task", spy + "print('loss: 1.0')\n")
            folder = write_trial(tmp_path / "trial", task)
        result, seen = end_of(folder)
    assert (result.outcome, result.sandbox) == (Outcome.COMPLETED, Sandbox.PARTIAL), result.message
    refused = {"val", "outside", "tcp"}
    assert {name for name, said in seen.items() if said == "Permission denied"} >= refused, seen
    assert seen["scratch"] == "done"
    assert not (tmp_path / "written").exists()
