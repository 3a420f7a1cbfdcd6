/* rag: the C library. Stable: functions are only added; structs are opaque or versioned by size.
 *
 * Strings are UTF-8 and zero-terminated, but where a size stands beside them. What rag_* hands out
 * as `char**` is JSON in the shapes that the command line documents (README, "JSON"), and is freed
 * with rag_free. Every function that can fail returns RAG_OK or a code; rag_last_error then says
 * what happened, for the calling thread. Handles may be used from several threads.
 *
 * Of structs that are versioned, set struct_size to sizeof and the rest to zero: zero is the
 * default of every field. Pointers to them may be NULL for defaults alone. Fields are only added at
 * the end, so that programs of before are served; a library of before refuses what it does not know
 * with RAG_UNSUPPORTED.
 */
#ifndef RAG_BINDINGS_C_RAG_H_
#define RAG_BINDINGS_C_RAG_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RAG_API __attribute__((visibility("default")))
#else
#define RAG_API
#endif

#define RAG_ABI_VERSION 1

typedef struct rag_engine rag_engine;

/* The numbers are those of rag::StatusCode and never change. */
typedef enum rag_code {
  RAG_OK = 0,
  RAG_INVALID_ARGUMENT = 1,
  RAG_NOT_FOUND = 2,
  RAG_ALREADY_EXISTS = 3,
  RAG_FAILED_PRECONDITION = 4,
  RAG_OUT_OF_RANGE = 5,
  RAG_RESOURCE_EXHAUSTED = 6,
  RAG_UNAVAILABLE = 7,
  RAG_DEADLINE_EXCEEDED = 8,
  RAG_CANCELLED = 9,
  RAG_DATA_LOSS = 10,
  RAG_UNSUPPORTED = 11,
  RAG_IO_ERROR = 12,
  RAG_PERMISSION_DENIED = 13,
  RAG_INTERNAL = 14
} rag_code;

RAG_API int rag_abi_version(void);
RAG_API const char* rag_version(void);
/* The calling thread's last error, "" after success; valid until its next call. */
RAG_API const char* rag_last_error(void);
RAG_API void rag_free(char* text);

/* --- calls that take long --- */

/* Watches and stops the one call that is given it, from any thread. Where a function takes one,
 * NULL is allowed. */
typedef struct rag_call rag_call;
RAG_API rag_code rag_call_create(rag_call** out);
/* After the call has returned. NULL is allowed. */
RAG_API void rag_call_free(rag_call* call);
/* The call returns RAG_CANCELLED soon, with everything acknowledged before kept; rag_index returns
 * a report that says so. Safe in a signal handler. */
RAG_API void rag_call_cancel(rag_call* call);
/* What is done, and in all: bytes of files (rag_index, rag_evaluate, rag_backup, rag_restore) or
 * steps (rag_tune, rag_vacuum); *total is 0 while it is not known. */
RAG_API void rag_call_progress(const rag_call* call, uint64_t* done, uint64_t* total);

/* --- the engine --- */

typedef struct rag_adapter {
  const char* name; /* of generations that use it */
  const char* path; /* a GGUF file or PEFT's folder */
  double scale;     /* 0: 1 */
} rag_adapter;

/* Models are names of the models folder, or paths. */
typedef struct rag_options {
  size_t struct_size;
  const char* models_folder;   /* NULL: the user's */
  const char* encoder;         /* NULL: all-MiniLM-L6-v2; "none": lexical search only */
  const char* precision;       /* of the encoder: "f32" (NULL), "bf16x3", "bf16", "int8" */
  size_t truncate_dim;         /* elements kept of its vectors; 0: all */
  const char* query_prompt;    /* before a query; NULL: the encoder's own */
  const char* document_prompt; /* before a passage; NULL: the encoder's own */
  const char* sparse;          /* a sparse encoder; NULL: none, as for the next three */
  const char* reranker;
  const char* classifier;
  const char* reader;
  const char* llm;         /* the decoder; NULL: extractive answers */
  size_t context_tokens;   /* of a generation; 0: what the decoder's file says */
  size_t parallel;         /* generations in one batch; 0: 8 */
  const char* kv_type;     /* of their keys and values: "f32" (NULL), "f16", "q8_0", "q4_0" */
  size_t kv_bytes;         /* of all of them; 0: as memory allows */
  const char* kv_cache;    /* a file that keeps them; NULL: none */
  size_t draft_tokens;     /* guessed at once; 0: none */
  const char* draft_model; /* that guesses; NULL: none */
  const rag_adapter* adapters;
  size_t adapter_count;
  int threads;                  /* 0: all processors */
  double draft_min_probability; /* a guess of the draft model ends before a token to which it gives
                                   less; 0: 0.5, negative: 0 */
  int mapped_weights; /* leave the decoder's weights in its file, which other processes share */
  int read_only;      /* beside a process that writes, or where nobody may: the store as it is now
                         (rag_refresh) */
} rag_options;

/* Opens (and makes) the database folder. Models are loaded at their first use. */
RAG_API rag_code rag_open(const char* db_path, const rag_options* options, rag_engine** out);
/* Saves and closes, when no other call runs. NULL is allowed. */
RAG_API rag_code rag_close(rag_engine* engine);
/* RAG_OK, or why nothing can be written: RAG_FAILED_PRECONDITION when it is open for reading alone,
 * RAG_IO_ERROR after a failed write, until it is opened again. */
RAG_API rag_code rag_check_writes(rag_engine* engine);
/* Of an engine that is open for reading: what another process has written since is seen from now
 * on, while other calls go on. *changed, unless NULL: whether there was anything; nothing is for
 * others. RAG_UNAVAILABLE while it is changed again and again; another call then tries anew. */
RAG_API rag_code rag_refresh(rag_engine* engine, int* changed);
/* *info_json: {"version", "encoder", "sparse", "reranker", "classifier", "llm"}, each null where
 * there is none. Loads them. */
RAG_API rag_code rag_models(rag_engine* engine, char** info_json);

/* --- collections --- */

typedef struct rag_collection_options {
  size_t struct_size;
  const char* index;          /* NULL: "hnsw:pca8"; README, "Vector indexes" */
  const char* chunk_strategy; /* NULL: "structure"; "fixed", "sentence", "recursive" */
  size_t chunk_tokens;        /* 0: 256 */
  size_t chunk_overlap;       /* 0: 32; SIZE_MAX: none */
  int token_vectors;          /* keep the reranker's, which is one of late interaction */
} rag_collection_options;

/* Adding to a collection makes it too, with defaults. */
RAG_API rag_code rag_create_collection(rag_engine* engine, const char* name,
                                       const rag_collection_options* options);
RAG_API rag_code rag_drop_collection(rag_engine* engine, const char* name);
/* *json: an array of what `rag stats --json` says of each; of `name` alone unless it is NULL. */
RAG_API rag_code rag_collections(rag_engine* engine, const char* name, char** json);

/* --- documents --- */

typedef struct rag_document {
  size_t struct_size;
  const char* key;
  const char* text;  /* of a picture a caption, or NULL */
  size_t text_bytes; /* 0: text is zero-terminated */
  const char* title;
  const char* media_type;    /* NULL: "text/plain"; "text/markdown" */
  const char* metadata_json; /* an object, or NULL */
  const void* image;         /* a picture's file, or NULL */
  size_t image_bytes;
} rag_document;

/* Adds or replaces one document; durable on return. *status_json: {"replaced", "unchanged",
 * "chunks"}; it may be NULL. */
RAG_API rag_code rag_add(rag_engine* engine, const char* collection, const rag_document* document,
                         char** status_json);

typedef struct rag_index_options {
  size_t struct_size;
  int prune;                 /* remove documents whose files are gone */
  int hidden;                /* also files whose names begin with a dot */
  const char* metadata_json; /* an object laid over every document's own, or NULL */
} rag_index_options;

/* Indexes files and folders; *report_json as `rag index --json`. It may be NULL. */
RAG_API rag_code rag_index(rag_engine* engine, const char* collection, const char* const* paths,
                           size_t path_count, const rag_index_options* options, rag_call* call,
                           char** report_json);
/* *document_json as `rag get --json`. */
RAG_API rag_code rag_get(rag_engine* engine, const char* collection, const char* key,
                         char** document_json);
/* *keys_json: an array of at most `limit` keys in order, after `after`, which may be NULL. */
RAG_API rag_code rag_list(rag_engine* engine, const char* collection, const char* after,
                          size_t limit, char** keys_json);
/* The passage that a search's chunk_id names: *hit_json as one of `rag search --json`, with 0 as
 * rank and score. */
RAG_API rag_code rag_chunk(rag_engine* engine, const char* collection, uint64_t chunk_id,
                           char** hit_json);
RAG_API rag_code rag_remove(rag_engine* engine, const char* collection, const char* key);

/* --- questions --- */

typedef struct rag_search_options {
  size_t struct_size;
  size_t k;           /* 0: 10, of rag_ask 6 sources */
  const char* mode;   /* NULL: "hybrid"; "dense", "lexical", "sparse" */
  const char* filter; /* README, "JSON" */
  size_t ef_search;
  int exact;           /* scan instead of walking the graph */
  size_t per_document; /* at most so many passages of one document; 0: any number */
  size_t rerank_top;   /* passages put in the reranker's order; 0: none */
  const void* image;   /* a picture's file, instead of the query */
  size_t image_bytes;
  size_t rrf_k;        /* hybrid: a rank counts weight / (rrf_k + rank); 0: 60 */
  double dense_weight; /* of the ranking by vectors; 0: 1, negative: 0, as for the next two */
  double lexical_weight;
  double sparse_weight;
} rag_search_options;

/* *hits_json as `rag search --json`. */
RAG_API rag_code rag_search(rag_engine* engine, const char* collection, const char* query,
                            const rag_search_options* options, rag_call* call, char** hits_json);

/* Gets each piece of the text as it is made, on the calling thread; anything but 0 stops it. */
typedef int (*rag_on_text)(const char* text, size_t bytes, void* user);

typedef struct rag_logit_bias {
  int32_t token; /* its id, as log-probabilities name it */
  double bias;   /* added to its logit, from -1000 to 1000 */
} rag_logit_bias;

typedef struct rag_generate_options {
  size_t struct_size;
  size_t max_tokens;  /* 0: 256 */
  double temperature; /* 0: the likeliest token */
  double top_p;       /* 0: 1 */
  double min_p;
  size_t top_k;
  double repetition_penalty; /* 0: 1 */
  double presence_penalty;
  double frequency_penalty;
  uint64_t seed;
  const char* const* stop; /* strings that end the text */
  size_t stop_count;
  const char* constraint;      /* "json_schema", "grammar" or "regex"; NULL: none */
  const char* constraint_text; /* the schema, grammar or expression */
  const char* const* choices;  /* or these strings, one of which it is */
  size_t choice_count;
  const char* const* adapters; /* names of rag_options.adapters */
  size_t adapter_count;
  int priority; /* higher goes first where requests wait */
  rag_on_text on_text;
  void* user;
  double typical_p; /* 0: 1 */
  double top_n_sigma;
  double xtc_probability;
  double xtc_threshold; /* 0: 0.1 */
  double mirostat_tau;
  double mirostat_eta; /* 0: 0.1 */
  double dry_multiplier;
  double dry_base;           /* 0: 1.75 */
  size_t dry_allowed_length; /* 0: 2 */
  const rag_logit_bias* logit_bias;
  size_t logit_bias_count;      /* at most 1,024 */
  const double* adapter_scales; /* [adapter_count], 0 for the adapter's own; NULL: all of them */
  int logprobs;                 /* of each token; of rag_chat alone */
  size_t top_logprobs;          /* with as many of the likeliest tokens each, at most 20 */
} rag_generate_options;

typedef struct rag_message {
  const char* role; /* "system", "user" or "assistant" */
  const char* content;
} rag_message;

typedef struct rag_ask_options {
  size_t struct_size;
  const rag_search_options* search; /* its image is not used */
  const rag_generate_options* generate;
  const char* strategy;       /* NULL: "plain"; "few-shot", "cot" */
  const char* system;         /* instead of the strategy's system message */
  const char* template_path;  /* a Jinja file instead of the strategy's */
  const char* examples_path;  /* of few-shot */
  const rag_message* history; /* earlier turns, oldest first */
  size_t history_count;
} rag_ask_options;

/* *answer_json as `rag ask --json`. RAG_NOT_FOUND when the answer is held to a constraint and no
 * passage is found. It has no log-probabilities: an answer is cut out of what the decoder writes.
 */
RAG_API rag_code rag_ask(rag_engine* engine, const char* collection, const char* question,
                         const rag_ask_options* options, rag_call* call, char** answer_json);
/* The decoder alone. *result_json: {"answer", "finish_reason", "usage", "timings_ms"}, and where
 * asked for "logprobs", an array of {"token", "id", "logprob", "bytes", "top_logprobs"} of each
 * token but those at the end that a stop string cut off: natural logarithms of the probabilities as
 * the model gives them, before options and constraint, with the bytes that the token adds to the
 * text, and as many others, the likeliest first. */
RAG_API rag_code rag_chat(rag_engine* engine, const rag_message* messages, size_t message_count,
                          const rag_generate_options* options, rag_call* call, char** result_json);

/* vectors [count, dim] f32 into `out`, which has room for out_floats; *dim is set also when out is
 * NULL. text_bytes [count], or NULL where texts are zero-terminated. role: "plain" (NULL), "query"
 * or "document": which prompt of the encoder stands before each. An empty text is
 * RAG_INVALID_ARGUMENT. */
RAG_API rag_code rag_embed(rag_engine* engine, const char* const* texts, const size_t* text_bytes,
                           size_t count, const char* role, rag_call* call, float* out,
                           size_t out_floats, size_t* dim);
/* The same of pictures' files, in the same space. */
RAG_API rag_code rag_embed_images(rag_engine* engine, const void* const* images,
                                  const size_t* image_bytes, size_t count, rag_call* call,
                                  float* out, size_t out_floats, size_t* dim);
/* scores [count]: how well each passage answers the query, by the reranker. */
RAG_API rag_code rag_rerank(rag_engine* engine, const char* query, const char* const* passages,
                            const size_t* passage_bytes, size_t count, rag_call* call,
                            float* scores);

typedef struct rag_classify_options {
  size_t struct_size;
  const char* const* labels; /* of the caller's choosing; none: those the classifier has */
  size_t label_count;
  const char* hypothesis;       /* of texts; NULL: "This example is {}." */
  int several;                  /* of texts: each label is right or wrong by itself */
  int tokens;                   /* of texts: the places that a classifier of tokens labels */
  const char* const* templates; /* of pictures; none: "a photo of a {}" */
  size_t template_count;
} rag_classify_options;

/* *results_json: an array of what `rag classify --json` says of each text, or picture by the
 * encoder, which needs labels. */
RAG_API rag_code rag_classify(rag_engine* engine, const char* const* texts,
                              const size_t* text_bytes, size_t count,
                              const rag_classify_options* options, rag_call* call,
                              char** results_json);
RAG_API rag_code rag_classify_images(rag_engine* engine, const void* const* images,
                                     const size_t* image_bytes, size_t count,
                                     const rag_classify_options* options, rag_call* call,
                                     char** results_json);

/* --- care --- */

/* *report_json as `rag verify --json`. */
RAG_API rag_code rag_verify(rag_engine* engine, const char* collection, rag_call* call,
                            char** report_json);
/* How much of the k nearest (0: 10) the vector index finds of `sample` (0: 200) stored vectors,
 * compared with exact search: *report_json {"queries", "k", "recall", "seconds"}. */
RAG_API rag_code rag_measure_recall(rag_engine* engine, const char* collection, size_t sample,
                                    size_t k, rag_call* call, char** report_json);

typedef struct rag_tune_options {
  size_t struct_size;
  double recall;       /* of the k nearest, 0.5 to 0.999; 0: 0.95 */
  size_t memory_bytes; /* that the index may take; 0: any */
  size_t k;            /* 1 to 100; 0: 10 */
  int dry_run;         /* only measure */
} rag_tune_options;

/* Tries kinds of vector indexes, codes and widths on a sample of the stored vectors, builds the
 * fastest that finds enough and fits in the memory beside the present one, which answers meanwhile,
 * and puts it in its place. *report_json, which may be NULL, as `rag tune --json`.
 * RAG_FAILED_PRECONDITION when there are fewer than 1,000 vectors, and when nothing reaches the
 * goal, naming what comes nearest; RAG_UNAVAILABLE while another call is at it. The collection is
 * as before then. */
RAG_API rag_code rag_tune(rag_engine* engine, const char* collection,
                          const rag_tune_options* options, rag_call* call, char** report_json);

typedef struct rag_evaluate_options {
  size_t struct_size;
  const rag_search_options* search; /* of each query; its k and image are not used */
  const size_t* cutoffs;            /* of the metrics, 1 to 1,000; NULL: 10 and 100 */
  size_t cutoff_count;              /* at most 64 */
} rag_evaluate_options;

/* Indexes the corpus of a folder in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/test.tsv or
 * qrels.tsv) under `collection`, which is made for it and afterwards holds this corpus alone, and
 * searches with the judged queries: *report_json as `rag eval --json`, metrics as trec_eval defines
 * them. RAG_FAILED_PRECONDITION when the collection holds other documents, which are left alone. */
RAG_API rag_code rag_evaluate(rag_engine* engine, const char* collection, const char* folder,
                              const rag_evaluate_options* options, rag_call* call,
                              char** report_json);
/* As `rag backup` and `rag vacuum`, while others read and write. The reports may be NULL. */
RAG_API rag_code rag_backup(rag_engine* engine, const char* destination, rag_call* call,
                            char** report_json);
RAG_API rag_code rag_vacuum(rag_engine* engine, rag_call* call, char** report_json);
/* Writes rag_options.kv_cache now, as rag_close does: *report_json, which may be NULL, {"blocks",
 * "tokens", "bytes", "seconds"}. RAG_FAILED_PRECONDITION without a decoder or the file's name. */
RAG_API rag_code rag_save_cache(rag_engine* engine, char** report_json);
/* Makes the database folder, which must not be there, from a backup. */
RAG_API rag_code rag_restore(const char* backup, const char* db_path, rag_call* call,
                             char** report_json);

/* --- the vector index by itself --- */

/* Vectors that carry the caller's 64-bit ids, in memory. */
typedef struct rag_vector_index rag_vector_index;

/* An id that no search result has. */
#define RAG_NO_ID UINT64_MAX

/* spec: KIND or KIND:key=value,... ("flat", "hnsw:m=16,ef_construction=200"); metric: "l2", "ip" or
 * "cosine"; dim: 1 .. 65,535; threads: 0 for all, at most 1,024. */
RAG_API rag_code rag_vector_index_create(const char* spec, const char* metric, size_t dim,
                                         int threads, rag_vector_index** out);
/* NULL is allowed. */
RAG_API void rag_vector_index_free(rag_vector_index* index);
/* vectors [count, dim] f32, row i belongs to ids[i]; an id that is there already is replaced. An
 * error names the row, and nothing was added then. */
RAG_API rag_code rag_vector_index_add(rag_vector_index* index, const uint64_t* ids,
                                      const float* vectors, size_t count);
/* Ids that are not there are ignored; *removed, which may be NULL, counts those that were. */
RAG_API rag_code rag_vector_index_remove(rag_vector_index* index, const uint64_t* ids, size_t count,
                                         size_t* removed);
/* queries [count, dim] f32 -> ids and scores [count, k], best first, larger scores better (l2: the
 * negative squared distance); where there are fewer than k, RAG_NO_ID and -infinity. width: of the
 * search (ef of a graph, probes of inverted lists), 0 for the index's own. scores may be NULL. k: 1
 * .. 65,535. */
RAG_API rag_code rag_vector_index_search(const rag_vector_index* index, const float* queries,
                                         size_t count, size_t k, size_t width, uint64_t* ids,
                                         float* scores);
RAG_API rag_code rag_vector_index_size(const rag_vector_index* index, size_t* vectors,
                                       size_t* memory_bytes);
/* One file, written atomically. Loading needs the spec, metric and dim that it was made with. */
RAG_API rag_code rag_vector_index_save(const rag_vector_index* index, const char* path);
RAG_API rag_code rag_vector_index_load(const char* path, const char* spec, const char* metric,
                                       size_t dim, int threads, rag_vector_index** out);

#ifdef __cplusplus
}
#endif

#endif /* RAG_BINDINGS_C_RAG_H_ */
