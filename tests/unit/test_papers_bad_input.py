"""Files made to do harm, each a real one: none costs more than itself, and each is reported with its reason."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from papers import formats
from papers.record import Record, Refusal
from tests.paper_files import WARMUP_PDF, pdf

PAGES = [[("A Study of Locks", 18), ("We lock and unlock.", 10)]]


def read(path: Path, content: bytes) -> list[Record | Refusal]:
    path.write_bytes(content)
    return list(formats.read(path))


def test_a_pdf_locked_with_a_password(tmp_path: Path) -> None:
    (found,) = read(tmp_path / "locked.pdf", pdf(PAGES, password=b"secret"))
    assert isinstance(found, Refusal)
    assert found.reason == "encrypted; save a copy without password first"


def test_a_pdf_that_only_forbids_printing_is_read(tmp_path: Path) -> None:
    (found,) = read(tmp_path / "owned.pdf", pdf(PAGES, password=b""))
    assert isinstance(found, Record), found
    assert found.title == "A Study of Locks"
    assert "We lock and unlock." in found.pages[0].text


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.99])
def test_a_pdf_cut_anywhere_is_no_paper(share: float, tmp_path: Path) -> None:
    (found,) = read(tmp_path / "cut.pdf", WARMUP_PDF[: int(share * len(WARMUP_PDF))])
    assert isinstance(found, Refusal)
    assert "truncated" in found.reason


def test_a_pdf_with_its_middle_overwritten(tmp_path: Path) -> None:
    middle = len(WARMUP_PDF) // 2
    (found,) = read(tmp_path / "holes.pdf", WARMUP_PDF[:middle] + b"\x00" * 300 + WARMUP_PDF[middle + 300 :])
    assert found  # a paper or a reason, and no crash: PDFium mends what it can


def test_a_pdf_of_pictures_alone(tmp_path: Path) -> None:
    (found,) = read(tmp_path / "scan.pdf", pdf([[], []]))
    assert isinstance(found, Refusal)
    assert "OCR" in found.reason


READ_AND_MEASURE = """
import resource, sys
from pathlib import Path
from papers import formats
from papers.record import Record

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for item in formats.read(Path(sys.argv[1])):
    print(item.title if isinstance(item, Record) else item.reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
HUGE = 300_000_000  # bytes in one line


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        (
            "a.jsonl",
            b'{"title": "First"}\n{"title": "',
            b'"}\n{"title": "Last"}\n',
            ["First", "longer than 8 MB", "Last"],
        ),
        ("a.json", b'[{"title": "First"}, {"title": "', b'"}]', ["First", "item 2 is longer than 8 MB"]),
        ("a.csv", b"title,year\nFirst,2018\n", b"\nLast,2019\n", ["First", "longer than 8 MB", "Last"]),
        ("a.ris", b"TY  - X\nTI  - First\nAB  - ", b"\nER  - \n", ["longer than 8 MB", "First"]),
        ("a.bib", b"@misc{a, title={", b"}}\n", ["larger than 64 MB"]),
        ("a.md", b"# First\n", b"\n", ["larger than 64 MB"]),
        ("a.xml", b'<feed xmlns="http://www.w3.org/2005/Atom"><title>', b"</title></feed>", ["longer than 8 MB"]),
    ],
)
def test_a_line_of_300_mb_is_not_held(name: str, before: bytes, after: bytes, said: list[str], tmp_path: Path) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(before)
        for _ in range(HUGE // 1_000_000):
            file.write(b"x" * 1_000_000)
        file.write(after)
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    path.unlink()
    *lines, megabytes = done.stdout.splitlines()
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True)), lines
    assert int(megabytes) < 150


@pytest.mark.parametrize("head", [b'{"title": "First"}\n', b"title,year\nFirst,2018\n", b"# First\n"])
def test_gzip_bombs_are_stopped_whatever_they_pretend_to_be(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=6) as file:
        file.write(head)
        for _ in range(120):
            file.write(b" " * 999_999 + b"\n")
    found = list(formats.read(path))
    assert isinstance(found[-1], Refusal)
    assert "bomb" in found[-1].reason
    assert path.stat().st_size < 500_000


def test_text_that_compresses_well_is_no_bomb(tmp_path: Path) -> None:
    line = json.dumps({"title": "The same title", "abstract": "The same words. " * 60}) + "\n"
    found = read(tmp_path / "same.jsonl.gz", gzip.compress(line.encode() * 2000))
    assert len(found) == 2000
    assert all(isinstance(item, Record) for item in found)


def test_gzip_within_gzip_is_told(tmp_path: Path) -> None:
    (found,) = read(tmp_path / "twice.gz", gzip.compress(gzip.compress(b'{"title": "First"}\n')))
    assert isinstance(found, Refusal)
    assert "gzipped twice" in found.reason


def test_a_folder_of_awkward_files_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.pdf").symlink_to(tmp_path / "nowhere.pdf")
    (tmp_path / "nul.md").write_bytes(b"\x00\x01\x02")
    (tmp_path / "ünï cödé \n name.md").write_text("# A title\n\nText.")
    (tmp_path / "zero.pdf").touch()
    (tmp_path / "spaces.md").write_text(" \n\n ")
    found = [item for path in formats.find([tmp_path]) if isinstance(path, Path) for item in formats.read(path)]
    assert [item.title for item in found if isinstance(item, Record)] == ["A title"]
    reasons = {Path(item.where).name: item.reason for item in found if isinstance(item, Refusal)}
    assert reasons == {
        "dangling.pdf": "does not exist; it is a link to a file that is gone",
        "nul.md": "not a format of papers: unknown binary data",
        "zero.pdf": "the file is empty",
        "spaces.md": "the file is empty",
    }
