# What comes from elsewhere, found once. ARCHITECTURE.md says why each was taken; packages.txt names the Debian
# packages.
find_package(Threads REQUIRED)

# Header-only needs of RAG_CORE_ONLY travel in .deps/headers (./dev setup fills it), so that a machine with
# a compiler and CMake alone can build the core.
find_path(RAG_JSON_INCLUDE nlohmann/json.hpp HINTS ${CMAKE_SOURCE_DIR}/.deps/headers REQUIRED)
add_library(rag_json INTERFACE)
target_include_directories(rag_json SYSTEM INTERFACE $<BUILD_INTERFACE:${RAG_JSON_INCLUDE}>)

if(NOT RAG_CORE_ONLY)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
  pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
  find_package(RocksDB CONFIG REQUIRED)
  pkg_check_modules(ICU REQUIRED IMPORTED_TARGET icu-uc icu-i18n)
  pkg_check_modules(GUMBO REQUIRED IMPORTED_TARGET gumbo)
  pkg_check_modules(LIBARCHIVE REQUIRED IMPORTED_TARGET libarchive)
  pkg_check_modules(CMARK_GFM REQUIRED IMPORTED_TARGET libcmark-gfm)
  find_library(CMARK_GFM_EXTENSIONS cmark-gfm-extensions REQUIRED)
  find_package(pugixml CONFIG REQUIRED)
  find_library(STEMMER_LIBRARY stemmer REQUIRED)
  find_path(XXHASH_INCLUDE xxhash.h REQUIRED)
  find_package(spdlog CONFIG REQUIRED)
  find_package(CLI11 CONFIG REQUIRED)
  find_path(TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)
  find_package(Boost 1.81 REQUIRED)
  find_package(OpenSSL REQUIRED)
  find_package(ZLIB REQUIRED)
  pkg_check_modules(HDF5 REQUIRED IMPORTED_TARGET hdf5)
  pkg_check_modules(CAIRO REQUIRED IMPORTED_TARGET cairo)
endif()
