# A room is a folder whose sources make one static library, rag_<room>.
#
# Sources are found, not listed: every .cc below the folder belongs to it, so none can be forgotten.
# A file named *_avx2.cc or *_avx512.cc is compiled for that instruction set; nothing else is.
function(rag_add_room room)
  cmake_parse_arguments(ARG "" "" "EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  foreach(pattern IN LISTS ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${CMAKE_CURRENT_SOURCE_DIR}/${pattern}")
  endforeach()
  add_library(rag_${room} STATIC ${sources})
  target_link_libraries(rag_${room} PRIVATE $<BUILD_INTERFACE:rag_compile_options>)
  target_include_directories(rag_${room} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>)
  foreach(source IN LISTS sources)
    if(source MATCHES "_avx2\\.cc$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
        "-mavx2;-mfma;-mf16c;-mbmi2")
    elseif(source MATCHES "_avx512\\.cc$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
        "-mavx2;-mfma;-mf16c;-mbmi2;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mavx512bf16;-mavx512vbmi;-mprefer-vector-width=512")
    endif()
  endforeach()
  # The sanitizers' presets optimize little; under them the kernels alone would take most of the tests' time.
  if(RAG_SANITIZE)
    foreach(source IN LISTS sources)
      if(source MATCHES "/kernels/")
        set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS "-O2")
      endif()
    endforeach()
  endif()
endfunction()

# Every *_test.cc in tests/<folder> becomes part of the program <name>, and a test of its own in ctest,
# named after the file.
function(rag_add_tests name folder)
  cmake_parse_arguments(ARG "" "TIMEOUT" "LINK" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  if(RAG_SANITIZE)
    math(EXPR ARG_TIMEOUT "3 * ${ARG_TIMEOUT}")
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*_test.cc)
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE rag_compile_options rag_test_main ${ARG_LINK})
  foreach(source IN LISTS sources)
    get_filename_component(stem ${source} NAME_WE)
    file(RELATIVE_PATH relative ${CMAKE_CURRENT_SOURCE_DIR} ${source})
    string(REGEX REPLACE "_test\\.cc$" "" relative ${relative})
    add_test(NAME ${relative} COMMAND ${name} --filenames-as-tags "[#${stem}]"
             WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${relative} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
    if(RAG_SANITIZE STREQUAL "thread")
      # FAISS, which results are compared with, is not compiled with the sanitizer, nor are the threads it would start.
      set_property(TEST ${relative} APPEND PROPERTY ENVIRONMENT OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1)
    endif()
  endforeach()
endfunction()
