"""What the engine gives back. Byte ranges are in the UTF-8 of a document's stored text."""

import dataclasses
from typing import Any, Dict, List, Optional


def _of(cls, values, **more):
    """The dataclass from the members of a JSON object that it has."""
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**{name: value for name, value in {**values, **more}.items() if name in names})


@dataclasses.dataclass(frozen=True)
class Hit:
    """A passage that was found."""

    rank: int  # from 1
    score: float  # larger is better; its scale depends on the mode and the reranker
    document: str  # the document's key
    chunk_id: int
    start: int  # bytes
    end: int
    title: str
    heading: Optional[str]  # "Setup > Network"
    page: Optional[int]
    text: str
    metadata: Dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Citation:
    n: int  # the [n] in the answer
    document: str
    title: str
    chunk_id: int
    start: int  # bytes of the quote
    end: int
    heading: Optional[str]
    page: Optional[int]
    quote: str
    verified: bool  # the stored bytes were read again and equal the quote


@dataclasses.dataclass(frozen=True)
class Answer:
    text: str
    citations: List[Citation]
    sources: List[Hit]  # the passages that it was made from
    mode: str  # "generative" or "extractive"
    reasoning: Optional[str]  # of chain-of-thought
    note: Optional[str]  # why it is extractive, or what was left out of the prompt
    finish_reason: str  # "stop", "length" or "cancelled"
    usage: Dict[str, int]
    timings_ms: Dict[str, float]

    def __str__(self):
        return self.text


@dataclasses.dataclass(frozen=True)
class Completion:
    """What the decoder wrote."""

    text: str
    finish_reason: str
    usage: Dict[str, int]
    timings_ms: Dict[str, float]

    def __str__(self):
        return self.text


@dataclasses.dataclass(frozen=True)
class Document:
    key: str
    title: str
    source: Optional[str]  # the file that it came from
    media_type: str
    text: str
    metadata: Dict[str, Any]
    chunk_ids: List[int]


@dataclasses.dataclass(frozen=True)
class Added:
    replaced: bool
    unchanged: bool  # it was there already, equal: nothing was written
    chunks: int


@dataclasses.dataclass(frozen=True)
class Failure:
    path: str  # "file.jsonl:12" for a line of it
    code: str  # as RagError.code
    error: str


@dataclasses.dataclass(frozen=True)
class IndexReport:
    files: int  # looked at
    indexed: int  # of which at least one document was written
    unchanged: int
    removed: int
    documents: int
    chunks: int
    truncated: int  # chunks whose text was longer than the encoder reads
    failed: List[Failure]
    seconds: float
    cancelled: bool


@dataclasses.dataclass(frozen=True)
class Label:
    label: str
    probability: float
    logit: float


@dataclasses.dataclass(frozen=True)
class Span:
    """A place in a text that has a label."""

    start: int  # bytes
    end: int
    label: str
    score: float
    text: str


def hit(values):
    return _of(Hit, values)


def answer(values):
    return _of(Answer, values, text=values["answer"], sources=[hit(each) for each in values["sources"]],
               citations=[_of(Citation, each) for each in values["citations"]])


def completion(values):
    return _of(Completion, values, text=values["answer"])


def document(values):
    return _of(Document, values, key=values["document"])


def added(values):
    return _of(Added, values)


def index_report(values):
    return _of(IndexReport, values, failed=[_of(Failure, each) for each in values["failed"]])


def labels(values):
    return [_of(Label, each) for each in values["labels"]]


def spans(values):
    return [_of(Span, each) for each in values["ranges"]]
