"""The notebook among several processes, and when one of them is killed."""

import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from notebook_store.errors import FolderOwned
from notebook_store.log import Log
from notebook_store.notebook import Notebook
from tests.fake_embedder import WordEmbedder

ROOT = Path(__file__).parents[2]

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


def test_kill_9_in_a_burst_of_appends_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for run, wanted in enumerate((1, 40, 150)):
        writer = start_writer(tmp_path, start=1000 * run)
        assert writer.stdout is not None
        acknowledged += [writer.stdout.readline().strip() for _ in range(wanted)]
        writer.kill()
        acknowledged += writer.stdout.read().split()
        writer.wait()
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        report = notebook.check()
        assert report.problems == ()
        assert report.entries == report.embedded == report.indexed
        written = {page.id for page in notebook.entries()}
        assert set(acknowledged) <= written
        # What was written without being acknowledged is at most the append that each kill met.
        assert len(written) <= len(acknowledged) + 3
        assert len(notebook.get(acknowledged[-1]).attachments) == 1


def claim_all(folder: Path, worker: int) -> list[tuple[str, str, bool]]:
    log = Log.open(folder, create=True)
    keys = [f"config-{(7 * worker + number) % 100}" for number in range(100)]
    claims = [log.claim(key, f"worker-{worker}", at=float(worker)) for key in keys]
    log.database.close()
    return [(claim.key, claim.holder, claim.won) for claim in claims]


def test_of_eight_processes_one_wins_each_claim(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        answers = pool.starmap(claim_all, [(tmp_path, worker) for worker in range(8)], chunksize=1)
    wins = Counter(key for answer in answers for key, _, won in answer if won)
    assert wins == Counter({f"config-{number}": 1 for number in range(100)})
    holders = {key: {holder for answer in answers for known, holder, _ in answer if known == key} for key in wins}
    assert all(len(names) == 1 for names in holders.values())


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
