/* The header as a C program sees it; prints what c_abi_test.cc compares. */
#include <stdio.h>
#include <string.h>

#include "bindings/c/rag.h"

static int Check(rag_code code, const char* what) {
  if (code == RAG_OK) return 0;
  fprintf(stderr, "%s: %d %s\n", what, (int)code, rag_last_error());
  return 1;
}

int main(int argc, char** argv) {
  rag_options options;
  rag_document document;
  rag_engine* engine = NULL;
  char* json = NULL;
  if (argc != 2) return 2;
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.encoder = "none";
  options.threads = 1;
  if (rag_abi_version() != RAG_ABI_VERSION) return 3;
  if (Check(rag_open(argv[1], &options, &engine), "open")) return 1;
  memset(&document, 0, sizeof document);
  document.struct_size = sizeof document;
  document.key = "sky";
  document.text = "The sky is blue. Grass is green.";
  document.title = "Colours";
  document.metadata_json = "{\"year\": 2024}";
  if (Check(rag_add(engine, "notes", &document, NULL), "add")) return 1;
  if (Check(rag_ask(engine, "notes", "What colour is the sky?", NULL, NULL, &json), "ask")) {
    return 1;
  }
  if (strstr(json, "The sky is blue. [1]") == NULL) {
    fprintf(stderr, "unexpected answer: %s\n", json);
    return 1;
  }
  rag_free(json);
  if (rag_search(engine, "absent", "sky", NULL, NULL, &json) != RAG_NOT_FOUND) return 4;
  if (json != NULL || strstr(rag_last_error(), "absent") == NULL) return 5;
  if (Check(rag_close(engine), "close")) return 1;
  printf("ok\n");
  return 0;
}
