#include "apps/common/settings_table.h"

#include <algorithm>

namespace rag {

std::vector<Setting> BindSettings(Settings& s) {
  using Text = Setting::Text;
  using Path = Setting::Path;
  using Model = Setting::Model;
  using NamedPaths = Setting::NamedPaths;
  using Choice = Setting::Choice;
  using Count = Setting::Count;
  using Number = Setting::Number;
  using Flag = Setting::Flag;
  constexpr uint64_t kBig = uint64_t{1} << 40;
  constexpr double kDay = 86'400;
  return {
      {"db", "RAG_DB", Path{&s.db}, "folder of the store"},
      {"models", "RAG_MODELS", Path{&s.models}, "folder of the models"},
      {"encoder", "RAG_ENCODER", Model{&s.encoder}, "encoder: a name, a folder, or none"},
      {"truncate_dim", "RAG_TRUNCATE_DIM", Count{&s.truncate_dim, 0, 1 << 16},
       "first elements kept of each vector, of a Matryoshka model; 0: all"},
      {"query_prompt", "RAG_QUERY_PROMPT", Text{&s.query_prompt},
       "before a query, for encoders that name none (E5: \"query: \")"},
      {"document_prompt", "RAG_DOCUMENT_PROMPT", Text{&s.document_prompt},
       "before a document's passages (E5: \"passage: \")"},
      {"precision", "RAG_PRECISION", Choice{&s.precision, "f32|bf16x3|bf16|int8"},
       "of encoder, reranker and the like: f32, bf16x3, bf16 or int8"},
      {"sparse", "RAG_SPARSE", Model{&s.sparse},
       "encoder of learned sparse vectors (SPLADE): a name or a folder"},
      {"sparse_cache_bytes", "RAG_SPARSE_CACHE_BYTES", Count{&s.sparse_cache_bytes, 0, kBig},
       "memory of the sparse vectors' lists that searches keep; 0: all are read from the store"},
      {"reranker", "RAG_RERANKER", Model{&s.reranker},
       "cross-encoder or late interaction model that reranks passages: a name or a folder"},
      {"classifier", "RAG_CLASSIFIER", Model{&s.classifier},
       "model that labels texts, their tokens, or by entailment: a name or a folder"},
      {"reader", "RAG_READER", Model{&s.reader},
       "question answering model that reads answers from the sources when there is no decoder"},
      {"llm", "RAG_LLM", Model{&s.llm}, "decoder: a name or a GGUF file"},
      {"lora", "RAG_LORA", NamedPaths{&s.lora},
       "LoRA adapter of the decoder, NAME=PATH[:SCALE]: a GGUF file or a folder of PEFT's"},
      {"context_tokens", "RAG_CONTEXT_TOKENS", Count{&s.context_tokens, 0, 1 << 24},
       "context of the decoder; 0: its own"},
      {"parallel", "RAG_PARALLEL", Count{&s.parallel, 1, 256},
       "generations side by side in one batch; more wait"},
      {"draft_tokens", "RAG_DRAFT_TOKENS", Count{&s.draft_tokens, 0, 16},
       "tokens guessed at once, from the text before or by the draft model; 0: none, or 8 with "
       "one"},
      {"draft_model", "RAG_DRAFT_MODEL", Model{&s.draft_model},
       "smaller decoder of the same vocabulary that guesses tokens: a name or a GGUF file"},
      {"draft_min_probability", "RAG_DRAFT_MIN_PROBABILITY",
       Number{&s.draft_min_probability, 0, 0.999},
       "the draft model guesses no token to which it gives less"},
      {"kv_type", "RAG_KV_TYPE", Choice{&s.kv_type, "f32|f16|q8_0|q4_0"},
       "how the decoder's keys and values are kept"},
      {"kv_bytes", "RAG_KV_BYTES", Count{&s.kv_bytes, 0, kBig},
       "memory of all keys and values; 0: parallel contexts, at most a quarter of the machine's"},
      {"kv_cache", "RAG_KV_CACHE", Path{&s.kv_cache},
       "file that keeps them from one run to the next; it holds the texts (mode 0600)"},
      {"mapped_weights", "RAG_MAPPED_WEIGHTS", Flag{&s.mapped_weights},
       "leave the decoder's weights in its file, which processes share: less memory, slower"},
      {"threads", "RAG_THREADS", Count{&s.threads, 0, 4096},
       "threads that compute; 0: every processor"},
      {"isa", "RAG_ISA", Choice{&s.isa, "scalar|avx2|avx512|amx|"},
       "instruction set: scalar, avx2, avx512 or amx"},
      {"device", "RAG_DEVICE", Choice{&s.device, "auto|cpu|cuda|"}, "auto, cpu or cuda"},
      {"collection", "RAG_COLLECTION", Text{&s.collection}, "collection when none is named"},
      {"log_level", "RAG_LOG_LEVEL", Choice{&s.log_level, "debug|info|warning|error"},
       "debug, info, warning or error"},
      {"log_format", "RAG_LOG_FORMAT", Choice{&s.log_format, "text|json"}, "text or json"},
      {"chunk.strategy", "RAG_CHUNK_STRATEGY",
       Choice{&s.chunk.strategy, "fixed|sentence|recursive|structure"},
       "how documents are cut: fixed, sentence, recursive or structure"},
      {"chunk.tokens", "RAG_CHUNK_TOKENS", Count{&s.chunk.tokens, 8, 8192},
       "tokens of a chunk (new collections)"},
      {"chunk.overlap", "RAG_CHUNK_OVERLAP", Count{&s.chunk.overlap, 0, 4095},
       "tokens shared by neighbours"},
      {"index.kind", "RAG_INDEX_KIND", Text{&s.index.kind},
       "hnsw, ivf, flat, with settings as hnsw:pca8, or chosen by measuring as "
       "auto:recall=0.95,memory=512mb (new collections)"},
      {"index.token_vectors", "RAG_INDEX_TOKEN_VECTORS", Flag{&s.index.token_vectors},
       "keep the token vectors of the late interaction model --rerank names (new collections)"},
      {"index.m", "RAG_INDEX_M", Count{&s.index.m, 2, 128}, "HNSW links a node"},
      {"index.ef_construction", "RAG_INDEX_EF_CONSTRUCTION",
       Count{&s.index.ef_construction, 1, 65'535}, "HNSW width while building"},
      {"index.ef_search", "RAG_INDEX_EF_SEARCH", Count{&s.index.ef_search, 1, 65'535},
       "HNSW width while searching"},
      {"search.mode", "RAG_SEARCH_MODE", Choice{&s.search.mode, "dense|lexical|sparse|hybrid"},
       "dense, lexical, sparse or hybrid (all that the collection has)"},
      {"search.k", "RAG_SEARCH_K", Count{&s.search.k, 1, 10'000}, "passages of a search"},
      {"search.rerank_top", "RAG_SEARCH_RERANK_TOP", Count{&s.search.rerank_top, 1, 1'000},
       "passages that are reranked when there is a reranker"},
      {"ask.strategy", "RAG_ASK_STRATEGY", Choice{&s.ask.strategy, "plain|few-shot|cot"},
       "plain, few-shot or cot"},
      {"ask.k", "RAG_ASK_K", Count{&s.ask.k, 1, 10'000}, "sources of an answer"},
      {"ask.max_tokens", "RAG_ASK_MAX_TOKENS", Count{&s.ask.max_tokens, 1, 1 << 24},
       "tokens of the answer"},
      {"ask.temperature", "RAG_ASK_TEMPERATURE", Number{&s.ask.temperature, 0, 100},
       "0: always the likeliest token"},
      {"ask.template", "RAG_ASK_TEMPLATE", Path{&s.ask.template_path},
       "Jinja file instead of the built-in prompt"},
      {"ask.examples", "RAG_ASK_EXAMPLES", Path{&s.ask.examples_path},
       "JSONL with question and answer, for few-shot"},
      {"ask.system", "RAG_ASK_SYSTEM", Text{&s.ask.system},
       "system message instead of the built-in one"},
      {"server.listen", "RAG_LISTEN", Text{&s.server.listen},
       "HOST:PORT ([ADDRESS]:PORT for IPv6), or none"},
      {"server.socket", "RAG_SOCKET", Path{&s.server.socket}, "path of a Unix domain socket"},
      {"", "RAG_API_KEY", Text{&s.server.api_key}, "API key"},
      {"server.api_key_file", "RAG_API_KEY_FILE", Path{&s.server.api_key_file},
       "file (mode 0600) with the key in its first line"},
      {"server.insecure_no_auth", "RAG_INSECURE_NO_AUTH", Flag{&s.server.insecure_no_auth},
       "listen beyond loopback without a key"},
      {"server.read_only", "RAG_READ_ONLY", Flag{&s.server.read_only},
       "serve the store beside a process that writes it, or where nobody may"},
      {"server.refresh_seconds", "RAG_REFRESH_SECONDS", Number{&s.server.refresh_seconds, 0, kDay},
       "between looks at what that process has written; 0: never"},
      {"server.backups", "RAG_BACKUPS", Path{&s.server.backups},
       "folder that POST /v1/admin/backup fills"},
      {"server.max_body_bytes", "RAG_MAX_BODY_BYTES", Count{&s.server.max_body_bytes, 1024, kBig},
       "of a request"},
      {"server.max_connections", "RAG_MAX_CONNECTIONS",
       Count{&s.server.max_connections, 1, 1'000'000}, "open at one time"},
      {"server.workers", "RAG_WORKERS", Count{&s.server.workers, 1, 1024},
       "requests worked on at one time"},
      {"server.queue", "RAG_QUEUE", Count{&s.server.queue, 0, 1'000'000},
       "requests that may wait for a worker"},
      {"server.read_timeout_seconds", "RAG_READ_TIMEOUT_SECONDS",
       Number{&s.server.read_timeout_seconds, 0.1, kDay}, "of one whole request"},
      {"server.write_timeout_seconds", "RAG_WRITE_TIMEOUT_SECONDS",
       Number{&s.server.write_timeout_seconds, 0.1, kDay}, "of one write"},
      {"server.idle_timeout_seconds", "RAG_IDLE_TIMEOUT_SECONDS",
       Number{&s.server.idle_timeout_seconds, 0.1, kDay}, "between two requests"},
      {"server.drain_seconds", "RAG_DRAIN_SECONDS", Number{&s.server.drain_seconds, 0, kDay},
       "for requests in flight when stopping"},
  };
}

std::vector<std::string> SplitChoices(std::string_view choices, char separator) {
  std::vector<std::string> split;
  for (size_t begin = 0; begin <= choices.size();) {
    const size_t end = std::min(choices.find(separator, begin), choices.size());
    split.emplace_back(choices.substr(begin, end - begin));
    begin = end + 1;
  }
  return split;
}

}  // namespace rag
