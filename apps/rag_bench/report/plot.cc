// The only file that knows cairo.
#include <cairo-svg.h>
#include <cairo.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "apps/rag_bench/report/report.h"

namespace rag::bench {
namespace {

// Points, 1/72 inch; a PNG has kScale pixels for each.
constexpr double kWidth = 640;
constexpr double kPlotHeight = 360;
constexpr double kLeft = 70, kRight = 20, kTop = 48, kBottom = 48;
constexpr double kLegendLine = 16;
constexpr size_t kLegendColumns = 3;
constexpr double kScale = 2;
constexpr double kLowestRecall = 0.8;  // the axis begins there, or lower when all curves lie lower
constexpr double kFontSize = 11;

struct Colour {
  double r, g, b;
};
// Okabe and Ito's colours, which people with colour-blindness can tell apart, and black.
constexpr std::array<Colour, 8> kColours = {{{0.00, 0.45, 0.70},
                                             {0.84, 0.37, 0.00},
                                             {0.00, 0.62, 0.45},
                                             {0.80, 0.47, 0.65},
                                             {0.34, 0.71, 0.91},
                                             {0.90, 0.62, 0.00},
                                             {0.94, 0.80, 0.10},
                                             {0.00, 0.00, 0.00}}};

struct Free {
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
  void operator()(cairo_t* context) const { cairo_destroy(context); }
};

std::string Number(double value) {
  if (value >= 1e6) return StrCat(value / 1e6, "M");
  if (value >= 1e3) return StrCat(value / 1e3, "k");
  return StrCat(value);
}

class Plot {
 public:
  Plot(cairo_t* context, const Report& report) : cr_(context), report_(report) {
    for (const SystemReport& system : report.systems) {
      if (!system.points.empty()) systems_.push_back(&system);
    }
    double lowest = kLowestRecall;
    double highest_recall = 0;
    low_rate_ = 1e30;
    double high_rate = 0;
    for (const SystemReport* const system : systems_) {
      for (const Point& point : system->points) {
        highest_recall = std::max(highest_recall, point.recall);
        low_rate_ = std::min(low_rate_, point.median_rate());
        high_rate = std::max(high_rate, point.median_rate());
      }
    }
    if (highest_recall <= lowest) lowest = 0;
    low_recall_ = lowest;
    low_rate_ = std::pow(10, std::floor(std::log10(low_rate_)));
    high_rate_ = std::pow(10, std::ceil(std::log10(high_rate)));
    if (high_rate_ <= low_rate_) high_rate_ = low_rate_ * 10;
  }

  static double Height(const Report& report) {
    const size_t lines = (report.systems.size() + kLegendColumns - 1) / kLegendColumns;
    return kPlotHeight + kLegendLine * static_cast<double>(lines);
  }

  void Draw() {
    cairo_set_source_rgb(cr_, 1, 1, 1);
    cairo_paint(cr_);
    cairo_select_font_face(cr_, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr_, kFontSize);
    DrawGrid();
    cairo_save(cr_);
    cairo_rectangle(cr_, kLeft, kTop - 4, kWidth - kLeft - kRight,
                    kPlotHeight - kTop - kBottom + 8);
    cairo_clip(cr_);
    for (size_t i = 0; i < systems_.size(); ++i) DrawCurve(i);
    cairo_restore(cr_);
    DrawLegend();
  }

 private:
  double X(double recall) const {
    return kLeft + (recall - low_recall_) / (1 - low_recall_) * (kWidth - kLeft - kRight);
  }
  double Y(double rate) const {
    const double share = std::log(rate / low_rate_) / std::log(high_rate_ / low_rate_);
    return kPlotHeight - kBottom - share * (kPlotHeight - kTop - kBottom);
  }

  // align: 0 begins at x, 0.5 is centred there, 1 ends there.
  void Text(const std::string& text, double x, double y, double align) {
    cairo_text_extents_t extents;
    cairo_text_extents(cr_, text.c_str(), &extents);
    cairo_move_to(cr_, x - align * extents.x_advance, y);
    cairo_show_text(cr_, text.c_str());
  }

  void Line(double x0, double y0, double x1, double y1, double grey) {
    cairo_set_source_rgb(cr_, grey, grey, grey);
    cairo_set_line_width(cr_, 0.7);
    cairo_move_to(cr_, x0, y0);
    cairo_line_to(cr_, x1, y1);
    cairo_stroke(cr_);
    cairo_set_source_rgb(cr_, 0.15, 0.15, 0.15);
  }

  void DrawGrid() {
    const double bottom = kPlotHeight - kBottom;
    const double right = kWidth - kRight;
    const double step = low_recall_ > 0 ? 0.02 : 0.1;
    for (int i = 0; low_recall_ + i * step <= 1 + 1e-9; ++i) {
      const double recall = low_recall_ + i * step;
      Line(X(recall), kTop, X(recall), bottom, 0.88);
      char label[16];
      std::snprintf(label, sizeof(label), "%.2f", recall);
      Text(label, X(recall), bottom + 15, 0.5);
    }
    for (double decade = low_rate_; decade <= high_rate_ * 1.001; decade *= 10) {
      for (int digit = 1; digit < 10; ++digit) {
        const double rate = decade * digit;
        if (rate > high_rate_ * 1.001) break;
        Line(kLeft, Y(rate), right, Y(rate), digit == 1 ? 0.7 : 0.92);
        if (digit == 1) Text(Number(rate), kLeft - 6, Y(rate) + 4, 1);
      }
    }
    Line(kLeft, bottom, right, bottom, 0.2);
    Line(kLeft, kTop, kLeft, bottom, 0.2);
    Text(StrCat("recall@", report_.k), (kLeft + right) / 2, bottom + 34, 0.5);
    Text("queries/s", kLeft, kTop - 10, 1);
    Text(StrCat(report_.data, ", ", report_.rows, " x ", report_.dim, ", ", report_.metric, ", ",
                report_.threads, report_.threads == 1 ? " thread, " : " threads, ",
                report_.run.processor),
         kWidth / 2, 18, 0.5);
  }

  void SetColour(size_t i) {
    const Colour& colour = kColours[i % kColours.size()];
    cairo_set_source_rgb(cr_, colour.r, colour.g, colour.b);
    // Beyond the colours the lines are dashed.
    const double dashes[] = {5, 3};
    cairo_set_dash(cr_, dashes, i < kColours.size() ? 0 : 2, 0);
    cairo_set_line_width(cr_, 1.6);
  }

  void DrawCurve(size_t i) {
    SetColour(i);
    std::vector<Point> points = systems_[i]->points;
    std::sort(points.begin(), points.end(),
              [](const Point& a, const Point& b) { return a.width < b.width; });
    for (const Point& point : points) cairo_line_to(cr_, X(point.recall), Y(point.median_rate()));
    cairo_stroke(cr_);
    for (const Point& point : points) {
      cairo_arc(cr_, X(point.recall), Y(point.median_rate()), 2.6, 0, 2 * M_PI);
      cairo_fill(cr_);
    }
  }

  void DrawLegend() {
    const double column = (kWidth - kLeft - kRight) / kLegendColumns;
    for (size_t i = 0; i < systems_.size(); ++i) {
      const double x = kLeft + column * static_cast<double>(i % kLegendColumns);
      const double y = kPlotHeight + kLegendLine * static_cast<double>(i / kLegendColumns);
      SetColour(i);
      cairo_move_to(cr_, x, y - 4);
      cairo_line_to(cr_, x + 22, y - 4);
      cairo_stroke(cr_);
      cairo_set_source_rgb(cr_, 0.15, 0.15, 0.15);
      Text(systems_[i]->info.name, x + 28, y, 0);
    }
  }

  cairo_t* const cr_;
  const Report& report_;
  std::vector<const SystemReport*> systems_;
  double low_recall_ = 0;
  double low_rate_ = 0;
  double high_rate_ = 0;
};

}  // namespace

Status DrawPlot(const Report& report, const std::string& path) {
  if (std::all_of(report.systems.begin(), report.systems.end(),
                  [](const SystemReport& system) { return system.points.empty(); })) {
    return FailedPreconditionError("'", path, "': nothing was measured that could be drawn");
  }
  const bool svg = path.ends_with(".svg");
  const double height = Plot::Height(report);
  const std::unique_ptr<cairo_surface_t, Free> surface(
      svg ? cairo_svg_surface_create(path.c_str(), kWidth, height)
          : cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(kWidth * kScale),
                                       static_cast<int>(height * kScale)));
  const std::unique_ptr<cairo_t, Free> context(cairo_create(surface.get()));
  if (!svg) cairo_scale(context.get(), kScale, kScale);
  Plot(context.get(), report).Draw();
  cairo_status_t status = cairo_status(context.get());
  if (status == CAIRO_STATUS_SUCCESS && !svg) {
    status = cairo_surface_write_to_png(surface.get(), path.c_str());
  }
  cairo_surface_finish(surface.get());
  if (status == CAIRO_STATUS_SUCCESS) status = cairo_surface_status(surface.get());
  if (status == CAIRO_STATUS_SUCCESS) return OkStatus();
  return IoError("cannot draw '", path, "': ", cairo_status_to_string(status));
}

}  // namespace rag::bench
