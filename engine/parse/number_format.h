// Number formats of spreadsheets: which say that a number is a date, and what date it is.
#pragma once

#include <string>
#include <string_view>

namespace rag {

struct DateParts {
  bool date = false;
  bool time = false;
  bool duration = false;  // hours that are not cut off at a day
};

// Of a format's code (ECMA-376, part 1, 18.8.31); all false for a number that is no date.
DateParts DatePartsOf(std::string_view code);
// Of one of the formats that files name by their number alone (18.8.30).
DateParts BuiltInDateParts(int id);
// "2024-03-05", "2024-03-05 14:30:00", "14:30:00", to whole seconds; of a duration "27:30:00". Days
// are counted from 1899-12-30, or in the system of 1904 from its first day; 1900 is a leap year
// there, as it is in the files. "" for a number that is no date.
std::string DateText(double days, DateParts parts, bool system_1904);

}  // namespace rag
