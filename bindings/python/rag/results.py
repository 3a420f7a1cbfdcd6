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
class TokenLogprob:
    id: int  # as logit_bias takes it
    token: str  # its bytes, with a replacement character for what is no whole character
    bytes: bytes  # what it adds to the text
    logprob: float  # natural logarithm of its probability as the model gives it, before options and constraint


@dataclasses.dataclass(frozen=True)
class TokenLogprobs(TokenLogprob):
    """Of a token that was drawn."""

    top_logprobs: List[TokenLogprob]  # of the likeliest tokens in its place, most likely first


@dataclasses.dataclass(frozen=True)
class Completion:
    """What the decoder wrote."""

    text: str
    finish_reason: str
    usage: Dict[str, int]
    timings_ms: Dict[str, float]
    # Where asked for, of each token but those at the end that a stop string cut off whole; else empty.
    logprobs: List[TokenLogprobs] = dataclasses.field(default_factory=list)

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
class TuneTrial:
    """One way to index the vectors, with the least width that found enough, or the most that was tried."""

    index: str  # as create_collection() takes it
    memory_bytes: int  # reckoned from the sample's for all rows
    disk_bytes: int  # of vectors that it reads from files
    fits: bool  # in the memory of the goal
    measured: bool  # False: left out, since its vectors alone do not fit; the rest is None then
    recall: Optional[float] = None
    finds_enough: Optional[bool] = None
    queries_per_second: Optional[float] = None  # one at a time, reckoned from the sample's for all rows
    build_seconds: Optional[float] = None  # of the sample


@dataclasses.dataclass(frozen=True)
class TuneReport:
    goal: str  # "auto:recall=0.950,k=10"
    rows: int  # vectors in the collection
    sample_rows: int  # that the trials held
    queries: int  # others, which were searched with
    picked: TuneTrial  # the fastest that finds enough and fits
    trials: List[TuneTrial]


@dataclasses.dataclass(frozen=True)
class RecallReport:
    queries: int  # stored vectors; fewer than asked for where there are fewer
    k: int
    recall: float  # of the k nearest besides the query itself, the mean share that was found
    seconds: float


@dataclasses.dataclass(frozen=True)
class EvaluateReport:
    metrics: Dict[str, float]  # "ndcg@10", "recall@10", "mrr@10", ...: means over the judged queries, 0 to 1
    queries: int
    documents: int
    index_seconds: float
    search_seconds: float
    seconds: float


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
    tuned: Optional[TuneReport] = None  # the collection's index is "auto", and was chosen anew
    tune_error: Optional[str] = None  # why it could not be; the documents are indexed all the same


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


def _logprob(cls, values, **more):
    return _of(cls, values, bytes=bytes(values["bytes"]), **more)


def completion(values):
    return _of(Completion, values, text=values["answer"], logprobs=[
        _logprob(TokenLogprobs, each, top_logprobs=[_logprob(TokenLogprob, other) for other in each["top_logprobs"]])
        for each in values.get("logprobs", ())])


def document(values):
    return _of(Document, values, key=values["document"])


def added(values):
    return _of(Added, values)


def index_report(values):
    tuned, error = values.get("tuned"), values.get("tune_error")
    return _of(IndexReport, values, failed=[_of(Failure, each) for each in values["failed"]],
               tuned=tuned and tune_report(tuned), tune_error=error and error["error"]["message"])


def tune_report(values):
    return _of(TuneReport, values, picked=_of(TuneTrial, values["picked"]),
               trials=[_of(TuneTrial, each) for each in values["trials"]])


def recall_report(values):
    return _of(RecallReport, values)


def evaluate_report(values):
    return _of(EvaluateReport, values, metrics={name: value for name, value in values.items() if "@" in name})


def labels(values):
    return [_of(Label, each) for each in values["labels"]]


def spans(values):
    return [_of(Span, each) for each in values["ranges"]]
