// Reading order of a PDF page from the boxes of its text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// What `pdftotext -bbox-layout` wrote -> the paragraphs of each page, in reading order.
//
// poppler's own order goes wrong where the lines of two columns stand at the same height: it reads
// across. Here a page is cut recursively at the gutter between columns of running text, text that
// crosses the gutter parting it into bands (after the XY-cut of Nagy and Seth, "Hierarchical
// representation of optically scanned documents", 1984); what has no columns is read row by row, so
// that cells of a table stay on their line.
// Errors: cancelled.
Result<std::vector<std::vector<std::string>>> ReadPdfPages(std::string_view xhtml,
                                                           const CancelToken* cancel);

// Whether the text has letters of a script that is written from right to left. poppler gives boxes
// of such words in visual order.
bool HasRightToLeft(std::string_view text);

// &amp; &lt; &gt; &quot; &apos; -> their characters.
std::string UnescapeXml(std::string_view text);

}  // namespace rag
