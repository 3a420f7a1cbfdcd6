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

/* The calling thread's last error, "" after success; valid until its next call. */
RAG_API const char* rag_last_error(void);
RAG_API void rag_free(char* text);

#ifdef __cplusplus
}
#endif

#endif /* RAG_BINDINGS_C_RAG_H_ */
