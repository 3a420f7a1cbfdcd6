# Compiler warnings, the compiler cache, the linker and the sanitizers.
find_program(RAG_CCACHE ccache)
if(RAG_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${RAG_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${RAG_CCACHE})
endif()
find_program(RAG_MOLD mold)
if(RAG_MOLD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.1)
  add_link_options(-fuse-ld=mold)
endif()

# What every target of ours is compiled with; a library's headers come in as SYSTEM and are not held to it.
add_library(rag_compile_options INTERFACE)
# Off: two warnings that g++ 12 gives of the standard library's own inlined code, std::string's operator+
# (gcc bug 105651) and strings inside variants (105562).
target_compile_options(rag_compile_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Werror -Wno-missing-field-initializers -Wno-restrict -Wno-maybe-uninitialized>
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Werror>)
target_include_directories(rag_compile_options INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>)

if(RAG_SANITIZE)
  add_compile_options(-fsanitize=${RAG_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${RAG_SANITIZE})
endif()
