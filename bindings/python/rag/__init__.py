"""Vector search and cited answers over your own documents, in this process.

Engine has documents, searches and answers; VectorIndex is the nearest-neighbour search by itself.

Calls wait without holding the interpreter: with asyncio, `await asyncio.to_thread(engine.search, "notes", "a question")`.
A task that is cancelled stops waiting; its call goes on to its end, unless on_text returns False or progress raises.
"""

from ._library import lib as _lib
from .engine import Engine, restore
from .errors import (
    AlreadyExistsError, CancelledError, DataLossError, DeadlineExceededError, FailedPreconditionError, InternalError,
    InvalidArgumentError, IoError, NotFoundError, OutOfRangeError, PermissionDeniedError, RagError,
    ResourceExhaustedError, UnavailableError, UnsupportedError,
)
from .results import (
    Added, Answer, Citation, Completion, Document, EvaluateReport, Failure, Hit, IndexReport, Label, RecallReport, Span,
    TokenLogprob, TokenLogprobs, TuneReport, TuneTrial,
)
from .vector_index import VectorIndex

__version__ = _lib.rag_version().decode()

__all__ = [
    "Added", "AlreadyExistsError", "Answer", "CancelledError", "Citation", "Completion", "DataLossError",
    "DeadlineExceededError", "Document", "Engine", "EvaluateReport", "FailedPreconditionError", "Failure", "Hit",
    "IndexReport", "InternalError", "InvalidArgumentError", "IoError", "Label", "NotFoundError", "OutOfRangeError",
    "PermissionDeniedError", "RagError", "RecallReport", "ResourceExhaustedError", "Span", "TokenLogprob",
    "TokenLogprobs", "TuneReport", "TuneTrial", "UnavailableError", "UnsupportedError", "VectorIndex", "restore",
]
