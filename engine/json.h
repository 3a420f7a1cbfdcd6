// The documented JSON shapes (README, "JSON") of what the engine returns: one place for the command
// line, the daemon and the C library.
#pragma once

#include "engine/engine.h"
#include "lib/base/value.h"

namespace rag {

Value ToValue(const IngestReport& report);  // {"files","indexed","unchanged","removed","failed",…}
Value ToValue(const Hit& hit);              // {"rank","score","document","chunk_id",…}
Value ToValue(const SearchResponse& response);  // {"hits","took_ms"}
Value ToValue(const Citation& citation);
Value ToValue(const Classification& scores);  // [{"label","probability","logit"}]
// A place that is labelled: {"start","end","label","score","text"}; text is all of it.
Value ToValue(const LabelledRange& range, std::string_view text);
Value ToValue(const Answer& answer);  // {"answer","citations","mode","usage","timings_ms",…}
// OpenAI's shape with the token's id: {"token","id","logprob","bytes","top_logprobs"}.
Value ToValue(const TokenLogprobs& token);
// Of the decoder alone: {"answer","finish_reason","usage","timings_ms"}, and "logprobs" where there
// are any.
Value ToValue(const GenerateResult& result);
Value ToValue(const EvaluateReport& report);  // {"ndcg@10",…,"queries","seconds"}
Value ToValue(const CollectionInfo& info);
Value ToValue(const VerifyReport& report);
Value ToValue(const RecallReport& report);  // {"queries","k","recall","seconds"}
Value ToValue(const TuneReport& report);    // {"goal","rows","picked","trials",…}
Value ToValue(const BackupReport& report);  // {"files","bytes","seconds"}
Value ToValue(const VacuumReport& report);  // {"bytes_before","bytes_after","bytes_gained",…}
Value ToValue(const StoredDocument& document);
Value ToValue(const EncoderInfo& info);
Value ToValue(const RerankerInfo& info);
Value ToValue(const SparseEncoderInfo& info);
Value ToValue(const ClassifierInfo& info);  // {"task","labels"}, the task as Hugging Face names it
Value ToValue(const AdapterInfo& info);
Value ToValue(const GeneratorInfo& info);
Value ToValue(const CacheSaveReport& report);
// {"error": {"code": "not_found", "message": "…"}}
Value ToValue(const Status& error);

}  // namespace rag
