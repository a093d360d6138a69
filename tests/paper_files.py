"""Files of papers, good and bad, for the tests of `papers`."""

from collections.abc import Sequence

Line = tuple[str, int]  # text without brackets, size of print in points


def pdf(pages: Sequence[Sequence[Line]], *, encrypted: bool = False) -> bytes:
    """A minimal PDF, a line of text under the other; the catalogue comes last, so that a truncated file lacks it."""
    kids, objects = [], []
    for lines in pages:
        number = 3 + 2 * len(kids)
        text = "BT 72 760 Td " + " ".join(f"/F1 {size} Tf ({line}) Tj 0 -30 Td" for line, size in lines)
        stream = f"{text} ET".encode("latin-1")
        kids.append(f"{number} 0 R")
        objects.append(
            (
                number,
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
                b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
                % (number + 1),
            )
        )
        objects.append((number + 1, b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream)))
    objects.append((2, f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()))
    objects.append((1, b"<< /Type /Catalog /Pages 2 0 R >>"))
    trailer = b"/Root 1 0 R"
    if encrypted:
        # Made-up password hashes: no password opens it, the empty one included.
        lock = b"<< /Filter /Standard /V 1 /R 2 /O <%b> /U <%b> /P -4 >>" % (b"ab" * 32, b"cd" * 32)
        trailer += b" /ID [<00><00>] /Encrypt " + lock
    content, places = b"%PDF-1.4\n", {}
    for number, body in objects:
        places[number] = len(content)
        content += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % places[number] for number in sorted(places))
    size = len(places) + 1
    return content + b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d %b >>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        table,
        size,
        trailer,
        len(content),
    )


WARMUP_PDF = pdf(
    [
        [
            ("arXiv:2309.01234v2 [cs.LG] 5 Sep 2023", 24),
            ("A Study of Warmup in Tiny Models", 18),
            ("We study learning rate warmup in tiny language models.", 10),
        ],
        [("Dropout of 0.1 was harmful in every run of the second experiment.", 10)],
    ]
)
