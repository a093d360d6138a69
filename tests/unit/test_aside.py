"""What SkyPilot prints goes to a file, and the terminal keeps what everybody else prints."""

import logging
import sys
import threading
from pathlib import Path

import pytest

from swarm.executors.sky.aside import printing_to


def test_a_thread_prints_aside_while_others_print_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "skypilot.log"
    inside, done = threading.Event(), threading.Event()

    def call() -> None:
        with printing_to(log):
            logging.StreamHandler(sys.stdout).emit(logging.makeLogRecord({"msg": "starting a server"}))
            inside.set()
            done.wait(10)
            print("running on cluster c")

    thread = threading.Thread(target=call)
    thread.start()
    assert inside.wait(10)
    print("a trial has ended")
    done.set()
    thread.join()
    with printing_to(log):
        print("once more")
    with printing_to(None):
        print("for nobody")
    print("a trial has begun")
    assert log.read_text() == "starting a server\nrunning on cluster c\nonce more\n"
    assert capsys.readouterr().out == "a trial has ended\na trial has begun\n"
