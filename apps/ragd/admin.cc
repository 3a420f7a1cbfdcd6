// POST /v1/admin/…: what the daemon's keeper asks of it. Refused by a daemon without a key: whoever
// reaches it could fill the disk.
#include <ctime>
#include <filesystem>

#include "apps/ragd/fields.h"
#include "apps/ragd/service.h"
#include "engine/json.h"

namespace rag {
namespace {

constexpr int64_t kDefaultSample = 200;
constexpr int64_t kMaxSample = 100'000;
constexpr int64_t kDefaultK = 10;
constexpr int64_t kMaxK = 1'000;
constexpr int64_t kMaxMemory = int64_t{1} << 50;
constexpr size_t kMaxNameBytes = 128;

bool IsFolderName(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes || name.front() == '.') return false;
  return name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
         std::string_view::npos;
}

std::string TimeName() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &parts);
  return text;
}

// {"name"}: the backup's folder in the daemon's own folder of backups; no request names a path.
void Backup(const Service& service, Fields& fields, ResponseWriter& out) {
  fields.AllowOnly({"name"});
  std::string name = fields.String("name", "");
  if (SentError(fields, out)) return;
  const std::string& folder = service.settings.server.backups;
  if (folder.empty()) {
    SentError(FailedPreconditionError("the daemon has no folder for backups: start it with "
                                      "--backups FOLDER"),
              out);
    return;
  }
  const bool named = !name.empty();
  if (!named) name = TimeName();
  if (!IsFolderName(name)) {
    SentError(InvalidArgumentError("'", name.substr(0, kMaxNameBytes), "' is no name of a folder"),
              out, "name");
    return;
  }
  std::string path = (std::filesystem::path(folder) / name).string();
  Result<BackupReport> report = service.engine.Backup(path, nullptr, &out.cancel());
  // Others of the same second.
  const std::string second = name;
  for (int i = 2; !named && report.status().code() == StatusCode::kAlreadyExists; ++i) {
    name = StrCat(second, "-", i);
    path = (std::filesystem::path(folder) / name).string();
    report = service.engine.Backup(path, nullptr, &out.cancel());
  }
  if (SentError(report.status(), out)) return;
  Value value = ToValue(*report);
  value.as_object().Set("name", name);
  value.as_object().Set("path", path);
  out.Send(JsonResponse(value, 201));
}

void Vacuum(const Service& service, Fields& fields, ResponseWriter& out) {
  fields.AllowOnly({});
  if (SentError(fields, out)) return;
  const Result<VacuumReport> report = service.engine.Vacuum(nullptr, &out.cancel());
  if (SentError(report.status(), out)) return;
  out.Send(JsonResponse(ToValue(*report)));
}

// {"collection", "sample", "k"}.
void MeasureRecall(const Service& service, Fields& fields, ResponseWriter& out) {
  fields.AllowOnly({"collection", "sample", "k"});
  const std::string collection = fields.String("collection", service.settings.collection);
  const int64_t sample = fields.Int("sample", kDefaultSample, 1, kMaxSample);
  const int64_t k = fields.Int("k", kDefaultK, 1, kMaxK);
  if (SentError(fields, out)) return;
  const Result<RecallReport> report = service.engine.MeasureRecall(
      collection, static_cast<size_t>(sample), static_cast<size_t>(k), &out.cancel());
  if (SentError(report.status(), out)) return;
  Value value = ToValue(*report);
  value.as_object().Set("collection", collection);
  out.Send(JsonResponse(value));
}

// {"collection", "recall", "memory_bytes", "k", "dry_run"}.
void Tune(const Service& service, Fields& fields, ResponseWriter& out) {
  fields.AllowOnly({"collection", "recall", "memory_bytes", "k", "dry_run"});
  const std::string collection = fields.String("collection", service.settings.collection);
  TuneGoal goal;
  goal.recall = fields.Number("recall", goal.recall, 0.5, 0.999);
  goal.memory_bytes = static_cast<size_t>(fields.Int("memory_bytes", 0, 0, kMaxMemory));
  goal.k = static_cast<size_t>(fields.Int("k", static_cast<int64_t>(goal.k), 1, 100));
  const bool apply = !fields.Bool("dry_run", false);
  if (SentError(fields, out)) return;
  const Result<TuneReport> report =
      service.engine.Tune(collection, goal, apply, nullptr, &out.cancel());
  if (SentError(report.status(), out)) return;
  Value value = ToValue(*report);
  value.as_object().Set("collection", collection);
  out.Send(JsonResponse(value));
}

void SaveCache(const Service& service, Fields& fields, ResponseWriter& out) {
  fields.AllowOnly({});
  if (SentError(fields, out)) return;
  const Result<CacheSaveReport> report = service.engine.SaveGeneratorCache();
  if (SentError(report.status(), out)) return;
  out.Send(JsonResponse(ToValue(*report)));
}

// Adds a route whose body, when there is one, is an object.
template <class Body>
void AddRoute(const Service& service, Router& router, const std::string& pattern, Body body) {
  router.Add(
      {"POST", pattern, Lane::kWork, false,
       [&service, body](const HttpRequest& request, const std::string&, ResponseWriter& out) {
         if (!service.has_key) {
           SentError(PermissionDeniedError("a daemon without an API key does no "
                                           "administration; start it with --api-key-file"),
                     out);
           return;
         }
         const Result<Value> read =
             request.body.empty() ? Result<Value>(Value(Value::Object())) : ParseBody(request);
         if (SentError(read.status(), out)) return;
         Fields fields(*read);
         body(fields, out);
       }});
}

}  // namespace

void AddAdminRoutes(const Service& service, Router& router) {
  AddRoute(service, router, "/v1/admin/backup",
           [&service](Fields& fields, ResponseWriter& out) { Backup(service, fields, out); });
  AddRoute(service, router, "/v1/admin/vacuum",
           [&service](Fields& fields, ResponseWriter& out) { Vacuum(service, fields, out); });
  AddRoute(service, router, "/v1/admin/cache/save",
           [&service](Fields& fields, ResponseWriter& out) { SaveCache(service, fields, out); });
  AddRoute(service, router, "/v1/admin/recall", [&service](Fields& fields, ResponseWriter& out) {
    MeasureRecall(service, fields, out);
  });
  AddRoute(service, router, "/v1/admin/tune",
           [&service](Fields& fields, ResponseWriter& out) { Tune(service, fields, out); });
}

}  // namespace rag
