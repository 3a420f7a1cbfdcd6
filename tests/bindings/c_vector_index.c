/* The vector index of the C library as a C program uses it. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "bindings/c/rag.h"

enum { kDim = 3, kRows = 4 };

static int failures = 0;

static void Expect(int holds, const char* what) {
  if (holds) return;
  ++failures;
  fprintf(stderr, "%s (last error: '%s')\n", what, rag_last_error());
}

static void CheckSearch(const rag_vector_index* index) {
  const float queries[2 * kDim] = {0, 0, 0.9f, 1, 0, 0};
  uint64_t ids[2 * 5];
  float scores[2 * 5];
  Expect(rag_vector_index_search(index, queries, 2, 5, 0, ids, scores) == RAG_OK, "search");
  Expect(ids[0] == 12 && ids[5] == 10, "the nearest come first");
  Expect(scores[5] == 0 && scores[0] < 0 && scores[0] > -0.011f, "scores are negative squares");
  Expect(ids[3] == RAG_NO_ID && scores[3] < -1e30f, "three vectors give no four neighbours");
}

int main(int argc, char** argv) {
  const uint64_t ids[kRows] = {10, 11, 12, 13};
  const float vectors[kRows * kDim] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1};
  float broken[kDim] = {1, 0, 0};
  uint64_t out[5];
  const char* spec = "hnsw:m=8,ef_construction=50";
  char path[4096];
  rag_vector_index* index = NULL;
  rag_vector_index* loaded = NULL;
  size_t count = 0;
  size_t bytes = 0;
  if (argc != 2 || strlen(argv[1]) > sizeof path - 8) return 2;
  snprintf(path, sizeof path, "%s.index", argv[1]);

  Expect(rag_vector_index_create(spec, "l2", kDim, 1, &index) == RAG_OK, "create");
  Expect(rag_vector_index_add(index, ids, vectors, kRows) == RAG_OK, "add");
  Expect(rag_vector_index_remove(index, ids + 3, 1, &count) == RAG_OK && count == 1, "remove");
  Expect(rag_vector_index_size(index, &count, &bytes) == RAG_OK && count == 3 && bytes > 0, "size");
  CheckSearch(index);
  Expect(rag_vector_index_save(index, path) == RAG_OK, "save");
  Expect(rag_vector_index_load(path, spec, "l2", kDim, 1, &loaded) == RAG_OK, "load");
  CheckSearch(loaded);
  rag_vector_index_free(loaded);

  /* Errors have codes and say what was wrong. */
  Expect(rag_vector_index_load(path, spec, "ip", kDim, 1, &loaded) == RAG_FAILED_PRECONDITION &&
             loaded == NULL,
         "another metric is refused");
  Expect(rag_vector_index_load("no-such.index", spec, "l2", kDim, 1, &loaded) == RAG_NOT_FOUND,
         "a missing file");
  Expect(rag_vector_index_create("tree", "l2", kDim, 1, &loaded) == RAG_INVALID_ARGUMENT &&
             strstr(rag_last_error(), "tree") != NULL && loaded == NULL,
         "an unknown kind");
  Expect(rag_vector_index_create("flat:m=4", "l2", kDim, 1, &loaded) == RAG_INVALID_ARGUMENT,
         "a key of another kind");
  Expect(rag_vector_index_create("flat", "far", kDim, 1, &loaded) == RAG_INVALID_ARGUMENT,
         "an unknown metric");
  Expect(rag_vector_index_create("flat", "l2", 70000, 1, &loaded) == RAG_INVALID_ARGUMENT,
         "a dimension over the bound");
  Expect(rag_vector_index_create("flat", "l2", kDim, -1, &loaded) == RAG_INVALID_ARGUMENT,
         "negative threads");
  Expect(rag_vector_index_create(NULL, "l2", kDim, 1, &loaded) == RAG_INVALID_ARGUMENT, "no spec");
  broken[1] = broken[0] / 0.0f;
  Expect(rag_vector_index_add(index, ids, broken, 1) == RAG_INVALID_ARGUMENT, "infinity");
  Expect(rag_vector_index_add(index, NULL, vectors, 1) == RAG_INVALID_ARGUMENT, "no ids");
  Expect(rag_vector_index_add(index, ids, vectors, SIZE_MAX) == RAG_OUT_OF_RANGE, "a mad count");
  Expect(rag_vector_index_search(index, vectors, 1, 0, 0, out, NULL) == RAG_INVALID_ARGUMENT,
         "k 0");
  Expect(rag_vector_index_search(index, vectors, 1, 70000, 0, out, NULL) == RAG_INVALID_ARGUMENT,
         "k over the bound");
  Expect(rag_vector_index_search(NULL, vectors, 1, 5, 0, out, NULL) == RAG_INVALID_ARGUMENT,
         "no index");
  Expect(rag_vector_index_search(index, vectors, 1, 5, 0, out, NULL) == RAG_OK && out[0] == 10,
         "scores may be left out");
  rag_vector_index_free(index);
  rag_vector_index_free(NULL);
  remove(path);
  if (failures == 0) printf("ok\n");
  return failures != 0;
}
