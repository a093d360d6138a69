"""Files of papers, good and bad, for the tests of `papers`."""

import hashlib
from collections.abc import Sequence

Line = tuple[str, int]  # text without brackets, size of print in points


_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
_ID, _PERMISSIONS = b"0123456789abcdef", (-4 & 0xFFFFFFFF).to_bytes(4, "little")


def pdf(pages: Sequence[Sequence[Line]], *, password: bytes | None = None) -> bytes:
    """A minimal PDF, a line of text under the other; the catalogue comes last, so that a truncated file lacks it.

    With a password it is encrypted with 40-bit RC4 (ISO 32000-1, 7.6); an empty one opens it for everybody.
    """
    kids, objects = [], []
    for lines in pages:
        number = 3 + 2 * len(kids)
        text = "BT 72 760 Td " + " ".join(f"/F1 {size} Tf ({line}) Tj 0 -30 Td" for line, size in lines)
        stream = f"{text} ET".encode("latin-1")
        if password is not None:
            stream = _rc4(
                hashlib.md5(_file_key(password) + (number + 1).to_bytes(3, "little") + b"\0\0").digest()[:10], stream
            )
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
    if password is not None:
        owner, user = _owner_entry(password), _rc4(_file_key(password), _PADDING)
        lock = f"<< /Filter /Standard /V 1 /R 2 /O <{owner.hex()}> /U <{user.hex()}> /P -4 >>"
        trailer += f" /ID [<{_ID.hex()}><{_ID.hex()}>] /Encrypt {lock}".encode()
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


def _owner_entry(password: bytes) -> bytes:
    return _rc4(hashlib.md5((b"owner" + _PADDING)[:32]).digest()[:5], (password + _PADDING)[:32])


def _file_key(password: bytes) -> bytes:
    return hashlib.md5((password + _PADDING)[:32] + _owner_entry(password) + _PERMISSIONS + _ID).digest()[:5]


def _rc4(key: bytes, data: bytes) -> bytes:
    state, swap = list(range(256)), 0
    for place in range(256):
        swap = (swap + state[place] + key[place % len(key)]) % 256
        state[place], state[swap] = state[swap], state[place]
    out, one, two = bytearray(), 0, 0
    for byte in data:
        one = (one + 1) % 256
        two = (two + state[one]) % 256
        state[one], state[two] = state[two], state[one]
        out.append(byte ^ state[(state[one] + state[two]) % 256])
    return bytes(out)


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
