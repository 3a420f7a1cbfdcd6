# cmake --install: the programs, the C library, and the C++ library as the package `rag`:
#   find_package(rag REQUIRED)
#   target_link_libraries(app PRIVATE rag::engine)
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(rag_rooms rag_lib rag_index rag_embed rag_generate rag_engine)
foreach(room IN LISTS rag_rooms)
  string(REPLACE "rag_" "" short ${room})
  set_target_properties(${room} PROPERTIES EXPORT_NAME ${short})
  target_include_directories(${room} PUBLIC $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/rag>)
endforeach()
install(TARGETS ${rag_rooms} EXPORT ragTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/rag)
install(TARGETS rag ragd rag-bench RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS rag_c LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET rag_cuda)
  install(TARGETS rag_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(FILES bindings/c/rag.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# The public headers: those of a room's top, and of lib's folders.
foreach(room index embed generate engine)
  file(GLOB headers CONFIGURE_DEPENDS ${room}/*.h)
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rag/${room})
endforeach()
foreach(folder base runtime tensor model text tokenizer template kernels nn image)
  file(GLOB headers CONFIGURE_DEPENDS lib/${folder}/*.h)
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rag/lib/${folder})
endforeach()

install(EXPORT ragTargets NAMESPACE rag:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rag)
configure_package_config_file(cmake/ragConfig.cmake.in ${CMAKE_BINARY_DIR}/ragConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rag)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/ragConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/ragConfig.cmake ${CMAKE_BINARY_DIR}/ragConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rag)
