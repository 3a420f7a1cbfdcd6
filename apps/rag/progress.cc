#include "apps/rag/progress.h"

#include <algorithm>
#include <cstdio>

#include "apps/rag/output.h"
#include "lib/base/status.h"

namespace rag {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(150);
constexpr size_t kBarWidth = 24;
// Before this much is done a guess at the time left says nothing.
constexpr double kMinShare = 0.005;

std::string Duration(double seconds) {
  const auto whole = static_cast<long long>(seconds + 0.5);
  char text[48];
  if (whole >= 3600) {
    std::snprintf(text, sizeof(text), "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60,
                  whole % 60);
  } else {
    std::snprintf(text, sizeof(text), "%lld:%02lld", whole / 60, whole % 60);
  }
  return text;
}

std::string Bar(double share) {
  const auto filled = static_cast<size_t>(share * kBarWidth);
  return StrCat("[", std::string(filled, '#'), std::string(kBarWidth - filled, '.'), "] ",
                static_cast<int>(share * 100), "%  ");
}

std::string IngestLine(const IngestProgress& progress, double seconds) {
  const uint64_t files = progress.files_total.load();
  const uint64_t bytes = progress.bytes_total.load();
  const uint64_t bytes_done = std::min(progress.bytes_done.load(), bytes);
  if (progress.walking.load()) return StrCat("looking for files: ", files);
  const uint64_t chunks = progress.chunks_done.load();
  const double share =
      bytes == 0 ? 0 : static_cast<double>(bytes_done) / static_cast<double>(bytes);
  char rate[32];
  std::snprintf(rate, sizeof(rate), "%.0f",
                seconds > 0 ? static_cast<double>(chunks) / seconds : 0);
  std::string line = StrCat(Bar(share), progress.files_done.load(), "/", files, " files  ", chunks,
                            " chunks  ", rate, "/s");
  if (share > kMinShare) line += StrCat("  ", Duration(seconds / share - seconds), " left");
  return line;
}

std::string CareLine(const std::string& work, const CareProgress& progress) {
  const uint64_t total = progress.total.load();
  if (total == 0) return work;
  const uint64_t done = std::min(progress.done.load(), total);
  return StrCat(Bar(static_cast<double>(done) / static_cast<double>(total)), work);
}

}  // namespace

ProgressBar::ProgressBar(std::function<std::string(double seconds)> line, bool quiet)
    : line_(std::move(line)), start_(std::chrono::steady_clock::now()) {
  if (!quiet && StderrIsTerminal()) thread_ = std::thread([this] { Draw(); });
}

ProgressBar::ProgressBar(const IngestProgress& progress, bool quiet)
    : ProgressBar([&progress](double seconds) { return IngestLine(progress, seconds); }, quiet) {}

ProgressBar::ProgressBar(std::string work, const CareProgress& progress, bool quiet)
    : ProgressBar([work = std::move(work), &progress](double) { return CareLine(work, progress); },
                  quiet) {}

ProgressBar::~ProgressBar() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
  std::fputs("\r\x1b[K", stderr);
}

void ProgressBar::Draw() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kInterval, [&] { return done_; })) {
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    std::fprintf(stderr, "\r\x1b[K%s", line_(seconds).c_str());
    std::fflush(stderr);
  }
}

}  // namespace rag
