"""Every shape of input that papers come in, and every fault that a file can have."""

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from papers import formats
from papers.formats.source import LINE_BYTES
from papers.record import Record, Refusal
from tests.paper_files import WARMUP_PDF, pdf


def read(path: Path, content: bytes) -> list[Record | Refusal]:
    path.write_bytes(content)
    return list(formats.read(path))


def record(path: Path, content: bytes) -> Record:
    (found,) = read(path, content)
    assert isinstance(found, Record)
    return found


def refusal(path: Path, content: bytes) -> str:
    (found,) = read(path, content)
    assert isinstance(found, Refusal)
    assert found.where.startswith(str(path))
    assert "\n" not in found.reason
    return found.reason


# ---------------------------------------------------------------- JSON lines

SHAPES = {
    "kaggle arXiv snapshot": {
        "id": "0704.0001",
        "title": "On  Warmup\n  in Models",
        "abstract": "  We warm up.\n",
        "authors": "A. One, B. Two",
        "authors_parsed": [["One", "A.", ""], ["Two", "B.", ""]],
        "categories": "cs.LG",
        "versions": [{"version": "v1", "created": "Mon, 2 Apr 2018 19:18:42 GMT"}],
        "update_date": "2019-01-01",
    },
    "Semantic Scholar": {
        "corpusid": 17,
        "externalids": {"ArXiv": "0704.0001", "DOI": None},
        "title": "On Warmup in Models",
        "year": 2018,
        "authors": [{"name": "A. One"}, {"name": "B. Two"}],
        "abstract": None,
        "tldr": {"text": "We warm up."},
    },
    "OpenAlex": {
        "id": "https://openalex.org/W17",
        "display_name": "On Warmup in Models",
        "publication_year": 2018,
        "ids": {"openalex": "https://openalex.org/W17"},
        "doi": "https://doi.org/10.48550/arxiv.0704.0001",
        "authorships": [{"author": {"display_name": "A. One"}}, {"author": {"display_name": "B. Two"}}],
        "abstract_inverted_index": {"up.": [2], "We": [0], "warm": [1]},
    },
    "plain": {
        "id": "iclr2018:x",
        "title": "On Warmup in Models",
        "abstract": "We warm up.",
        "authors": ["A. One", "B. Two"],
        "year": 2018,
        "url": "https://arxiv.org/abs/0704.0001",
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_json_lines(shape: str, tmp_path: Path) -> None:
    found = record(tmp_path / "no_matter.pdf", json.dumps(SHAPES[shape]).encode())
    assert found.title == "On Warmup in Models"
    assert found.authors == ("A. One", "B. Two")
    assert found.year == 2018
    assert found.arxiv_id == "0704.0001"
    assert found.doi is None
    assert " ".join(found.pages[0].text.split()) == "We warm up."


def test_beir_and_gzip(tmp_path: Path) -> None:
    line = json.dumps({"_id": "d7", "title": "Batch size", "text": "Large batches.", "metadata": {}})
    found = record(tmp_path / "corpus.jsonl.gz", gzip.compress(line.encode()))
    assert (found.source_id, found.title, found.pages[0].text) == ("d7", "Batch size", "Large batches.")


def test_a_number_that_looks_like_an_arxiv_id_is_none_elsewhere(tmp_path: Path) -> None:
    assert record(tmp_path / "a", json.dumps({"id": "0704.0001", "title": "T"}).encode()).arxiv_id is None


def test_broken_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    good = b'{"title": "Good"}\n'
    lines = [good, b'{"title": \n', b'{"title": "\xff\xfe"}\n', b"[1]\n", b'{"abstract": "x"}\n', b"\n"]
    lines += [b"{" + b'"a":[' * 100_000 + b"\n", b'{"title": "' + b"x" * LINE_BYTES + b'"}\n', good]
    found = read(tmp_path / "a.jsonl", b"".join(lines))
    assert [item.title for item in found if isinstance(item, Record)] == ["Good", "Good"]
    reasons = {item.where.partition(" line ")[2]: item.reason for item in found if isinstance(item, Refusal)}
    assert list(reasons) == ["2", "3", "4 item 1", "5", "7", "8"]
    assert "not JSON" in reasons["2"]
    assert "not UTF-8" in reasons["3"]
    assert "no JSON object" in reasons["4 item 1"]
    assert "no field `title`" in reasons["5"]
    assert "nested" in reasons["7"] or "not JSON" in reasons["7"]
    assert "longer than 8 MB" in reasons["8"]


def test_a_gzip_bomb_is_stopped(tmp_path: Path) -> None:
    bomb = gzip.compress(b'{"title": "first"}\n' + b" " * 200_000_000, compresslevel=1)
    first, stopped = read(tmp_path / "bomb.jsonl.gz", bomb)
    assert isinstance(first, Record)
    assert isinstance(stopped, Refusal)
    assert "bomb" in stopped.reason


def test_damaged_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"title": os.urandom(500).hex()}).encode() + b"\n" for _ in range(200))
    found = read(tmp_path / "cut.jsonl.gz", gzip.compress(lines)[:-2000])
    assert len(found) > 100
    assert isinstance(found[-1], Refusal)
    assert "damaged gzip" in found[-1].reason


# ---------------------------------------------------------------- BibTeX


def test_bibtex_with_bad_and_repeated_entries(tmp_path: Path) -> None:
    found = read(
        tmp_path / "refs.txt",
        rb"""
@article{adam, title={{Adam}: A {M\'e}thod}, author={Kingma, Diederik P. and Ba, Jimmy}, year=2014,
  journal={arXiv preprint arXiv:1412.6980}, abstract={Gains of 8% & more, at $\beta_2$.}}
@inproceedings{adam, title={Repeated key}, doi={10.1/X}, year={2015}}
@article{notitle, author={Nobody}}
@article{broken, title={Never closed
@misc{last, title="Last one", eprint={2309.14322}, archivePrefix={arXiv}}
""",
    )
    titles = [item.title for item in found if isinstance(item, Record)]
    assert titles == ["Adam: A Méthod", "Repeated key", "Last one"]
    adam = found[0]
    assert isinstance(adam, Record)
    assert adam.authors == ("Diederik P. Kingma", "Jimmy Ba")
    assert (adam.year, adam.arxiv_id) == (2014, "1412.6980")
    assert "8% & more" in adam.pages[0].text
    reasons = [item.reason for item in found if isinstance(item, Refusal)]
    assert len(reasons) == 2
    assert "has no title" in reasons[0]
    assert "not a BibTeX entry: Unexpected block start" in reasons[1]


# ---------------------------------------------------------------- text


def test_markdown_takes_its_title_from_the_first_heading(tmp_path: Path) -> None:
    found = record(tmp_path / "note.md", b"\n# Warmup notes #\n\nLonger is safer.\n")
    assert found.title == "Warmup notes"
    assert found.pages[0].text.strip() == "Longer is safer."


def test_broken_utf8_names_the_byte(tmp_path: Path) -> None:
    assert "not UTF-8 at byte 3" in refusal(tmp_path / "note.txt", "café".encode("latin-1"))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("README.md", b"# My papers", "about the folder"),
        ("code.py", b"import os\n", "text of no known format"),
        ("empty.md", b" \n", "empty"),
        ("photo.pdf", b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG image"),
        ("book.jsonl", b"PK\x03\x04\x00\x00", "a ZIP archive"),
        ("list.json", b"[1, 2]", "an array of no objects"),
        ("paper.pdf", b"<!DOCTYPE html><html><body>Just a moment</body></html>", "a web page"),
        ("paper.ps", b"%!PS-Adobe-3.0\n", "PostScript"),
        ("data.bin", b"\x01\x00\x02\x00", "unknown binary data"),
    ],
)
def test_what_is_no_paper_says_what_it_is(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    assert reason in refusal(tmp_path / name, content)


# ---------------------------------------------------------------- PDF


def test_pdf_keeps_pages_and_finds_its_identity(tmp_path: Path) -> None:
    found = record(tmp_path / "download", WARMUP_PDF)
    assert found.title == "A Study of Warmup in Tiny Models"
    assert (found.arxiv_id, found.year) == ("2309.01234", 2023)
    assert [page.number for page in found.pages] == [1, 2]
    assert "Dropout of 0.1 was harmful" in found.pages[1].text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (WARMUP_PDF[: len(WARMUP_PDF) // 2], "truncated"),
        (pdf([[("Secret", 10)]], password=b"secret"), "encrypted"),
        (pdf([[], []]), "no text layer"),
        (pdf([[("x", 10)]] * 1501), "has 1501 pages"),
        (gzip.compress(WARMUP_PDF), "gzipped PDF"),
    ],
    ids=["truncated", "encrypted", "no text layer", "too many pages", "gzipped"],
)
def test_pdf_that_cannot_be_read(content: bytes, reason: str, tmp_path: Path) -> None:
    assert reason in refusal(tmp_path / "paper.pdf", content)


def test_the_reading_process_is_replaced_when_it_dies(tmp_path: Path) -> None:
    record(tmp_path / "a.pdf", WARMUP_PDF)
    formats.close()
    record(tmp_path / "b.pdf", WARMUP_PDF)
    formats.close()


# ---------------------------------------------------------------- paths


def test_folders_are_walked_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.md", "a/.hidden", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text")
    assert list(formats.find([tmp_path])) == [tmp_path / "b.md", tmp_path / "a/z.md"]


def test_an_empty_folder_and_a_missing_path_say_so(tmp_path: Path) -> None:
    (empty,) = formats.find([tmp_path])
    assert isinstance(empty, Refusal)
    assert "no files" in empty.reason
    (missing,) = formats.read(tmp_path / "missing.pdf")
    assert isinstance(missing, Refusal)
    assert missing.reason == "does not exist"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (found,) = formats.read(tmp_path / "pipe.jsonl")
    assert isinstance(found, Refusal)
    assert "not a regular file" in found.reason


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder, seen by a user who may read neither `file.md` nor `folder` in it; root becomes nobody for a while."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "file.md").write_text("# T")
        (place / "folder").mkdir()
        for path in (place / "file.md", place / "folder"):
            path.chmod(0)
        if user == 0:
            os.seteuid(65534)
        try:
            yield place
        finally:
            os.seteuid(user)


def test_a_file_without_permission_says_so(locked: Path) -> None:
    (found,) = formats.read(locked / "file.md")
    assert isinstance(found, Refusal)
    assert "no permission" in found.reason


def test_a_folder_without_permission_says_so(locked: Path) -> None:
    (found,) = formats.find([locked / "folder"])
    assert isinstance(found, Refusal)
    assert "cannot be listed" in found.reason
