"""The notebook among several processes, and when one of them is killed."""

import contextlib
import itertools
import multiprocessing
import os
import random
import subprocess
import sys
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from notebook_store.entry import Attachment, Entry, Kind
from notebook_store.errors import FolderOwned
from notebook_store.log import Log
from notebook_store.notebook import Notebook
from tests.fake_embedder import WordEmbedder

ROOT = Path(__file__).parents[2]
KILLS = 20

# Appends without end, telling each id once `append` has returned.
WRITER = """
import sys
from pathlib import Path
from notebook_store.entry import Attachment, Entry, Kind
from notebook_store.notebook import Notebook
from tests.fake_embedder import WordEmbedder

folder, start = Path(sys.argv[1]), int(sys.argv[2])
notebook = Notebook.open(folder, embedder=WordEmbedder())
number = start
while True:
    figure = Attachment(name="f", media_type="image/png", data=b"%d" % number)
    notebook.append(Entry(id=f"e{number}", kind=Kind.RESULT, title=f"result {number}", body="loss " * 50,
                          author="swarm", session="s", task="t", created_at=float(number), attachments=(figure,)))
    print(f"e{number}", flush=True)
    number += 1
"""


def start_writer(folder: Path, start: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(folder), str(start)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def write_without_end(folder: Path, start: int, told: Connection) -> None:
    """Owns the notebook and appends, telling each id once `append` has returned."""
    notebook = Notebook.open(folder, embedder=WordEmbedder())
    for number in itertools.count(start):
        figure = Attachment(name="f", media_type="image/png", data=b"%d" % number)
        notebook.append(
            Entry(
                id=f"e{number}",
                kind=Kind.RESULT,
                title=f"result {number}",
                body="loss " * 50,
                author="swarm",
                session="s",
                task="t",
                created_at=float(number),
                attachments=(figure,),
            )
        )
        told.send(f"e{number}")


@pytest.mark.slow
def test_kill_9_of_the_owner_in_a_burst_of_appends_loses_nothing_acknowledged(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["chromadb", "notebook_store.local", "tests.unit.test_notebook_processes"])
    lengths = random.Random(7)
    acknowledged: list[str] = []
    for run in range(KILLS):
        ours, theirs = processes.Pipe(duplex=False)
        owner = processes.Process(target=write_without_end, args=(tmp_path, 1000 * run, theirs))
        owner.start()
        theirs.close()
        acknowledged += [ours.recv() for _ in range(lengths.randint(1, 120))]
        owner.kill()
        owner.join()
        with contextlib.suppress(EOFError):
            while True:
                acknowledged.append(ours.recv())
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        report = notebook.check()
        assert report.problems == ()
        assert report.entries == report.embedded == report.indexed
        written = {page.id for page in notebook.entries()}
        assert set(acknowledged) <= written
        # What was written without being acknowledged is at most the append that each kill met.
        assert len(written) <= len(acknowledged) + KILLS
        assert len(notebook.get(acknowledged[-1]).attachments) == 1
        assert notebook.search(f"result {acknowledged[0][1:]}", 1)[0].entry.id == acknowledged[0]


def claim_all(folder: Path, worker: int) -> list[tuple[str, str, bool]]:
    """Claims 500 of the 1,000 configurations, each of which three other workers want too, in an order of its own."""
    numbers = [(125 * worker + number) % 1000 for number in range(500)]
    random.Random(worker).shuffle(numbers)
    log = Log.open(folder, create=True)
    claims = [log.claim(f"config-{number}", f"worker-{worker}", at=float(worker)) for number in numbers]
    log.database.close()
    return [(claim.key, claim.holder, claim.won) for claim in claims]


def test_of_eight_processes_one_wins_each_claim(tmp_path: Path) -> None:
    with multiprocessing.get_context("forkserver").Pool(8) as pool:
        answers = pool.starmap(claim_all, [(tmp_path, worker) for worker in range(8)], chunksize=1)
    wins = Counter(key for answer in answers for key, _, won in answer if won)
    assert wins == Counter({f"config-{number}": 1 for number in range(1000)})
    holders: dict[str, set[str]] = {}
    for answer in answers:
        for key, holder, _ in answer:
            holders.setdefault(key, set()).add(holder)
    assert all(len(names) == 1 for names in holders.values())
    assert len(answers) * len(answers[0]) == 4000


def test_a_second_owner_is_told_who_the_first_is_and_a_reader_works_beside_it(tmp_path: Path) -> None:
    writer = start_writer(tmp_path, start=0)
    assert writer.stdout is not None
    try:
        first = writer.stdout.readline().strip()
        with pytest.raises(FolderOwned, match=f"process {writer.pid} owns the vector index") as refusal:
            Notebook.open(tmp_path, embedder=WordEmbedder())
        assert refusal.value.pid == writer.pid
        with Notebook.read(tmp_path, embedder=WordEmbedder()) as reader:
            assert reader.get(first).title == "result 0"
            for _ in range(50):
                seen = reader.count()
                newest = writer.stdout.readline().strip()
                assert reader.get(newest).id == newest
                assert reader.count() > seen - 1
            assert reader.search("result 7")[0].entry.id == "e7"
            report = reader.check()
            assert report.problems == ()
            assert report.skipped == ("the vector index: only its owner can look",)
    finally:
        writer.kill()
        writer.communicate()
    Notebook.open(tmp_path, embedder=WordEmbedder()).close()


def test_a_second_opening_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with Notebook.open(tmp_path, embedder=WordEmbedder()):
        with pytest.raises(FolderOwned, match=f"process {os.getpid()} owns"):
            Notebook.open(tmp_path, embedder=WordEmbedder())
        with Notebook.read(tmp_path) as reader:
            assert reader.count() == 0
    Notebook.open(tmp_path, embedder=WordEmbedder()).close()


def test_the_owner_indexes_what_others_append(tmp_path: Path) -> None:
    from tests.unit.test_notebook import entry

    with Notebook.open(tmp_path, embedder=WordEmbedder()) as owner:
        with Notebook.read(tmp_path) as other:
            assert other.append(entry("wish", "please try dropout"))
            other.flush()
        owner.flush()
        assert [hit.score for hit in owner.search("please try dropout")] == [pytest.approx(1.0, abs=0.02)]
        assert owner.check().clean
