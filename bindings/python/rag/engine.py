"""The engine: documents in, ranked passages and cited answers out."""

import contextlib
import ctypes
import difflib
import inspect
import os
import threading
import warnings

import numpy as np

from . import _library as c
from . import results
from .errors import FailedPreconditionError, InvalidArgumentError


def _messages(messages, name):
    if isinstance(messages, dict):
        raise TypeError(f"{name} must be a sequence of messages, not one dict")
    read = []
    for i, message in enumerate(c.items(messages, name, "messages")):
        if isinstance(message, dict) and "role" in message and "content" in message:
            role, content = message["role"], message["content"]
        elif isinstance(message, (tuple, list)) and len(message) == 2:
            role, content = message
        else:
            raise TypeError(f"{name}[{i}] is neither {{'role': ..., 'content': ...}} nor (role, content)")
        read.append(c.Message(c.needed(role, f"{name}[{i}].role"), c.needed(content, f"{name}[{i}].content")))
    return ((c.Message * len(read))(*read) if read else None), len(read)


class _Generation:
    """The options of a generation, and what its callback raised."""

    def __init__(self, max_tokens=256, temperature=0.0, top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0,
                 presence_penalty=0.0, frequency_penalty=0.0, logit_bias=None, typical_p=1.0, top_n_sigma=0.0,
                 xtc_probability=0.0, xtc_threshold=0.1, mirostat_tau=0.0, mirostat_eta=0.1, dry_multiplier=0.0,
                 dry_base=1.75, dry_allowed_length=2, seed=0, stop=(), json_schema=None, grammar=None, regex=None,
                 choices=(), adapters=(), priority=0, logprobs=False, top_logprobs=0, on_text=None):
        # What is zero in C is the default there.
        for name, value in (("max_tokens", max_tokens), ("top_p", top_p), ("repetition_penalty", repetition_penalty),
                            ("typical_p", typical_p), ("xtc_threshold", xtc_threshold),
                            ("mirostat_eta", mirostat_eta), ("dry_base", dry_base),
                            ("dry_allowed_length", dry_allowed_length)):
            if value == 0:
                raise InvalidArgumentError(f"{name} must be above 0")
        c.function(on_text, "on_text")
        choices = c.items(choices, "choices", "strings")
        if isinstance(json_schema, (dict, bool)):
            try:
                json_schema = c.json.dumps(json_schema)
            except TypeError as error:
                raise TypeError(f"json_schema is not JSON: {error}") from error
        constraints = [(kind, value) for kind, value in
                       (("json_schema", json_schema), ("grammar", grammar), ("regex", regex)) if value is not None]
        if len(constraints) + bool(choices) > 1:
            raise InvalidArgumentError("json_schema, grammar, regex and choices are different outputs; give one")
        kind, constraint = constraints[0] if constraints else (None, None)
        stops, stop_count = c.array([stop] if isinstance(stop, str) else stop, "stop")
        choice_list, choice_count = c.array(choices, "choices")
        adapter_list, adapter_count = c.array([adapters] if isinstance(adapters, str) else adapters, "adapters")
        scales = _scales(adapters) if isinstance(adapters, dict) and adapters else None
        biases = [c.LogitBias(c.integer(token, "a key of logit_bias"), c.number(bias, f"logit_bias[{token}]"))
                  for token, bias in c.members(logit_bias, "logit_bias")]
        self.error = None

        def deliver(start, size, _user):
            try:
                # Anything but False goes on, also a callback that returns nothing.
                with c.in_callback():
                    return int(on_text(ctypes.string_at(start, size).decode("utf-8", "replace")) is False)
            except BaseException as error:  # handed on to the caller
                self.error = error
                return 1

        self.options = c.GenerateOptions(
            max_tokens=max_tokens, temperature=temperature, top_p=top_p, min_p=min_p, top_k=top_k,
            repetition_penalty=repetition_penalty, presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty, typical_p=typical_p, top_n_sigma=top_n_sigma,
            xtc_probability=xtc_probability, xtc_threshold=xtc_threshold, mirostat_tau=mirostat_tau,
            mirostat_eta=mirostat_eta, dry_multiplier=dry_multiplier, dry_base=dry_base,
            dry_allowed_length=dry_allowed_length,
            logit_bias=(c.LogitBias * len(biases))(*biases) if biases else None, logit_bias_count=len(biases),
            seed=seed, stop=stops, stop_count=stop_count,
            constraint=c.text(kind, "constraint"), constraint_text=c.text(constraint, kind), choices=choice_list,
            choice_count=choice_count, adapters=adapter_list, adapter_count=adapter_count, adapter_scales=scales,
            priority=priority, logprobs=bool(logprobs), top_logprobs=top_logprobs,
            on_text=c.ON_TEXT(deliver) if on_text is not None else c.ON_TEXT())

    def run(self, work):
        result = c.run(work)
        if self.error is not None:
            raise self.error
        return result


def _check_names(call, given, known):
    """Of keyword arguments that another function takes, for an error in the caller's terms."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise TypeError(f"{call}() got an unexpected keyword argument {name!r}"
                            + (f"; did you mean {near[0]!r}?" if near else ""))


def _generation(call, given):
    _check_names(call, given, _GENERATION)
    return _Generation(**given)


_GENERATION = list(inspect.signature(_Generation).parameters)


def _scales(adapters):
    scales = []
    for name, scale in adapters.items():
        if scale == 0:
            raise InvalidArgumentError(f"the scale of the adapter '{name}' must not be 0")
        scales.append(0.0 if scale is None else c.number(scale, f"adapters[{name!r}]"))
    return (c.NUMBER * len(scales))(*scales)


def _or_negative(value, name):
    """A number of which C takes zero for the default, and what is negative for zero."""
    value = c.number(value, name)
    if value < 0:
        raise InvalidArgumentError(f"{name} is {value:g}, not at least 0")
    return value or -1.0


def _search_options(k, image, *, mode=None, filter=None, ef_search=0, exact=False, per_document=0, rerank_top=0,
                    rrf_k=60, dense_weight=1.0, lexical_weight=1.0, sparse_weight=1.0):
    for name, value in (("k", k), ("rrf_k", rrf_k)):
        if c.size(value, name) == 0:
            raise InvalidArgumentError(f"{name} is 0, not at least 1")
    return c.SearchOptions(k=k, mode=c.text(mode, "mode"), filter=c.text(filter, "filter"), ef_search=ef_search,
                           exact=bool(exact), per_document=per_document, rerank_top=rerank_top, image=image,
                           image_bytes=len(image) if image else 0, rrf_k=rrf_k,
                           dense_weight=_or_negative(dense_weight, "dense_weight"),
                           lexical_weight=_or_negative(lexical_weight, "lexical_weight"),
                           sparse_weight=_or_negative(sparse_weight, "sparse_weight"))


class Engine:
    """A database folder with its models. Methods may be called from several threads; one process writes it.

    encoder, sparse, reranker, classifier, reader and llm are names of models (`rag models`) or paths; each is loaded
    at its first use. encoder="none" searches by words alone; without llm answers are extracted from the passages.
    lora: {name: path} or {name: (path, scale)}, adapters that generations may name. read_only: the folder as it is
    when it is opened or refresh() is called, beside a process that writes it or where nobody may write.

        with rag.Engine("notes.db", llm="model.gguf") as engine:
            engine.index("notes", "docs/")
            for hit in engine.search("notes", "rotating the signing key", k=5):
                print(hit.score, hit.document, hit.text)
            answer = engine.ask("notes", "How often is the signing key rotated?")
            print(answer.text, answer.citations)
    """

    def __init__(self, db, *, encoder=None, models=None, precision=None, truncate_dim=0, query_prompt=None,
                 document_prompt=None, sparse=None, reranker=None, classifier=None, reader=None, llm=None, lora=None,
                 context_tokens=0, parallel=0, kv_type=None, kv_bytes=0, kv_cache=None, draft_tokens=0,
                 draft_model=None, draft_min_probability=0.5, mapped_weights=False, threads=0, read_only=False):
        self._handle = c.HANDLE()
        self._process = os.getpid()
        self._calls = 0  # that run now; guarded, as whether it closes, by the condition
        self._closing = False
        self._idle = threading.Condition()
        adapters = []
        for name, value in c.members(lora, "lora"):
            place = f"lora[{name!r}]"
            if isinstance(value, tuple) and len(value) != 2:
                raise TypeError(f"{place} must be a path or (path, scale), not a tuple of {len(value)}")
            file, scale = value if isinstance(value, tuple) else (value, 1.0)
            scale = c.number(scale, f"the scale of {place}")
            if scale == 0:
                raise InvalidArgumentError(f"the scale of the adapter '{name}' must not be 0")
            adapters.append(c.Adapter(c.needed(name, "a key of lora"), c.path(file, place), scale))
        options = c.Options(
            models_folder=_path(models, "models"), encoder=_path(encoder, "encoder"),
            precision=c.text(precision, "precision"), truncate_dim=truncate_dim,
            query_prompt=c.text(query_prompt, "query_prompt"),
            document_prompt=c.text(document_prompt, "document_prompt"), sparse=_path(sparse, "sparse"),
            reranker=_path(reranker, "reranker"), classifier=_path(classifier, "classifier"),
            reader=_path(reader, "reader"), llm=_path(llm, "llm"),
            context_tokens=context_tokens, parallel=parallel, kv_type=c.text(kv_type, "kv_type"), kv_bytes=kv_bytes,
            kv_cache=_path(kv_cache, "kv_cache"), draft_tokens=draft_tokens,
            draft_model=_path(draft_model, "draft_model"), threads=threads,
            draft_min_probability=_or_negative(draft_min_probability, "draft_min_probability"),
            mapped_weights=bool(mapped_weights), read_only=bool(read_only),
            adapters=(c.Adapter * len(adapters))(*adapters) if adapters else None, adapter_count=len(adapters))
        c.call("rag_open", c.path(db, "db"), ctypes.byref(options), ctypes.byref(self._handle))

    def close(self):
        """Saves the indexes and closes, when the calls of other threads have returned. Again: nothing."""
        if c.within_callback():
            raise FailedPreconditionError("close() would wait for the call whose callback this is")
        with self._idle:
            self._closing = True  # no call begins any more
            self._idle.wait_for(lambda: self._calls == 0)
            handle, self._handle = self._handle, c.HANDLE()
        if handle and os.getpid() == self._process:
            c.call("rag_close", handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None) and os.getpid() == self._process:
            c.lib.rag_close(self._handle)

    def __reduce__(self):
        raise TypeError("an Engine cannot be copied")

    @contextlib.contextmanager
    def _open(self):
        if os.getpid() != self._process:
            raise FailedPreconditionError("the engine was opened in another process, before a fork: open one in each, "
                                          "of databases of their own")
        with self._idle:
            if self._closing:
                raise ValueError("the engine is closed")
            self._calls += 1
        try:
            yield self._handle
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()

    # --- collections ---

    def create_collection(self, name, *, index=None, chunk_strategy=None, chunk_tokens=0, chunk_overlap=None,
                          token_vectors=False):
        """With other settings than the defaults that index() and add() make one with. index: as README's "Vector
        indexes"; chunk_strategy: "structure", "recursive", "sentence" or "fixed"; sizes in tokens."""
        no_overlap = ctypes.c_size_t(-1).value
        overlap = 0 if chunk_overlap is None else chunk_overlap or no_overlap
        options = c.CollectionOptions(index=c.text(index, "index"), chunk_tokens=chunk_tokens, chunk_overlap=overlap,
                                      chunk_strategy=c.text(chunk_strategy, "chunk_strategy"),
                                      token_vectors=bool(token_vectors))
        with self._open() as handle:
            c.call("rag_create_collection", handle, c.needed(name, "name"), ctypes.byref(options))

    def drop_collection(self, name):
        with self._open() as handle:
            c.call("rag_drop_collection", handle, c.needed(name, "name"))

    def collections(self):
        """What `rag stats --json` says of each."""
        with self._open() as handle:
            return c.call_json("rag_collections", handle, None)

    def collection(self, name):
        with self._open() as handle:
            return c.call_json("rag_collections", handle, c.needed(name, "name"))[0]

    # --- documents ---

    def index(self, collection, *paths, prune=False, hidden=False, metadata=None, progress=None):
        """Files and folders into a collection, which is made if it is not there: only what changed is read. A bad
        file is reported in the IndexReport, and the rest goes on. prune: documents are removed whose files are gone.
        metadata: laid over every document's own. progress(bytes done, bytes in all) is called now and then, on this
        thread; what it raises stops the work, and what was acknowledged before is kept."""
        listed, count = c.array(paths, "paths", c.path)
        options = c.IndexOptions(prune=bool(prune), hidden=bool(hidden), metadata_json=c.metadata(metadata))
        with self._open() as handle:
            return results.index_report(c.run(
                lambda call: c.call_json("rag_index", handle, c.needed(collection, "collection"), listed, count,
                                         ctypes.byref(options), call), progress))

    def add(self, collection, key, text=None, *, title=None, media_type=None, metadata=None, image=None):
        """Adds or replaces one document; it is durable on return. image: a picture's file as bytes, with `text` as
        its caption."""
        image = _picture(image)
        if text is None and image is None:
            raise TypeError("text must be a str, not None, where no image is given")
        encoded = None
        if text is not None:
            if not isinstance(text, str):
                raise TypeError(f"text must be a str, not {type(text).__name__}")
            encoded = c.utf8(text, "text")
        document = c.Document(key=c.needed(key, "key"), text=encoded, text_bytes=len(encoded or b""),
                              title=c.text(title, "title"), media_type=c.text(media_type, "media_type"),
                              metadata_json=c.metadata(metadata), image=image, image_bytes=len(image or b""))
        with self._open() as handle:
            return results.added(c.call_json("rag_add", handle, c.needed(collection, "collection"),
                                             ctypes.byref(document)))

    def get(self, collection, key):
        with self._open() as handle:
            return results.document(c.call_json("rag_get", handle, c.needed(collection, "collection"),
                                                c.needed(key, "key")))

    def chunk(self, collection, chunk_id):
        """The passage that Hit.chunk_id and Citation.chunk_id name, as a Hit with 0 as rank and score."""
        with self._open() as handle:
            return results.hit(c.call_json("rag_chunk", handle, c.needed(collection, "collection"),
                                           c.size(chunk_id, "chunk_id")))

    def keys(self, collection):
        """The documents' keys in order, read a thousand at a time as they are iterated over."""
        after = None
        while True:
            with self._open() as handle:
                page = c.call_json("rag_list", handle, c.needed(collection, "collection"), c.text(after, "key"), 1000)
            yield from page
            if len(page) < 1000:
                return
            if after is not None and page[-1] <= after:
                raise FailedPreconditionError(f"the key {page[-1]!r} is not UTF-8, and keys after it cannot be read")
            after = page[-1]

    def remove(self, collection, key):
        """Gone from every index on return."""
        with self._open() as handle:
            c.call("rag_remove", handle, c.needed(collection, "collection"), c.needed(key, "key"))

    # --- questions ---

    def search(self, collection, query=None, *, k=10, mode=None, filter=None, image=None, ef_search=0, exact=False,
               per_document=0, rerank_top=0, rrf_k=60, dense_weight=1.0, lexical_weight=1.0, sparse_weight=1.0):
        """The k best passages, as a list of Hit. mode: "hybrid", "dense", "lexical" or "sparse"; filter: such as
        'year >= 2020 AND lang = "de"'; image: a picture's file as bytes instead of a query; ef_search: how widely the
        graph is searched, 0 for the collection's own; exact: scan instead; per_document: at most so many passages of
        one, 0 for any number; rerank_top: so many passages are put in the reranker's order. In hybrid search each
        ranking counts weight / (rrf_k + rank). Warns when the filter can match nothing: a field that no passage has, or a
        type that does not compare."""
        if query is None and image is None:
            raise TypeError("query must be a str, not None, where no image is given")
        options = _search_options(k, _picture(image), mode=mode, filter=filter, ef_search=ef_search, exact=exact,
                                  per_document=per_document, rerank_top=rerank_top, rrf_k=rrf_k,
                                  dense_weight=dense_weight, lexical_weight=lexical_weight,
                                  sparse_weight=sparse_weight)
        with self._open() as handle:
            found = c.run(lambda call: c.call_json("rag_search", handle, c.needed(collection, "collection"),
                                                   c.text(query, "query"), ctypes.byref(options), call))
        if found["note"]:
            warnings.warn(found["note"], stacklevel=2)
        return [results.hit(each) for each in found["hits"]]

    def ask(self, collection, question, *, k=6, mode=None, filter=None, ef_search=0, exact=False, per_document=0,
            rerank_top=0, rrf_k=60, dense_weight=1.0, lexical_weight=1.0, sparse_weight=1.0, strategy=None,
            system=None, template=None, examples=None, history=(), **generation):
        """An Answer from k passages, which are searched as search() does, each citation compared with the stored
        bytes. strategy: "plain", "few-shot" or "cot"; template: a Jinja file; examples: a file of few-shot's;
        history: earlier turns, as chat() takes them; of `generation` what chat() takes, but for logprobs: an answer
        is cut out of what the decoder writes. NotFoundError when it is to match json_schema or the like and no
        passage is found."""
        own = _generation("ask", generation)
        search = _search_options(k, None, mode=mode, filter=filter, ef_search=ef_search, exact=exact,
                                 per_document=per_document, rerank_top=rerank_top, rrf_k=rrf_k,
                                 dense_weight=dense_weight, lexical_weight=lexical_weight,
                                 sparse_weight=sparse_weight)
        turns, turn_count = _messages(history, "history")
        options = c.AskOptions(
            search=ctypes.pointer(search), generate=ctypes.pointer(own.options),
            strategy=c.text(strategy, "strategy"), system=c.text(system, "system"),
            template_path=_path(template, "template"),
            examples_path=_path(examples, "examples"), history=turns, history_count=turn_count)
        with self._open() as handle:
            return results.answer(own.run(
                lambda call: c.call_json("rag_ask", handle, c.needed(collection, "collection"),
                                         c.needed(question, "question"), ctypes.byref(options), call)))

    def chat(self, messages, **generation):
        """The decoder alone: a Completion of messages, [{"role": "user", "content": "..."}] or (role, content).

        Of `generation`: max_tokens (256), stop (a string or several), seed (0; equal ones give equal outputs),
        temperature (0: the likeliest token), top_p, top_k, min_p, typical_p, top_n_sigma, xtc_probability,
        xtc_threshold (0.1), mirostat_tau, mirostat_eta (0.1), repetition_penalty, presence_penalty,
        frequency_penalty, dry_multiplier, dry_base (1.75), dry_allowed_length (2), logit_bias ({token's id: what is
        added to its logit}), one of json_schema (a dict), grammar (GBNF), regex and choices, which the whole output
        matches, adapters (names of `lora`, or {name: scale or None for its own}), priority (higher goes first where
        calls wait), logprobs (True: Completion.logprobs is filled in) with top_logprobs (so many of the likeliest
        tokens each, at most 20), and on_text: called with each piece of text as it is made, perhaps on another
        thread; returning False stops. For several answers call from several threads with a seed each: they are made
        side by side, and the prompt is run once."""
        own = _generation("chat", generation)
        read, count = _messages(messages, "messages")
        with self._open() as handle:
            return results.completion(own.run(
                lambda call: c.call_json("rag_chat", handle, read, count, ctypes.byref(own.options), call)))

    def embed(self, texts, role=None):
        """Vectors [n, dim] f32 of n texts, of one: [dim]. role: "query" or "document" puts the encoder's prompt of
        it before each."""
        if isinstance(texts, str):
            return self.embed([texts], role)[0]
        listed, sizes, count = c.sized(texts, "texts")
        with self._open() as handle:
            return _vectors(lambda out, room, dim, call: c.call(
                "rag_embed", handle, listed, sizes, count, c.text(role, "role"), call, out, room, dim), count)

    def embed_images(self, images):
        """Vectors [n, dim] f32 of n pictures' files, in the space of the texts'."""
        listed, sizes, count = c.sized(images, "images")
        with self._open() as handle:
            return _vectors(lambda out, room, dim, call: c.call(
                "rag_embed_images", handle, listed, sizes, count, call, out, room, dim), count)

    def rerank(self, query, passages):
        """Scores [n] f32: how well each passage answers the query, by the reranker."""
        listed, sizes, count = c.sized(passages, "passages")
        scores = np.empty(count, dtype=np.float32)
        with self._open() as handle:
            c.run(lambda call: c.call("rag_rerank", handle, c.needed(query, "query"), listed, sizes, count, call,
                                      scores.ctypes.data))
        return scores

    def classify(self, texts, labels=(), *, hypothesis=None, several=False):
        """For each text its Labels, the best first: those that the classifier has, or `labels`, with one that was
        trained for natural language inference."""
        listed, sizes, count = c.sized(texts, "texts")
        given, label_count = c.array(labels, "labels")
        options = c.ClassifyOptions(labels=given, label_count=label_count, several=bool(several),
                                    hypothesis=c.text(hypothesis, "hypothesis"))
        with self._open() as handle:
            found = c.run(lambda call: c.call_json("rag_classify", handle, listed, sizes, count,
                                                   ctypes.byref(options), call))
        return [results.labels(each) for each in found]

    def label_spans(self, texts):
        """For each text the Spans that a classifier of tokens labels: names, amounts."""
        listed, sizes, count = c.sized(texts, "texts")
        options = c.ClassifyOptions(tokens=True)
        with self._open() as handle:
            found = c.run(lambda call: c.call_json("rag_classify", handle, listed, sizes, count,
                                                   ctypes.byref(options), call))
        return [results.spans(each) for each in found]

    def classify_images(self, images, labels, *, templates=()):
        """For each picture's file the labels, the best first, without training: by the encoder (CLIP, SigLIP) and
        sentences such as "a photo of a {}"."""
        listed, sizes, count = c.sized(images, "images")
        given, label_count = c.array(labels, "labels")
        sentences, template_count = c.array(templates, "templates")
        options = c.ClassifyOptions(labels=given, label_count=label_count, templates=sentences,
                                    template_count=template_count)
        with self._open() as handle:
            found = c.run(lambda call: c.call_json("rag_classify_images", handle, listed, sizes, count,
                                                   ctypes.byref(options), call))
        return [results.labels(each) for each in found]

    # --- care ---

    def models(self):
        """What each model says of itself, None where there is none. Loads them."""
        with self._open() as handle:
            return c.call_json("rag_models", handle)

    def verify(self, collection):
        """{"ok", "documents", "chunks", "problems"}: everything that is stored was read and compared."""
        with self._open() as handle:
            return c.run(lambda call: c.call_json("rag_verify", handle, c.needed(collection, "collection"), call))

    def measure_recall(self, collection, sample=200, k=10):
        """A RecallReport of the vector index: `sample` stored vectors are searched for, and compared with exact
        search."""
        for name, value in (("sample", sample), ("k", k)):
            if c.size(value, name) == 0:
                raise InvalidArgumentError(f"{name} is 0, not at least 1")
        with self._open() as handle:
            return results.recall_report(c.run(lambda call: c.call_json(
                "rag_measure_recall", handle, c.needed(collection, "collection"), sample, k, call)))

    def tune(self, collection, *, recall=0.95, memory_bytes=0, k=10, apply=True, progress=None):
        """Chooses the collection's vector index by measuring kinds, codes and widths on a sample of its vectors: the
        fastest that finds `recall` (0.5 to 0.999) of the k (1 to 100) nearest and takes memory_bytes (0: any) at
        most. It is built beside the present one, which answers meanwhile, and put in its place, if apply. A
        TuneReport of all that was tried. progress(steps done, steps in all) as in index().

        FailedPreconditionError when there are fewer than 1,000 vectors, and when nothing reaches the goal, naming
        what comes nearest; UnavailableError while another call is at it. The collection is as before then."""
        for name, value in (("recall", recall), ("k", k)):
            if value == 0:
                raise InvalidArgumentError(f"{name} must be above 0")
        options = c.TuneOptions(recall=recall, memory_bytes=memory_bytes, k=k, dry_run=not apply)
        with self._open() as handle:
            return results.tune_report(c.run(
                lambda call: c.call_json("rag_tune", handle, c.needed(collection, "collection"), ctypes.byref(options),
                                         call), progress))

    def evaluate(self, folder, collection="eval", *, cutoffs=(10, 100), progress=None, **search):
        """Measures the search on data with judgements, in BEIR's layout: folder/corpus.jsonl, queries.jsonl and
        qrels/test.tsv or qrels.tsv. An EvaluateReport with nDCG, recall and MRR at each of the cutoffs (1 to 1,000),
        as trec_eval defines them. `search`: what search() takes, but k and image.

        The corpus is indexed under `collection`, which is made for it and afterwards holds this corpus alone;
        evaluating again reads what has changed. progress(bytes of the corpus done, in all) as in index().
        FailedPreconditionError when the collection holds other documents, which are left alone, or was made without
        the vectors that the mode needs: by words alone and with vectors want two collections."""
        _check_names("evaluate", search, [name for name in inspect.signature(_search_options).parameters
                                          if name not in ("k", "image")])
        cutoffs = [c.size(cutoff, f"cutoffs[{i}]") for i, cutoff in enumerate(c.items(cutoffs, "cutoffs", "integers"))]
        if not cutoffs:
            raise InvalidArgumentError("cutoffs is empty")
        options = c.EvaluateOptions(search=ctypes.pointer(_search_options(1, None, **search)),
                                    cutoffs=(c.SIZE * len(cutoffs))(*cutoffs), cutoff_count=len(cutoffs))
        with self._open() as handle:
            return results.evaluate_report(c.run(
                lambda call: c.call_json("rag_evaluate", handle, c.needed(collection, "collection"),
                                         c.path(folder, "folder"), ctypes.byref(options), call), progress))

    def check_writes(self):
        """Nothing, or the error that says why no document can be written: FailedPreconditionError when it is open for
        reading alone, IoError after a failed write, until the database is opened again."""
        with self._open() as handle:
            c.call("rag_check_writes", handle)

    def refresh(self):
        """With read_only: what another process has written since is seen from now on, while other calls go on. Whether
        there was anything. UnavailableError while it is changed again and again; another call then tries anew."""
        changed = c.INT()
        with self._open() as handle:
            c.call("rag_refresh", handle, ctypes.byref(changed))
        return bool(changed)

    def save_cache(self):
        """Writes kv_cache now, as close() does: {"blocks", "tokens", "bytes", "seconds"}."""
        with self._open() as handle:
            return c.call_json("rag_save_cache", handle)

    def backup(self, destination, progress=None):
        """Copies the database, while it serves, into a folder that must not be there: {"files", "bytes",
        "seconds"}."""
        with self._open() as handle:
            return c.run(lambda call: c.call_json("rag_backup", handle, c.path(destination, "destination"), call),
                         progress)

    def vacuum(self, progress=None):
        """After it no file holds a byte of what was removed: {"bytes_before", "bytes_after", ...}."""
        with self._open() as handle:
            return c.run(lambda call: c.call_json("rag_vacuum", handle, call), progress)


def _picture(image):
    if image is None:
        return None
    if not isinstance(image, (bytes, bytearray)):
        raise TypeError(f"image must be bytes, not {type(image).__name__}")
    if not image:
        raise InvalidArgumentError("image is empty")
    return bytes(image)


def _path(value, name):
    return None if value is None else c.path(value, name)


def _vectors(encode, count):
    dim = c.SIZE()
    c.run(lambda call: encode(None, 0, ctypes.byref(dim), call))
    out = np.empty((count, dim.value), dtype=np.float32)
    c.run(lambda call: encode(out.ctypes.data, out.size, ctypes.byref(dim), call))
    return out


def restore(backup, db, progress=None):
    """Makes the database folder `db`, which must not be there, from a backup: {"files", "bytes", "seconds"}."""
    return c.run(lambda call: c.call_json("rag_restore", c.path(backup, "backup"), c.path(db, "db"), call), progress)
