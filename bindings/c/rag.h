/* rag: the C library. Stable: functions are only added; structs are opaque or versioned by size.
 *
 * Strings are UTF-8 and zero-terminated. What rag_* hands out as `char**` is JSON in the shapes
 * that the command line documents (README, "JSON"), and is freed with rag_free. Every function
 * returns RAG_OK or a code; rag_last_error then says what happened, for the calling thread. A
 * handle may be used from several threads.
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
  RAG_UNIMPLEMENTED = 11,
  RAG_IO_ERROR = 12,
  RAG_PERMISSION_DENIED = 13,
  RAG_INTERNAL = 14
} rag_code;

/* Set struct_size to sizeof(rag_options) and the rest to zero for defaults. */
typedef struct rag_options {
  size_t struct_size;
  const char* models_folder; /* NULL: the user's */
  const char* encoder;       /* NULL: all-MiniLM-L6-v2; "none": lexical search only */
  const char* llm;           /* NULL: extractive answers */
  int threads;               /* 0: all */
} rag_options;

RAG_API int rag_abi_version(void);
RAG_API const char* rag_version(void);

/* Opens (and makes) the database folder. options may be NULL. */
RAG_API rag_code rag_open(const char* db_path, const rag_options* options, rag_engine** out);
/* Saves and closes. NULL is allowed. */
RAG_API rag_code rag_close(rag_engine* engine);

/* Adds or replaces one document; durable on return. metadata_json: an object, or NULL. The
 * collection is made when missing. */
RAG_API rag_code rag_add(rag_engine* engine, const char* collection, const char* key,
                         const char* text, const char* title, const char* metadata_json);
/* Indexes a file or folder; *report_json as `rag index --json`. report_json may be NULL. */
RAG_API rag_code rag_index(rag_engine* engine, const char* collection, const char* path,
                           char** report_json);
RAG_API rag_code rag_remove(rag_engine* engine, const char* collection, const char* key);
/* mode: "dense", "lexical", "hybrid" or NULL; filter: NULL for none. *hits_json as `rag search
 * --json`. */
RAG_API rag_code rag_search(rag_engine* engine, const char* collection, const char* query, size_t k,
                            const char* mode, const char* filter, char** hits_json);
/* *answer_json as `rag ask --json`. */
RAG_API rag_code rag_ask(rag_engine* engine, const char* collection, const char* question, size_t k,
                         size_t max_tokens, char** answer_json);
/* vectors [count, dim] f32 into `out`, which has room for out_floats; *dim is set also when out is
 * NULL. */
RAG_API rag_code rag_embed(rag_engine* engine, const char* const* texts, size_t count, float* out,
                           size_t out_floats, size_t* dim);

/* The vector index by itself: vectors that carry the caller's 64-bit ids, in memory. */
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

/* The calling thread's last error, "" after success; valid until its next call. */
RAG_API const char* rag_last_error(void);
RAG_API void rag_free(char* text);

#ifdef __cplusplus
}
#endif

#endif /* RAG_BINDINGS_C_RAG_H_ */
